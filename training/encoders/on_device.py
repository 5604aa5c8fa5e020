"""Encoding on a GPU, if there is one, what takes long in numpy: the same arrays, the same vectors within 1e-4.

Servers never come here. To add an encoding: one function and one line.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np

from recsys.arrays import Float32
from recsys.encoding import Description, Encoding
from recsys.tables import Table


class Twin(Protocol):
    """What does in torch, on a device, what :meth:`recsys.encoding.Encoding.encode` does."""

    def __call__(self, encoding: Encoding, items: Sequence[Description], device: Any) -> Float32:
        """Vectors float32 (m, w)."""
        ...


TWINS: Table[Twin] = Table(
    "encoding on a device",
    {
        "mel-cnn": "training.encoders.mel_cnn:encoded_on",
        "sentence-transformer": "training.encoders.sentence_transformer:encoded_on",
    },
)


# By its name, so that training starts without torch where it is not installed.
DEVICES: Table[Callable[[], Any]] = Table("device", {"fastest": "training.devices:fastest_device"})


def encoded(encoding: Encoding, items: Sequence[Description]) -> Float32:
    """Vectors float32 (m, w), by a GPU if there is one, torch is installed, and the encoding has a twin."""
    if encoding.kind in TWINS and find_spec("torch") is not None:
        device = DEVICES["fastest"]()
        if device.type != "cpu":
            return np.asarray(TWINS[encoding.kind](encoding, items, device))
    return encoding.encode(items)

"""Encoding on a GPU, if there is one, what takes long in numpy: the same arrays, the same vectors within 1e-4.

Servers never come here. To add an encoding: one function and one line.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol

import numpy as np

from recsys.arrays import Float32
from recsys.encoding import Description, Encoding
from recsys.tables import Table

if TYPE_CHECKING:
    import torch


class Twin(Protocol):
    """What does in torch, on a device, what :meth:`recsys.encoding.Encoding.encode` does."""

    def __call__(self, encoding: Encoding, items: Sequence[Description], device: torch.device) -> Float32:
        """Vectors float32 (m, w)."""
        ...


TWINS: Table[Twin] = Table(
    "encoding on a device",
    {
        "mel-cnn": "training.encoders.mel_cnn:encoded_on",
        "sentence-transformer": "training.encoders.sentence_transformer:encoded_on",
    },
)


def encoded(encoding: Encoding, items: Sequence[Description]) -> Float32:
    """Vectors float32 (m, w), by a GPU if there is one, torch is installed, and the encoding has a twin."""
    if encoding.kind in TWINS and find_spec("torch") is not None:
        from training.devices import fastest_device  # noqa: PLC0415  the extra `deep`

        device = fastest_device()
        if device.type != "cpu":
            return np.asarray(TWINS[encoding.kind](encoding, items, device))
    return encoding.encode(items)

"""Encoding on a GPU, if there is one, what takes long in numpy: the same arrays, the same vectors within 1e-4.

Servers never come here. To add an encoding: one function and one line.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from recsys.arrays import Float32
from recsys.encoding import Description, Encoding
from recsys.tables import Table
from training.devices import fastest_device


class Twin(Protocol):
    """What does in torch, on a device, what :meth:`recsys.encoding.Encoding.encode` does."""

    def __call__(self, encoding: Encoding, items: Sequence[Description], device: str) -> Float32:
        """Vectors float32 (m, w)."""
        ...


TWINS: Table[Twin] = Table(
    "encoding on a device",
    {
        "concat": "training.encoders.concat:encoded_on",
        "mel-cnn": "training.encoders.mel_cnn:encoded_on",
        "sentence-transformer": "training.encoders.sentence_transformer:encoded_on",
    },
)


def encoded(encoding: Encoding, items: Sequence[Description], device: str | None = None) -> Float32:
    """Vectors float32 (m, w), on a device if the encoding has a twin; None: on a GPU if there is one, else by numpy."""
    device = device or fastest_device()
    if device == "cpu" or encoding.kind not in TWINS:
        return encoding.encode(items)
    return np.asarray(TWINS[encoding.kind](encoding, items, device))

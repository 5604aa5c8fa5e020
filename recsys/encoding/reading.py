"""Encodings that read more than descriptions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from recsys.encoding import Description


@runtime_checkable
class ReadsFiles(Protocol):
    """An encoding of what lies in files that a description names: a cache of its vectors must look into them."""

    def files(self, item: Description) -> Sequence[Path]:
        """The files that the vector of an item depends on, whether they are there or not."""
        ...

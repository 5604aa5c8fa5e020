"""Which items may be answered, a bit an item: 125 kB for a million, combined in microseconds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from recsys.arrays import Bool, Int32, UInt8


@dataclass(frozen=True, eq=False)
class Mask:
    """The items that are allowed, of n.

    ``bits``: uint8 (⌈n/8⌉,), item i is bit ``i % 8`` of byte ``i // 8``, and bits beyond n are 0. Masks are made when
    a release is loaded (availability, a language, a block list) and combined for a request.

    >>> jazz, blocked = Mask.of_rows([0, 2, 3], 5), Mask.of_rows([3], 5)
    >>> (jazz & ~blocked).rows
    array([0, 2], dtype=int32)
    """

    bits: UInt8
    items: int

    def __post_init__(self) -> None:
        wanted = (self.items + 7) // 8
        if self.bits.dtype != np.uint8 or self.bits.shape != (wanted,):
            raise ValueError(f"bits are {self.bits.dtype} {self.bits.shape}: {self.items} items need uint8 ({wanted},)")

    @classmethod
    def of(cls, allowed: Bool) -> Mask:
        """From a bool an item, (n,)."""
        if allowed.dtype != np.bool_ or allowed.ndim != 1:
            raise ValueError(f"allowed is {allowed.dtype} {allowed.shape}: bool (n,) was wanted")
        return cls(np.packbits(allowed, bitorder="little"), len(allowed))

    @classmethod
    def of_rows(cls, rows: Iterable[int] | Int32, items: int) -> Mask:
        """From the rows of the allowed items."""
        array = np.asarray(rows if isinstance(rows, np.ndarray) else list(rows), np.int64)
        if len(array) and not 0 <= array.min() <= array.max() < items:
            raise ValueError(f"rows reach from {array.min()} to {array.max()}: there are {items} items")
        allowed = np.zeros(items, bool)
        allowed[array] = True
        return cls.of(allowed)

    @cached_property
    def count(self) -> int:
        """How many items are allowed."""
        return int(np.bitwise_count(self.bits).sum(dtype=np.int64))

    @cached_property
    def rows(self) -> Int32:
        """The allowed items, int32 (count,), ascending."""
        # Only bytes that hold a bit are unpacked: a rare selection of a large catalogue costs little.
        filled = np.flatnonzero(self.bits)
        inside = np.flatnonzero(np.unpackbits(self.bits[filled], bitorder="little"))
        rows: Int32 = (filled[inside >> 3] * 8 + (inside & 7)).astype(np.int32)
        return rows

    def holds(self, rows: Int32) -> Bool:
        """Whether each row is allowed, in the shape of ``rows``; -1 is not."""
        bytes_of = self.bits[np.maximum(rows, 0) >> 3] if self.items else np.zeros(rows.shape, np.uint8)
        held: Bool = ((bytes_of >> (rows & 7).astype(np.uint8)) & 1).astype(bool) & (rows >= 0)
        return held

    def part(self, start: int, stop: int) -> Mask:
        """The mask over the items from ``start`` up to ``stop``, counted from 0."""
        return Mask.of(np.unpackbits(self.bits, count=self.items, bitorder="little")[start:stop].astype(bool))

    def grown(self, items: int) -> Mask:
        """With so many further items behind the others, all allowed."""
        bools = np.unpackbits(self.bits, count=self.items, bitorder="little").astype(bool)
        return Mask.of(np.concatenate([bools, np.ones(items, bool)]))

    def __and__(self, other: Mask) -> Mask:
        return Mask(self.bits & self._matching(other), self.items)

    def __or__(self, other: Mask) -> Mask:
        return Mask(self.bits | self._matching(other), self.items)

    def __invert__(self) -> Mask:
        turned = ~self.bits
        if self.items % 8:
            turned[-1] &= np.uint8((1 << self.items % 8) - 1)
        return Mask(turned, self.items)

    def _matching(self, other: Mask) -> UInt8:
        if other.items != self.items:
            raise ValueError(f"one mask is over {self.items} items and the other over {other.items}: n must match")
        return other.bits


def masks_of(values: np.ndarray) -> dict[str, Mask]:
    """Value → the items that have it, for one attribute of the catalogue, (n,)."""
    return {str(value): Mask.of(np.asarray(values == value)) for value in np.unique(values)}

"""Terms of items as rows of numbers: what words and tags have in common.

A term is kept as its key, the hash of :func:`recsys.vocabulary.keys_of`: 8 bytes, looked up by binary search.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from recsys.arrays import Float32, Float64, Int32, Int64, UInt64
from recsys.vocabulary import keys_of


@dataclass(frozen=True, slots=True, eq=False)
class Counted:
    """How often m items have which terms.

    ``indptr``: int64 (m + 1,), item i's are ``terms[indptr[i]:indptr[i + 1]]``, int32, ascending and each once, with
    ``counts`` alike, float64.
    """

    indptr: Int64
    terms: Int32
    counts: Float64

    @classmethod
    def of(cls, items: Iterable[tuple[Int32, Float64]]) -> Counted:
        """Each item's terms, which may repeat, with their counts."""
        lengths, terms, counts = [0], [], []
        for rows, times in items:
            unique, inverse = np.unique(rows, return_inverse=True)
            lengths.append(len(unique))
            terms.append(unique.astype(np.int32))
            counts.append(np.bincount(inverse, times, len(unique)))
        empty = np.zeros(0)
        return cls(
            np.cumsum(np.array(lengths, np.int64)),
            np.concatenate([empty.astype(np.int32), *terms]),
            np.concatenate([empty, *counts]),
        )

    def __len__(self) -> int:
        return len(self.indptr) - 1

    def items_with(self, terms: int) -> Int64:
        """In how many items each of the first ``terms`` terms stands, int64 (terms,)."""
        return np.bincount(self.terms, minlength=terms)


class Lexicon:
    """Numbers for terms in the order in which they come, while something is learned from them."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._numbers)

    def count(self, items: Iterable[Mapping[str, float]]) -> Counted:
        """Terms with their counts, item by item."""
        numbers = self._numbers

        def numbered(item: Mapping[str, float]) -> tuple[Int32, Float64]:
            rows = np.fromiter((numbers.setdefault(term, len(numbers)) for term in item), np.int32, len(item))
            return rows, np.fromiter(item.values(), np.float64, len(item))

        return Counted.of(map(numbered, items))

    def keys(self) -> UInt64:
        """The key of each term, uint64 (terms,)."""
        return keys_of(list(self._numbers))


def look_up(keys: UInt64, items: Sequence[Mapping[str, float]]) -> Counted:
    """Which of the known terms the items have; those that nobody has seen are left away.

    ``keys``: uint64 (t,), ascending.
    """
    distinct: dict[str, int] = {}
    for item in items:
        for term in item:
            distinct.setdefault(term, len(distinct))
    wanted = keys_of(list(distinct))
    at = np.minimum(np.searchsorted(keys, wanted), max(len(keys) - 1, 0))
    known = keys[at] == wanted if len(keys) else np.zeros(len(wanted), bool)
    rows = np.where(known, at, -1)

    def found(item: Mapping[str, float]) -> tuple[Int32, Float64]:
        places = rows[np.fromiter((distinct[term] for term in item), np.int64, len(item))]
        counts = np.fromiter(item.values(), np.float64, len(item))
        return places[places >= 0].astype(np.int32), counts[places >= 0]

    return Counted.of(map(found, items))


def unit_weights(counted: Counted, weights: Float64) -> Float64:
    """Each item's weights scaled to length one, float64, as ``counted.counts``; zeros stay."""
    if not len(weights):
        return weights
    lengths = np.diff(counted.indptr)
    some = lengths > 0
    norms = np.sqrt(np.add.reduceat(weights**2, counted.indptr[:-1][some]))
    spread = np.repeat(norms, lengths[some])
    unit: Float64 = np.divide(weights, spread, out=np.zeros_like(weights), where=spread > 0)
    return unit


def projected(counted: Counted, weights: Float64, components: Float32) -> Float32:
    """Σ weight · component over each item's terms, float32 (m, w); ``components``: float32 (t, w).

    One item after the other: a term's components are read where they are mapped, and a batch is its items.
    """
    vectors = np.zeros((len(counted), components.shape[1]), np.float32)
    small = weights.astype(np.float32)
    for item in range(len(counted)):
        part = slice(counted.indptr[item], counted.indptr[item + 1])
        if part.stop > part.start:
            vectors[item] = small[part] @ components[counted.terms[part]]
    return vectors

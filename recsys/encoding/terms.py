"""Terms of items as rows of numbers: what words and tags have in common.

A term is kept as its key, the hash of :func:`recsys.vocabulary.keys_of`: 8 bytes, found by binary search.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from pydantic import Field

from recsys.arrays import Float32, Float64, Int32, Int64, UInt64
from recsys.encoding import Description
from recsys.encoding.problems import SILENT, says
from recsys.sections import Section
from recsys.vocabulary import keys_of

BLOCK = 1024
"""Items whose terms are held at once."""
Terms = Mapping[str, float]
"""How often, or how strongly, an item has each of its terms; above 0."""


@dataclass(frozen=True, slots=True, eq=False)
class Counted:
    """How often m items have which terms.

    ``indptr``: int64 (m + 1,), item i's are ``terms[indptr[i]:indptr[i + 1]]``, int32, each once, with ``counts``
    alike, float64.
    """

    indptr: Int64
    terms: Int32
    counts: Float64

    def __len__(self) -> int:
        return len(self.indptr) - 1


class Lexicon:
    """Numbers for terms in the order in which they come."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._numbers)

    def count(self, items: Iterable[Terms]) -> Counted:
        """The terms of each item; those that are new get the next numbers."""
        numbers, lengths, places, counts = self._numbers, array("q", [0]), array("i"), array("d")
        for item in items:
            places.extend(numbers.setdefault(term, len(numbers)) for term in item)
            counts.extend(item.values())
            lengths.append(len(item))
        as_array = np.frombuffer
        return Counted(np.cumsum(as_array(lengths, np.int64)), as_array(places, np.int32), as_array(counts, np.float64))

    def keys(self) -> UInt64:
        """The key of each term, uint64 (t,)."""
        return keys_of(list(self._numbers))


class TermsRule(Section):
    """How terms come from descriptions. A rule says how to read; it has no numbers that were learned."""

    noun: ClassVar[str] = "term"
    """What a term is called."""
    columns: tuple[str, ...] = Field(min_length=1)
    """The columns that are read."""

    def terms(self, item: Description) -> Terms:
        """The terms of an item."""
        raise NotImplementedError

    def weights(self, counts: Float64) -> Float64:
        """What counts are worth, float64, before rarity: growing, and slower than they."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True, eq=False)
class TermVectors:
    """x V, x being the weight · idf of an item's terms, scaled to length one.

    ``keys``: uint64 (t,), ascending. ``idf``: float32 (t,). ``components``: float32 (t, w), V.
    """

    Rule: ClassVar[type[TermsRule]]

    rule: TermsRule
    keys: UInt64
    idf: Float32
    components: Float32

    @classmethod
    def of(cls, rule: TermsRule, arrays: Mapping[str, np.ndarray]) -> Self:
        """ValueError unless the arrays are as long as each other."""
        keys, idf, components = arrays["keys"], arrays["idf"], arrays["components"]
        if not len(keys) == len(idf) == len(components):
            raise ValueError(f"there are {len(keys)} keys, {len(idf)} idf and {len(components)} components of terms")
        return cls(rule, keys, idf, components)

    def arrays(self) -> Mapping[str, np.ndarray]:
        """The terms and their vectors."""
        return {"keys": self.keys, "idf": self.idf, "components": self.components}

    @property
    def width(self) -> int:
        """How many directions there are."""
        return int(self.components.shape[1])

    @property
    def reads(self) -> tuple[str, ...]:
        """The columns of the rule."""
        return self.rule.columns

    def problems(self, item: Description) -> dict[str, str]:
        """See :class:`recsys.encoding.problems.Explains`."""
        return unknown_terms(self.keys, self.rule, item)

    def encode(self, items: Sequence[Description]) -> Float32:
        """Vectors of length one at most, float32 (m, w); zeros for an item without a known term."""
        vectors = np.zeros((len(items), self.width), np.float32)
        for low in range(0, len(items), BLOCK):
            counted = look_up(self.keys, self.rule, items[low : low + BLOCK])
            weights = unit_weights(counted, self.rule, self.idf).astype(np.float32)
            # One item after the other: its components are read where they are mapped, and a batch is its items.
            for item in range(len(counted)):
                part = slice(counted.indptr[item], counted.indptr[item + 1])
                if part.stop > part.start:
                    vectors[low + item] = weights[part] @ self.components[counted.terms[part]]
        return vectors


def look_up(keys: UInt64, rule: TermsRule, items: Sequence[Description]) -> Counted:
    """Which of the known terms the items have, by their places in ``keys``: uint64 (t,), ascending."""
    lexicon = Lexicon()
    counted = lexicon.count(map(rule.terms, items))
    wanted = lexicon.keys()
    if not len(keys) or not len(wanted):
        return Counted(np.zeros_like(counted.indptr), counted.terms[:0], counted.counts[:0])
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    places = np.where(keys[at] == wanted, at, -1).astype(np.int32)
    return renumbered(counted, places)


def unknown_terms(keys: UInt64, rule: TermsRule, item: Description) -> dict[str, str]:
    """The columns of an item in which no known term stands, and why; ``keys``: uint64 (t,), ascending."""
    found = {}
    for column in rule.columns:
        alone = {name: value for name, value in item.items() if name == column or name not in rule.columns}
        if not says(item.get(column)):
            found[column] = SILENT
        elif not rule.terms(alone):
            found[column] = f"no {rule.noun} in it"
        elif not len(look_up(keys, rule, [alone]).terms):
            found[column] = f"no {rule.noun} in it that is known"
    return found


def renumbered(counted: Counted, places: Int32) -> Counted:
    """The same items with term t as ``places[t]``, and without those whose place is -1."""
    terms = places[counted.terms]
    known = terms >= 0
    before = np.concatenate([[0], np.cumsum(known)])
    return Counted(before[counted.indptr], terms[known], counted.counts[known])


def unit_weights(counted: Counted, rule: TermsRule, idf: Float32 | None = None) -> Float64:
    """What each item's counts are worth times the terms' idf, scaled to length one an item: float64, as the counts."""
    weights = rule.weights(counted.counts)
    if idf is not None:
        weights = weights * idf[counted.terms]
    if not len(weights):
        return weights
    lengths = np.diff(counted.indptr)
    some = lengths > 0
    norms = np.sqrt(np.add.reduceat(weights**2, counted.indptr[:-1][some]))
    spread = np.repeat(norms, lengths[some])
    unit: Float64 = np.divide(weights, spread, out=np.zeros_like(weights), where=spread > 0)
    return unit

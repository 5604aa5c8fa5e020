"""The columns of a catalogue, made ready for filters: a value or a range of them to the items that have it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.arrays import Bool, Float64, Int32, Int64
from recsys.catalogue import Catalogue
from recsys.errors import unknown_choice
from recsys.filters import ANYTHING, ORDERS, Term
from recsys.masks import Mask

KEPT = 256
"""Masks kept: at a million items 32 MB."""

# An Arrow array; the published stubs know too few of its methods.
Arrow = Any


@dataclass(frozen=True, slots=True, eq=False)
class Texts:
    """A column of texts or of lists of them: ``values`` ascending and casefolded, and which items have which.

    The rows of value v are ``rows[starts[v]:starts[v + 1]]``, int32.
    """

    values: list[str]
    starts: Int64
    rows: Int32
    items: int

    @classmethod
    def of(cls, column: Arrow, items: int) -> Texts:
        """From an Arrow array of text, or of lists of text."""
        rows: Arrow = pa.array(np.arange(items, dtype=np.int32))
        if pa.types.is_list(column.type):
            column, rows = pc.list_flatten(column), pc.list_parent_indices(column).cast(pa.int32())
        known: Arrow = pc.not_equal(column, pa.scalar(""))
        column, rows = column.filter(known), rows.filter(known)
        coded: Arrow = pc.dictionary_encode(column)
        codes, owners = (np.from_dlpack(part) for part in (coded.indices, rows))
        folded = [value.casefold() for value in coded.dictionary.to_pylist()]
        values = sorted(set(folded))
        place = {value: at for at, value in enumerate(values)}
        codes = np.array([place[value] for value in folded], np.int64)[codes] if folded else np.zeros(0, np.int64)
        order = np.argsort(codes, kind="stable")
        starts = np.concatenate([[0], np.cumsum(np.bincount(codes, minlength=len(values)))])
        return cls(values, starts, np.asarray(owners[order], np.int32), items)

    def mask(self, term: Term) -> Mask:
        """Texts are compared as texts; a list by any of its members."""
        if term.comparison == "!=":
            return self._of(0, len(self.values)) & ~self.mask(replace(term, comparison=":"))
        if term.comparison == ":" and term.value == ANYTHING:
            return self._of(0, len(self.values))
        before, after = (bisect(self.values, term.value) for bisect in (bisect_left, bisect_right))
        ends = len(self.values)
        edges = {":": (before, after), "<": (0, before), "<=": (0, after), ">": (after, ends), ">=": (before, ends)}
        return self._of(*edges[term.comparison])

    def _of(self, first: int, last: int) -> Mask:
        return Mask.of_rows(self.rows[self.starts[first] : self.starts[last]], self.items)


@dataclass(frozen=True, slots=True, eq=False)
class Numbers:
    """A column of numbers, or of true and false: float64 (n,), nan where unknown."""

    values: Float64
    truths: bool = False

    @classmethod
    def of(cls, column: Arrow) -> Numbers:
        """From an Arrow array of numbers or of booleans."""
        known: Arrow = pc.is_valid(column)
        truths = pa.types.is_boolean(column.type)
        filled: Arrow = pc.fill_null(column, pa.scalar(False if truths else 0, column.type)).cast(pa.float64())
        values = np.where(_bools(known), np.from_dlpack(filled), np.nan)
        return cls(values, truths)

    def mask(self, term: Term) -> Mask:
        """Numbers are compared as numbers; with what is no number, nothing is."""
        if term.comparison == "!=":
            return Mask.of(~np.isnan(self.values)) & ~self.mask(replace(term, comparison=":"))
        if term.comparison == ":" and term.value == ANYTHING:
            return Mask.of(~np.isnan(self.values))
        if self.truths:
            wanted = {"true": 1.0, "false": 0.0}.get(term.value) if term.comparison == ":" else None
        else:
            wanted = term.number
        if wanted is None:
            return Mask.of(np.zeros(len(self.values), bool))
        equal = self.values == wanted
        return Mask.of(np.asarray(ORDERS[term.comparison](self.values, wanted)) if term.comparison in ORDERS else equal)


def _bools(column: Arrow) -> Bool:
    return np.asarray(np.from_dlpack(column.cast(pa.uint8())), bool)


@dataclass(frozen=True, slots=True, eq=False)
class Attributes:
    """A catalogue's columns as filters ask for them, each made ready when it is first asked for; masks are kept.

    Safe under threads: what two make at once is the same.
    """

    catalogue: Catalogue
    _columns: dict[str, Texts | Numbers] = field(default_factory=dict)
    _masks: dict[Term, Mask] = field(default_factory=dict)

    def mask(self, term: Term) -> Mask:
        """The items of which the term is true. ValueError, with the choices, for a column that there is not."""
        if (found := self._masks.get(term)) is not None:
            return found
        found = self._column(term.column).mask(term)
        while len(self._masks) >= KEPT:
            self._masks.pop(next(iter(self._masks)), None)
        self._masks[term] = found
        return found

    def _column(self, name: str) -> Texts | Numbers:
        if (ready := self._columns.get(name)) is not None:
            return ready
        columns: Mapping[str, Arrow] = {
            field.name: self.catalogue.table.column(field.name)
            for field in self.catalogue.table.schema
            if _comparable(field.type)
        }
        if name not in columns:
            raise ValueError(unknown_choice("column", name, columns))
        whole = columns[name].combine_chunks()
        whole = whole.chunk(0) if isinstance(whole, pa.ChunkedArray) and whole.num_chunks == 1 else whole
        kind = whole.type.value_type if pa.types.is_list(whole.type) else whole.type
        textual = pa.types.is_string(kind) or pa.types.is_large_string(kind)
        self._columns[name] = made = Texts.of(whole, len(self.catalogue)) if textual else Numbers.of(whole)
        return made


def _comparable(kind: Any) -> bool:
    if pa.types.is_list(kind):
        return bool(pa.types.is_string(kind.value_type) or pa.types.is_large_string(kind.value_type))
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_boolean(kind)
    )

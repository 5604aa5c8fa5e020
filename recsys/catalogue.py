"""What is known of items beside their vectors: titles and attributes, in row order, mapped from one Arrow file."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.arrays import Float64, Int32, Int64
from recsys.errors import DataError
from recsys.vocabulary import Vocabulary

if TYPE_CHECKING:
    import pandas as pd

# An Arrow array; the published stubs know too few of its methods.
Arrow = Any


@dataclass(frozen=True, eq=False)
class Catalogue:
    """Attributes of n items; row i is row i of the item vocabulary.

    ``table``: ``item_id`` and whatever columns the owner's catalogue has; ``title`` and ``text`` by convention.
    """

    table: pa.Table

    @classmethod
    def of(cls, frame: pd.DataFrame | None, vocabulary: Vocabulary) -> Catalogue:
        """Align a catalogue, which has ``item_id``, with a vocabulary; items that it lacks get only their id.

        Numbers that are not finite become unknown, times become ISO 8601: a description is plain JSON. ValueError for
        an item that the vocabulary does not know, or that stands there twice. DataError for a column that no file
        can hold: cells of several types, or bytes.
        """
        ids = list(vocabulary)
        if frame is None:
            return cls(pa.table({"item_id": pa.array(ids, pa.string())}))
        at = vocabulary.rows(frame["item_id"].tolist())
        if len(at) and at.min() < 0:
            raise ValueError(f"the vocabulary does not know item {frame['item_id'].iloc[int(at.argmin())]!r}")
        if len(np.unique(at)) < len(at):
            repeated = frame["item_id"][frame["item_id"].duplicated()].iloc[0]
            raise ValueError(f"item {repeated!r} stands twice in the catalogue, once was wanted: validate it first")
        line = np.full(len(ids), -1, np.int64)
        line[at] = np.arange(len(at))
        lines: Arrow = pa.array(line, mask=line < 0)
        columns = {
            str(name): _plain(str(name), _arrow(str(name), frame[name])).take(lines)
            for name in frame
            if name != "item_id"
        }
        return cls(pa.table({"item_id": pa.array(ids, pa.string()), **columns}).combine_chunks())

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def describe(self, rows: Int32) -> list[dict[str, Any]]:
        """The attributes of items as plain values, in the order of ``rows``; what is unknown is left out.

        IndexError for a row outside the catalogue, of which -1, no item, is one.
        """
        chosen = [int(row) for row in rows]
        if chosen and not 0 <= min(chosen) <= max(chosen) < len(self):
            raise IndexError(f"rows run from {min(chosen)} to {max(chosen)}, the catalogue from 0 to {len(self) - 1}")
        columns = [(name, column) for name, column in self._columns if len(column)]
        return [known((name, column[row].as_py()) for name, column in columns) for row in chosen]

    def find(self, ids: Sequence[str]) -> Int32:
        """The rows of items by their ids, -1 for one that is not there: int32 (m,).

        It reads the whole column: for what is asked once, when a release is opened.
        """
        column = self.table.column("item_id")
        among: Arrow = pc.is_in(column, value_set=pa.array(sorted(set(ids)), pa.string()))
        rows: Arrow = pc.indices_nonzero(among)
        at = dict(zip(column.take(rows).to_pylist(), rows.to_pylist(), strict=True))
        return np.array([at.get(id_, -1) for id_ in ids], np.int32)

    def search(self, text: str, limit: int) -> Int32:
        """Rows of items whose title holds ``text`` in any case, those that begin with it first: int32 (≤ limit,)."""
        if self._titles is None or not text:
            return np.zeros(0, np.int32)
        wanted = text.lower()
        masks: list[Arrow] = [matches(self._titles, wanted) for matches in (pc.match_substring, pc.starts_with)]
        # dlpack, since to_numpy imports pandas
        holding, beginning = (np.from_dlpack(pc.indices_nonzero(mask)) for mask in masks)
        later = np.setdiff1d(holding, beginning, assume_unique=True)
        return np.concatenate([beginning, later])[:limit].astype(np.int32)

    def shares(self, limit: int = 1000) -> Float64 | None:
        """Each item's share of each category, float64 (n, c), zeros where it has none.

        Categories are the values of the first column of lists of text that has at most ``limit`` different ones; None
        without such a column.
        """
        for _, column in self._columns:
            if not pa.types.is_list(column.type) or not pa.types.is_string(column.type.value_type):
                continue
            coded: Arrow = pc.dictionary_encode(pc.list_flatten(column))
            if 0 < len(coded.dictionary) <= limit:
                width = len(coded.dictionary)
                parents: Arrow = pc.list_parent_indices(column)
                owners, values = (np.asarray(np.from_dlpack(part), np.int64) for part in (parents, coded.indices))
                places = owners * width + values
                counts = np.bincount(places, minlength=len(self) * width).reshape(len(self), width)
                shares: Float64 = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
                return shares
        return None

    @property
    def grouping(self) -> tuple[str, ...]:
        """The columns by which items can be grouped: of texts, or of lists of texts."""
        return tuple(name for name, held in self._columns if name != "item_id" and _of_text(held.type))

    def groups(self, column: str) -> tuple[list[str], Int64, Int64]:
        """The different values of a column of texts, or of lists of texts, and which items have which.

        Names in the order of their first item; int64 (m,), places among the names, and int64 (m,), rows, one pair for
        each time that an item names a value. Empty texts and missing cells are no value.
        ValueError for a column that is not there or that holds something else.
        """
        if column not in self.grouping:
            raise ValueError(
                f"items can be grouped by a column of text or of lists of text, and {column!r} is none in this "
                f"catalogue: choose one of {', '.join(self.grouping) or 'none, it has no such column'}"
            )
        values: Arrow = self.table.column(column)
        parents: Arrow = pc.list_parent_indices(values) if pa.types.is_list(values.type) else None
        values = values if parents is None else pc.list_flatten(values)
        there: Arrow = pc.is_valid(values)
        coded = _whole(pc.dictionary_encode(values.filter(there)))
        rows = _whole(pc.indices_nonzero(there) if parents is None else parents.filter(there))
        # Told apart here: to compare with a text Arrow would import pandas.
        every = coded.dictionary.to_pylist()
        indices, owners = np.asarray(np.from_dlpack(coded.indices)), np.asarray(np.from_dlpack(rows), np.int64)
        named = indices != (every.index("") if "" in every else -1)
        used, places = np.unique(indices[named], return_inverse=True)
        return [every[at] for at in used.tolist()], places.astype(np.int64), owners[named]

    def memberships(self, column: str) -> tuple[Int64, Int64]:
        """:meth:`groups` by item, made once: item i's are ``groups[starts[i]:starts[i + 1]]``, each once.

        ``starts``: int64 (n + 1,); ``groups``: int64, places among the names. ValueError as there.
        """
        if column not in self._memberships:
            names, places, rows = self.groups(column)
            # Sorted, since numpy's unique hashes: for two million pairs that takes seconds.
            pairs = np.sort(rows * max(len(names), 1) + places)
            pairs = pairs[np.concatenate([pairs[:1] == pairs[:1], pairs[1:] != pairs[:-1]])]
            owners, groups = np.divmod(pairs, max(len(names), 1))
            starts = np.concatenate([[0], np.cumsum(np.bincount(owners, minlength=self.table.num_rows))])
            self._memberships[column] = starts.astype(np.int64), groups
        return self._memberships[column]

    def values(self, column: str) -> Mapping[str, int]:
        """The different values of such a column, casefolded, each with its place among the names; made once.

        Of values that differ by case alone, the first. ValueError as there.
        """
        if column not in self._values:
            self._values[column] = {
                name.casefold(): place for place, name in reversed(list(enumerate(self.groups(column)[0])))
            }
        return self._values[column]

    def newest_first(self, column: str) -> Int32:
        """The rows of which a column says something, the largest first, equal ones by row: int32 (≤ n,).

        Texts are compared as texts, which puts ISO 8601 days and times in their order. ValueError for a column that is
        not there or that holds something else.
        """
        if column not in self._newest_first:
            ordered = {name: held for name, held in self._columns if name != "item_id" and _ordered(held.type)}
            if column not in ordered:
                raise ValueError(
                    f"items can be ordered by a column of numbers or of text, such as days, and {column!r} is none in "
                    f"this catalogue: choose one of {', '.join(ordered) or 'none, it has no such column'}"
                )
            values: Arrow = self.table.column(column)
            there: Arrow = pc.is_valid(values)
            if _of_text(values.type):
                there = pc.and_kleene(there, pc.not_equal(values, pa.scalar("")))
            rows: Arrow = pc.indices_nonzero(there)
            order: Arrow = pc.sort_indices(values.take(rows), sort_keys=[("", "descending")])
            self._newest_first[column] = np.asarray(np.from_dlpack(rows), np.int32)[np.from_dlpack(order)]
        return self._newest_first[column]

    @property
    def described(self) -> Mapping[int, Mapping[str, Any]]:
        """What was said of items since the table was made: row → attributes."""
        return {}

    def amended(self, described: Mapping[int, Mapping[str, Any]]) -> Catalogue:
        """With other attributes for some rows, and with rows behind the last: row → attributes, ``item_id`` among them.

        The table stays as it is and is not copied; ``shares`` and ``groups`` go on telling of it alone.
        """
        return _Amended(self.table, self, described) if described else self

    def save(self, path: Path) -> None:
        """Write one uncompressed Arrow file, which can be mapped."""
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, self.table.schema) as writer:
            writer.write_table(self.table)

    @classmethod
    def load(cls, path: Path) -> Catalogue:
        """Map what :meth:`save` wrote; ValueError if it is not a whole Arrow file."""
        mapped = pa.memory_map(str(path))
        try:
            return cls(pa.ipc.open_file(mapped).read_all())
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{path} is not a catalogue, an Arrow file was wanted: {error}") from error

    @cached_property
    def _memberships(self) -> dict[str, tuple[Int64, Int64]]:
        return {}

    @cached_property
    def _values(self) -> dict[str, Mapping[str, int]]:
        return {}

    @cached_property
    def _newest_first(self) -> dict[str, Int32]:
        return {}

    @cached_property
    def _columns(self) -> list[tuple[str, Arrow]]:
        # One chunk each, so that a row is one look-up; texts of more than 2 GB stay in several.
        whole = self.table.combine_chunks()
        return [
            (name, column.chunk(0) if column.num_chunks == 1 else column)
            for name, column in zip(whole.column_names, whole.columns, strict=True)
        ]

    @cached_property
    def _titles(self) -> Arrow | None:
        title = dict(self._columns).get("title")
        return None if title is None else pc.utf8_lower(title.cast(pa.string()))


def _of_text(kind: Any) -> bool:
    """Whether an Arrow type is text or lists of text."""
    kind = kind.value_type if pa.types.is_list(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _ordered(kind: Any) -> bool:
    """Whether an Arrow type has an order that people mean: numbers and text."""
    return bool(
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or (_of_text(kind) and not pa.types.is_list(kind))
    )


def _whole(array: Arrow) -> Arrow:
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


@dataclass(frozen=True, eq=False)
class _Amended(Catalogue):
    """A catalogue of which some rows have been described anew, and further ones described."""

    built: Catalogue
    said: Mapping[int, Mapping[str, Any]]

    @property
    def described(self) -> Mapping[int, Mapping[str, Any]]:
        return self.said

    def __len__(self) -> int:
        return max(len(self.built), max(self.described) + 1)

    def describe(self, rows: Int32) -> list[dict[str, Any]]:
        said = [self.described.get(int(row)) for row in rows]
        built = iter(self.built.describe(np.array([row for row, new in zip(rows, said, strict=True) if new is None])))
        return [next(built) if new is None else known(new.items()) for new in said]

    def find(self, ids: Sequence[str]) -> Int32:
        said = {new.get("item_id"): row for row, new in self.described.items()}
        return np.array([said.get(id_, row) for id_, row in zip(ids, self.built.find(ids), strict=True)], np.int32)

    def search(self, text: str, limit: int) -> Int32:
        if not text:
            return np.zeros(0, np.int32)
        built = self.built.search(text, limit + len(self.described))
        titles = {row: str(new.get("title") or "") for row, new in self.described.items()}
        rows = [row for row in built.tolist() if row not in titles]
        titles |= {row: str(said.get("title")) for row, said in zip(rows, self.describe(np.array(rows)), strict=True)}
        wanted = text.lower()
        rows += [row for row in self.described if wanted in titles[row].lower()]
        rows.sort(key=lambda row: not titles[row].lower().startswith(wanted))
        return np.array(rows[:limit], np.int32)

    def amended(self, described: Mapping[int, Mapping[str, Any]]) -> Catalogue:
        return self.built.amended({**self.described, **described})

    def shares(self, limit: int = 1000) -> Float64 | None:
        return self.built.shares(limit)

    def groups(self, column: str) -> tuple[list[str], Int64, Int64]:
        return self.built.groups(column)

    def memberships(self, column: str) -> tuple[Int64, Int64]:
        return self.built.memberships(column)

    def values(self, column: str) -> Mapping[str, int]:
        return self.built.values(column)

    def newest_first(self, column: str) -> Int32:
        order = self.built.newest_first(column)
        order = order[~np.isin(order, list(self.described))]
        values, kind = self.table.column(column), str if _of_text(self.table.schema.field(column).type) else int | float
        said: list[tuple[Any, int]] = [(known(new.items()).get(column), row) for row, new in self.described.items()]
        said = [(value, row) for value, row in said if isinstance(value, kind) and not isinstance(value, bool)]
        said.sort(key=lambda pair: pair[1])
        said.sort(key=lambda pair: pair[0], reverse=True)
        # How many of the built ones stand before each of those that were described since.
        before = [bisect_left(range(len(order)), True, key=_behind(order, values, *pair)) for pair in said]
        return np.insert(order, before, [row for _, row in said])

    def save(self, path: Path) -> None:  # noqa: ARG002
        raise ValueError(
            f"{len(self.described)} items were described since this catalogue was made: save what is built"
        )


def _behind(order: Int32, values: Arrow, value: Any, row: int) -> Callable[[int], bool]:
    """Whether what stands at a place of ``order`` comes after an item of this value."""

    def behind(place: int) -> bool:
        there = int(order[place])
        other = values[there].as_py()
        return bool(other < value or (other == value and there > row))

    return behind


def known(values: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """What is unknown is left out."""
    return {name: value for name, value in values if value is not None and value != ""}


def _arrow(name: str, column: pd.Series[Any]) -> Arrow:
    try:
        array: Arrow = pa.array(column, from_pandas=True)
    except (pa.ArrowException, OverflowError, UnicodeEncodeError) as error:
        raise DataError(
            f"column {name!r} of the items cannot be kept: {error}; give every item the same type of value"
        ) from error
    return _whole(array)


def _plain(name: str, array: Arrow) -> Arrow:
    """The array in types that JSON has."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        array = _plain(name, array.dictionary_decode())
    elif pa.types.is_decimal(kind):
        array = array.cast(pa.float64())
    elif pa.types.is_floating(kind):
        array = pc.if_else(pc.is_finite(array), array, pa.scalar(None, kind))
    elif pa.types.is_timestamp(kind):
        zone = "UTC" if kind.tz else None
        array = pc.strftime(array.cast(pa.timestamp("s", zone), safe=False), "%Y-%m-%dT%H:%M:%S" + "Z" * bool(zone))
    elif pa.types.is_temporal(kind):
        array = array.cast(pa.string())
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        # flatten leaves out what lies under null lists, so the offsets are counted anew
        lengths = pc.list_value_length(array).fill_null(0).to_numpy(zero_copy_only=False)
        offsets: Arrow = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
        array = pa.ListArray.from_arrays(offsets, _plain(name, array.flatten()), mask=array.is_null())
    elif pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        raise DataError(f"column {name!r} of the items holds bytes, which no answer can: write text")
    return array

"""The archive of the log as something to learn from: what was done, by whom it turned out to be, with which items.

What the server showed is no event, and is not read here.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from recsys.datasets import Log
from recsys.errors import DataError, LogError
from recsys.logs.archive import Archive
from recsys.logs.records import Described, Merged, Record, decode, stamp_of
from training.progress import Watcher

COLUMNS: Mapping[str, str] = {
    "user_id": "str", "item_id": "str", "kind": "str", "value": "float64", "time": "int64", "event_id": "str",
}  # fmt: skip
# An Arrow array; the published stubs know too few of its methods.
Arrow = Any


def nothing_but_the_archive(items: pd.DataFrame | None) -> Log:
    """A log without events, to put the archive behind."""
    return Log("archive", pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in COLUMNS.items()}), items)


def with_archive(log: Log, folder: Path, watcher: Watcher) -> Log:
    """A log with what was archived behind it, users merged and items described as the archive says.

    An event that both have, by its id, is one. Archived events of items that the catalogue does not know are left out,
    as is whatever was done with items that were deleted. DataError where the log has an order in place of times.
    """
    if "order" in log.events:
        raise DataError(
            f"{log.name} says in which order things were done and not when, so what is archived cannot be put behind"
            " it: learn from the archive alone, or leave data.archive out"
        )
    archive = Archive(folder)
    changes = list(_changes(archive))
    last = _last_said(changes)
    gone = [item for item, description in last.items() if description is None]
    items = _catalogue(log.items, last, watcher)
    events = _events(archive)
    if "event_id" in log.events:
        events = events[~events["event_id"].isin(log.events["event_id"])]
    if items is not None:
        known = events["item_id"].isin(items["item_id"])
        if not known.all():
            watcher.note(f"{int((~known).sum()):,} archived events of items that the catalogue does not know")
        events = events[known]
    if "time" not in log.events and len(events):
        watcher.note(f"{log.name} has no times: those of {len(events):,} archived events are not used")
    joined = _behind(log.events, events, str(folder / "archive.parquet"))
    joined = joined[~joined["item_id"].isin(gone)]
    merges = sorted((one for one in changes if isinstance(one, Merged)), key=lambda one: (one.time, one.id))
    if merges:
        joined = joined.assign(user_id=_merged(joined, merges))
    return replace(log, events=joined, items=items)


def _behind(own: pd.DataFrame, archived: pd.DataFrame, name: str) -> pd.DataFrame:
    """Both in the columns that the first has. A row's label says where it stands, if findings are to name it."""
    files = own.attrs.get("files", [])
    start = sum(rows for _, rows in files) if files else len(own)
    archived = archived.set_axis(pd.RangeIndex(start, start + len(archived)))
    shared = [name for name in COLUMNS if name in own]
    joined = pd.concat([own[shared], archived[shared]])
    joined.attrs = {**own.attrs, **({"files": [*files, [name, len(archived)]]} if files else {})}
    return joined


def _events(archive: Archive) -> pd.DataFrame:
    """What was done, in the columns of :mod:`recsys.events`; each event once, by its id."""
    tables: list[Arrow] = [archive.table("events", day).select(list(COLUMNS)) for day in archive.days()]
    if not tables:
        return nothing_but_the_archive(None).events
    table: Arrow = pa.concat_tables(tables)
    columns = {name: pd.Series(table.column(name), dtype=kind) for name, kind in COLUMNS.items() if kind == "str"}
    columns |= {name: table.column(name).to_pandas() for name, kind in COLUMNS.items() if kind != "str"}
    return pd.DataFrame(columns)[list(COLUMNS)].drop_duplicates("event_id", ignore_index=True)


def _changes(archive: Archive) -> Iterator[Record]:
    for day in archive.days():
        table: Arrow = archive.table("changes", day)
        for stored in table.column("record").to_pylist():
            try:
                yield decode(stored)
            except LogError:
                continue


# Users


def _merged(events: pd.DataFrame, merges: Sequence[Merged]) -> pd.Series[str]:
    """Of each event the user whose it turned out to be: what was done before a merge is of whom that names.

    ``merges``: in the order of their times.
    """
    times = [merge.time for merge in merges]
    of: dict[str, list[int]] = {}
    for place, merge in enumerate(merges):
        of.setdefault(merge.anonymous, []).append(place)
    users = events["user_id"].to_numpy(object, copy=True)
    concerned = np.flatnonzero(events["user_id"].isin(list(of)).to_numpy())
    when = events["time"].to_numpy()[concerned].tolist() if "time" in events else [times[0]] * len(concerned)
    for at, time in zip(concerned.tolist(), when, strict=True):
        place = bisect_left(times, time)
        # each step goes to a later merge, so two users who were merged into each other come to an end
        while (next_ := _first(of.get(users[at], ()), place)) is not None:
            users[at], place = merges[next_].user, next_ + 1
    return pd.Series(users, index=events.index, dtype="str")


def _first(places: Sequence[int], least: int) -> int | None:
    at = bisect_left(places, least)
    return places[at] if at < len(places) else None


# Items


def _last_said(changes: Iterable[Record]) -> dict[str, Mapping[str, Any] | None]:
    """What was said last of each item; None of one that was deleted."""
    described = sorted((one for one in changes if isinstance(one, Described)), key=stamp_of)
    return {one.item: one.description for one in described}


def _catalogue(
    items: pd.DataFrame | None, last: Mapping[str, Mapping[str, Any] | None], watcher: Watcher
) -> pd.DataFrame | None:
    """The catalogue with what was said last of an item in place of its row, and without those that were deleted."""
    rows = [{**said, "item_id": item} for item, said in last.items() if said is not None]
    if items is None and not rows:
        return None
    kept = pd.DataFrame({"item_id": pd.Series(dtype="str")}) if items is None else items
    kept = kept[~kept["item_id"].isin(list(last))]
    columns = {}
    for name in dict.fromkeys([*kept, *(name for row in rows for name in row)]):
        before = _arrow(kept[name]) if name in kept else pa.nulls(len(kept))
        columns[name], unfit = _column(before, [row.get(name) for row in rows])
        if unfit:
            watcher.note(f"column {name!r} holds {before.type}: {unfit:,} items say something else, which is left out")
    joined = pd.DataFrame(columns)
    joined.attrs = kept.attrs
    return joined


def _arrow(column: pd.Series[Any]) -> Arrow:
    try:
        array: Arrow = pa.array(column, from_pandas=True)
    except (pa.ArrowException, OverflowError, UnicodeEncodeError) as error:
        raise DataError(
            f"column {column.name!r} of the items holds values of several types ({error}), so that items described"
            " since cannot be put beside them: give every item the same type of value"
        ) from error
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


def _column(before: Arrow, cells: Sequence[Any]) -> tuple[pd.Series[Any], int]:
    """A column with cells of JSON behind it, and how many of these it cannot hold."""
    kind = before.type
    if pa.types.is_null(kind):
        kind = _kind(cells)
    elif pa.types.is_integer(kind) and any(isinstance(cell, float) for cell in cells):
        kind = pa.float64()
    before = before.cast(kind)
    fitting = [_fitting(cell, kind) for cell in cells]
    unfit = sum(one is None and cell is not None for one, cell in zip(fitting, cells, strict=True))
    joined: Arrow = pa.chunked_array([before, pa.array(fitting, kind)])
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return pd.Series(joined, dtype="str"), unfit
    return pd.Series(pd.array(joined.to_pylist(), dtype=pd.ArrowDtype(kind))), unfit


def _kind(cells: Sequence[Any]) -> Any:
    """The type of a new column: one that holds all its cells, else that of most of them."""
    known = [cell for cell in cells if cell is not None]
    kind = _kind_of(known)
    if kind is None:
        kinds = [str(_kind_of([cell])) for cell in known]
        most = max(sorted(set(kinds)), key=kinds.count)
        kind = _kind_of([known[kinds.index(most)]])
    return pa.string() if kind is None or pa.types.is_null(kind) else kind


def _kind_of(cells: Sequence[Any]) -> Any:
    """The type that Arrow finds for cells; none where they have none in common. An empty list is one of texts."""
    try:
        kind: Any = pa.array(cells).type
    except (pa.ArrowException, OverflowError, UnicodeEncodeError):
        return None
    return pa.list_(pa.string()) if kind == pa.list_(pa.null()) else kind


def _fitting(cell: Any, kind: Any) -> Any:
    """The cell as that type has it; None if it has it not."""
    try:
        scalar: Arrow = pa.scalar(cell, pa.string() if pa.types.is_temporal(kind) else kind)
        return scalar.cast(kind).as_py()
    except (pa.ArrowException, OverflowError, UnicodeEncodeError, TypeError, ValueError):
        return None

"""Users as they are known at the cut-off, in columns: what the chunk function is given, on one machine or on many."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recsys.arrays import Int32, Int64, UInt64
from recsys.assembly import Engine
from recsys.errors import PlaylistError
from recsys.playlists.editions import Edition
from recsys.playlists.plan import CHUNK, STATES, Arrow, arrow
from recsys.retrieval import NO_ROWS, Query
from recsys.stores import Store

NO_KEYS: UInt64 = np.zeros(0, np.uint64)
RAGGED: dict[str, type] = {
    "vector": np.float32,
    "recent": np.int32,
    "weights": np.float32,
    "times": np.int64,
    "seen": np.int32,
    "shown": np.int32,
    "shown_times": np.int64,
    "earlier": np.int32,
    "last": np.int32,
}


async def queries_of(engine: Engine, store: Store | None, users: Sequence[str], now: datetime) -> list[Query]:
    """What the pipeline is asked for users: by what the release knows of them, and the store since.

    ``store``: None where there is nothing but the release.
    """
    stored = [None] * len(users) if store is None else await store.get(users, engine.id)
    rows = engine.users.ids.rows(users)
    # Of most the store knows nothing, and they need not be looked for by name again.
    found = [
        engine.resolver.learned(row, now) if state is None and row >= 0 else engine.resolver.known(user, state, now)
        for user, row, state in zip(users, rows.tolist(), stored, strict=True)
    ]
    # What they dismissed is no more to be given than what they heard.
    return [
        replace(query, seen=np.union1d(query.seen, query.dismissed).astype(np.int32)) if len(query.dismissed) else query
        for query in found
    ]


def columns_of(queries: Sequence[Query], opens: Int64, earlier: Sequence[Int32], last: Sequence[Int32]) -> pa.Table:
    """Queries of users in their order as STATES. PlaylistError for an id that is no text for a file."""
    users = [query.user for query in queries]
    try:
        names: Arrow = pa.array(users, pa.string())
    except (UnicodeEncodeError, pa.ArrowInvalid) as error:
        raise PlaylistError(
            f"an id cannot be written to a file, since it is no UTF-8 ({error}): leave it out"
        ) from None
    arrays: dict[str, Sequence[Any]] = {
        name: [getattr(query, name) for query in queries]
        for name in ("vector", "recent", "weights", "times", "seen", "shown", "shown_times")
    }
    arrays |= {"earlier": earlier, "last": last}
    columns: dict[str, Arrow] = {name: _ragged(arrays[name], kind) for name, kind in RAGGED.items()}
    columns |= {
        "user": names,
        "level": pa.array([query.level for query in queries], pa.string()),
        "available_from": pa.array(opens, pa.int64()),
        "interests": pa.array([query.interests for query in queries], pa.list_(pa.string())),
    }
    return pa.table([columns[field.name] for field in STATES], schema=STATES)


def write_states(table: pa.Table, path: Path) -> None:
    """Plain Parquet: it is read once, and soon."""
    pq.write_table(table, path, row_group_size=CHUNK, compression="none", use_dictionary=False, write_statistics=False)


def users_of(batch: pa.RecordBatch, now: datetime) -> Iterator[Query]:
    """Each user of a batch of STATES, as the query that was written."""
    columns: dict[str, Arrow] = {name: batch.column(name) for name in STATES.names}
    ragged = {name: split(columns[name]) for name in RAGGED}
    shown: list[bool] = columns["shown"].is_valid().to_pylist()
    texts = zip(*(columns[name].to_pylist() for name in ("user", "level", "interests")), strict=True)
    for place, (user, level, interests) in enumerate(texts):
        of = {name: arrays[place] for name, arrays in ragged.items()}
        yield Query(
            now=now,
            user=user,
            vector=of["vector"] if len(of["vector"]) else None,
            level=level,
            recent=of["recent"],
            weights=of["weights"],
            times=of["times"],
            seen=of["seen"],
            interests=tuple(interests),
            excluded=of["earlier"],
            shown=of["shown"] if shown[place] else None,
            shown_times=of["shown_times"],
        )


def before_of(engine: Engine, editions: Sequence[Edition], users: Sequence[str]) -> list[Int32]:
    """The items of the users' lists in these editions, by row, as far as the release has them."""
    found = [NO_ROWS] * len(users)
    for edition in editions:
        keys = edition.items_of(users)
        rows = engine.items.rows_of_keys(np.concatenate([NO_KEYS, *keys]))
        ends = np.cumsum([len(some) for some in keys])
        for place, some in enumerate(np.split(rows, ends[:-1])):
            if len(some):
                found[place] = np.concatenate([found[place], some[some >= 0]])
    # An item may come back after so many weeks and then stand in two of them.
    return [np.unique(some) for some in found] if len(editions) > 1 else found


def flat(table: pa.Table, column: str) -> tuple[Int32, Int64]:
    """All values of a column of lists, and the place of the user that each belongs to."""
    arrays = split(table.column(column).combine_chunks())
    owners = np.repeat(np.arange(len(arrays)), [len(array) for array in arrays])
    return (np.concatenate(arrays) if arrays else NO_ROWS), owners


def split(lists: Arrow) -> list[np.ndarray]:
    """The lists of a column as arrays, without a copy."""
    edges = np.asarray(lists.offsets.to_numpy()).tolist()
    values = np.asarray(lists.values.to_numpy())
    return [values[a:b] for a, b in pairwise(edges)]


def _ragged(arrays: Sequence[np.ndarray | None], kind: type) -> Arrow:
    filled: list[np.ndarray] = [np.zeros(0, kind) if array is None else np.asarray(array, kind) for array in arrays]
    offsets = np.concatenate([[0], np.cumsum([len(array) for array in filled])]).astype(np.int32)
    values = np.concatenate(filled) if filled else np.zeros(0, kind)
    missing = pa.array([array is None for array in arrays], pa.bool_())
    return pa.ListArray.from_arrays(arrow(offsets), arrow(values), mask=missing)

"""What is done to a part, in whichever process: its users' states, or their lists."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recsys.amending import Grow
from recsys.arrays import Int32
from recsys.assembly import LoadIndex
from recsys.durable import replace_file, whole
from recsys.mapping import load_mapped
from recsys.playlists.editions import GROUP, EditionStore
from recsys.playlists.lists import Maker
from recsys.playlists.plan import (
    CHUNK,
    DRAFT,
    EDITION,
    PLAN,
    ROWS,
    Plan,
    arrow,
    found_name,
    part_name,
    states_name,
)
from recsys.playlists.quality import inspected
from recsys.playlists.states import before_of, columns_of, queries_of, write_states
from recsys.playlists.weeks import Week
from recsys.releases import ReleaseStore
from recsys.sections import State
from recsys.stores import open_store
from recsys.vocabulary import Vocabulary

BULK_MS = 30_000
"""How long the store may take for a batch: nobody waits for a page."""


@dataclass(frozen=True, slots=True)
class Opening:
    """What a process needs to open a run's release and to ask for its users; plain values and functions by name.

    ``state``: where the store is; None where there is none, or nothing is asked of it any more.
    """

    making: Path
    editions: Path
    releases: Path
    load_index: LoadIndex
    grow: Grow
    state: State | None


class Engines(Protocol):
    """Runs a job for each of many parts, on this machine or on others."""

    def __call__(self, opening: Opening, job: str, parts: Sequence[int], done: Callable[[int], None]) -> None:
        """``job``: "states" or "lists"; ``done`` is told of each part. Raises what a job raised."""
        ...


def work(opening: Opening, job: str, part: int) -> int:
    """Do it; the part. The release is opened once in a process."""
    plan = (opening.making / (DRAFT if job == "states" else PLAN)).read_text(encoding="utf-8")
    maker = _maker(plan, opening)
    if job == "states":
        _read(maker, opening, part)
    else:
        _make(maker, opening, part)
    return part


@lru_cache(maxsize=1)
def _maker(plan: str, opening: Opening) -> Maker:
    parsed = Plan.model_validate_json(plan)
    return Maker.of(parsed, ReleaseStore(opening.releases), opening.load_index, opening.grow)


def _read(maker: Maker, opening: Opening, part: int) -> None:
    """The states of a part's users."""
    plan, editions = maker.plan, EditionStore(opening.editions)
    first, end = part * plan.part, min((part + 1) * plan.part, plan.users)
    users = Vocabulary.load(opening.making / EDITION / "users").ids(np.arange(first, end, dtype=np.int32))
    opens = load_mapped(opening.making / EDITION / "opens.npy")[first:end]
    now = Week.parse(plan.request.week).start

    async def queries() -> list[Any]:
        found: list[Any] = []
        state = None if opening.state is None else opening.state.model_copy(update={"timeout_ms": BULK_MS})
        async with nullcontext() if state is None else open_store(state) as store:
            for start in range(0, len(users), CHUNK):
                found += await queries_of(maker.engine, store, users[start : start + CHUNK], now)
        return found

    earlier = [editions.get(edition) for edition in plan.earlier]
    last = [editions.get(plan.last)] if plan.last else []
    before: list[list[Int32]] = [before_of(maker.engine, some, users) for some in (earlier, last)]
    table = columns_of(asyncio.run(queries()), opens, *before)
    with whole(opening.making / states_name(part)) as path:
        write_states(table, path)


def _make(maker: Maker, opening: Opening, part: int) -> None:
    """The lists of a part's users, and what is found in them when they are read again."""
    states = pq.read_table(opening.making / states_name(part), use_threads=False)
    rows = maker.rows(states)
    counts = _counts(rows, states)
    with whole(opening.making / EDITION / part_name(part)) as path:
        write_rows(rows, counts, path)
        read = pq.read_table(path, use_threads=False)
        found = {**inspected(read, states, maker.engine, maker.plan), "counts": counts.tolist()}
        # First what was found, so that where the part is there, that is too.
        replace_file(opening.making / found_name(part), json.dumps(found))


def write_rows(rows: pa.Table, counts: Any, path: Path) -> None:
    """The rows of a part's users, in a row group for each GROUP of them."""
    ends = np.concatenate([[0], np.cumsum(counts)])
    with pq.ParquetWriter(path, ROWS, compression="zstd") as writer:
        for start in range(0, len(counts), GROUP):
            first, end = int(ends[start]), int(ends[min(start + GROUP, len(counts))])
            writer.write_table(rows.slice(first, end - first), row_group_size=max(1, end - first))


def _counts(rows: pa.Table, states: pa.Table) -> Any:
    """How long each user's list is, int64 (users,)."""
    positions = np.asarray(rows.column("position").to_numpy())
    firsts = np.flatnonzero(positions == 1)
    lengths = np.diff(np.concatenate([firsts, [len(positions)]]))
    at = {user: place for place, user in enumerate(states.column("user").to_pylist())}
    names = rows.column("user").take(arrow(firsts)).to_pylist()
    counts = np.zeros(states.num_rows, np.int64)
    counts[[at[name] for name in names]] = lengths
    return counts

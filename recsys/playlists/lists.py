"""Lists of a chunk of users: the pure function that a night is made of.

The same release, plan and states give the same rows to the byte, in whichever process and on whichever machine, since
chunks are cut the same everywhere and each is one batch of the pipeline.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from xxhash import xxh3_64_intdigest

from recsys.amending import Grow
from recsys.arrays import Float32, Int32
from recsys.assembly import Engine, LoadIndex, assemble
from recsys.candidates import PROPENSITY
from recsys.errors import PlaylistError
from recsys.pipeline import Answer, Recommender
from recsys.playlists.plan import CHUNK, ROWS, Arrow, Plan, arrow
from recsys.playlists.states import users_of
from recsys.playlists.weeks import Week
from recsys.releases import ReleaseStore
from recsys.retrieval import SIMILAR_INDEX, Query

REASONS = 64
"""Lists whose vectors are gathered at once."""


@dataclass(frozen=True, slots=True, eq=False)
class Maker:
    """One release opened once, and what a plan makes of it."""

    engine: Engine
    recommender: Recommender
    plan: Plan

    @classmethod
    def of(cls, plan: Plan, releases: ReleaseStore, load_index: LoadIndex, grow: Grow) -> Maker:
        """Open the release of a plan, with the items as they were described when it began."""
        return cls.over(opened(releases, plan.release, load_index, grow, plan.changes), plan)

    @classmethod
    def over(cls, engine: Engine, plan: Plan) -> Maker:
        """Over an engine that is open already."""
        return cls(engine, Recommender.of(plan.surface, engine.parts), plan)

    def rows(self, states: pa.RecordBatch | pa.Table) -> pa.Table:
        """The lists of users, given as STATES, in their order, as ROWS."""
        parts = [self._chunk(batch) for batch in pa.table(states).combine_chunks().to_batches(max_chunksize=CHUNK)]
        return pa.concat_tables(parts) if parts else ROWS.empty_table()

    def _chunk(self, batch: pa.RecordBatch) -> pa.Table:
        # Monday, so that running again on another day changes nothing.
        now = Week.parse(self.plan.request.week).start
        queries = [replace(query, seed=self._seed(query.user)) for query in users_of(batch, now)]
        shape = len(queries), self.plan.request.length
        rows, scores = np.full(shape, -1, np.int32), np.zeros(shape, np.float32)
        sources, levels = np.full(shape, "", object), np.full(len(queries), "none", object)
        # Whoever took much is asked for with their like: a batch fetches as much more as its longest history needs.
        lengths = np.array([len(query.seen) + len(query.excluded) for query in queries])
        sizes = np.ceil(np.log2(np.maximum(lengths, 64))).astype(int)
        for size in np.unique(sizes).tolist():
            places = np.flatnonzero(sizes == size)
            answer = self.recommender.recommend([queries[place] for place in places.tolist()], shape[1])
            rows[places], scores[places] = answer.candidates.rows, answer.candidates.scores
            sources[places], levels[places] = _sources(answer), answer.levels
            if answer.degraded:
                # Online a list without some part is better than none; here there is time to find out.
                raise PlaylistError(f"{', '.join(answer.degraded)} failed, see above: no list was made without it")
        return self._table(batch, rows, scores, sources, levels, self._reasons(queries, rows))

    def _seed(self, user: str | None) -> int:
        """Another one each week, so that two weeks differ."""
        return xxh3_64_intdigest(f"{self.plan.request.week} {self.plan.request.seed} {user}".encode())

    def _reasons(self, queries: Sequence[Query], rows: Int32) -> Int32:
        """The recent item that each slot's item is nearest to, by row, int32 (q, k); -1 where nothing is near."""
        vectors = self.engine.parts.vectors.get(SIMILAR_INDEX)
        found = np.full(rows.shape, -1, np.int32)
        if vectors is None:
            return found
        told = [query.recent[query.weights > 0] for query in queries]
        for start in range(0, len(rows), REASONS):
            part = slice(start, start + REASONS)
            recent = np.full((len(rows[part]), max(map(len, told[part]), default=0)), -1, np.int32)
            if not recent.shape[1]:
                continue
            for line, some in enumerate(told[part]):
                recent[line, : len(some)] = some
            likeness = np.matmul(_of(vectors, rows[part]), _of(vectors, recent).transpose(0, 2, 1))
            nearest = likeness.argmax(axis=2)
            near = np.take_along_axis(likeness, nearest[:, :, None], axis=2)[:, :, 0] > 0
            found[part] = np.where(near, np.take_along_axis(recent, nearest, axis=1), -1)
        return found

    def _table(
        self,
        batch: pa.RecordBatch,
        rows: Int32,
        scores: Float32,
        sources: np.ndarray,
        levels: np.ndarray,
        reasons: Int32,
    ) -> pa.Table:
        filled = rows >= 0
        owners, slots = np.nonzero(filled)
        users: Arrow = batch.column("user")
        opens: Arrow = batch.column("available_from")
        own = arrow(owners)
        said = reasons[filled]
        columns: dict[str, Arrow] = {
            "user": users.take(own),
            "position": pa.array((slots + 1).astype(np.int16)),
            "item": pa.array(self.engine.items.ids(rows[filled]), pa.string()),
            "score": pa.array(scores[filled]),
            "source": pa.array(sources[filled], pa.string()),
            "reason": _named(self.engine, said),
            "level": pa.array(levels[owners], pa.string()),
            "available_from": opens.take(own),
            "release": pa.array([self.plan.release], pa.string()).take(arrow(np.zeros(len(owners), np.int8))),
        }
        return pa.table([columns[field.name] for field in ROWS], schema=ROWS)


def opened(
    releases: ReleaseStore,
    release: str,
    load_index: LoadIndex,
    grow: Grow,
    changes: Mapping[str, Mapping[str, Any] | None],
) -> Engine:
    """A release with its items as they were described when a run began."""
    engine = assemble(releases.get(release), load_index, grow)
    return engine.amended(changes) if changes else engine


def _sources(answer: Answer) -> np.ndarray:
    """For each slot, the names of the sources that proposed its item, by spaces, (q, k) of texts."""
    signals = {name: ~np.isnan(said) for name, said in answer.candidates.signals.items() if name != PROPENSITY}
    codes = np.zeros(answer.candidates.shape, np.int64)
    for bit, said in enumerate(signals.values()):
        codes |= said.astype(np.int64) << bit
    different, at = np.unique(codes, return_inverse=True)
    names = [" ".join(name for bit, name in enumerate(signals) if code >> bit & 1) for code in different.tolist()]
    return np.array(names, object)[at].reshape(codes.shape)


def _named(engine: Engine, rows: Int32) -> Arrow:
    """Ids of items, null for -1."""
    ids: list[str | None] = [None] * len(rows)
    there = np.flatnonzero(rows >= 0)
    for place, id_ in zip(there.tolist(), engine.items.ids(rows[there]), strict=True):
        ids[place] = id_
    return pa.array(ids, pa.string())


def _of(vectors: Float32, rows: Int32) -> Float32:
    """Vectors of rows, float32 (q, n, d), zeros where there is no item."""
    found: Float32 = np.where(rows[:, :, None] >= 0, vectors[np.maximum(rows, 0)], np.float32(0))
    return found

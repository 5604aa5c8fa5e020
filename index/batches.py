"""Many queries against all items: scores are looked at while a cache holds them, and few of them are kept."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import numpy as np
from threadpoolctl import ThreadpoolController

from recsys.arrays import Float32, Int32, Int64
from recsys.kernels.vectors import nearest as alone
from recsys.topk import best

LINES, COLUMNS = 344, 768
"""Queries and items of a tile: a megabyte of scores, half of a core's cache, and as much as BLAS likes."""
MANY = 64
"""Queries that are worth tiles."""
STRIDE = 32
"""One item of so many is scored first, to learn which scores are worth keeping."""
FOLD = 4
"""Of so many scores of that sample the largest is looked at: it costs less to find the best of fewer."""
SIGMAS = 4.0
"""How far beyond its mean a sample may hold the wanted items, in deviations, without a query being asked again."""
CROWD = 4
"""So many times the scores that are expected are kept at most."""
BLOCK_BYTES = 64 * 2**20
"""Scores held at once where whole lines are: large enough for BLAS, small enough for many workers."""

Found = tuple[Int32, Float32]
_LIMITED = threading.Lock()


def nearest(queries: Float32, vectors: Float32, k: int, among: Int32 | None = None) -> Found:
    """Rows and inner products of the k largest of each query, best first, equal ones by row: int32, float32 (q, k).

    ``queries``: float32 (q, d), and ``vectors``: float32 (n, d), finite. ``among``: int32 (m,), ascending, the rows
    that may be answered, k at most; None for all. Slots without anything are -1 and -inf. Exact: many queries have
    whatever scores above a bound kept, a tile at a time; the bound comes of a sample, and a query that it leaves fewer
    than k is asked again, with whole lines of scores. As many threads as BLAS may have share the queries.
    """
    many = len(queries) >= MANY
    if among is None or len(among) == len(vectors):
        return _nearest(queries, vectors, k) if many else _whole(queries, vectors, k)
    if not many and 4 * len(among) > len(vectors):
        # Most of them: few queries score everything in place rather than copy what is allowed.
        places, scores = _whole(queries, vectors, k, among)
    else:
        places, scores = _nearest(queries, vectors[among], k) if many else _whole(queries, vectors[among], k)
    return among[places], scores


def _nearest(queries: Float32, vectors: Float32, k: int) -> Found:
    expected = k / STRIDE
    depth = int(expected + SIGMAS * expected**0.5) + 2
    if 16 * STRIDE * depth > len(vectors):
        return _whole(queries, vectors, k)
    # At random places, so that no pattern in the order of rows deceives it.
    places = np.arange(0, len(vectors) - STRIDE + 1, STRIDE)
    places += np.random.default_rng(0).integers(0, STRIDE, len(places))
    sample = vectors[places]

    def of(some: Float32) -> Found:
        first = some @ sample.T
        groups = len(sample) // FOLD
        first = first[:, : FOLD * groups].reshape(len(some), FOLD, groups).max(axis=1)
        bound = np.partition(first, groups - depth, axis=1)[:, groups - depth, None]
        return _above(some, vectors, k, bound, CROWD * STRIDE * depth * len(some))

    return _shared(of, queries)


def _shared(of: Callable[[Float32], Found], queries: Float32) -> Found:
    """What ``of`` answers to parts of the queries, in threads that each compute alone: BLAS's own wait for each other.

    How many threads BLAS has is one number of the process, so one search at a time changes it.
    """
    blas, parts = _blas(), -(-len(queries) // LINES)
    threads = min(max((each["num_threads"] for each in blas.info()), default=1), len(queries) // MANY)
    if threads < 2 or not _LIMITED.acquire(blocking=False):
        found = [of(part) for part in np.array_split(queries, parts)]
    else:
        try:
            with blas.limit(limits=1), ThreadPoolExecutor(threads) as pool:
                found = list(pool.map(of, np.array_split(queries, -(-parts // threads) * threads)))
        finally:
            _LIMITED.release()
    return np.concatenate([rows for rows, _ in found]), np.concatenate([scores for _, scores in found])


@lru_cache(maxsize=1)
def _blas() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="blas")


def _above(queries: Float32, vectors: Float32, k: int, bound: Float32, room: int) -> Found:
    """The k best of each query, of what is above ``bound``, (q, 1); of everything where that is not k or too much.

    ``room``: scores that may be kept.
    """
    lines = len(queries)
    # The last one reaches back: BLAS adds up a narrow one otherwise than others, down to the last bit.
    starts = np.minimum(np.arange(0, len(vectors), COLUMNS), len(vectors) - COLUMNS)
    tile = np.empty((lines, COLUMNS), np.float32)
    above = np.empty((lines, COLUMNS), bool)
    places: list[Int64] = []
    values: list[Float32] = []
    with np.errstate():
        # Else numpy copies the bound beside every score; leaving errstate sets it back.
        np.setbufsize(COLUMNS)
        for start, done in zip(starts, [0, *(starts[:-1] + COLUMNS)], strict=True):
            np.matmul(queries, vectors[start : start + COLUMNS].T, out=tile)
            tile[:, : done - start] = -np.inf
            place = np.flatnonzero(np.greater(tile, bound, out=above))
            values.append(tile.reshape(-1)[place])
            places.append(place)
            room -= len(place)
            if room < 0:
                return _whole(queries, vectors, k)
    rows, scores, counts = _sorted(places, np.concatenate(values), starts, lines, k)
    lacking = np.flatnonzero(counts < k)
    if len(lacking):
        # Two at least, for the same reason.
        lacking = np.resize(lacking, max(2, len(lacking)))
        rows[lacking], scores[lacking] = _whole(queries[lacking], vectors, k)
    return rows, scores


def _sorted(places: list[Int64], values: Float32, starts: Int64, lines: int, k: int) -> tuple[Int32, Float32, Int64]:
    """The k best of each line, and how many it had: of places in tiles, ascending, that begin at rows ``starts``.

    A score and its row are one integer, which sorts faster than either: the score's bits upside down, then the row.
    """
    lengths = [len(each) for each in places]
    place = np.concatenate(places)
    line = place // COLUMNS
    row = place - COLUMNS * line + np.repeat(starts, lengths)
    counts = np.bincount(line + np.repeat(lines * np.arange(len(places)), lengths), minlength=len(places) * lines)
    of_tiles = counts.reshape(-1, lines)
    ends = of_tiles.cumsum(axis=0)
    width = max(int(ends[-1].max()), k)
    # Where in its line a tile's first is put, less where that stands among all.
    firsts = width * np.arange(lines) + ends - of_tiles - (counts.cumsum() - counts).reshape(-1, lines)
    slots = np.repeat(firsts.reshape(-1), counts)
    slots += np.arange(len(slots))
    keys = np.full((lines, width), np.iinfo(np.int64).max)
    # 0 is added since -0 equals it.
    key = (~_turned((values + np.float32(0)).view(np.int32))).astype(np.int64)
    key <<= 32
    key |= row
    keys.reshape(-1)[slots] = key
    keys.partition(k - 1, axis=1)
    keys = np.sort(keys[:, :k], axis=1)
    scores = _turned(~(keys >> 32).astype(np.int32)).view(np.float32)
    return keys.astype(np.int32), scores, ends[-1]


def _turned(bits: Int32) -> Int32:
    """Bits of floats as integers in the same order, and back."""
    return bits ^ ((bits >> 31) & np.int32(0x7FFFFFFF))


def _whole(queries: Float32, vectors: Float32, k: int, among: Int32 | None = None) -> Found:
    """With whole lines of scores, in blocks; ``among``: columns of which rows are answered as places."""
    if len(queries) == 1 and among is None:
        row, score = alone(np.ascontiguousarray(vectors), np.ascontiguousarray(queries[0]), k)
        return row[None], score[None]
    rows = np.empty((len(queries), k), np.int32)
    scores = np.empty((len(queries), k), np.float32)
    blocks = -(-len(queries) * len(vectors) * 4 // BLOCK_BYTES)
    block = -(-len(queries) // max(1, min(blocks, len(queries))))
    # One block of scores for all: memory that is fresh for each costs a sixth of the search.
    held = np.empty((block, len(vectors)), np.float32)
    for start in range(0, len(queries), max(1, block)):
        part = slice(start, start + block)
        some = np.matmul(queries[part], vectors.T, out=held[: len(queries[part])])
        rows[part], scores[part] = best(some if among is None else some[:, among], k)
    return rows, scores

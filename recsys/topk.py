"""The k best of many scores, exactly, without sorting or partitioning them all."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from recsys.arrays import Float32, Int32, Int64
from recsys.candidates import EMPTY, NONE
from recsys.kernels import candidates as kernels

GROUP = 32
"""Columns whose maximum stands for them."""
FEW = 4096
"""Columns of a single line that are looked at one by one."""
ALONE = 32
"""Queries that are not worth a thread."""


def best(scores: Float32, k: int, *, above: float | None = None) -> tuple[Int32, Float32]:
    """Columns and scores of the k largest of each line, best first, equal ones by column: int32 and float32 (q, k).

    ``scores``: float32 (q, n). ``above``: only what is larger counts. Slots without anything are -1 and -inf.
    The columns are put into groups; the k-th best maximum of a group is a lower bound of the k-th best score, and
    few scores reach it. Numpy lets go of the interpreter, so several threads share the lines.
    """
    # Few are not worth asking the system how many processors there are.
    threads = min(len(os.sched_getaffinity(0)), len(scores) // ALONE) if len(scores) >= 2 * ALONE else 1
    if threads < 2:
        return _best(scores, k, above)
    with ThreadPoolExecutor(threads) as pool:
        parts = list(pool.map(lambda part: _best(part, k, above), np.array_split(scores, threads)))
    return np.concatenate([rows for rows, _ in parts]), np.concatenate([values for _, values in parts])


def _best(scores: Float32, k: int, above: float | None) -> tuple[Int32, Float32]:
    queries, n = scores.shape
    wanted = min(k, n)
    rows = np.full((queries, k), NONE)
    values = np.full((queries, k), EMPTY)
    if not wanted or not queries:
        return rows, values
    if queries == 1 and above is None and n <= FEW:
        return kernels.largest(np.ascontiguousarray(scores), k)
    line, column = _reaching(scores, wanted, above)
    counts = np.bincount(line, minlength=queries)
    # Many equal scores at the bound, or nan among them: such lines are sorted whole.
    crowded = counts > 4 * wanted + GROUP
    if above is None:
        crowded |= counts < wanted
    for query in np.flatnonzero(crowded):
        order = np.argsort(-scores[query], kind="stable")[:wanted]
        found = scores[query, order]
        kept = np.ones(wanted, bool) if above is None else found > above
        rows[query, :wanted], values[query, :wanted] = np.where(kept, order, NONE), np.where(kept, found, EMPTY)
    plain = ~crowded
    line, column = line[plain[line]], column[plain[line]]
    counts = np.where(plain, counts, 0)
    place = np.arange(len(line)) - np.repeat(np.cumsum(counts) - counts, counts)
    width = max(int(counts.max()), wanted)
    columns = np.full((queries, width), NONE)
    reached = np.full((queries, width), EMPTY)
    columns[line, place], reached[line, place] = column, scores[line, column]
    # Columns ascend, so a stable sort leaves equal scores in their order.
    order = np.argsort(-reached, axis=1, kind="stable")[:, :wanted]
    rows[plain, :wanted] = np.take_along_axis(columns, order, axis=1)[plain]
    values[plain, :wanted] = np.take_along_axis(reached, order, axis=1)[plain]
    return rows, values


def _reaching(scores: Float32, k: int, above: float | None) -> tuple[Int64, Int64]:
    """Lines and columns, ascending, of the scores that reach a lower bound of their line's k-th best."""
    queries, n = scores.shape
    groups = n // GROUP
    maxima = scores
    if groups >= 2 * k:
        # Group g holds the columns g, g + groups, g + 2 groups …: the maximum then runs along memory.
        grouped = scores[:, : GROUP * groups].reshape(queries, GROUP, groups)
        maxima = np.concatenate([grouped.max(axis=1), scores[:, GROUP * groups :]], axis=1)
    bound = np.partition(maxima, maxima.shape[1] - k, axis=1)[:, maxima.shape[1] - k]
    if above is not None:
        bound = np.maximum(bound, np.nextafter(np.float32(above), np.float32(np.inf)))
    line, column = np.divmod(np.flatnonzero(scores >= bound[:, None]), n)
    return line, column

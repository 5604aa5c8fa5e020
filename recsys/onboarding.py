"""Items to ask a newcomer about: popular ones that between them say most of what all the others are like."""

from __future__ import annotations

import numpy as np

from recsys.arrays import Float32, Int32

POOL = 1000
"""Of the most popular items, so many are chosen from, and stood for."""


def representatives(order: Int32, popularity: Float32, directions: Float32 | None, k: int) -> Int32:
    """The k most telling items by row, most telling first: int32 (k,), or fewer where there are no more.

    Each is the one that adds most to Σ √popularity · (largest cosine with anything chosen, at least 0) over the first
    :data:`POOL` of ``order``, int32 (m,), the most popular first: a greedy choice is within 1 - 1/e of the best, by
    Nemhauser, Wolsey & Fisher (1978). ``directions``: float32 (n, d), of length one or zero; without them, and when all
    is covered, the most popular follow.
    Laws: the list for k begins as the one for fewer; the same release, the same list.
    """
    pool = order[:POOL]
    if directions is None or not len(pool):
        return order[:k]
    vectors = directions[pool]
    likeness = np.maximum(vectors @ vectors.T, 0)
    worth = np.sqrt(np.maximum(popularity[pool], 0))
    covered, free = np.zeros(len(pool), np.float32), np.ones(len(pool), bool)
    chosen: list[int] = []
    while len(chosen) < min(k, len(pool)):
        gain = np.where(free, np.maximum(likeness - covered, 0) @ worth, -1)
        best = int(gain.argmax())
        chosen.append(best)
        free[best] = False
        np.maximum(covered, likeness[best], out=covered)
    return np.concatenate([pool[chosen], order[POOL:k]]).astype(np.int32)

"""Several tastes of one user, each searched for by itself: what one vector would lie between.

PinnerSage (Pal et al. 2020) keeps several vectors a user, by clustering what they took; so does this, at the request.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recsys.arrays import Float32
from recsys.candidates import EMPTY, NONE, Candidates
from recsys.errors import unknown_choice
from recsys.kernels.candidates import merged
from recsys.retrieval import SIMILAR_INDEX, Parts, Query, SearchIndex
from recsys.sources.nearest import searched

ROUNDS = 10
"""Of moving centres to their members; few hundred directions settle in fewer."""


@dataclass(frozen=True, slots=True, eq=False)
class MultiInterest:
    """The neighbours of each interest, which get places in proportion to what their items weigh.

    The ``last`` recent items that say something are clustered by their directions into at most ``interests``. An item
    is scored by share / place among the neighbours of its interest, the best of several: places go round as seats do
    by D'Hondt. Only cosines above 0 count. A query without such items gets empty slots.
    Laws: nothing is left to chance; a batch equals its queries one by one up to float rounding.

    ``vectors``: float32 (n, d), what the index was built from, of length one; an item whose vector is zero says
    nothing.
    """

    index: SearchIndex
    vectors: Float32
    interests: int
    last: int
    apart: float

    @classmethod
    def of(
        cls, parts: Parts, index: str = SIMILAR_INDEX, interests: int = 3, last: int = 50, apart: float = 0.5
    ) -> MultiInterest:
        """``index`` names one of the release's indexes over unit vectors. ``apart``: a cosine, from -1 to 1.

        An item begins an interest of its own only where its cosine with every other one's first item is below it.
        """
        if index not in parts.indexes:
            raise ValueError(unknown_choice("index", index, parts.indexes))
        for name, value in (("interests", interests), ("last", last)):
            if value < 1:
                raise ValueError(f"{name} is {value}: at least 1 was wanted")
        if not -1 <= apart <= 1:
            raise ValueError(f"apart is {apart}: a cosine was wanted, from -1 to 1")
        return cls(parts.indexes[index], parts.vectors[index], interests, last, apart)

    def __call__(self, queries: Sequence[Query], k: int) -> Candidates:
        """The k items of each query, best first; equal ones by row."""
        asking = [(line, *self.interests_of(query)) for line, query in enumerate(queries)]
        asking = [one for one in asking if len(one[1])]
        if not asking:
            return Candidates.empty(len(queries))
        lines = np.repeat([line for line, _, _ in asking], [len(shares) for _, _, shares in asking])
        vectors = np.concatenate([centres for _, centres, _ in asking])
        # Each interest asks for all k: the others may have nothing that the query allows.
        found = searched(self.index, list(range(len(lines))), vectors, [queries[line] for line in lines], k)
        places = np.concatenate([shares for _, _, shares in asking])[:, None] / np.arange(1, found.shape[1] + 1)
        scores_of = np.where(found.scores > 0, places, EMPTY).astype(np.float32)
        rows = np.full((len(queries), k), NONE)
        scores = np.full((len(queries), k), EMPTY)
        for line, _, _ in asking:
            own = lines == line
            rows[line], scores[line] = merged(found.rows[own].ravel(), scores_of[own].ravel(), k)
        return Candidates(rows, scores)

    def interests_of(self, query: Query) -> tuple[Float32, Float32]:
        """The interests of one query, unit vectors, float32 (c, d), and their shares, float32 (c,), adding up to 1."""
        said = query.weights > 0
        rows, weights = query.recent[said][: self.last], query.weights[said][: self.last]
        vectors = np.asarray(self.vectors[rows], np.float32)
        known = vectors.any(axis=1)
        return clustered(vectors[known], weights[known], self.interests, self.apart)


def clustered(vectors: Float32, weights: Float32, most: int, apart: float) -> tuple[Float32, Float32]:
    """Spherical k-means over unit vectors, float32 (r, d): centres, float32 (≤ most, d), and shares of the weights.

    It begins with the heaviest, then takes, again and again, whatever is farthest from all taken, until that is no
    farther than ``apart`` or there are enough: Gonzalez (1985). The same input, the same output.
    """
    if not len(vectors):
        return vectors, weights
    begun = [int(weights.argmax())]
    while len(begun) < most:
        nearest = (vectors @ vectors[begun].T).max(axis=1)
        farthest = int(nearest.argmin())
        if nearest[farthest] >= apart:
            break
        begun.append(farthest)
    centres = vectors[begun]
    belongs = np.full(len(vectors), -1)
    for _ in range(ROUNDS):
        before, belongs = belongs, (vectors @ centres.T).argmax(axis=1)
        if np.array_equal(before, belongs):
            break
        sums = np.stack([weights[belongs == one] @ vectors[belongs == one] for one in range(len(centres))])
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        # Members that cancel out have no middle: the centre stays where it was.
        centres = np.where(lengths > 1e-6, sums / np.maximum(lengths, 1e-6), centres).astype(np.float32)
    amounts = np.bincount(belongs, weights, len(centres))
    held = amounts > 0
    return centres[held], (amounts[held] / amounts.sum()).astype(np.float32)

"""What is learned of terms, words or tags: which to keep, how rare each is, and in which directions they go."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from sklearn.utils.extmath import randomized_svd
from threadpoolctl import threadpool_limits

from recsys.arrays import Float32, Int64, UInt64
from recsys.encoding import Description
from recsys.encoding.terms import Counted, Lexicon, TermsRule, renumbered, unit_weights
from recsys.errors import TrainingError
from training.models import Progress

STEP = 256
"""Items between two reports of progress."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Which terms are kept: those of ``min_items`` items or more, and at most ``max_share`` of the items with terms."""

    min_items: int
    max_share: float
    max_terms: int


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """The terms that were kept and the items that have them.

    ``keys``: uint64 (t,), ascending. ``counted``: the items, by places in ``keys``. ``held``: int64 (t,), by how many
    items each term is had.
    """

    keys: UInt64
    counted: Counted
    held: Int64

    @property
    def idf(self) -> Float32:
        """1 + ln((1 + n) / (1 + items that have the term)), float32 (t,), as scikit-learn smooths it."""
        rarity: Float32 = (1 + np.log((1 + len(self.counted)) / (1 + self.held))).astype(np.float32)
        return rarity


def read_terms(
    items: Sequence[Description], rule: TermsRule, bounds: Bounds, progress: Progress, *, rare_counts: bool = False
) -> Known:
    """Count the terms of all items and choose among them.

    Of more than ``bounds.max_terms`` those of most items are kept, or with ``rare_counts`` those with the largest
    items · ln(n / items): neither what nearly all items have nor what hardly one has. TrainingError if none is left.
    """
    lexicon = Lexicon()
    counted = lexicon.count(rule.terms(item) for item in _told(items, progress))
    held = np.bincount(counted.terms, minlength=len(lexicon))
    some = int((np.diff(counted.indptr) > 0).sum())
    fit = np.flatnonzero((held >= bounds.min_items) & (held <= bounds.max_share * some))
    if not len(fit):
        raise TrainingError(
            f"{some:,} of {len(items):,} items say anything in {', '.join(rule.columns)}, and nothing that "
            f"{bounds.min_items} of these have and at most {bounds.max_share:.0%}: name the right columns, or change "
            "min_items and max_share"
        )
    worth = held[fit] * np.log(some / held[fit]) if rare_counts else held[fit]
    kept = fit[np.argsort(-worth, kind="stable")][: bounds.max_terms]
    keys = lexicon.keys()[kept]
    order = np.argsort(keys)
    places = np.full(len(lexicon), -1, np.int32)
    places[kept[order]] = np.arange(len(kept), dtype=np.int32)
    return Known(keys[order], renumbered(counted, places), held[kept[order]])


def strongest_directions(
    known: Known, rule: TermsRule, width: int, iterations: int, rng: np.random.Generator, threads: int
) -> Float32:
    """V of the truncated SVD of the items' unit weights, float32 (t, w).

    w is ``width``, or less if there are fewer items or terms. By scikit-learn's randomized solver, Halko, Martinsson &
    Tropp (2011).
    """
    weights = unit_weights(known.counted, rule, known.idf).astype(np.float32)
    shape = len(known.counted), len(known.keys)
    matrix = sp.csr_matrix((weights, known.counted.terms, known.counted.indptr), shape=shape)
    matrix.sort_indices()
    seed = int(rng.integers(2**31))
    with threadpool_limits(threads or None):
        _, _, right = randomized_svd(matrix, min(width, *shape), n_iter=iterations, random_state=seed)
    return np.ascontiguousarray(right.T, dtype=np.float32)


def _told(items: Sequence[Description], progress: Progress) -> Iterator[Description]:
    """The items, reading them being four fifths of the work."""
    for place, item in enumerate(items):
        if place % STEP == 0:
            progress(0.8 * place / len(items))
        yield item

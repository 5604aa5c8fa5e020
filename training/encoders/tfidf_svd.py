"""Latent semantic analysis of titles and texts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp
from pydantic import Field
from sklearn.decomposition import TruncatedSVD
from threadpoolctl import threadpool_limits

from recsys.arrays import Float32, Float64, Int64
from recsys.encoding import Description
from recsys.encoding.terms import Counted, Lexicon
from recsys.encoding.tfidf_svd import TfidfSvd, WordsRule, log_counts
from recsys.errors import TrainingError
from training.encoders import Encoder
from training.models import Progress, silent


class TfidfSvdEncoder(Encoder):
    """(1 + ln times) · idf of words, with idf = 1 + ln((1 + n) / (1 + items that have the word)), through an SVD.

    Decomposed by scikit-learn's randomized solver, Halko, Martinsson & Tropp (2011).
    """

    columns: tuple[str, ...] = Field(default=("title", "text"), min_length=1)
    """Columns of text, or of lists of text."""
    ngrams: int = Field(default=1, ge=1, le=2)
    """2: every two neighbouring words count as one as well."""
    width: int = Field(default=256, ge=1, le=4096)
    """w, how many directions are kept; fewer where there are fewer items or words."""
    min_items: int = Field(default=2, ge=1)
    """Words that fewer items have are left away."""
    max_share: float = Field(default=0.5, gt=0, le=1)
    """So are those that more than this share of the items with text have."""
    max_features: int = Field(default=100_000, ge=1)
    """No more words than this are kept: those that most items have."""
    iterations: int = Field(default=4, ge=0)
    """Multiplications with the matrix and its transpose, beside the first."""

    def fit(
        self, items: Sequence[Description], rng: np.random.Generator, *, threads: int, progress: Progress = silent
    ) -> TfidfSvd:
        """Count and decompose. TrainingError where no word stands in ``min_items`` texts."""
        rule = WordsRule(columns=self.columns, ngrams=self.ngrams)
        lexicon = Lexicon()
        counted = lexicon.count(rule.count(items))
        progress(0.4)
        kept = chosen(counted, len(lexicon), self.min_items, self.max_share, self.max_features)
        if not len(kept):
            raise TrainingError(
                f"no word of columns {', '.join(self.columns)} stands in {self.min_items} of {len(items):,} items "
                f"and in at most {self.max_share:.0%} of them: name columns of text, or change min_items and max_share"
            )
        keys = lexicon.keys()[kept]
        order = np.argsort(keys)
        kept, keys = kept[order], keys[order]
        counted = among(counted, kept, len(lexicon))
        idf = rarity(counted, len(kept))
        components = strongest_directions(
            matrix_of(counted, log_counts(counted, idf), len(kept)), self.width, self.iterations, rng, threads
        )
        progress(1.0)
        return TfidfSvd(rule, keys, idf, components)


def chosen(counted: Counted, terms: int, min_items: int, max_share: float, limit: int) -> Int64:
    """Terms that are neither too rare nor too usual, no more than ``limit``, those of most items first."""
    held = counted.items_with(terms)
    some = int((np.diff(counted.indptr) > 0).sum())
    fit = np.flatnonzero((held >= min_items) & (held <= max_share * some))
    return fit[np.argsort(-held[fit], kind="stable")][:limit]


def among(counted: Counted, kept: Int64, terms: int) -> Counted:
    """The same items with the terms ``kept`` alone, numbered by their place there."""
    place = np.full(terms, -1, np.int64)
    place[kept] = np.arange(len(kept))
    moved = place[counted.terms]
    matrix = sp.csr_matrix(
        (counted.counts[moved >= 0], moved[moved >= 0], np.concatenate([[0], np.cumsum(moved >= 0)])[counted.indptr]),
        shape=(len(counted), len(kept)),
    )
    matrix.sort_indices()
    return Counted(matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32), matrix.data)


def rarity(counted: Counted, terms: int) -> Float32:
    """1 + ln((1 + n) / (1 + items that have the term)), float32 (terms,), as scikit-learn smooths it."""
    idf: Float32 = (1 + np.log((1 + len(counted)) / (1 + counted.items_with(terms)))).astype(np.float32)
    return idf


def matrix_of(counted: Counted, weights: Float64, terms: int) -> sp.csr_matrix:
    """The weights as float32 CSR (items, terms)."""
    return sp.csr_matrix((weights.astype(np.float32), counted.terms, counted.indptr), shape=(len(counted), terms))


def strongest_directions(
    matrix: sp.csr_matrix, width: int, iterations: int, rng: np.random.Generator, threads: int
) -> Float32:
    """V of the truncated SVD, float32 (terms, w), with w = ``width`` or the smaller side of the matrix."""
    solver = TruncatedSVD(
        n_components=min(width, *matrix.shape), n_iter=iterations, random_state=int(rng.integers(2**31))
    )
    with threadpool_limits(threads or None):
        solver.fit(matrix)
    return np.ascontiguousarray(solver.components_.T, dtype=np.float32)

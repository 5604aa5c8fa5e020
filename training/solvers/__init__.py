"""One half of alternating least squares, on the processor or on a GPU. To add a solver: one file and one line."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import scipy.sparse as sp

from recsys.arrays import Float32, Int32, Int64
from recsys.tables import Table


@dataclass(frozen=True, eq=False)
class Half:
    """The n systems (α₀ YᵀY + Σ w y yᵀ + λₙ I) x = Σ w y, one a line, whose lines and weights never change.

    ``indptr``: int64 (n + 1,); line r sums over ``indices[indptr[r]:indptr[r + 1]]``, int32, rows of Y, with
    ``weights``, float32. ``ridge``: float32 (n,), λₙ. ``unobserved``: α₀.
    """

    indptr: Int64
    indices: Int32
    weights: Float32
    ridge: Float32
    unobserved: float

    @classmethod
    def of(cls, matrix: sp.csr_matrix, ridge: Float32, unobserved: float, alpha: float) -> Half:
        """From the CSR (n, m) of weights, of which each counts ``alpha`` times."""
        return cls(
            matrix.indptr.astype(np.int64),
            matrix.indices.astype(np.int32, copy=False),
            matrix.data * np.float32(alpha),
            ridge.astype(np.float32, copy=False),
            unobserved,
        )

    @property
    def counts(self) -> Int64:
        """How long each line is, int64 (n,)."""
        return np.diff(self.indptr)

    @cached_property
    def longest_first(self) -> Int64:
        """The lines by falling length: no thread is left with a long one at the end."""
        return np.argsort(-self.counts, kind="stable")


class Solver(Protocol):
    """Improves the solutions of a half by some steps of conjugate gradients, Takács, Pilászy & Tikk (2011)."""

    def improve(self, half: Half, solved: Float32, fixed: Float32, steps: int, threads: int) -> None:
        """Steps from ``solved``, float32 (n, d), in place, against ``fixed``, float32 (m, d).

        An empty line becomes zeros. ``threads``: 0 for all cores.
        """
        ...


SOLVERS: Table[Solver] = Table(
    "solver",
    {
        "cpu": "training.solvers.conjugate_numba:SOLVER",
        "cuda": "training.solvers.conjugate_torch:CUDA",
        "torch": "training.solvers.conjugate_torch:CPU",
    },
    extra="train",
)

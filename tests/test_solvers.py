"""Both ways to solve a half of alternating least squares, against the equations written out."""

import numpy as np
import pytest
import scipy.sparse as sp

from recsys.errors import SettingsError
from training.models.ials import Ials
from training.solvers import SOLVERS, Half

RNG = np.random.default_rng(0)
MATRIX = sp.random(40, 25, 0.25, format="csr", random_state=1, dtype=np.float32)
MATRIX = sp.csr_matrix(sp.diags((np.arange(40) != 7).astype(np.float32)) @ MATRIX)
MATRIX.eliminate_zeros()
FIXED = RNG.normal(size=(25, 6)).astype(np.float32)
RIDGE = RNG.uniform(0.1, 2, 40).astype(np.float32)
HALF = Half.of(MATRIX, RIDGE, unobserved=0.3, alpha=4.0)
HERE = [name for name in SOLVERS if name != "cuda"]


def exact():
    y = FIXED.astype(np.float64)
    wanted = np.zeros((40, 6))
    for row in range(40):
        line = MATRIX[row]
        if line.nnz:
            taken, weights = y[line.indices], 4.0 * line.data
            left = 0.3 * y.T @ y + taken.T @ np.diag(weights) @ taken + RIDGE[row] * np.eye(6)
            wanted[row] = np.linalg.solve(left, taken.T @ weights)
    return wanted


@pytest.mark.parametrize("name", HERE)
@pytest.mark.parametrize("threads", [1, 2])
def test_enough_steps_solve_the_equations_and_an_empty_line_is_zeros(name, threads):
    solved = RNG.normal(size=(40, 6)).astype(np.float32)
    SOLVERS[name].improve(HALF, solved, FIXED, steps=12, threads=threads)
    assert solved == pytest.approx(exact(), rel=1e-3, abs=1e-4)
    assert not solved[7].any()


def test_a_few_steps_take_both_to_the_same_place():
    start = RNG.normal(size=(40, 6)).astype(np.float32)
    ends = []
    for name in HERE:
        solved = start.copy()
        SOLVERS[name].improve(HALF, solved, FIXED, steps=2, threads=1)
        ends.append(solved)
    assert ends[0] == pytest.approx(ends[1], rel=1e-3, abs=1e-4)
    assert np.abs(ends[0] - start).max() > 0.1


def test_a_gpu_that_is_not_there_is_said():
    import torch

    if torch.cuda.is_available():
        solved = np.zeros((40, 6), np.float32)
        SOLVERS["cuda"].improve(HALF, solved, FIXED, steps=12, threads=1)
        assert solved == pytest.approx(exact(), rel=1e-3, abs=1e-4)
    else:
        with pytest.raises(SettingsError, match="device is 'cuda', but torch sees no GPU here"):
            SOLVERS["cuda"].improve(HALF, np.zeros((40, 6), np.float32), FIXED, steps=1, threads=1)
        assert Ials(device="auto").solver() == "cpu"

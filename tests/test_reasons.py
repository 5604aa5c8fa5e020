"""Reasons are true: they add up to the score, and without the cited item it falls."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.folding import Explains
from recsys.folding.least_squares import LeastSquares, LeastSquaresRule
from recsys.folding.linear import Linear, LinearRule
from recsys.folding.transformer import Transformer
from recsys.item_lists import ItemLists
from recsys.reasons import shares

N, D = 30, 6
RNG = np.random.default_rng(0)
ITEMS = RNG.normal(size=(N, D)).astype(np.float32)
INPUTS = RNG.normal(size=(N, D)).astype(np.float32)
ALS = LeastSquares.of(ITEMS, LeastSquaresRule(alpha=3.0, regularization=0.5))
IALS = LeastSquares.of(
    ITEMS,
    LeastSquaresRule(alpha=2.0, regularization=0.1, unobserved=0.3, frequency_exponent=0.5, exclusive=False),
)
FOLDS = {
    "als": ALS,
    "ials": IALS,
    "even": LeastSquares.of(ITEMS, LeastSquaresRule(alpha=2.0, regularization=0.5, unobserved=0.3, exclusive=False)),
    "sum": Linear(ITEMS, INPUTS, LinearRule()),
    "mean": Linear(ITEMS, INPUTS, LinearRule(length_exponent=1.0)),
    "unit": Linear(ITEMS, INPUTS, LinearRule(unit=True)),
}
LISTS = ItemLists(RNG.integers(-1, N, (N, 4)).astype(np.int32), RNG.uniform(0.1, 1, (N, 4)).astype(np.float32))
histories = st.lists(st.tuples(st.integers(0, N - 1), st.sampled_from([-1.0, 0.0, 0.5, 1.0, 3.0])), max_size=12)


def of(history):
    rows, weights = zip(*history, strict=True) if history else ((), ())
    return np.array(rows, np.int32), np.array(weights, np.float32)


@pytest.mark.parametrize("name", FOLDS)
@given(history=histories)
def test_contributions_add_up_to_the_score(name, history):
    fold, (rows, weights) = FOLDS[name], of(history)
    vector = fold.fold(np.array([0, len(rows)]), rows, weights)[0]
    told = fold.explain(rows, weights, np.arange(N, dtype=np.int32))
    assert told.shape == (N, len(rows))
    assert np.allclose(told.sum(axis=1), ITEMS @ vector, rtol=1e-3, atol=1e-4)
    assert not told[:, weights <= 0].any()


@given(history=histories)
def test_summands_of_item_lists_add_up_to_the_score(history):
    lists = ItemLists(LISTS.rows, np.where(LISTS.rows >= 0, LISTS.weights, 0).astype(np.float32))
    rows, weights = of(history)
    told = lists.explain(rows, weights, np.arange(N, dtype=np.int32))
    assert np.allclose(told.sum(axis=1), lists.scores([rows], [weights])[0], rtol=1e-5)


@pytest.mark.parametrize("name", ["als", "even", "sum"])
@given(items=st.sets(st.integers(0, N - 1), min_size=2, max_size=8))
def test_without_the_cited_item_the_score_falls(name, items):
    fold, rows = FOLDS[name], np.array(sorted(items), np.int32)
    weights = np.ones(len(rows), np.float32)
    told = fold.explain(rows, weights, np.arange(N, dtype=np.int32))

    def scores(kept):
        return ITEMS @ fold.fold(np.array([0, kept.sum()]), rows[kept], weights[kept])[0]

    before = scores(np.ones(len(rows), bool))
    for place, row in enumerate(rows):
        # Of one that the others alone would want more than it wants itself, to have taken it says it was too much.
        if name != "sum" and before[row] >= 1:
            continue
        after = scores(np.arange(len(rows)) != place)
        cited = told[:, place] > 1e-3
        assert (after[cited] < before[cited]).all()


def test_what_speaks_against_has_no_share_and_the_rest_are_one():
    found = shares(np.array([[3.0, -5.0, 1.0], [-1.0, 0.0, 0.0]]))
    assert found.tolist() == [[0.75, 0, 0.25], [0, 0, 0]]


def test_a_transformer_explains_nothing():
    assert not issubclass(Transformer, Explains)

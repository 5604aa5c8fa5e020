"""The k best of many scores: what sorting them all would give, found faster."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.topk import best


def sorted_whole(scores, k, above):
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    values = np.take_along_axis(scores, order, axis=1)
    kept = values > (-np.inf if above is None else above)
    missing = ((0, 0), (0, k - order.shape[1]))
    return (
        np.pad(np.where(kept, order, -1), missing, constant_values=-1),
        np.pad(np.where(kept, values, -np.inf), missing, constant_values=-np.inf),
    )


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([(1, 1), (1, 300), (3, 7), (70, 40), (2, 700), (130, 900), (1, 5000)]),
    st.integers(1, 60),
    st.sampled_from([None, 0.0]),
    st.sampled_from([1, 3, 1000]),
)
def test_it_is_the_start_of_the_whole_list_sorted(seed, shape, k, above, distinct):
    rng = np.random.default_rng(seed)
    scores = (rng.integers(-distinct, distinct + 1, shape) / 7).astype(np.float32)
    rows, values = best(scores, k, above=above)
    wanted_rows, wanted_values = sorted_whole(scores, k, above)
    np.testing.assert_array_equal(rows, wanted_rows)
    np.testing.assert_array_equal(values, wanted_values)
    assert rows.dtype == np.int32
    assert values.dtype == np.float32


def test_scores_are_left_as_they_were():
    scores = np.random.default_rng(0).normal(size=(80, 3000)).astype(np.float32)
    before = scores.copy()
    best(scores, 10)
    np.testing.assert_array_equal(scores, before)


def test_what_is_not_a_number_comes_last():
    scores = np.full((2, 200), np.nan, np.float32)
    scores[:, 150] = 1.0
    for part in (scores, scores[:1]):
        rows, values = best(part, 2)
        assert (rows[:, 0] == 150).all()
        assert np.isnan(values[:, 1]).all()


@pytest.mark.parametrize("shape", [(0, 5), (3, 0)])
def test_nothing_to_choose_from_leaves_slots_empty(shape):
    rows, values = best(np.zeros(shape, np.float32), 2)
    assert rows.shape == (shape[0], 2)
    assert (rows == -1).all()
    assert (values == -np.inf).all()

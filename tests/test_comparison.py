"""Intervals and tests over users: laws, known cases, and what scipy says."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from recsys.comparison import difference, interval, randomization_test


def rng(seed=0):
    return np.random.default_rng(seed)


values = st.lists(st.floats(0, 1, width=32), min_size=1, max_size=40).map(lambda drawn: np.array(drawn, np.float64))


@settings(max_examples=50, deadline=None)
@given(values)
def test_an_interval_holds_its_mean_and_lies_within_the_values(found):
    made = interval(found, rng(), rounds=200)
    assert found.min() - 1e-9 <= made.low <= made.high <= found.max() + 1e-9
    assert made.mean == pytest.approx(found.mean())


@settings(max_examples=30, deadline=None)
@given(values, st.floats(-2, 2), st.floats(0.1, 3))
def test_an_interval_moves_with_its_values(found, shift, scale):
    before, after = interval(found, rng(), rounds=50), interval(found * scale + shift, rng(), rounds=50)
    assert after.low == pytest.approx(before.low * scale + shift, abs=1e-6)
    assert after.high == pytest.approx(before.high * scale + shift, abs=1e-6)


def test_a_wider_level_gives_a_wider_interval_and_more_users_a_narrower_one():
    found = rng().random(400)
    narrow, wide, few = interval(found, rng(), level=0.5), interval(found, rng()), interval(found[:40], rng())
    assert wide.low < narrow.low < narrow.high < wide.high
    assert few.high - few.low > wide.high - wide.low


def test_scipy_finds_the_same_interval():
    found = rng(1).exponential(size=300)
    ours = interval(found, rng(2), rounds=20_000)
    theirs = stats.bootstrap((found,), np.mean, method="percentile", n_resamples=20_000, rng=rng(3)).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.01)


def test_intervals_cover_the_true_mean_as_often_as_they_say():
    covered = 0
    for seed in range(300):
        made = interval(rng(seed).random(60), rng(seed + 1000), rounds=300, level=0.9)
        covered += made.low <= 0.5 <= made.high
    assert 0.84 <= covered / 300 <= 0.95


def test_the_difference_is_paired():
    # Each user is a little better off; the users themselves differ much more.
    theirs = rng().random(200)
    ours = theirs + 0.01 + 0.001 * rng(1).random(200)
    made = difference(ours, theirs, rng())
    assert 0.01 < made.low < made.high < 0.011
    assert interval(ours, rng()).low < interval(theirs, rng()).high


@settings(max_examples=30, deadline=None)
@given(values, st.integers(0, 100))
def test_the_test_does_not_care_which_system_comes_first(found, seed):
    other = rng(seed).random(len(found))
    assert randomization_test(found, other, rng(), rounds=200) == randomization_test(other, found, rng(), rounds=200)


def test_scipy_finds_the_same_chance():
    ours, theirs = rng(1).random(60), rng(2).random(60) - 0.08
    found = randomization_test(ours, theirs, rng(3), rounds=20_000)
    wanted = stats.permutation_test(
        (ours - theirs,), np.mean, permutation_type="samples", n_resamples=20_000, rng=rng(4)
    ).pvalue
    assert found == pytest.approx(wanted, abs=0.015)


def test_all_sign_flips_of_a_few_users_are_counted_right():
    # Of the eight flips of (1, 2, 3) two reach 6.
    found = randomization_test(np.array([1.0, 2, 3]), np.zeros(3), rng(), rounds=50_000)
    assert found == pytest.approx(2 / 8, abs=0.01)


def test_systems_that_agree_do_not_differ():
    found = rng().random(30)
    assert randomization_test(found, found, rng()) == 1
    assert difference(found, found, rng()).low == 0


def test_undefined_users_are_left_out_of_both():
    ours, theirs = np.array([1.0, np.nan, 0.5]), np.array([0.0, 1.0, np.nan])
    assert difference(ours, theirs, rng()).mean == 1
    nobody = np.full(2, np.nan)
    assert np.isnan([interval(nobody, rng()).mean, randomization_test(nobody, nobody, rng())]).all()


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match=r"values are \(2,\) and \(3,\): a pair needs the same users"):
        difference(np.zeros(2), np.zeros(3), rng())
    with pytest.raises(ValueError, match="level is 95 and rounds 2000: give a level between 0 and 1"):
        interval(np.zeros(2), rng(), level=95)

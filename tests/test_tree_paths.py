"""What columns add to boosted trees, beside LightGBM's own Shapley values and beside all orders of few columns."""

from itertools import permutations

import lightgbm as lgb
import numpy as np
import pytest

from recsys.tree_paths import Paths

COLUMNS = 6


def rows_of(count, seed):
    """Numbers of all sizes with holes, a column without any, and one that is the same everywhere."""
    rng = np.random.default_rng(seed)
    rows = (rng.normal(size=(count, COLUMNS)) * 10.0 ** rng.integers(-2, 3, size=COLUMNS)).astype(np.float32)
    rows[rng.random(rows.shape) < 0.1] = np.nan
    rows[:, 1] = np.nan_to_num(rows[:, 1])
    rows[:, 5] = 1
    return rows


def grown(leaves=15, trees=40, columns=slice(None), **options):
    rows = rows_of(2000, 0)[:, columns]
    labels = np.nan_to_num(rows[:, 0]) + np.isnan(rows[:, 2]) * np.abs(rows[:, 1])
    given = {"num_leaves": leaves, "min_data_in_leaf": 5, "verbosity": -1, "num_threads": 1, **options}
    return lgb.train(given, lgb.Dataset(rows, labels), trees)


@pytest.mark.parametrize("leaves", [2, 15, 64])
@pytest.mark.parametrize("options", [{}, {"use_missing": False}, {"bagging_fraction": 0.5, "bagging_freq": 1}])
def test_contributions_equal_lightgbm_and_add_up_to_its_score(leaves, options):
    booster = grown(leaves, **options)
    rows = rows_of(60, 1)
    rows[0], rows[1], rows[2], rows[3] = np.nan, np.inf, -np.inf, 0
    paths = Paths.of(booster.model_to_string())
    found, wanted = paths.contributions(rows), booster.predict(rows, pred_contrib=True)
    assert np.abs(found - wanted[:, :-1]).max() < 1e-9
    assert paths.expected == pytest.approx(wanted[0, -1], abs=1e-9)
    assert np.abs(found.sum(axis=1) + paths.expected - booster.predict(rows, raw_score=True)).max() < 1e-9
    assert not found[:, 5].any(), "what no tree asks adds nothing"


def test_a_contribution_is_the_mean_over_all_orders_in_which_columns_become_known():
    paths = Paths.of(grown(8, 5, columns=slice(0, 3)).model_to_string())
    for row in rows_of(10, 2)[:, :3]:

        def worth(known, row=row):
            let_through = paths._lets_through(row)
            factors = np.where(np.isin(paths.column, [-1, *known]), let_through, paths.share)
            return (paths.values * factors.prod(axis=1)).sum()

        total = np.zeros(3)
        orders = list(permutations(range(3)))
        for order in orders:
            for place, column in enumerate(order):
                total[column] += worth(order[: place + 1]) - worth(order[:place])
        assert np.allclose(paths.contributions(row[None])[0], total / len(orders), atol=1e-9)


def test_in_trees_of_one_split_the_score_without_a_column_falls_by_what_it_added():
    paths = Paths.of(grown(2).model_to_string())
    rows = rows_of(50, 3)
    told = paths.contributions(rows)
    sums = told.sum(axis=1) + paths.expected
    for column in range(COLUMNS):
        assert np.allclose(sums - paths.without(rows, column), told[:, column], atol=1e-9)


def test_trees_that_never_split_explain_nothing_but_themselves():
    paths = Paths.of(grown(15, 3, min_data_in_leaf=100_000).model_to_string())
    assert not paths.contributions(rows_of(4, 0)).any()
    assert np.isfinite(paths.expected)


def test_a_booster_that_does_not_count_its_rows_is_refused():
    text = grown(4, 2).model_to_string()
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("leaf_count"))
    with pytest.raises(ValueError, match="does not say how many rows came to each leaf"):
        Paths.of(lines)

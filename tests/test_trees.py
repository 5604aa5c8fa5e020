"""Boosted trees without LightGBM, beside LightGBM itself."""

import lightgbm as lgb
import numpy as np
import pytest

from recsys.trees import Trees

COLUMNS = 8


def rows_of(count, seed):
    """Numbers of all sizes, holes, infinities, and columns that are the same in every row."""
    rng = np.random.default_rng(seed)
    rows = (rng.normal(size=(count, COLUMNS)) * 10.0 ** rng.integers(-3, 4, size=COLUMNS)).astype(np.float32)
    rows[:, 0] = np.round(rows[:, 0])
    rows[rng.random(rows.shape) < 0.1] = np.nan
    rows[:, 1] = np.nan_to_num(rows[:, 1])  # without holes in training
    return rows


def grown(leaves=15, trees=30, **options):
    rows = rows_of(3000, 0)
    score = np.nan_to_num(rows[:, 0]) - np.isnan(rows[:, 2]) + np.sin(np.nan_to_num(rows[:, 3]))
    labels = (score > np.quantile(score, 0.8)).astype(int)
    options = {"objective": "lambdarank", "num_leaves": leaves, "min_data_in_leaf": 5, "verbosity": -1, **options}
    if options["objective"] == "lambdarank":
        return lgb.train({**options, "num_threads": 1}, lgb.Dataset(rows, labels, group=[100] * 30), trees)
    return lgb.train({**options, "num_threads": 1}, lgb.Dataset(rows, labels), trees)


@pytest.fixture(scope="module")
def booster():
    return grown()


@pytest.mark.parametrize("leaves", [2, 16, 17, 32, 33, 64])
def test_sums_equal_lightgbm(leaves):
    booster = grown(leaves)
    rows = rows_of(700, 1)  # several blocks
    rows[0], rows[1], rows[2], rows[3] = np.nan, np.inf, -np.inf, 0
    rows[4:] = np.where(np.arange(COLUMNS) == 5, rows[4, 5], rows[4:])
    found = Trees.of(booster.model_to_string()).score(rows)
    assert np.abs(found - booster.predict(rows, raw_score=True, num_threads=1)).max() < 1e-12


def test_a_value_on_the_threshold_goes_left_as_in_lightgbm(booster):
    trees = Trees.of(booster.model_to_string())
    edges = [value for value in trees.thresholds if np.isfinite(value)]
    edges += [np.nextafter(value, np.float32(end)) for value in edges for end in (-np.inf, np.inf)]
    rows = np.repeat(np.array(edges, np.float32)[:, None], COLUMNS, axis=1)
    assert np.allclose(trees.score(rows), booster.predict(rows, raw_score=True), atol=1e-12)


def test_a_batch_equals_its_rows_one_by_one(booster):
    trees, rows = Trees.of(booster.model_to_string()), rows_of(300, 2)
    assert np.array_equal(trees.score(rows), np.concatenate([trees.score(row[None]) for row in rows]))
    assert trees.score(rows[:0]).shape == (0,)


def test_trees_that_never_split_are_a_constant():
    rows = np.zeros((50, COLUMNS), np.float32)
    booster = lgb.train({"objective": "regression", "verbosity": -1}, lgb.Dataset(rows, np.full(50, 3.0)), 2)
    assert np.allclose(Trees.of(booster.model_to_string()).score(rows), booster.predict(rows))


def test_another_width_is_refused(booster):
    with pytest.raises(ValueError, match=r"rows are \(2, 3\) but the trees were grown on 8 columns"):
        Trees.of(booster.model_to_string()).score(np.zeros((2, 3), np.float32))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"leaves": 80}, "at most 64 are evaluated here"),
        ({"zero_as_missing": True}, "it takes zero for missing"),
        ({"objective": "binary", "linear_tree": True, "leaves": 4}, "categories or is linear"),
        (
            {"objective": "binary", "boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5},
            "averages its trees",
        ),
    ],
)
def test_what_is_not_evaluated_here_is_refused(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        Trees.of(grown(**options).model_to_string())


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("left_child=", "left_child=0 ", "lists have other lengths"),
        ("split_feature=", "split_feature=9", "beyond the 8th"),
        ("leaf_value=", "leaf_value=nan ", "cannot be evaluated"),
        ("threshold=", "limit=", "cannot be evaluated: 'threshold'"),
        ("num_leaves=15", "num_leaves=900", "it has 900 leaves"),
    ],
)
def test_a_forged_text_is_refused_by_tree(booster, old, new, sentence):
    text = booster.model_to_string()
    assert old in text
    with pytest.raises(ValueError, match=sentence):
        Trees.of(text.replace(old, new, 1))


def test_a_tree_that_runs_in_circles_is_refused(booster):
    lines = booster.model_to_string().splitlines()
    at = next(place for place, line in enumerate(lines) if line.startswith("right_child="))
    lines[at] = "right_child=" + " ".join(["0"] * len(lines[at].split()))
    with pytest.raises(ValueError, match="tree 0 of this booster cannot be evaluated: it is no tree"):
        Trees.of("\n".join(lines))


def test_another_text_is_no_booster():
    with pytest.raises(ValueError, match="this is no booster in LightGBM's text"):
        Trees.of("hello")

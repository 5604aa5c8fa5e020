"""Item-item models against their formulas, written out with dense matrices."""

import numpy as np
import pandas as pd
import pytest

from recsys.errors import TrainingError
from recsys.interactions import interactions_of
from recsys.sections import Kind
from training.models import model_of, slim

RNG = np.random.default_rng(0)
USERS, ITEMS = 60, 20
TAKEN = RNG.random((USERS, ITEMS)) < np.linspace(0.1, 0.6, ITEMS)
VALUES = np.where(TAKEN, RNG.integers(1, 5, TAKEN.shape), 0).astype(float)


@pytest.fixture(scope="module")
def data():
    user, item = np.nonzero(VALUES)
    log = pd.DataFrame({"user_id": [f"u{u:02}" for u in user], "item_id": [f"i{i:02}" for i in item]}, dtype="str")
    log = log.assign(kind="play", value=VALUES[user, item])
    return interactions_of(log, {"play": Kind(scale="value")})


def learned(data, name, **keys):
    """What a model learned as a dense matrix: line j what j says of each item, in the order of the names."""
    model = model_of({"name": name, "neighbours": ITEMS, **keys})
    (lists,) = model.fit(data, np.random.default_rng(0), threads=2).lists.values()
    dense = np.zeros((ITEMS, ITEMS))
    for j, (rows, weights) in enumerate(zip(lists.rows, lists.weights, strict=True)):
        dense[j, rows[rows >= 0]] = weights[rows >= 0]
    order = np.argsort(data.items.ids(np.arange(ITEMS, dtype=np.int32)))
    return dense[np.ix_(order, order)]


def off_diagonal(matrix):
    return matrix - np.diag(np.diag(matrix))


def test_cosines_are_shrunk_cosines(data):
    norms = np.linalg.norm(VALUES, axis=0)
    wanted = VALUES.T @ VALUES / (np.outer(norms, norms) + 3)
    assert learned(data, "item-knn", shrink=3) == pytest.approx(off_diagonal(wanted), rel=1e-4)


def test_tf_idf_weighs_users_by_their_rarity(data):
    weighed = np.sqrt(VALUES) * np.log(ITEMS / (1 + TAKEN.sum(axis=1)))[:, None]
    weighed = np.where(np.log(ITEMS / (1 + TAKEN.sum(axis=1)))[:, None] > 0, weighed, 0)
    norms = np.linalg.norm(weighed, axis=0)
    wanted = weighed.T @ weighed / np.outer(norms, norms)
    assert learned(data, "item-knn", weighting="tf-idf", shrink=0) == pytest.approx(off_diagonal(wanted), rel=1e-4)


def test_bm25_is_robertson_s_formula(data):
    length = TAKEN.sum(axis=0) / TAKEN.sum(axis=0).mean()
    saturated = VALUES * 2.2 / (1.2 * (1 - 0.75 + 0.75 * length) + VALUES)
    weighed = saturated * np.log1p(ITEMS / TAKEN.sum(axis=1))[:, None]
    wanted = off_diagonal(weighed.T @ weighed)
    assert learned(data, "item-knn", weighting="bm25") == pytest.approx(wanted, rel=1e-4)


def test_rp3beta_multiplies_transition_probabilities(data):
    to_users = (VALUES / VALUES.sum(axis=0)) ** 0.7
    to_items = (VALUES / VALUES.sum(axis=1, keepdims=True)) ** 0.7
    wanted = to_users.T @ to_items / TAKEN.sum(axis=0) ** 0.4
    assert learned(data, "rp3beta", alpha=0.7, beta=0.4) == pytest.approx(off_diagonal(wanted), rel=1e-4)


@pytest.mark.parametrize("low_pass", [0.0, 0.5])
def test_a_graph_filter_is_neighbours_and_the_smooth_part(data, low_pass):
    n_items, n_users = TAKEN.sum(axis=1), TAKEN.sum(axis=0)
    graph = VALUES / n_items[:, None] ** 0.5 / n_users**0.4
    right = np.linalg.svd(graph)[2][:3]
    wanted = graph.T @ graph + low_pass * right.T @ right
    wanted = off_diagonal(wanted * n_users**0.2 / n_users[:, None] ** 0.3)
    keys = {"item_exponent": 0.4, "in_exponent": 0.3, "out_exponent": 0.2, "low_pass": low_pass}
    found = learned(data, "graph-filter", factors=3, iterations=60, **keys)
    assert found == pytest.approx(np.maximum(wanted, 0), rel=1e-3, abs=1e-5)


def test_ease_is_the_closed_form(data):
    inverse = np.linalg.inv(VALUES.T @ VALUES + 7 * np.eye(ITEMS))
    wanted = np.eye(ITEMS) - inverse / np.diag(inverse)
    assert learned(data, "ease", regularization=7) == pytest.approx(off_diagonal(wanted), rel=1e-3, abs=1e-5)


def test_ease_with_every_exponent(data):
    n_items, n_users = TAKEN.sum(axis=1), TAKEN.sum(axis=0)
    weighed = VALUES / n_items[:, None] ** 0.2
    inverse = np.linalg.inv(weighed.T @ weighed + np.diag(3.0 * n_users**0.5))
    wanted = off_diagonal(-inverse / np.diag(inverse) * n_users**0.1 / n_users[:, None] ** 0.3)
    keys = {"frequency_exponent": 0.5, "user_exponent": 0.4, "in_exponent": 0.3, "out_exponent": 0.1}
    assert learned(data, "ease", regularization=3, **keys) == pytest.approx(wanted, rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("whole", [ITEMS, 0], ids=["the whole Gram matrix", "one neighbourhood"])
def test_slim_over_all_neighbours_is_a_ridge_regression_of_each(data, whole, monkeypatch):
    monkeypatch.setattr(slim, "WHOLE", whole)
    n_items, n_users = TAKEN.sum(axis=1), TAKEN.sum(axis=0)
    weighed = VALUES / n_items[:, None] ** 0.2
    gram = weighed.T @ weighed
    ridge = 4.0 * n_users**0.5 + 0.3 * np.diag(gram)
    wanted = np.zeros((ITEMS, ITEMS))
    for i in range(ITEMS):
        # Items that share no user are nobody's neighbours.
        others = np.flatnonzero((np.arange(ITEMS) != i) & (gram[i] > 0))
        left = gram[np.ix_(others, others)] + np.diag(ridge[others])
        wanted[others, i] = np.linalg.solve(left, gram[others, i])
    wanted *= n_users**0.1 / n_users[:, None] ** 0.2
    keys = {"regularization": 4, "frequency_exponent": 0.5, "dropout": 0.3, "user_exponent": 0.4}
    keys |= {"in_exponent": 0.2, "out_exponent": 0.1, "conjugate_steps": 60}
    assert learned(data, "slim", predictors=ITEMS, **keys) == pytest.approx(wanted, rel=1e-2, abs=5e-3)


def test_slim_looks_only_at_the_nearest(data):
    n_items, n_users = TAKEN.sum(axis=1), TAKEN.sum(axis=0)
    near = (VALUES / n_items[:, None] ** 0.5).T @ VALUES / n_users[:, None] ** 0.4
    np.fill_diagonal(near, 0)
    found = learned(data, "slim", predictors=4)
    for i in range(ITEMS):
        assert set(np.flatnonzero(found[:, i])) <= set(np.argsort(-near[:, i])[:4])


def test_of_each_list_the_largest_are_kept_and_threads_change_nothing(data):
    for name in ("item-knn", "rp3beta", "graph-filter", "ease", "slim"):
        full = learned(data, name)
        model = model_of({"name": name, "neighbours": 5})
        one, two = (model.fit(data, np.random.default_rng(0), threads=threads).lists[name] for threads in (1, 2))
        assert np.array_equal(one.rows, two.rows)
        assert one.weights == pytest.approx(two.weights, rel=1e-4)
        sizes = np.sort(np.abs(full), axis=1)[:, ::-1][:, :5]
        order = np.argsort(data.items.ids(np.arange(ITEMS, dtype=np.int32)))
        assert np.sort(np.abs(one.weights), axis=1)[:, ::-1][order] == pytest.approx(sizes, rel=1e-3, abs=1e-5)


def test_a_catalogue_too_large_for_ease_is_refused_with_both_numbers(data):
    with pytest.raises(TrainingError, match=r"inverts a matrix of 20 × 20, and most_items is 10: use slim"):
        learned(data, "ease", most_items=10)

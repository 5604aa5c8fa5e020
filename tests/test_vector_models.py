"""What vector models and baselines learn, against their formulas and another library's numbers."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from implicit.cpu.bpr import BayesianPersonalizedRanking

from recsys.errors import TrainingError
from recsys.interactions import interactions_of
from recsys.sections import Kind
from recsys.users import History, fold_all
from training.models import model_of
from training.models.svd import strongest

T0 = 1_600_000_000


def plays(pairs):
    """Interactions from (user, item) pairs, a second between two."""
    log = pd.DataFrame(pairs, columns=["user_id", "item_id"], dtype="str").assign(kind="play", value=1.0)
    return interactions_of(log.assign(time=T0 + np.arange(len(log))), {"play": Kind()})


def fitted(keys, data, threads=1):
    return model_of(keys).fit(data, np.random.default_rng(0), threads=threads)


def some_tastes():
    return plays([(f"u{u}", f"i{i}") for u in range(9) for i in range(7) if (u * i + u) % 3 != 1])


def test_the_low_pass_filter_of_gf_cf_is_a_setting_of_svd():
    data = some_tastes()
    exponents = {"user_exponent": 0.5, "item_exponent": 0.5, "popularity_exponent": 0.5, "power": 0.0}
    fold = fitted({"name": "svd", "factors": 3, "iterations": 60, **exponents}, data).vectors()
    matrix = data.matrix().toarray().astype(np.float64)
    of_users, of_items = matrix.sum(axis=1), matrix.sum(axis=0)
    _, _, right = np.linalg.svd(matrix / np.sqrt(of_users)[:, None] / np.sqrt(of_items))
    low_pass = np.diag(of_items**-0.5) @ right[:3].T @ right[:3] @ np.diag(of_items**0.5)
    assert np.allclose(fold.inputs @ fold.items.T, low_pass, atol=1e-4)


def test_pure_svd_is_another():
    data = some_tastes()
    exponents = {"user_exponent": 0.0, "item_exponent": 0.0, "popularity_exponent": 0.0, "power": 0.0}
    fold = fitted({"name": "svd", "factors": 3, "iterations": 60, **exponents}, data).vectors()
    matrix = data.matrix().toarray().astype(np.float64)
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    scores = fold_all(History.of(data), fold) @ fold.items.T
    assert np.allclose(scores, (left[:, :3] * values[:3]) @ right[:3], atol=1e-4)


def test_the_strongest_directions_are_those_of_lapack():
    matrix = sp.random_array((80, 50), density=0.2, rng=np.random.default_rng(1), dtype=np.float32).tocsr()
    values, right = strongest(matrix, 5, 40, np.random.default_rng(0))
    _, exact, axes = np.linalg.svd(matrix.toarray().astype(np.float64))
    assert np.allclose(values, exact[:5], rtol=1e-4)
    assert np.allclose(np.abs(np.sum(right * axes[:5].T, axis=0)), 1, atol=1e-3)


def test_more_dimensions_than_there_are_stay_zero():
    fold = fitted({"name": "svd", "factors": 30}, some_tastes()).vectors()
    assert fold.items.shape == (7, 30)
    assert not fold.items[:, 7:].any()


def test_bpr_scores_as_its_solver_does_and_folds_in_the_mean():
    data = some_tastes()
    fold = fitted({"name": "bpr", "factors": 4, "iterations": 5}, data).vectors()
    solver = BayesianPersonalizedRanking(
        factors=4, learning_rate=0.02, regularization=0.02, iterations=5, num_threads=1,
        random_state=int(np.random.default_rng(0).integers(2**31)),
    )  # fmt: skip
    solver.fit(data.matrix(), show_progress=False)
    # The solver's vectors end in (1) and (bias), so that theirs too is an inner product.
    assert (np.asarray(solver.user_factors)[:, -1] == 1).all()
    assert np.array_equal(fold.items, solver.item_factors)
    history = History.of(data)
    taken = history.rows[: history.indptr[1]]
    mean = np.append(fold.items[taken, :-1].mean(axis=0), 1)
    assert np.allclose(fold_all(history, fold)[0], mean, atol=1e-6)


def test_what_nobody_took_is_no_noise_of_bpr():
    data = plays([*[(f"u{u}", f"i{i}") for u in range(6) for i in range(6) if i != u], ("u9", "i9")])
    skipped = replace(data, weight=np.where(data.item == len(data.items) - 1, 0, 1).astype(np.float32))
    items = fitted({"name": "bpr", "factors": 4}, skipped).vectors().items
    assert not items[-1, :-1].any()
    assert items[-1, -1] == items[:-1, -1].min()


def test_item2vec_counts_popularity_as_it_draws_negatives():
    data = plays([*[(f"u{u}", "often") for u in range(4)], ("u0", "once"), ("u1", "twice"), ("u2", "twice")])
    keys = {"name": "item2vec", "factors": 2, "negative_exponent": 1.0, "popularity": 1.0}
    fold = fitted(keys, data).vectors()
    counts = data.matrix().sum(axis=0)
    assert np.allclose(np.exp(fold.items[:, -1]), counts / counts.sum())
    assert (fold.inputs[:, -1] == 1).all()


def test_a_window_keeps_what_lies_far_apart_apart():
    chain = [f"i{place}" for place in range(30)]
    data = plays([(f"u{user}", item) for user in range(30) for item in chain])
    keys = {"name": "item2vec", "factors": 16, "window": 1, "popularity": 0.0, "epochs": 60, "learning_rate": 0.1}
    fold = fitted(keys, data).vectors()
    said = (fold.inputs @ fold.items.T)[1:-1]
    best = np.sort(np.argsort(-said, axis=1)[:, :2], axis=1)
    wanted = np.stack([np.arange(28), np.arange(2, 30)], axis=1)
    assert (best == wanted).mean() > 0.9


def test_several_threads_learn_as_well_as_one():
    data = plays([(f"u{u}", f"i{i}") for u in range(40) for i in range(40) if u % 2 == i % 2])
    fold = fitted({"name": "item2vec", "factors": 8, "popularity": 0.0}, data, threads=2).vectors()
    said, alike = fold.inputs @ fold.items.T, np.arange(40)[:, None] % 2 == np.arange(40) % 2
    place = data.items.rows([f"i{i}" for i in range(40)])
    said = said[np.ix_(place, place)]
    assert said[alike].min() > said[~alike].max()


def test_trending_asks_for_times():
    untimed = replace(some_tastes(), timed=False)
    with pytest.raises(TrainingError, match=r"has no times: name the column .* or choose the model popular"):
        fitted({"name": "trending"}, untimed)


def test_what_trends_is_a_hand_worked_sum():
    data = plays([("a", "old"), ("b", "old"), ("c", "new")])
    data = replace(data, time=T0 + np.array([0, 43_200, 86_400]))
    scores = fitted({"name": "trending", "half_life_days": 0.5}, data).scores
    assert dict(zip(data.items, scores.tolist(), strict=True)) == {"old": 0.25 + 0.5, "new": 1.0}


def test_chance_is_that_of_the_seed():
    data, model = some_tastes(), model_of({"name": "random"})
    one, same, other = (model.fit(data, np.random.default_rng(seed), threads=1).scores for seed in (1, 1, 2))
    assert one.tolist() == same.tolist() != other.tolist()

from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from implicit.cpu.als import AlternatingLeastSquares
from threadpoolctl import threadpool_limits

from recsys.folding import FOLDS, describe_fold, load_fold, save_arrays
from recsys.folding.least_squares import LeastSquares, LeastSquaresRule
from recsys.folding.linear import Linear, LinearRule
from recsys.folding.transformer import Transformer


@pytest.fixture(scope="module")
def fold():
    items = np.random.default_rng(0).normal(size=(30, 6)).astype(np.float32)
    return LeastSquares.of(items, LeastSquaresRule(alpha=3.0, regularization=0.5))


def one(fold, rows, weights):
    return fold.fold(np.array([0, len(rows)]), np.array(rows, np.int32), np.array(weights, np.float32))[0]


def test_it_solves_the_normal_equations_written_out_in_full(fold):
    rows, weights = [2, 7, 11], [1.0, 2.0, 0.5]
    confidence = np.ones(30)
    confidence[rows] = 3.0 * np.array(weights)
    preference = np.zeros(30)
    preference[rows] = 1
    y = fold.items.astype(np.float64)
    left = y.T @ np.diag(confidence) @ y + 0.5 * np.eye(6)
    assert one(fold, rows, weights) == pytest.approx(np.linalg.solve(left, y.T @ (confidence * preference)), rel=1e-4)


def test_it_solves_the_frequency_scaled_equations_written_out_in_full(fold):
    rule = LeastSquaresRule(alpha=3.0, regularization=0.2, unobserved=0.3, frequency_exponent=0.5, exclusive=False)
    rows, weights = [2, 7, 11], np.array([1.0, 2.0, 0.5])
    y = fold.items.astype(np.float64)
    taken = y[rows]
    left = 0.3 * y.T @ y + taken.T @ np.diag(3 * weights) @ taken + 0.2 * (3 + 0.3 * 30) ** 0.5 * np.eye(6)
    wanted = np.linalg.solve(left, taken.T @ (3 * weights))
    assert one(LeastSquares.of(fold.items, rule), rows, weights) == pytest.approx(wanted, rel=1e-4)


def test_it_equals_what_implicit_computes_for_the_same_user():
    rng = np.random.default_rng(1)
    matrix = sp.random(40, 25, 0.3, format="csr", random_state=2, dtype=np.float32)
    with threadpool_limits(1, "blas"):
        solver = AlternatingLeastSquares(factors=5, regularization=0.1, alpha=4.0, random_state=3)
        solver.fit(matrix, show_progress=False)
        fold = LeastSquares.of(solver.item_factors, LeastSquaresRule(alpha=4.0, regularization=0.1))
        for user in rng.integers(40, size=5):
            line = matrix[user]
            theirs = solver.recalculate_user(user, line)
            assert one(fold, line.indices, line.data) == pytest.approx(theirs, rel=1e-2, abs=1e-3)


@given(st.lists(st.tuples(st.integers(0, 29), st.floats(0.1, 5)), min_size=1, max_size=10), st.randoms())
def test_the_order_of_items_does_not_matter_and_repeats_add_up(fold, taken, random):
    shuffled = random.sample(taken, len(taken))
    summed = {}
    for row, weight in taken:
        summed[row] = summed.get(row, 0) + weight
    vectors = [one(fold, *zip(*pairs, strict=True)) for pairs in (taken, shuffled, list(summed.items()))]
    assert vectors[0] == pytest.approx(vectors[1], rel=1e-3, abs=1e-5)
    assert vectors[0] == pytest.approx(vectors[2], rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("taken", [3, 6, 25])
@pytest.mark.parametrize("rule", [{}, {"exclusive": False, "unobserved": 0.2, "frequency_exponent": 0.7}])
@pytest.mark.parametrize("alpha", [3.0, 0.5])
def test_few_items_and_many_weak_ones_and_strong_ones_solve_the_same_equations(fold, taken, rule, alpha):
    """Fewer items than dimensions go another way than more; weights below those of the unobserved go a third."""
    rng = np.random.default_rng(taken)
    rows, weights = rng.permutation(30)[:taken], rng.uniform(0.5, 2, taken)
    rule = LeastSquaresRule(alpha=alpha, regularization=0.4, **rule)
    y = fold.items.astype(np.float64)
    curvature = alpha * weights - (rule.unobserved if rule.exclusive else 0)
    left = rule.unobserved * y.T @ y + y[rows].T @ np.diag(curvature) @ y[rows]
    left += 0.4 * (taken + rule.unobserved * 30) ** rule.frequency_exponent * np.eye(6)
    wanted = np.linalg.solve(left, y[rows].T @ (alpha * weights))
    assert one(LeastSquares.of(fold.items, rule), rows, weights) == pytest.approx(wanted, rel=1e-4, abs=1e-5)


def test_a_new_item_that_weighs_less_than_the_unobserved_solves_the_same_equations(fold):
    """The Gram matrix lacks it, so that what is solved is not positive definite."""
    new = np.full((1, 6), 20, np.float32)
    grown = fold.replaced({"items": np.vstack([fold.items, new])})
    y = fold.items.astype(np.float64)
    left = y.T @ y + (3 * 0.1 - 1) * new.T @ new + 0.5 * np.eye(6)
    assert np.linalg.eigvalsh(left).min() < 0
    assert one(grown, [30], [0.1]) == pytest.approx(np.linalg.solve(left, 3 * 0.1 * new[0]), rel=1e-4)


def test_users_of_very_different_lengths_come_out_in_their_order(fold):
    rng = np.random.default_rng(3)
    lengths = rng.permutation([0, 1, 1, 2, 5, 9, 30, 200, 3, 0])
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    rows = rng.integers(30, size=indptr[-1]).astype(np.int32)
    weights = rng.uniform(0.1, 2, indptr[-1]).astype(np.float32)
    network = Transformer.of(fold.items, Transformer.Rule(heads=3), parameters(6, window=12))
    for some in (fold, Linear.of(fold.items, LinearRule(length_exponent=0.5)), network):
        batch = some.fold(indptr, rows, weights)
        for user, (start, end) in enumerate(pairwise(indptr)):
            assert batch[user] == pytest.approx(one(some, rows[start:end], weights[start:end]), rel=1e-4, abs=1e-5)


def test_a_linear_fold_is_the_sum_it_says(fold):
    inputs = np.random.default_rng(5).normal(size=(30, 6)).astype(np.float32)
    linear = Linear.of(fold.items, LinearRule(length_exponent=1.0), {"inputs": inputs})
    wanted = (2 * inputs[3] + 0.5 * inputs[9]) / 2
    assert one(linear, [3, 9, 4], [2.0, 0.5, -1.0]) == pytest.approx(wanted, rel=1e-5)
    assert not one(linear, [], []).any()
    unit = Linear.of(fold.items, LinearRule(unit=True), {"inputs": inputs})
    assert one(unit, [3, 9], [2.0, 0.5]) == pytest.approx(wanted / np.linalg.norm(wanted), rel=1e-5)
    assert not one(unit, [3], [0.0]).any()


def parameters(width, blocks=2, window=4):
    """Arrays of a transformer, at random."""
    shapes = {"position": (window, width), "norm_last_scale": (width,), "norm_last_shift": (width,)}
    for name in set(Transformer.ARRAYS) - shapes.keys():
        wide = 3 * width if name.startswith("attention_in") else width
        flat = name.startswith("norm") or name.endswith("shift")
        shapes[name] = (blocks, wide) if flat else (blocks, width, wide)
    rng = np.random.default_rng(4)
    return {name: rng.normal(size=shapes[name]).astype(np.float32) for name in Transformer.ARRAYS}


NUMBERS = {"least-squares": {"alpha": 2.0, "regularization": 0.1}, "transformer": {"heads": 2}}
"""What a fold's rule cannot do without, or what shows that it was kept."""


@pytest.fixture(params=FOLDS)
def any_fold(request, fold):
    kind = FOLDS[request.param]
    arrays = parameters(fold.items.shape[1]) if kind is Transformer else None
    return kind.of(fold.items, kind.Rule(**NUMBERS.get(request.param, {})), arrays)


def test_a_fold_that_was_saved_folds_as_before(any_fold, tmp_path):
    save_arrays(any_fold, tmp_path)
    after = load_fold(describe_fold(any_fold), any_fold.items, tmp_path)
    assert after.rule == any_fold.rule
    assert one(after, [1, 5], [1.0, 2.0]) == pytest.approx(one(any_fold, [1, 5], [1.0, 2.0]))


def test_the_files_of_a_fold_take_no_name_that_a_release_has_for_items(any_fold):
    taken = {"vectors", "text", "offsets", "row_keys", "keys", "key_rows", "popularity", "directions", "catalogue"}
    assert not taken & any_fold.arrays().keys()


def test_a_release_of_schema_1_names_no_kind_and_an_unknown_one_is_refused(fold, tmp_path):
    save_arrays(fold, tmp_path)
    assert load_fold({"alpha": 3.0, "regularization": 0.5}, fold.items, tmp_path).rule == fold.rule
    with pytest.raises(ValueError, match="unknown fold 'square', choose one of"):
        load_fold({"kind": "square"}, fold.items, tmp_path)
    with pytest.raises(ValueError, match="fold least-squares: alhpa: unknown key"):
        load_fold({"alhpa": 3.0, "alpha": 1.0, "regularization": 0.5}, fold.items, tmp_path)


def test_nothing_taken_is_the_zero_vector(any_fold):
    assert not one(any_fold, [], []).any()
    assert not one(any_fold, [1, 2], [0.0, -1.0]).any()


def test_a_batch_equals_its_users_one_by_one(any_fold):
    indptr, rows = np.array([0, 2, 2, 5]), np.array([1, 2, 3, 4, 5], np.int32)
    weights = np.array([1, 2, 3, 0, 1], np.float32)
    batch = any_fold.fold(indptr, rows, weights)
    for user in range(3):
        part = slice(indptr[user], indptr[user + 1])
        assert batch[user] == pytest.approx(one(any_fold, rows[part], weights[part]), rel=1e-5, abs=1e-6)


def test_other_item_vectors_fold_by_the_same_rule(any_fold):
    rng = np.random.default_rng(8)
    named = any_fold.per_item()
    assert np.array_equal(named["items"], any_fold.items)
    assert one(any_fold.replaced({}), [1, 5], [1.0, 2.0]) == pytest.approx(one(any_fold, [1, 5], [1.0, 2.0]))
    grown = {name: np.vstack([array, rng.normal(size=(1, 6)).astype(np.float32)]) for name, array in named.items()}
    more = any_fold.replaced(grown)
    assert more.rule == any_fold.rule
    assert np.array_equal(more.items, grown["items"])
    # Who took nothing new stays where they were, but for a rule that looks at how many items there are.
    assert one(more, [1, 5], [1.0, 2.0]) == pytest.approx(one(any_fold, [1, 5], [1.0, 2.0]), rel=1e-4)
    assert one(more, [30, 5], [1.0, 2.0]) != pytest.approx(one(any_fold, [5], [2.0]), rel=1e-2)


def test_other_item_vectors_of_the_wrong_shape_or_name_are_refused(any_fold):
    with pytest.raises(ValueError, match=r"keeps items.* of an item, not vectors"):
        any_fold.replaced({"vectors": any_fold.items})
    with pytest.raises(ValueError, match=r"\(30, 5\).*\(30, 6\)"):
        any_fold.replaced({name: array[:, :5] for name, array in any_fold.per_item().items()})


def test_inputs_and_items_of_a_linear_fold_must_be_as_many(fold):
    linear = Linear.of(fold.items, LinearRule())
    with pytest.raises(ValueError, match=r"'inputs': \(30, 6\).*\(29, 6\)"):
        linear.replaced({"items": fold.items[:29]})

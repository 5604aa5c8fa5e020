"""What is served by numpy is what torch has trained, and what torch has trained is the loss that is written down."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recsys.errors import SettingsError, TrainingError
from recsys.folding.transformer import Transformer, TransformerRule
from recsys.interactions import interactions_of
from recsys.sections import Kind
from recsys.users import History, fold_all
from training.losses import Negatives, cross_entropy
from training.models import model_of
from training.models.sasrec import Sasrec
from training.sequences import Sequences
from training.transformer import Packed, fold_of, initial, states


def log_of(*rows):
    """Interactions from (user, item, kind) triples in their order."""
    log = pd.DataFrame(rows, columns=["user_id", "item_id", "kind"], dtype="str").assign(value=1.0)
    return interactions_of(log, {"play": Kind(), "skip": Kind(weight=0)})


def rings(users=30, items=20, taken=12):
    """Everybody goes round the same ring, each from a place of their own."""
    return log_of(*[(f"u{u}", f"i{(3 * u + step) % items}", "play") for u in range(users) for step in range(taken)])


def network(heads, blocks, window, items=20, factors=16):
    """Parameters so large that every term shows."""
    generator = torch.Generator().manual_seed(heads)
    parameters = initial(items, factors, window, blocks, generator)
    return {name: (p + 0.2 * torch.randn(p.shape, generator=generator)).detach() for name, p in parameters.items()}


def by_torch(parameters, heads, newest_first):
    """The state of torch's network at the last item of one history alone."""
    oldest_first = newest_first[: len(parameters["position"])][::-1].astype(np.int32)
    packed = Packed.of(oldest_first, np.array([len(oldest_first)]))
    return states(parameters, packed, heads, lambda x: x)[-1].numpy()


@pytest.mark.parametrize(("heads", "blocks", "window"), [(1, 1, 5), (2, 2, 50), (4, 3, 7)])
def test_numpy_serves_what_torch_computes(heads, blocks, window):
    parameters = network(heads, blocks, window)
    fold = fold_of(parameters, heads)
    rng = np.random.default_rng(window)
    lengths = np.concatenate([[0, 1, window, window + 1, 3 * window, 0], rng.integers(0, 80, 60)])
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    rows = rng.integers(0, 20, indptr[-1]).astype(np.int32)
    got = fold.fold(indptr, rows, np.ones(len(rows), np.float32))
    assert got.dtype == np.float32
    for vector, (start, end) in zip(got, pairwise(indptr), strict=True):
        wanted = by_torch(parameters, heads, rows[start:end]) if end > start else np.zeros(16)
        assert np.allclose(vector, wanted, atol=2e-5)


def test_sequences_packed_together_are_each_alone():
    parameters = network(heads=2, blocks=2, window=30)
    rng = np.random.default_rng(0)
    lengths = np.sort(rng.integers(1, 31, 40))
    rows = rng.integers(0, 20, lengths.sum()).astype(np.int32)
    together = states(parameters, Packed.of(rows, lengths), 2, lambda x: x).numpy()
    ends = np.cumsum(lengths)
    for end, length in zip(ends, lengths, strict=True):
        alone = by_torch(parameters, 2, rows[end - length : end][::-1])
        assert np.allclose(together[end - 1], alone, atol=2e-5)


def test_only_the_newest_items_count_and_weights_only_by_being_above_zero():
    fold = fold_of(network(heads=2, blocks=2, window=4), 2)

    def vector(rows, weights):
        return fold.fold(np.array([0, len(rows)]), np.array(rows, np.int32), np.array(weights, np.float32))[0]

    one = vector([3, 1, 4, 2], [1, 1, 1, 1])
    assert np.allclose(vector([3, 9, 1, 4, 8, 2, 7, 7], [1, 0, 5, 2, -1, 0.1, 1, 1]), one, atol=1e-6)
    assert not np.allclose(vector([1, 3, 4, 2], [1, 1, 1, 1]), one, atol=1e-2)


def test_a_transformer_that_lacks_parameters_or_cannot_be_divided_is_refused():
    items = np.ones((3, 6), np.float32)
    with pytest.raises(ValueError, match="needs 15 arrays, but lacks position, norm_attention_scale"):
        Transformer.of(items, TransformerRule())
    arrays = {name: np.ones((1, 6), np.float32) for name in Transformer.ARRAYS}
    with pytest.raises(ValueError, match="width 6 cannot be divided among 4 heads"):
        Transformer.of(items, TransformerRule(heads=4), arrays)
    with pytest.raises(SettingsError, match=r"\[model\] sasrec: .*`factors` must be a multiple of `heads`, but 7 is"):
        model_of({"name": "sasrec", "factors": 7})


@pytest.mark.parametrize("negatives", [None, 30])
def test_the_loss_and_its_gradients_are_those_written_out_in_full(negatives):
    generator = torch.Generator().manual_seed(0)
    users, items = (torch.randn(n, 16, generator=generator, requires_grad=True) for n in (700, 50))
    targets = torch.randint(0, 50, (700,), generator=generator)
    counts = np.arange(50) + 1

    def draws():
        return None if negatives is None else Negatives(counts, negatives, 0.5, np.random.default_rng(1))

    if negatives is None:
        wanted = torch.nn.functional.cross_entropy(users @ items.T, targets)
    else:
        drawn, correction = draws().draw()
        scores = torch.where(drawn == targets[:, None], -torch.inf, users @ items[drawn].T + correction)
        right = (users * items[targets]).sum(1)
        wanted = (torch.logaddexp(scores.logsumexp(1), right) - right).mean()
    got = cross_entropy(users, items, targets, draws())
    assert got.item() == pytest.approx(wanted.item(), rel=1e-5)
    for one, same in zip(*(torch.autograd.grad(loss, (users, items)) for loss in (got, wanted)), strict=True):
        assert torch.allclose(one, same, atol=1e-6)


def test_a_sample_estimates_the_sum_over_all_items():
    scores, counts = np.linspace(-1, 1, 40), np.arange(40)
    negatives = Negatives(counts, 20, 0.7, np.random.default_rng(0))
    sums = [np.exp(scores[drawn.numpy()] + correction.numpy()).sum() for drawn, correction in (
        negatives.draw() for _ in range(1000)
    )]  # fmt: skip
    assert np.mean(sums) == pytest.approx(np.exp(scores).sum(), rel=0.02)


def test_a_sequence_is_a_serving_history_the_other_way_round():
    data = log_of(("a", "x", "play"), ("a", "y", "play"), ("b", "y", "play"), ("a", "z", "skip"), ("a", "x", "play"))
    sequences = Sequences.of(data)
    assert sequences.indptr.tolist() == [0, 2, 3]
    assert data.items.ids(sequences.rows) == ["y", "x", "y"]


@given(st.lists(st.integers(0, 12), max_size=8), st.integers(1, 5), st.integers(1, 9))
def test_each_item_but_a_first_is_a_target_once_after_the_items_before_it(lengths, width, size):
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    windows = Sequences(indptr, np.arange(indptr[-1], dtype=np.int32)).windows(width)
    batches = list(windows.batches(size, np.random.default_rng(0))) if windows.targets else []
    targets = [target for batch in batches for target in batch.targets]
    firsts = {first for first, length in zip(indptr[:-1], lengths, strict=True) if length}
    assert sorted(targets) == sorted(set(range(indptr[-1])) - firsts)
    for batch in batches:
        assert (np.diff(batch.lengths) >= 0).all()
        assert batch.lengths.max() <= width
        assert np.array_equal(batch.inputs + 1, batch.targets)


@pytest.mark.parametrize("negatives", [0, 10])
def test_it_learns_which_item_follows_another(negatives):
    data = rings()
    model = Sasrec(factors=32, dropout=0.2, epochs=25, learning_rate=0.01, negatives=negatives)
    fold = model.fit(data, np.random.default_rng(0), threads=1).vectors()
    history = History.of(data)
    best = np.argmax(fold_all(history, fold) @ fold.items.T, axis=1)
    newest = data.items.ids(history.rows[history.indptr[:-1]])
    assert data.items.ids(best) == [f"i{(int(item[1:]) + 1) % 20}" for item in newest]


def test_where_nobody_has_two_items_it_says_so():
    model = Sasrec(factors=4)
    once = log_of(("a", "x", "play"), ("b", "y", "play"), ("b", "y", "play"), ("b", "z", "skip"))
    with pytest.raises(TrainingError, match=r"no user has two items that teach, .* choose the model popular"):
        model.fit(once, np.random.default_rng(0), threads=1)
    with pytest.raises(TrainingError, match="none of 4 events teaches anything"):
        model.fit(replace(once, weight=np.zeros(4, np.float32)), np.random.default_rng(0), threads=1)


def test_torch_has_the_threads_it_had_before():
    before = torch.get_num_threads()
    during = []
    model = Sasrec(factors=4, epochs=1)

    def watched(share):
        during.append(torch.get_num_threads())

    model.fit(rings(), np.random.default_rng(0), threads=before + 1, progress=watched)
    assert set(during) == {before + 1}
    assert torch.get_num_threads() == before

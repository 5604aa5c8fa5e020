"""The two-tower model: its gradients against torch's, the sum of linear models against the scores written out."""

from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from recsys.arrays import unit
from training.contrastive import Batch, Towers, add_gradients
from training.descent import Descending, Descent
from training.models.two_tower import weighed
from training.reduction import Part, reduced
from training.threads import compiled_threads

RNG = np.random.default_rng(0)
USERS, ITEMS, D = 30, 20, 6
MATRIX = sp.random(USERS, ITEMS, 0.3, format="csr", random_state=1, dtype=np.float32)
TOWERS = Towers(*(RNG.normal(size=(ITEMS, D)).astype(np.float32) for _ in range(2)))
HOW = Descent(epochs=3, batch=8, negatives=10, rate=0.01, temperature=0.2, dropout=0.3, user_exponent=0.3)


def some_batch():
    m = MATRIX.nnz
    kept = RNG.random(m) > 0.3
    return Batch(
        MATRIX.indices.astype(np.int32),
        MATRIX.indptr.astype(np.int64),
        (RNG.uniform(0.5, 2, m) * kept).astype(np.float32),
        RNG.dirichlet(np.ones(m)).astype(np.float32),
    )


def loss_written_out(inputs, items, batch, drawn, temperature):
    directions = items / items.norm(dim=1, keepdim=True)
    loss = 0
    for low, high in pairwise(batch.starts):
        own = [int(i) for i in batch.items[low:high]]
        puts = torch.from_numpy(batch.puts[low:high]).double()
        x = puts @ inputs[own]
        # Of whom nothing is kept, all cosines are 0.
        norm = x.norm() if puts.any() else 1.0
        others = [int(j) for j in drawn if j not in own]
        negative = torch.exp(directions[others] @ x / norm / temperature).sum() * ITEMS / len(drawn)
        for at, i in enumerate(own):
            score = (x - puts[at] * inputs[i]) @ directions[i] / norm
            positive = torch.exp(score / temperature)
            loss = loss - float(batch.wanted[low + at]) * torch.log(positive / (positive + negative))
    return loss


def test_the_loss_and_its_gradients_are_those_that_torch_finds():
    batch, drawn = some_batch(), np.array([0, 2, 3, 7, 11, 12, 19])
    gradients = Towers(np.zeros((ITEMS, D), np.float32), np.zeros((ITEMS, D), np.float32))
    loss = add_gradients(TOWERS, batch, drawn, 0.5, gradients)
    inputs, items = (torch.from_numpy(tower).double().requires_grad_() for tower in TOWERS)
    wanted = loss_written_out(inputs, items, batch, drawn, 0.5)
    wanted.backward()
    assert loss == pytest.approx(wanted.item(), rel=1e-4)
    assert gradients.inputs == pytest.approx(inputs.grad.numpy(), rel=1e-3, abs=1e-5)
    directions = unit(TOWERS.items)
    turning = gradients.items - (gradients.items * directions).sum(1, keepdims=True) * directions
    assert turning == pytest.approx(items.grad.numpy(), rel=1e-3, abs=1e-5)


def test_the_number_of_threads_changes_nothing_but_rounding():
    batch, drawn = some_batch(), np.arange(0, ITEMS, 2)
    found = []
    for threads in (1, 2):
        gradients = Towers(np.zeros((ITEMS, D), np.float32), np.zeros((ITEMS, D), np.float32))
        with compiled_threads(threads):
            add_gradients(TOWERS, batch, drawn, 0.5, gradients)
        found.append(gradients)
    for one, two in zip(*found, strict=True):
        assert one == pytest.approx(two, rel=1e-4, abs=1e-6)


def descended(seed):
    with compiled_threads(1):
        descending = Descending(MATRIX, TOWERS.items, HOW, np.random.default_rng(seed))
        while descending.left:
            descending.step()
    return descending.towers


def test_one_thread_gives_the_same_bits_and_another_seed_others():
    one, same, other = descended(0), descended(0), descended(1)
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert not np.array_equal(one.items, other.items)


def test_every_user_of_two_items_comes_once_an_epoch_and_vectors_of_zeros_get_a_direction():
    descending = Descending(MATRIX, np.zeros((ITEMS, D), np.float32), HOW, np.random.default_rng(0))
    assert descending.left == 3 * -(-int((np.diff(MATRIX.indptr) > 1).sum()) // 8)
    assert np.linalg.norm(descending.towers.items, axis=1) == pytest.approx(1)


def scores(histories, inputs, items):
    """Of each user, over the length of their best, since a user's scale is free."""
    raw = (histories @ inputs) @ items.T
    return raw / np.maximum(np.abs(raw).max(axis=1, keepdims=True), 1e-9)


def parts(rank=4, width=8):
    made = []
    for weight in (1.0, 0.5):
        inputs = (RNG.normal(size=(ITEMS, rank)) @ RNG.normal(size=(rank, width))).astype(np.float32)
        made.append(Part(inputs, RNG.normal(size=(ITEMS, width)).astype(np.float32), weight))
    return made


def added_up(both):
    """What two parts score together, each brought to the same mean size."""
    total = 0
    for part in both:
        users = MATRIX @ part.inputs
        size = np.linalg.norm(users, axis=1).mean() * np.linalg.norm(part.items, axis=1).mean()
        total = total + part.weight * (users @ part.items.T) / size
    return total / np.maximum(np.abs(total).max(axis=1, keepdims=True), 1e-9)


def test_a_sum_of_models_is_reduced_without_loss_where_its_rank_allows():
    both = parts()
    inputs, items = reduced(MATRIX, both, 8)
    assert inputs.shape == items.shape == (ITEMS, 8)
    assert scores(MATRIX, inputs, items) == pytest.approx(added_up(both), abs=1e-4)
    shared = [Part(part.inputs, both[0].items, part.weight) for part in both]
    assert scores(MATRIX, *reduced(MATRIX, shared, 8)) == pytest.approx(added_up(shared), abs=1e-4)


def test_fewer_dimensions_lose_what_truncated_svd_of_the_scores_loses():
    (one, _) = parts(rank=8)
    inputs, items = reduced(MATRIX, [one], 3)
    users = MATRIX @ one.inputs
    exact = unit(users) @ one.items.T
    shortened = (MATRIX @ inputs) @ items.T
    scale = (exact * shortened).sum(1) / np.maximum((shortened**2).sum(1), 1e-9)
    left, values, right = np.linalg.svd(exact)
    best = (left[:, :3] * values[:3]) @ right[:3]
    assert np.linalg.norm(exact - shortened * scale[:, None]) <= np.linalg.norm(exact - best) * 1.001


def test_more_dimensions_than_there_are_become_zeros_and_a_part_that_says_nothing_adds_nothing():
    (one, other) = parts(width=3, rank=3)
    nothing = Part(np.zeros_like(other.inputs), other.items, 1.0)
    inputs, items = reduced(MATRIX, [one, nothing], 12)
    assert not inputs[:, 6:].any()
    assert not items[:, 6:].any()
    assert scores(MATRIX, inputs, items) == pytest.approx(scores(MATRIX, one.inputs, one.items), abs=1e-4)


def test_weights_fall_with_powers_of_how_many_and_keep_their_mean():
    matrix = sp.csr_matrix(np.array([[1, 2, 0], [3, 0, 0]], np.float32))
    wanted = np.array([1 / 4, 2 / 2, 3 / 2]) * (2 / (2.75 / 3))
    assert weighed(matrix, 1.0, 1.0).data == pytest.approx(wanted)

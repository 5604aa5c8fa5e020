"""Compiled loops, beside what each says of itself written out in numpy or in plain Python."""

import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index.faiss_flat import ask
from index.faiss_ivf import FaissIvf, cells_of
from recsys.candidates import Candidates, fuse
from recsys.kernels import answers, candidates, cells, features, states, trees, vectors, vocabulary
from recsys.masks import Mask

SEEDS = st.integers(0, 2**32 - 1)
SHAPES = st.sampled_from([(1, 0), (1, 1), (3, 7), (1, 300), (4, 700)])
quick = settings(max_examples=40, deadline=None)


def listed(rng, shape, items=60):
    """Rows, -1 where empty and none twice in a line, and scores with ties, both zeros, infinities and nan."""
    rows = np.array([rng.permutation(max(items, shape[1]))[: shape[1]] for _ in range(shape[0])], np.int32)
    rows = np.where(rng.random(shape) < 0.2, -1, rows.reshape(shape)).astype(np.int32)
    scores = (rng.integers(-9, 10, shape) / 7).astype(np.float32)
    scores[rng.random(shape) < 0.1] = -0.0
    scores[rng.random(shape) < 0.05] = np.inf
    return rows, np.where(rows < 0, -np.inf, scores).astype(np.float32)


# --------------------------------------------------------------------------- lists


@quick
@given(SEEDS, SHAPES, st.integers(0, 30), st.booleans(), st.booleans())
def test_top_is_a_stable_sort(seed, shape, k, falling, holes):
    rng = np.random.default_rng(seed)
    rows, scores = listed(rng, shape)
    if falling:  # but for what was taken out
        scores = -np.sort(-scores, axis=1)
        taken = rng.random(shape) < 0.2
        rows[taken], scores[taken] = -1, -np.inf
    if holes:
        scores[rng.random(shape) < 0.1] = np.nan
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    found = candidates.top(rows, scores, k)
    if found is None:
        assert k <= shape[1]
        np.testing.assert_array_equal(order, np.tile(np.arange(k), (shape[0], 1)))
        return
    np.testing.assert_array_equal(found[2], order)
    depth = order.shape[1]
    np.testing.assert_array_equal(found[0][:, :depth], np.take_along_axis(rows, order, axis=1))
    np.testing.assert_array_equal(found[1][:, :depth], np.take_along_axis(scores, order, axis=1))
    assert (found[0][:, depth:] == -1).all()
    assert (found[1][:, depth:] == -np.inf).all()


SPREAD = {
    "even": lambda x: x,
    "rising": np.sort,
    "far from 0": lambda x: x * 1e-3 + 1e6,
    "alike": lambda x: np.round(x, 1),
    "rising steeply": lambda x: np.sort(np.exp(8 * x)),
    "steep": lambda x: np.exp(8 * x),
    "falling short steeply": lambda x: -np.exp(20 * x),
    "tiny": lambda x: np.where(x > 0, 0, x * 1e-38),
    "infinite": lambda x: np.where(x > 1.5, np.inf, np.where(x < -1.5, -np.inf, x)),
    "no number": lambda x: np.where(np.abs(x) > 1.5, np.nan, x),
}


@quick
@given(SEEDS, st.integers(1, 3000), st.integers(1, 60), st.sampled_from(sorted(SPREAD)))
def test_the_largest_are_found_however_scores_are_spread(seed, n, k, spread):
    scores = SPREAD[spread](np.random.default_rng(seed).normal(size=n)).astype(np.float32)
    order = np.argsort(-scores, kind="stable")[:k]
    rows, values = candidates.largest(scores[None], k)
    np.testing.assert_array_equal(rows[0, : len(order)], order)
    np.testing.assert_array_equal(values[0, : len(order)], scores[order])
    assert (rows[0, len(order) :] == -1).all()


@quick
@given(SEEDS, SHAPES)
def test_reciprocal_ranks_go_by_place(seed, shape):
    rng = np.random.default_rng(seed)
    rows, scores = listed(rng, shape)
    for given_scores in (scores, -np.sort(-scores, axis=1)):
        ranks = np.argsort(np.argsort(-given_scores, axis=1, kind="stable"), axis=1, kind="stable") + 1
        wanted = np.where(rows >= 0, 1 / (60 + ranks), 0).astype(np.float32)
        np.testing.assert_array_equal(candidates.reciprocal(rows, given_scores, 60), wanted)


@quick
@given(SEEDS, st.sampled_from([(1, 5, 3), (2, 40, 25), (1, 200, 1)]))
def test_what_was_ranked_stands_before_what_was_not(seed, shape):
    queries, n, m = shape
    rng = np.random.default_rng(seed)
    rows = np.tile(np.arange(n, dtype=np.int32), (queries, 1))
    rows[:, n - rng.integers(0, n) :] = -1
    scores = np.where(rows[:, :m] >= 0, rng.random((queries, m)), -np.inf).astype(np.float32)
    order, values = candidates.ranked(rows, scores)
    np.testing.assert_array_equal(order[:, :m], np.argsort(-scores, axis=1, kind="stable"))
    np.testing.assert_array_equal(order[:, m:], np.tile(np.arange(m, n), (queries, 1)))
    filled = np.take_along_axis(rows, order, axis=1) >= 0
    assert (values[~filled] == -np.inf).all()
    for line, kept in zip(values, filled, strict=True):
        assert (np.diff(line[kept]) <= 0).all()
        if m and kept[:m].all():
            assert (line[m:][kept[m:]] < line[:m].min()).all()


@quick
@given(SEEDS, st.integers(0, 400), st.integers(0, 30))
def test_merged_keeps_the_best_score_of_each_item(seed, n, k):
    rng = np.random.default_rng(seed)
    rows = rng.integers(-1, 50, n).astype(np.int32)
    scores = (rng.integers(-5, 6, n) / 4).astype(np.float32)
    best = {}
    for row, score in zip(rows.tolist(), scores.tolist(), strict=True):
        if row >= 0 and score > 0:
            best[row] = max(score, best.get(row, 0))
    wanted = sorted(best.items(), key=lambda pair: (-pair[1], pair[0]))[:k]
    found, values = candidates.merged(rows, scores, k)
    assert found.tolist() == [row for row, _ in wanted] + [-1] * (k - len(wanted))
    assert values.tolist() == [score for _, score in wanted] + [-np.inf] * (k - len(wanted))


@quick
@given(SEEDS, st.sampled_from([(1, (30, 40, 20)), (3, (5, 0, 9)), (2, (12,))]))
def test_fusing_adds_up_what_an_item_is_given(seed, shape):
    queries, widths = shape
    rng = np.random.default_rng(seed)
    rows = np.concatenate([listed(rng, (queries, width))[0] for width in widths], axis=1)
    added, said = (rng.random(rows.shape).astype(np.float32) for _ in range(2))
    ends = np.cumsum(widths).astype(np.int32)
    found, scores, signals = candidates.fused(rows, added, said, ends)
    for line in range(queries):
        first = {}
        sums = {}
        for slot, row in enumerate(rows[line].tolist()):
            if row >= 0:
                first.setdefault(row, slot)
                sums[row] = sums[row] + added[line, slot] if row in sums else added[line, slot]
        assert {row: slot for slot, row in enumerate(found[line].tolist()) if row >= 0} == first
        for row, slot in first.items():
            assert scores[line, slot] == sums[row]
        for source, (start, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
            told = {first[row]: said[line, start + at] for at, row in enumerate(rows[line, start:end]) if row >= 0}
            known = np.flatnonzero(~np.isnan(signals[source, line]))
            assert {int(slot): signals[source, line, slot] for slot in known} == told
    assert (scores[found < 0] == -np.inf).all()


def test_lists_may_lie_in_memory_in_any_order():
    rows = np.asfortranarray(np.array([[1, 2, 3], [4, 5, 6]], np.int32))
    scores = np.asfortranarray(np.array([[3, 2, 1], [1, 2, 3]], np.float32))
    fused = fuse({"a": Candidates(rows, scores), "b": Candidates(rows, scores)}).top(2)
    assert fused.rows.tolist() == [[1, 2], [6, 5]]
    assert Candidates(rows, scores).top(1).rows.tolist() == [[1], [6]]


@quick
@given(SEEDS, st.integers(0, 12), st.integers(0, 9))
def test_lists_of_a_history_are_summed(seed, length, width):
    rng = np.random.default_rng(seed)
    lists = rng.integers(-1, 40, (40, width)).astype(np.int32)
    weights = rng.random((40, width)).astype(np.float32)
    history, by = rng.integers(0, 40, length).astype(np.int32), rng.normal(size=length).astype(np.float32)
    sums = Counter()
    for item, weight in zip(history, by, strict=True):
        for row, said in zip(lists[item].tolist(), weights[item], strict=True):
            if row >= 0:
                sums[row] += float(np.float32(said * max(weight, np.float32(0))))
    items, totals = candidates.summed(lists, weights, history, by)
    assert len(set(items.tolist())) == len(items)
    assert dict(zip(items.tolist(), totals.tolist(), strict=True)) == {
        row: float(np.float32(total)) for row, total in sums.items()
    }


@quick
@given(SEEDS, SHAPES, st.integers(0, 40))
def test_what_is_gone_leaves_its_slot_empty(seed, shape, many):
    rng = np.random.default_rng(seed)
    rows, scores = listed(rng, shape)
    gone = [rng.integers(-1, 60, rng.integers(0, many + 1)).astype(np.int32) for _ in range(shape[0])]
    stays = np.array([(line < 0) | ~np.isin(line, some) for line, some in zip(rows, gone, strict=True)])
    ends = np.cumsum([len(some) for some in gone])
    left = candidates.without(rows, scores, np.concatenate(gone), ends)
    if left is None:
        assert stays.all()
        return
    assert not stays.all()
    np.testing.assert_array_equal(left[0], np.where(stays, rows, -1))
    np.testing.assert_array_equal(left[1], np.where(stays, scores, -np.inf))
    np.testing.assert_array_equal(left[2], stays)


@quick
@given(SEEDS, SHAPES, st.integers(1, 3))
def test_a_group_has_so_many_places(seed, shape, most):
    rng = np.random.default_rng(seed)
    groups = rng.integers(-1, 12, 40).astype(np.int32)
    rows = rng.integers(-1, 44, shape).astype(np.int32)
    stays = candidates.capped(rows, groups, most)
    wanted = np.ones(shape, bool)
    for line, (items, counts) in enumerate(zip(rows.tolist(), [Counter() for _ in rows], strict=True)):
        for slot, item in enumerate(items):
            group = int(groups[item]) if 0 <= item < 40 else -1
            wanted[line, slot] = group < 0 or counts[group] < most
            counts[group] += 1
    assert stays is None if wanted.all() else np.array_equal(stays, wanted)


# --------------------------------------------------------------------------- vectors


def unit_vectors(rng, n, d):
    found = rng.normal(size=(n, d)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


@pytest.mark.parametrize("d", [1, 7, 16, 33, 64, 100])
def test_inner_products_of_any_length(d):
    rng = np.random.default_rng(d)
    items, asking = rng.normal(size=(50, d)).astype(np.float32), rng.normal(size=(3, d)).astype(np.float32)
    rows = rng.integers(-1, 50, (3, 40)).astype(np.int32)
    wanted = np.where(rows >= 0, np.einsum("qnd,qd->qn", items[rows], asking), 0)
    np.testing.assert_allclose(vectors.products(items, rows, asking), wanted, rtol=1e-5, atol=1e-5)


@quick
@given(SEEDS, st.integers(0, 70), st.sampled_from([1, 3, 8, 13, 64]), st.integers(1, 80), st.booleans())
def test_the_nearest_of_all_are_a_stable_sort_of_every_product(seed, n, d, k, alike):
    rng = np.random.default_rng(seed)
    # Small whole numbers: products are exact, and many are alike.
    items, asking = (rng.integers(-1 if alike else -50, 2 if alike else 51, shape).astype(np.float32)
                     for shape in ((n, d), (d,)))  # fmt: skip
    scores = items @ asking
    order = np.argsort(-scores, kind="stable")[:k]
    rows, values = vectors.nearest(items, asking, k)
    assert rows.tolist() == [*order.tolist(), *[-1] * (k - len(order))]
    assert values.tolist() == [*scores[order].tolist(), *[-np.inf] * (k - len(order))]


@quick
@given(SEEDS, st.sampled_from([0.0, 0.3, 0.7, 1.0]), st.integers(1, 12))
def test_diversity_takes_the_best_of_what_is_left_each_time(seed, weight, length):
    rng = np.random.default_rng(seed)
    items = unit_vectors(rng, 30, 5)
    rows = rng.permutation(30)[:20].astype(np.int32)
    rows[15:] = np.where(rng.random(5) < 0.5, -1, rows[15:])
    values = np.linspace(1, 0, 20, dtype=np.float32)
    order = vectors.diverse(items, np.append(rows, rows[:3])[None], values, weight, length)[0].tolist()
    assert order[20:] == [20, 21, 22]
    order = order[:20]
    assert sorted(order) == list(range(20))
    for at, place in enumerate(order[:length]):
        left = [other for other in range(20) if other not in order[:at]]
        taken = [rows[other] for other in order[:at] if rows[other] >= 0]

        def worth(other, taken=taken):
            if rows[other] < 0:
                return -2.0
            near = max((float(items[rows[other]] @ items[row]) for row in taken), default=0.0)
            return values[other] - weight * max(near, 0)

        assert worth(place) >= max(map(worth, left)) - 1e-5
    assert order[length:] == sorted(order[length:])


# --------------------------------------------------------------------------- features


def test_ranks_are_one_more_than_how_many_are_larger():
    values = np.array([[3, np.nan, 5, 3, -0.0, 0.0, -np.inf, np.inf], [1, 1, 1, 1, 1, 1, 1, 1]], np.float32)
    wanted = [[3, np.nan, 2, 3, 5, 5, 7, 1], [1] * 8]
    np.testing.assert_array_equal(features.ranks(values), np.array(wanted, np.float32))


def test_shares_are_of_the_largest_size_that_is_finite():
    values = np.array([[2, -4, np.nan, np.inf], [0, 0, 0, np.nan]], np.float32)
    wanted = np.array([[0.5, -1, np.nan, np.inf], [np.nan] * 4], np.float32)
    np.testing.assert_array_equal(features.shares(values), wanted)


@pytest.mark.parametrize("r", [7, 20, 32])
@pytest.mark.parametrize("d", [3, 64])
def test_cosines_by_windows(d, r):
    rng = np.random.default_rng(d)
    items = unit_vectors(rng, 60, d)
    rows = rng.integers(-1, 60, (3, 70)).astype(np.int32)
    recent = rng.integers(0, 60, (3, r)).astype(np.int32)
    recent[1, 6:], recent[2] = -1, -1
    windows = (1, 5, 20)
    found = features.cosines(items, rows, recent, np.array(windows, np.int32))
    for line in range(2):
        there = recent[line][recent[line] >= 0]
        products = np.where(rows[line] >= 0, items[there] @ items[rows[line]].T, 0)
        for place, window in enumerate(windows):
            np.testing.assert_allclose(found[place, line], products[:window].mean(axis=0), atol=1e-6)
        np.testing.assert_allclose(found[-1, line], products.max(axis=0), atol=1e-6)
    assert np.isnan(found[:, 2]).all()


@quick
@given(SEEDS)
def test_likeness_is_the_mean_share_of_an_items_groups(seed):
    rng = np.random.default_rng(seed)
    groups = rng.integers(-1, 5, (30, 3)).astype(np.int32)
    rows, recent = (rng.integers(-1, 33, (2, size)).astype(np.int32) for size in (12, 6))
    found = features.likeness(groups, 5, recent, rows)
    for line in range(2):
        mix, described = Counter(), 0
        for item in recent[line].tolist():
            own = [group for group in groups[item].tolist() if group >= 0] if 0 <= item < 30 else []
            described += bool(own)
            for group in own:
                mix[group] += 1 / len(own)
        for slot, item in enumerate(rows[line].tolist()):
            own = [group for group in groups[item].tolist() if group >= 0] if 0 <= item < 30 else []
            if own and described:
                wanted = sum(mix[group] for group in own) / len(own) / described
                assert found[line, slot] == pytest.approx(wanted, abs=1e-6)
            else:
                assert np.isnan(found[line, slot])


def test_what_is_known_of_items_is_looked_up():
    values, rows = np.array([0.5, np.nan, 7], np.float32), np.array([[2, -1], [3, 1]], np.int32)
    found = features.looked_up(values, rows)
    np.testing.assert_array_equal(found, np.array([[7, np.nan], [np.nan, np.nan]]))
    assert np.isnan(features.looked_up(values[:0], rows)).all()


def test_days_are_counted_from_what_is_known_of_items():
    first, rows = np.array([86_400.0, np.nan, 5e6]), np.array([[0, 1, 2], [0, -1, 3]], np.int32)
    found = features.days_since(first, np.array([4 * 86_400.0, 86_400.5 * 2]), rows)
    wanted = [[3, np.nan, 0], [(86_400.5 * 2 - 86_400) / 86_400, np.nan, np.nan]]
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


@quick
@given(SEEDS, st.integers(0, 60), st.integers(0, 200))
def test_items_are_counted_among_others(seed, n, m):
    rng = np.random.default_rng(seed)
    rows, among = rng.integers(-1, 30, n).astype(np.int32), rng.integers(0, 30, m).astype(np.int32)
    counts = Counter(among.tolist())
    assert features.counted(among, rows).tolist() == [counts[row] for row in rows.tolist()]


def test_features_become_rows_of_candidates():
    found = np.arange(12, dtype=np.float32).reshape(3, 2, 2)
    found[0, 0, 1], found[2, 1, 0] = np.inf, np.nan
    items = np.array([[4, 5], [6, -1]], np.int32)
    wanted = [[[0, 4, 8], [np.nan, 5, 9]], [[2, 6, np.nan], [np.nan] * 3]]
    np.testing.assert_array_equal(features.rows_of(found, items), np.array(wanted, np.float32))


# --------------------------------------------------------------------------- cells


@pytest.mark.parametrize("d", [5, 32, 48, 300])
def test_cells_find_what_faiss_finds(d):
    rng = np.random.default_rng(d)
    items, queries = (rng.normal(size=(size, d)).astype(np.float32) for size in (3000, 20))
    index = FaissIvf.build(items, cells=40, probes=12, refine=6)
    rows, scores = index.find(queries, 25)
    np.testing.assert_allclose(scores, np.take_along_axis(queries @ items.T, rows, axis=1), rtol=1e-4, atol=1e-4)
    assert (np.diff(scores, axis=1) <= 0).all()
    theirs = ask(index.asked, queries, 25, index.usual)[0]
    alike = np.mean([len(np.intersect1d(ours, other)) / 25 for ours, other in zip(rows, theirs, strict=True)])
    assert alike > 0.995  # codes are compared to 15 bits here, to 24 there
    alone = np.concatenate([index.find(query[None], 25)[0] for query in queries])
    np.testing.assert_array_equal(rows, alone)


@pytest.mark.parametrize("d", [5, 32, 70, 700])
def test_products_of_bytes_and_of_16_bits_are_the_same(d):
    rng = np.random.default_rng(d)
    items, queries = (rng.normal(size=(size, d)).astype(np.float32) for size in (1000, 30))
    index = FaissIvf.build(items, cells=10, probes=4)
    ours = index.cells.search(queries, 20, 4, 60)
    theirs = cells_of(items, index.lists, by_bytes=False).search(queries, 20, 4, 60)
    np.testing.assert_array_equal(ours[0], theirs[0])
    np.testing.assert_array_equal(ours[1], theirs[1])


def test_vectors_beyond_what_codes_reach_are_found():
    # Faiss looks at 100,000 vectors for how far codes must reach; the longest of the others are cut off by far.
    rng = np.random.default_rng(4)
    items = (rng.normal(size=(130_000, 8)) * np.exp(rng.normal(size=(130_000, 1)))).astype(np.float32)
    queries = rng.normal(size=(200, 8)).astype(np.float32)
    index = FaissIvf.build(items, cells=256, probes=64, refine=4)
    theirs = ask(index.asked, queries, 10, index.usual)[0]
    np.testing.assert_array_equal(np.sort(index.find(queries, 10)[0], axis=1), np.sort(theirs, axis=1))


def test_the_more_is_scored_again_the_less_is_lost():
    rng = np.random.default_rng(3)
    items, queries = (rng.normal(size=(size, 24)).astype(np.float32) for size in (20_000, 200))
    index = FaissIvf.build(items, cells=20, probes=20)
    rows, _ = index.cells.search(queries, 10, 20, 5000)
    products = queries @ items.T
    np.testing.assert_array_equal(rows, np.argsort(-products, axis=1, kind="stable")[:, :10])
    few = index.cells.search(queries, 10, 20, 10)[0]
    assert 0.5 < np.mean([len(np.intersect1d(some, all_)) / 10 for some, all_ in zip(few, rows, strict=True)]) < 1


def test_equal_vectors_come_in_the_order_of_rows():
    rng = np.random.default_rng(0)
    items = np.repeat(rng.normal(size=(20, 8)).astype(np.float32), 60, axis=0)
    index = FaissIvf.build(items, cells=5, probes=5, refine=10)
    rows, scores = index.find(items[:60:60], 30)
    best = np.argsort(-(items[:60:60] @ items.T), axis=1, kind="stable")[:, :30]
    np.testing.assert_array_equal(rows, best)
    assert (scores == scores[:, :1]).all()


def test_all_cells_under_a_mask_hold_what_the_mask_allows():
    rng = np.random.default_rng(1)
    items = rng.normal(size=(500, 12)).astype(np.float32)
    index = FaissIvf.build(items, cells=9, probes=9, refine=50)
    allowed = rng.random(500) < 0.05
    rows, scores = index.find(items[:4], 40, 1.0, Mask.of(allowed))
    there = np.flatnonzero(allowed)
    for line in range(4):
        found = rows[line][rows[line] >= 0]
        assert sorted(found.tolist()) == there.tolist()
        assert (scores[line, len(there) :] == -np.inf).all()


# --------------------------------------------------------------------------- keys and texts


@quick
@given(SEEDS, st.integers(0, 3000), st.sampled_from(["even", "small", "large", "lumps"]))
def test_keys_are_found_however_they_are_spread(seed, n, spread):
    rng = np.random.default_rng(seed)
    keys = rng.integers(0, 2**64, n, np.uint64)
    if spread == "small":
        keys %= np.uint64(5 * n + 1)
    elif spread == "large":
        keys = np.uint64(2**64 - 1) - keys % np.uint64(5 * n + 1)
    elif spread == "lumps":
        keys = (keys & np.uint64(3 << 62)) + keys % np.uint64(1000)
    keys = np.unique(keys)
    rows = rng.permutation(len(keys)).astype(np.int32)
    near = np.concatenate([keys, keys + np.uint64(1), keys - np.uint64(1), np.array([0, 2**64 - 1], np.uint64)])
    known = dict(zip(keys.tolist(), rows.tolist(), strict=True))
    wanted = [known.get(key, -1) for key in near.tolist()]
    assert vocabulary.rows_of(keys, rows, near).tolist() == wanted
    assert [vocabulary.row_of(keys, rows, key) for key in near.tolist()] == wanted


@quick
@given(SEEDS, *[st.integers(0, 60)] * 3)
def test_news_is_what_is_not_known_or_later(seed, t, r, s):
    rng = np.random.default_rng(seed)
    # The lowest bits say where one is looked for: these are alike.
    row_keys = rng.permutation(np.arange(70, dtype=np.uint64) << np.uint64(7))
    rows, times = rng.permutation(70)[:t].astype(np.int32), rng.integers(0, 9, t)
    recent, seen = (rng.integers(0, 90, size, np.uint64) << np.uint64(7) for size in (r, s))
    recent_times = rng.integers(0, 9, r)
    known = dict(zip(row_keys[rows].tolist(), times.tolist(), strict=True))
    new = [i for i, key in enumerate(recent.tolist()) if recent_times[i] > known.get(key, -1)]
    others = [i for i, key in enumerate(seen.tolist()) if key not in known]
    found = vocabulary.news(row_keys, rows, times, recent, recent_times, seen)
    assert [None if places is None else places.tolist() for places in found] == [new or None, others or None]


IDS = st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=12)


@given(IDS, st.sampled_from(["", ', "k": 7', ', "é": "x"']))
def test_items_are_written_as_json(ids, told):
    heads = [f',"rank":{place + 1}{told}'.encode() for place in range(len(ids))]
    text = answers.listed(ids, heads, [b',"sources":["a"]}'] * len(ids))
    wanted = [{"item_id": id_, "rank": place + 1, "sources": ["a"]} for place, id_ in enumerate(ids)]
    assert [{key: item[key] for key in ("item_id", "rank", "sources")} for item in json.loads(text)] == wanted


@quick
@given(SEEDS, st.integers(0, 70), st.integers(0, 9))
def test_a_bit_says_who_said_something(seed, many, slots):
    said = np.random.default_rng(seed).choice(np.array([np.nan, 0, 3], np.float32), (many, slots))
    if many > answers.MOST:
        with pytest.raises(ValueError, match="at most 64 can be told apart"):
            answers.proposers(list(said), slots)
        return
    wanted = [sum(1 << i for i in range(many) if not np.isnan(said[i, slot])) for slot in range(slots)]
    assert answers.proposers(list(said), slots) == wanted


def test_a_text_that_was_cut_off_is_no_id():
    text, offsets = np.frombuffer("aßc".encode(), np.uint8), np.array([0, 1, 3, 4])
    assert vocabulary.texts(text, offsets, np.array([2, 1])) == ["c", "ß"]
    with pytest.raises(ValueError, match="row 2 stands from byte 3 to 4 of 3"):
        vocabulary.texts(text[:3], offsets, np.array([2]))
    with pytest.raises(UnicodeDecodeError):
        vocabulary.texts(text, np.array([0, 2, 4]), np.array([0]))
    with pytest.raises(IndexError, match="rows run from -1 to -1, the vocabulary from 0 to 2"):
        vocabulary.texts(text, offsets, np.array([-1]))


# --------------------------------------------------------------------------- refusals


def whole(*shape):
    return np.zeros(shape, np.int32)


def real(*shape):
    return np.zeros(shape, np.float32)


def known(times):
    kinds = ((1, "u8"), (1, "i4"), (times, "i8"), (1, "u8"), (1, "i8"), (0, "u8"))
    return [np.ones(many, kind) for many, kind in kinds]


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: candidates.top(whole(1, 3), real(1, 2), 1), "one shape"),
        (lambda: candidates.best(whole(3), real(2), 1), "3 rows and 2 scores"),
        (lambda: candidates.merged(whole(3), real(2), 1), "3 rows and 2 scores"),
        (lambda: candidates.reciprocal(whole(1, 3), real(1, 2), 60), "one shape"),
        (lambda: candidates.ranked(whole(1, 3), real(1, 4)), "scores of 4 slots"),
        (lambda: candidates.fused(whole(1, 3), real(1, 3), real(1, 2), whole(1)), "one shape"),
        (lambda: candidates.fused(whole(1, 3), real(1, 3), real(1, 3), whole(1) + 2), "must end at slot 3"),
        (lambda: candidates.summed(whole(2, 3), real(2, 2), whole(1), real(1)), "one shape each"),
        (lambda: candidates.summed(whole(2, 3), real(2, 3), whole(1) + 2, real(1)), "row 2 is asked for"),
        (lambda: candidates.without(whole(1, 3), real(1, 3), whole(2), np.array([3])), "must end behind"),
        (lambda: vectors.nearest(real(2, 3), real(2), 1), "one of 3 was wanted"),
        (lambda: answers.listed(["a"], [b""], []), "as many were wanted"),
        (lambda: answers.proposers([real(2)], 3), "3 are asked for"),
        (
            lambda: vocabulary.news(*known(2)),
            "one time each",
        ),
        (
            lambda: vocabulary.news(*known(1)),
            "row 1 is asked for",
        ),
        (lambda: candidates.blended([(whole(1, 3), real(1, 2))], [((), ())], 5, 5, 60), "of the same queries"),
        (lambda: candidates.blended([(whole(1, 3), real(1, 3))], [((), ())] * 2, 5, 5, 60), "of the same queries"),
        (
            lambda: candidates.blended([(whole(1, 3), real(1, 3))], [((), [(np.zeros(1, np.uint8), 9)])], 5, 5, 60),
            "not one of 9 items",
        ),
        (lambda: vocabulary.rows_of(np.zeros(2, np.uint64), whole(3), np.zeros(1, np.uint64)), "2 keys and 3 rows"),
        (lambda: states.columns(bytes(30), 4, 4, 1, 1, 0, 1), "hold no 1 records and 1 items"),
        (lambda: states.columns(bytes(99), 4, 5, 1, 1, 0, 1), "hold no 1 records"),
        (lambda: vocabulary.row_of(np.zeros(2, np.uint64), whole(3), 0), "2 keys and 3 rows"),
        (lambda: vectors.products(real(2, 4), whole(1, 1), real(1, 3)), "1 of 4 were wanted"),
        (lambda: vectors.products(real(2, 4), whole(1, 1) + 2, real(1, 4)), "row 2 is asked for"),
        (lambda: vectors.diverse(real(2, 4), whole(1, 3), real(4), 0.3, 1), "4 values for 3 slots"),
        (lambda: vectors.diverse(real(2, 4), whole(1, 3) + 2, real(3), 0.3, 1), "row 2 is asked for"),
        (lambda: features.cosines(real(2, 4), whole(1, 3), whole(2, 1), whole(1)), "one each was wanted"),
        (lambda: features.cosines(real(2, 4), whole(1, 3), whole(1, 33), whole(1)), "at most 32"),
        (lambda: features.cosines(real(2, 4), whole(1, 3) + 2, whole(1, 1), whole(1)), "row 2 is asked for"),
        (lambda: features.cosines(real(2, 4), whole(1, 3), whole(1, 1) + 2, whole(1)), "row 2 is asked for"),
        (lambda: features.ratios(real(1, 3), real(1, 2)), "one shape"),
        (lambda: features.count_known(real(1, 3), real(1, 2)), "one shape"),
        (lambda: features.rows_of(real(2, 1, 3), whole(1, 2)), "the same slots"),
        (lambda: features.likeness(whole(2, 3), 1, whole(2, 1), whole(1, 1)), "one each was wanted"),
        (
            lambda: trees.score(
                real(1, 2), whole(1), whole(1), real(1), np.zeros((1, 1), np.uint16), np.zeros((1, 16)), np.zeros(1)
            ),
            "do not fit",
        ),
        (
            lambda: trees.score(
                real(1, 2), whole(1), whole(2), real(1), np.zeros((1, 3), np.uint16), np.zeros((1, 16)), np.zeros(1)
            ),
            "lines of 3 words: blocks of 64 bytes",
        ),
        (lambda: features.days_since(np.zeros(2), np.zeros(2), whole(1, 3)), "2 times for 1 queries"),
        (lambda: cells.Cells(None, real(2, 4), real(4), real(3), *[np.zeros(2, np.int64)] * 3, real(5, 4)), "same dim"),
        (lambda: cells.Cells(None, real(2, 4), real(4), real(4), *[np.ones(3, np.int64)] * 3, real(5, 4)), "2 centres"),
        (
            lambda: cells.Cells(
                None, real(1, 4), real(4), real(4), np.ones(1, np.int64), *[np.zeros(1, np.int64)] * 2, real(5, 4)
            ),
            "nobody says where",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_together_is_refused_before_a_loop_begins(call, error):
    with pytest.raises((ValueError, IndexError), match=error):
        call()


def test_cells_refuse_queries_and_masks_that_do_not_fit():
    held = cells.Cells(None, real(1, 4), real(4), real(4), *[np.zeros(1, np.int64)] * 3, real(9, 4))
    for asked in (lambda: held.search(real(1, 3), 1, 1, 1), lambda: held.search(real(1, 4), 0, 1, 1)):
        with pytest.raises(ValueError, match="4 and 1 or more"):
            asked()
    with pytest.raises(ValueError, match="a mask of 1 bytes is over less than 9 items"):
        held.search(real(1, 4), 1, 1, 1, np.zeros(1, np.uint8))
    rows, scores = held.search(real(2, 4), 3, 5, 1)
    assert (rows == -1).all()
    assert (scores == -np.inf).all()

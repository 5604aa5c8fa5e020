import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from recsys.candidates import Candidates, Unwanted, beside, blend, fill, fuse
from recsys.masks import Mask


@st.composite
def proposals(draw, queries=None, slots=None):
    """Candidates with distinct items, random gaps and tied scores."""
    q = draw(st.integers(1, 3)) if queries is None else queries
    n = draw(st.integers(0, 8)) if slots is None else slots
    rows = np.array([draw(st.permutations(range(12)))[:n] for _ in range(q)], np.int32).reshape(q, n)
    scores = draw(hnp.arrays(np.float32, (q, n), elements=st.integers(-3, 3).map(float)))
    keep = draw(hnp.arrays(bool, (q, n)))
    return Candidates(rows, scores).keep(keep)


def distinct(candidates):
    return all(len(set(line[line >= 0])) == (line >= 0).sum() for line in candidates.rows)


@given(proposals(), st.integers(0, 12))
def test_top_sorts_pads_and_loses_nothing_better(candidates, k):
    best = candidates.top(k)
    assert best.shape == (candidates.shape[0], k)
    assert (best.scores[:, 1:] <= best.scores[:, :-1]).all()
    for line, scores in zip(best.rows, candidates.scores, strict=True):
        assert (line >= 0).sum() == min(k, np.isfinite(scores).sum())
    assert best.top(k).rows.tolist() == best.rows.tolist()


@given(st.integers(1, 3).flatmap(lambda q: st.tuples(*[proposals(queries=q)] * 3)))
def test_fusing_unites_items_once_whatever_the_order_of_sources(parts):
    named = dict(zip("abc", parts, strict=True))
    one, other = fuse(named), fuse(dict(reversed(named.items())))
    assert distinct(one)
    for query in range(one.shape[0]):
        scores = [
            {row: score for row, score in zip(f.rows[query], f.scores[query], strict=True) if row >= 0}
            for f in (one, other)
        ]
        assert scores[0].keys() == scores[1].keys() == {r for p in parts for r in p.rows[query] if r >= 0}
        assert all(scores[0][row] == pytest.approx(scores[1][row], rel=1e-5) for row in scores[0])


@given(proposals())
def test_fusing_one_source_keeps_its_order_and_its_scores_as_a_signal(candidates):
    fused = fuse({"only": candidates})
    n = candidates.shape[1]
    assert fused.top(n).rows.tolist() == candidates.top(n).rows.tolist()
    assert np.array_equal(fused.signals["only"][fused.filled], candidates.scores[candidates.filled])


@st.composite
def unwanted(draw):
    rows = st.lists(st.integers(0, 11), max_size=6).map(lambda some: np.array(some, np.int32))
    masks = st.sets(st.integers(0, 11)).map(lambda some: Mask.of_rows(some, 12))
    return Unwanted(tuple(draw(st.lists(rows, max_size=2))), tuple(draw(st.lists(masks, max_size=2))))


@given(
    st.integers(1, 3).flatmap(
        lambda q: st.tuples(
            st.lists(proposals(queries=q), min_size=1, max_size=3), st.lists(unwanted(), min_size=q, max_size=q)
        )
    ),
    st.none() | st.integers(1, 10),
    st.none() | st.integers(0, 30),
)
def test_blending_at_once_is_filtering_cutting_and_fusing_step_by_step(given_, pool, most):
    parts, kept_away = given_
    left = {}
    for name, part in zip("abc", parts, strict=False):
        held = np.ones(part.shape, bool)
        for line, each in enumerate(kept_away):
            held[line] &= ~np.isin(part.rows[line], np.concatenate([np.zeros(0, np.int32), *each.rows]))
            for mask in each.masks:
                held[line] &= mask.holds(part.rows[line])
        left[name] = part.keep(held) if pool is None else part.keep(held).top(pool)
    fused = fuse(left)
    step_by_step = fused.top(fused.shape[1] if most is None else most)
    at_once = blend(dict(zip("abc", parts, strict=False)), kept_away, pool, most)
    np.testing.assert_array_equal(at_once.rows, step_by_step.rows)
    np.testing.assert_array_equal(at_once.scores, step_by_step.scores)
    assert at_once.signals.keys() == step_by_step.signals.keys()
    for name, signal in at_once.signals.items():
        np.testing.assert_array_equal(signal, step_by_step.signals[name])


def test_reciprocal_rank_fusion_on_hand_worked_numbers():
    a = Candidates(np.array([[1, 2, 3]], np.int32), np.array([[9, 8, 7]], np.float32))
    b = Candidates(np.array([[3, 4]], np.int32), np.array([[0.2, 0.1]], np.float32))
    fused = fuse({"a": a, "b": b}).top(4)
    assert fused.rows.tolist() == [[3, 1, 2, 4]]
    assert fused.scores[0] == pytest.approx([1 / 63 + 1 / 61, 1 / 61, 1 / 62, 1 / 62])
    assert fused.signals["a"][0][0] == 7
    assert fused.signals["b"][0][0] == np.float32(0.2)
    assert np.isnan(fused.signals["b"][0][1])


@given(st.integers(1, 3).flatmap(lambda q: st.tuples(*[proposals(queries=q)] * 2)), st.integers(1, 12))
def test_filling_puts_the_rest_behind_and_repeats_nothing(parts, k):
    first, rest = parts
    filled = fill(first, rest, k)
    assert filled.shape == (first.shape[0], k)
    assert distinct(filled)
    for query, line in enumerate(filled.rows):
        mine = [row for row in first.top(k).rows[query] if row >= 0]
        more = [row for row in rest.top(rest.shape[1]).rows[query] if row >= 0 and row not in mine]
        assert [row for row in line if row >= 0] == (mine + more)[:k]
        scores = filled.scores[query][line >= 0]
        assert (np.diff(scores) <= 0).all()


def test_filling_keeps_what_each_source_said():
    first = fuse({"nearest": Candidates(np.array([[5]], np.int32), np.array([[2]], np.float32))})
    rest = fuse({"popular": Candidates(np.array([[5, 6]], np.int32), np.array([[40, 30]], np.float32))})
    filled = fill(first, rest, 3)
    assert filled.rows.tolist() == [[5, 6, -1]]
    assert filled.signals["nearest"][0][0] == 2
    assert np.isnan(filled.signals["nearest"][0][1:]).all()
    assert filled.signals["popular"][0][1] == 30


def test_shapes_that_disagree_are_errors_with_both_numbers():
    with pytest.raises(ValueError, match=r"rows are \(1, 2\) and scores \(1, 3\)"):
        Candidates(np.zeros((1, 2), np.int32), np.zeros((1, 3), np.float32))
    with pytest.raises(ValueError, match=r"signal 'a' is \(1, 1\) and rows are \(1, 2\)"):
        Candidates(np.zeros((1, 2), np.int32), np.zeros((1, 2), np.float32), {"a": np.zeros((1, 1), np.float32)})
    with pytest.raises(ValueError, match="answered for \\[1, 2\\] queries"):
        fuse({"a": Candidates.empty(1), "b": Candidates.empty(2)})


@given(st.integers(1, 3).flatmap(lambda q: st.tuples(*[proposals(queries=q)] * 2)))
def test_nothing_is_written_into_what_was_given(parts):
    copies = [(part.rows.copy(), part.scores.copy()) for part in parts]
    fill(fuse({"a": parts[0], "b": parts[1]}), parts[1], 5)
    beside(parts)
    for part, (rows, scores) in zip(parts, copies, strict=True):
        assert np.array_equal(part.rows, rows)
        assert np.array_equal(part.scores, scores)

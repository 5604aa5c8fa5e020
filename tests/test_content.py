"""Content vectors, the map to item vectors, and how the two are mixed."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.arrays import unit
from recsys.content import Content, ContentMap, shrunk
from recsys.encoding.precomputed import Precomputed, PrecomputedRule
from recsys.folding.linear import Linear, LinearRule

RNG = np.random.default_rng


def normal(*shape, seed=0):
    return RNG(seed).normal(size=shape).astype(np.float32)


def a_map(spaces=None, width=5):
    spaces = spaces or {"items": 3, "inputs": 3}
    d = sum(spaces.values())
    return ContentMap(((normal(width, 7), normal(7, seed=1)), (normal(7, d, seed=2), normal(d, seed=3))), spaces)


def a_content(n=6):
    vectors = unit(normal(n, 5, seed=4))
    vectors[2] = 0
    encoding = Precomputed.of(PrecomputedRule(width=5), {})
    return Content(encoding, a_map(), {"items": 2.0, "inputs": 0.5}, 4.0, vectors)


@given(st.integers(0, 10**7), st.floats(0, 1e3))
def test_a_mixed_vector_lies_between_the_predicted_and_the_learned_one(takers, kappa):
    learned, predicted = normal(1, 4), normal(1, 4, seed=1)
    mixed = shrunk(learned, predicted, np.array([takers]), kappa)
    share = takers / (takers + kappa) if takers else 0
    assert mixed == pytest.approx(share * learned + (1 - share) * predicted, abs=1e-5)


def test_many_takers_leave_the_learned_vector_and_none_the_predicted_one():
    learned, predicted = normal(4, 3), normal(4, 3, seed=1)
    takers = np.array([0, 10**9, 0, 5])
    predicted[2] = 0
    mixed = shrunk(learned, predicted, takers, 10.0)
    assert mixed[0] == pytest.approx(predicted[0])
    assert mixed[1] == pytest.approx(learned[1], rel=1e-6)
    assert np.array_equal(mixed[2], learned[2]), "nothing is known of it: it stays what it was"
    none = shrunk(learned, predicted, takers, 0.0)
    assert np.array_equal(none[1:], learned[1:])
    assert np.array_equal(none[0], predicted[0])


def test_a_map_is_the_net_it_says_and_gives_directions():
    content, net = normal(9, 5, seed=5), a_map()
    content[4] = 0
    (first, one), (second, two) = net.layers
    wanted = np.maximum(content @ first + one, 0) @ second + two
    found = net.directions(content)
    for name, part in (("items", wanted[:, :3]), ("inputs", wanted[:, 3:])):
        lengths = np.linalg.norm(part, axis=1, keepdims=True)
        rest = np.arange(9) != 4
        assert found[name][rest] == pytest.approx((part / lengths)[rest], abs=1e-6)
        assert not found[name][4].any(), "of an item without information no direction is made up"
    assert np.array_equal(net.predict(content), found["items"])
    alone = np.vstack([net.predict(content[row : row + 1]) for row in range(9)])
    assert alone == pytest.approx(found["items"], abs=1e-6)
    assert net.predict(content[:0]).shape == (0, 3)


def test_what_does_not_fit_is_refused_with_the_numbers():
    with pytest.raises(ValueError, match=r"content vectors are \(2, 4\), but the map was learned for width 5"):
        a_map().predict(normal(2, 4))
    with pytest.raises(ValueError, match=r"do not fit each other and spaces of \{'items': 4\}"):
        ContentMap(((normal(5, 3), normal(3)),), {"items": 4})
    with pytest.raises(ValueError, match="do not fit each other"):
        ContentMap(((normal(5, 3), normal(3)), (normal(4, 3), normal(3))), {"items": 3})
    with pytest.raises(ValueError, match=r"content vectors are \(6, 4\), the encoding's width is 5"):
        Content(Precomputed.of(PrecomputedRule(width=5), {}), a_map(), {}, 1.0, normal(6, 4))
    with pytest.raises(ValueError, match=r"norms of items$"):
        Content(Precomputed.of(PrecomputedRule(width=5), {}), a_map(), {"items": 1.0}, 1.0, normal(6, 5))


def test_an_item_nobody_took_is_the_prior_times_the_direction():
    content = a_content()
    placed = content.placed(content.vectors)
    for name, norm in content.norms.items():
        lengths = np.linalg.norm(placed[name], axis=1)
        assert lengths == pytest.approx([norm, norm, 0, norm, norm, norm], rel=1e-5)
    assert content.place(content.vectors) == pytest.approx(placed["items"])
    assert content.prior == 2.0


def test_a_fold_is_mixed_in_each_of_its_spaces():
    content, takers = a_content(), np.array([0, 4, 0, 10**9, 1, 1])
    fold = Linear.of(normal(6, 3, seed=6), LinearRule(), {"inputs": normal(6, 3, seed=7)})
    mixed = content.mixed(fold, takers)
    placed = content.placed(content.vectors)
    for name, learned in fold.per_item().items():
        assert np.array_equal(mixed.per_item()[name], shrunk(learned, placed[name], takers, 4.0))
        assert mixed.per_item()[name][1] == pytest.approx((learned[1] + placed[name][1]) / 2, abs=1e-6)
    nothing = ContentMap(((np.zeros((5, 6), np.float32), np.zeros(6, np.float32)),), content.map.spaces)
    assert np.array_equal(replace(content, map=nothing).mixed(fold, takers).items, fold.items)


def test_descriptions_become_vectors_of_length_one_or_zeros():
    said = [{"vector": [3, 0, 0, 0, 4]}, {"vector": [1, 2]}, {}, {"vector": [0, 0, 0, 0, float("nan")]}]
    vectors = a_content().encode(said)
    assert vectors[0] == pytest.approx([0.6, 0, 0, 0, 0.8])
    assert not vectors[1:].any()


def test_content_that_was_saved_places_items_as_before(tmp_path):
    content = a_content()
    content.save(tmp_path / "content")
    after = Content.load(tmp_path / "content")
    assert np.array_equal(after.vectors, content.vectors)
    assert (after.kappa, after.norms, after.encoding.rule) == (content.kappa, content.norms, content.encoding.rule)
    fresh = content.encode([{"vector": [1, 2, 3, 4, 5]}])
    assert np.array_equal(after.place(fresh), content.place(fresh))
    assert after.reads == content.reads == ("vector", "item_id")


def test_content_that_lacks_a_file_or_a_number_is_refused(tmp_path):
    a_content().save(tmp_path)
    (tmp_path / "content.json").write_text('{"norms": {}, "kappa": -1, "spaces": {}, "layers": 1}')
    with pytest.raises(ValueError, match="kappa: Input should be greater than or equal to 0"):
        Content.load(tmp_path)
    a_content().save(tmp_path)
    (tmp_path / "matrix_1.npy").unlink()
    with pytest.raises(FileNotFoundError):
        Content.load(tmp_path)

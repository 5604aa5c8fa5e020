"""Parts of a release that take new items without being copied: each answers as if it had been built with them."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.exact import Exact
from index.growing import Growing
from index.remembering import Remembering
from recsys.arrays import patched
from recsys.catalogue import Catalogue
from recsys.folding import FOLDS
from recsys.item_lists import ItemLists
from recsys.masks import Mask
from recsys.testing.indexes import VectorIndexContract
from recsys.vocabulary import Vocabulary

vectors_of = VectorIndexContract().vectors


@given(st.integers(0, 6), st.lists(st.lists(st.integers(0, 9), unique=True, max_size=4), max_size=3), st.data())
def test_a_patched_array_is_the_array_with_its_rows_written_over(length, patches, data):
    wanted, array = np.arange(2 * length).reshape(length, 2), np.arange(2 * length).reshape(length, 2)
    for drawn in patches:
        old = [row for row in drawn if row < len(wanted)]
        rows = np.array([*old, *range(len(wanted), len(wanted) + len(drawn) - len(old))], np.int64)
        values = 100 + np.arange(2 * len(rows)).reshape(len(rows), 2)
        array = patched(array, rows, values)
        wanted = np.concatenate([wanted, np.zeros((len(rows) - len(old), 2), int)])
        wanted[rows] = values
    assert array.shape == wanted.shape
    assert len(array) == len(wanted)
    assert np.array_equal(np.asarray(array), wanted)
    if len(wanted):
        asked = data.draw(st.lists(st.integers(0, len(wanted) - 1), max_size=6))
        assert np.array_equal(array[np.array(asked, int)], wanted[np.array(asked, int)])
        assert np.array_equal(array[np.array([asked, asked], int)], wanted[np.array([asked, asked], int)])
        assert np.array_equal(array[len(wanted) - 1], wanted[-1])


def test_a_patch_that_does_not_fit_is_an_error_with_both_numbers():
    with pytest.raises(ValueError, match=r"values are \(1, 3\): 1 rows of \(2, 2\) need \(1, 2\)"):
        patched(np.zeros((2, 2)), np.array([0]), np.zeros((1, 3)))
    with pytest.raises(ValueError, match=r"new rows are \[3\]: they must go on from 2, one by one"):
        patched(np.zeros((2, 2)), np.array([3]), np.zeros((1, 2)))
    array = patched(np.zeros((2, 2)), np.array([2]), np.ones((1, 2)))
    with pytest.raises(IndexError, match="rows run from 3 to 3, the array from 0 to 2"):
        array[np.array([3])]


@given(st.lists(st.text(min_size=1, max_size=3), unique=True, max_size=9), st.integers(0, 9), st.integers(0, 9))
def test_a_vocabulary_that_has_grown_is_the_vocabulary_of_all_ids(ids, first, second):
    grown = Vocabulary.of(ids[:first]).grown(ids[first : first + second]).grown(ids[first + second :])
    whole = Vocabulary.of(ids)
    assert list(grown) == ids
    assert len(grown) == len(ids)
    assert np.array_equal(grown.rows([*ids, "\x00 nowhere"]), whole.rows([*ids, "\x00 nowhere"]))
    assert [grown.row(id_) for id_ in [*ids, "\x00 nowhere"]] == [*range(len(ids)), -1]
    assert np.array_equal(np.asarray(grown.row_keys), whole.row_keys)
    for prefix in {id_[:1] for id_ in ids}:
        assert np.array_equal(grown.starting_with(prefix, 3), whole.starting_with(prefix, 3))
    assert all(np.array_equal(array, whole.arrays()[name]) for name, array in grown.arrays().items())


def test_an_id_that_is_there_already_cannot_be_added():
    with pytest.raises(ValueError, match="'b' is in the vocabulary already"):
        Vocabulary.of(["a", "b"]).grown(["c", "b"])
    with pytest.raises(IndexError, match="rows run from 0 to 3, the vocabulary from 0 to 2"):
        Vocabulary.of(["a", "b"]).grown(["c"]).ids(np.array([0, 3]))


def test_a_catalogue_describes_and_finds_what_was_said_last():
    frame = pd.DataFrame({"item_id": ["a", "b"], "title": ["Solaris", "The Mirror"], "year": [1972, 1975]})
    built = Catalogue.of(frame, Vocabulary.of(["a", "b", "c"]))
    amended = built.amended(
        {1: {"item_id": "b", "title": "Mirror", "text": ""}, 3: {"item_id": "d", "title": "Stalker"}}
    )
    amended = amended.amended({4: {"item_id": "e", "title": "A solar eclipse", "tags": ["sun"]}})
    assert len(amended) == 5
    assert amended.describe(np.array([4, 1, 0, 2])) == [
        {"item_id": "e", "title": "A solar eclipse", "tags": ["sun"]},
        {"item_id": "b", "title": "Mirror"},
        {"item_id": "a", "title": "Solaris", "year": 1972},
        {"item_id": "c"},
    ]
    assert amended.search("solar", 5).tolist() == [0, 4]
    assert amended.search("SOLAR", 1).tolist() == [0]
    assert amended.search("the", 5).tolist() == []
    assert amended.search("s", 9).tolist() == [0, 3, 4]
    assert built.search("the", 5).tolist() == [1]
    assert built.amended({}) is built
    with pytest.raises(IndexError, match="rows run from 5 to 5"):
        built.describe(np.array([5]))
    with pytest.raises(ValueError, match="3 items were described since this catalogue was made"):
        amended.save("anywhere")


def test_item_lists_grow_by_empty_ones():
    lists = ItemLists(np.array([[1], [0]], np.int32), np.array([[2.0], [3.0]], np.float32)).grown(2)
    assert len(lists) == 4
    scores = lists.scores([np.array([0, 3], np.int32)], [np.ones(2, np.float32)])
    assert scores.tolist() == [[0, 2, 0, 0]]


@pytest.mark.parametrize("kind", ["least-squares", "linear"])
def test_a_fold_over_patched_items_folds_as_one_over_all_of_them(kind):
    items = vectors_of(20, 4)
    now = np.concatenate([items, vectors_of(2, 4, seed=1)])
    now[2] = items[9]
    rule = FOLDS[kind].Rule() if kind == "linear" else FOLDS[kind].Rule(alpha=2.0, regularization=0.1)
    fold = FOLDS[kind].of(items, rule)
    rows = np.array([20, 2, 21], np.int32)
    histories = np.array([2, 20, 4, 21, 21, 0], np.int32)
    given = np.array([0, 3, 4, 4, 6]), histories, np.ones(6, np.float32)
    patches = {name: patched(array, rows, now[rows]) for name, array in fold.per_item().items()}
    wanted = fold.replaced(dict.fromkeys(patches, now))
    assert np.allclose(fold.replaced(patches).fold(*given), wanted.fold(*given), atol=1e-5)


@pytest.mark.parametrize("lost", [3, 200])
def test_a_growing_index_answers_as_one_built_over_what_is_there_now(lost):
    rng = np.random.default_rng(0)
    vectors, late, queries = vectors_of(500, 8), vectors_of(30, 8, seed=1), vectors_of(10, 8, seed=2)
    now = np.concatenate([vectors, late])
    now[[7, 505]] = vectors_of(2, 8, seed=3)
    gone = rng.permutation(530)[:lost]
    growing = Growing.of(Exact.build(vectors)).add(late).remove(gone).put(np.array([505, 7], np.int32), now[[505, 7]])
    growing = growing.restore(gone[:1])
    left = np.ones(530, bool)
    left[gone[1:]] = False
    left[[7, 505]] = True
    for allowed in (np.ones(530, bool), rng.random(530) < 0.3):
        wanted = Exact.build(now).search(queries, 40, Mask.of(left & allowed))
        found = growing.search(queries, 40, None if allowed.all() else Mask.of(allowed))
        assert np.array_equal(found.rows, wanted.rows)
        assert np.allclose(found.scores, wanted.scores, rtol=1e-5)
    folded, rows = growing.folded(vectors)
    assert np.array_equal(folded, now[left])
    assert np.array_equal(rows, np.flatnonzero(left))


@pytest.mark.parametrize("lost", [0, 3, 200])
def test_what_a_growing_index_remembers_is_what_was_built_with_what_came_and_without_what_went(lost):
    vectors, late = vectors_of(300, 8), vectors_of(30, 8, seed=1)
    built = Remembering.of(Exact.build(vectors), vectors, 40)
    growing = Growing.of(built)
    asked = np.array([4, 9], np.int32)
    assert np.array_equal(growing.remembered(asked, 10).rows, growing.search(vectors[asked], 10).rows)
    now = np.concatenate([vectors, late])
    now[7] = vectors_of(1, 8, seed=3)
    gone = [row for row in np.random.default_rng(0).permutation(330)[: lost + 3].tolist() if row not in {4, 7, 9}][
        :lost
    ]
    growing = growing.add(late).put(np.array([7], np.int32), now[[7]]).remove(gone)
    for row in (7, 300):
        assert growing.remembered(np.array([4, row], np.int32), 10) is None, "it came since, or got another vector"
    assert growing.remembered(asked, 41) is None
    found = growing.remembered(asked, 40)
    near = Exact.build(vectors).search(vectors[asked], 40)
    products = vectors[asked] @ now.T
    for line, row in enumerate(asked.tolist()):
        there = {7, *near.rows[line].tolist(), *range(300, 330)} - set(gone)
        best = sorted(there, key=lambda item: -products[line, item])[:40]
        assert found.rows[line][found.filled[line]].tolist() == best, row
    assert Growing.of(Exact.build(vectors)).remembered(asked, 5) is None


def test_rows_of_a_growing_index_go_on_one_by_one():
    with pytest.raises(ValueError, match=r"1 vectors came for 1 rows, the new ones \[6\]: new rows go on from 5"):
        Growing.of(Exact.build(vectors_of(5))).put(np.array([6]), vectors_of(1))

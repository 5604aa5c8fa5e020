import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys import vocabulary
from recsys.vocabulary import Vocabulary, keys_of

ids = st.lists(st.text(min_size=1, max_size=20), unique=True, max_size=50)


@given(ids)
def test_ids_come_back_from_their_rows(ids):
    vocabulary = Vocabulary.of(ids)
    assert list(vocabulary) == ids
    assert vocabulary.rows(ids).tolist() == list(range(len(ids)))
    assert vocabulary.rows_of_keys(vocabulary.row_keys).tolist() == list(range(len(ids)))


@given(ids, st.text(min_size=1))
def test_unknown_ids_have_row_minus_one(ids, other):
    expected = ids.index(other) if other in ids else -1
    assert Vocabulary.of(ids).rows([other]).tolist() == [expected]
    assert Vocabulary.of(ids).row(other) == expected


@given(ids=ids)
def test_a_saved_vocabulary_answers_alike(tmp_path_factory, ids):
    folder = tmp_path_factory.mktemp("vocabulary")
    Vocabulary.of(ids).save(folder)
    loaded = Vocabulary.load(folder)
    assert list(loaded) == ids
    assert loaded.rows([*ids, "\x00 nowhere"]).tolist() == [*range(len(ids)), -1]


@given(ids, st.text(min_size=1, max_size=3))
def test_prefix_search_finds_what_startswith_finds(ids, prefix):
    found = Vocabulary.of(ids).ids(Vocabulary.of(ids).starting_with(prefix, 100))
    assert found == [id_ for id_ in ids if id_.startswith(prefix)]


def test_keys_never_change():
    # States in Redis outlive every release: these are the published test vectors of XXH3 with 64 bits.
    assert keys_of([""]).tolist() == [0x2D06800538D394C2]
    assert keys_of(["a", "i1"]).tolist() == [0xE6C632B61E964E1F, 5646418012223857726]


def test_repeated_and_empty_ids_are_refused_by_name():
    with pytest.raises(ValueError, match=r"'b' and 'b' are the same"):
        Vocabulary.of(["a", "b", "b"])
    with pytest.raises(ValueError, match=r"an id is empty \(row 1\)"):
        Vocabulary.of(["a", ""])


def test_ids_whose_keys_collide_are_refused(monkeypatch):
    monkeypatch.setattr(vocabulary, "keys_of", lambda ids: np.zeros(len(ids), np.uint64))
    with pytest.raises(ValueError, match=r"'a' and 'b' are the same or share a key"):
        Vocabulary.of(["a", "b"])


def test_a_row_outside_is_an_error_with_both_numbers():
    with pytest.raises(IndexError, match=r"rows run from 0 to 2, the vocabulary from 0 to 1"):
        Vocabulary.of(["a", "b"]).ids(np.array([0, 2]))

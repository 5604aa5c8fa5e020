import pandas as pd
import pytest

from recsys.errors import DataError
from recsys.interactions import interactions_of
from recsys.sections import Kind
from recsys.users import History
from recsys.vocabulary import Vocabulary

KINDS = {"play": Kind(), "skip": Kind(weight=0), "rating": Kind(scale="value", at_least=3)}


def frame(rows, columns=("user_id", "item_id", "kind", "value", "time")):
    return pd.DataFrame(rows, columns=list(columns)).astype({"user_id": "str", "item_id": "str", "kind": "str"})


LOG = frame(
    [
        ("u1", "a", "play", 1, 30),
        ("u2", "b", "rating", 5, 10),
        ("u1", "a", "play", 1, 20),
        ("u1", "b", "skip", 1, 40),
        ("u2", "a", "rating", 2, 50),
    ]
)


def test_events_come_in_the_order_of_time_with_what_they_teach():
    data = interactions_of(LOG, KINDS)
    assert data.time.tolist() == [10, 20, 30, 40, 50]
    assert data.users.ids(data.user) == ["u2", "u1", "u1", "u1", "u2"]
    assert data.weight.tolist() == [5, 1, 1, 0, 0]
    assert data.timed


def test_the_matrix_adds_repeats_and_leaves_out_what_teaches_nothing():
    data = interactions_of(LOG, KINDS, items=Vocabulary.of(["a", "b", "c"]), users=Vocabulary.of(["u1", "u2"]))
    assert data.matrix().toarray().tolist() == [[2, 0, 0], [0, 5, 0]]
    assert data.seen().toarray().tolist() == [[1, 1, 0], [1, 1, 0]]


def test_an_unknown_kind_is_refused_with_the_choices():
    with pytest.raises(DataError, match=r"events of kind play, skip, but \[data.kinds\] knows rating"):
        interactions_of(LOG, {"rating": Kind()})


def test_an_id_unknown_to_a_given_vocabulary_is_an_error():
    with pytest.raises(ValueError, match="item vocabulary does not know 'b'"):
        interactions_of(LOG, KINDS, items=Vocabulary.of(["a"]))


def test_a_history_is_distinct_newest_first_and_adds_weights():
    data = interactions_of(LOG, KINDS, items=Vocabulary.of(["a", "b"]), users=Vocabulary.of(["u1", "u2", "u3"]))
    history = History.of(data)
    assert history.indptr.tolist() == [0, 2, 4, 4]
    assert history.rows.tolist() == [1, 0, 0, 1]
    assert history.weights.tolist() == [0, 2, 0, 5]
    assert history.times.tolist() == [40, 30, 50, 10]

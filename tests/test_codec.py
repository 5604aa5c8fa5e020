"""User states as bytes: what goes in comes out, and bytes that are not ours are refused by name."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.errors import StoreError
from recsys.stores import UserState, codec
from recsys.testing.stores import assert_same_state, user_state, user_states

VECTOR = np.linspace(-1, 1, 64, dtype=np.float32)
STATE = user_state("u1", 50, 0, VECTOR)
STATE_BYTES, VECTOR_BYTES = codec.encode_state(STATE), codec.encode_vector("u1", VECTOR)


@given(user_states())
def test_decoding_gives_what_was_encoded(state):
    vector = None if state.vector is None else codec.encode_vector(state.user, state.vector)
    found = codec.decode(state.user, codec.encode_state(state), vector)
    assert_same_state(found, state)


def test_a_state_of_fifty_items_and_its_vector_are_small():
    assert len(STATE_BYTES) == 824
    assert len(VECTOR_BYTES) == 264
    assert len(codec.encode_state(user_state("u1", 50, 100))) == 1624


def test_the_format_of_version_1_is_read_for_ever():
    # written out by hand from the table in the module's docstring, checksums by xxhash
    body = bytes.fromhex(
        "02000000 01000000 00f1536500000000"  # 2 recent, 1 seen, first time 1700000000
        "0500000000000000 ffffffffffffffff 0700000000000000"  # recent, seen
        "0a000000 00000000 0000803f 00000040"  # seconds after the first, weights
    )
    written = b"uS\x01\x04" + bytes.fromhex("8af7e38f") + body
    found = codec.decode("u1", written, b"uV\x01\x00" + bytes.fromhex("b04df439 0000c03f"))
    assert found.recent.tolist() == [5, 2**64 - 1]
    assert found.times.tolist() == [1_700_000_010, 1_700_000_000]
    assert found.weights.tolist() == [1, 2]
    assert found.seen.tolist() == [7]
    assert found.vector.tolist() == [1.5]
    assert codec.encode_state(found) == written


def test_descriptions_and_interests_of_version_1_are_read_for_ever():
    # checksums by xxhash
    assert codec.decode_item("i1", b"iD\x01\x00" + bytes.fromhex("e1443c42") + b"null") is None
    item = b"iD\x01\x00" + bytes.fromhex("a0d4ae67") + '{"title":"Ä","year":1972}'.encode()
    assert codec.decode_item("i1", item) == {"title": "Ä", "year": 1972}
    assert codec.encode_item({"title": "Ä", "year": 1972}) == item
    named = b"uI\x01\x00" + bytes.fromhex("cfe8dba3") + b'["jazz","x"]'
    assert codec.decode("u1", None, None, named).interests == ("jazz", "x")
    assert codec.encode_interests(["jazz", "x"]) == named


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        (b"hello", r"description of item 'i1' was not written by this program \(5 bytes"),
        (b"iD\x02" + codec.encode_item({})[3:], "description of item 'i1' has format version 2"),
        (codec.encode_item({})[:-1] + b"]", "description of item 'i1' is damaged, its checksum .* PUT it again"),
        (codec._sealed(b"iD", 0, b"[1]"), "it is no JSON object: PUT it again"),
        (codec._sealed(b"iD", 0, b"{"), "it is no JSON "),
    ],
)
def test_a_description_that_is_not_one_is_refused_by_name(stored, said):
    with pytest.raises(StoreError, match=said):
        codec.decode_item("i1", stored)


def test_interests_that_are_none_are_refused_by_name():
    with pytest.raises(StoreError, match="list of interests of user 'u1' is damaged, it is no list of texts"):
        codec.decode("u1", STATE_BYTES, None, codec._sealed(b"uI", 0, b"[1]"))


def test_arrays_are_read_only_views_of_the_bytes():
    found = codec.decode("u1", STATE_BYTES, VECTOR_BYTES)
    for array in (found.vector, found.recent, found.weights, found.times, found.seen):
        assert not array.flags.writeable
    for array in (found.vector, found.recent, found.weights, found.seen):
        assert array.base is not None


@given(st.data())
def test_any_one_byte_changed_is_refused(data):
    for whole, vector in ((STATE_BYTES, False), (VECTOR_BYTES, True)):
        place = data.draw(st.integers(0, len(whole) - 1))
        changed = bytearray(whole)
        changed[place] ^= data.draw(st.integers(1, 255))
        with pytest.raises(StoreError, match="user 'u1'"):
            codec.decode("u1", *((STATE_BYTES, bytes(changed)) if vector else (bytes(changed), None)))


@given(st.integers(0, len(STATE_BYTES) - 1), st.integers(0, len(VECTOR_BYTES) - 1))
def test_any_truncation_is_refused(state_length, vector_length):
    with pytest.raises(StoreError, match="state of user 'u1'"):
        codec.decode("u1", STATE_BYTES[:state_length], None)
    with pytest.raises(StoreError, match="vector of user 'u1'"):
        codec.decode("u1", STATE_BYTES, VECTOR_BYTES[:vector_length])


@given(st.binary() | st.binary(min_size=8).map(lambda rest: b"uS\x01\x04" + rest))
def test_foreign_bytes_are_refused_and_crash_nothing(foreign):
    with pytest.raises(StoreError, match="user 'u1'"):
        codec.decode("u1", foreign, None)
    with pytest.raises(StoreError, match="user 'u1'"):
        codec.decode("u1", STATE_BYTES, foreign)


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.sampled_from([0, 4, 8, 255]), st.binary(max_size=64))
def test_counts_that_do_not_fit_the_bytes_are_refused_even_with_a_right_checksum(recent, seen, width, rest):
    body = codec._COUNTS.pack(recent, seen, 0) + rest
    if width in (4, 8) and len(rest) == (12 + width) * recent + 8 * seen:
        assert len(codec.decode("u1", codec._sealed(b"uS", width, body), None).recent) == recent
        return
    with pytest.raises(StoreError, match="the stored state of user 'u1' is damaged"):
        codec.decode("u1", codec._sealed(b"uS", width, body), None)


def test_each_reason_is_named():
    with pytest.raises(StoreError, match=r"was not written by this program \(5 bytes, beginning with b'hello'\)"):
        codec.decode("u1", b"hello", None)
    with pytest.raises(StoreError, match="state of user 'u1' has format version 2, this program reads version 1"):
        codec.decode("u1", STATE_BYTES[:2] + b"\x02" + STATE_BYTES[3:], None)
    with pytest.raises(StoreError, match="checksum does not match: run `recsys train`"):
        codec.decode("u1", STATE_BYTES[:-1] + b"?", None)
    with pytest.raises(StoreError, match="as the vector of user 'u1' was not written"):
        codec.decode("u1", STATE_BYTES, STATE_BYTES)


def test_arrays_that_do_not_fit_together_are_a_callers_bug():
    ones = np.ones(2, np.float32)
    keys, times = np.ones(3, np.uint64), np.ones(3, np.int64)
    with pytest.raises(ValueError, match=r"user 'u1': recent, weights and times are \(3,\), \(2,\) and \(3,\)"):
        codec.encode_state(UserState("u1", None, keys, ones, times, keys))
    with pytest.raises(ValueError, match=r"the vector is \(1, 2\) but must be \(d,\)"):
        codec.encode_vector("u1", ones[None])

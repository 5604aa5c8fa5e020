"""User states as bytes: what goes in comes out, and bytes that are not ours are refused by name."""

import contextlib
from dataclasses import replace

import numpy as np
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from recsys.errors import StoreError
from recsys.stores import UserState, codec
from recsys.testing.stores import ARRAYS, assert_same_state, user_state, user_states

VECTOR = np.linspace(-1, 1, 64, dtype=np.float32)
STATE = user_state("u1", 50, 0, VECTOR)
STATE_BYTES = codec.encode_state(STATE)
VECTOR_BYTES, SHOWN_BYTES = codec.encode_vector("u1", VECTOR, STATE_BYTES), codec.encode_shown(STATE)


@given(user_states())
def test_decoding_gives_what_was_encoded(state):
    written = codec.written(state)
    found = codec.decode(state.user, written.state, written.vector, None, written.shown or None)
    assert_same_state(found, state)


def test_a_state_of_fifty_items_and_its_vector_are_small():
    three = replace(user_state("u1", 50, 0), weights=np.tile([1, 2, -1], 17)[:50].astype(np.float32), into=())
    assert len(codec.encode_state(three)) == 850 + 3 * 4
    before = replace(user_state("u1", 50, 100), weights=three.weights, into=())
    assert len(codec.encode_state(before)) == 850 + 3 * 4 + 100 * 12 + 13
    assert len(VECTOR_BYTES) == 268
    five = {"shown_times": np.repeat(np.arange(5), 20), "shown_marks": np.repeat(np.arange(5, dtype=np.uint32), 20)}
    shown = replace(STATE, shown=np.arange(100, dtype=np.uint64), **five)
    assert len(codec.encode_shown(shown)) == 961


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
    assert (found.marks.tolist(), found.seen_times.tolist(), found.dropped.tolist()) == ([0, 0], [0], [False])


def test_the_format_of_version_2_is_read_for_ever():
    # written out by hand from the table in the module's docstring, checksums by xxhash
    body = (
        bytes.fromhex(
            "0200 01000000 00f1536500000000 02 0d00"  # 2 records, 1 seen, first time, 2 weights, 13 bytes of links
            "0500000000000000 0500000000000000 0700000000000000"  # records, seen
            "0a000000 03000000 00000000"  # seconds after the first
            "2a000000 2b000000"  # marks
            "00000040 000080bf 01"  # weights 2 and -1, places
            "01"  # the one seen before was dismissed
        )
        + b'[["b"],["a"]]'
    )
    state = b"uS\x02\x04" + xxhash.xxh3_64_intdigest(body).to_bytes(8, "little")[:4] + body
    about = state[4:8] + bytes.fromhex("0000c03f")
    vector = b"uV\x02\x00" + xxhash.xxh3_64_intdigest(about).to_bytes(8, "little")[:4] + about
    put = bytes.fromhex("02000000 05f1536500000000 01 0300000000000000 0400000000000000 00000000 09000000 00 00")
    shown = b"uW\x01\x04" + xxhash.xxh3_64_intdigest(put).to_bytes(8, "little")[:4] + put
    found = codec.decode("u1", state, vector, None, shown)
    assert found.recent.tolist() == [5, 5]
    assert found.times.tolist() == [1_700_000_010, 1_700_000_003]
    assert found.marks.tolist() == [42, 43]
    assert found.weights.tolist() == [-1, 2]
    assert (found.seen.tolist(), found.seen_times.tolist(), found.dropped.tolist()) == ([7], [1_700_000_000], [True])
    assert (found.into, found.absorbed) == (("b",), ("a",))
    assert found.vector.tolist() == [1.5]
    assert sorted(found.dismissed.tolist()) == [5, 7]
    assert (found.shown.tolist(), found.shown_times.tolist()) == ([3, 4], [1_700_000_005] * 2)
    assert found.shown_marks.tolist() == [9, 9]
    assert codec.written(found) == codec.Written("u1", state, shown, vector, empty=False)


def test_a_vector_of_another_state_is_not_given():
    other = codec.encode_state(user_state("u1", 3, 0))
    assert codec.decode("u1", other, VECTOR_BYTES).vector is None
    # Version 1 wrote no vector but with its state: one of them alone is of another time.
    first = b"uV\x01\x00" + bytes.fromhex("b04df439 0000c03f")
    assert codec.decode("u1", STATE_BYTES, first).vector is None


def test_descriptions_and_interests_of_version_1_are_read_for_ever():
    # checksums by xxhash
    assert codec.decode_item("i1", b"iD\x01\x00" + bytes.fromhex("e1443c42") + b"null") is None
    item = b"iD\x01\x00" + bytes.fromhex("a0d4ae67") + '{"title":"Ä","year":1972}'.encode()
    assert codec.decode_item("i1", item) == {"title": "Ä", "year": 1972}
    assert codec.encode_item({"title": "Ä", "year": 1972}) == item
    named = b"uI\x01\x00" + bytes.fromhex("cfe8dba3") + b'["jazz","x"]'
    assert codec.decode("u1", None, None, named).interests == ("jazz", "x")
    stamped = codec.encode_interests(["jazz", "x"], "0" * 23 + "1")
    assert stamped[:4] + stamped[8:] == b"uI\x02\x00" + b"0" * 23 + b'1["jazz","x"]'
    assert codec.decode("u1", None, None, stamped).interests == ("jazz", "x")
    assert codec.decode("u1", None, None, codec.encode_interests([], "1" * 24)) is None


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
        codec.decode("u1", STATE_BYTES, None, codec._sealed(b"uI", 0, b"0" * 24 + b"[1]"))


def test_arrays_are_read_only():
    found = codec.decode("u1", STATE_BYTES, VECTOR_BYTES, None, SHOWN_BYTES)
    for name in ARRAYS:
        assert not getattr(found, name).flags.writeable
    for array in (found.vector, found.recent, found.marks, found.seen, found.shown):
        assert array.base is not None


PARTS = (STATE_BYTES, VECTOR_BYTES, None, SHOWN_BYTES)


def with_part(place, changed):
    return [changed if at == place else part for at, part in enumerate(PARTS)]


@given(st.data())
def test_any_one_byte_changed_is_refused(data):
    for part in (0, 1, 3):
        place = data.draw(st.integers(0, len(PARTS[part]) - 1))
        changed = bytearray(PARTS[part])
        changed[place] ^= data.draw(st.integers(1, 255))
        with pytest.raises(StoreError, match="user 'u1'"):
            codec.decode("u1", *with_part(part, bytes(changed)))


@given(st.data())
def test_any_truncation_is_refused(data):
    for part, name in ((0, "state"), (1, "vector"), (3, "list of impressions")):
        cut = PARTS[part][: data.draw(st.integers(0, len(PARTS[part]) - 1))]
        with pytest.raises(StoreError, match=f"{name} of user 'u1'"):
            codec.decode("u1", *with_part(part, cut))


@given(st.binary() | st.binary(min_size=8).map(lambda rest: b"uS\x01\x04" + rest))
def test_foreign_bytes_are_refused_and_crash_nothing(foreign):
    for part in (0, 1, 3):
        with pytest.raises(StoreError, match="user 'u1'"):
            codec.decode("u1", *with_part(part, foreign))


@given(st.data(), st.sampled_from([0, 4, 8, 255]), st.binary(max_size=64))
def test_counts_that_do_not_fit_the_bytes_are_refused_even_with_a_right_checksum(data, width, rest):
    small, byte = st.integers(0, 2**16 - 1) | st.integers(0, 3), st.integers(0, 2)
    r, s, w, linked = (data.draw(part) for part in (small, small, byte, byte))
    body = codec._COUNTS.pack(r, s, 0, w, linked) + rest
    fits = (12 + width) * r + (8 + width) * s + (4 * w + (r + 1) // 2 if w else 4 * r) + (s + 7) // 8 + linked
    if width in (4, 8) and len(rest) == fits and not linked:
        with contextlib.suppress(StoreError):
            assert len(codec.decode("u1", codec._sealed(b"uS", width, body), None).recent) == r
        return
    with pytest.raises(StoreError, match="the stored state of user 'u1' is damaged"):
        codec.decode("u1", codec._sealed(b"uS", width, body), None)
    with pytest.raises(StoreError, match="impressions of user 'u1' is damaged"):
        codec.decode("u1", None, None, None, codec._sealed(b"uW", width, codec._SHOWN_COUNTS.pack(r + 9, 0, w) + rest))


def test_each_reason_is_named():
    with pytest.raises(StoreError, match=r"was not written by this program \(5 bytes, beginning with b'hello'\)"):
        codec.decode("u1", b"hello", None)
    with pytest.raises(StoreError, match="state of user 'u1' has format version 3, this program reads version 2"):
        codec.decode("u1", STATE_BYTES[:2] + b"\x03" + STATE_BYTES[3:], None)
    with pytest.raises(StoreError, match="checksum does not match: run `recsys stream rebuild`"):
        codec.decode("u1", STATE_BYTES[:-1] + b"?", None)
    with pytest.raises(StoreError, match="as the vector of user 'u1' was not written"):
        codec.decode("u1", STATE_BYTES, STATE_BYTES)


def test_arrays_that_do_not_fit_together_are_a_callers_bug():
    ones = np.ones(2, np.float32)
    keys, times = np.ones(3, np.uint64), np.ones(3, np.int64)
    with pytest.raises(
        ValueError, match=r"user 'u1': recent, weights, times and marks are \(3,\), \(2,\), \(3,\), \(3,\)"
    ):
        codec.encode_state(UserState("u1", None, keys, ones, times, keys))
    with pytest.raises(ValueError, match=r"the vector is \(1, 2\) but must be \(d,\)"):
        codec.encode_vector("u1", ones[None], STATE_BYTES)

"""User states and changes of items as bytes.

State, impressions, vector and interests are written apart: a vector belongs to one release and the rest to all,
interests are the user's word, and what was put before a user is no deed of theirs.
Little-endian; a format is a promise, so later versions read the earlier ones for ever.

    all         magic 2s · version u8 · width u8 (0 but for times) · checksum u32 (low half of the xxh3 of what follows)
    state 2     records r u16 · seen items s u32 · first time i64 · different weights w u8 · bytes of links u16
                · keys u64 (r,) · seen u64 (s,) · times and seen times as seconds after the first u32 or u64 (r + s,)
                (the width says which) · marks u32 (r,) · the different weights f32 (w,) · their places u8 (r,),
                or two in a byte, the first in its lower half, where there are 16 weights at most
                · dismissed, a bit each (s,) · links: [into, absorbed] as JSON, or nothing
                without a table of weights, w = 0, the weights stand in the place of the places as f32 (r,)
    state 1     r u32 · s u32 · first time i64 · keys u64 (r,) · seen u64 (s,) · times u32 or u64 (r,)
                · weights f32 (r,)
    vector 2    the checksum of the state that it was made of u32 · f32 (d,)
    vector 1    f32 (d,), of a state 1
    shown 1     impressions m u32 · first time i64 · requests n u8 · keys u64 (m,)
                · times u32 or u64 (n,) · marks u32 (n,) · their places u8 (m,)
                without a table of requests, n = 0, times and marks are (m,) and there are no places
    interests 2 stamp 24s · a list of texts as JSON in UTF-8
    interests 1 a list of texts as JSON in UTF-8
    item 1      its description as JSON in UTF-8, null where it was deleted

A state with 50 records takes 850 bytes and 4 more for each different weight; 12 more for each item seen before, and a
bit. A vector of 64 dimensions takes 268, 100 impressions in five answers 961.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from struct import Struct
from typing import Any

import numpy as np
import xxhash

from recsys.arrays import Float32, Int64, UInt8, UInt32, UInt64
from recsys.errors import StoreError
from recsys.kernels import states
from recsys.kernels.states import HALF
from recsys.stores import UserState

_HEAD = Struct("<2sBBI")
_COUNTS, _COUNTS_1, _SHOWN_COUNTS, _OF = Struct("<HIqBH"), Struct("<IIq"), Struct("<IqB"), Struct("<I")
_STATE, _VECTOR, _INTERESTS, _ITEM, _SHOWN = b"uS", b"uV", b"uI", b"iD", b"uW"
VERSIONS: Mapping[bytes, int] = {_STATE: 2, _VECTOR: 2, _INTERESTS: 2, _ITEM: 1, _SHOWN: 1}
# seconds after the first event: four bytes reach 136 years, eight are there for times that nobody should have
_NARROW, _WIDE = 4, 8
_OFFSETS: dict[int, np.dtype[Any]] = {_NARROW: np.dtype("<u4"), _WIDE: np.dtype("<u8")}
_DTYPES: Mapping[str, np.dtype[Any]] = {
    name: np.dtype(kind)
    for kind, names in {
        "<u8": ("recent", "seen", "shown"),
        "<i8": ("times", "seen_times", "shown_times"),
        "<f4": ("weights",),
        "<u4": ("marks", "shown_marks"),
        "?": ("dropped",),
    }.items()
    for name in names
}
STAMP = 24
MOST = 2**16 - 1

TRAIN, AGAIN = "run `recsys stream rebuild` to make it again", "PUT it again"
_NO_KEYS, _NO_WEIGHTS, _NO_TIMES = np.zeros(0, np.uint64), np.zeros(0, np.float32), np.zeros(0, np.int64)
_NO_MARKS = np.zeros(0, np.uint32)
for _array in (_NO_KEYS, _NO_WEIGHTS, _NO_TIMES, _NO_MARKS):
    _array.flags.writeable = False


@dataclass(frozen=True, slots=True)
class Written:
    """A state as bytes. ``vector``: None without one; ``shown``: empty without; ``empty``: ``state`` holds nothing."""

    user: str
    state: bytes
    shown: bytes
    vector: bytes | None
    empty: bool


def written(state: UserState) -> Written:
    """A state and its vector, encoded. ValueError if the arrays do not fit together."""
    encoded = encode_state(state)
    vector = None if state.vector is None else encode_vector(state.user, state.vector, encoded)
    empty = state.empty and not state.into and not state.absorbed
    return Written(state.user, encoded, encode_shown(state), vector, empty)


def encode_state(state: UserState) -> bytes:
    """What a user did and who they are also called. ValueError if the arrays do not fit together."""
    recent, weights, times, marks = _columns(
        state.user, "recent, weights, times and marks", "(r,)", state, ("recent", "weights", "times", "marks")
    )
    seen, seen_times, dropped = _columns(
        state.user, "seen, seen_times and dropped", "(s,)", state, ("seen", "seen_times", "dropped")
    )
    if recent.size > MOST:
        raise ValueError(f"user {state.user!r}: {recent.size} records: at most {MOST} are kept")
    first, width, offsets = _offsets(np.concatenate([times, seen_times]) if seen.size else times)
    table, places = _table(weights.view("<u4"))
    small = table.size <= 255
    links = _json([list(state.into), list(state.absorbed)]) if state.into or state.absorbed else b""
    parts = (
        _COUNTS.pack(recent.size, seen.size, first, table.size if small else 0, len(links)),
        recent.tobytes(),
        seen.tobytes(),
        offsets.tobytes(),
        marks.tobytes(),
        table.tobytes() + _packed(places.astype(np.uint8), table.size) if small else weights.tobytes(),
        np.packbits(dropped, bitorder="little").tobytes() if dropped.size else b"",
        links,
    )
    return _sealed(_STATE, width, b"".join(parts))


def encode_vector(user: str, vector: Float32, state: bytes) -> bytes:
    """The vector of ``user``, float32 (d,), made of ``state`` as it is encoded. ValueError for another shape."""
    vector = np.asarray(vector, "<f4")
    if vector.ndim != 1:
        raise ValueError(f"user {user!r}: the vector is {vector.shape} but must be (d,)")
    return _sealed(_VECTOR, 0, state[4:8] + vector.tobytes())


def encode_shown(state: UserState) -> bytes:
    """What was put before a user; nothing at all where nothing was. ValueError if the arrays do not fit together."""
    if not len(state.shown) + len(state.shown_times) + len(state.shown_marks):
        return b""
    shown, times, marks = _columns(
        state.user, "shown, shown_times and shown_marks", "(m,)", state, ("shown", "shown_times", "shown_marks")
    )
    first, width, offsets = _offsets(times)
    requests, places = np.unique(offsets.astype("<u8") << np.uint64(32) | marks, return_inverse=True)
    small = width == _NARROW and len(requests) <= 255
    if small:
        offsets, marks = (requests >> np.uint64(32)).astype("<u4"), requests.astype("<u4")
    parts = (
        _SHOWN_COUNTS.pack(shown.size, first, len(requests) if small else 0),
        shown.tobytes(),
        offsets.tobytes(),
        marks.tobytes(),
        places.astype(np.uint8).tobytes() if small else b"",
    )
    return _sealed(_SHOWN, width, b"".join(parts))


def encode_interests(interests: Sequence[str], stamp: str = "") -> bytes:
    """What a user named, and when: a text of at most 24 ASCII characters."""
    return _sealed(_INTERESTS, 0, stamp.ljust(STAMP, "0").encode("ascii") + _json(list(interests)))


def encode_item(description: Mapping[str, Any] | None) -> bytes:
    """What is said of an item, plain JSON; None where it was deleted."""
    return _sealed(_ITEM, 0, _json(description))


def decode_item(item_id: str, stored: bytes) -> Mapping[str, Any] | None:
    """What was encoded; StoreError names the item and says whether the bytes are foreign, damaged or newer."""
    what = f"description of item {item_id!r}"
    _opened(_ITEM, stored, what, AGAIN)
    found = _parsed(stored, _HEAD.size, what, AGAIN)
    if found is not None and not isinstance(found, dict):
        raise _damaged(what, "it is no JSON object", AGAIN)
    return found


def decode(
    user: str,
    state: bytes | None,
    vector: bytes | None,
    interests: bytes | None = None,
    shown: bytes | None = None,
) -> UserState | None:
    """The state that was encoded, its arrays read-only and, but for times and weights, views of the bytes.

    None where there is nothing. Without a vector that was made of another state. StoreError names the user and says
    whether the bytes are foreign, damaged or of a newer version.
    """
    named = () if interests is None else _decode_interests(user, interests)
    put = (_NO_KEYS, _NO_TIMES, _NO_MARKS) if shown is None else _decode_shown(user, shown)
    if state is None:
        if shown is None and not named:
            return None
        keys, times, marks = put
        nothing = (_NO_KEYS, _NO_WEIGHTS, _NO_TIMES, _NO_KEYS)
        return UserState(user, None, *nothing, named, shown=keys, shown_times=times, shown_marks=marks)
    what = f"state of user {user!r}"
    version, width = _opened(_STATE, state, what)
    own = None if vector is None else _decode_vector(user, vector, version, state)
    if version == 1:
        recent, weights, times, seen = _decode_state_1(state, width, what)
        return UserState(user, own, recent, weights, times, seen, named)
    return _decode_state(user, state, width, what, own, named, put)


def _decode_state(
    user: str,
    state: bytes,
    width: int,
    what: str,
    vector: Float32 | None,
    named: tuple[str, ...],
    put: tuple[UInt64, Int64, UInt32],
) -> UserState:
    start = _HEAD.size + _COUNTS.size
    if width not in _OFFSETS or len(state) < start:
        raise _damaged(what, "its lengths do not fit together")
    r, s, first, w, linked = _COUNTS.unpack_from(state, _HEAD.size)
    told = 4 * w + _room(r, w) if w else 4 * r
    if len(state) != start + (12 + width) * r + (8 + width) * s + told + (s + 7) // 8 + linked:
        raise _damaged(what, f"{len(state)} bytes cannot hold {r} recent and {s} seen items")
    columns = states.columns(state, start, width, r, s, first, w)
    if columns is None:
        raise _damaged(what, "a weight is not in its table")
    times, weights, dropped = columns
    recent = np.frombuffer(state, "<u8", r, start)
    seen = np.frombuffer(state, "<u8", s, start + 8 * r)
    marks = np.frombuffer(state, "<u4", r, start + (8 + width) * (r + s))
    into, absorbed = ((), ()) if not linked else _links(state, len(state) - linked, what)
    return UserState(
        user, vector, recent, weights, times[:r], seen, named, marks, times[r:], dropped, *put, into, absorbed
    )


def _decode_state_1(state: bytes, width: int, what: str) -> tuple[UInt64, Float32, Int64, UInt64]:
    """Keys, weights and times of recent items, keys of all seen ones."""
    start = _HEAD.size + _COUNTS_1.size
    if width not in _OFFSETS or len(state) < start:
        raise _damaged(what, "its lengths do not fit together")
    r, s, first = _COUNTS_1.unpack_from(state, _HEAD.size)
    if len(state) != start + (8 + width + 4) * r + 8 * s:
        raise _damaged(what, f"{len(state)} bytes cannot hold {r} recent and {s} seen items")
    recent = np.frombuffer(state, "<u8", r, start)
    seen = np.frombuffer(state, "<u8", s, start + 8 * r)
    offsets = np.frombuffer(state, _OFFSETS[width], r, start + 8 * (r + s))
    return recent, np.frombuffer(state, "<f4", r, start + 8 * (r + s) + width * r), _times(offsets, first), seen


def _decode_shown(user: str, shown: bytes) -> tuple[UInt64, Int64, UInt32]:
    what = f"list of impressions of user {user!r}"
    _, width = _opened(_SHOWN, shown, what)
    start = _HEAD.size + _SHOWN_COUNTS.size
    if width not in _OFFSETS or len(shown) < start:
        raise _damaged(what, "its lengths do not fit together")
    m, first, n = _SHOWN_COUNTS.unpack_from(shown, _HEAD.size)
    rows = n or m
    if len(shown) != start + 8 * m + (width + 4) * rows + (m if n else 0):
        raise _damaged(what, f"{len(shown)} bytes cannot hold {m} impressions")
    keys = np.frombuffer(shown, "<u8", m, start)
    times = _times(np.frombuffer(shown, _OFFSETS[width], rows, start + 8 * m), first)
    marks = np.frombuffer(shown, "<u4", rows, start + 8 * m + width * rows)
    if n:
        places = np.frombuffer(shown, np.uint8, m, len(shown) - m)
        try:
            times, marks = times[places], marks[places]
        except IndexError:
            raise _damaged(what, "a request is not in its table") from None
        times.flags.writeable = marks.flags.writeable = False
    return keys, times, marks


def _decode_interests(user: str, interests: bytes) -> tuple[str, ...]:
    what = f"list of interests of user {user!r}"
    version, _ = _opened(_INTERESTS, interests, what, AGAIN)
    found = _parsed(interests, _HEAD.size + (STAMP if version > 1 else 0), what, AGAIN)
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise _damaged(what, "it is no list of texts", AGAIN)
    return tuple(found)


def _decode_vector(user: str, vector: bytes, version: int, state: bytes) -> Float32 | None:
    """The vector; None where it was made of another state."""
    what = f"vector of user {user!r}"
    own, width = _opened(_VECTOR, vector, what)
    start = _HEAD.size + (0 if own == 1 else _OF.size)
    if width or len(vector) < start or (len(vector) - start) % 4:
        raise _damaged(what, f"{len(vector) - _HEAD.size} bytes are no whole number of float32")
    made_of_it = version == 1 if own == 1 else vector[_HEAD.size : start] == state[4:8]
    return np.frombuffer(vector, "<f4", offset=start) if made_of_it else None


def _links(state: bytes, start: int, what: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    found = _parsed(state, start, what, TRAIN)
    try:
        into, absorbed = (tuple(map(str, part)) for part in found)
    except (TypeError, ValueError) as error:
        raise _damaged(what, "its links are not two lists", TRAIN) from error
    return into, absorbed


def _columns(user: str, what: str, shape: str, state: UserState, names: Sequence[str]) -> list[np.ndarray]:
    """Arrays of a state as they are written. ValueError if they are not all of one length."""
    arrays = [np.ascontiguousarray(getattr(state, name), _DTYPES[name]) for name in names]
    if len({array.shape for array in arrays}) > 1 or arrays[0].ndim != 1:
        shapes = ", ".join(str(array.shape) for array in arrays)
        raise ValueError(f"user {user!r}: {what} are {shapes} but must be {shape} all of them")
    return arrays


def _room(places: int, table: int) -> int:
    """Bytes that so many places in a table take."""
    return (places + 1) // 2 if table <= HALF else places


def _packed(places: UInt8, table: int) -> bytes:
    if table > HALF:
        return places.tobytes()
    both = np.zeros(2 * _room(len(places), table), np.uint8)
    both[: len(places)] = places
    return (both[::2] | both[1::2] << 4).tobytes()


def _table(values: UInt32) -> tuple[UInt32, np.ndarray]:
    """The different values, ascending, and the place of each: np.unique in a quarter of its time, for some values."""
    table = np.array(sorted(set(values.tolist())), "<u4")
    return table, table.searchsorted(values)


def _offsets(times: Int64) -> tuple[int, int, np.ndarray]:
    """The first of some times, the width of the seconds after it, and these."""
    first = int(times.min()) if times.size else 0
    # a difference of two int64 fits into uint64, and wrapping arithmetic gives it exactly
    offsets = times.view("<u8") - np.uint64(first % 2**64)
    width = _NARROW if not times.size or int(offsets.max()) < 2**32 else _WIDE
    return first, width, offsets.astype(_OFFSETS[width])


def _times(offsets: np.ndarray, first: int) -> Int64:
    # What is unsigned is added as it stands in 64 bits: sums go round as those that were taken apart did.
    times: Int64 = np.add(offsets, first, dtype=np.int64, casting="unsafe")
    times.flags.writeable = False
    return times


def _sealed(magic: bytes, width: int, body: bytes, version: int | None = None) -> bytes:
    return _HEAD.pack(magic, version or VERSIONS[magic], width, _checksum(body)) + body


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode(
        "utf-8", "surrogatepass"
    )


def _parsed(stored: bytes, start: int, what: str, remedy: str) -> Any:
    try:
        return json.loads(stored[start:].decode("utf-8", "surrogatepass"))
    except ValueError as error:
        raise _damaged(what, f"it is no JSON ({error})", remedy) from error


def _opened(magic: bytes, stored: bytes, what: str, remedy: str = TRAIN) -> tuple[int, int]:
    """Check the head of ``stored``; the version and the width that stand in it."""
    if len(stored) < _HEAD.size or stored[:2] != magic:
        raise StoreError(
            f"what is stored as the {what} was not written by this program ({len(stored)} bytes,"
            f" beginning with {stored[:8]!r}): use a database of its own, or remove the key"
        )
    _, version, width, checksum = _HEAD.unpack_from(stored)
    if not 1 <= version <= VERSIONS[magic]:
        raise StoreError(
            f"the {what} has format version {version}, this program reads version {VERSIONS[magic]}:"
            " install the version of recsys-engine that wrote it, or a later one"
        )
    if checksum != _checksum(memoryview(stored)[_HEAD.size :]):
        raise _damaged(what, "its checksum does not match", remedy)
    return version, width


def _checksum(body: bytes | memoryview) -> int:
    return xxhash.xxh3_64_intdigest(body) & 0xFFFFFFFF


def _damaged(what: str, how: str, remedy: str = TRAIN) -> StoreError:
    return StoreError(f"the stored {what} is damaged, {how}: {remedy}")

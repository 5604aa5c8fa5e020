"""User states and changes of items as bytes.

State, vector and interests are written apart: a vector belongs to one release and the rest to all, interests are the
user's word and the rest is what was seen of them.
Little-endian, version 1; a format is a promise, so a later version reads this one for ever.

    all       magic 2s · version u8 · width u8 (0 but in states) · checksum u32 (low half of the xxh3 of what follows)
    state     recent count u32 · seen count u32 · first time i64 · recent u64 (r,) · seen u64 (s,)
              · times as seconds after the first u32 or u64 (r,) (the width says which) · weights f32 (r,)
    vector    f32 (d,)
    interests a list of texts as JSON in UTF-8
    item      its description as JSON in UTF-8, null where it was deleted

A state with 50 recent items takes 824 bytes, 8 more for each seen item; a vector of 64 dimensions 264.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from struct import Struct
from typing import Any

import numpy as np
import xxhash

from recsys.arrays import Float32
from recsys.errors import StoreError
from recsys.stores import UserState

VERSION = 1

_HEAD = Struct("<2sBBI")
_COUNTS = Struct("<IIq")
_STATE, _VECTOR, _INTERESTS, _ITEM = b"uS", b"uV", b"uI", b"iD"
# seconds after the first event: four bytes reach 136 years, eight are there for times that nobody should have
_NARROW, _WIDE = 4, 8
_OFFSETS: dict[int, np.dtype[Any]] = {_NARROW: np.dtype("<u4"), _WIDE: np.dtype("<u8")}


TRAIN, AGAIN = "run `recsys train` to write it again", "PUT it again"
_NOTHING = (np.zeros(0, np.uint64), np.zeros(0, np.float32), np.zeros(0, np.int64), np.zeros(0, np.uint64))
for _array in _NOTHING:
    _array.flags.writeable = False


def encode_state(state: UserState) -> bytes:
    """Everything of a state but the user's id and vector. ValueError if its arrays do not fit together."""
    recent, seen = np.asarray(state.recent, "<u8"), np.asarray(state.seen, "<u8")
    weights, times = np.asarray(state.weights, "<f4"), np.asarray(state.times, "<i8")
    if not recent.shape == weights.shape == times.shape == (recent.size,) or seen.ndim != 1:
        raise ValueError(
            f"user {state.user!r}: recent, weights and times are {recent.shape}, {weights.shape} and {times.shape}"
            f" but must be (r,) all three, and seen is {seen.shape} but must be (s,)"
        )
    first = int(times.min()) if times.size else 0
    # a difference of two int64 fits into uint64, and wrapping arithmetic gives it exactly
    offsets = times.view("<u8") - np.uint64(first % 2**64)
    width = _NARROW if not times.size or int(offsets.max()) < 2**32 else _WIDE
    counts = _COUNTS.pack(recent.size, seen.size, first)
    parts = (counts, recent.tobytes(), seen.tobytes(), offsets.astype(_OFFSETS[width]).tobytes(), weights.tobytes())
    return _sealed(_STATE, width, b"".join(parts))


def encode_vector(user: str, vector: Float32) -> bytes:
    """The vector of ``user``, float32 (d,). ValueError if it has another shape."""
    vector = np.asarray(vector, "<f4")
    if vector.ndim != 1:
        raise ValueError(f"user {user!r}: the vector is {vector.shape} but must be (d,)")
    return _sealed(_VECTOR, 0, vector.tobytes())


def encode_interests(interests: Sequence[str]) -> bytes:
    """What a user named."""
    return _sealed(_INTERESTS, 0, _json(list(interests)))


def encode_item(description: Mapping[str, Any] | None) -> bytes:
    """What is said of an item, plain JSON; None where it was deleted."""
    return _sealed(_ITEM, 0, _json(description))


def decode_item(item_id: str, stored: bytes) -> Mapping[str, Any] | None:
    """What was encoded; StoreError names the item and says whether the bytes are foreign, damaged or newer."""
    what = f"description of item {item_id!r}"
    _opened(_ITEM, stored, what, AGAIN)
    found = _parsed(stored, what, AGAIN)
    if found is not None and not isinstance(found, dict):
        raise _damaged(what, "it is no JSON object", AGAIN)
    return found


def decode(user: str, state: bytes | None, vector: bytes | None, interests: bytes | None = None) -> UserState:
    """The state that was encoded, its arrays read-only and, but for the times, views of the bytes.

    Empty where there is none. StoreError names the user and says whether the bytes are foreign, damaged or of a newer
    version.
    """
    named = () if interests is None else _decode_interests(user, interests)
    if state is None:
        return UserState(user, None, *_NOTHING, interests=named)
    what = f"state of user {user!r}"
    width = _opened(_STATE, state, what)
    if width not in _OFFSETS or len(state) < _HEAD.size + _COUNTS.size:
        raise _damaged(what, "its lengths do not fit together")
    r, s, first = _COUNTS.unpack_from(state, _HEAD.size)
    start = _HEAD.size + _COUNTS.size
    if len(state) != start + (8 + width + 4) * r + 8 * s:
        raise _damaged(what, f"{len(state)} bytes cannot hold {r} recent and {s} seen items")
    recent = np.frombuffer(state, "<u8", r, start)
    seen = np.frombuffer(state, "<u8", s, start + 8 * r)
    offsets = np.frombuffer(state, _OFFSETS[width], r, start + 8 * (r + s))
    weights = np.frombuffer(state, "<f4", r, start + 8 * (r + s) + width * r)
    times = (offsets.astype("<u8") + np.uint64(first % 2**64)).view("<i8")
    times.flags.writeable = False
    own = None if vector is None else _decode_vector(user, vector)
    return UserState(user, own, recent, weights, times, seen, named)


def _decode_interests(user: str, interests: bytes) -> tuple[str, ...]:
    what = f"list of interests of user {user!r}"
    _opened(_INTERESTS, interests, what, AGAIN)
    found = _parsed(interests, what, AGAIN)
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise _damaged(what, "it is no list of texts", AGAIN)
    return tuple(found)


def _decode_vector(user: str, vector: bytes) -> Float32:
    what = f"vector of user {user!r}"
    if _opened(_VECTOR, vector, what) != 0 or len(vector) % 4:
        raise _damaged(what, f"{len(vector) - _HEAD.size} bytes are no whole number of float32")
    return np.frombuffer(vector, "<f4", offset=_HEAD.size)


def _sealed(magic: bytes, width: int, body: bytes) -> bytes:
    return _HEAD.pack(magic, VERSION, width, _checksum(body)) + body


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode(
        "utf-8", "surrogatepass"
    )


def _parsed(stored: bytes, what: str, remedy: str) -> Any:
    try:
        return json.loads(stored[_HEAD.size :].decode("utf-8", "surrogatepass"))
    except ValueError as error:
        raise _damaged(what, f"it is no JSON ({error})", remedy) from error


def _opened(magic: bytes, stored: bytes, what: str, remedy: str = TRAIN) -> int:
    """Check the head of ``stored``; the width that stands in it."""
    if len(stored) < _HEAD.size or stored[:2] != magic:
        raise StoreError(
            f"what is stored as the {what} was not written by this program ({len(stored)} bytes,"
            f" beginning with {stored[:8]!r}): use a database of its own, or remove the key"
        )
    _, version, width, checksum = _HEAD.unpack_from(stored)
    if version != VERSION:
        raise StoreError(
            f"the {what} has format version {version}, this program reads version {VERSION}:"
            " install the version of recsys-engine that wrote it, or a later one"
        )
    if checksum != _checksum(memoryview(stored)[_HEAD.size :]):
        raise _damaged(what, "its checksum does not match", remedy)
    return int(width)


def _checksum(body: bytes | memoryview) -> int:
    return xxhash.xxh3_64_intdigest(body) & 0xFFFFFFFF


def _damaged(what: str, how: str, remedy: str = TRAIN) -> StoreError:
    return StoreError(f"the stored {what} is damaged, {how}: {remedy}")

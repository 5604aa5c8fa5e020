"""User states as bytes.

The state and the vector are written apart, because a vector belongs to one release and the rest to all.
Little-endian, version 1; a format is a promise, so a later version reads this one for ever.

    both      magic 2s · version u8 · width u8 (0 for vectors) · checksum u32 (low half of the xxh3 of all that follows)
    state     recent count u32 · seen count u32 · first time i64 · recent u64 (r,) · seen u64 (s,)
              · times as seconds after the first u32 or u64 (r,) (the width says which) · weights f32 (r,)
    vector    f32 (d,)

A state with 50 recent items takes 824 bytes, 8 more for each seen item; a vector of 64 dimensions 264.
"""

from __future__ import annotations

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
_STATE, _VECTOR = b"uS", b"uV"
# seconds after the first event: four bytes reach 136 years, eight are there for times that nobody should have
_NARROW, _WIDE = 4, 8
_OFFSETS: dict[int, np.dtype[Any]] = {_NARROW: np.dtype("<u4"), _WIDE: np.dtype("<u8")}


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


def decode(user: str, state: bytes, vector: bytes | None) -> UserState:
    """The state that was encoded, its arrays read-only and, but for the times, views of the bytes.

    StoreError names the user and says whether the bytes are foreign, damaged or of a newer version.
    """
    width = _opened(_STATE, state, "state", user)
    if width not in _OFFSETS or len(state) < _HEAD.size + _COUNTS.size:
        raise _damaged("state", user, "its lengths do not fit together")
    r, s, first = _COUNTS.unpack_from(state, _HEAD.size)
    start = _HEAD.size + _COUNTS.size
    if len(state) != start + (8 + width + 4) * r + 8 * s:
        raise _damaged("state", user, f"{len(state)} bytes cannot hold {r} recent and {s} seen items")
    recent = np.frombuffer(state, "<u8", r, start)
    seen = np.frombuffer(state, "<u8", s, start + 8 * r)
    offsets = np.frombuffer(state, _OFFSETS[width], r, start + 8 * (r + s))
    weights = np.frombuffer(state, "<f4", r, start + 8 * (r + s) + width * r)
    times = (offsets.astype("<u8") + np.uint64(first % 2**64)).view("<i8")
    times.flags.writeable = False
    return UserState(user, None if vector is None else _decode_vector(user, vector), recent, weights, times, seen)


def _decode_vector(user: str, vector: bytes) -> Float32:
    if _opened(_VECTOR, vector, "vector", user) != 0 or len(vector) % 4:
        raise _damaged("vector", user, f"{len(vector) - _HEAD.size} bytes are no whole number of float32")
    return np.frombuffer(vector, "<f4", offset=_HEAD.size)


def _sealed(magic: bytes, width: int, body: bytes) -> bytes:
    return _HEAD.pack(magic, VERSION, width, _checksum(body)) + body


def _opened(magic: bytes, stored: bytes, what: str, user: str) -> int:
    """Check the head of ``stored``; the width that stands in it."""
    if len(stored) < _HEAD.size or stored[:2] != magic:
        raise StoreError(
            f"what is stored as the {what} of user {user!r} was not written by this program ({len(stored)} bytes,"
            f" beginning with {stored[:8]!r}): use a database of its own, or remove the key"
        )
    _, version, width, checksum = _HEAD.unpack_from(stored)
    if version != VERSION:
        raise StoreError(
            f"the {what} of user {user!r} has format version {version}, this program reads version {VERSION}:"
            " install the version of recsys-engine that wrote it, or a later one"
        )
    if checksum != _checksum(memoryview(stored)[_HEAD.size :]):
        raise _damaged(what, user, "its checksum does not match")
    return int(width)


def _checksum(body: bytes | memoryview) -> int:
    return xxhash.xxh3_64_intdigest(body) & 0xFFFFFFFF


def _damaged(what: str, user: str, how: str) -> StoreError:
    return StoreError(f"the stored {what} of user {user!r} is damaged, {how}: run `recsys train` to write it again")

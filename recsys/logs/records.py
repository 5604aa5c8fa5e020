"""What a log holds: one record for each thing that somebody did or said.

A record is plain and complete: whoever reads the log from its beginning needs nothing else. Its ``id`` is what makes it
the same record when it comes twice. Times are unix seconds, UTC, as whoever sent the record says; a log's own order
is another one.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from types import MappingProxyType
from typing import Any, ClassVar

from xxhash import xxh3_64_intdigest

from recsys.errors import LogError


@dataclass(frozen=True, slots=True)
class Event:
    """A user did something with an item.

    ``kind``: one of the kinds of the configuration. ``request``, ``surface`` and ``position`` (from 1) name the list
    that the item stood in, where it stood in one.
    """

    TYPE: ClassVar[str] = "event"

    id: str
    time: int
    user: str
    item: str
    kind: str
    value: float = 1.0
    surface: str = ""
    request: str = ""
    position: int | None = None


@dataclass(frozen=True, slots=True)
class Shown:
    """An answer put items before a user, in this order from ``position`` on, whether they looked or not.

    ``id`` is the id of the request that was answered. ``propensities``: of each item, the probability with which it
    got its place, where places were drawn; empty where nothing was drawn.
    """

    TYPE: ClassVar[str] = "shown"

    id: str
    time: int
    user: str
    items: tuple[str, ...]
    surface: str
    release: str
    level: str
    position: int = 1
    propensities: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Described:
    """An item is as ``description`` says from now on, plain JSON by name; None: it is deleted."""

    TYPE: ClassVar[str] = "described"

    id: str
    time: int
    item: str
    description: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Declared:
    """A user named their interests, in place of those named before."""

    TYPE: ClassVar[str] = "declared"

    id: str
    time: int
    user: str
    interests: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Merged:
    """What was done under ``anonymous`` so far was done by ``user``."""

    TYPE: ClassVar[str] = "merged"

    id: str
    time: int
    user: str
    anonymous: str


Record = Event | Shown | Described | Declared | Merged
TYPES: Mapping[str, type[Record]] = MappingProxyType(
    {type_.TYPE: type_ for type_ in (Event, Shown, Described, Declared, Merged)}
)
# Made once, being needed for each record.
_JSON = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


MADE = re.compile("[0-9a-f]{8}-[0-9a-f]{16}")


def mark_of(id_: str) -> int:
    """What a state remembers an id by: 32 bits of its hash, never 0.

    >>> mark_of("e1")
    995158767
    """
    return xxh3_64_intdigest(id_.encode("utf-8", "surrogatepass")) & 0xFFFFFFFF or 1


def made_id(nanoseconds: int) -> str:
    """An id that nobody else makes; of those made in one second, by ``time.time_ns``, the later sorts later.

    >>> made_id(1_700_000_000_000_000_255)[:9]
    '000000ff-'
    """
    return f"{nanoseconds % 10**9:08x}-{secrets.token_hex(8)}"


def stamp_of(record: Record) -> str:
    """A text that sorts by when something was said, as near as one can tell: of two such things the later stays.

    Within a second it goes by the id: by its beginning, if :func:`made_id` made it.

    >>> stamp_of(Declared("d1", 1700000000, "ann", ("jazz",)))
    '000000006553f1009978e392'
    >>> stamp_of(Declared("000000ff-0123456789abcdef", 1700000000, "ann", ("jazz",)))
    '000000006553f100000000ff'
    """
    within = record.id[:8] if MADE.fullmatch(record.id) else f"{mark_of(record.id):08x}"
    return f"{max(record.time, 0):016x}{within}"


@lru_cache(maxsize=32)
def _usual(type_: Any) -> tuple[tuple[str, Any], ...]:
    """The fields of a type of record, each with what it usually is."""
    return tuple((field.name, field.default) for field in fields(type_))


def encode(record: Record) -> bytes:
    """A record as one line of JSON in UTF-8, without what is as it usually is.

    >>> encode(Event("e1", 1700000000, "ann", "i7", "play"))
    b'{"type":"event","id":"e1","time":1700000000,"user":"ann","item":"i7","kind":"play"}'
    """
    kind: Any = type(record)
    told = {name: value for name, default in _usual(kind) if (value := getattr(record, name)) != default}
    return _JSON.encode({"type": record.TYPE, **told}).encode("utf-8", "surrogatepass")


def decode(stored: bytes) -> Record:
    """The record that was encoded. LogError for bytes that are none, or are of a type that came later.

    >>> decode(b'{"type":"event","id":"e1","time":1700000000,"user":"ann","item":"i7","kind":"play"}').item
    'i7'
    """
    try:
        told = json.loads(stored.decode("utf-8", "surrogatepass"))
        type_ = TYPES[told.pop("type")]
        lists = {name: tuple(value) for name, value in told.items() if isinstance(value, list)}
        return type_(**{**told, **lists})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise LogError(f"what stands in the log as {stored[:80]!r} is no record of this program: {error!r}") from error


def mentions(stored: bytes, user: str) -> bool:
    """Whether an encoded record is of ``user``, or was before two users became one.

    Bytes that are no record of this program are of whoever is named anywhere in them.

    >>> mentions(encode(Merged("m1", 1700000000, "ann", "guest")), "guest")
    True
    """
    try:
        record = decode(stored)
    except LogError:
        names = (json.dumps(user, ensure_ascii=ascii_).encode("utf-8", "surrogatepass") for ascii_ in (False, True))
        return any(name in stored for name in names)
    return user in {getattr(record, "user", None), getattr(record, "anonymous", None)}

"""The log of what happened: the truth that every other state is made from, behind one protocol.

A record is in the log before anybody is told that it was accepted. Readers come in groups: each group gets every record
at least once, each record goes to one reader of the group at a time, and one that is not acknowledged in time goes to
another. What readers do is therefore made so that twice is as once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

from recsys.errors import LogError, SettingsError, unknown_choice
from recsys.logs.records import Record, decode
from recsys.settings import Settings
from recsys.tables import Table


@dataclass(frozen=True, slots=True)
class Entry:
    """A record at its place in a log. ``record``: None where the bytes are none, which ``stored`` then keeps.

    ``position``: names the place, and is given back to acknowledge it; it has no other meaning outside its log.
    ``deliveries``: how often the group was given it, this time included, as far as the log knows.
    """

    position: str
    record: Record | None
    stored: bytes = b""
    deliveries: int = 1


@dataclass(frozen=True, slots=True)
class Status:
    """How far a group has come. ``length``: records that the log holds; ``lag``: those the group was never given.

    ``pending``: given and not acknowledged. ``dead``: records that were put aside. ``oldest_pending``: seconds since
    the one of them was given that waits longest; 0 without any.
    """

    length: int
    lag: int
    pending: int
    dead: int
    oldest_pending: float


class EventLog(Protocol):
    """Records in the order in which they were accepted.

    Laws: what :meth:`append` returned for is read by every group, in the order of appending for one user (of several
    users, where readers are several, in none), at least once, and once if every reader acknowledges what it reads and,
    where readers hand their share over to one that joins, none does; a record that was read and not acknowledged is
    read again by whoever of the group asks after ``log.claim_seconds``; :meth:`replay` gives every record that was not
    trimmed, in order, and moves no group.
    Every method raises LogError, and nothing else, when the log cannot do what it was asked; LogFull, a LogError, where
    it has no room. A group exists from its first :meth:`read` or :meth:`status` and begins with the oldest record.
    """

    async def append(self, records: Sequence[Record]) -> list[str]:
        """Keep records, all or none as far as the log can; the position of each, once they are kept."""
        ...

    async def read(self, group: str, reader: str, most: int, wait: float) -> list[Entry]:
        """Up to ``most`` entries for ``reader``, which has a name of its own in the group.

        Where there is none yet, the first is waited for ``wait`` seconds. Those that another reader left unacknowledged
        for too long come first.
        """
        ...

    async def acknowledge(self, group: str, positions: Sequence[str]) -> None:
        """These need not be read again by the group."""
        ...

    async def bury(self, group: str, entry: Entry, reason: str) -> None:
        """Put an entry that cannot be applied aside with the reason, and acknowledge it."""
        ...

    def dead(self, group: str) -> AsyncIterator[tuple[Entry, str]]:
        """What was put aside, oldest first, with the reasons."""
        ...

    def replay(self) -> AsyncIterator[Entry]:
        """Everything that the log still holds, oldest first."""
        ...

    async def status(self, group: str) -> Status:
        """How far a group has come."""
        ...

    async def trim(self, groups: Sequence[str]) -> int:
        """Let go of what all ``groups`` have acknowledged, oldest first; how many records."""
        ...

    async def erase(self, user: str) -> int:
        """Take a user's records out, where they wait for readers too; how many."""
        ...


class Opener(Protocol):
    """Opens a log for as long as the context lasts."""

    def __call__(self, settings: Settings) -> AbstractAsyncContextManager[EventLog]:
        """Open the log that the settings describe."""
        ...


LOGS: Table[Opener] = Table(
    "event log",
    {
        "redis": "recsys.logs.redis:opened",
        "file": "recsys.logs.file:opened",
        "kafka": "recsys.logs.kafka:opened",
    },
)

# The scheme of log.url → a name of LOGS. No url at all is a stream beside the user states.
SCHEMES: Mapping[str, str] = MappingProxyType(
    {"redis": "redis", "rediss": "redis", "unix": "redis", "kafka": "kafka", "file": "file"}
)


def open_log(settings: Settings) -> AbstractAsyncContextManager[EventLog]:
    """The log that ``log.url`` names; where it names none, a stream on the server of the user states.

    SettingsError for a scheme that no log answers to.

    >>> open_log(Settings.model_validate({"log": {"url": "http://localhost"}}))
    Traceback (most recent call last):
    ...
    recsys.errors.SettingsError: log.url: unknown scheme 'http', choose one of file, kafka, redis, rediss, unix
    """
    url = settings.log.url
    if url is None:
        return LOGS["redis"](settings)
    # only what stands before the colon may be shown: the rest can hold a password
    scheme, separator, _ = url.partition(":")
    if not separator:
        raise SettingsError(
            "log.url: an address such as redis://localhost:6379 or file:var/events is wanted, with one of "
            + ", ".join(f"{scheme}:" for scheme in SCHEMES)
        )
    if scheme not in SCHEMES:
        raise SettingsError(f"log.url: {unknown_choice('scheme', scheme, SCHEMES)}")
    return LOGS[SCHEMES[scheme]](settings)


def entry_of(position: str, stored: bytes, deliveries: int = 1) -> Entry:
    """The entry of a record as it is stored; without the record, but with its bytes, where they are none.

    >>> entry_of("7", b"{}").record is None
    True
    """
    try:
        return Entry(position, decode(stored), deliveries=deliveries)
    except LogError:
        return Entry(position, None, stored, deliveries)

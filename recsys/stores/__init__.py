"""What is remembered between requests, of each user and of items that changed since a release was made, and where.

Of a user it is what happened since: what a release learned from stands in the release itself. Items are kept as
vocabulary keys, which mean the same in every release; a vector is kept under the id of the release in whose space it
lies, because only item ids cross releases. Of an item its description is kept and never a vector: each release makes
its own of it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np

from recsys.arrays import Bool, Float32, Int64, UInt32, UInt64
from recsys.errors import SettingsError, unknown_choice
from recsys.sections import State
from recsys.tables import Table


def _nothing(dtype: type) -> Callable[[], Any]:
    empty: Any = np.zeros(0, dtype)
    empty.flags.writeable = False
    return lambda: empty


@dataclass(frozen=True, slots=True, eq=False)
class UserState:
    """What one user did, as far as it is remembered.

    ``vector``: float32 (d,) in the space of the release that was asked for, made of this very state; else None.
    ``recent``: uint64 (r,), the items of the last events, newest first, an item as often as it had any; alike
    ``weights`` float32, -1 where the event dismissed the item, ``times`` int64, unix seconds, and ``marks`` uint32,
    hashes of the events' ids, 0 where nobody knows. ``seen``: uint64 (s,), the items of events before those, in no
    order; alike ``seen_times`` int64, of the last event, and ``dropped`` bool, whether that one dismissed the item.
    ``interests``: words and tags that the user named, as they were declared, whatever is put. ``shown``: uint64 (m,),
    items that were put before the user, newest first; alike ``shown_times`` int64 and ``shown_marks`` uint32, hashes of
    the requests' ids. ``into``: ids for whom all this counts too; ``absorbed``: ids whose events count here too.

    What is left out besides ``recent``, ``weights``, ``times`` and ``seen`` is 0. Arrays that come out of a store are
    read-only.
    """

    user: str
    vector: Float32 | None
    recent: UInt64
    weights: Float32
    times: Int64
    seen: UInt64
    interests: tuple[str, ...] = ()
    marks: UInt32 = field(default_factory=_nothing(np.uint32))
    seen_times: Int64 = field(default_factory=_nothing(np.int64))
    dropped: Bool = field(default_factory=_nothing(np.bool_))
    shown: UInt64 = field(default_factory=_nothing(np.uint64))
    shown_times: Int64 = field(default_factory=_nothing(np.int64))
    shown_marks: UInt32 = field(default_factory=_nothing(np.uint32))
    into: tuple[str, ...] = ()
    absorbed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.recent) and not len(self.marks):
            object.__setattr__(self, "marks", np.zeros(len(self.recent), np.uint32))
        if len(self.seen) and not len(self.seen_times):
            object.__setattr__(self, "seen_times", np.zeros(len(self.seen), np.int64))
        if len(self.seen) and not len(self.dropped):
            object.__setattr__(self, "dropped", np.zeros(len(self.seen), np.bool_))

    def with_vector(self, vector: Float32 | None) -> UserState:
        """The same with another vector; in a fifth of the time that ``replace`` takes."""
        other = object.__new__(UserState)
        for name in _FIELDS:
            object.__setattr__(other, name, getattr(self, name))
        object.__setattr__(other, "vector", vector)
        return other

    @property
    def empty(self) -> bool:
        """Nothing is known but what the user said, and what was put before them."""
        return not len(self.seen) and not len(self.recent)

    @property
    def dismissed(self) -> UInt64:
        """The items whose last event dismissed them, uint64 (m,)."""
        before = self.seen[self.dropped] if len(self.seen) else self.seen
        if not np.count_nonzero(self.weights < 0):
            return before
        # The first place of an item is that of its last event.
        items, first = np.unique(self.recent, return_index=True)
        return np.concatenate([before, items[self.weights[first] < 0]])


_FIELDS = tuple(each.name for each in fields(UserState))


@dataclass(frozen=True, slots=True)
class Stored:
    """What a store holds of a user, None for nothing, and a ``token`` that is another one whenever that is another."""

    state: UserState | None
    token: Any


class UserStateStore(Protocol):
    """User states by user id, vectors by release beside them.

    Laws: get after put gives what was put, but for interests, which ``declare`` alone changes; a vector put under one
    release is never returned for another, nor with a state that is not the one it was put with; everything else is
    shared by all releases; get keeps the order of ``users`` and gives None for a user it does not know, which one
    that only declared something is not. Many at a time is the primitive. Every method raises StoreError, and nothing
    else, when the server does not answer in time, answers nonsense or has no room, and then still gives what it has;
    arrays whose shapes do not fit together are a ValueError.
    """

    async def get(self, users: Sequence[str], release: str, *, shown: bool = True) -> list[UserState | None]:
        """The states of ``users``, in their order, with vectors of ``release``: one round trip.

        Without ``shown`` as if nothing had been put before them, which takes less time.
        """
        ...

    async def put(self, states: Iterable[UserState], release: str) -> int:
        """Write states and their vectors under ``release``, in batches; how many were written.

        A state without a vector takes the user's vector of ``release`` away, and of no other.
        """
        ...

    async def load(self, users: Sequence[str], release: str) -> list[Stored]:
        """As :meth:`get`, for who is going to :meth:`swap`; patient."""
        ...

    async def swap(self, changes: Sequence[tuple[UserState, Any]], release: str) -> list[bool]:
        """Write each state, with its vector under ``release``, if what is stored is still what its token came with.

        Whether it was, of each. One user is written whole or not at all. A state of nothing is taken away. Users that
        are named here are active from now on, written or not.
        """
        ...

    async def erase(self, users: Sequence[str]) -> Mapping[str, int]:
        """Take away everything of users, of all releases; how many ``states``, ``vectors`` and so on were found."""
        ...

    async def active(self, since: float) -> list[str]:
        """The users that were swapped since a time, unix seconds by this machine's clock, as far as a day back."""
        ...

    def users(self) -> AsyncIterator[list[str]]:
        """The ids of all users that have a state, some at a time; who comes or goes meanwhile may be among them."""
        ...

    async def wipe(self) -> int:
        """Take away all states, impressions, vectors and counts, and nothing else; how many states there were."""
        ...

    async def declare(self, interests: Mapping[str, Sequence[str]], stamp: str = "") -> None:
        """Keep what users name as their interests in place of what they named before; none at all takes it away.

        ``stamp``: a text that sorts by when it was said; what was said under a later one stays. Without one it is kept
        whatever was said before.
        """
        ...

    async def seal(self, release: str) -> None:
        """Mark that everybody has a vector under ``release``."""
        ...

    async def sealed(self, release: str) -> bool:
        """Whether :meth:`seal` was called for ``release`` and the store has not been emptied since."""
        ...

    async def forget(self, release: str) -> int:
        """Remove the vectors and the mark of ``release``; how many vectors were removed."""
        ...

    async def ping(self) -> None:
        """Return if the store answers, StoreError if not."""
        ...


class Counts(Protocol):
    """Amounts by name in tallies, each of which is kept for a while."""

    async def count(self, tally: str, amounts: Mapping[str, float], seconds: int, most: int = 10_000) -> None:
        """Add amounts to those of a tally, which lasts ``seconds`` from now; about the ``most`` largest are kept."""
        ...

    async def largest(self, tally: str, most: int) -> dict[str, float]:
        """The largest amounts of a tally, largest first; none if there is no such tally."""
        ...


@dataclass(frozen=True, slots=True)
class ItemChange:
    """An item as it is described now; ``description``: plain JSON by name, None where the item was deleted.

    ``stamp``: a text that sorts by when it was said; a change is not kept where one with the same or a later one is.
    Without one it is kept whatever was said before.
    """

    item_id: str
    description: Mapping[str, Any] | None
    stamp: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class ItemChanges:
    """What changed up to ``mark``, the last change of each item, in the order of these changes.

    ``whole``: everything that is kept stands there, because the mark that was asked about is not one of this store's;
    else only what came after that mark.
    """

    mark: str
    changes: tuple[ItemChange, ...]
    whole: bool


class ItemChangeStore(Protocol):
    """The changes of items since whenever, the last one of each: a log that is compacted by item.

    Laws: a reader that applies what ``item_changes`` gives, from the mark it got last, ends where one ends that
    applies everything; a mark changes with every change and comes back never, also when the store has been emptied.
    Every method raises StoreError, and nothing else, when the server does not answer in time or answers nonsense.
    """

    async def change_items(self, changes: Sequence[ItemChange], *, only_missing: bool = False) -> None:
        """Keep changes in their order. ``only_missing``: where there is one of the item already, leave that."""
        ...

    async def item_changes(self, since: str = "") -> ItemChanges:
        """What changed after a mark; one small key is read where nothing did. The mark of an empty store is empty."""
        ...

    async def drop_items(self, changes: Sequence[ItemChange]) -> int:
        """Take away those of these changes that are still kept as they are here; how many.

        For changes that make no difference to anybody any more. The mark stays as it is, and what was said before a
        change that is taken away comes too late as before.
        """
        ...


class Store(UserStateStore, ItemChangeStore, Counts, Protocol):
    """All of them on one server."""


class Opener(Protocol):
    """Opens a store for as long as the context lasts."""

    def __call__(self, state: State) -> AbstractAsyncContextManager[Store]:
        """Open the store that the ``[state]`` section describes."""
        ...


STORES: Table[Opener] = Table(
    "user-state store",
    {
        "memory": "recsys.stores.memory:opened",
        "redis": "recsys.stores.redis:opened",
        "embedded": "recsys.stores.embedded:opened",
    },
)

# The scheme of state.url → a name of STORES. No url at all is the embedded server.
SCHEMES: Mapping[str, str] = MappingProxyType(
    {"memory": "memory", "redis": "redis", "rediss": "redis", "unix": "redis"}
)


def open_store(state: State) -> AbstractAsyncContextManager[Store]:
    """The store that ``state.url`` names, the embedded server where it names none.

    SettingsError for a scheme that no store answers to.

    >>> open_store(State(url="http://localhost"))
    Traceback (most recent call last):
    ...
    recsys.errors.SettingsError: state.url: unknown scheme 'http', choose one of memory, redis, rediss, unix
    """
    if state.url is None:
        return STORES["embedded"](state)
    # only what stands before "://" may be shown: the rest can hold a password
    scheme, separator, _ = state.url.partition("://")
    if not separator:
        raise SettingsError(f"state.url: an address such as redis://localhost:6379 is wanted, with one of {_schemes()}")
    if scheme not in SCHEMES:
        raise SettingsError(f"state.url: {unknown_choice('scheme', scheme, SCHEMES)}")
    return STORES[SCHEMES[scheme]](state)


def _schemes() -> str:
    return ", ".join(f"{scheme}://" for scheme in SCHEMES)

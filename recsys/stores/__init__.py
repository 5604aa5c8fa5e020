"""What is remembered between requests, of each user and of items that changed since a release was made, and where.

Recent and seen items are kept as vocabulary keys, which mean the same in every release; a vector is kept
under the id of the release in whose space it lies, because only item ids cross releases. Of an item its description
is kept and never a vector: each release makes its own of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

from recsys.arrays import Float32, Int64, UInt64
from recsys.errors import SettingsError, unknown_choice
from recsys.settings import State
from recsys.tables import Table


@dataclass(frozen=True, slots=True, eq=False)
class UserState:
    """One user, as far as requests need to know.

    ``vector``: float32 (d,) in the space of the release that was asked for, or None. ``recent``: uint64 (r,),
    keys of the last items, newest first, with ``weights`` float32 (r,) and ``times`` int64 (r,), unix seconds.
    ``seen``: uint64 (s,), keys of everything seen, in no order. ``interests``: words and tags that the user named, as
    they were declared, whatever is put. Arrays that come out of a store are read-only.
    """

    user: str
    vector: Float32 | None
    recent: UInt64
    weights: Float32
    times: Int64
    seen: UInt64
    interests: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Nothing is known but what the user said."""
        return not len(self.seen) and not len(self.recent)


class UserStateStore(Protocol):
    """User states by user id, vectors by release beside them.

    Laws: get after put gives what was put, but for interests, which ``declare`` alone changes; a vector put under one
    release is never returned for another; everything else is shared by all releases; get keeps the order of ``users``
    and gives None for a user it does not know, of whom one that only declared something is none. Many at a time is the
    primitive. Every method raises StoreError, and nothing else, when the server does not answer in time or answers
    nonsense; arrays whose shapes do not fit together are a ValueError.
    """

    async def get(self, users: Sequence[str], release: str) -> list[UserState | None]:
        """The states of ``users``, in their order, with vectors of ``release``: one round trip."""
        ...

    async def put(self, states: Iterable[UserState], release: str) -> int:
        """Write states and their vectors under ``release``, in batches; how many were written.

        A state without a vector takes the user's vector of ``release`` away, and of no other.
        """
        ...

    async def declare(self, interests: Mapping[str, Sequence[str]]) -> None:
        """Keep what users name as their interests in place of what they named before; none at all takes it away."""
        ...

    async def seal(self, release: str) -> None:
        """Mark that the states of every user have been written for ``release``."""
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


@dataclass(frozen=True, slots=True)
class ItemChange:
    """An item as it is described now; ``description``: plain JSON by name, None where the item was deleted."""

    item_id: str
    description: Mapping[str, Any] | None


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


class Store(UserStateStore, ItemChangeStore, Protocol):
    """Both on one server."""


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

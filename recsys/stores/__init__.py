"""What is remembered of each user between requests, and where.

Recent and seen items are kept as vocabulary keys, which mean the same in every release; a vector is kept
under the id of the release in whose space it lies, because only item ids cross releases.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

from recsys.arrays import Float32, Int64, UInt64
from recsys.errors import SettingsError, unknown_choice
from recsys.settings import State
from recsys.tables import Table


@dataclass(frozen=True, slots=True, eq=False)
class UserState:
    """One user, as far as requests need to know.

    ``vector``: float32 (d,) in the space of the release that was asked for, or None. ``recent``: uint64 (r,),
    keys of the last items, newest first, with ``weights`` float32 (r,) and ``times`` int64 (r,), unix seconds.
    ``seen``: uint64 (s,), keys of everything seen, in no order. Arrays that come out of a store are read-only.
    """

    user: str
    vector: Float32 | None
    recent: UInt64
    weights: Float32
    times: Int64
    seen: UInt64


class UserStateStore(Protocol):
    """User states by user id, vectors by release beside them.

    Laws: get after put gives what was put; a vector put under one release is never returned for another;
    ``recent``, ``weights``, ``times`` and ``seen`` are shared by all releases; get keeps the order of ``users``
    and gives None for a user it does not know. Many at a time is the primitive. Every method raises
    StoreError, and nothing else, when the server does not answer in time or answers nonsense; arrays whose
    shapes do not fit together are a ValueError.
    """

    async def get(self, users: Sequence[str], release: str) -> list[UserState | None]:
        """The states of ``users``, in their order, with vectors of ``release``: one round trip."""
        ...

    async def put(self, states: Iterable[UserState], release: str) -> int:
        """Write states and their vectors under ``release``, in batches; how many were written.

        A state without a vector takes the user's vector of ``release`` away, and of no other.
        """
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


class Opener(Protocol):
    """Opens a store for as long as the context lasts."""

    def __call__(self, state: State) -> AbstractAsyncContextManager[UserStateStore]:
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


def open_store(state: State) -> AbstractAsyncContextManager[UserStateStore]:
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

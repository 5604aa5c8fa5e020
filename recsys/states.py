"""States of users brought up to date: joined with what is new, folded into a release's space, swapped in."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from recsys.activity import Limits, joined, nothing, same, same_deeds, same_shown
from recsys.assembly import Engine
from recsys.settings import Settings
from recsys.stores import Store, Stored, UserState

CHUNK = 1000
"""Users that are read at once where many are walked through."""
TRIES = 1000
"""How often somebody else may be faster before something must be wrong."""

New = Mapping[str, frozenset[tuple[int, int]]]
"""User → item key and mark of each event that was not known before."""


def limits_of(settings: Settings) -> Limits:
    """How much is kept of a user."""
    return Limits(settings.train.recent_items, settings.stream.seen, settings.stream.shown)


async def join(store: Store, engine: Engine | None, parts: Mapping[str, UserState], limits: Limits) -> New:
    """Add to what is stored of users what ``parts`` say of them, and of those for whom it counts too.

    Nothing is written that is there already. Twice is as once, and whoever does it at the same time loses nothing.
    ``engine``: the space that vectors are made in; without one there are none.
    """
    release, new, first = "" if engine is None else engine.id, {}, True
    wanted = dict(parts)
    for _ in range(TRIES):
        stored = await _linked(store, wanted, release)
        states = _states(stored, wanted, limits)
        if first:
            new = {user: _new(part, stored[user].state, limits) for user, part in parts.items()}
            first = False
        pairs = [(stored[user].state, state) for user, state in states.items()]
        folded = zip(_folded(engine, pairs), states, strict=True)
        changes = [(state, stored[user].token) for state, user in folded if state is not None]
        done = await store.swap(changes, release)
        lost = {state.user for (state, _), won in zip(changes, done, strict=True) if not won}
        if not lost:
            return new
        # Where somebody was faster, again from what is stored now; whom it counts for too, by way of whom it came from.
        wanted = {
            user: parts.get(user, nothing(user))
            for user, state in states.items()
            if user in lost or not lost.isdisjoint(state.into)
        }
    raise RuntimeError(f"{len(lost)} users were changed by others {TRIES} times in a row")


async def refresh(store: Store, engine: Engine, users: AsyncIterable[Sequence[str]], limits: Limits) -> int:
    """Fold users, a chunk at a time, into the space of ``engine`` as far as they are not; how many were.

    What version 1 kept of users as a release knew them is dropped: releases know that themselves.
    """
    written = 0
    async for some in users:
        for start in range(0, len(some), CHUNK):
            wanted = set(some[start : start + CHUNK])
            while wanted:
                names = sorted(wanted)
                stored = [each for each in await store.load(names, engine.id) if each.state is not None]
                pairs = [(each.state, _since(each.state, limits)) for each in stored if each.state is not None]
                folded = zip(_folded(engine, pairs), stored, strict=True)
                changes = [(state, each.token) for state, each in folded if state is not None]
                done = await store.swap(changes, engine.id)
                wanted = {state.user for (state, _), won in zip(changes, done, strict=True) if not won}
                written += sum(done)
    return written


async def listed(users: Sequence[str]) -> AsyncIterator[Sequence[str]]:
    """Users as :func:`refresh` takes them."""
    yield users


def _folded(engine: Engine | None, pairs: Sequence[tuple[UserState | None, UserState]]) -> list[UserState | None]:
    """States, each beside what was stored before it, with their vectors in the space of an engine.

    None where all of that is stored already.
    """
    fold = None if engine is None else engine.resolver.fold
    found: list[UserState | None] = []
    unfolded = []
    for place, (before, state) in enumerate(pairs):
        known = before if before is not None and same_deeds(before, state) else None
        vector = None if known is None else known.vector
        if vector is not None and (fold is None or vector.shape != fold.items.shape[1:]):
            vector = None
        if vector is None and fold is not None:
            unfolded.append(place)
        unchanged = known is not None and known.vector is vector and same_shown(known, state)
        found.append(None if unchanged else state if vector is None else state.with_vector(vector))
    if engine is not None and unfolded:
        states = [pairs[place][1] for place in unfolded]
        taken, taught = engine.resolver.taken([state.user for state in states], states)
        some = np.flatnonzero(taught)
        for at, vector in zip(some.tolist(), engine.resolver.folded(taken.of_rows(some)), strict=True):
            found[unfolded[at]] = states[at].with_vector(vector)
    return found


def _since(state: UserState, limits: Limits) -> UserState:
    """Without what has no mark: what an older program kept of a release."""
    live = state.marks != 0
    dated = state.seen_times != 0
    if live.all() and dated.all():
        return state
    kept = {name: getattr(state, name)[live] for name in ("recent", "weights", "times", "marks")}
    kept |= {name: getattr(state, name)[dated] for name in ("seen", "seen_times", "dropped")}
    return joined([[replace(state, vector=None, **kept)]], limits)[0]


async def _linked(store: Store, wanted: Mapping[str, UserState], release: str) -> dict[str, Stored]:
    """What is stored of users, and of those whom what they do counts for, and so on."""
    found: dict[str, Stored] = {}
    ask = set(wanted)
    while ask:
        names = sorted(ask)
        found |= dict(zip(names, await store.load(names, release), strict=True))
        into = {user for name in names for user in _into(found[name].state, wanted.get(name))}
        ask = into - found.keys()
    return found


def _into(*states: UserState | None) -> set[str]:
    return {user for state in states if state is not None for user in state.into}


def _states(stored: Mapping[str, Stored], wanted: Mapping[str, UserState], limits: Limits) -> dict[str, UserState]:
    """What is to be stored of each: what is, what is new, and what counts for them too."""
    groups = [
        [each.state or nothing(user), *([wanted[user]] if user in wanted else [])] for user, each in stored.items()
    ]
    states = dict(zip(stored, joined(groups, limits), strict=True))
    sources = [user for user, state in states.items() if state.into]
    changed = True
    while changed:
        # Until nothing moves: links may be chains, or rings.
        changed = False
        for source in sources:
            told = replace(states[source], into=(), absorbed=())
            for target in states[source].into:
                (reached,) = joined([[states[target], told]], limits)
                if not same(reached, states[target]):
                    states[target], changed = reached, True
    return states


def _new(part: UserState, before: UserState | None, limits: Limits) -> frozenset[tuple[int, int]]:
    """The events that nobody has told before; of one older than all that are kept nobody can tell, so it is none."""
    marks = part.marks.tolist()
    pairs = list(zip(part.recent.tolist(), marks, strict=True))
    if before is None:
        return frozenset(pairs)
    there = before.marks.tolist()
    known = () if set(there).isdisjoint(marks) else set(zip(before.recent.tolist(), there, strict=True))
    oldest = before.times[-1] if len(before.times) >= limits.recent else np.iinfo(np.int64).min
    return frozenset(
        pair for pair, time in zip(pairs, part.times.tolist(), strict=True) if time > oldest and pair not in known
    )

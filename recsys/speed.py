"""The speed layer: what happens is in the next list.

Records of the log are read as one of the readers of a group, grouped by user, joined with what is stored of these users
(:mod:`recsys.activity`), folded into the space of the current release and swapped in, one user whole or not at all.
Delivery is at least once and joining is idempotent: in effect each event counts once.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from recsys.assembly import Engine
from recsys.barred import Barred
from recsys.errors import LogError, StoreError, unknown_choice
from recsys.logs import Entry, EventLog
from recsys.logs.records import Declared, Described, Event, Merged, Record, Shown, mark_of, stamp_of
from recsys.sections import USUAL_KINDS, Kind
from recsys.settings import Settings
from recsys.states import New, join, limits_of
from recsys.stores import ItemChange, Store, UserState
from recsys.trends import Trends
from recsys.vocabulary import keys_of

log = logging.getLogger(__name__)

GROUP = "speed"
WAIT = 0.5
"""Seconds that a worker waits for records before it looks whether it is to stop."""
REST = 0.2
"""Seconds before what could not be written is tried again."""
CHUNK = 2000
"""Records that a rebuild applies at once."""
TOGETHER = 200
"""Users whose states are read and written at once."""
WEIGHTS = 10_000
"""Values of events whose weights are remembered."""
EDGE = 2**53
"""Beyond this a time is none."""


@dataclass(slots=True)
class Counted:
    """What a worker did since it began.

    ``records``: applied. ``events``: of them, those that were new, and ``repeated``, those that were there already, or
    are too old to be kept one by one. ``unknown``: events of items that the release does not know, kept all the same.
    ``buried``: records put aside.
    """

    records: int = 0
    events: int = 0
    repeated: int = 0
    unknown: int = 0
    buried: int = 0


@dataclass(slots=True)
class _Deeds:
    """What some records say of one user; of each event also what it teaches."""

    events: list[tuple[Event, float]] = field(default_factory=list)
    shown: list[Shown] = field(default_factory=list)
    into: set[str] = field(default_factory=set)
    absorbed: set[str] = field(default_factory=set)


def _parts(deeds: Mapping[str, _Deeds]) -> dict[str, UserState]:
    """What is said of each user, as a state of nothing else."""
    told = [each for deed in deeds.values() for each in deed.events]
    put = [(item, each) for deed in deeds.values() for each in deed.shown for item in each.items]
    keys, shown = keys_of([event.item for event, _ in told]), keys_of([item for item, _ in put])
    weights = np.array([weight for _, weight in told], np.float32)
    times = np.array([event.time for event, _ in told], np.int64)
    marks = np.array([mark_of(event.id) for event, _ in told], np.uint32)
    shown_times = np.array([each.time for _, each in put], np.int64)
    shown_marks = np.array([mark_of(each.id) for _, each in put], np.uint32)
    parts, event, item = {}, 0, 0
    for user, deed in deeds.items():
        events = slice(event, event := event + len(deed.events))
        items = slice(item, item := item + sum(len(each.items) for each in deed.shown))
        parts[user] = UserState(
            user,
            None,
            recent=keys[events],
            weights=weights[events],
            times=times[events],
            marks=marks[events],
            seen=keys[:0],
            shown=shown[items],
            shown_times=shown_times[items],
            shown_marks=shown_marks[items],
            into=tuple(deed.into),
            absorbed=tuple(deed.absorbed),
        )
    return parts


class Applier:
    """Gives records their effect on what ``store`` holds.

    ``current``: the engine that answers now, None before there is one: then states are kept without vectors.
    """

    def __init__(self, store: Store, current: Callable[[], Engine | None], settings: Settings) -> None:
        self._store, self._current = store, current
        self._limits = limits_of(settings)
        self._barred = Barred(settings.log.erased)
        self._own = {**USUAL_KINDS, **settings.data.kinds}
        self._trends = Trends(settings.stream.half_life_days)
        self._kinds: tuple[str, Mapping[str, Kind]] = "", self._own
        self._weights: dict[tuple[str, float], float] = {}
        self.counted = Counted()

    async def apply(self, records: Sequence[Record]) -> None:
        """Let records have their effect, which is the same if they had it before. StoreError if the store refuses.

        What somebody did before they were erased has none.
        """
        records = self._remembered(records)
        deeds: defaultdict[str, _Deeds] = defaultdict(_Deeds)
        for record in records:
            match record:
                case Event():
                    deeds[record.user].events.append((record, self._weight(record)))
                case Shown():
                    deeds[record.user].shown.append(record)
                case Merged():
                    deeds[record.anonymous].into.add(record.user)
                    deeds[record.user].absorbed.add(record.anonymous)
                case Declared():
                    await self._store.declare({record.user: record.interests}, stamp_of(record))
                case Described():
                    change = ItemChange(record.item, record.description, stamp_of(record))
                    await self._store.change_items([change])
        parts = _parts(deeds)
        engine, new = self._current(), await self._joined(parts)
        if engine is not None and deeds:
            keys = np.concatenate([part.recent for part in parts.values()])
            self.counted.unknown += int((engine.items.rows_of_keys(keys) < 0).sum())
        fresh: list[tuple[str, int, float]] = []
        for user, deed in deeds.items():
            # The last one of an event that came several times is as good as the first.
            pairs = zip(parts[user].recent.tolist(), parts[user].marks.tolist(), strict=True)
            told = {pair: event for pair, event in zip(pairs, deed.events, strict=True) if pair in new[user]}
            fresh += [(event.item, event.time, weight) for event, weight in told.values() if weight > 0]
            self.counted.events += len(told)
            self.counted.repeated += len(deed.events) - len(told)
        await self._trends.count(self._store, fresh)
        self.counted.records += len(records)

    async def _joined(self, parts: Mapping[str, UserState]) -> New:
        """What of ``parts`` was not known, once the store knows it."""
        engine, users, new = self._current(), list(parts), dict[str, frozenset[tuple[int, int]]]()
        some = [users[start : start + TOGETHER] for start in range(0, len(users), TOGETHER)]
        joins = [join(self._store, engine, {user: parts[user] for user in each}, self._limits) for each in some]
        # Side by side: while the store is waited for, others are folded. All are done when one has failed.
        for found in await asyncio.gather(*joins, return_exceptions=True):
            if isinstance(found, BaseException):
                raise found
            new |= found
        return new

    def _remembered(self, records: Sequence[Record]) -> Sequence[Record]:
        """Records but those of users who were erased since; a reader may have had them in hand."""
        if not len(self._barred):
            return records
        users = ["" if isinstance(record, Described) else record.user for record in records]
        until = self._barred.times(users).tolist()
        return [record for record, erased in zip(records, until, strict=True) if record.time > erased]

    def _weight(self, event: Event) -> float:
        """What an event teaches; -1 for one that dismisses its item."""
        kinds, told = self._known(), (event.kind, event.value)
        if told not in self._weights:
            if len(self._weights) >= WEIGHTS:
                self._weights.clear()
            kind = kinds[event.kind]
            self._weights[told] = -1.0 if kind.dismisses else float(np.float32(kind.weigh(np.array([event.value]))[0]))
        return self._weights[told]

    def _known(self) -> Mapping[str, Kind]:
        """What kinds of event mean: by the settings, else by the release."""
        engine = self._current()
        if engine is not None and engine.id != self._kinds[0]:
            self._kinds = engine.id, {**engine.card.kinds, **self._own}
            self._weights.clear()
        return self._kinds[1]

    def problem(self, record: Record) -> str:
        """Why a record can have no effect; empty where it can."""
        if isinstance(record, Event):
            if record.kind not in (kinds := self._known()):
                return unknown_choice("kind of event", record.kind, kinds)
            if not 0 <= record.value < np.inf:
                return f"its value is {record.value}: a number of at least 0 was wanted"
        if isinstance(record, Event | Shown) and not -EDGE < record.time < EDGE:
            return f"its time is {record.time}: unix seconds were wanted"
        if isinstance(record, Merged) and record.user == record.anonymous:
            return f"user {record.user!r} cannot be merged into themselves"
        return ""


class SpeedLayer:
    """Applies what a log holds to what ``store`` holds, as one reader of a group.

    ``reader``: a name that no other has.
    """

    def __init__(
        self, events_log: EventLog, store: Store, current: Callable[[], Engine | None], settings: Settings, reader: str
    ) -> None:
        self._log, self._store, self._reader = events_log, store, reader
        self._stream = settings.stream
        self._applier = Applier(store, current, settings)

    @property
    def counted(self) -> Counted:
        """What was done since the beginning."""
        return self._applier.counted

    async def run(self, stop: asyncio.Event) -> None:
        """Apply batch after batch until ``stop`` is set, and finish the one at hand. Waits for what does not answer."""
        while not stop.is_set():
            try:
                entries = await self._log.read(GROUP, self._reader, self._stream.batch, WAIT)
                while not await self.handle(entries) and not stop.is_set():  # noqa: ASYNC110  the store is waited for
                    await asyncio.sleep(REST)
            except LogError as error:
                log.warning("%s: the next try is in %g s", error, REST)
                await asyncio.sleep(REST)

    async def handle(self, entries: Sequence[Entry]) -> bool:
        """Apply entries and acknowledge them; whether that is done: not while the store does not answer."""
        if not entries:
            return True
        there: dict[str, Entry] = {}
        for entry in entries:
            if entry.record is None:
                await self._bury(entry, "it is no record that this program can read")
            elif problem := self._applier.problem(entry.record):
                await self._failed(entry, problem)
            else:
                there[entry.position] = entry
        if not there:
            return True
        try:
            await self._applier.apply([entry.record for entry in there.values() if entry.record is not None])
        except StoreError as error:
            if not await self._answers():
                log.warning("%s: the next try is in %g s", error, REST)
                return False
            await self._one_by_one(list(there.values()))
            return True
        await self._log.acknowledge(GROUP, list(there))
        return True

    async def _answers(self) -> bool:
        try:
            await self._store.ping()
        except StoreError:
            return False
        return True

    async def _one_by_one(self, entries: Sequence[Entry]) -> None:
        """Where a store that answers refuses a batch, the entries that are to blame alone are left or put aside."""
        for entry in entries:
            try:
                await self._applier.apply([entry.record] if entry.record is not None else [])
            except StoreError as error:
                await self._failed(entry, str(error))
            else:
                await self._log.acknowledge(GROUP, [entry.position])

    async def _failed(self, entry: Entry, reason: str) -> None:
        """Leave an entry to be read again, or put it aside if that was tried often enough."""
        log.warning("a record had no effect, try %d of %d: %s", entry.deliveries, self._stream.tries, reason)
        if entry.deliveries >= self._stream.tries:
            await self._bury(entry, reason)

    async def _bury(self, entry: Entry, reason: str) -> None:
        await self._log.bury(GROUP, entry, reason)
        self._applier.counted.buried += 1


async def rebuild(records: AsyncIterable[Record], store: Store, engine: Engine | None, settings: Settings) -> Counted:
    """Take all states away and make them again from records, oldest first; what was counted meanwhile.

    Workers of the speed layer may go on: what they add is added once. Requests are answered all the while, from what is
    there already.
    """
    await store.wipe()
    applier = Applier(store, lambda: engine, settings)
    batch: list[Record] = []
    async for record in records:
        if problem := applier.problem(record):
            log.warning("a record had no effect: %s", problem)
            continue
        batch.append(record)
        if len(batch) == CHUNK:
            await applier.apply(batch)
            batch = []
    await applier.apply(batch)
    if engine is not None:
        await store.seal(engine.id)
    return applier.counted

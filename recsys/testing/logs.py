"""The contract suite of event logs."""

# ruff: noqa: S101 - asserting is what these functions are for

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from recsys.logs import Entry, EventLog, Status
from recsys.logs.records import Declared, Described, Event, Merged, Record, Shown

# How long tests wait for what must come, in seconds; and for what must not.
PATIENCE = 60.0
MOMENT = 0.3

# Ids that a careless log would cut, unescape or refuse.
IDS = (
    "a b",
    "a:b",
    "{a}",
    "a/b\\c",
    'quo"te',
    "new\nline\r\n",
    "NUL\0",
    "\x1b[0m",
    "ü",
    "𝔘😀",
    "\udc80",
    "*",
    "%00",
    "",
)


class OpenLog(Protocol):
    """Opens one and the same log, which was empty at first, as often as it is called."""

    def __call__(self, claim_seconds: float = 30.0) -> AbstractAsyncContextManager[EventLog]:
        """Open it."""
        ...


def event(number: int, user: str = "ann", item: str = "i", **more: Any) -> Event:
    """The event ``e<number>``, at that second."""
    return Event(f"e{number}", number, user, item, "play", **more)


async def taken(
    log: EventLog, group: str, count: int, reader: str = "reader", *, acknowledge: bool = True
) -> list[Entry]:
    """The next ``count`` entries of a group, for which it is waited; acknowledged if asked for."""
    found: list[Entry] = []
    async with asyncio.timeout(PATIENCE):
        while len(found) < count:
            some = await log.read(group, reader, count - len(found), 1.0)
            found += some
            if acknowledge:
                await log.acknowledge(group, [entry.position for entry in some])
    return found


async def replayed(log: EventLog) -> list[Record | None]:
    """The records of :meth:`EventLog.replay`."""
    return [entry.record async for entry in log.replay()]


def records_of(entries: Sequence[Entry]) -> list[Record | None]:
    """What the entries hold."""
    return [entry.record for entry in entries]


@dataclass(frozen=True, slots=True)
class Later:
    """A record of a type that this program does not know."""

    TYPE: ClassVar[str] = "later"

    id: str
    time: int
    user: str


class EventLogContract:
    """What every event log must do.

    The fixture ``open_log`` is an :class:`OpenLog`. ``knows_deliveries``: whether the log itself remembers how often a
    record was given, so that another reader is told. ``knows_length``: whether the server says how many records it has.
    ``hands_over``: whether a reader that joins takes its share from others, who may then acknowledge too late.
    """

    knows_deliveries: ClassVar[bool] = True
    knows_length: ClassVar[bool] = True
    hands_over: ClassVar[bool] = False

    def test_each_group_reads_everything_once_and_in_order(self, open_log: OpenLog) -> None:
        """One that comes late begins with the oldest record."""

        async def story() -> None:
            records = [event(number) for number in range(30)]
            async with open_log() as log:
                await log.append(records[:10])
                assert records_of(await taken(log, "early", 10)) == records[:10]
                await log.append(records[10:20])
                await log.append(records[20:])
                assert records_of(await taken(log, "early", 20)) == records[10:]
                assert records_of(await taken(log, "late", 30)) == records
                assert await log.read("early", "reader", 10, MOMENT) == []
                assert await log.read("late", "reader", 10, MOMENT) == []

        asyncio.run(story())

    def test_a_record_comes_out_as_it_went_in(self, open_log: OpenLog) -> None:
        """Of every type, with any id."""
        records: list[Record] = [
            Event("e", 1, "u", "i", "rate", 4.5, "home", "r1", 3),
            Event("f", 1, "u", "i", "rate", -0.0, "home", "r1", None),
            Shown("r1", 2, "u", ("a", "b"), "home", "2026-11-26T00-00-00", "personal", 11, (0.5, 0.25)),
            Described("d", 3, "i", {"title": "T", "tags": ["x"], "deep": {"n": None}}),
            Described("d2", 4, "i", None),
            Declared("c", 5, "u", ("jazz", "new\nwave")),
            Declared("c2", 6, "u", ()),
            Merged("m", 7, "u", "guest"),
            *(Event(f"id{id_}", 8, f"u{id_}", f"i{id_}", f"k{id_}", surface=id_) for id_ in IDS),
            *(Event(f"id{id_}", 8, id_, id_, "play") for id_ in IDS if id_),
        ]

        async def story() -> None:
            async with open_log() as log:
                await log.append(records)
                found = records_of(await taken(log, "g", len(records)))
                for user in {getattr(record, "user", None) for record in records}:
                    assert [one for one in found if getattr(one, "user", None) == user] == [
                        one for one in records if getattr(one, "user", None) == user
                    ]
                assert Counter(map(repr, await replayed(log))) == Counter(map(repr, records))

        asyncio.run(story())

    def test_a_thousand_at_once_are_all_there(self, open_log: OpenLog) -> None:
        """Each with a position of its own, those of one user in order."""
        records = [event(number, f"user {number % 7}") for number in range(1000)]

        async def story() -> None:
            async with open_log() as log:
                positions = await log.append(records)
                assert len(set(positions)) == 1000
                assert await log.append([]) == []
                found = records_of(await taken(log, "g", 1000))
                for user in range(7):
                    own = [one for one in found if isinstance(one, Event) and one.user == f"user {user}"]
                    assert own == records[user::7]
                if self.knows_length:
                    assert (await log.status("g")).length == 1000

        asyncio.run(story())

    def test_what_was_acknowledged_stays_so_when_the_log_is_opened_again(self, open_log: OpenLog) -> None:
        """And what was appended stays too."""

        async def story() -> None:
            records = [event(number) for number in range(6)]
            async with open_log() as log:
                await log.append(records)
                assert records_of(await taken(log, "g", 4)) == records[:4]
            async with open_log() as log:
                assert records_of(await taken(log, "g", 2)) == records[4:]
                assert await log.read("g", "reader", 10, MOMENT) == []
                assert await replayed(log) == records

        asyncio.run(story())

    def test_what_is_given_to_one_reader_is_not_given_to_another_meanwhile(self, open_log: OpenLog) -> None:
        """Several readers share, and together they have everything once."""

        async def story() -> None:
            records = [event(number, f"user {number}") for number in range(200)]
            async with open_log() as one, open_log() as other:
                await one.append(records)
                found: list[Entry] = []
                async with asyncio.timeout(PATIENCE):
                    while len(set(map(repr, records_of(found)))) < len(records):
                        for log, reader in ((one, "first"), (other, "second")):
                            some = await log.read("g", reader, 7, 0.05)
                            await log.acknowledge("g", [entry.position for entry in some])
                            found += some
                told = Counter(map(repr, records_of(found)))
                assert told.keys() == set(map(repr, records))
                assert self.hands_over or told.total() == len(records)
                assert await one.read("g", "first", 10, MOMENT) == []
                assert await other.read("g", "second", 10, MOMENT) == []

        asyncio.run(story())

    def test_what_is_not_acknowledged_is_given_to_another_reader(self, open_log: OpenLog) -> None:
        """After the time set for it; what was acknowledged is not."""

        async def story() -> None:
            records = [event(number) for number in range(5)]
            async with open_log(claim_seconds=0.5) as one, open_log(claim_seconds=0.5) as other:
                await one.append(records)
                held = await taken(one, "g", 5, "never acknowledges", acknowledge=False)
                assert [entry.deliveries for entry in held] == [1] * 5
                await one.acknowledge("g", [entry.position for entry in held[:2]])
                claimed = await taken(other, "g", 3, "claims")
                assert records_of(claimed) == records[2:]
                if self.knows_deliveries:
                    assert min(entry.deliveries for entry in claimed) >= 2
                assert await other.read("g", "claims", 10, MOMENT) == []

        asyncio.run(story())

    def test_a_reader_that_does_not_acknowledge_is_given_it_again(self, open_log: OpenLog) -> None:
        """And is told how often it was."""

        async def story() -> None:
            async with open_log(claim_seconds=0.5) as log:
                await log.append([event(1), event(2)])
                first, second = await taken(log, "g", 2, acknowledge=False)
                await log.acknowledge("g", [first.position])
                for deliveries in (2, 3):
                    (again,) = await taken(log, "g", 1, acknowledge=False)
                    assert (again.position, again.record) == (second.position, second.record)
                    assert again.deliveries >= deliveries
                await log.acknowledge("g", [second.position])
                assert (await log.status("g")).pending == 0

        asyncio.run(story())

    def test_a_reader_that_waits_is_given_what_comes(self, open_log: OpenLog) -> None:
        """And one that does not wait is given nothing."""

        async def story() -> None:
            async with open_log() as log:
                assert await log.read("g", "reader", 1, 0.0) == []
                waiting = asyncio.create_task(log.read("g", "reader", 10, PATIENCE))
                await asyncio.sleep(MOMENT)
                assert not waiting.done()
                await log.append([event(1)])
                assert records_of(await waiting) == [event(1)]

        asyncio.run(story())

    def test_what_is_buried_is_put_aside_with_its_reason_and_not_read_again(self, open_log: OpenLog) -> None:
        """By its group; others read it, and have no dead."""

        async def story() -> None:
            records = [event(number) for number in range(3)]
            async with open_log(claim_seconds=0.5) as log:
                await log.append(records)
                first, second, third = await taken(log, "g", 3, acknowledge=False)
                await log.bury("g", second, "has no\nsense: ü𝔘")
                await log.acknowledge("g", [first.position, third.position])
                await asyncio.sleep(2 * MOMENT)
                assert await log.read("g", "reader", 10, MOMENT) == []
                ((entry, reason),) = [one async for one in log.dead("g")]
                assert (entry.position, entry.record, reason) == (second.position, second.record, "has no\nsense: ü𝔘")
                assert (await log.status("g")).dead == 1
                assert records_of(await taken(log, "other", 3)) == records
                assert [one async for one in log.dead("other")] == []

        asyncio.run(story())

    def test_a_record_of_a_type_that_came_later_is_given_as_its_bytes(self, open_log: OpenLog) -> None:
        """And can be buried, and blocks nothing."""

        async def story() -> None:
            later: Any = Later("x", 1, "ann")
            async with open_log() as log:
                await log.append([event(1), later, event(2)])
                found = await taken(log, "g", 3, acknowledge=False)
                assert records_of(found) == [event(1), None, event(2)]
                assert found[1].stored == b'{"type":"later","id":"x","time":1,"user":"ann"}'
                await log.bury("g", found[1], "unknown")
                ((entry, _),) = [one async for one in log.dead("g")]
                assert (entry.record, entry.stored) == (None, found[1].stored)
                assert await replayed(log) == [event(1), None, event(2)]

        asyncio.run(story())

    def test_replay_gives_everything_and_moves_no_group(self, open_log: OpenLog) -> None:
        """However much of it was read, acknowledged or not."""

        async def story() -> None:
            records = [event(number) for number in range(20)]
            async with open_log() as log:
                assert await replayed(log) == []
                await log.append(records)
                await taken(log, "g", 5)
                await taken(log, "g", 5, acknowledge=False)
                before = await log.status("g")
                assert await replayed(log) == records
                assert await replayed(log) == records
                after = await log.status("g")
                assert (before.length, before.lag, before.pending) == (after.length, after.lag, after.pending)
                assert records_of(await taken(log, "g", 10)) == records[10:]

        asyncio.run(story())

    def test_status_tells_how_far_a_group_has_come(self, open_log: OpenLog) -> None:
        """Each group for itself, and one that never read has everything before it."""

        async def story() -> None:
            async with open_log() as log:
                assert await log.status("g") == Status(0, 0, 0, 0, 0.0)
                await log.append([event(number) for number in range(10)])
                assert await log.status("g") == Status(10, 10, 0, 0, 0.0)
                found = await taken(log, "g", 6, acknowledge=False)
                await asyncio.sleep(MOMENT)
                told = await log.status("g")
                assert (told.length, told.lag, told.pending, told.dead) == (10, 4, 6, 0)
                assert told.oldest_pending > 0
                await log.acknowledge("g", [entry.position for entry in found[1:]])
                assert (await log.status("g")).pending == 1
                await log.acknowledge("g", [found[0].position, found[0].position])
                assert await log.status("g") == Status(10, 4, 0, 0, 0.0)
                assert await log.status("other") == Status(10, 10, 0, 0, 0.0)

        asyncio.run(story())

    def test_trim_lets_go_only_of_what_all_have_acknowledged(self, open_log: OpenLog) -> None:
        """One that was read and not acknowledged holds everything behind it."""

        async def story() -> None:
            records = [event(number) for number in range(10)]
            async with open_log() as log:
                await log.append(records)
                assert await log.trim([]) == 0
                assert await log.trim(["fast", "slow"]) == 0
                await taken(log, "fast", 10)
                assert await log.trim(["fast", "slow"]) == 0
                found = await taken(log, "slow", 6, acknowledge=False)
                await log.acknowledge("slow", [entry.position for entry in (*found[:3], *found[4:])])
                assert await log.trim(["fast", "slow"]) == 3
                assert await replayed(log) == records[3:]
                await log.acknowledge("slow", [found[3].position])
                assert await log.trim(["fast", "slow"]) == 3
                assert await replayed(log) == records[6:]
                assert records_of(await taken(log, "slow", 4)) == records[6:]
                assert await log.trim(["fast", "slow"]) == 4
                assert await log.status("slow") == Status(0, 0, 0, 0, 0.0)
                await log.append([event(11)])
                assert records_of(await taken(log, "fast", 1)) == [event(11)]

        asyncio.run(story())

    def test_erase_leaves_nothing_of_the_user_and_everything_of_others(self, open_log: OpenLog) -> None:
        """What waits for readers, what was given and not acknowledged, and what is dead."""

        async def story() -> None:
            of_others = [event(number, user) for number, user in enumerate(("ann2", "an", 'ann"', "Ann", "bob"))]
            of_ann: list[Record] = [
                event(10),
                Shown("r", 11, "ann", ("i",), "home", "r1", "personal"),
                Declared("c", 12, "ann", ("jazz",)),
                Merged("m", 13, "ann", "guest"),
                Merged("n", 14, "bob2", "ann"),
                event(15),
            ]
            later: Any = Later("x", 1, "ann")
            async with open_log(claim_seconds=0.5) as log:
                await log.append([of_ann[0], of_others[0], of_ann[1], of_others[1], later])
                found = await taken(log, "g", 5, acknowledge=False)
                buried = next(entry for entry in found if entry.record == of_ann[0])
                await log.bury("g", buried, "no sense")
                await log.append([*of_ann[2:], *of_others[2:]])
                assert await log.erase("ann") == len(of_ann) + 1 + 1
                assert await log.erase("ann") == 0
                assert [one async for one in log.dead("g")] == []
                assert Counter(map(repr, await replayed(log))) == Counter(map(repr, of_others))
                read = await taken(log, "g", 5)
                assert Counter(map(repr, records_of(read))) == Counter(map(repr, of_others))
                assert await log.read("g", "reader", 10, 2 * MOMENT) == []
                told = await log.status("g")
                assert (told.pending, told.dead) == (0, 0)
                if self.knows_length:
                    assert told.lag == 0
                await log.append([event(16)])
                assert records_of(await taken(log, "g", 1)) == [event(16)]

        asyncio.run(story())

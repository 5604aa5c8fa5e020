"""A log as a topic of Kafka, or of anything else that speaks its protocol.

``kafka://host:port,host:port/topic``, and behind a question mark: ``partitions`` and ``replication`` of a topic that is
made, and any property of librdkafka, such as ``security.protocol`` and ``sasl.username``. Topics:

    <topic>                 records, keyed by user id, so that a user's are in one partition and in order
    <topic>.dead.<group>    what a group put aside
    <topic>.erased          places whose records were taken out, without saying whose they were

A record is accepted when all in-sync replicas have it. Kafka takes no single record out of a topic: what was erased is
given to no reader any more, and its bytes go with what is trimmed.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from recsys.errors import LogError, SettingsError
from recsys.logs import Entry, EventLog, Status, entry_of, letters
from recsys.logs.kafka_reader import GroupReader, Place, place_in, place_of, position_of
from recsys.logs.kafka_sender import TIMEOUT, Sender, ended, failed
from recsys.logs.records import Described, Record, encode, mentions
from recsys.settings import Settings

PARTITIONS = 12
PAGE = 1000
# Seconds between two looks of a reader at what has come.
LOOK = 0.01
# Kafka's own bounds for the time after which a consumer that is not heard of is out of its group, in seconds.
SESSION = (6.0, 300.0)

logger = logging.getLogger(__name__)
T = TypeVar("T")


class KafkaLog:
    """The log in ``topic``. ``config``: what all clients have in common. Made and closed in a thread."""

    def __init__(
        self, config: Mapping[str, Any], topic: str, partitions: int, replication: int, claim_seconds: float
    ) -> None:
        self._config, self._topic, self._replication = dict(config), topic, replication
        self._erasures = f"{topic}.erased"
        self._claim_seconds = claim_seconds
        self._admin = AdminClient(self._config, logger=logger)
        self._readers: dict[tuple[str, str], GroupReader] = {}
        self._askers: dict[str, Consumer] = {}
        self._erased: dict[str, set[Place]] = defaultdict(set)
        self._lock = threading.Lock()
        self._make(topic, partitions)
        self._make(self._erasures, 1)
        self._partitions = sorted(self._admin.list_topics(topic, timeout=TIMEOUT).topics[topic].partitions)
        self._eraser, self._caught_up = self._following(self._erasures, [0]), False
        self._look_for_erasures()
        self._sender = Sender(self._config)

    async def append(self, records: Sequence[Record]) -> list[str]:
        """Send records and wait until all in-sync replicas have them."""
        if not records:
            return []
        return await self._sender.send(self._topic, [(_key(record), encode(record)) for record in records])

    async def read(self, group: str, reader: str, most: int, wait: float) -> list[Entry]:
        """What comes of the partitions that the group gave to ``reader``."""
        until = time.monotonic() + wait
        mine = await self._do(lambda: self._reader(group, reader))
        while True:
            if found := await self._do(lambda: mine.take(most)):
                return found
            if (left := until - time.monotonic()) <= 0:
                return []
            await asyncio.sleep(min(LOOK, left))

    async def acknowledge(self, group: str, positions: Sequence[str]) -> None:
        """Commit how far the group is done in every partition."""
        places = [place_of(position) for position in positions]

        def strike() -> None:
            for (name, _), reader in list(self._readers.items()):
                if name == group:
                    reader.acknowledge(places)

        await self._do(strike)

    async def bury(self, group: str, entry: Entry, reason: str) -> None:
        """Write an entry to the dead of its group, then acknowledge it."""
        topic = f"{self._topic}.dead.{group}"
        await self._do(lambda: self._make(topic, 1))
        await self._sender.send(topic, [(b"", letters.sealed(entry, reason))])
        await self.acknowledge(group, [entry.position])

    async def dead(self, group: str) -> AsyncIterator[tuple[Entry, str]]:
        """What the group put aside, oldest first; what was written twice, before and after a crash, once."""
        known: set[str] = set()
        async for _, stored in self._all(f"{self._topic}.dead.{group}"):
            entry, reason = letters.opened(stored)
            if entry.position not in known:
                known.add(entry.position)
                yield entry, reason

    async def replay(self) -> AsyncIterator[Entry]:
        """Everything that the topic holds, each partition in its order."""
        async for place, stored in self._all(self._topic):
            yield entry_of(position_of(place), stored)

    async def status(self, group: str) -> Status:
        """How far the group has come; what was given and not acknowledged, and since when, by this process alone."""
        return await self._do(lambda: self._status(group))

    async def trim(self, groups: Sequence[str]) -> int:
        """Have the brokers delete what stands below the lowest commit of the groups, in each partition."""
        return await self._do(lambda: self._trim(groups))

    async def erase(self, user: str) -> int:
        """Note the places of records that mention ``user``: from then on they are given to nobody."""
        gone = 0
        topics = await self._do(self._own_topics)
        for topic in topics:
            found = [
                place
                async for place, stored in self._all(topic)
                if mentions(stored if topic == self._topic else letters.stored_of(letters.opened(stored)[0]), user)
            ]
            if found:
                told = json.dumps({"topic": topic, "places": sorted(found)}).encode()
                await self._sender.send(self._erasures, [(b"", told)])
                gone += len(found)
        await self._do(self._look_for_erasures)
        return gone

    def close(self) -> None:
        """Leave all groups, and wait for what is on its way."""
        for reader in self._readers.values():
            reader.close()
        for consumer in (*self._askers.values(), self._eraser):
            consumer.close()
        self._sender.close()

    # Blocking, in threads

    async def _do(self, action: Callable[[], T]) -> T:
        """What ``action`` gives, done in a thread; a failure of Kafka's as a LogError."""
        try:
            return await asyncio.to_thread(action)
        except KafkaException as error:
            raise failed(error) from error

    def _make(self, topic: str, partitions: int) -> None:
        """Have a topic, whose records stay until they are trimmed."""
        if topic in self._admin.list_topics(timeout=TIMEOUT).topics:
            return
        wanted = NewTopic(
            topic, num_partitions=partitions, replication_factor=self._replication, config={"retention.ms": "-1"}
        )
        try:
            self._admin.create_topics([wanted], request_timeout=TIMEOUT)[topic].result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise

    def _reader(self, group: str, name: str) -> GroupReader:
        with self._lock:
            if (group, name) not in self._readers:
                session = min(max(self._claim_seconds, SESSION[0]), SESSION[1])
                config = {
                    "session.timeout.ms": round(1000 * session),
                    "heartbeat.interval.ms": round(1000 * min(session / 10, 1.0)),
                    **self._consuming(self._group_id(group)),
                }
                self._readers[group, name] = GroupReader(
                    config, self._topic, self._claim_seconds, self._erased[self._topic].__contains__
                )
        self._look_for_erasures()
        return self._readers[group, name]

    def _status(self, group: str) -> Status:
        self._look_for_erasures()
        committed, bounds = self._committed(group), self._bounds(self._topic, self._partitions)
        pending, oldest, given = 0, 0.0, dict[int, int]()
        for (name, _), reader in list(self._readers.items()):
            if name == group:
                count, longest, next_ = reader.waiting()
                pending, oldest, given = pending + count, max(oldest, longest), {**given, **next_}
        length = lag = 0
        erased = self._erased[self._topic]
        for partition, (low, high) in bounds.items():
            from_ = max(low, committed[partition], given.get(partition, 0))
            gone = [offset for part, offset in erased if part == partition]
            length += high - low - sum(low <= offset < high for offset in gone)
            lag += high - from_ - sum(from_ <= offset < high for offset in gone)
        dead_topic, dead = f"{self._topic}.dead.{group}", 0
        if dead_topic in self._admin.list_topics(timeout=TIMEOUT).topics:
            first, end = self._bounds(dead_topic, [0])[0]
            dead = end - first - len(self._erased[dead_topic])
        return Status(length, lag, pending, dead, oldest)

    def _trim(self, groups: Sequence[str]) -> int:
        if not groups:
            return 0
        committed = [self._committed(group) for group in groups]
        bounds = self._bounds(self._topic, self._partitions)
        until = {partition: min(one[partition] for one in committed) for partition in self._partitions}
        until = {partition: offset for partition, offset in until.items() if offset > bounds[partition][0]}
        if until:
            self._delete(until)
        erased = self._erased[self._topic]
        return sum(
            offset - bounds[partition][0]
            - sum(part == partition and bounds[partition][0] <= place < offset for part, place in erased)
            for partition, offset in until.items()
        )  # fmt: skip

    def _delete(self, until: Mapping[int, int]) -> None:
        """Have the brokers delete what stands below an offset of each partition."""
        places = [TopicPartition(self._topic, partition, offset) for partition, offset in until.items()]
        for answer in self._admin.delete_records(places, request_timeout=TIMEOUT).values():
            answer.result()

    def _committed(self, group: str) -> dict[int, int]:
        """Below which offset the group is done, of each partition; 0 where nothing was committed."""
        with self._lock:
            if group not in self._askers:
                self._askers[group] = Consumer(self._consuming(self._group_id(group)), logger=logger)
        asked = [TopicPartition(self._topic, partition) for partition in self._partitions]
        return {part.partition: max(part.offset, 0) for part in self._askers[group].committed(asked, timeout=TIMEOUT)}

    def _bounds(self, topic: str, partitions: Iterable[int]) -> dict[int, tuple[int, int]]:
        """The lowest offset that is there, and the one that comes next, of each partition."""
        found = {}
        for partition in partitions:
            bounds = self._eraser.get_watermark_offsets(TopicPartition(topic, partition), timeout=TIMEOUT)
            if bounds is None:
                raise LogError(f"Kafka did not say within {TIMEOUT:g} s how far {topic} goes: see its brokers")
            found[partition] = bounds
        return found

    def _own_topics(self) -> list[str]:
        there = self._admin.list_topics(timeout=TIMEOUT).topics
        return [self._topic, *sorted(name for name in there if name.startswith(f"{self._topic}.dead."))]

    # Reading from the beginning

    async def _all(self, topic: str) -> AsyncIterator[tuple[Place, bytes]]:
        """What a topic holds and nobody erased, each partition up to where it ended when that was reached."""
        await self._do(self._look_for_erasures)
        there = (await self._do(lambda: self._admin.list_topics(timeout=TIMEOUT))).topics
        if topic not in there:
            return
        partitions = sorted(there[topic].partitions)
        consumer = self._following(topic, partitions)
        try:
            left = set(partitions)
            while left:
                for message in await self._do(lambda: consumer.consume(PAGE, 0.1)):
                    if ended(message):
                        left.discard(int(message.partition() or 0))
                    elif (at := place_in(message)) not in self._erased[topic]:
                        yield at, message.value() or b""
        finally:
            await asyncio.to_thread(consumer.close)

    def _following(self, topic: str, partitions: Iterable[int]) -> Consumer:
        """A consumer outside of any group, from the beginning on."""
        consumer = Consumer({**self._consuming(f"{topic}-replay"), "enable.partition.eof": True}, logger=logger)
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in partitions])
        return consumer

    def _look_for_erasures(self) -> None:
        """Take note of what was erased since the last look, by any process."""
        with self._lock:
            while message := self._eraser.poll(0 if self._caught_up else TIMEOUT):
                if ended(message):
                    self._caught_up = True
                    break
                told = json.loads(message.value() or b"{}")
                self._erased[told["topic"]].update((part, offset) for part, offset in told["places"])

    def _consuming(self, group_id: str) -> dict[str, Any]:
        return {
            **self._config,
            "group.id": group_id,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",
        }

    def _group_id(self, group: str) -> str:
        return f"{self._topic}-{group}"


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[EventLog]:
    """The topic that ``log.url`` names; it is made where it is missing.

    SettingsError for an address that cannot be understood, LogError where no broker answers.
    """
    config, topic, partitions, replication = _address(settings.log.url or "")
    try:
        log = await asyncio.to_thread(KafkaLog, config, topic, partitions, replication, settings.log.claim_seconds)
    except KafkaException as error:
        if error.args[0].code() == KafkaError._INVALID_ARG:  # noqa: SLF001  the client's own errors have such names
            raise SettingsError(
                f"log.url names properties that librdkafka does not know: {error.args[0].str()}"
            ) from None
        raise failed(error) from error
    try:
        yield log
    finally:
        await asyncio.to_thread(log.close)


def _address(url: str) -> tuple[dict[str, str], str, int, int]:
    """What clients have in common, the topic, and with how many partitions and replicas it is made."""
    parts = urlsplit(url)
    topic = parts.path.strip("/")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    numbers = [options.pop("partitions", str(PARTITIONS)), options.pop("replication", "-1")]
    try:
        partitions, replication = map(int, numbers)
    except ValueError:
        partitions = replication = 0
    if not parts.netloc or "@" in parts.netloc or not topic or "/" in topic or partitions < 1 or not replication:
        raise SettingsError(
            "log.url: kafka://host:port[,host:port]/topic is wanted, with ?partitions=12&replication=3 and properties"
            " of librdkafka behind it, such as sasl.username"
        )
    return {"bootstrap.servers": parts.netloc, "client.id": "recsys", **options}, topic, partitions, replication


def _key(record: Record) -> bytes:
    """What names the partition: the user, or the item that is described."""
    name = record.item if isinstance(record, Described) else record.user
    return name.encode("utf-8", "surrogatepass")

"""One reader of a group of Kafka: what it was given, and how far its partitions may be committed.

Kafka knows of each partition one number, below which everything is done. What was given and not acknowledged is
therefore remembered here, and given again after ``claim_seconds``; a reader that holds something and does not ask for
so long leaves the group, and another is given its partitions from what was committed on.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from recsys.errors import LogError
from recsys.logs import Entry, entry_of

# Messages that wait here to be given, at most; how many are taken at once, and how long is waited for the first.
HELD = 5000
FETCH = 1000
WAIT = 0.02
# Seconds that a commit may take; and that partitions may wait to be handed over for what was given to be acknowledged.
TIMEOUT = 10.0
HANDOVER = 5.0
# Errors of a commit after which the partitions are, or will be, another reader's.
GONE = {
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError.REBALANCE_IN_PROGRESS,
    KafkaError._ASSIGNMENT_LOST,  # noqa: SLF001  the client's own errors have such names
    KafkaError._NO_OFFSET,  # noqa: SLF001
}

logger = logging.getLogger(__name__)
Place = tuple[int, int]
"""Partition and offset."""


@dataclass(frozen=True, slots=True)
class _Given:
    entry: Entry
    time: float


class GroupReader:
    """A consumer of ``topic`` and the thread that keeps it in its group.

    ``config``: librdkafka's. ``erased``: whether the record at a place was taken out.
    """

    def __init__(
        self, config: Mapping[str, Any], topic: str, claim_seconds: float, erased: Callable[[Place], bool]
    ) -> None:
        self._topic, self._claim_seconds, self._erased = topic, claim_seconds, erased
        self._consumer = Consumer(dict(config), logger=logger)
        self._lock = threading.Lock()
        self._held: deque[Message] = deque()
        self._given: dict[Place, _Given] = {}
        self._next: dict[int, int] = {}
        self._failure: KafkaError | None = None
        self._asked = time.monotonic()
        # a consumer is asked by its thread alone: a commit from another one may wait for ever for that one's poll
        self._commits: SimpleQueue[tuple[list[TopicPartition], Future[None]]] = SimpleQueue()
        self._wanted, self._closing = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._keep, name=f"recsys-kafka-{topic}", daemon=True)
        self._thread.start()

    def take(self, most: int) -> list[Entry]:
        """What was given too long ago, then what is new, as far as it has come. LogError if the consumer failed."""
        self._asked = now = time.monotonic()
        self._wanted.set()
        passed = False
        with self._lock:
            if self._failure is not None:
                failure, self._failure = self._failure, None
                raise LogError(f"Kafka gives nothing of {self._topic}: {failure.str()}")
            for place in [place for place in self._given if self._erased(place)]:
                del self._given[place]
                passed = True
            stale = [place for place, given in self._given.items() if now - given.time >= self._claim_seconds][:most]
            found = []
            for place in stale:
                entry = self._given[place].entry
                found.append(self._give(place, replace(entry, deliveries=entry.deliveries + 1), now))
            while self._held and len(found) < most:
                message = self._held.popleft()
                place = place_in(message)
                self._next[place[0]] = place[1] + 1
                if self._erased(place):
                    passed = True
                else:
                    found.append(self._give(place, entry_of(position_of(place), message.value() or b""), now))
        if passed:
            self._commit(set(self._next))
        return found

    def acknowledge(self, places: Sequence[Place]) -> None:
        """Strike what was given, and commit how far its partitions are done. LogError if that cannot be kept."""
        self._asked = time.monotonic()
        with self._lock:
            struck = {place[0] for place in places if self._given.pop(place, None) is not None}
        self._commit(struck)

    def waiting(self) -> tuple[int, float, dict[int, int]]:
        """How many were given and not acknowledged, seconds since the first of them was, and what comes next."""
        with self._lock:
            times = [given.time for given in self._given.values()]
            return len(times), time.monotonic() - min(times) if times else 0.0, dict(self._next)

    def close(self) -> None:
        """Leave the group; what was given and not acknowledged is given to others."""
        self._closing.set()
        self._wanted.set()
        self._thread.join()

    def _give(self, place: Place, entry: Entry, now: float) -> Entry:
        # last in the order of the dictionary, which is that of giving
        self._given.pop(place, None)
        self._given[place] = _Given(entry, now)
        return entry

    def _commit(self, partitions: set[int]) -> None:
        with self._lock:
            done = [
                TopicPartition(self._topic, partition, self._done(partition))
                for partition in sorted(partitions & self._next.keys())
            ]
        if not done:
            return
        answer: Future[None] = Future()
        self._commits.put((done, answer))
        try:
            answer.result(TIMEOUT)
        except TimeoutError:
            raise LogError(
                f"Kafka did not take a commit of {self._topic} within {TIMEOUT:g} s: see its brokers"
            ) from None
        except KafkaException as error:
            if error.args[0].code() not in GONE:
                raise
            logger.info("partitions of %s went to another reader before they were committed", self._topic)

    def _done(self, partition: int) -> int:
        """Below it everything of the partition is acknowledged."""
        return min((offset for part, offset in self._given if part == partition), default=self._next[partition])

    # In the thread

    def _keep(self) -> None:
        subscribed = paused = False
        while not self._closing.is_set():
            self._commit_all()
            if not subscribed:
                self._wanted.wait(WAIT)
                if not self._wanted.is_set():
                    continue
                if self._closing.is_set():
                    break
                self._asked = time.monotonic()
                self._consumer.subscribe([self._topic], on_assign=self._assigned, on_revoke=self._revoked,
                                         on_lost=self._lost)  # fmt: skip
                subscribed, paused = True, False
            elif self._abandoned():
                logger.warning("a reader of %s holds records and has not asked for more: others get them", self._topic)
                self._wanted.clear()
                self._consumer.unsubscribe()
                self._forget(None)
                subscribed = False
            elif paused != (len(self._held) > (HELD // 2 if paused else HELD)):
                paused = not paused
                (self._consumer.pause if paused else self._consumer.resume)(self._consumer.assignment())
            else:
                self._fetch()
        self._commit_all()
        self._consumer.close()

    def _commit_all(self) -> None:
        """Do the commits that are asked for."""
        while not self._commits.empty():
            done, answer = self._commits.get()
            try:
                self._consumer.commit(offsets=done, asynchronous=False)
            except KafkaException as error:
                answer.set_exception(error)
            else:
                answer.set_result(None)

    def _abandoned(self) -> bool:
        with self._lock:
            holds = bool(self._given or self._held)
        return holds and time.monotonic() - self._asked > self._claim_seconds

    def _fetch(self) -> None:
        """Wait for a message, and take those that are there with it; groups are kept up with meanwhile."""
        first = self._consumer.poll(WAIT)
        if first is None:
            return
        # kept at once: partitions may be taken away while others are asked for, and its messages with them
        self._hold(first)
        for message in self._consumer.consume(FETCH, 0):
            self._hold(message)

    def _hold(self, message: Message) -> None:
        error = message.error()
        with self._lock:
            if error is None:
                self._held.append(message)
            elif not error.retriable():
                self._failure = error

    def _assigned(self, _: Consumer, partitions: Sequence[TopicPartition]) -> None:
        logger.debug("given partitions %s of %s", [part.partition for part in partitions], self._topic)

    def _revoked(self, _: Consumer, partitions: Sequence[TopicPartition]) -> None:
        """Hand partitions over; first wait a little for the acknowledgement of what was given, or it is given twice."""
        gone = {part.partition for part in partitions}
        with self._lock:
            self._held = deque(one for one in self._held if one.partition() not in gone)
        until = time.monotonic() + min(self._claim_seconds, HANDOVER)
        while time.monotonic() < until and not self._closing.is_set() and self._holds(gone):
            self._commit_all()
            time.sleep(WAIT / 10)
        self._commit_all()
        self._forget(gone)

    def _lost(self, _: Consumer, partitions: Sequence[TopicPartition]) -> None:
        self._forget({part.partition for part in partitions})

    def _holds(self, partitions: set[int]) -> bool:
        with self._lock:
            return any(place[0] in partitions for place in self._given)

    def _forget(self, partitions: set[int] | None) -> None:
        """What was fetched and given of these partitions, of all without any, is not this reader's any more."""
        with self._lock:
            gone = set(self._next) if partitions is None else partitions
            self._held = deque(one for one in self._held if partitions is not None and one.partition() not in gone)
            self._given = {place: given for place, given in self._given.items() if place[0] not in gone}
            self._next = {partition: next_ for partition, next_ in self._next.items() if partition not in gone}


def position_of(place: Place) -> str:
    """The position of a place.

    >>> position_of((3, 15))
    '3:15'
    """
    return f"{place[0]}:{place[1]}"


def place_in(message: Message) -> Place:
    """Where a message stands."""
    return int(message.partition() or 0), int(message.offset() or 0)


def place_of(position: str) -> Place:
    """The place of a position."""
    partition, _, offset = position.partition(":")
    return int(partition), int(offset)

"""Sending to Kafka, and what may go wrong there."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from recsys.errors import LogError, LogFull
from recsys.logs.kafka_reader import place_in, position_of

# Seconds that a broker may take to answer, and to take a record with all its retries.
TIMEOUT = 10.0

logger = logging.getLogger(__name__)


class Sender:
    """A producer that writes each message once and in order, and the thread in which its reports come.

    ``config``: librdkafka's.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._producer = Producer(
            {
                "linger.ms": 1,
                "delivery.timeout.ms": round(1000 * TIMEOUT),
                **config,
                "acks": "all",
                "enable.idempotence": True,
                # the partitioner of Kafka's own clients, so that others who write of a user write to the same one
                "partitioner": "murmur2_random",
            },
            logger=logger,
        )
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="recsys-kafka-reports", daemon=True)
        self._thread.start()

    async def send(self, topic: str, messages: Sequence[tuple[bytes, bytes]]) -> list[str]:
        """Send keys and values, and wait until all in-sync replicas have them; their positions.

        LogFull if they are more than wait for a broker at a time, LogError if one of them was not taken.
        """
        delivery = _Delivery(len(messages))
        for at, (key, value) in enumerate(messages):
            try:
                self._producer.produce(topic, value, key or None, on_delivery=partial(delivery.report, at))
            except BufferError:
                # those before it are on their way all the same
                raise LogFull(
                    f"{at} of {len(messages)} records fit in the queue to Kafka: send fewer at once, or see its brokers"
                ) from None
            except KafkaException as error:
                raise failed(error) from error
        await delivery.done
        if delivery.errors:
            raise LogError(
                f"Kafka did not take {len(delivery.errors)} of {len(messages)} records ({delivery.errors[0].str()}):"
                " see its brokers, and send them again"
            )
        return delivery.positions

    def close(self) -> None:
        """Wait for what is on its way."""
        self._producer.flush(TIMEOUT)
        self._closing.set()
        self._thread.join()

    def _listen(self) -> None:
        while not self._closing.is_set():
            self._producer.poll(0.1)


class _Delivery:
    """Waits for the reports on a batch of records, which come in another thread."""

    def __init__(self, count: int) -> None:
        self._loop = asyncio.get_running_loop()
        self.done: asyncio.Future[None] = self._loop.create_future()
        self.positions = [""] * count
        self.errors: list[KafkaError] = []
        self._left = count

    def report(self, at: int, error: KafkaError | None, message: Message | None) -> None:
        """One record was delivered or given up. All reports come in one thread."""
        if error is not None or message is None:
            self.errors += [error] if error is not None else []
        else:
            self.positions[at] = position_of(place_in(message))
        self._left -= 1
        if not self._left:
            self._loop.call_soon_threadsafe(self._finish)

    def _finish(self) -> None:
        if not self.done.done():
            self.done.set_result(None)


def ended(message: Message) -> bool:
    """Whether it says that a partition has no more; LogError for any other error."""
    error = message.error()
    if error is not None and error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001  that is its name
        raise LogError(f"Kafka gives nothing of {message.topic()}: {error.str()}")
    return error is not None


def failed(error: KafkaException) -> LogError:
    """What to raise in place of what Kafka's client did."""
    return LogError(f"Kafka refused or did not answer ({error.args[0].str()}): see its brokers, or correct log.url")

"""What requests write to the log: together, so that a thousand that come at once cost one round trip."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence

from api.metrics import METRICS
from recsys.errors import LogError
from recsys.logs import EventLog
from recsys.logs.records import Record, Shown

log = logging.getLogger(__name__)

TOGETHER = 2_000
"""Records of several requests that are appended at once; one request's are never parted."""
WAITING = 10_000
"""Impressions that wait to be written."""


class Writer:
    """Appends to ``log`` what several requests bring while it is busy with what came before: a group commit.

    Laws: what :meth:`append` returned for is in the log; records of one request stay in their order, and those of
    several in the order in which they were brought.
    """

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._waiting: deque[tuple[Sequence[Record], asyncio.Future[None]]] = deque()
        self._writing: asyncio.Task[None] | None = None

    async def append(self, records: Sequence[Record]) -> None:
        """Return once the records are in the log. LogError or LogFull as the log raised it."""
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((records, done))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())
        await done

    async def _write(self) -> None:
        while self._waiting:
            group: list[asyncio.Future[None]] = []
            records: list[Record] = []
            while self._waiting and (not group or len(records) + len(self._waiting[0][0]) <= TOGETHER):
                some, done = self._waiting.popleft()
                group.append(done)
                records += some
            failure: BaseException | None = None
            try:
                await self._log.append(records)
            except BaseException as error:
                failure = error
            for done in group:
                if done.done():
                    continue  # whoever waited is gone
                if failure is None:
                    done.set_result(None)
                else:
                    done.set_exception(failure)
        self._writing = None


class Impressions:
    """Remembers what answers showed until it is written, so that no answer waits for the log.

    ``share``: of answers, drawn by the id of the request, so that every part of the system draws the same.
    Of what comes while :data:`WAITING` wait already, nothing is kept but the count.
    """

    def __init__(self, writer: Writer, share: float) -> None:
        self._writer, self._share = writer, share
        self._waiting: deque[Shown] = deque()

    def wants(self, request: str) -> bool:
        """Whether the answer with this id, in hexadecimal digits, is one of those that are logged.

        >>> half = Impressions(None, 0.5)
        >>> half.wants("7fffffff"), half.wants("80000000")
        (True, False)
        """
        return int(request, 16) / 16.0 ** len(request) < self._share

    def add(self, shown: Shown) -> None:
        """Remember one answer."""
        if len(self._waiting) >= WAITING:
            METRICS.impressions.labels("dropped").inc()
            return
        self._waiting.append(shown)

    async def flush(self) -> None:
        """Write what waits. LogError if that cannot be; it goes on waiting then."""
        while self._waiting:
            some = [self._waiting[at] for at in range(min(len(self._waiting), TOGETHER))]
            await self._writer.append(some)
            for _ in some:
                self._waiting.popleft()
            METRICS.impressions.labels("written").inc(len(some))

    async def close(self, seconds: float) -> None:
        """Write what waits, or give it up after so long."""
        try:
            async with asyncio.timeout(seconds):
                await self.flush()
        except (LogError, TimeoutError) as error:
            METRICS.impressions.labels("dropped").inc(len(self._waiting))
            log.warning("%d impressions are lost: %r", len(self._waiting), error)

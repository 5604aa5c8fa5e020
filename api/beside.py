"""The speed layer and the archiver of ``recsys serve``, in a process of their own beside the workers that answer.

In a worker they would hold the interpreter while requests wait for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from multiprocessing.process import BaseProcess, parent_process

from recsys.settings import Settings

log = logging.getLogger(__name__)

CLOSE_SECONDS = 5.0
"""How long it may take to finish the batch at hand; what it does not, the next one does."""
REST_SECONDS = 1.0
"""Before one that has ended by itself is replaced."""
BEHIND = 5
"""How much is taken off its priority: who waits for a list comes first."""
SWITCH_SECONDS = 0.0005
"""How long a thread keeps the interpreter while another waits for it; Python's own is ten times that."""


@contextlib.contextmanager
def applying(settings: Settings) -> Iterator[None]:
    """While this lasts events are applied and archived by a process, and by another one when that ends.

    It does not outlive this process, however that ends.
    """
    stop = threading.Event()
    keeper = threading.Thread(target=_keep, args=(settings, stop), name="keeper of the speed layer")
    keeper.start()
    try:
        yield
    finally:
        stop.set()
        keeper.join()


def _keep(settings: Settings, stop: threading.Event) -> None:
    while not stop.is_set():
        process = multiprocessing.get_context("spawn").Process(target=_apply, args=(settings,), daemon=True)
        process.start()
        while process.is_alive() and not stop.wait(0.1):
            pass
        if stop.is_set():
            _end(process)
            return
        log.error("the speed layer ended with status %s and is started again in %g s", process.exitcode, REST_SECONDS)
        stop.wait(REST_SECONDS)


def _end(process: BaseProcess) -> None:
    process.terminate()
    process.join(CLOSE_SECONDS)
    if process.is_alive():
        process.kill()
        process.join()


def _apply(settings: Settings) -> None:
    """What the process does, until SIGTERM or until nobody is there who would send it."""
    # Ctrl-C in a terminal is for the server, which ends this one after those whose impressions it is to apply.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Registers collectors on import, which must find PROMETHEUS_MULTIPROC_DIR set.
    from api.metrics import measure  # noqa: PLC0415
    from api.stream import applied  # noqa: PLC0415

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    os.nice(BEHIND)
    # What the archiver does in a thread must not hold up what is applied.
    sys.setswitchinterval(SWITCH_SECONDS)

    async def run() -> None:
        stop, loop, parent = asyncio.Event(), asyncio.get_running_loop(), parent_process()
        loop.add_signal_handler(signal.SIGTERM, stop.set)
        if parent is not None:

            def orphaned(sentinel: int) -> None:
                # It stays readable for ever.
                loop.remove_reader(sentinel)
                stop.set()

            loop.add_reader(parent.sentinel, orphaned, parent.sentinel)
        await applied(settings, stop, archiving=True, told=measure)

    asyncio.run(run())

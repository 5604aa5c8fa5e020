"""Parts over the cores of this machine, each process with one thread of BLAS."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait

from threadpoolctl import threadpool_limits

from recsys.errors import PlaylistError
from recsys.playlists.working import Opening, work

THREADS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class Processes:
    """So many processes, one a core with 0. Ctrl-C lets those that are at a part end it, and begins no other.

    A part that is alone is done in this process, since another takes longer to start.
    """

    count: int = 0

    def __call__(self, opening: Opening, job: str, parts: Sequence[int], done: Callable[[int], None]) -> None:
        """PlaylistError if a process was ended from outside."""
        if len(parts) == 1:
            with threadpool_limits(1):
                Here()(opening, job, parts, done)
            return
        count = min(self.count or len(os.sched_getaffinity(0)), len(parts))
        with _one_thread():
            pool = ProcessPoolExecutor(count, get_context("spawn"), _quietly)
            try:
                jobs = [pool.submit(work, opening, job, part) for part in parts]
                for finished in as_completed(jobs):
                    done(finished.result())
            except BrokenProcessPool as error:
                raise PlaylistError(
                    "a process that made lists was ended from outside, perhaps for want of memory: the same command "
                    "goes on where it stopped; fewer `playlists.processes` need less"
                ) from error
            finally:
                pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Children read these when they start: many processes with many threads each get in each other's way."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _quietly() -> None:
    """Leave Ctrl-C to the parent, and end with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    wait([sentinel])
    # Nothing is torn: files are renamed into place when they are whole.
    sys.stderr.flush()
    os._exit(1)


@dataclass(frozen=True, slots=True)
class Here:
    """In this process, one part after the other."""

    def __call__(self, opening: Opening, job: str, parts: Sequence[int], done: Callable[[int], None]) -> None:
        """As :class:`Processes`, to the byte where BLAS adds up alike."""
        for part in parts:
            done(work(opening, job, part))

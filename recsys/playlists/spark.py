"""Parts over a Spark cluster: what a process does here, an executor does there, to the byte.

Users' states are read on this machine, where the store is, and lie as Parquet in the run's folder; every executor sees
that folder, and those of the releases and editions, under the same paths (a network file system). A part is a
partition; the executor's Python opens the release once and writes the part where it belongs.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from recsys.errors import PlaylistError
from recsys.playlists.plan import EDITION, arrow, part_name
from recsys.playlists.processes import THREADS, Processes
from recsys.playlists.working import Opening, work

LOOK_SECONDS = 0.5
"""How often it is looked which parts lie there."""


@dataclass(frozen=True, slots=True)
class Spark:
    """The cluster at ``master``, such as ``spark://host:7077``; ``processes`` read states on this machine."""

    master: str
    processes: int = 0

    def __call__(self, opening: Opening, job: str, parts: Sequence[int], done: Callable[[int], None]) -> None:
        """PlaylistError with what the cluster said if it could not do a part."""
        if job == "states":
            Processes(self.processes)(opening, job, parts, done)
            return
        # Imported here, as the extra it is.
        from pyspark.errors import PySparkException  # noqa: PLC0415

        session = self._session()
        try:
            wanted = list(parts)

            def made(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
                for batch in batches:
                    places: list[Any] = batch.column(0).to_pylist()
                    for place in places:
                        part = work(opening, job, wanted[place])
                        yield pa.RecordBatch.from_arrays([arrow(np.array([part], np.int32))], ["part"])

            frame = session.range(0, len(wanted), 1, len(wanted)).mapInArrow(made, "part int")
            with ThreadPoolExecutor(1) as pool:
                _followed(pool.submit(frame.collect), opening, set(wanted), done)
        except PySparkException as error:
            raise PlaylistError(
                f"{self.master} could not make a part: {str(error).splitlines()[-1][:300]}; the same command goes on "
                "where it stopped, with or without a cluster"
            ) from error
        finally:
            session.stop()

    def _session(self) -> Any:
        from pyspark.sql import SparkSession  # noqa: PLC0415

        # What executors run, if nobody says: the same path as here.
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
        builder = (
            SparkSession.builder.master(self.master).appName("recsys playlists").config("spark.ui.enabled", "false")
        )
        for name in THREADS:
            builder = builder.config(f"spark.executorEnv.{name}", "1")
        try:
            return builder.getOrCreate()
        except Exception as error:
            raise PlaylistError(
                f"{self.master or 'no address'} is no Spark cluster that answers ({str(error).splitlines()[0][:200]}): "
                "give --master spark://host:7077, and see that Java 17 is installed"
            ) from error


def _followed(job: Future[Any], opening: Opening, waiting: set[int], done: Callable[[int], None]) -> None:
    """Tell of parts as they appear in the folder, until the job is over."""
    over = threading.Event()
    job.add_done_callback(lambda _: over.set())
    while waiting:
        finished = over.wait(LOOK_SECONDS)
        for part in sorted(waiting):
            if (opening.making / EDITION / part_name(part)).exists():
                waiting.discard(part)
                done(part)
        if finished:
            break
    job.result()

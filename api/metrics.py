"""What the service counts, for Prometheus."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MILLISECONDS = (0.5, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 500, 1000, 2500)


@dataclass(frozen=True, slots=True)
class Metrics:
    """The counters of one process; with several workers Prometheus' files add them up."""

    requests: Counter
    latency: Histogram
    stages: Histogram
    levels: Counter
    degraded: Counter
    shed: Counter
    items: Counter
    events: Counter
    refused_events: Counter
    unknown_items: Counter
    impressions: Counter
    erased: Counter
    loaded_releases: Counter
    refused_releases: Counter
    release_created: Gauge


# The one object at module level: the client library registers collectors once a process.
METRICS = Metrics(
    requests=Counter("recsys_requests", "Requests answered", ["route", "status"]),
    latency=Histogram(
        "recsys_request_seconds", "Time to answer", ["route"], buckets=[ms / 1000 for ms in MILLISECONDS]
    ),
    stages=Histogram(
        "recsys_stage_seconds",
        "Time of each stage of an answer",
        ["surface", "stage"],
        buckets=[ms / 1000 for ms in (0.05, 0.1, 0.2, 0.3, 0.5, *MILLISECONDS[1:10])],
    ),
    levels=Counter("recsys_answers", "Lists answered, by level", ["surface", "level"]),
    degraded=Counter("recsys_degraded", "Answers made without a part that failed", ["part"]),
    shed=Counter("recsys_shed", "Requests answered with 503 because too many were waiting"),
    items=Counter("recsys_items", "Items put, by what places them, and items deleted", ["placed"]),
    events=Counter("recsys_events", "Events accepted, by kind", ["kind"]),
    refused_events=Counter("recsys_events_refused", "Events refused, by the field that was wrong", ["field"]),
    unknown_items=Counter("recsys_events_unknown_items", "Events accepted of items that the release does not know"),
    impressions=Counter("recsys_impressions", "Answers whose showing was written to the log or dropped", ["fate"]),
    erased=Counter("recsys_users_erased", "Users erased"),
    loaded_releases=Counter("recsys_releases_loaded", "Releases put into service"),
    refused_releases=Counter("recsys_releases_refused", "Releases that the pointer named but that could not be loaded"),
    release_created=Gauge(
        "recsys_release_created_seconds",
        "When the release that answers was made, unix seconds",
        multiprocess_mode="mostrecent",
    ),
)

_STREAM = {
    "length": "Records that the log holds",
    "lag": "Records that the speed layer was not given yet",
    "pending": "Records that it was given and has not acknowledged",
    "dead": "Records that were put aside",
    "oldest_pending": "Seconds since the record was given that waits longest for its acknowledgement",
    "records": "Records that this process applied",
    "events": "Events that were new, of this process",
    "repeated": "Events that had been applied before, of this process",
    "unknown": "Events of items that the release does not know, of this process",
    "buried": "Records that this process put aside",
}
STREAM: Mapping[str, Gauge] = {
    name: Gauge(f"recsys_stream_{name}", said, multiprocess_mode="mostrecent") for name, said in _STREAM.items()
}
"""How the speed layer does: the log and its readers, then the process that applies."""


def measure(stream: Mapping[str, float]) -> None:
    """Set what is measured of the speed layer."""
    for name, value in stream.items():
        STREAM[name].set(value)


def exposition() -> tuple[bytes, str]:
    """The text that Prometheus reads, over all workers, and its media type."""
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry), CONTENT_TYPE_LATEST
    return generate_latest(), CONTENT_TYPE_LATEST


class Measured:
    """ASGI middleware: counts and times each request under its route, never under its path."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and watch its answer go."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.perf_counter()
        status, took = 500, None

        async def watching(message: Message) -> None:
            nonlocal status, took
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)
            took = time.perf_counter() - start

        try:
            await self._app(scope, receive, watching)
        finally:
            # What is done behind the answer is nobody's wait.
            answered(getattr(scope.get("route"), "path", "other"), status, took or time.perf_counter() - start)


def answered(route: str, status: int, seconds: float) -> None:
    """Count a request of a route that was answered after so many seconds."""
    _requests(route, status).inc()
    _latency(route).observe(seconds)


# Looking a counter up by its labels takes as long as counting.
@lru_cache(maxsize=1024)
def _requests(route: str, status: int) -> Counter:
    return METRICS.requests.labels(route, str(status))


@lru_cache(maxsize=256)
def _latency(route: str) -> Histogram:
    return METRICS.latency.labels(route)

"""``recsys serve``: the embedded store if there is to be one, and workers that answer."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from types import FrameType

import uvicorn
from fastapi import FastAPI
from threadpoolctl import threadpool_limits
from uvicorn.supervisors import Multiprocess

import index
from api.beside import SWITCH_SECONDS, applying
from api.wire import Whole
from index.growing import Growing
from recsys.errors import SettingsError
from recsys.logs import open_log
from recsys.releases import ReleaseStore
from recsys.sections import State
from recsys.settings import Settings
from recsys.stores import open_store
from recsys.stores.embedded import EmbeddedServer


def worker_app(settings: Settings) -> FastAPI:
    """The application of one worker process, made inside it."""
    # Registers collectors on import, which must find PROMETHEUS_MULTIPROC_DIR set.
    from api.app import create_app  # noqa: PLC0415
    from api.live import Live  # noqa: PLC0415

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # One request uses one core; parallel requests are what the others are for. What comes with the first release is not
    # there yet to be limited, and reads the environment.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    threadpool_limits(1)
    # What is loaded beside requests holds the interpreter: a request that waits for it at each of its answers from
    # Redis must not wait 5 ms each time.
    sys.setswitchinterval(SWITCH_SECONDS)
    return create_app(
        Live(ReleaseStore(settings.releases.folder), index.load, Growing.of),
        settings,
        partial(open_store, settings.state),
        partial(open_log, settings),
    )


def serve(settings: Settings, *, announce: Callable[[str], None]) -> None:
    """Answer until SIGINT or SIGTERM. ``announce`` is told the address once the socket is bound.

    SettingsError if the address cannot be bound; StoreError if the embedded store does not start.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(_orderly())
        bound = stack.enter_context(_bound(settings.serve.host, settings.serve.port))
        # One key for all workers.
        answers = settings.serve.model_copy(update={"cursor_key": settings.serve.cursor_key or secrets.token_hex(32)})
        # Who keeps the states has one more thing to keep up; where others do, they have processes for that.
        inside = settings.state.url is None if settings.stream.inside is None else settings.stream.inside
        state = stack.enter_context(_state(settings.state))
        settings = settings.model_copy(update={"state": state, "serve": answers})
        stack.enter_context(_shared_metrics())
        if inside:
            if state.url is not None and state.url.startswith("memory:"):
                raise SettingsError("stream.inside: states in memory are one process's own: give another state.url")
            stack.enter_context(applying(settings))
        config = uvicorn.Config(
            partial(worker_app, settings),
            factory=True,
            workers=settings.serve.workers,
            log_level="warning",
            access_log=False,
            server_header=False,
            http=Whole,
            timeout_graceful_shutdown=5,
        )
        host, port = bound.getsockname()[:2]
        announce(f"http://{f'[{host}]' if ':' in host else host}:{port}")
        if settings.serve.workers == 1:
            uvicorn.Server(config).run(sockets=[bound])
        else:
            Multiprocess(config, sockets=[bound]).run()


@contextlib.contextmanager
def _orderly() -> Iterator[None]:
    """SIGTERM leaves this as an exception does: what was started is ended, and what was made for it removed."""

    def leave(_number: int, _frame: FrameType | None) -> None:
        raise SystemExit(0)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _bound(host: str, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind((host, port))
        except OSError as error:
            raise SettingsError(
                f"{host}:{port} cannot be listened on ({error.strerror}): choose another with --port, 0 for any"
            ) from error
        bound.set_inheritable(True)
        yield bound


@contextlib.contextmanager
def _state(state: State) -> Iterator[State]:
    """Where the workers find the user states: the URL that was configured, or an embedded server of ours."""
    if state.url is not None:
        yield state
        return
    with EmbeddedServer(state) as server:
        yield server.state


@contextlib.contextmanager
def _shared_metrics() -> Iterator[None]:
    """A folder in which the workers' counters meet."""
    folder = tempfile.mkdtemp(prefix="recsys-metrics-")
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
    try:
        yield
    finally:
        del os.environ["PROMETHEUS_MULTIPROC_DIR"]
        shutil.rmtree(folder, ignore_errors=True)

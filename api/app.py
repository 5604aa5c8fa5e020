"""The application, from the parts it is given."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Response
from fastapi.staticfiles import StaticFiles

from api import changes, events, page, playlists, problems, recommend, routes
from api.direct import Ahead
from api.live import Live
from api.metrics import Measured
from api.wire import AHEAD
from api.writing import Impressions, Writer
from recsys import __version__
from recsys.activity import Limits
from recsys.barred import Barred
from recsys.erasure import Eraser
from recsys.errors import LogError, StoreError
from recsys.logs import EventLog
from recsys.logs.archive import Archive
from recsys.playlists.delivery import opened_shelf
from recsys.playlists.editions import EditionStore
from recsys.playlists.reading import Reader
from recsys.releases import ReleaseStore
from recsys.sections import USUAL_KINDS
from recsys.settings import Settings
from recsys.speed import Applier
from recsys.states import limits_of, refresh
from recsys.stores import Store
from recsys.trends import Trends

log = logging.getLogger(__name__)

WEB = Path(__file__).parent / "web"
FLUSH_SECONDS = 0.1
"""How long an impression waits for others, to be written with them."""
CLOSE_SECONDS = 2.0
"""How long a worker that is to end tries to write the impressions that wait."""
TRENDS_SECONDS = 2.0
"""How often a worker looks at what is taken."""


def create_app(
    live: Live,
    settings: Settings,
    open_store: Callable[[], AbstractAsyncContextManager[Store]],
    open_log: Callable[[], AbstractAsyncContextManager[EventLog]],
) -> FastAPI:
    """The service over ``live`` engines, the store that ``open_store`` opens and the log that ``open_log`` does."""
    serve, waiting = settings.serve, problems.Waiting(settings.serve.max_waiting)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[Mapping[str, Any]]:
        async with open_store() as store, open_log() as events_log, opened_shelf(settings.state) as shelf:
            writer = Writer(events_log)
            impressions = Impressions(writer, settings.log.impressions)
            app.state.store, app.state.writer, app.state.impressions = store, writer, impressions
            app.state.applier = Applier(store, lambda: live.current, settings)
            app.state.eraser = Eraser(
                events_log,
                store,
                Archive(settings.log.archive),
                ReleaseStore(settings.releases.folder),
                barred,
                shelf,
            )
            limits = limits_of(settings)
            app.state.playlists = Reader(EditionStore(settings.playlists.folder), shelf, barred)
            await live.follow()
            await _catch_up(live, store)
            # Several tasks, so that a store that hangs does not keep a new release waiting, nor filling it an item.
            looks = (live.follow, lambda: _ensure_states(live, store, limits), lambda: _catch_up(live, store))
            tasks = [asyncio.create_task(_every(serve.watch_seconds, look)) for look in looks]
            tasks.append(asyncio.create_task(_every(FLUSH_SECONDS, lambda: _flush(impressions))))
            trends = Trends(settings.stream.half_life_days)
            tasks.append(asyncio.create_task(_every(TRENDS_SECONDS, lambda: _look_at_trends(live, store, trends))))
            yield {AHEAD: Ahead(app, recommend.router.routes, waiting)}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await impressions.close(CLOSE_SECONDS)

    app = FastAPI(
        title="recsys-engine",
        version=__version__,
        description="Recommendations from vectors: retrieve, rank, answer. Errors are RFC 9457 problem documents.",
        lifespan=lifespan,
    )
    app.state.live = live
    app.state.cursor_key = serve.cursor_key.encode() or secrets.token_bytes(32)
    app.state.debug_key = serve.debug_key.encode()
    barred = Barred(settings.log.erased)
    app.state.rules = events.Rules(settings.log, {**USUAL_KINDS, **settings.data.kinds}, barred)
    # Routes are looked through in this order: what is asked for most comes first.
    app.include_router(recommend.router)
    app.include_router(events.router)
    app.include_router(routes.router)
    app.include_router(changes.router)
    app.include_router(playlists.router)
    if serve.page:
        app.include_router(page.router)
        app.include_router(playlists.page)
        app.mount("/", Fresh(directory=WEB, html=True))
    problems.install(app)
    app.add_middleware(problems.BodyLimit)
    app.add_middleware(problems.Shed, waiting=waiting)
    app.add_middleware(Measured)
    return app


class Fresh(StaticFiles):
    """Static files that a browser may keep but asks for every time: modules of two versions must not meet."""

    def file_response(self, *args: Any, **options: Any) -> Response:
        """The file, or 304."""
        response = super().file_response(*args, **options)
        response.headers["Cache-Control"] = "no-cache"
        return response


async def _every(seconds: float, act: Callable[[], Awaitable[object]]) -> None:
    """Act now and then until cancelled; what goes wrong once is tried again."""
    while True:
        try:
            await act()
        except Exception:
            log.exception("the next try is in %g s", seconds)
        await asyncio.sleep(seconds)


async def _ensure_states(live: Live, store: Store, limits: Limits) -> None:
    """See to it that users have vectors of the release that answers, also where nobody published it for this store."""
    engine = live.current
    if engine is None:
        return
    # While the store is down requests are answered from the release, and the next look may find it up again.
    with contextlib.suppress(StoreError):
        if not await store.sealed(engine.id):
            written = await refresh(store, engine, store.users(), limits)
            await store.seal(engine.id)
            log.warning("the state store knew nothing of release %s: %d users folded into it", engine.id, written)


async def _catch_up(live: Live, store: Store) -> None:
    """See to it that items are answered as they are described now; while the store is down, as they were."""
    with contextlib.suppress(StoreError):
        await live.catch_up(store)


async def _look_at_trends(live: Live, store: Store, trends: Trends) -> None:
    """See to it that what trends is what is taken; while the store is down, what was."""
    with contextlib.suppress(StoreError):
        await live.look_at_trends(store, trends, time.time())


async def _flush(impressions: Impressions) -> None:
    """Write the impressions that wait; while the log is down they wait on, and the oldest are kept."""
    with contextlib.suppress(LogError):
        await impressions.flush()

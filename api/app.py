"""The application, from the parts it is given."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Response
from fastapi.staticfiles import StaticFiles

from api import changes, page, problems, recommend, routes
from api.live import Live
from api.metrics import Measured
from recsys import __version__
from recsys.errors import StoreError
from recsys.stores import Store, UserStateStore
from recsys.users import write_states

log = logging.getLogger(__name__)

WEB = Path(__file__).parent / "web"


def create_app(
    live: Live,
    open_store: Callable[[], AbstractAsyncContextManager[Store]],
    *,
    watch_seconds: float = 0.5,
    with_page: bool = True,
    max_waiting: int = 200,
    cursor_key: str = "",
) -> FastAPI:
    """The service over ``live`` engines and the store that ``open_store`` opens.

    ``watch_seconds``: how often the release pointer and the changes of items are looked at. ``with_page``: serve the
    trial page, which shows users' histories. ``max_waiting``: requests at once beyond which more are refused.
    ``cursor_key``: what cursors are signed with, the same in all that answer; drawn if empty.
    """

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_store() as store:
            app.state.store = store
            await live.follow()
            await _catch_up(live, store)
            # Several tasks, so that a store that hangs does not keep a new release waiting, nor filling it an item.
            looks = (live.follow, lambda: _ensure_states(live, store), lambda: _catch_up(live, store))
            tasks = [asyncio.create_task(_every(watch_seconds, look)) for look in looks]
            yield
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    app = FastAPI(
        title="recsys-engine",
        version=__version__,
        description="Recommendations from vectors: retrieve, rank, answer. Errors are RFC 9457 problem documents.",
        lifespan=lifespan,
    )
    app.state.live = live
    app.state.cursor_key = cursor_key.encode() or secrets.token_bytes(32)
    app.include_router(recommend.router)
    app.include_router(routes.router)
    app.include_router(changes.router)
    if with_page:
        app.include_router(page.router)
        app.mount("/", Fresh(directory=WEB, html=True))
    problems.install(app)
    app.add_middleware(problems.BodyLimit)
    app.add_middleware(problems.Shed, most=max_waiting)
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


async def _ensure_states(live: Live, users: UserStateStore) -> None:
    """See to it that the store holds the states of the release that answers, also after it has come back empty."""
    engine = live.current
    if engine is None:
        return
    # While the store is down requests are answered from the release, and the next look may find it up again.
    with contextlib.suppress(StoreError):
        if not await users.sealed(engine.id):
            live.filled = None
            written = await write_states(users, engine.users, engine.id)
            log.warning("the state store knew nothing of release %s: %d states written", engine.id, written)
        live.filled = engine.id


async def _catch_up(live: Live, store: Store) -> None:
    """See to it that items are answered as they are described now; while the store is down, as they were."""
    with contextlib.suppress(StoreError):
        await live.catch_up(store)

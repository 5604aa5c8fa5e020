"""The application, from the parts it is given."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

from api import page, problems, routes
from api.live import Live
from api.metrics import Measured
from recsys import __version__
from recsys.errors import StoreError
from recsys.stores import UserStateStore
from recsys.users import write_states

log = logging.getLogger(__name__)

WEB = Path(__file__).parent / "web"


def create_app(
    live: Live,
    open_users: Callable[[], AbstractAsyncContextManager[UserStateStore]],
    *,
    watch_seconds: float = 0.5,
    with_page: bool = True,
) -> FastAPI:
    """The service over ``live`` engines and the store that ``open_users`` opens.

    ``watch_seconds``: how often the release pointer is looked at. ``with_page``: serve the trial page, which shows
    users' histories.
    """

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_users() as users:
            app.state.users = users
            await live.follow()
            async with asyncio.TaskGroup() as tasks:
                watching = [tasks.create_task(_follow(live, users, watch_seconds))]
                yield
                for task in watching:
                    task.cancel()

    app = FastAPI(
        title="recsys-engine",
        version=__version__,
        description="Recommendations from vectors: retrieve, rank, answer. Errors are RFC 9457 problem documents.",
        lifespan=lifespan,
    )
    app.state.live = live
    app.include_router(routes.router)
    if with_page:
        app.include_router(page.router)
        app.mount("/", StaticFiles(directory=WEB, html=True))
    problems.install(app)
    app.add_middleware(problems.BodyLimit)
    app.add_middleware(Measured)
    return app


async def _follow(live: Live, users: UserStateStore, seconds: float) -> None:
    """Follow the pointer, and see to it that the store holds the states of the release that answers."""
    while True:
        await _ensure_states(live, users)
        await asyncio.sleep(seconds)
        await live.follow()


async def _ensure_states(live: Live, users: UserStateStore) -> None:
    engine = live.current
    if engine is None:
        return
    # A store that is down, or that has just come back empty, is tried again at the next look.
    with contextlib.suppress(StoreError):
        if not await users.sealed(engine.id):
            written = await write_states(users, engine.users, engine.id)
            log.warning("the state store knew nothing of release %s: %d states written", engine.id, written)

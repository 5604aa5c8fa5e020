"""What the parts of an answer cost alone: what no engine that is made of them can be quicker than."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import redis.asyncio
from fastapi import FastAPI, Response
from pydantic_core import to_json
from threadpoolctl import threadpool_limits

import index
from benchmarks.loops import loops_ms
from index.remembering import Remembering
from recsys.arrays import Float32, Int32
from recsys.assembly import HOME, Engine, assemble
from recsys.candidates import Candidates
from recsys.features import features_of
from recsys.releases import ReleaseStore
from recsys.retrieval import SIMILAR_INDEX, SearchIndex
from recsys.sections import State
from recsys.settings import load_settings
from recsys.stores import open_store
from recsys.stores.embedded import EmbeddedServer
from recsys.tables import Table

ROUNDS = 500
SECONDS = 3.0
BY_LIBRARIES: Table[Callable[..., Callable[..., Any]]] = Table(
    "part",
    {"search": "benchmarks.by_libraries:search", "trees": "benchmarks.by_libraries:trees"},
    extra="train",
)
"""How libraries do a part: what the engine has for it → what is timed."""


@dataclass(frozen=True, slots=True)
class Floor:
    """Milliseconds of each part, ``own`` as the engine has it and as ``libraries`` do it.

    ``loops``: of an answer in each compiled loop that belongs to no part, see :func:`benchmarks.loops.loops_ms`.
    """

    own: dict[str, float]
    libraries: dict[str, float]
    loops: dict[str, float]


def floor_of(folder: Path, users: list[str]) -> Floor:
    """Medians, each on one core, of the parts as the engine has them and as libraries do.

    An empty route over HTTP, a round trip to the store, the searches of the home surface's indexes, the trees of its
    ranker over the features of its candidates, an answer's JSON. The libraries: Faiss searches the same cells, or the
    same vectors, and LightGBM walks the same trees; the others are libraries' anyway.
    """
    settings = load_settings(folder / "recsys.toml", {})
    engine = assemble(ReleaseStore(settings.releases.folder).current(), index.load)
    rows = engine.users.ids.rows(users)
    with threadpool_limits(1):
        route = {"empty_route": float(empty_route("closed", 1, SECONDS)["p50_ms"])}
        route["store_round_trip"] = asyncio.run(_round_trip(engine, rows[:ROUNDS]))
        pairs = {**_searches(engine, rows[:ROUNDS]), **_trees(engine, rows[:ROUNDS])}
        json_ = {"json": _json(engine)}
        loops = loops_ms(engine, rows[:ROUNDS])
    own, libraries = ({name: pair[place] for name, pair in pairs.items()} for place in (0, 1))
    return Floor({**route, **own, **json_}, {**route, **libraries, **json_}, loops)


def _searches(engine: Engine, rows: np.ndarray) -> dict[str, tuple[float, float]]:
    """Each index of the home surface, asked as deep as the surface asks it."""
    found = {}
    surface = engine.recommenders[HOME]
    depth = max(20, surface.fusion.pool if len(surface.sources) > 1 else 0)
    wanted = depth + int(np.median(np.diff(engine.users.history.indptr)))
    starts = engine.users.history.indptr[rows]
    for line in engine.surfaces[HOME].sources:
        options = line.model_extra or {}
        if line.name == "nearest" and "index" in options and engine.users.vectors is not None:
            index, asking = engine.indexes[options["index"]], engine.users.vectors[rows][:, None]
            library = BY_LIBRARIES["search"](index)
            own = _median(partial(index.search, k=wanted), asking)
            found[f"search_{line.called}"] = own, _median(partial(library, k=wanted), asking)
        elif line.name == "similar-to-recent" and engine.directions is not None:
            index, each = engine.indexes[SIMILAR_INDEX], int(options.get("each", 0)) or wanted
            last = int(options.get("last", 5))
            taken = np.array([engine.users.history.rows[start : start + last] for start in starts])
            library = BY_LIBRARIES["search"](index)
            own = _median(partial(_near, index, engine.directions, each), taken)
            found[f"search_{line.called}"] = own, _median(partial(library, k=each), engine.directions[taken])
    return found


def _near(index: SearchIndex, directions: Float32, k: int, rows: Int32) -> Candidates:
    """What is nearest to items, as the source finds it."""
    known = index.remembered(rows, k) if isinstance(index, Remembering) else None
    return index.search(directions[rows], k) if known is None else known


def _trees(engine: Engine, rows: np.ndarray) -> dict[str, tuple[float, float]]:
    """The booster alone, over features that were made before; nothing without one."""
    line, ranker = engine.surfaces[HOME].ranker, engine.parts.ranker
    if line is None or ranker is None:
        return {}
    now, depth = datetime.now(UTC), int((line.model_extra or {}).get("depth", 200))
    made = []
    for state in engine.users.states(rows):
        query = engine.resolver.known(state.user, state, now)
        found = engine.recommenders[HOME].retrieve([query], 20).top(depth)
        made.append(features_of(ranker.features, [query], found, engine.parts)[found.filled])
    return {"trees": (_median(ranker.trees.score, made), _median(BY_LIBRARIES["trees"](ranker.text), made))}


def _json(engine: Engine) -> float:
    ids = engine.items.ids(np.arange(20, dtype=np.int32))
    items = [{"item_id": id_, "rank": 1, "score": 0.016393, "sources": ["nearest", "item-item"]} for id_ in ids]
    content = {"user_id": ids[0], "surface": "home", "release": engine.id, "level": "personal", "items": items}
    return _median(lambda _: to_json(content), np.arange(ROUNDS))


def _median(call: Callable[..., object], arguments: Iterable[Any]) -> float:
    times = []
    for argument in arguments:
        start = time.perf_counter()
        call(argument)
        times.append(time.perf_counter() - start)
    return round(float(np.median(times)) * 1000, 4)


async def _round_trip(engine: Engine, rows: np.ndarray) -> float:
    """MGET of as many keys, of the same sizes, as a request asks for."""
    with TemporaryDirectory() as name, EmbeddedServer(State(folder=Path(name))) as server:
        async with open_store(server.state) as store:
            await store.put(engine.users.states(rows), engine.id)
        client = redis.asyncio.Redis(unix_socket_path=unquote(urlsplit(str(server.state.url)).path))
        async with client:
            keys = [key async for key in client.scan_iter(count=10_000)]
            states = sorted(key for key in keys if b":s:" in key)
            vectors = sorted(key for key in keys if b":v:" in key)
            times = []
            for state, vector in zip(states, vectors, strict=True):
                start = time.perf_counter()
                await client.mget([state, vector, b"nothing"])
                times.append(time.perf_counter() - start)
    return round(float(np.median(times)) * 1000, 4)


def empty_app() -> FastAPI:
    """One route that returns prepared bytes."""
    app = FastAPI()
    body = b'{"items": []}'

    @app.get("/recommend")
    async def recommend(user_id: str, k: int = 20) -> Response:  # noqa: ARG001
        return Response(body, media_type="application/json")

    return app


def empty_route(how: str, amount: float, seconds: float) -> dict[str, Any]:
    """What the load finds that asks it as it asks the engine; served alike."""
    program = (
        "import socket, uvicorn\n"
        "bound = socket.create_server(('127.0.0.1', 0))\n"
        "print(bound.getsockname()[1], flush=True)\n"
        "config = uvicorn.Config('benchmarks.floor:empty_app', factory=True, log_level='warning', access_log=False,\n"
        "                        server_header=False)\n"
        "uvicorn.Server(config).run(sockets=[bound])\n"
    )
    with (
        TemporaryDirectory() as name,
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as server,
    ):
        try:
            port = server.stdout.readline().strip() if server.stdout else ""
            paths = Path(name) / "paths.json"
            paths.write_text(json.dumps(["/recommend?user_id=u1&k=20"]))
            load = [sys.executable, "-m", "benchmarks.load", f"http://127.0.0.1:{port}", str(paths), how]
            done = subprocess.run([*load, str(amount), str(seconds)], capture_output=True, text=True, check=True)
        finally:
            server.terminate()
            server.wait(timeout=10)
    found: dict[str, Any] = json.loads(done.stdout)
    return found

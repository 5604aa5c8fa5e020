"""What a night of playlists costs: from states to an edition, its delivery, and what a listener waits."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
from threadpoolctl import threadpool_limits

from benchmarks.serving import served
from benchmarks.vectors import synthetic
from index.exact import Exact, load_exact
from index.growing import Growing
from recsys.arrays import Float32
from recsys.assembly import HOME, SIMILAR, Engine, card_of
from recsys.catalogue import Catalogue
from recsys.folding.least_squares import LeastSquares, LeastSquaresRule
from recsys.playlists.delivery import publish
from recsys.playlists.editions import Edition, EditionStore
from recsys.playlists.people import Chosen
from recsys.playlists.processes import Processes
from recsys.playlists.runs import make
from recsys.playlists.surface import PLAYLIST
from recsys.playlists.weeks import Week
from recsys.releases import GateReport, Manifest, ReleaseStore
from recsys.retrieval import ITEMS_INDEX, SIMILAR_INDEX
from recsys.sections import USUAL_KINDS
from recsys.settings import Settings, load_settings
from recsys.stores import UserState, open_store
from recsys.stores.embedded import EmbeddedServer
from recsys.surfaces import Line, Surface, unseen
from recsys.users import History, Users, fold_all
from recsys.vocabulary import Vocabulary

TAKEN = 40
"""Items of each user's history."""
TASTES = 3
"""Directions that each history is drawn from."""
NEAR = 200
"""Items about each of those."""
ACTIVE = 0.2
"""Users who listened since the release was made, to :data:`SINCE` items each."""
SINCE = 5
ARTISTS, ALBUMS = 10, 5
"""Items of each artist and of each album, on average."""
LENGTH, POOL = 30, 200
BLOCKS = ((344, 768), (1024, 512), (1024, 4096), (1024, 16384))
"""Queries and items of blocks that a matrix product is tried in: from what a cache holds to nearly whole lines."""
REPEATS = 5
"""Of a measurement of which the fastest counts."""
PLAYLISTS = f"[playlists]\nlength = {LENGTH}\n[state]\ntimeout_ms = 5000\n[serve]\npage = false\n"

SURFACE = Surface(
    sources=(Line(name="nearest", index=ITEMS_INDEX),),
    filters=(Line(name="seen"),),
    fusion=Line(name="reciprocal-rank", pool=POOL),
    steps=(
        Line(name="unrepeated"),
        Line(name="capped", column="artist", at_most=2),
        Line(name="capped", column="album", at_most=2),
        Line(name="dithered"),
        Line(name="diverse", length=LENGTH, depth=100),
        Line(name="portioned", length=LENGTH),
        Line(name="flow", length=LENGTH, column="artist"),
    ),
    ladder=(Line(name="popular"),),
)
"""Every rule, over 200 candidates."""


def measure(*, users: int = 100_000, items: int = 100_000, seconds: float = 10.0) -> dict[str, Any]:
    """Make two weeks' editions of a synthetic release of 64 dimensions, so that the second has weeks before it.

    ``users_per_s``: of the second, from the command to the edition, with reading states from a real server, checking
    and writing Parquet; ``cpu_ms_a_user``: what of the processors that took, whoever else is on them. ``peak_mb``: of
    all its processes together, pages that they share counted once. ``gemm_share``: the matrix product alone, into
    memory that holds whole lines of scores, by the search of 1,024 queries, each on one thread as a process of a night
    has it; ``gemm_tile_share``: the product in the blocks that suit it best, which stay in a cache and are overwritten.
    ``get_p99_ms``: as one client sees it, of a real server, over so many ``seconds``. ``violations``: users whose list
    breaks a rule.
    """
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "recsys.toml").write_text(PLAYLISTS)
        settings = load_settings(folder / "recsys.toml", {})
        asked = _release(settings, users, items)
        with EmbeddedServer(settings.state) as server:
            asyncio.run(_listened(server.state, settings, asked, items))
            _edition(settings, server.state, Week.of(datetime.now(UTC)))
            week = Week.of(datetime.now(UTC)).plus(1)
            with _peak() as peak:
                start, before = time.perf_counter(), _cpu()
                edition = _edition(settings, server.state, week, published=False)
                took, cpu = time.perf_counter() - start, _cpu() - before
            store = EditionStore(settings.playlists.folder)
            delivered = publish(store, edition.id, settings.playlists, server.state, now=datetime.now(UTC))
            waited = _asked(folder, asked, seconds)
        vectors = np.load(next(settings.releases.folder.glob("*/items/vectors.npy")))
        with threadpool_limits(1):
            shares = product(vectors)
        found = edition.manifest.quality
        return {
            "measured": datetime.now(UTC).isoformat(timespec="seconds"),
            "cores": len(os.sched_getaffinity(0)),
            "load": round(os.getloadavg()[0], 1),
            "users": users,
            "items": items,
            "users_per_s": round(users / took, 1),
            "seconds": round(took, 1),
            "cpu_ms_a_user": round(1000 * cpu / users, 3),
            "peak_mb": round(peak[0], 1),
            **shares,
            "redis_lists_per_s": round(delivered.lists / delivered.seconds, 1),
            "get_p50_ms": waited["p50_ms"],
            "get_p99_ms": waited["p99_ms"],
            "get_errors": waited["errors"],
            "violations": _violations(edition),
            "passed": found.passed,
            "quality": {name: found.measured[name] for name in ("full", "short", "coverage", "gini", "overlap")},
            "parquet_mb": round(sum(path.stat().st_size for path in edition.folder.glob("*.parquet")) / 2**20, 1),
        }


def _edition(settings: Settings, state: Any, week: Week, *, published: bool = True) -> Edition:
    made = make(
        week,
        settings.playlists,
        ReleaseStore(settings.releases.folder),
        now=datetime.now(UTC),
        chosen=Chosen(),
        state=state,
        load_index=load_exact,
        grow=Growing.of,
        run=Processes(),
    )
    if published:
        store = EditionStore(settings.playlists.folder)
        store.publish(store.verify(made.edition.id), now=datetime.now(UTC), force=True)
    return made.edition


def _cpu() -> float:
    """Seconds of processors that this process and its ended children have used."""
    return sum(os.times()[:4])


def _violations(edition: Edition) -> int:
    """Users whom any finding about lists names."""
    return sum(edition.manifest.quality.measured["broken"].values())


def product(vectors: Float32) -> dict[str, float]:
    """The matrix product alone and a search, of 1,024 queries, by turns, each at its fastest, on threads as they are.

    The fastest blocks stay in a cache, where each overwrites the scores of the last; whole lines go to memory.
    """
    queries = np.random.default_rng(0).standard_normal((1024, vectors.shape[1])).astype(np.float32)
    exact = Exact.build(vectors)
    whole = (max(1, 64 * 2**20 // (4 * len(vectors))), len(vectors))
    times: dict[Any, list[float]] = {}
    for _ in range(REPEATS):
        for lines, columns in (whole, *BLOCKS):
            held = np.empty((lines, columns), np.float32)
            # What memory costs that nobody has written to is not the product's.
            held.fill(0)
            start = time.perf_counter()
            for first in range(0, len(vectors), columns):
                some = vectors[first : first + columns].T
                for line in range(0, len(queries), lines):
                    part = queries[line : line + lines]
                    np.matmul(part, some, out=held[: len(part), : some.shape[1]])
            times.setdefault((lines, columns), []).append(time.perf_counter() - start)
        start = time.perf_counter()
        exact.search(queries, POOL + TAKEN)
        times.setdefault("search", []).append(time.perf_counter() - start)
    searched = min(times.pop("search"))
    alone = min(min(each) for each in times.values())
    return {
        "gemm_share": round(min(times[whole]) / searched, 4),
        "gemm_tile_share": round(alone / searched, 4),
        "gemm_gflops": round(2 * len(queries) * vectors.size / alone / 1e9, 1),
        "search_s_1024": round(searched, 4),
    }


def _asked(folder: Path, users: list[str], seconds: float) -> dict[str, Any]:
    """What one client waits for lists of different users."""
    rng = np.random.default_rng(1)
    some = [users[place] for place in rng.permutation(len(users))[:5000].tolist()]
    week = min((folder / "var/playlists").glob("20*")).name
    paths = folder / "paths.json"
    paths.write_text(json.dumps([f"/playlists/{user}?week={week}" for user in some]))
    store = EditionStore(folder / "var/playlists")
    settings = load_settings(folder / "recsys.toml", {})
    publish(store, week, settings.playlists, EmbeddedServer(settings.state).state, now=datetime.now(UTC), force=True)
    with served(folder, workers=1) as (url, _, _):
        command = [sys.executable, "-m", "benchmarks.load", url, str(paths), "closed", "1", str(seconds)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return dict(json.loads(done.stdout))


@contextmanager
def _peak() -> Iterator[list[float]]:
    """The most memory that this process and its children hold together meanwhile, in MiB, shared pages counted once."""
    found, over = [0.0], threading.Event()

    def watch() -> None:
        while not over.wait(0.5):
            found[0] = max(found[0], sum(_proportional(process) for process in _family(os.getpid())))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield found
    finally:
        over.set()
        watcher.join()


def _family(process: int) -> list[int]:
    try:
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except OSError:
        return []
    return [process, *(each for child in children for each in _family(int(child)))]


def _proportional(process: int) -> float:
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def _release(settings: Settings, users: int, items: int) -> list[str]:
    """A release whose users have several tastes; who they are."""
    rng = np.random.default_rng(0)
    vectors, _ = synthetic(f"{items}x64")
    directions = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    names = Vocabulary.of([f"i{row}" for row in range(items)])
    people = Vocabulary.of([f"u{row}" for row in range(users)])
    fold = LeastSquares.of(vectors, LeastSquaresRule(alpha=10, regularization=10))
    history = _histories(directions, users, rng)
    engine = Engine.of(
        ReleaseStore(settings.releases.folder).new_id(datetime.now(UTC)),
        items=names,
        fold=fold,
        directions=directions,
        lists={},
        catalogue=_catalogue(names, rng),
        popularity=np.bincount(history.rows, minlength=items).astype(np.float32),
        users=Users(people, fold_all(history, fold), history, names, settings.train.recent_items),
        indexes={ITEMS_INDEX: Exact.build(vectors), SIMILAR_INDEX: Exact.build(directions)},
        card=card_of(fold, {}, settings.train.recent_items, USUAL_KINDS),
        surfaces={
            HOME: unseen(Line(name="nearest", index=ITEMS_INDEX)),
            SIMILAR: Surface(sources=(Line(name="nearest", index=SIMILAR_INDEX),)),
            PLAYLIST: SURFACE,
        },
    )
    manifest = Manifest(
        id=engine.id,
        created=datetime.now(UTC),
        lineage={"data": {"name": f"synthetic:{items}x64", "window": None, "sha256": ""}},
        counts={"users": users, "items": items, "events": len(history.rows)},
        metrics={},
        indexes={},
        gate=GateReport(passed=True, findings=(), forced=False),
        files={},
    )
    store = ReleaseStore(settings.releases.folder)
    with store.publishing(), store.staging(engine.id) as staged:
        engine.save(staged)
        store.commit(staged, manifest)
    store.promote(engine.id, now=datetime.now(UTC))
    return list(people)


def _histories(directions: Float32, users: int, rng: np.random.Generator) -> History:
    """:data:`TAKEN` different items for each user, from the neighbourhoods of a few of 1,000 items."""
    centres = rng.permutation(len(directions))[:1000]
    near = Exact.build(directions).search(directions[centres], NEAR).rows
    chosen = rng.integers(0, len(centres), (users, TASTES))
    drawn = near[chosen[:, rng.integers(0, TASTES, 2 * TAKEN)], rng.integers(0, NEAR, (users, 2 * TAKEN))]
    lists = [np.unique(line)[:TAKEN] for line in drawn]
    lengths = np.array([len(line) for line in lists])
    rows = np.concatenate([rng.permutation(line) for line in lists]).astype(np.int32)
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    days = np.arange(len(rows)) - np.repeat(indptr[:-1], lengths)
    times = 1_760_000_000 - 86_400 * days - rng.integers(0, 86_400, len(rows))
    return History(indptr, rows, np.ones(len(rows), np.float32), times)


def _catalogue(names: Vocabulary, rng: np.random.Generator) -> Catalogue:
    columns: dict[str, Any] = {"item_id": pa.array(list(names), pa.string())}
    for name, each in (("artist", ARTISTS), ("album", ALBUMS)):
        drawn = rng.integers(0, max(1, len(names) // each), len(names))
        columns[name] = pa.array([f"{name} {one}" for one in drawn.tolist()], pa.string())
    return Catalogue(pa.table(columns))


async def _listened(state: Any, settings: Settings, users: list[str], items: int) -> None:
    """Some of the users listened since the release was made."""
    rng = np.random.default_rng(2)
    keys = Vocabulary.load(next(settings.releases.folder.glob("*/items"))).row_keys
    now = int(time.time())
    some = [users[place] for place in np.flatnonzero(rng.random(len(users)) < ACTIVE).tolist()]
    states = (
        UserState(
            user,
            None,
            keys[rng.integers(0, items, SINCE)],
            np.ones(SINCE, np.float32),
            now - np.arange(SINCE, dtype=np.int64),
            np.zeros(0, np.uint64),
        )
        for user in some
    )
    release = ReleaseStore(settings.releases.folder).current_id() or ""
    async with open_store(state) as store:
        await store.put(states, release)
        # Else the server that is measured would fold them all while it answers.
        await store.seal(release)

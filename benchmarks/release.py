"""A release to be served by a benchmark: a public data set's, or a synthetic one of any size."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.clicks import with_ranker
from benchmarks.vectors import shape_of, synthetic
from index import report as indexes
from index.tuning import EXACT
from recsys.arrays import Float32, Int32
from recsys.assembly import HOME, SIMILAR, Engine, card_of
from recsys.catalogue import Catalogue
from recsys.folding.least_squares import LeastSquares, LeastSquaresRule
from recsys.item_lists import ItemLists
from recsys.releases import GateReport, Manifest, ReleaseStore
from recsys.retrieval import ITEMS_INDEX, SIMILAR_INDEX
from recsys.sections import USUAL_KINDS
from recsys.settings import Settings, load_settings
from recsys.stores import open_store
from recsys.surfaces import Line, Surface
from recsys.users import History, Users, fold_all
from recsys.vocabulary import Vocabulary
from training.run import train

TAKEN = 40
"""Items of each user's history."""
NEIGHBOURS = 20
"""Items of each item list."""
ARTISTS = 10
"""Items of each artist, on average."""
GENRES = 20
SEARCHED: Mapping[str, dict[str, int]] = {
    ITEMS_INDEX: {"probes": 64, "refine": 2},
    SIMILAR_INDEX: {"probes": 16, "refine": 2},
}
"""What `auto` finds for a million of these items, whose finding takes minutes."""
REMEMBERED = 100
"""Neighbours that each item is asked for, found beforehand."""
KINDS, LIKED = 1000, 3
"""Kinds of items, and how many of them a user likes."""
BLOCK = 50_000
"""Items whose kinds are found at once."""
DEMO = '[model]\nname = "als"\nfactors = 64\nregularization = 20.0\nalpha = 2.0\n'
SYNTHETIC = "[state]\ntimeout_ms = 1000\n"


def publish(folder: Path, *, dataset: str | None, items: int, users: int) -> list[str]:
    """Make and promote a release in ``folder``, with the recsys.toml to serve it; who may be asked for."""
    file = folder / "recsys.toml"
    if dataset is None:
        file.write_text(SYNTHETIC)
        return _synthetic(load_settings(file, {}), items, users)
    file.write_text(f'{DEMO}[data]\ndataset = "{dataset}"\n')
    settings = load_settings(file, {})
    made = train(settings, now=datetime.now(UTC), environ={}, force=True)
    ids = Vocabulary.load(made.release.folder / "users")
    return ids.ids(np.random.default_rng(0).permutation(len(ids)).astype(np.int32))


HOME_SURFACE = Surface(
    sources=(
        Line(name="nearest", index=ITEMS_INDEX),
        Line(name="similar-to-recent", last=3, each=REMEMBERED),
        Line(name="item-item", lists="together"),
    ),
    filters=(Line(name="seen"),),
    fusion=Line(name="reciprocal-rank", pool=170),
    steps=(Line(name="capped", column="artist", at_most=2), Line(name="diverse", length=20, depth=100)),
    ladder=(Line(name="popular"),),
)
"""Some 500 candidates of three sources, two rules; the ranker that orders 200 of them is learned when it is made."""


def _synthetic(settings: Settings, items: int, users: int) -> list[str]:
    """A release whose vectors are shaped as factors are, with histories near each user's taste."""
    rng = np.random.default_rng(0)
    vectors, _ = synthetic("{}x{}".format(*shape_of(f"{items}x64")))
    directions = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    names = Vocabulary.of([f"i{row}" for row in range(items)])
    people = Vocabulary.of([f"u{row}" for row in range(users)])
    fold = LeastSquares.of(vectors, LeastSquaresRule(alpha=10, regularization=10))
    history = _histories(vectors, users, rng)
    folded = fold_all(history, fold)
    built, reports = {}, {}
    recent = directions[history.rows[history.indptr[:-1]]]
    for name, over, queries, remembered in (
        (ITEMS_INDEX, vectors, folded, 0),
        (SIMILAR_INDEX, directions, recent, REMEMBERED),
    ):
        backend, options = ("faiss-ivf", SEARCHED[name]) if items > EXACT else ("exact", {})
        built[name], told = indexes.build(over, queries, rng=rng, backend=backend, remembered=remembered, **options)
        reports[name] = told.as_dict()
    lists = {"together": _lists(items, rng)}
    release = ReleaseStore(settings.releases.folder)
    now = datetime.now(UTC)
    catalogue = _catalogue(names, rng)
    engine = Engine.of(
        release.new_id(now),
        items=names,
        fold=fold,
        directions=directions,
        lists=lists,
        catalogue=catalogue,
        popularity=np.bincount(history.rows, minlength=items).astype(np.float32),
        users=Users(people, folded, history, names, settings.train.recent_items),
        indexes=built,
        card=card_of(fold, lists, settings.train.recent_items, USUAL_KINDS),
        surfaces={HOME: HOME_SURFACE, SIMILAR: Surface(sources=(Line(name="nearest", index=SIMILAR_INDEX),))},
    )
    engine = with_ranker(engine, catalogue, now, rng)
    manifest = Manifest(
        id=engine.id,
        created=now,
        lineage={"data": {"name": f"synthetic:{items}x64", "window": None, "sha256": ""}},
        counts={"users": users, "items": items, "events": len(history.rows)},
        metrics={},
        indexes=reports,
        gate=GateReport(passed=True, findings=(), forced=False),
        files={},
    )
    with release.publishing(), release.staging(engine.id) as staged:
        engine.save(staged)
        release.commit(staged, manifest)
    asyncio.run(_states(settings, engine))
    release.promote(engine.id, now=now)
    return people.ids(rng.permutation(users).astype(np.int32))


async def _states(settings: Settings, engine: Engine) -> None:
    async with open_store(settings.state) as store:
        # As if everybody had done just now what the release knows of them: every request has a state to read.
        await store.put(engine.users.states(np.arange(len(engine.users.ids), dtype=np.int32)), engine.id)
        await store.seal(engine.id)


def _histories(vectors: Float32, users: int, rng: np.random.Generator) -> History:
    """:data:`TAKEN` different items for each user, of a few kinds each, some items far oftener than others."""
    # Kinds are what lies nearest to some items drawn at random: a user without a taste is asked about by nobody.
    kinds = vectors[rng.permutation(len(vectors))[: min(KINDS, len(vectors) // 20)]]
    kinds = kinds / np.linalg.norm(kinds, axis=1, keepdims=True)
    blocks = range(0, len(vectors), BLOCK)
    kind = np.concatenate([(vectors[start : start + BLOCK] @ kinds.T).argmax(axis=1) for start in blocks])
    order = np.argsort(kind, kind="stable").astype(np.int32)
    sizes = np.bincount(kind, minlength=len(kinds))
    starts, there = np.cumsum(sizes) - sizes, np.flatnonzero(sizes)
    liked = there[rng.integers(0, len(there), (users, LIKED))]
    drawn = np.take_along_axis(liked, rng.integers(0, LIKED, (users, 3 * TAKEN)), axis=1)
    places = starts[drawn] + (sizes[drawn] * rng.random(drawn.shape) ** 2).astype(np.int64)
    taken = [list(dict.fromkeys(line))[:TAKEN] for line in order[places].tolist()]
    lengths = np.array([len(line) for line in taken])
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    rows = np.array([row for line in taken for row in line], np.int32)
    # A day between two items of a user, the newest first, and a moment of the day for each.
    days = np.arange(len(rows)) - np.repeat(indptr[:-1], lengths)
    times = 1_760_000_000 - 86_400 * days - rng.integers(0, 86_400, len(rows))
    return History(indptr, rows, np.ones(len(rows), np.float32), times)


def _lists(items: int, rng: np.random.Generator) -> ItemLists:
    """Lists of items at random: how long it takes to add them up does not depend on which they are."""
    rows: Int32 = rng.integers(0, items, (items, NEIGHBOURS), dtype=np.int32)
    weights: Float32 = rng.random((items, NEIGHBOURS), dtype=np.float32)
    return ItemLists(rows, weights)


def _catalogue(names: Vocabulary, rng: np.random.Generator) -> Catalogue:
    artists = rng.integers(0, max(1, len(names) // ARTISTS), len(names))
    counts = rng.integers(1, 4, len(names))
    genres = pa.array([f"genre {genre}" for genre in rng.integers(0, GENRES, counts.sum())], pa.string())
    offsets: Any = pa.array(np.concatenate([[0], np.cumsum(counts)]).astype(np.int32))
    return Catalogue(
        pa.table(
            {
                "item_id": pa.array(list(names), pa.string()),
                "title": pa.array([f"Title {row}" for row in range(len(names))], pa.string()),
                "artist": pa.array([f"a{artist}" for artist in artists], pa.string()),
                "year": pa.array(rng.integers(1950, 2027, len(names))),
                "genres": pa.ListArray.from_arrays(offsets, genres),
            }
        )
    )

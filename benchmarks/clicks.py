"""A ranker for a release that nobody has used: grown on clicks that are made up, over the candidates that it will see.

What it has learned is worth nothing. Its features, the number and size of its trees and the way to them are those of
`recsys train` with ``[ranker]``, so ordering costs what it costs anybody.
"""

from __future__ import annotations

from datetime import datetime

import numpy as np

from recsys.arrays import Bool, Float32, Int64
from recsys.assembly import HOME, Engine
from recsys.catalogue import Catalogue
from recsys.features import features_of
from recsys.interactions import Interactions
from recsys.ranking import Card, Ranker
from recsys.sections import RankerSettings
from recsys.surfaces import Line, Surface
from recsys.users import History, Users
from training.calibration import platt
from training.facts import facts_of
from training.ranker import BOOSTERS, feature_names

ASKED = 300
"""Users whose candidates are learned from: 60,000 of them, in a few seconds."""
CLICKED = 0.05
"""The share of the candidates that somebody takes."""
SETTINGS = RankerSettings()


def with_ranker(engine: Engine, catalogue: Catalogue, now: datetime, rng: np.random.Generator) -> Engine:
    """The engine with facts of items, and with its home surface's candidates put in order by as many trees as usual."""
    home = engine.surfaces[HOME]
    engine = engine.ranked(None, facts_of(events_of(engine.users), catalogue), home)
    names = feature_names(engine)
    users = rng.permutation(len(engine.users.ids))[:ASKED].astype(np.int32)
    rows, sizes = _examples(engine, users, names, now)
    taken = _clicks(rows, names, rng)
    booster, _ = BOOSTERS["lightgbm"]((rows, taken, sizes), None, SETTINGS, seed=0, threads=1, trees=SETTINGS.trees)
    slope, offset = platt(np.asarray(booster.predict(rows, raw_score=True)), taken)
    ranker = Ranker.of(booster.model_to_string(), Card(features=names, slope=slope, offset=offset))
    facts = engine.parts.facts
    assert facts is not None  # noqa: S101  put there above
    return engine.ranked(ranker, facts, ordered(home))


def ordered(home: Surface) -> Surface:
    """The surface with the ranker over its best candidates."""
    return home.model_copy(update={"ranker": Line.model_validate({"name": "learned", "depth": SETTINGS.depth})})


def events_of(users: Users) -> Interactions:
    """What the histories say, as a log."""
    history: History = users.history
    order = np.argsort(history.times, kind="stable")
    user = np.repeat(np.arange(len(users.ids), dtype=np.int32), np.diff(history.indptr))
    return Interactions(
        users=users.ids,
        items=users.items,
        user=user[order],
        item=np.asarray(history.rows)[order],
        weight=np.asarray(history.weights)[order],
        kind=np.zeros(len(order), np.int8),
        kinds=("taken",),
        time=np.asarray(history.times)[order],
        timed=True,
    )


def _examples(engine: Engine, users: np.ndarray, names: tuple[str, ...], now: datetime) -> tuple[Float32, Int64]:
    """Features of what users are proposed, float32 (m, features), and how many belong to each, int64 (users,)."""
    queries = [engine.resolver.known(state.user, state, now) for state in engine.users.states(users)]
    found = engine.recommenders[HOME].retrieve(queries, SETTINGS.truncation).top(SETTINGS.depth)
    rows = features_of(names, queries, found, engine.parts)
    return rows[found.filled], found.filled.sum(axis=1).astype(np.int64)


def _clicks(rows: Float32, names: tuple[str, ...], rng: np.random.Generator) -> Bool:
    """Who takes what goes by every feature a little, up and down again, and by chance."""
    ranks = np.argsort(np.argsort(np.nan_to_num(rows), axis=0), axis=0) / len(rows)
    wishes = np.sin(np.pi * ranks * rng.uniform(0.5, 2, len(names))) @ rng.normal(size=len(names))
    wishes += rng.gumbel(size=len(rows)) * wishes.std()
    return wishes > np.quantile(wishes, 1 - CLICKED)

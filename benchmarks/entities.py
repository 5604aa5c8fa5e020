"""Do vectors of genres, artists and playlists say what their members are? Measured on members that they do not share.

The items are parted in two at random, and every entity gets a vector from each half. If the vectors say something,
the two of one entity lie nearest to each other among all, and what lies near an entity in the other half has more to
do with it than chance. Playlists are continued: the held-out tracks are looked for beside the mean of the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from benchmarks.models import SETTINGS
from index import BACKENDS
from recsys.arrays import Float64, Int32, Int64, unit
from recsys.assembly import SIMILAR, Engine
from recsys.catalogue import Catalogue
from recsys.datasets import load
from recsys.datasets.ragged import grouped
from recsys.entities import Entities, mean_vectors
from recsys.errors import SettingsError, unknown_choice
from recsys.evaluation import Recommends, evaluate
from recsys.interactions import Interactions, interactions_of
from recsys.pipeline import Answer
from recsys.retrieval import Query
from recsys.splits import split_at_random
from recsys.topk import best
from training.data import item_ids
from training.engines import engine_of
from training.models import model_of

NEIGHBOURS = 5
"""Entities looked at beside each."""
FLOOR = 3
"""Members with a vector that an entity must have in each half, to be judged."""
SEED = 0


@dataclass(frozen=True, slots=True)
class Study:
    """What is measured on a data set.

    ``columns``: column → the column whose commonest value entities and their neighbours should share; the empty text
    where they should share members. ``continued``: whether users are playlists, to be continued.
    """

    model: Mapping[str, Any]
    columns: Mapping[str, str]
    continued: bool = False


STUDIES: Mapping[str, Study] = MappingProxyType(
    {
        "lastfm-2k": Study({"name": "ials", "factors": 64}, {"tags": ""}),
        "citeulike-t": Study({"name": "ials", "factors": 64}, {"tags": ""}),
        "ml-latest-small": Study({"name": "ials", "factors": 64}, {"keywords": "", "genres": ""}),
        "spotify-songs": Study(
            {"name": "ials", "factors": 64}, {"artist": "genres", "subgenres": "genres"}, continued=True
        ),
    }
)


def measure(dataset: str, environ: Mapping[str, str]) -> dict[str, Any]:
    """``dataset``, ``columns`` (a row each) and, where users are playlists, ``continuation`` (a row a system).

    SettingsError for a data set without entities to measure.
    """
    if dataset not in STUDIES:
        raise SettingsError(unknown_choice("data set with entities", dataset, STUDIES))
    study, log = STUDIES[dataset], load(dataset, environ)
    data = interactions_of(log.events, log.kinds, items=item_ids(log))
    engine = _engine(study.model, data, data, Catalogue.of(log.items, data.items))
    columns = [halves(engine, column, label) for column, label in study.columns.items()]
    document: dict[str, Any] = {"dataset": dataset, "model": dict(study.model), "columns": columns}
    return {**document, "continuation": continuation(study.model, data)} if study.continued else document


def halves(engine: Engine, column: str, label: str = "") -> dict[str, Any]:
    """One row: how often an entity is found again from members it was not made of, and what its neighbours share.

    ``hit@1``: how often an entity's vector of the one half lies nearest to its own of the other, among all.
    ``shared``: over the nearest of the other half, itself left out, the mean Jaccard index of members, or how often
    the commonest value of ``label`` is the same; ``shared_chance``: over all pairs.
    """
    rng = np.random.default_rng(SEED)
    membership = _membership(engine.catalogue, column)
    fold = engine.resolver.fold
    if fold is None:
        raise SettingsError("entities are means of item vectors: choose a model that learns them")
    items = fold.items
    weights = np.maximum(engine.popularity, 1).astype(np.float64)
    first = rng.random(len(items)) < 0.5
    known = (items != 0).any(axis=1)
    parts = [(mean_vectors(membership, items, weights * part), membership @ (part & known)) for part in (first, ~first)]
    judged = np.flatnonzero(np.all([(counts >= FLOOR) & means.any(axis=1) for means, counts in parts], axis=0))
    left, right = (unit(means[judged]) for means, _ in parts)
    cosines = left @ right.T
    itself = np.diag(cosines)
    ranks = (cosines > itself[:, None]).sum(axis=1)
    others = cosines.copy()
    np.fill_diagonal(others, -np.inf)
    nearest, _ = best(others, NEIGHBOURS)
    alike = (
        _overlap(membership[judged]) if not label else _same(membership[judged], _membership(engine.catalogue, label))
    )
    np.fill_diagonal(alike, np.nan)
    return {
        "column": column,
        "shares": label or "members",
        "entities": membership.shape[0],
        "judged": len(judged),
        "hit@1": _number(float((ranks == 0).mean())),
        "hit@1_chance": _number(1 / max(len(judged), 1)),
        "mrr": _number(float((1 / (ranks + 1)).mean())),
        "shared": _number(float(np.nanmean(np.take_along_axis(alike, nearest.astype(np.int64), axis=1)))),
        "shared_chance": _number(float(np.nanmean(alike))),
    }


def continuation(model: Mapping[str, Any], data: Interactions) -> list[dict[str, Any]]:
    """Held-out tracks looked for by the playlist's mean, by its folded-in vector, and by popularity."""
    split = split_at_random(data, 0.2, np.random.default_rng(SEED))
    seen = split.train.seen()
    # the playlists of the training part alone: those of the catalogue hold the test
    lists = pd.Series(np.array(list(data.users), object)[_owners(seen)])
    held = grouped(seen.indices.astype(np.int64), lists, len(data.items))
    named = pd.DataFrame({"item_id": list(data.items), "held": held})
    engine = _engine(model, split.train, split.known, Catalogue.of(named, data.items))
    popular = _engine({"name": "popular"}, split.train, split.known, engine.catalogue)
    entities = Entities.of(engine, "held", BACKENDS["exact"].build)
    systems: dict[str, Recommends] = {
        "mean of members": Continuing(engine, entities),
        "mean of members, all alike": Continuing(engine, Entities.of(engine, "held", BACKENDS["exact"].build, "equal")),
        "folded in": engine,
        "popular": popular,
    }
    rows = []
    for name, system in systems.items():
        found = evaluate(system, split, ("recall@20", "ndcg@20")).means()
        rows.append({"system": name, **{metric: found[metric]["all"] for metric in ("recall@20", "ndcg@20")}})
    return rows


@dataclass(frozen=True, slots=True, eq=False)
class Continuing:
    """Answers playlists, which are the users of a release, with the items nearest to the mean of theirs."""

    engine: Engine
    entities: Entities

    def recommend(self, users: Int32, k: int, now: datetime) -> Answer:
        """The k items nearest to each playlist by the angle, without its own."""
        rows = self.entities.ids.rows(self.engine.users.ids.ids(users))
        means = np.where(rows[:, None] >= 0, self.entities.vectors[np.maximum(rows, 0)], np.float32(0))
        known = [self.engine.resolver.known(state.user, state, now) for state in self.engine.users.states(users)]
        queries: list[Query] = [replace(query, vector=mean) for query, mean in zip(known, means, strict=True)]
        return self.engine.recommenders[SIMILAR].recommend(queries, k)


def _engine(model: Mapping[str, Any], data: Interactions, known: Interactions, catalogue: Catalogue) -> Engine:
    rng = np.random.default_rng(SEED)
    learned = model_of(dict(model)).fit(data, rng, threads=1)
    return engine_of(learned, data, catalogue, SETTINGS, rng, "measured", kinds={}, known=known)[0]


def _membership(catalogue: Catalogue, column: str) -> sp.csr_matrix:
    names, places, rows = catalogue.groups(column)
    matrix = sp.csr_matrix((np.ones(len(places)), (places, rows)), shape=(len(names), len(catalogue)))
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return matrix


def _overlap(membership: sp.csr_matrix) -> Float64:
    """Jaccard index of the members of each pair, float64 (g, g)."""
    both = (membership @ membership.T).toarray()
    sizes = np.diag(both)
    return np.asarray(both / np.maximum(sizes[:, None] + sizes - both, 1), np.float64)


def _same(membership: sp.csr_matrix, labels: sp.csr_matrix) -> Float64:
    """1 where the members of both have the same commonest label, else 0, float64 (g, g)."""
    commonest = (membership @ labels.T).toarray().argmax(axis=1)
    return np.asarray(commonest[:, None] == commonest, np.float64)


def _owners(matrix: sp.csr_matrix) -> Int64:
    return np.repeat(np.arange(matrix.shape[0], dtype=np.int64), np.diff(matrix.indptr))


def _number(value: float) -> float:
    return round(value, 4)

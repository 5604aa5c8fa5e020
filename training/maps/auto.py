"""The map that orders items best that it did not learn from."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Self

import numpy as np
from pydantic import Field, model_validator

from recsys.arrays import Float32, Float64, Int64
from recsys.comparison import difference
from recsys.content import ContentMap
from recsys.metrics import Judged, ndcg
from recsys.topk import best
from training.maps import Mapper, mapper_of, parted
from training.maps.taste import Halves, Taste
from training.models import Progress, silent

HELD_OUT = 0.1
"""The share of the items that maps are judged by."""
DEPTH = 20
JUDGES = 2000
"""Users by whom they are judged, at most."""
CHUNK = 256
"""Users whose scores are held at once."""


USUAL: Mapping[str, dict[str, Any]] = MappingProxyType({"ridge": {}, "mlp": {}, "contrastive": {}})


class Auto(Mapper):
    """Every map of ``among`` learns from nine tenths of the items; which orders the others best learns from all.

    Judged is NDCG@20 among the items that were held out: a random half of each history makes the user's vector, the
    other half is wanted. Another map than the first is taken only if it is better for certain: the 95 % interval of its
    gain, paired over users, lies above 0. The vectors that maps are taught by knew the items that are held out, so what
    is measured here is more than what an item that nobody took can expect, for each map alike.
    """

    among: dict[str, dict[str, Any]] = Field(default_factory=lambda: dict(USUAL), min_length=1)
    """Name of a map → its options; the first is taken where none is better."""

    @model_validator(mode="after")
    def _maps_can_be_made(self) -> Self:
        for name, options in self.among.items():
            if name == "auto":
                raise ValueError("`among` names auto itself: name those that it is to choose from")
            mapper_of({"name": name, **options})
        return self

    def fit(
        self,
        content: Float32,
        directions: Mapping[str, Float32],
        weights: Float32,
        rng: np.random.Generator,
        *,
        threads: int,
        progress: Progress = silent,
    ) -> ContentMap:
        """The first of them, from which :meth:`refined` goes on."""
        first = next(iter(self._mappers().values()))
        return first.fit(content, directions, weights, rng, threads=threads, progress=progress)

    def refined(
        self,
        net: ContentMap,
        content: Float32,
        directions: Mapping[str, Float32],
        weights: Float32,
        taste: Taste,
        rng: np.random.Generator,
        *,
        threads: int,
        progress: Progress = silent,
    ) -> ContentMap:
        """Try them all, then learn from all items by the one that is chosen."""
        mappers = self._mappers()
        rows, held = parted(len(content), HELD_OUT, rng)
        part = {name: array[rows] for name, array in directions.items()}
        halves, turn = taste.halves(rng), taste.among(rows)
        judged = {}
        for place, (name, mapper) in enumerate(mappers.items()):
            tried = _learned(mapper, content[rows], part, weights[rows], turn, rng, threads)
            judged[name] = quality(tried.predict(content[held]), held, halves, np.random.default_rng(0))
            progress(0.6 * (place + 1) / len(mappers))
        chosen = preferred(judged, np.random.default_rng(0))
        first = next(iter(mappers))
        mapper = mappers[chosen]
        if chosen != first:
            net = mapper.fit(content, directions, weights, rng, threads=threads)
        found = mapper.refined(net, content, directions, weights, taste, rng, threads=threads)
        progress(1.0)
        return found

    def _mappers(self) -> dict[str, Mapper]:
        return {name: mapper_of({"name": name, **options}) for name, options in self.among.items()}


def preferred(judged: Mapping[str, Float64], rng: np.random.Generator) -> str:
    """The best on average of those that are better than the first for certain, else the first.

    ``judged``: name → a value for each of the same users, float64 (u,), nan where there is none.
    """
    first, *others = judged
    sure = [name for name in others if difference(judged[name], judged[first], rng).low > 0]
    return max(sure, key=lambda name: float(np.nanmean(judged[name])), default=first)


def quality(predicted: Float32, held: Int64, halves: Halves, rng: np.random.Generator) -> Float64:
    """NDCG@20 of the order among m items in which users would get them, float64 (u,); nan for who wants none.

    ``predicted``: float32 (m, d), of the items ``held``, int64 (m,). What made a user's vector is not proposed.
    """
    place = np.full(1 + max(int(held.max()), int(halves.places.max(initial=-1))), -1)
    place[held] = np.arange(len(held))
    users = rng.permutation(halves.users)[:JUDGES]
    depth = min(DEPTH, len(held))
    found = []
    for start in range(0, len(users), CHUNK):
        some = users[start : start + CHUNK]
        wanted = np.zeros((len(some), len(held)), bool)
        owner, item = halves.wanted(some, place >= 0, len(held), rng)
        wanted[owner, place[item]] = True
        owner, item = halves.taken(some)
        there = place[item] >= 0
        known = np.zeros_like(wanted)
        known[owner[there], place[item[there]]] = True
        scores = np.where(known & ~wanted, -np.inf, halves.vectors[some] @ predicted.T).astype(np.float32)
        rows, values = best(scores, depth)
        hits = np.take_along_axis(wanted, np.maximum(rows, 0), axis=1) & ~np.isneginf(values)
        found.append(ndcg(Judged(hits, wanted.sum(axis=1)), depth))
    return np.concatenate(found) if found else np.zeros(0)


def _learned(
    mapper: Mapper,
    content: Float32,
    directions: Mapping[str, Float32],
    weights: Float32,
    taste: Taste,
    rng: np.random.Generator,
    threads: int,
) -> ContentMap:
    net = mapper.fit(content, directions, weights, rng, threads=threads)
    return mapper.refined(net, content, directions, weights, taste, rng, threads=threads)

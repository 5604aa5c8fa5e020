"""Listeners who do not exist, with tastes in real soundtracks: a SEMI-SYNTHETIC log, since real sound had no listeners.

The generator sees names alone: which track is of which album, and which album of which soundtrack. It never sees a
sound, so what a model finds out about listeners from sound it has learned from other tracks that they heard.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.sounds import SEED, Stage, Vectors, interval, mean_of
from recsys.arrays import Bool, Float32, Float64, Int64, unit
from recsys.content import ITEMS
from recsys.encoding import Description
from recsys.interactions import interactions_of
from recsys.metrics import Judged, Ranks, auc, ndcg, recall
from recsys.sections import Kind
from recsys.users import History, fold_all
from recsys.vocabulary import Vocabulary
from training.encoders.mel_cnn import MelCnnEncoder
from training.maps import mapper_of
from training.models.ials import Ials

LISTENERS = 600
SOUNDTRACKS = 0.3
"""The concentration of a listener's Dirichlet taste in soundtracks: below 1 a few have most of it."""
ALBUMS = 1.0
"""That of the taste in the albums of one soundtrack."""
APPEAL = 0.5
"""The deviation of ln(appeal) of tracks."""
CURIOSITY = 0.1
"""The share that is taken by appeal alone."""
FEWEST, MORE = 8, 12
"""Tracks that a listener takes: at least, and how many more in the mean, geometrically; at most a third of all."""
FACTORS = 16
"""Of the vectors that are learned of listening."""
DRAWS = 20
"""How often chance is drawn."""
END_TO_END: Mapping[str, Any] = MappingProxyType({"held_out": 0.0, "steps": 300})
"""How the network that learns vectors of listening differs from the usual configuration."""


@dataclass(frozen=True, slots=True, eq=False)
class Listening:
    """``heard``: bool (u, t), who took what. ``chances``: float64 (u, t), with what chance a listener takes a track."""

    heard: Bool
    chances: Float64

    @classmethod
    def drawn(
        cls, albums: Sequence[str], soundtracks: Sequence[str], listeners: int, rng: np.random.Generator
    ) -> Listening:
        """``albums``, ``soundtracks``: of each track, their names.

        A listener likes soundtracks by a Dirichlet draw, the albums of each by another, and the tracks of an album by
        their appeal, which is log-normal and the same for all. Tracks are drawn without replacement.
        """
        album, soundtrack = (np.unique(np.array(names), return_inverse=True)[1] for names in (albums, soundtracks))
        appeal = np.exp(rng.normal(0, APPEAL, len(album)))
        liked = _tastes(np.zeros(len(album), np.int64), soundtrack, SOUNDTRACKS, listeners, rng)
        within = _tastes(soundtrack, album, ALBUMS, listeners, rng)
        shares = appeal / np.bincount(album, appeal)[album]
        chances = (1 - CURIOSITY) * liked * within * shares + CURIOSITY * appeal / appeal.sum()
        taken = np.minimum(FEWEST + rng.geometric(1 / (1 + MORE), listeners) - 1, max(1, len(album) // 3))
        # the k largest of ln p + Gumbel noise are k draws without replacement
        keys = np.log(chances) + rng.gumbel(size=chances.shape)
        heard = np.argsort(np.argsort(-keys, axis=1), axis=1) < taken[:, None]
        return cls(heard, chances)

    def events(self, tracks: Sequence[str], among: Bool) -> pd.DataFrame:
        """The plays of the tracks ``among``, bool (t,), as a log."""
        users, items = np.nonzero(self.heard & among)
        return pd.DataFrame(
            {
                "user_id": pd.Series([listener(user) for user in users.tolist()], dtype="str"),
                "item_id": pd.Series([tracks[item] for item in items.tolist()], dtype="str"),
                "kind": pd.Series(["play"] * len(users), dtype="str"),
            }
        )


def listener(number: int) -> str:
    """The id of a listener."""
    return f"listener {number}"


def _tastes(parents: Int64, children: Int64, concentration: float, listeners: int, rng: np.random.Generator) -> Float64:
    """What part each track's child has of its parent by a Dirichlet draw for each listener, float64 (u, t)."""
    weights = np.maximum(rng.gamma(concentration, size=(listeners, children.max() + 1)), 1e-12)
    sums = np.zeros((listeners, parents.max() + 1))
    for child, place in enumerate(np.unique(children, return_index=True)[1]):
        sums[:, parents[place]] += weights[:, child]
    shares: Float64 = weights[:, children] / sums[:, parents]
    return shares


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """Tracks, listeners, and what `ials` learned of both without the cold tracks.

    ``warm``, ``cold``: bool (t,). ``users``: float32 (u, d). ``directions``: float32 (t, d), of length one, zeros for
    cold tracks; ``plays``: float32 (t,), theirs.
    """

    stage: Stage
    warm: Bool
    cold: Bool
    listening: Listening
    users: Float32
    directions: Float32
    plays: Float32

    @classmethod
    def of(cls, stage: Stage, *, threads: int = 1) -> World:
        """Draw listeners, and learn from what they took of the tracks that are learned from."""
        made, names = stage.clips, stage.tracks
        first = [made.tracks.index(name) for name in names]
        # in a fold the test tracks are neither
        warm, cold = (np.isin(names, np.array(made.tracks)[mask]) for mask in (stage.learned, stage.judged))
        albums, soundtracks = ([of[place] for place in first] for of in (made.albums, made.soundtracks))
        drawn = Listening.drawn(albums, soundtracks, LISTENERS, np.random.default_rng(SEED))
        data = interactions_of(
            drawn.events(names, warm),
            {"play": Kind()},
            items=Vocabulary.of(names),
            users=Vocabulary.of([listener(number) for number in range(LISTENERS)]),
        )
        model = Ials(factors=FACTORS, device="cpu")
        fold = model.fit(data, np.random.default_rng(SEED), threads=threads).vectors()
        plays = np.bincount(data.item, minlength=len(names)).astype(np.float32)
        directions = np.where(warm[:, None], unit(fold.items), np.float32(0))
        return cls(stage, warm, cold, drawn, fold_all(History.of(data), fold), directions, plays)

    def judged(self, scores: Float32 | Float64) -> dict[str, Any]:
        """Of scores (u, cold tracks): means over listeners who took one, and the interval of the AUC."""
        relevant = self.listening.heard[:, self.cold]
        asked = relevant.any(axis=1) & self.listening.heard[:, self.warm].any(axis=1)
        scores, relevant = np.asarray(scores, np.float32)[asked], relevant[asked]
        order = np.argsort(-scores, axis=1, kind="stable")
        lists = Judged(np.take_along_axis(relevant, order, axis=1), relevant.sum(axis=1))
        areas = auc(Ranks.of(scores, relevant, np.zeros_like(relevant)))
        answers: dict[str, Any] = {}
        for k in (5, 20):
            slots = min(k, scores.shape[1])
            answers[f"cold_recall@{k}"] = round(float(recall(lists, slots).mean()), 4)
            answers[f"cold_ndcg@{k}"] = round(float(ndcg(lists, slots).mean()), 4)
        answers["cold_auc"] = round(float(np.nanmean(areas)), 4)
        areas = areas[~np.isnan(areas)]
        return {**answers, "cold_auc_interval": interval(areas, np.arange(len(areas)))}

    def by_sound(self, directions: Float32) -> dict[str, Any]:
        """The same of directions of all tracks, float32 (t, d)."""
        return self.judged(self.users @ directions[self.cold].T)

    def mapped(self, clips: Float32, options: Mapping[str, Any], *, threads: int) -> Float32:
        """Directions of all tracks by a map from their mean clip, learned from the warm ones; ``clips``: (n, w)."""
        usable, tracks = self.stage.learned | self.stage.judged, np.array(self.stage.clips.tracks)
        content = np.zeros((len(self.warm), clips.shape[1]), np.float32)
        for place, name in enumerate(self.stage.tracks):
            if self.warm[place] or self.cold[place]:
                content[place] = clips[(tracks == name) & usable].mean(axis=0)
        content = unit(content)
        net = mapper_of(options).fit(
            content[self.warm],
            {ITEMS: self.directions[self.warm]},
            self.plays[self.warm],
            np.random.default_rng(SEED),
            threads=threads,
        )
        return net.predict(content)

    def end_to_end(self, *, threads: int, **options: Any) -> Float32:
        """Directions of all tracks by a network that learned the warm ones' from their clips."""
        usable, tracks = self.stage.learned | self.stage.judged, np.array(self.stage.clips.tracks)
        items: list[Description] = [
            {"mel": self.stage.clips.sounds[(tracks == name) & usable]} for name in self.stage.tracks
        ]
        encoder = MelCnnEncoder(**{**END_TO_END, **options})
        rng = np.random.default_rng(SEED)
        return encoder.fit_to(items, self.directions, rng, weights=self.plays, threads=threads).encode(items)

    def by_name(self) -> Float32:
        """For each track the mean direction of the warm tracks of its soundtrack: by what it is of, not by sound."""
        named = dict(zip(self.stage.clips.tracks, self.stage.clips.soundtracks, strict=True))
        labels = np.array([named[track] for track in self.stage.tracks])
        means = [self.directions[(labels == label) & self.warm].mean(axis=0) for label in labels]
        return unit(np.array(means, np.float32))


def listening(
    stage: Stage, pooled: Sequence[Vectors], networks: Sequence[Vectors], *, threads: int, **options: Any
) -> list[dict[str, Any]]:
    """A row a system: to whom tracks belong that nobody has taken, by their sound; ladder from chance to the oracle."""
    world = World.of(stage, threads=threads)
    rng = np.random.default_rng(SEED)
    chance = mean_of([world.judged(rng.random((LISTENERS, int(world.cold.sum())))) for _ in range(DRAWS)])
    rows = [{"system": "random", **chance, "fit_s": 0.0}]

    def add(name: str, before: float, learn: Callable[[], Float32]) -> None:
        start = time.perf_counter()
        directions = learn()
        seconds = round(before + time.perf_counter() - start, 1)
        rows.append({"system": name, **world.by_sound(directions), "fit_s": seconds})

    for kind, made in (("ridge", pooled), ("mlp", pooled), ("ridge", networks)):
        for one in made:
            learn = partial(world.mapped, one.vectors, {"name": kind}, threads=threads)
            add(f"{kind}, {one.name}", one.seconds, learn)
    add("mel-cnn, end to end", 0.0, partial(world.end_to_end, threads=threads, **options))
    add("not by sound: its soundtrack", 0.0, world.by_name)
    oracle = world.judged(world.listening.chances[:, world.cold])
    return [*rows, {"system": "oracle: the true chances", **oracle, "fit_s": 0.0}]

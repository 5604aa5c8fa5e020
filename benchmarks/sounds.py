"""The clips of `free-music-mel`, parted into what is learned from and what is judged, and as vectors."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from recsys.arrays import Bool, Float32, Float64, Int64
from recsys.datasets.free_music_mel import Clips
from recsys.encoding import Description
from recsys.encoding.spectrogram import CEILING, FLOOR
from training.encoders.mel_cnn import MelCnnEncoder

SEED = 0
TEST = 0.3
"""The share of each soundtrack's tracks, at least two, that is for the test."""
FOLDS = 4
"""Of the other tracks, for choosing."""
TESTED = -1
HELD_OUT = 2
"""Clips of each track that nobody learns from, where there are more than twice as many."""
ROUNDS = 1000
"""Of the bootstrap."""

NETWORKS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "mel-cnn, no labels": {},
        "mel-cnn, told tracks": {"labels": ("track",)},
        "mel-cnn, told soundtracks and tracks": {"labels": ("soundtrack", "track")},
    }
)
"""What networks are told of the clips that they learn from, beside the sound."""


@dataclass(frozen=True, slots=True, eq=False)
class Vectors:
    """Of every clip, float32 (n, w), and the seconds that it took to learn them."""

    name: str
    vectors: Float32
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """What is learned from and what is judged, of n clips.

    ``learned``: bool (n,), clips that are learned from. ``held``: bool (n,), others of the same tracks. ``judged``:
    bool (n,), clips of tracks of which nothing was learned.
    """

    clips: Clips
    learned: Bool
    held: Bool
    judged: Bool

    @classmethod
    def of(cls, clips: Clips, fold: int | None = None) -> Stage:
        """The test tracks are judged, all others learned from; with a ``fold`` that fold of the others is judged."""
        rng = np.random.default_rng(SEED)
        roles: dict[str, int] = {}
        for soundtrack in dict.fromkeys(clips.soundtracks):
            own = dict.fromkeys(t for t, s in zip(clips.tracks, clips.soundtracks, strict=True) if s == soundtrack)
            tracks = [list(own)[place] for place in rng.permutation(len(own))]
            test = max(2, round(TEST * len(tracks)))
            roles.update({track: TESTED if place < test else place % FOLDS for place, track in enumerate(tracks)})
        role = np.array([roles[track] for track in clips.tracks])
        judged = role == (TESTED if fold is None else fold)
        heard = ~judged & (role != TESTED)
        last = _last_of_tracks(clips.tracks)
        return cls(clips, heard & ~last, heard & last, judged)

    @property
    def tracks(self) -> list[str]:
        """The names of all tracks, in the order of the clips."""
        return list(dict.fromkeys(self.clips.tracks))

    def items(self) -> list[Description]:
        """Clips as an encoder is given them."""
        made = self.clips
        return [
            {"mel": sound, "track": track, "soundtrack": soundtrack}
            for sound, track, soundtrack in zip(made.sounds, made.tracks, made.soundtracks, strict=True)
        ]

    def pooled(self) -> list[Vectors]:
        """What needs no learning: each band's mean over time, less that of what is learned from.

        The second has each band's deviation over time beside it, and divides each number by how it deviates.
        """
        sounds = self.clips.sounds * np.float32((CEILING - FLOOR) / 255) + np.float32(FLOOR)
        means, both = sounds.mean(axis=2), np.concatenate([sounds.mean(axis=2), sounds.std(axis=2)], axis=1)
        seen = both[self.learned]
        return [
            Vectors("mean-pooled mel", means - means[self.learned].mean(axis=0)),
            Vectors("mean- and deviation-pooled mel", (both - seen.mean(axis=0)) / seen.std(axis=0)),
        ]

    def networks(
        self, *, threads: int, networks: Mapping[str, Mapping[str, Any]] = NETWORKS, **options: Any
    ) -> list[Vectors]:
        """What networks hear that learned by contrast; ``options`` are for all of them."""
        items, found = self.items(), []
        learned_from = [items[place] for place in np.flatnonzero(self.learned).tolist()]
        for name, told in networks.items():
            start = time.perf_counter()
            encoder = MelCnnEncoder(**told, **options)
            encoding = encoder.fit(learned_from, np.random.default_rng(SEED), threads=threads)
            seconds = time.perf_counter() - start
            found.append(Vectors(name, encoding.encode(items), round(seconds, 1)))
        return found


def interval(values: Float64, groups: Sequence[str] | Int64) -> list[float]:
    """95 % of the means when groups are drawn again: clips of one track are no independent witnesses."""
    _, inverse = np.unique(np.asarray(groups), return_inverse=True)
    sums, counts = np.bincount(inverse, values), np.bincount(inverse)
    drawn = np.random.default_rng(SEED).integers(len(sums), size=(ROUNDS, len(sums)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    return [round(float(edge), 4) for edge in np.quantile(means, [0.025, 0.975])]


def mean_of(documents: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The mean of each number; text stays, intervals are left out."""
    return {
        key: value if isinstance(value, str) else round(float(np.mean([one[key] for one in documents])), 4)
        for key, value in documents[0].items()
        if not isinstance(value, list)
    }


def _last_of_tracks(tracks: Sequence[str]) -> Bool:
    """Which clips are among the last of their track, if it has enough."""
    _, inverse, counts = np.unique(np.array(tracks), return_inverse=True, return_counts=True)
    last = np.zeros(len(tracks), bool)
    for place in np.flatnonzero(counts > 2 * HELD_OUT).tolist():
        last[np.flatnonzero(inverse == place)[-HELD_OUT:]] = True
    return last

"""What the CNN hears in real sound: `free-music-mel`, 877 clips from 112 tracks of 6 soundtracks.

1. *Retrieval.* Does a clip lie nearer to other tracks of its soundtrack, and to other clips of its track, than to the
   rest? Asked on tracks of which nothing was learned; of tracks that were learned from, on clips that were not.
2. *Listening, semi-synthetic.* The sound is real; the listeners are drawn by :mod:`benchmarks.listeners`, which sees
   no sound. `ials` learns vectors from what they took of some tracks; by the sound of the others alone it is predicted
   who takes them.

Configurations were chosen by the mean over four folds of the other tracks (``python -m benchmarks.audio --validate``);
the test tracks were looked at once.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.listeners import DRAWS, LISTENERS, listening
from benchmarks.sounds import FOLDS, SEED, Stage, Vectors, interval, mean_of
from recsys.arrays import Float32, unit
from recsys.datasets.free_music_mel import clips
from recsys.metrics import Judged, average_precision, precision

DEPTH = 5


def measure_audio(environ: Mapping[str, str] = os.environ, *, threads: int = 1) -> dict[str, Any]:
    """``dataset``, ``clips``, ``tracks``, ``retrieval`` and ``listening``, of the test tracks; some two minutes.

    Each of the last two has ``rows``; those of ``listening`` are in the format of :mod:`benchmarks.content`, at depths
    that fit 35 cold tracks. UnknownDataset where the clips are nowhere.
    """
    return document(Stage.of(clips(environ)), threads=threads)


def document(stage: Stage, *, threads: int = 1, **options: Any) -> dict[str, Any]:
    """What :func:`measure_audio` gives, of any stage; ``options`` are for all networks."""
    pooled, networks = stage.pooled(), stage.networks(threads=threads, **options)
    masks = {"learned": stage.learned, "held_out": stage.held, "judged": stage.judged}
    tracks = np.array(stage.clips.tracks)
    return {
        "dataset": "free-music-mel",
        "clips": {name: int(mask.sum()) for name, mask in masks.items()},
        "tracks": {name: len(set(tracks[mask].tolist())) for name, mask in masks.items()},
        "retrieval": {"depth": DEPTH, "rows": retrieval(stage, [*pooled, *networks])},
        "listening": {
            "semi_synthetic": True,
            "listeners": LISTENERS,
            "rows": listening(stage, pooled, networks, threads=threads, **options),
        },
    }


def retrieval(stage: Stage, systems: list[Vectors]) -> list[dict[str, Any]]:
    """A row a system: precision at 5 and MAP of each question, with intervals of 95 % over tracks; chance first."""
    rng = np.random.default_rng(SEED)
    drawn = [rng.standard_normal((len(stage.learned), 64)).astype(np.float32) for _ in range(DRAWS)]
    chance = {"system": "chance", **mean_of([answers(stage, vectors) for vectors in drawn]), "fit_s": 0.0}
    return [chance, *({"system": s.name, **answers(stage, s.vectors), "fit_s": s.seconds} for s in systems)]


def answers(stage: Stage, vectors: Float32) -> dict[str, Any]:
    """How well clips find each other by the cosine of their ``vectors``, float32 (n, w).

    ``soundtrack``, ``album``: a clip of a judged track among those of other judged tracks. ``track``: among the other
    clips of judged tracks. ``held_out_track``: a held-out clip among the clips that were learned from.
    """
    vectors = unit(vectors)
    tracks, albums, soundtracks = map(np.array, (stage.clips.tracks, stage.clips.albums, stage.clips.soundtracks))
    judged, held, learned = (np.flatnonzero(mask) for mask in (stage.judged, stage.held, stage.learned))
    others = tracks[judged][:, None] != tracks[judged]
    questions = {
        "soundtrack": (judged, judged, others, soundtracks),
        "album": (judged, judged, others, albums),
        "track": (judged, judged, ~np.eye(len(judged), dtype=bool), tracks),
        "held_out_track": (held, learned, np.ones((len(held), len(learned)), bool), tracks),
    }
    found: dict[str, Any] = {}
    for name, (asking, among, allowed, labels) in questions.items():
        same = (labels[asking][:, None] == labels[among]) & allowed
        some = same.any(axis=1)
        scores = np.where(allowed, vectors[asking] @ vectors[among].T, -np.inf)[some]
        order = np.argsort(-scores, axis=1, kind="stable")
        lists = Judged(np.take_along_axis(same[some], order, axis=1), same[some].sum(axis=1))
        measured = {f"precision@{DEPTH}": precision(lists, DEPTH), "map": average_precision(lists, len(among))}
        for metric, values in measured.items():
            found[f"{name}_{metric}"] = round(float(values.mean()), 4)
            found[f"{name}_{metric}_interval"] = interval(values, tracks[asking][some].tolist())
    return found


def validate(environ: Mapping[str, str] = os.environ, *, threads: int = 1) -> dict[str, Any]:
    """The rows of both parts, means over the folds of the tracks that are not for the test."""
    found = clips(environ)
    folds = [document(Stage.of(found, fold), threads=threads) for fold in range(FOLDS)]
    return {
        part: [mean_of(rows) for rows in zip(*(fold[part]["rows"] for fold in folds), strict=True)]
        for part in ("retrieval", "listening")
    }


def main() -> None:
    """Measure the test tracks, or with ``--validate`` the folds of the others; JSON to standard output."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.audio", description="What the CNN hears in real sound.")
    parser.add_argument("--validate", action="store_true", help="the folds that configurations were chosen by")
    parser.add_argument("--plot", type=Path, help="a PNG to write")
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    if asked.validate:
        print(json.dumps(validate(threads=asked.threads), indent=2))
        return
    measured = measure_audio(threads=asked.threads)
    if asked.plot is not None:
        from benchmarks.audio_plot import draw  # noqa: PLC0415  the extra `report`

        draw(measured, asked.plot)
    print(json.dumps(measured, indent=2))


if __name__ == "__main__":
    main()

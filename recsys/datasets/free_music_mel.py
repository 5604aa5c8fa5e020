"""Clips of freely licensed game music as log-mel spectrograms: real sound, and nobody who listens.

So it is no log of events and stands in no table of them; :mod:`benchmarks.audio` reads it. 877 clips of six seconds
from 112 tracks. A soundtrack is what one game has; the file's ``album`` names four parts of one of the six.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from recsys.arrays import UInt8
from recsys.datasets import folder_with
from recsys.errors import DataError

SOUNDS = "free-music-mel/mel64_uint8.npz"
CLIPS = "free-music-mel/clips.csv"
MADE = (
    "make them, a table of clips (package, file, album, start) and their spectrograms X, from the music of asc, "
    "hyperrogue, planetblupi, singularity, warzone2100 and wesnoth (GPL, CC BY-SA),"
)
"""There is nothing to download."""


@dataclass(frozen=True, eq=False)
class Clips:
    """n clips in the order of the file.

    ``sounds``: uint8 (n, 64, frames), as :mod:`recsys.encoding.spectrogram` reads them. ``tracks``, ``albums``,
    ``soundtracks``: the names of what each is from, an album's with its soundtrack's, a track's with its album's.
    """

    sounds: UInt8
    tracks: tuple[str, ...]
    albums: tuple[str, ...]
    soundtracks: tuple[str, ...]


def clips(environ: Mapping[str, str] = os.environ) -> Clips:
    """The clips, from the folder of data sets. UnknownDataset: they are nowhere. DataError: they are not as made."""
    folder = folder_with("free-music-mel", (SOUNDS, CLIPS), MADE, environ)
    try:
        return read_clips(folder)
    except (OSError, ValueError, LookupError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(
            f"data set 'free-music-mel': its files under {folder} are not as they were made "
            f"({type(error).__name__}: {error}): get them anew"
        ) from error


def read_clips(folder: Path) -> Clips:
    """The clips below a folder of data sets. ValueError where sounds and table do not fit."""
    rows = pd.read_csv(folder / CLIPS, dtype=str, keep_default_na=False, encoding="utf-8")
    with np.load(folder / SOUNDS, allow_pickle=False) as arrays:
        sounds = arrays["X"]
    if sounds.dtype != np.uint8 or sounds.ndim != 3 or len(sounds) != len(rows):
        raise ValueError(f"sounds are {sounds.dtype} {sounds.shape}, uint8 ({len(rows)}, 64, frames) was wanted")
    soundtracks = rows["package"]
    albums = soundtracks + "/" + rows["album"]
    tracks = albums + "/" + rows["file"]
    return Clips(sounds, tuple(tracks), tuple(albums), tuple(soundtracks))

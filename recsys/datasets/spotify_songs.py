"""Songs in playlists of six genres, with Spotify's audio features (TidyTuesday 2020-01-21): a playlist is a user.

The file has 32,833 rows. A playlist that is listed under two subgenres has its songs in it once for each, 582 rows
that say nothing new; a song is added to a playlist once, so they are one event. All genres stay with the song.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from recsys.datasets import Dataset, Log
from recsys.datasets.ragged import events, most_given
from recsys.sections import Kind

AUDIO = (
    "danceability", "energy", "key", "loudness", "mode", "speechiness", "acousticness", "instrumentalness",
    "liveness", "valence", "tempo", "duration_ms",
)  # fmt: skip


def _read(folder: Path) -> Log:
    rows = pd.read_csv(
        folder / "spotify_songs/spotify_songs.zip",
        dtype={**dict.fromkeys(AUDIO, "float64"), "track_popularity": "int64"},
        keep_default_na=False,
        encoding="utf-8",
    )
    added = rows.drop_duplicates(["playlist_id", "track_id"], ignore_index=True)
    log = events(added["playlist_id"], added["track_id"], "add")
    tracks = rows.drop_duplicates("track_id", ignore_index=True)
    ids = tracks["track_id"]
    items = pd.DataFrame(
        {
            "item_id": ids,
            # the file comes from R, where NA is no name
            "title": tracks["track_name"].replace("NA", pd.NA),
            "artist": tracks["track_artist"].replace("NA", pd.NA),
            "album": tracks["track_album_name"].replace("NA", pd.NA),
            "released": tracks["track_album_release_date"],
            "popularity": tracks["track_popularity"],
            "genres": most_given(ids, rows["track_id"], rows["playlist_genre"]),
            "subgenres": most_given(ids, rows["track_id"], rows["playlist_subgenre"]),
            "playlists": most_given(ids, rows["track_id"], rows["playlist_name"]),
            **{name: tracks[name] for name in AUDIO},
        }
    )
    return Log("spotify-songs", log, items, {"add": Kind()})


DATASET = Dataset(
    name="spotify-songs",
    title="Spotify songs in playlists, with audio features",
    home="https://github.com/rfordatascience/tidytuesday (2020-01-21)",
    terms="none stated",
    files=("spotify_songs/spotify_songs.zip",),
    users=471,
    items=28_356,
    events=32_251,
    read=_read,
)

"""Artists listened to on Last.fm, with play counts and tags (HetRec 2011, Cantador, Brusilovsky & Kuflik)."""

from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd

from recsys.datasets import Dataset, Log
from recsys.datasets.ragged import events, most_given
from recsys.sections import Kind


def _texts(path: Path, encoding: str = "utf-8") -> pd.DataFrame:
    """A file of tabs; names such as ``"Weird Al" Yankovic`` hold quotes that quote nothing."""
    return pd.read_csv(path, sep="\t", dtype="str", keep_default_na=False, quoting=csv.QUOTE_NONE, encoding=encoding)


def _read(folder: Path) -> Log:
    folder /= "hetrec2011-lastfm-2k"
    plays = _texts(folder / "user_artists.dat")
    log = events(plays["userID"], plays["artistID"], "play", plays["weight"].astype("float64"))
    artists = _texts(folder / "artists.dat")
    # alone of all the files this one is no UTF-8
    names = _texts(folder / "tags.dat", "iso-8859-1").set_index("tagID")["tagValue"]
    tagged = _texts(folder / "user_taggedartists.dat")
    items = pd.DataFrame(
        {
            "item_id": artists["id"],
            "title": artists["name"],
            "tags": most_given(artists["id"], tagged["artistID"], tagged["tagID"].map(names)),
        }
    )
    return Log("lastfm-2k", log, items, {"play": Kind(scale="log")})


DATASET = Dataset(
    name="lastfm-2k",
    title="Last.fm listening of 2,000 users (HetRec 2011)",
    home="https://grouplens.org/datasets/hetrec-2011/",
    terms="non-commercial",
    files=tuple(
        f"hetrec2011-lastfm-2k/{file}.dat" for file in ("user_artists", "artists", "tags", "user_taggedartists")
    ),
    users=1_892,
    items=17_632,
    events=92_834,
    read=_read,
)

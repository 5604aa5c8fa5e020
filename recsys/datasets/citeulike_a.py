"""Articles in personal libraries (Wang & Blei 2011), in the item-cold-start split of Heater (Zhu et al. 2020).

3,396 articles occur in no training event. ``test`` holds them all; its column ``part`` says ``vali`` or ``test``.
``citations`` are the ids of the articles that cite an article or that it cites; the file does not say which.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from recsys.datasets import Dataset, Log
from recsys.datasets.ragged import events, grouped, ids, read_ragged
from recsys.sections import Kind


def _part(path: Path, **more: str) -> pd.DataFrame:
    pairs = pd.read_csv(path, dtype=np.int64)
    return events(pairs["uid"], pairs["iid"], "save").assign(**more)


def _read(folder: Path) -> Log:
    folder /= "citeulike-a"
    tagged = read_ragged(folder / "item-tag.dat", counted=True)
    names = pd.Series((folder / "tags.dat").read_text("utf-8").removesuffix("\n").split("\n"))
    cited = read_ragged(folder / "citations.dat", counted=True)
    total = len(tagged.lengths)
    items = pd.DataFrame(
        {
            "item_id": ids(np.arange(total)),
            "tags": grouped(tagged.owners, names.iloc[tagged.values], total),
            "citations": grouped(cited.owners, ids(cited.values), total),
        }
    )
    parts = [_part(folder / f"heater_{part}.csv", part=part) for part in ("vali", "test")]
    test = pd.concat(parts, ignore_index=True)
    return Log("citeulike-a", _part(folder / "heater_train.csv"), items, {"save": Kind()}, test)


DATASET = Dataset(
    name="citeulike-a",
    title="CiteULike-a: articles saved to personal libraries",
    home="https://github.com/js05212/citeulike-a",
    terms="none stated; research data",
    files=(
        "citeulike-a/heater_train.csv",
        "citeulike-a/heater_vali.csv",
        "citeulike-a/heater_test.csv",
        "citeulike-a/item-tag.dat",
        "citeulike-a/tags.dat",
        "citeulike-a/citations.dat",
    ),
    users=5_551,
    items=16_980,
    events=164_210,
    tests=40_776,
    read=_read,
)

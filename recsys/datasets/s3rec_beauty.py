"""Beauty products in the order in which each user reviewed them, as prepared for S3-Rec (Zhou et al. 2020)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from recsys.datasets import Dataset, Log
from recsys.datasets.ragged import events, grouped, ids, order_within, read_ragged
from recsys.sections import Kind


def _read(folder: Path) -> Log:
    folder /= "s3rec"
    rows = read_ragged(folder / "Beauty.txt")
    log = events(np.repeat(rows.heads, rows.lengths), rows.values, "purchase", order=order_within(rows.lengths))
    coded = json.loads((folder / "Beauty_item2attributes.json").read_text("ascii"))
    # a few items name a category twice
    codes = [list(dict.fromkeys(of_item)) for of_item in coded.values()]
    owners = np.repeat(np.arange(len(codes)), [len(of_item) for of_item in codes])
    flat = np.array([code for of_item in codes for code in of_item], np.int64)
    items = pd.DataFrame(
        {
            "item_id": pd.Series(list(coded), dtype="str"),
            "attributes": grouped(owners, ids(flat), len(codes)),
        }
    )
    return Log("s3rec-beauty", log, items, {"purchase": Kind()})


DATASET = Dataset(
    name="s3rec-beauty",
    title="Amazon Beauty sequences, S3-Rec edition",
    home="https://github.com/RUCAIBox/CIKM2020-S3Rec",
    terms="none stated",
    files=("s3rec/Beauty.txt", "s3rec/Beauty_item2attributes.json"),
    users=22_363,
    items=12_101,
    events=198_502,
    read=_read,
)

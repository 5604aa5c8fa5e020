"""Check-ins at places, in the split of LightGCN (He et al. 2020), on which most tables are published."""

from __future__ import annotations

from pathlib import Path

from recsys.datasets import Dataset, Log
from recsys.datasets.ragged import split_rows
from recsys.sections import Kind


def _read(folder: Path) -> Log:
    train, test = (split_rows(folder / "gowalla" / part, "visit") for part in ("train.txt", "test.txt"))
    return Log("gowalla", train, None, {"visit": Kind()}, test)


DATASET = Dataset(
    name="gowalla",
    title="Gowalla check-ins, LightGCN split",
    home="https://github.com/kuandeng/LightGCN",
    terms="none stated",
    files=("gowalla/train.txt", "gowalla/test.txt"),
    users=29_858,
    items=40_981,
    events=810_128,
    tests=217_242,
    read=_read,
)

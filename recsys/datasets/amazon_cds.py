"""CDs bought and reviewed, in the split of UltraGCN (Mao et al. 2021)."""

from __future__ import annotations

from pathlib import Path

from recsys.datasets import Dataset, Log
from recsys.datasets.ragged import split_rows
from recsys.sections import Kind


def _read(folder: Path) -> Log:
    train, test = (split_rows(folder / "amazon-cds" / part, "purchase") for part in ("train.txt", "test.txt"))
    return Log("amazon-cds", train, None, {"purchase": Kind()}, test)


DATASET = Dataset(
    name="amazon-cds",
    title="Amazon CDs, UltraGCN split",
    home="https://github.com/xue-pai/UltraGCN",
    terms="none stated",
    files=("amazon-cds/train.txt", "amazon-cds/test.txt"),
    users=43_169,
    items=35_648,
    events=604_475,
    tests=172_951,
    read=_read,
)

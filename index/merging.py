"""One answer from the answers of several indexes over different items."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recsys.arrays import Int32
from recsys.candidates import NONE, Candidates, beside


def merge(parts: Sequence[tuple[Candidates, int]], k: int) -> Candidates:
    """The k best of all parts, each with the row that its first item has in the whole.

    Inner products of one space share a scale, so the best of the parts' best are the best of all.
    """
    return beside([Candidates(_shifted(part.rows, start), part.scores) for part, start in parts]).top(k)


def _shifted(rows: Int32, start: int) -> Int32:
    return np.where(rows >= 0, rows + np.int32(start), NONE)

"""What somebody of whom nothing is known is answered, beside what most people take: the lower rungs of the ladder."""

from __future__ import annotations

import numpy as np

from recsys.arrays import Float64, Int32
from recsys.catalogue import Catalogue
from recsys.comparison import difference
from recsys.errors import DataError
from recsys.interactions import Interactions
from recsys.recency import Recency
from recsys.retrieval import by_popularity
from recsys.splits import split_in_time
from recsys.surfaces import Line
from recsys.users import History
from training.facts import MOST_DIFFERENT
from training.models.popular import popularity_of

HALF_LIVES = (7.0, 30.0, 90.0, 365.0)
"""Days after which a time counts half, of which the best is taken."""
NEVER = 36_500.0
"""Days after which it counts half where no trend was found: a hundred years."""
HELD_OUT = 0.2
"""The newest share of the events, which says what newcomers of that time took."""
LENGTH = 10
"""Places of the list that is judged."""
MEMBERS = 10
"""Items that a segment has on average, at least; a column of fewer, such as titles, names items and no segments."""


def rungs_of(data: Interactions, catalogue: Catalogue, rng: np.random.Generator) -> tuple[Line, ...]:
    """Segments, where the catalogue has columns that part it; what trends, where that foretells more than popularity.

    Both count a time half after as many days as did best for the newest part of the log.
    """
    half_life = trend_of(data, rng)
    columns = segments_of(catalogue)
    segment = [Line.model_validate({"name": "segment", "columns": columns, "half_life": half_life or NEVER})]
    trending = [] if half_life is None else [Line.model_validate({"name": "trending", "half_life": half_life})]
    return (*(segment if columns else ()), *trending)


def segments_of(catalogue: Catalogue) -> list[str]:
    """The columns of texts, or of lists of texts, that part the catalogue: few values, each of several items."""
    most = min(MOST_DIFFERENT, len(catalogue) // MEMBERS)
    return [column for column in catalogue.grouping if 1 < len(catalogue.values(column)) <= most]


def trend_of(data: Interactions, rng: np.random.Generator) -> float | None:
    """The days after which a time should count half, so that a list for everybody foretells the newest events best.

    None for a log without times, and where no such list has a larger NDCG@10 than the most popular items, over the
    users of that part, with an interval that excludes 0.
    """
    if not data.timed:
        return None
    try:
        split = split_in_time(data, HELD_OUT)
    except DataError:
        return None
    history = History.of(split.train)
    recency = Recency(len(data.items), history.rows, history.times)
    judged = {days: ndcg_of(recency.ranked(days)[:LENGTH], split.test) for days in HALF_LIVES}
    best = max(judged, key=lambda days: judged[days].mean() if len(judged[days]) else 0.0)
    popular = ndcg_of(by_popularity(popularity_of(split.train))[:LENGTH], split.test)
    return best if difference(judged[best], popular, rng).low > 0 else None


def ndcg_of(rows: Int32, test: Interactions) -> Float64:
    """NDCG of one list for everybody, float64 (u,), for those who took anything."""
    matrix = test.matrix()
    gains = 1 / np.log2(np.arange(2, LENGTH + 2))
    by_item = np.zeros(len(test.items))
    by_item[rows] = gains[: len(rows)]
    took = np.diff(matrix.indptr)
    matrix.data[:] = 1
    ideal = np.concatenate([[1.0], np.cumsum(gains)])[np.minimum(took, LENGTH)]
    found: Float64 = (matrix @ by_item / ideal)[took > 0]
    return found

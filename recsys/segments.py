"""Parts of the users and of the items that are judged by themselves, by rules that do not look at the answers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from recsys.arrays import Bool, Int8, Int64

ACTIVITY = ("few", "some", "many")
"""Thirds of the warm users by how many items are known of them."""
POPULARITY = ("head", "middle", "tail", "never")
"""Items by how much of the consumption in training is theirs; never: none of it."""
WARM = "warm"
"""The items of the first three together."""


def user_segments(known: Int64) -> dict[str, Bool]:
    """Which users fall into each segment, bool (users,); ``known``: int64 (users,), how many items each had taken.

    ``cold`` had none, ``warm`` some. The warm are cut into ``few``, ``some`` and ``many`` where a third and two thirds
    of them have no more items; users of equally many stay together, so the parts need not be equal, nor all be filled.

    >>> {name: mask.tolist() for name, mask in user_segments(np.array([0, 1, 5, 9])).items() if name in ACTIVITY}
    {'few': [False, True, False, False], 'some': [False, False, True, False], 'many': [False, False, False, True]}
    """
    warm = known > 0
    cuts = np.quantile(known[warm], [1 / 3, 2 / 3], method="inverted_cdf") if warm.any() else np.zeros(2)
    third = np.searchsorted(cuts, known)
    return {
        "all": np.ones(len(known), bool),
        "warm": warm,
        "cold": ~warm,
        **{name: warm & (third == place) for place, name in enumerate(ACTIVITY)},
    }


def item_segments(consumers: Int64) -> Int8:
    """The place in POPULARITY of each item, int8 (items,); ``consumers``: int64 (items,), users who took it.

    ``head`` are the most taken items that together have a third of all consumption, ``middle`` the next ones up to two
    thirds, ``tail`` the rest. The item that crosses a third still belongs to the part that it completes; equal items
    go by row.

    >>> [POPULARITY[place] for place in item_segments(np.array([1, 4, 0, 3, 1]))]
    ['tail', 'head', 'never', 'middle', 'tail']
    """
    order = np.argsort(-consumers, kind="stable")
    before = np.cumsum(consumers[order]) - consumers[order]
    places = np.empty(len(consumers), np.int8)
    places[order] = np.minimum(3 * before // max(int(consumers.sum()), 1), 2)
    return np.where(consumers > 0, places, np.int8(POPULARITY.index("never"))).astype(np.int8)


def item_parts(places: Int8) -> dict[str, Bool]:
    """The items of each name in POPULARITY, and of WARM, bool (items,); ``places`` as :func:`item_segments` gives them.

    >>> {name: part.tolist() for name, part in item_parts(np.array([0, 2, 3])).items() if name in ("never", "warm")}
    {'never': [False, False, True], 'warm': [True, True, False]}
    """
    parts = {name: places == place for place, name in enumerate(POPULARITY)}
    return {**parts, WARM: ~parts["never"]}


def means(values: Mapping[str, np.ndarray]) -> dict[str, float | None]:
    """The mean of each, undefined ones (nan) left out; None where there is nothing to take a mean of."""
    return {name: _mean(array) for name, array in values.items()}


def _mean(array: np.ndarray) -> float | None:
    defined = array[~np.isnan(array)]
    return round(float(defined.mean()), 6) if len(defined) else None

"""What features ask of items, taken from the events that are known and from the catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.arrays import Float32, Int32, ranges
from recsys.candidates import NONE
from recsys.catalogue import Catalogue
from recsys.interactions import Interactions
from recsys.item_facts import ItemFacts

LATELY = 0.1
"""The newest share of the events that counts as lately."""
MOST_CATEGORIES = 8
"""Categories that are kept of an item."""
MOST_DIFFERENT = 1000
"""A column of more values than these is none of categories."""

# An Arrow array; the published stubs know too few of its methods.
Arrow = Any


def facts_of(data: Interactions, catalogue: Catalogue) -> ItemFacts:
    """The facts of every item of the vocabulary. Law: they depend on these events alone, not on what came later."""
    first = np.full(len(data.items), np.nan)
    if data.timed:
        np.fmin.at(first, data.item, data.time.astype(np.float64))
    numbers = _numbers(catalogue)
    categories, width = _categories(catalogue)
    newest = data.where(np.arange(len(data)) >= int(len(data) * (1 - LATELY)))
    return ItemFacts(
        takers=_shares(data),
        # Without times the last events of a log are no newer than its first.
        lately=_shares(newest) if data.timed else np.full(len(data.items), np.nan, np.float32),
        first=first,
        numbers=np.array([*numbers.values()], np.float32).reshape(len(numbers), len(data.items)),
        names=tuple(numbers),
        categories=categories,
        width=width,
    )


def _shares(data: Interactions) -> Float32:
    """Which share of the users of ``data`` took each item."""
    pairs = np.unique(data.user.astype(np.int64) * len(data.items) + data.item)
    users = len(np.unique(data.user))
    counts = np.bincount(pairs % max(len(data.items), 1), minlength=len(data.items))
    return (counts / max(users, 1)).astype(np.float32)


def _numbers(catalogue: Catalogue) -> Mapping[str, Float32]:
    """Every column of numbers, float32 (n,), nan where unknown."""
    found = {}
    for field in catalogue.table.schema:
        kind = field.type
        if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
            column: Arrow = catalogue.table.column(field.name)
            known: Arrow = pc.fill_null(column.cast(pa.float32(), safe=False), pa.scalar(np.nan, pa.float32()))
            found[field.name] = np.asarray(known, np.float32)
    return found


def _categories(catalogue: Catalogue) -> tuple[Int32, int]:
    """The first eight categories of each item, -1 where there are fewer, and how many different ones there are.

    Categories are the values of the first column of lists of text that has no more than 1,000 different ones.
    """
    for field in catalogue.table.schema:
        if not pa.types.is_list(field.type) or not pa.types.is_string(field.type.value_type):
            continue
        names, places, rows = catalogue.groups(field.name)
        if 0 < len(names) <= MOST_DIFFERENT:
            counts = np.bincount(rows, minlength=len(catalogue)).astype(np.int64)
            within = ranges(counts)
            kept = within < MOST_CATEGORIES
            codes = np.full((len(catalogue), min(MOST_CATEGORIES, int(counts.max()))), NONE)
            codes[rows[kept], within[kept]] = places[kept]
            return codes, len(names)
    return np.full((len(catalogue), 1), NONE), 0

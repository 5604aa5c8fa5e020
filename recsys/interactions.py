"""Events as columns of rows, and the matrix that models fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from recsys.arrays import Bool, Float32, Int8, Int32, Int64
from recsys.errors import DataError
from recsys.sections import Kind
from recsys.vocabulary import Vocabulary

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, eq=False)
class Interactions:
    """n events, in the order of their times; in the order of the log where the log has none.

    ``user``, ``item``: int32 (n,), rows of the vocabularies. ``weight``: float32 (n,), what the event teaches;
    0 where it only marks the item as seen. ``kind``: int8 (n,), places in ``kinds``. ``time``: int64 (n,), unix
    seconds UTC, 0 everywhere in a log that is not ``timed``.
    """

    users: Vocabulary
    items: Vocabulary
    user: Int32
    item: Int32
    weight: Float32
    kind: Int8
    kinds: tuple[str, ...]
    time: Int64
    timed: bool

    def __len__(self) -> int:
        return len(self.user)

    @property
    def shape(self) -> tuple[int, int]:
        """(number of users, number of items)."""
        return len(self.users), len(self.items)

    def matrix(self) -> sp.csr_matrix:
        """What was learned from: float32 CSR (users, items), weights of repeated events added up."""
        taught = self.weight > 0
        matrix = sp.csr_matrix((self.weight[taught], (self.user[taught], self.item[taught])), shape=self.shape)
        matrix.sum_duplicates()
        return matrix

    def seen(self) -> sp.csr_matrix:
        """What was consumed, liked or not: CSR (users, items) of ones."""
        ones = np.ones(len(self), np.float32)
        matrix = sp.csr_matrix((ones, (self.user, self.item)), shape=self.shape)
        matrix.sum_duplicates()
        matrix.data[:] = 1
        return matrix

    def where(self, mask: Bool) -> Interactions:
        """The events where ``mask``, bool (n,), is True; the vocabularies stay whole."""
        return replace(
            self,
            user=self.user[mask],
            item=self.item[mask],
            weight=self.weight[mask],
            kind=self.kind[mask],
            time=self.time[mask],
        )

    def joined(self, other: Interactions) -> Interactions:
        """The events of both, in the order of their times; ValueError unless vocabularies and kinds are the same."""
        if (self.users, self.items, self.kinds) != (other.users, other.items, other.kinds):
            raise ValueError("events of two logs cannot be joined: their vocabularies and kinds must be the same")
        order = np.argsort(np.concatenate([self.time, other.time]), kind="stable")
        return replace(
            self,
            user=np.concatenate([self.user, other.user])[order],
            item=np.concatenate([self.item, other.item])[order],
            weight=np.concatenate([self.weight, other.weight])[order],
            kind=np.concatenate([self.kind, other.kind])[order],
            time=np.concatenate([self.time, other.time])[order],
        )


def interactions_of(
    events: pd.DataFrame,
    kinds: Mapping[str, Kind],
    items: Vocabulary | None = None,
    users: Vocabulary | None = None,
) -> Interactions:
    """Validated events as :class:`Interactions`.

    ``kinds`` says what each kind teaches. ``items``, ``users``:
    vocabularies to place the events in, which must know every id; None makes them, in order of first
    appearance. DataError for a kind that ``kinds`` does not know.
    """
    column = events["kind"].astype(str)
    names = tuple(sorted(column.unique()))
    unknown = [name for name in names if name not in kinds]
    if unknown:
        raise DataError(
            f"the log has events of kind {', '.join(unknown)}, but [data.kinds] knows {', '.join(sorted(kinds))}: "
            "say what they weigh, 0 if they only mark an item as seen"
        )
    timed = "time" in events.columns
    if timed:
        events = events.iloc[np.argsort(events["time"].to_numpy(np.int64), kind="stable")]
    elif "order" in events.columns:
        events = events.iloc[np.argsort(events["order"].to_numpy(np.int64), kind="stable")]
    column = events["kind"].astype(str)
    value = events["value"].to_numpy(np.float64) if "value" in events.columns else np.ones(len(events))
    kind = np.zeros(len(events), np.int8)
    weight = np.ones(len(events), np.float64)
    for place, name in enumerate(names):
        mask = (column == name).to_numpy()
        kind[mask] = place
        weight[mask] = kinds[name].weigh(value[mask])
    users = users or Vocabulary.of(events["user_id"].unique())
    items = items or Vocabulary.of(events["item_id"].unique())
    return Interactions(
        users=users,
        items=items,
        user=_rows(users, events["user_id"], "user"),
        item=_rows(items, events["item_id"], "item"),
        weight=weight.astype(np.float32),
        kind=kind,
        kinds=names,
        time=events["time"].to_numpy(np.int64) if timed else np.zeros(len(events), np.int64),
        timed=timed,
    )


def _rows(vocabulary: Vocabulary, ids: pd.Series, what: str) -> Int32:
    # Each distinct id is looked up once.
    codes, distinct = ids.factorize()
    rows = vocabulary.rows(list(distinct))
    if len(rows) and rows.min() < 0:
        lost = distinct[int(rows.argmin())]
        raise ValueError(f"the {what} vocabulary does not know {lost!r}, which the events name")
    return np.asarray(rows[codes], np.int32)

"""Rows of different lengths, as collaborative-filtering papers write them: a number, then the row's items."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from recsys.arrays import Int64, ranges


@dataclass(frozen=True, eq=False)
class Ragged:
    """Rows one after the other.

    ``heads``: int64 (r,), the number each begins with. ``lengths``: int64 (r,). ``values``: int64 (sum of lengths,).
    """

    heads: Int64
    lengths: Int64
    values: Int64

    @property
    def owners(self) -> Int64:
        """The row of each value, int64 (n,)."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)


def read_ragged(path: Path, *, counted: bool = False) -> Ragged:
    """Rows of whole numbers; a row may have nothing after its head.

    ``counted``: the head says how many follow, as in ``users.dat`` of CiteULike. ValueError names the line that is
    empty, holds something else, or does not have as many as it says.
    """
    text = path.read_bytes()
    raw = np.frombuffer(text if text.endswith(b"\n") else text + b"\n", np.uint8)
    is_digit = (raw >= ord("0")) & (raw <= ord("9"))
    stranger = ~is_digit & ~np.isin(raw, np.frombuffer(b" \t\r\n", np.uint8))
    ends = np.flatnonzero(raw == ord("\n"))
    if stranger.any():
        line = int(np.searchsorted(ends, stranger.argmax())) + 1
        raise ValueError(f"{path}, line {line}: whole numbers were wanted, there is {chr(raw[stranger.argmax()])!r}")
    begins = np.flatnonzero(is_digit & ~np.concatenate([[False], is_digit[:-1]]))
    tokens = np.diff(np.searchsorted(begins, ends), prepend=0)
    if not tokens.all():
        raise ValueError(f"{path}, line {int(tokens.argmin()) + 1} is empty: a number was wanted")
    numbers = np.fromstring(text, dtype=np.int64, sep=" ")
    is_head = np.zeros(len(numbers), bool)
    is_head[np.cumsum(tokens) - tokens] = True
    heads, lengths = numbers[is_head], tokens - 1
    if counted and (heads != lengths).any():
        line = int((heads != lengths).argmax())
        raise ValueError(f"{path}, line {line + 1} says {heads[line]} numbers follow, there are {lengths[line]}")
    return Ragged(heads, lengths, numbers[~is_head])


def ids(numbers: Int64) -> pd.Series[str]:
    """Whole numbers as ids, by way of Arrow, which is many times faster than one ``str`` a number."""
    return pd.Series(pa.array(numbers).cast(pa.large_string()), dtype="str")


def events(user: Any, item: Any, kind: str, value: Any = 1.0, **more: Any) -> pd.DataFrame:
    """Events in the columns of :mod:`recsys.events`. ``user`` and ``item``: whole numbers or texts, one an event."""
    user, item = (
        ids(np.asarray(column)) if np.asarray(column).dtype.kind == "i" else pd.Series(column, dtype="str")
        for column in (user, item)
    )
    same_kind = pd.Series(pa.repeat(pa.scalar(kind, pa.large_string()), len(user)), dtype="str")
    values = np.broadcast_to(np.asarray(value, np.float64), len(user))
    columns = {"user_id": user, "item_id": item, "kind": same_kind, "value": values, **more}
    return pd.DataFrame(columns)


def split_rows(path: Path, kind: str) -> pd.DataFrame:
    """Events of a file of "user, then items" rows."""
    rows = read_ragged(path)
    return events(np.repeat(rows.heads, rows.lengths), rows.values, kind)


def grouped(owners: Int64, values: pd.Series[str], total: int) -> pd.Series[Any]:
    """The values of each owner as an Arrow list, in the order given; ``total`` lists, empty where there is no value.

    >>> grouped(np.array([2, 0, 2]), pd.Series(["x", "y", "z"]), 3).tolist()
    [['y'], [], ['x', 'z']]
    """
    order = np.argsort(owners, kind="stable")
    offsets = np.concatenate([[0], np.cumsum(np.bincount(owners, minlength=total))])
    cells = pa.array(values.iloc[order].to_numpy(object), pa.string())
    return lists(pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), cells))


def most_given(items: pd.Series[str], owners: pd.Series[str], values: pd.Series[str]) -> pd.Series[Any]:
    """What was said of each item, once each, the most often said first: an Arrow list an item.

    ``owners[i]`` is the item of which ``values[i]`` was said; items that are not in ``items`` are left out.

    >>> most_given(pd.Series(["a", "b"]), pd.Series(["a", "a", "a", "c"]), pd.Series(["x", "y", "y", "z"])).tolist()
    [['y', 'x'], []]
    """
    said = pd.DataFrame({"row": pd.Index(items).get_indexer(pd.Index(owners)), "value": values.to_numpy()})
    said = said[said["row"] >= 0].groupby(["row", "value"], sort=False).size().reset_index(name="times")
    said = said.sort_values("times", ascending=False, kind="stable")
    return grouped(said["row"].to_numpy(), said["value"], len(items))


def lists(array: pa.Array[Any]) -> pd.Series[Any]:
    """An Arrow list array as a column."""
    return pd.Series(array, dtype=pd.ArrowDtype(array.type))


def order_within(lengths: Int64) -> Int64:
    """The position of each value in its row, from 0."""
    return ranges(lengths)

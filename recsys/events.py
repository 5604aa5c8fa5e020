"""Reading a log of events, and a catalogue of items, as the files of their owner have them.

Nothing is coerced on the way in. An id is text and stays as it was written (``007`` and ``1.0`` too); a number
or a time that does not parse keeps its text, so that validation can say where it stands. What cannot even
be put into rows (no such file, broken JSON, a row with too many fields) is refused here.

The columns that come out, each a pandas column:

* ``user_id``, ``item_id``, ``kind``: str
* ``value``: float64; 1 where the log has no such column
* ``time``: int64, unix seconds UTC, parts of a second cut off; absent when the log has no times
* ``event_id``: str; absent when the log has none

A column with a missing or an unreadable cell keeps the cells of the file until :func:`typed` is asked.
All other columns of the file are kept behind these. ``frame.attrs`` says where the rows came from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recsys.arrays import Int64
from recsys.errors import DataError
from recsys.files import Columns, places_in, read_file
from recsys.sections import Data, EventColumns, Kind

# Beyond this a float no longer holds every whole number, and no time is meant.
_LARGEST_TIME = 2.0**53


def read_events(data: Data) -> pd.DataFrame:
    """The events of ``data.events``, one after the other, under canonical column names.

    An empty ``value`` is 1 where the event's kind makes no use of values, and is left empty otherwise.

    DataError: a missing, empty or unreadable file, or a column that is not there. DataRefused: rows that do
    not have as many fields as the header.
    """
    columns = data.event_columns
    parts = [_canonical(path, read_file(path), columns.model_dump(), _needed(columns)) for path in data.events]
    frame = _joined(parts, data.events)
    if "kind" not in frame:
        frame.insert(2, "kind", pd.Series(data.default_kind, index=frame.index, dtype="str"))
    if "value" not in frame:
        frame.insert(3, "value", 1.0)
    else:
        frame["value"] = _values(frame["value"], frame["kind"], data.kinds)
    if "time" in frame:
        frame["time"] = _typed_where_all(frame["time"], seconds, np.int64)
    canonical = [name for name in EventColumns.model_fields if name in frame]
    order = ["user_id", "item_id", "kind", "value", "time", "event_id"]
    rest = [name for name in frame if name not in canonical]
    return frame[[name for name in order if name in canonical] + rest]


def read_items(data: Data) -> pd.DataFrame | None:
    """The items of ``data.items``: ``item_id``, ``title`` if there is one, and every other column as it is.

    None when the settings name no item files. DataError and DataRefused as for :func:`read_events`.
    """
    if not data.items:
        return None
    columns = data.item_columns
    needed = {columns.item_id} | ({columns.title} if columns.title not in {None, "title"} else set())
    parts = [_canonical(path, read_file(path), columns.model_dump(), needed) for path in data.items]
    return _joined(parts, data.items)


def texts(column: pd.Series[Any]) -> pd.Series[str]:
    """The cells as text; missing where a cell is none. Whole numbers count as text, other numbers do not.

    >>> texts(pd.Series(["007", 7, 7.0, None], dtype=object)).tolist()
    ['007', '7', nan, nan]
    """
    if isinstance(column.dtype, pd.StringDtype):
        return column
    if pd.api.types.is_integer_dtype(column.dtype):
        return column.astype("str")
    cells = [str(cell) if type(cell) is int else cell if _is_text(cell) else None for cell in column]
    return pd.Series(cells, index=column.index, dtype="str", name=column.name)


def numbers(column: pd.Series[Any]) -> pd.Series[float]:
    """The cells as float64; nan where a cell is no number. A truth value is none.

    >>> numbers(pd.Series(["1", " 2.5 ", "1_000", "many", True, None], dtype=object)).tolist()
    [1.0, 2.5, nan, nan, nan, nan]
    """
    if pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype):
        return column.astype("float64")
    if isinstance(column.dtype, pd.StringDtype):
        return pd.to_numeric(column, errors="coerce").astype("float64")
    cells = column.astype(object)
    parsed = np.full(len(cells), np.nan)
    is_text = np.fromiter(map(_is_text, cells), bool, len(cells))
    parsed[is_text] = pd.to_numeric(cells[is_text].astype("str"), errors="coerce").astype("float64")
    parsed[~is_text] = [_number(cell) for cell in cells[~is_text]]
    return pd.Series(parsed, index=column.index, name=column.name)


def seconds(column: pd.Series[Any]) -> pd.Series[float]:
    """The cells as whole unix seconds, float64; nan where a cell is no time. Text may be ISO 8601, UTC by default.

    >>> seconds(pd.Series(["1700000000.9", "2023-11-14T22:13:20", "2023-11-15T00:13:20+02:00", "noon"])).tolist()
    [1700000000.0, 1700000000.0, 1700000000.0, nan]
    """
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        return _since_1970(pd.to_datetime(column, utc=True))
    parsed = _whole(numbers(column))
    written = texts(column[parsed.isna() & column.notna()])
    if written.notna().any():
        dates = pd.to_datetime(written, utc=True, format="ISO8601", errors="coerce")
        parsed = parsed.fillna(_since_1970(dates))
    return parsed


def typed(frame: pd.DataFrame) -> pd.DataFrame:
    """Events whose every cell is known to be readable, in the types that the module promises.

    ValueError where a cell is not: validate first.
    """
    readers: dict[str, tuple[Callable[[pd.Series[Any]], pd.Series[Any]], Any]] = {
        **dict.fromkeys(("user_id", "item_id", "kind", "event_id"), (texts, "str")),
        "value": (numbers, np.float64),
        "time": (seconds, np.int64),
    }
    changed = {name: _typed_where_all(frame[name], *reader) for name, reader in readers.items() if name in frame}
    for name, column in changed.items():
        if column.dtype != pd.Series([], dtype=readers[name][1]).dtype or column.isna().any():
            raise ValueError(f"column {name} holds cells that are missing or unreadable: validate before use")
    return frame.assign(**changed)


def places(frame: pd.DataFrame, positions: Int64) -> list[str]:
    """Where rows stand in the files they were read from: ``line`` of a text file, ``row`` of another, both from 1.

    ``positions`` int64 (m,), of rows of ``frame``. The file is named when there are several. A frame that was
    not read from files has rows only.
    """
    files: list[tuple[str, int]] = [(str(path), int(rows)) for path, rows in frame.attrs.get("files", [])]
    if not files:
        return [f"row {position + 1}" for position in positions.tolist()]
    # labels outlive a selection of rows, positions do not
    labels = frame.index.to_numpy()[positions]
    ends = np.cumsum([rows for _, rows in files])
    found: dict[int, str] = {}
    for number, (path, rows) in enumerate(files):
        start = int(ends[number]) - rows
        inside = np.unique(labels[(labels >= start) & (labels < ends[number])])
        prefix = f"{Path(path).name} " if len(files) > 1 else ""
        for label, place in zip(inside.tolist(), places_in(Path(path), inside - start, rows), strict=True):
            found[label] = prefix + place
    return [found[label] for label in labels.tolist()]


def original_columns(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with the column names of its files, and without the columns that they did not have."""
    names: dict[str, str] | None = frame.attrs.get("columns")
    return frame if names is None else frame[[name for name in frame if name in names]].rename(columns=names)


# Cells


def _is_text(cell: object) -> bool:
    """Whether this is text that UTF-8 can hold; JSON may hold half a surrogate pair, which is none."""
    if not isinstance(cell, str):
        return False
    try:
        cell.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _number(cell: object) -> float:
    if isinstance(cell, bool | np.bool_) or not isinstance(cell, int | float | np.number):
        return np.nan
    try:
        return float(cell)
    except OverflowError:
        return np.inf


def _since_1970(times: pd.Series[Any]) -> pd.Series[float]:
    return _whole((times - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1))


def _whole(column: pd.Series[Any]) -> pd.Series[float]:
    return pd.Series(np.floor(column.to_numpy(np.float64)), index=column.index, name=column.name)


def _typed_where_all(
    column: pd.Series[Any], reader: Callable[[pd.Series[Any]], pd.Series[Any]], dtype: Any
) -> pd.Series[Any]:
    """The column in its own type if every cell can be read, else as it came."""
    read = reader(column)
    unreadable = read.isna() if dtype is not np.int64 else ~(read.abs() < _LARGEST_TIME)
    return column if unreadable.any() else read.astype(dtype)


def _values(column: pd.Series[Any], kind: pd.Series[Any], kinds: Mapping[str, Kind]) -> pd.Series[Any]:
    """Values as numbers; an empty one is 1 where its kind does not look at it."""
    looked_at = [name for name, meaning in kinds.items() if meaning.scale != "none" or meaning.at_least is not None]
    unused = column.isna() & ~kind.isin(looked_at)
    read = numbers(column).mask(unused, 1.0)
    if read.notna().all():
        return read
    return column.astype(object).mask(unused, 1.0) if unused.any() else column


# Files


def _needed(columns: EventColumns) -> set[str]:
    """The file columns that must be there: both ids, and every one whose name was chosen."""
    chosen = {
        getattr(columns, name)
        for name, field in EventColumns.model_fields.items()
        if getattr(columns, name) not in {None, field.default}
    }
    return chosen | {columns.user_id, columns.item_id}


def _joined(parts: Sequence[pd.DataFrame], paths: Sequence[Path]) -> pd.DataFrame:
    if not any(len(part) for part in parts):
        named = ", ".join(str(path) for path in paths) or "no file"
        raise DataError(f"{named}: no rows were found, at least one was wanted; check what wrote the log")
    names: dict[str, str] = {}
    for part in parts:
        names = {**names, **part.attrs["columns"]}
    files = [[str(path), len(part)] for path, part in zip(paths, parts, strict=True)]
    # concat keeps attrs only where all are equal; they differ here
    frame = pd.concat(parts, ignore_index=True) if len(parts) > 1 else parts[0]
    frame.attrs = {"files": files, "columns": names}
    return frame


def _canonical(path: Path, cells: Columns, columns: Mapping[str, str | None], needed: Iterable[str]) -> pd.DataFrame:
    """One file's columns under canonical names; a stranger that bears such a name steps aside."""
    missing = [name for name in needed if name not in cells]
    if missing:
        raise DataError(
            f"{path}: there is no column {', '.join(map(repr, sorted(missing)))}, it has {', '.join(cells) or 'none'}; "
            "say in [data.event_columns] or [data.item_columns] of recsys.toml which column holds what"
        )
    named = {original: canonical for canonical, original in columns.items() if original is not None}
    names: dict[str, str] = {}
    for original in cells:
        name = named.get(original, original)
        while original not in named and (name in columns or name in names):
            name += "_in_file"
        names[name] = original
    series = {name: cells[original] for name, original in names.items()}
    for name in ("user_id", "item_id", "kind", "event_id", "title"):
        if name in series and name in columns:
            series[name] = _text_cells(series[name])
    frame = pd.DataFrame(series, copy=False)
    frame.attrs = {"columns": names}
    return frame


def _text_cells(column: pd.Series[Any]) -> pd.Series[Any]:
    """Text as text; a column with a cell that is none keeps its cells."""
    read = texts(column)
    return column if (read.isna() & column.notna()).any() else read

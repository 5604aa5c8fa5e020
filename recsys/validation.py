"""What a log and a catalogue must be before anything is learned from them, and which rows are not.

The demands are pandera schemas, :func:`event_schema` and :func:`item_schema`. They are not run by pandera's own
``validate``, which lists failures cell by cell (1.4 s a check when a million rows fail) and knows nothing of the
cells that could not be parsed; :func:`_failures` reads the same schema and gives a mask a check.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from recsys.arrays import Bool, Int64
from recsys.durable import whole
from recsys.errors import DataRefused, MissingExtra
from recsys.events import numbers, original_columns, places, seconds, texts, typed

try:
    import pandera.pandas as pandera
except ModuleNotFoundError as error:
    raise MissingExtra("pandera, which checks data,", "train") from error

LONGEST_ID = 1_000
SHOWN_ROWS = 5
SHOWN_VALUES = 3

_EARLIEST = datetime(1990, 1, 1, tzinfo=UTC).timestamp()
_UNITS = {"milliseconds": 1e3, "microseconds": 1e6, "nanoseconds": 1e9}
_CONTROL = r"[\x00-\x1f\x7f-\x9f]"


@dataclass(frozen=True)
class Finding:
    """One check that failed on one column.

    ``positions``: int64 (rows,), where the rows are in the frame. ``where``: the first of them in their file.
    """

    check: str
    column: str
    rows: int
    where: tuple[str, ...]
    examples: tuple[str, ...]
    advice: str
    positions: Int64 = field(repr=False, compare=False)

    @property
    def of_the_whole(self) -> bool:
        """Whether this is about the table, so that no row can be set aside to mend it."""
        return self.check in {"missing column", "no rows"}

    def plain(self) -> dict[str, object]:
        """The finding as JSON can hold it."""
        return {
            "check": self.check,
            "column": self.column,
            "rows": self.rows,
            "where": list(self.where),
            "examples": list(self.examples),
            "what to do": self.advice,
        }


@dataclass(frozen=True)
class Findings:
    """Every check that failed on one table; false when none did.

    ``kind``: ``events`` or ``items``. ``checked``: how many rows were looked at. As text: a table.
    """

    kind: str
    checked: int
    found: tuple[Finding, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.found)

    def __len__(self) -> int:
        return len(self.found)

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.found)

    @property
    def bad(self) -> Int64:
        """Positions of the rows that failed at least one check, int64, ascending."""
        return np.unique(np.concatenate([np.empty(0, np.int64), *(finding.positions for finding in self.found)]))

    def plain(self) -> list[dict[str, object]]:
        """The table as JSON can hold it."""
        return [finding.plain() for finding in self.found]

    def __str__(self) -> str:
        if not self.found:
            return f"{self.kind}: {self.checked:,} rows, nothing wrong"
        head = ("check", "column", "rows", "first at", "for example", "what to do")
        body = [
            (f.check, f.column, f"{f.rows:,}", ", ".join(f.where), ", ".join(f.examples), f.advice) for f in self.found
        ]
        widths = [max(map(len, column)) for column in zip(head, *body, strict=True)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in (head, *body)]
        return "\n  ".join([f"{self.kind}: {len(self.bad):,} of {self.checked:,} rows are bad", *lines])


@dataclass(frozen=True)
class Checked:
    """What ``recsys data check`` says of a log: what was found, how much there is, and from when to when."""

    events: Findings
    items: Findings | None
    counts: dict[str, int]
    first: datetime | None
    last: datetime | None


def event_schema(now: datetime, known: pd.Index[str] | None = None) -> pandera.DataFrameSchema:
    """What events must be. ``known``: ids of the catalogue, if there is one."""
    latest = (now + timedelta(days=1)).timestamp()

    def in_unit(time: pd.Series[float], factor: float) -> pd.Series[bool]:
        return (time / factor).between(_EARLIEST, latest)

    def not_future(time: pd.Series[float]) -> pd.Series[bool]:
        return (time <= latest) | pd.concat([in_unit(time, f) for f in _UNITS.values()], axis=1).any(axis=1)

    def not_in(factor: float) -> Callable[[pd.Series[float]], pd.Series[bool]]:
        return lambda time: ~in_unit(time, factor)

    units = [
        pandera.Check(not_in(factor), name=unit, description=f"divide by {factor:,.0f}: times are unix seconds")
        for unit, factor in _UNITS.items()
    ]
    catalogued = [
        pandera.Check(
            # an empty id is a finding of its own
            lambda ids: ids.isin(known) | (ids.str.strip() == ""),
            name="unknown item",
            description="add the item to the catalogue, or leave `items` out of the settings",
        )
    ]
    return pandera.DataFrameSchema(
        {
            "user_id": pandera.Column(str, _id_checks()),
            "item_id": pandera.Column(str, _id_checks() + (catalogued if known is not None else [])),
            "kind": pandera.Column(str, _id_checks()),
            "value": pandera.Column(
                float,
                [
                    pandera.Check(lambda v: ~np.isinf(v), name="not finite", description="write a finite number"),
                    pandera.Check(
                        lambda v: v >= 0,
                        name="negative",
                        description="values are 0 or more: give a dislike its own kind with weight 0",
                    ),
                ],
            ),
            "time": pandera.Column(
                int,
                [
                    *units,
                    pandera.Check(
                        not_future, name="in the future", description=f"it is {now:%Y-%m-%d}: mend the clock"
                    ),
                    pandera.Check(
                        lambda time: time >= _EARLIEST,
                        name="before 1990",
                        description="write unix seconds or ISO 8601; a log without times has no time column",
                    ),
                ],
                required=False,
            ),
            "event_id": pandera.Column(str, _id_checks(), unique=True, required=False),
        }
    )


def item_schema() -> pandera.DataFrameSchema:
    """What a catalogue must be."""
    return pandera.DataFrameSchema(
        {
            "item_id": pandera.Column(str, _id_checks(), unique=True),
            "title": pandera.Column(str, nullable=True, required=False),
        }
    )


def validate_events(frame: pd.DataFrame, items: pd.DataFrame | None, now: datetime) -> Findings:
    """Everything wrong with events. ``items``: their catalogue; an event of an item that it lacks is a finding.

    Of rows that repeat an event id, all but the first are bad.
    """
    known = None if items is None else pd.Index(texts(items["item_id"]).dropna().unique())
    return _findings("events", frame, event_schema(now, known))


def validate_items(frame: pd.DataFrame) -> Findings:
    """Everything wrong with a catalogue. Of rows that repeat an item id, all but the first are bad."""
    found = _findings("items", frame, item_schema())
    others = [str(name) for name in frame if name not in {"item_id", "title"}]
    mixed = [_mixed(frame, name) for name in others if frame[name].dtype == object]
    return Findings(found.kind, found.checked, found.found + tuple(finding for finding in mixed if finding))


def check(events: pd.DataFrame, items: pd.DataFrame | None, now: datetime) -> Checked:
    """Validate a log and its catalogue, and count them. Counts are of what can be read."""
    counts = {"events": len(events)}
    for name, key in (("user_id", "users"), ("item_id", "items")):
        if name in events:
            counts[key] = int(texts(events[name]).nunique())
    if items is not None:
        counts["catalogue"] = len(items)
    times = seconds(events["time"]).to_numpy() if "time" in events else np.empty(0)
    # beyond these datetime has no names for the years
    times = times[(times >= 0) & (times < datetime(9999, 1, 1, tzinfo=UTC).timestamp())]
    first, last = (
        datetime.fromtimestamp(float(end), UTC) if len(times) else None
        for end in (times.min(initial=np.inf), times.max(initial=0))
    )
    with_ids = items if items is not None and "item_id" in items else None
    return Checked(
        validate_events(events, with_ids, now), None if items is None else validate_items(items), counts, first, last
    )


def accept(frame: pd.DataFrame, findings: Findings, quarantine: Path | None, share: float) -> pd.DataFrame:
    """The rows that may be trained on, events in their promised types.

    ``findings`` are those of ``frame``. With none, all rows go on. Otherwise the bad rows are written to
    ``quarantine`` (``.csv`` or ``.parquet``, whole or not at all) under the column names of their file, with a
    ``reason``, and the others go on, if the bad ones are at most ``share`` of all.

    DataRefused with the table of findings: there are some and no ``quarantine``, or too many, or of the whole table.
    ValueError: ``findings`` of another frame.
    """
    if findings.checked != len(frame):
        raise ValueError(f"findings are of {findings.checked} rows, the frame has {len(frame)}: validate this frame")
    bad = findings.bad
    if findings:
        if any(finding.of_the_whole for finding in findings):
            raise DataRefused(f"{findings}\nno rows can be set aside for this: correct the file", findings.plain())
        if quarantine is None:
            raise DataRefused(
                f"{findings}\ncorrect these rows, or give --quarantine PATH to set them aside", findings.plain()
            )
        if len(bad) == len(frame) or len(bad) > share * len(frame):
            raise DataRefused(
                f"{findings}\n{len(bad):,} bad rows are {len(bad) / len(frame):.2%} of {len(frame):,}, "
                f"at most {share:.2%} may be set aside: correct them, or raise quarantine_share in [data]",
                findings.plain(),
            )
        if quarantine.suffix not in _WRITERS:
            raise DataRefused(
                f"{quarantine}: bad rows are written as {' or '.join(_WRITERS)}, choose a path that ends so",
                findings.plain(),
            )
        quarantine.parent.mkdir(parents=True, exist_ok=True)
        with whole(quarantine) as path:
            _WRITERS[quarantine.suffix](_set_aside(frame, findings), path)
        frame = frame.loc[~np.isin(np.arange(len(frame)), bad)]
    return typed(frame) if findings.kind == "events" else frame.assign(item_id=texts(frame["item_id"]))


# Reading a schema


_PARSERS: dict[str, tuple[Callable[[pd.Series[Any]], pd.Series[Any]], str, str]] = {
    "value": (numbers, "not a number", "write a number with a decimal point"),
    "time": (seconds, "not a time", "write unix seconds or ISO 8601"),
}
_TEXTS = (texts, "not text", "write ids and names as text (UTF-8) or whole numbers")


def _id_checks() -> list[pandera.Check]:
    return [
        pandera.Check(lambda ids: ids.str.strip() != "", name="empty", description="leave no id or name empty"),
        pandera.Check(
            lambda ids: ids.str.len() <= LONGEST_ID,
            name="too long",
            description=f"an id has at most {LONGEST_ID:,} characters: shorten it, or is it another column?",
        ),
        pandera.Check(
            lambda ids: ~ids.str.contains(_CONTROL, regex=True),
            name="control characters",
            description="ids may not hold NUL, tabs, line ends or other control characters",
        ),
    ]


def _findings(kind: str, frame: pd.DataFrame, schema: pandera.DataFrameSchema) -> Findings:
    found = []
    if not len(frame):
        found.append(_finding(frame, "no rows", "", np.zeros(0, bool), "give a table of at least one row"))
    for name, column in schema.columns.items():
        if name in frame:
            found += [
                _finding(frame, check, name, mask, advice) for check, mask, advice in _failures(frame[name], column)
            ]
        elif column.required:
            advice = f"it is wanted; there are {', '.join(frame.columns)}"
            found.append(_finding(frame, "missing column", name, np.ones(len(frame), bool), advice))
    return Findings(kind, len(frame), tuple(found))


def _failures(cells: pd.Series[Any], column: pandera.Column) -> Iterator[tuple[str, Bool, str]]:
    """Each demand of a schema's column that some cells do not meet: its name, the cells, what to do."""
    parse, unreadable, how = _PARSERS.get(str(column.name), _TEXTS)
    parsed = parse(cells)
    absent = cells.isna()
    # a check passes over missing cells, so every cell fails as missing, as unreadable, or in a check
    demands = [
        ("missing", absent & (not column.nullable), "fill it in, or leave the row out of the file"),
        (unreadable, parsed.isna() & ~absent, how),
    ]
    if column.unique:
        repeated = parsed.notna() & parsed.duplicated()
        demands.append(("repeated", repeated, "an id may stand once; rows after the first are counted here"))
    readable = parsed if parsed.notna().all() else parsed.dropna()
    for check in column.checks:
        passed = check(readable).check_output.reindex(parsed.index, fill_value=True)
        demands.append((str(check.name), ~passed, str(check.description)))
    for name, failed, advice in demands:
        mask = failed.to_numpy(bool)
        if mask.any():
            yield name, mask, advice


def _finding(frame: pd.DataFrame, check: str, column: str, mask: Bool, advice: str) -> Finding:
    positions = np.flatnonzero(mask)
    values: list[object] = frame[column].iloc[positions[:1_000]].tolist() if column in frame else []
    shown = list(dict.fromkeys(_short(value) for value in values))[:SHOWN_VALUES]
    where = tuple(places(frame, positions[:SHOWN_ROWS])) if column in frame else ()
    return Finding(check, column, len(positions), where, tuple(shown), advice, positions)


def _short(value: object) -> str:
    text = "nothing" if value is None or value is pd.NA or value != value else repr(value)  # noqa: PLR0124  nan
    return text if len(text) <= 40 else f"{text[:30]}… ({len(str(value)):,} characters)"


def _mixed(frame: pd.DataFrame, name: str) -> Finding | None:
    """A finding if the cells of an attribute are of types that no table can hold together."""
    cells = frame[name]
    try:
        pa.array(cells, from_pandas=True)
    except (pa.ArrowException, OverflowError, UnicodeEncodeError):
        given = cells.notna().to_numpy(bool)
        usual = Counter(type(cell) for cell in cells[given]).most_common(1)[0][0]
        odd = given & np.array([type(cell) is not usual for cell in cells])
        mask = odd if odd.any() else given
        return _finding(frame, "mixed types", name, mask, "give every item the same type of value in this column")
    return None


# Setting aside


def _set_aside(frame: pd.DataFrame, findings: Findings) -> pd.DataFrame:
    """The bad rows as their files had them, and for each the checks that it failed."""
    reasons: dict[int, str] = {}
    for finding in findings:
        text = f"{finding.column}: {finding.check}"
        for position in finding.positions.tolist():
            reasons[position] = f"{reasons[position]}; {text}" if position in reasons else text
    bad = findings.bad
    rows = original_columns(frame.iloc[bad]).apply(_writable)
    column = "reason" if "reason" not in rows else "quarantine_reason"
    return rows.assign(**{column: [reasons[position] for position in bad.tolist()]})


def _writable(cells: pd.Series[Any]) -> pd.Series[Any]:
    """Cells of many types as text, so that a file of typed columns can hold them."""
    if cells.dtype != object:
        return cells
    return pd.Series([_as_written(cell) for cell in cells], index=cells.index, dtype="str")


def _as_written(cell: object) -> str | None:
    if cell is None or cell != cell:  # noqa: PLR0124  nan
        return None
    text = cell if isinstance(cell, str) else json.dumps(cell, default=str, ensure_ascii=False)
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


_WRITERS: dict[str, Callable[[pd.DataFrame, Path], None]] = {
    ".csv": lambda rows, path: rows.to_csv(path, index=False),
    ".parquet": lambda rows, path: rows.to_parquet(path, index=False),
}

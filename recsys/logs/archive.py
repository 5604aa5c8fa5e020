"""The log in Parquet, by day: what training reads, what states are rebuilt from, and what lets the log be short.

    <folder>/day=2026-11-26/events-<first>-<last>.parquet    who did what with what, one row each
                            shown-<first>-<last>.parquet     one row for each item that was put before somebody
                            changes-<first>-<last>.parquet   every other record, as it was in the log
                            events.parquet …                 the same of a past day, in one file

The day is that of the record's time, UTC. ``first`` and ``last`` are places in the log, so that a batch which is given
again after a crash has the same name; a record that stands there twice all the same, which its ``log_position`` tells,
is read once. A file is there whole or not at all.
"""

from __future__ import annotations

import fcntl
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime
from itertools import groupby
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from recsys.barred import Barred
from recsys.durable import replace_file, sync
from recsys.errors import LogError
from recsys.logs import Entry
from recsys.logs.columns import POSITION, SCHEMAS, UNFIT, array, booleans, table_of
from recsys.logs.records import Event, Record, Shown, decode, encode, mentions

Arrow = Any

EPOCH = date(1970, 1, 1)
# So many files of a day that goes on are many, and a file of so many bytes is small.
MANY = 100
SMALL = 4 * 2**20


class Archive:
    """The archive in ``folder``. Writers share it, one after the other; readers need not wait for them.

    ``barred``: of whom nothing is written that was done before they were erased.
    """

    def __init__(self, folder: Path, barred: Barred | None = None) -> None:
        self.folder, self._barred = folder, barred

    def write(self, entries: Sequence[Entry]) -> int:
        """Keep what was read from a log; on the disk when this returns. How many records had not been there.

        What was given before is looked for first, since a crash may lie between writing it and acknowledging it.
        """
        with self._alone():
            fresh = [entry for entry in entries if entry.deliveries == 1]
            again = [entry for entry in entries if entry.deliveries > 1]
            if again:
                there = self._positions({_day(entry) for entry in again})
                fresh += [entry for entry in again if entry.position not in there]
            fresh = self._allowed(fresh)
            parts: dict[tuple[date, str], list[Entry]] = {}
            for entry in fresh:
                parts.setdefault((_day(entry), _family(entry)), []).append(entry)
            for day, family in sorted(parts):
                if family != "changes":
                    # what no column can hold is kept as it was in the log
                    parts[day, family], unfit = _told_apart(family, parts[day, family])
                    if unfit:
                        parts.setdefault((day, "changes"), []).extend(unfit)
            for (day, family), some in sorted(parts.items()):
                if (table := _table(family, some)).num_rows:
                    first, last = (quote(some[end].position, safe="") for end in (0, -1))
                    _write(self._day_folder(day) / f"{family}-{first}-{last}.parquet", table)
        return len(fresh)

    def days(self) -> list[date]:
        """The days of which something was archived, oldest first."""
        return sorted(date.fromisoformat(path.name.removeprefix("day=")) for path in self.folder.glob("day=*"))

    def files(self) -> set[tuple[Path, int]]:
        """What is there now: names of files, and numbers that change when one is written anew."""
        found = set()
        for path in self.folder.glob("day=*/*.parquet"):
            with suppress(FileNotFoundError):
                found.add((path, path.stat().st_ino))
        return found

    def table(self, family: str, day: date, without: AbstractSet[tuple[Path, int]] = frozenset()) -> pa.Table:
        """A family's rows of one day, each record's once, in no order to rely on.

        ``without``: some of :meth:`files`, which are not read.
        """
        files = [path for path in self._files(family, day) if (path, path.stat().st_ino) not in without]
        tables = [_read(path, SCHEMAS[family]) for path in files]
        return pa.concat_tables(_without_repetition(tables) or [table_of([], SCHEMAS[family])])

    def records(self, without: AbstractSet[tuple[Path, int]] = frozenset()) -> Iterator[Record]:
        """Every record that can be read, day by day, and of a day in no order. ``without``: as in :meth:`table`."""
        for day in self.days():
            for row in self.table("changes", day, without).to_pylist():
                try:
                    yield decode(row["record"])
                except LogError:
                    continue
            for row in self.table("events", day, without).to_pylist():
                yield Event(
                    row["event_id"], row["time"], row["user_id"], row["item_id"], row["kind"], row["value"],
                    row["surface"], row["request"], row["position"],
                )  # fmt: skip
            for _, rows in groupby(self.table("shown", day, without).to_pylist(), lambda row: row["log_position"]):
                yield _shown(list(rows))

    def compact(self, before: date, many: int = MANY) -> int:
        """Make one file of those of a family on each day before this one; how many files went into others.

        On later days, which are still written to, small files become larger ones where there are ``many``.
        """
        merged = 0
        with self._alone():
            for day in self.days():
                for family in SCHEMAS:
                    whole = self._day_folder(day) / f"{family}.parquet"
                    parts = [path for path in self._files(family, day) if path != whole]
                    if day < before:
                        merged += self._merge(family, self._files(family, day) if parts else [], whole)
                    else:
                        small = [path for path in parts if path.stat().st_size < SMALL]
                        if len(small) >= many:
                            merged += self._merge(
                                family, small, small[0].with_stem(f"{small[0].stem}-and-{len(small)}")
                            )
        return merged

    def _merge(self, family: str, files: Sequence[Path], into: Path) -> int:
        """Write what files hold into one. A crash leaves records twice, which are read once."""
        if not files:
            return 0
        _write(into, pa.concat_tables(_without_repetition([_read(path, SCHEMAS[family]) for path in files])))
        others = [path for path in files if path != into]
        for path in others:
            path.unlink()
        sync(into.parent)
        return len(others)

    def erase(self, user: str) -> int:
        """Write the files that hold something of ``user`` anew without it; how many records that were."""
        erased: set[str] = set()
        with self._alone():
            for day in self.days():
                for family, schema in SCHEMAS.items():
                    for path in self._files(family, day):
                        table: Arrow = _read(path, schema)
                        gone = _of_user(table, family, user)
                        if not pc.any(gone).as_py():
                            continue
                        erased |= set(table.filter(gone).column("log_position").to_pylist())
                        left = table.filter(pc.invert(gone))
                        if left.num_rows:
                            _write(path, left)
                        else:
                            path.unlink()
                            sync(path.parent)
        return len(erased)

    def _allowed(self, entries: Sequence[Entry]) -> list[Entry]:
        """The entries but those of users who were erased meanwhile, while somebody held these in his hands."""
        if self._barred is None or not len(self._barred):
            return list(entries)
        named = [[str(getattr(entry.record, name, "")) for entry in entries] for name in ("user", "anonymous")]
        until = np.maximum(*(self._barred.times(users) for users in named)).tolist()
        return [
            entry
            for entry, time in zip(entries, until, strict=True)
            if entry.record is None or entry.record.time > time
        ]

    def _positions(self, days: Iterable[date]) -> set[str]:
        """Where in the log the records stood that are archived under these days."""
        return {
            position
            for day in days
            for family in SCHEMAS
            for path in self._files(family, day)
            for position in map(str, _read(path, POSITION).column("log_position").to_pylist())
        }

    def _files(self, family: str, day: date) -> list[Path]:
        """The files of a family on a day: the one that was made of others first."""
        folder = self._day_folder(day)
        whole = folder / f"{family}.parquet"
        return [*([whole] if whole.exists() else []), *sorted(folder.glob(f"{family}-*.parquet"))]

    def _day_folder(self, day: date) -> Path:
        return self.folder / f"day={day.isoformat()}"

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Nobody else changes the archive; everything that the world does to it is a LogError."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with (self.folder / "lock").open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
        except OSError as error:
            raise LogError(
                f"the archive in {self.folder} cannot be used ({error}): see the rights of the folder and its disk"
            ) from error


# Records and rows


def _day(entry: Entry) -> date:
    """The day of a record; the first of all for what has no time that is one."""
    try:
        return EPOCH if entry.record is None else datetime.fromtimestamp(entry.record.time, UTC).date()
    except (OverflowError, ValueError, OSError, TypeError):
        return EPOCH


def _family(entry: Entry) -> str:
    record = entry.record
    if isinstance(record, Event):
        return "events"
    return "shown" if isinstance(record, Shown) and record.items else "changes"


def _table(family: str, entries: Sequence[Entry]) -> pa.Table:
    """The rows of entries. One of UNFIT where a column cannot hold a value."""
    rows = [{**row, "log_position": entry.position} for entry in entries for row in _ROWS[family](entry)]
    return table_of(rows, SCHEMAS[family])


def _told_apart(family: str, entries: Sequence[Entry]) -> tuple[list[Entry], list[Entry]]:
    """Those that the columns of the family can hold, and those that they cannot."""
    try:
        _table(family, entries)
    except UNFIT:
        if len(entries) == 1:
            return [], list(entries)
        middle = len(entries) // 2
        left, right = _told_apart(family, entries[:middle]), _told_apart(family, entries[middle:])
        return [*left[0], *right[0]], [*left[1], *right[1]]
    return list(entries), []


def _change_rows(entry: Entry) -> list[dict[str, Any]]:
    record: Any = entry.record
    if record is None:
        return [{"type": "", "time": 0, "record": entry.stored}]
    # what somebody else wrote into the log may have anything for a time
    time = record.time if isinstance(record.time, int) and abs(record.time) < 2**63 else 0
    return [{"type": record.TYPE, "time": time, "record": encode(record)}]


def _event_rows(entry: Entry) -> list[dict[str, Any]]:
    event: Any = entry.record
    return [
        {
            "user_id": event.user, "item_id": event.item, "kind": event.kind, "value": event.value,
            "time": event.time, "event_id": event.id, "surface": event.surface, "request": event.request,
            "position": event.position,
        }
    ]  # fmt: skip


def _shown_rows(entry: Entry) -> list[dict[str, Any]]:
    shown: Any = entry.record
    propensities = shown.propensities or (None,) * len(shown.items)
    return [
        {
            "user_id": shown.user, "item_id": item, "time": shown.time, "request": shown.id, "surface": shown.surface,
            "release": shown.release, "level": shown.level, "position": shown.position + place,
            "propensity": propensity,
        }
        for place, (item, propensity) in enumerate(zip(shown.items, propensities, strict=True))
    ]  # fmt: skip


_ROWS: Mapping[str, Callable[[Entry], list[dict[str, Any]]]] = MappingProxyType(
    {"events": _event_rows, "shown": _shown_rows, "changes": _change_rows}
)


def _shown(rows: Sequence[dict[str, Any]]) -> Shown:
    first = rows[0]
    drawn = tuple(row["propensity"] for row in rows) if first["propensity"] is not None else ()
    items = tuple(row["item_id"] for row in rows)
    return Shown(
        first["request"], first["time"], first["user_id"], items, first["surface"], first["release"], first["level"],
        first["position"], drawn,
    )  # fmt: skip


def _of_user(table: Arrow, family: str, user: str) -> Arrow:
    """Which rows are of a user."""
    if family == "changes":
        return booleans(mentions(stored, user) for stored in table.column("record").to_pylist())
    try:
        wanted = array([user], pa.string())
    except UNFIT:
        wanted = array([], pa.string())
    return pc.is_in(table.column("user_id"), value_set=wanted)


def _without_repetition(tables: Sequence[Arrow]) -> list[Arrow]:
    """The tables without the rows of records that stand in one before them."""
    left: list[Arrow] = []
    known: Arrow = array([], pa.string())
    for table in tables:
        positions: Arrow = table.column("log_position").combine_chunks()
        left.append(table.filter(pc.invert(pc.is_in(positions, value_set=known))) if left else table)
        known = pa.concat_arrays([known, *left[-1].column("log_position").chunks])
    return left


# Files


def _read(path: Path, schema: pa.Schema) -> pa.Table:
    try:
        return pyarrow.parquet.ParquetFile(path).read(columns=schema.names).cast(schema)
    except (pa.ArrowException, OSError) as error:
        raise LogError(f"{path} is no segment of the archive that can be read ({error}): restore it") from error


def _write(path: Path, table: pa.Table) -> None:
    content = io.BytesIO()
    pyarrow.parquet.write_table(table, content, compression="zstd")
    if not path.parent.exists():
        path.parent.mkdir(parents=True)
        sync(path.parent.parent)
    replace_file(path, content.getvalue())

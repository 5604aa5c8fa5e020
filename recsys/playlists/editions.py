"""Editions: immutable folders of lists, published whole, behind one pointer.

::

    PUBLISHED                    ids, one a line, in the order in which they were published; replaced by os.replace
    publications.jsonl           what was published and undone when, for people
    2026-W48/                    renamed into place once, never changed; a correction is 2026-W48.2
      manifest.json              what it was made of, its quality, sha256 of every file
      part-00000.parquet …       rows of so many users each, a row group for each GROUP of them
      users/                     ids to places; starts.npy: the row at which each list begins, int64 (users + 1,);
                                 opens.npy: from when each may be heard, unix seconds, int64 (users,)
    .making-2026-W48/            a run that goes on; never read

The last line of PUBLISHED that is of a week says which edition of it is served. Undoing takes the last line away, so it
returns to whatever stood there before, in one step.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, ValidationError

from recsys.arrays import Int64, UInt64
from recsys.durable import replace_file, sync
from recsys.errors import Busy, EditionRefused, PlaylistError
from recsys.mapping import load_mapped
from recsys.playlists.plan import Plan, digest, part_name
from recsys.playlists.weeks import Week
from recsys.releases import checksum
from recsys.settings import describe
from recsys.vocabulary import Vocabulary, keys_of

SCHEMA = 1
ID = re.compile(r"(\d{4}-W\d{2})(?:\.(\d+))?")
MAKING = ".making-"
GROUP = 64
"""Users of a row group: what is read for one of them."""
TEXTS = ["user", "item", "source", "reason", "level", "release"]
"""Columns in which few different texts stand."""
OPEN = 64
"""Files of an edition that a reader keeps open."""


class Quality(BaseModel):
    """What was measured of an edition, and what speaks against it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    passed: bool
    findings: tuple[str, ...]
    """Each rule that is broken, in a sentence that names users."""
    measured: dict[str, Any]


class Manifest(BaseModel):
    """What an edition is and what it was made of."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = SCHEMA
    created: datetime
    plan: Plan
    counts: dict[str, int]
    quality: Quality
    files: dict[str, str]
    sha256: str = ""

    def signed(self) -> Manifest:
        """The same manifest with its own checksum."""
        return self.model_copy(update={"sha256": _signature(self.model_dump(mode="json"))})


def _signature(manifest: dict[str, Any]) -> str:
    """sha256 of everything but the checksum, as it stands in the file: what a later program adds changes no old one."""
    return digest({name: value for name, value in manifest.items() if name != "sha256"})


@dataclass(frozen=True, eq=False)
class Edition:
    """A published or publishable edition: where it lies and what it says of itself."""

    id: str
    folder: Path
    manifest: Manifest

    @property
    def week(self) -> Week:
        """Of which week it is."""
        return week_of(self.id)

    @cached_property
    def users(self) -> Vocabulary:
        """Who has a list, by place."""
        return Vocabulary.load(self.folder / "users")

    @cached_property
    def starts(self) -> Int64:
        """The row at which each list begins, counted through all parts, int64 (users + 1,)."""
        return load_mapped(self.folder / "starts.npy")

    @cached_property
    def opens(self) -> Int64:
        """From when each list may be heard, unix seconds, int64 (users,)."""
        return load_mapped(self.folder / "opens.npy")

    def read(self, user: str) -> list[dict[str, Any]] | None:
        """The rows of a user's list, none for an empty one; None for somebody who has no list in it."""
        place = int(self.users.rows([user])[0])
        if place < 0:
            return None
        start, end = self.starts[place], self.starts[place + 1]
        size = self.manifest.plan.part
        group, first = place // GROUP * GROUP, place // size * size
        file = self._part(place // size)
        rows = file.read_row_group((place - first) // GROUP, use_threads=False)
        found: list[dict[str, Any]] = rows.slice(start - self.starts[group], end - start).to_pylist()
        return found

    def table(self, part: int, columns: list[str] | None = None) -> pa.Table:
        """A part's rows, or some columns of them; texts as dictionaries."""
        path = self.folder / part_name(part)
        return pq.read_table(path, columns=columns, read_dictionary=TEXTS, use_threads=False)

    def items_of(self, users: Sequence[str]) -> list[UInt64]:
        """Keys of the items in each user's list, empty for who has none."""
        places = self.users.rows(users)
        found: list[UInt64] = [np.zeros(0, np.uint64)] * len(users)
        size = self.manifest.plan.part
        for part in np.unique(places[places >= 0] // size).tolist():
            keys, first = self._keys(part), self.starts[part * size]
            for at in np.flatnonzero(places // size == part).tolist():
                start, end = self.starts[places[at] : places[at] + 2] - first
                found[at] = keys[start:end]
        return found

    @cached_property
    def _part(self) -> Any:
        return lru_cache(OPEN)(lambda part: pq.ParquetFile(self.folder / part_name(part), memory_map=True))

    @cached_property
    def _keys(self) -> Any:
        """Keys of the items of a part's rows; the last part stays, since users come in the order of parts."""

        def keys(part: int) -> UInt64:
            column: Any = self.table(part, ["item"]).column("item").combine_chunks()
            found: UInt64 = keys_of(column.dictionary.to_pylist())[column.indices.to_numpy()]
            return found

        return lru_cache(1)(keys)


class EditionStore:
    """The folder of editions and its pointer."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def pointer(self) -> Path:
        """The file that names what is published."""
        return self.folder / "PUBLISHED"

    @contextlib.contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """One at a time for each name: a week that is made, or the pointer. Busy if another holds it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / f".lock-{name}").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Busy(f"another run is at work on {name} in {self.folder}: wait until it is done") from None
            yield

    def making(self, week: Week) -> Path:
        """Where a run of that week lies until it is done."""
        return self.folder / f"{MAKING}{week}"

    def ids(self) -> list[str]:
        """All editions, the oldest week first and each week's revisions in their order."""
        if not self.folder.is_dir():
            return []
        found = [path.name for path in self.folder.iterdir() if path.is_dir() and ID.fullmatch(path.name)]
        return sorted(found, key=_order)

    def of_week(self, week: Week) -> list[str]:
        """The revisions of a week, the newest last."""
        return [id_ for id_ in self.ids() if week_of(id_) == week]

    def new_id(self, week: Week) -> str:
        """The id of the next revision."""
        there = self.of_week(week)
        return f"{week}.{_order(there[-1])[1] + 1}" if there else str(week)

    def get(self, edition: str) -> Edition:
        """Open an edition. PlaylistError if there is none, or its manifest is not what was written."""
        folder = self.folder / edition
        if not ID.fullmatch(edition) or not folder.is_dir():
            there = ", ".join(self.ids()[-5:]) or "none yet"
            raise PlaylistError(f"there is no edition {edition!r} in {self.folder}; the newest are: {there}")
        try:
            raw = json.loads((folder / "manifest.json").read_bytes())
            schema = raw["schema_version"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise PlaylistError(f"edition {edition} is damaged: manifest.json cannot be read ({error})") from error
        if not isinstance(schema, int) or schema > SCHEMA:
            raise PlaylistError(
                f"edition {edition} has schema {schema!r}, this program reads up to {SCHEMA}: upgrade it"
            )
        try:
            manifest = Manifest.model_validate(raw)
        except ValidationError as error:
            raise PlaylistError(f"edition {edition} is damaged: manifest.json: {describe(error)}") from error
        if manifest.sha256 != _signature(raw) or manifest.plan.edition != edition:
            raise PlaylistError(f"edition {edition} is damaged: manifest.json is not the one that was written")
        return Edition(edition, folder, manifest)

    def verify(self, edition: str) -> Edition:
        """Read every file and compare its checksum. PlaylistError names those that differ."""
        found = self.get(edition)
        wrong = [
            name
            for name, wanted in found.manifest.files.items()
            if not (found.folder / name).is_file() or checksum(found.folder / name) != wanted
        ]
        if wrong:
            raise PlaylistError(f"edition {edition} is damaged: {', '.join(wrong)} differ: make the week again")
        return found

    def commit(self, made: Path, manifest: Manifest) -> Edition:
        """Checksum and sync every file, write the manifest last, rename the folder into place."""
        files = {}
        for path in sorted(path for path in made.rglob("*") if path.is_file()):
            files[path.relative_to(made).as_posix()] = checksum(path)
            sync(path)
        manifest = manifest.model_copy(update={"files": files}).signed()
        (made / "manifest.json").write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
        sync(made / "manifest.json")
        for path in sorted(path for path in [made, *made.rglob("*")] if path.is_dir()):
            sync(path)
        home = self.folder / manifest.plan.edition
        made.rename(home)
        sync(self.folder)
        return Edition(home.name, home, manifest)

    def published(self) -> list[str]:
        """What is published, in the order in which it was; one small read."""
        try:
            return self.pointer.read_text(encoding="utf-8").split()
        except FileNotFoundError:
            return []

    def publish(self, edition: Edition, *, now: datetime, force: bool = False) -> None:
        """Serve an edition, which :meth:`verify` gave, as its week's. EditionRefused as :meth:`check` has it."""
        self.check(edition, force=force)
        with self.lock("pointer"):
            before = self.published()
            if served(before).get(edition.week) != edition.id:
                forced = not edition.manifest.quality.passed
                self._point([*before, edition.id], now, "publish", edition.id, forced=forced)

    @staticmethod
    def check(edition: Edition, *, force: bool) -> None:
        """EditionRefused if the gate held something against it and it is not forced."""
        quality = edition.manifest.quality
        if not (quality.passed or force):
            raise EditionRefused(
                f"edition {edition.id} is refused: {'; '.join(quality.findings)}. Nothing was published; "
                "--force if you know better, that is recorded"
            )

    def undo(self, *, now: datetime) -> tuple[str, str | None]:
        """Take back what was published last; that, and what its week or the week before it goes back to."""
        with self.lock("pointer"):
            before = self.published()
            if not before:
                raise PlaylistError(f"nothing is published in {self.folder}: there is nothing to undo")
            *left, gone = before
            self._point(left, now, "undo", gone, forced=False)
        return gone, newest(left)

    def prune(self, keep: int, *, now: datetime) -> list[str]:
        """Delete the editions of all but the newest ``keep`` weeks; which ones. They are taken out of service first."""
        ids = self.ids()
        weeks = sorted({week_of(id_) for id_ in ids})[-keep:]
        gone = [id_ for id_ in ids if week_of(id_) not in weeks]
        with self.lock("pointer"):
            before = self.published()
            if left := [id_ for id_ in before if id_ in gone]:
                self._point([id_ for id_ in before if id_ not in gone], now, "prune", left[-1], forced=False)
        for id_ in gone:
            # Hidden first, so that nobody opens half of it.
            hidden = self.folder / f".gone-{id_}"
            (self.folder / id_).rename(hidden)
            shutil.rmtree(hidden)
        return gone

    def _point(self, editions: Sequence[str], now: datetime, action: str, edition: str, *, forced: bool) -> None:
        replace_file(self.pointer, "".join(f"{id_}\n" for id_ in editions))
        entry = {"time": now.isoformat(), "action": action, "edition": edition, "forced": forced}
        with (self.folder / "publications.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(entry) + "\n")
            log.flush()
            os.fsync(log.fileno())


def week_of(edition: str) -> Week:
    """The week of an edition's id.

    >>> str(week_of("2026-W48.2"))
    '2026-W48'
    """
    return Week.parse(edition.partition(".")[0])


def served(published: Sequence[str]) -> Mapping[Week, str]:
    """Which edition of each week is served.

    >>> served(["2026-W47", "2026-W48", "2026-W48.2"])[Week(2026, 48)]
    '2026-W48.2'
    """
    return {week_of(edition): edition for edition in published}


def newest(published: Sequence[str]) -> str | None:
    """The edition of the newest week that is served."""
    weeks = served(published)
    return weeks[max(weeks)] if weeks else None


def _order(edition: str) -> tuple[Week, int]:
    return week_of(edition), int(edition.partition(".")[2] or 1)

"""Releases: immutable folders, published whole, behind one pointer.

::

    CURRENT                      one line, the id of the release that is served; replaced by os.replace
    promotions.jsonl             what was promoted when, for people and for rollback
    2026-11-23T02-47-10/         renamed into place once, never changed but to erase users
      manifest.json              schema, lineage, metrics, gate, sha256 of every file
      users/ or users-N/         its users; the number says how often some of them were erased
      …

A release is staged in a hidden folder, its files synced, the manifest written last, the folder renamed and the
parent synced; only then may the pointer move. A crash at any step leaves the old pointer or the new one, and
either names a whole release.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from recsys.durable import replace_file, sync
from recsys.errors import Busy, GateRefused, ReleaseDamaged, ReleaseError, ReleaseNotFound, ReleaseTooNew
from recsys.mapping import reread
from recsys.settings import describe

SCHEMA = 3
"""What this program writes; it reads this and every older one."""

ID = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}-\d{2}-\d{2}(-\d+)?")
STAGING = ".staging-"
USERS = re.compile(r"users(-\d+)?")


class GateReport(BaseModel):
    """What the gate measured and decided."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    passed: bool
    findings: tuple[str, ...] = ()
    """Each reason against promotion, in a sentence with both numbers."""
    forced: bool = False
    """Promoted all the same, because the operator said so."""


class Manifest(BaseModel):
    """What a release is, where it came from and what it was measured to do."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = SCHEMA
    id: str
    created: datetime
    lineage: dict[str, Any]
    """Data window and hash, configuration, seed, version of the code and of the libraries."""
    counts: dict[str, int]
    """Users, items, events."""
    metrics: dict[str, Any]
    """Held-out accuracy of the pipeline and of popularity."""
    indexes: dict[str, Any]
    """For each index: backend, parameters, measured recall, bytes, seconds."""
    gate: GateReport
    files: dict[str, str]
    """Path inside the release → sha256 of its content."""
    sha256: str = ""
    """Of this manifest without this field: a hand-edited manifest is found out."""

    def signed(self) -> Manifest:
        """The same manifest with its own checksum."""
        return self.model_copy(update={"sha256": self.checksum()})

    def checksum(self) -> str:
        """sha256 of the canonical JSON of everything but the checksum."""
        content = self.model_dump(mode="json", exclude={"sha256"})
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Release:
    """A published release: where it lies and what it says of itself."""

    id: str
    folder: Path
    manifest: Manifest

    @property
    def users(self) -> Path:
        """The folder of its users, as the manifest has it."""
        return self.folder / next((top for name in self.manifest.files if USERS.fullmatch(top := _top(name))), "users")


class ReleaseStore:
    """The folder of releases and its pointer."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def pointer(self) -> Path:
        """The file that names the current release."""
        return self.folder / "CURRENT"

    @contextlib.contextmanager
    def publishing(self) -> Iterator[None]:
        """Hold the publishers' lock: one trainer at a time. Busy if another holds it; a crash lets go of it.

        What crashed publishers left half-staged is cleared away first.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Busy(
                    f"another publisher is at work in {self.folder}: wait until it is done, nothing was changed"
                ) from None
            for leftover in self.folder.glob(f"{STAGING}*"):
                shutil.rmtree(leftover)
            yield

    def new_id(self, now: datetime) -> str:
        """An id for a release made now; a number is added where that second already has one."""
        base = now.astimezone(UTC).strftime("%Y-%m-%dT%H-%M-%S")
        taken = set(self.ids())
        return next(id_ for n in range(1, 10_000) if (id_ := base if n == 1 else f"{base}-{n}") not in taken)

    @contextlib.contextmanager
    def staging(self, release: str) -> Iterator[Path]:
        """A hidden folder to write a release into; gone afterwards unless it was :meth:`commit`-ted."""
        folder = self.folder / f"{STAGING}{release}"
        try:
            folder.mkdir(parents=True)
            yield folder
        except OSError as error:
            raise ReleaseError(
                f"release {release} could not be written below {self.folder} ({error.strerror or error}): "
                "nothing was published; make room or correct the rights, and train again"
            ) from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def commit(self, staged: Path, manifest: Manifest) -> Release:
        """Checksum and sync every file, write the manifest last, rename the folder into place."""
        files = {}
        for path in sorted(path for path in staged.rglob("*") if path.is_file()):
            files[path.relative_to(staged).as_posix()] = checksum(path)
            sync(path)
        manifest = manifest.model_copy(update={"files": files}).signed()
        (staged / "manifest.json").write_text(_text_of(manifest), encoding="utf-8")
        sync(staged / "manifest.json")
        for path in sorted(path for path in [staged, *staged.rglob("*")] if path.is_dir()):
            sync(path)
        home = self.folder / manifest.id
        staged.rename(home)
        sync(self.folder)
        return Release(manifest.id, home, manifest)

    def ids(self) -> list[str]:
        """The ids of all published releases, oldest first."""
        if not self.folder.is_dir():
            return []
        return sorted(path.name for path in self.folder.iterdir() if path.is_dir() and ID.fullmatch(path.name))

    def get(self, release: str) -> Release:
        """Open a release by id and read its manifest; its files are not read yet.

        ReleaseNotFound, ReleaseDamaged for a manifest that is not what was published, ReleaseTooNew.
        """
        folder = self.folder / release
        if not ID.fullmatch(release) or not folder.is_dir():
            there = ", ".join(self.ids()[-5:]) or "none yet"
            raise ReleaseNotFound(f"there is no release {release!r} in {self.folder}; the newest are: {there}")
        return Release(release, folder, _read_manifest(folder))

    def current_id(self) -> str | None:
        """The id that the pointer names; None before the first promotion. One small read."""
        try:
            return self.pointer.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            return None

    def edition(self, release: str) -> tuple[int, int] | None:
        """What is another one when users were erased from a release that was loaded; None if it is not there."""
        try:
            found = (self.folder / release / "manifest.json").stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return found.st_ino, found.st_mtime_ns

    def current(self) -> Release:
        """The release that the pointer names; ReleaseNotFound before the first promotion."""
        release = self.current_id()
        if release is None:
            raise ReleaseNotFound(f"no release is promoted in {self.folder}: run `recsys train` first")
        return self.get(release)

    def verify(self, release: str, *, anew: bool = False) -> Release:
        """Read every file and compare its checksum; ReleaseDamaged names those that differ.

        ``anew``: from the disk, whatever is in memory of it, so that those who serve find it in large pages.
        """
        found = self.get(release)
        wrong = []
        for name, published in found.manifest.files.items():
            path = found.folder / name
            if not path.is_file():
                wrong.append(f"{name} is missing")
                continue
            if anew:
                reread(path)
            if checksum(path) != published:
                wrong.append(f"{name} is not the file that was published")
        there = {path.relative_to(found.folder).as_posix() for path in found.folder.rglob("*") if path.is_file()}
        # Users that are being erased, or whose erasure a crash cut short, are never read.
        there = {name for name in there if not USERS.fullmatch(_top(name)) or _top(name) == found.users.name}
        wrong += [f"{name} was not part of it" for name in sorted(there - {*found.manifest.files, "manifest.json"})]
        if wrong:
            raise ReleaseDamaged(
                f"release {release} is damaged: {'; '.join(wrong)}. Promote another one or train again"
            )
        return found

    def promote(self, release: str, *, now: datetime, action: str = "promote", force: bool = False) -> Release:
        """Verify a release and point to it; readers follow within their watch interval.

        GateRefused if the gate held something against it and it was not forced.
        """
        found = self.verify(release, anew=True)
        gate = found.manifest.gate
        if not (gate.passed or gate.forced or force):
            raise GateRefused(
                f"release {release} was refused by the gate: {'; '.join(gate.findings)}. "
                "Promote it with --force if you know better; that is recorded"
            )
        previous = self.current_id()
        replace_file(self.pointer, release + "\n")
        entry = {
            "time": now.isoformat(),
            "action": action,
            "release": release,
            "previous": previous,
            "forced": not gate.passed,
        }
        with self._promotions.open("a", encoding="utf-8") as log:
            log.write(json.dumps(entry) + "\n")
            log.flush()
            os.fsync(log.fileno())
        return found

    def rollback(self, *, now: datetime, to: str | None = None) -> Release:
        """Promote the release that was current before this one, or the one named."""
        target = to or self._previous()
        if target is None:
            raise ReleaseNotFound(f"nothing to roll back to: {self.current_id()} is the first that was promoted")
        served = {entry["release"] for entry in self.promotions()}
        return self.promote(target, now=now, action="rollback", force=target in served)

    def promotions(self) -> list[Mapping[str, Any]]:
        """Every promotion and rollback so far, oldest first."""
        if not self._promotions.exists():
            return []
        entries = []
        for line in self._promotions.read_text(encoding="utf-8").splitlines():
            # A crash can leave half a line at the end; the pointer, not this log, is the truth.
            with contextlib.suppress(json.JSONDecodeError):
                entries.append(json.loads(line))
        return entries

    def outdated(self, keep: int) -> list[str]:
        """The ids of all but the ``keep`` newest releases, the current one always among those kept; oldest first."""
        if keep < 1:
            raise ValueError(f"keep is {keep}: at least the current release stays")
        ids, current = self.ids(), self.current_id()
        old = [id_ for id_ in ids if id_ != current]
        return old[: max(len(old) - (keep - (current in ids)), 0)]

    def remove(self, releases: Iterable[str]) -> None:
        """Delete releases; ValueError for the current one."""
        for release in releases:
            if release == self.current_id():
                raise ValueError(f"{release} is current: promote another one before it is removed")
            # Hidden first, so that nobody opens half of it.
            hidden = self.folder / f"{STAGING}{release}"
            (self.folder / release).rename(hidden)
            shutil.rmtree(hidden)

    @property
    def _promotions(self) -> Path:
        return self.folder / "promotions.jsonl"

    def _previous(self) -> str | None:
        stack: list[str] = []
        for entry in self.promotions():
            release = entry["release"]
            stack = stack[: stack.index(release)] if release in stack else stack
            stack.append(release)
        current, there = self.current_id(), set(self.ids())
        older = stack[: stack.index(current)] if current in stack else stack
        return next((release for release in reversed(older) if release in there), None)


def replace_manifest(release: Release, manifest: Manifest) -> None:
    """Put a manifest in the place of a release's own, for :mod:`recsys.redaction` alone."""
    replace_file(release.folder / "manifest.json", _text_of(manifest.signed()))


def _text_of(manifest: Manifest) -> str:
    return manifest.model_dump_json(indent=2) + "\n"


def _top(name: str) -> str:
    """The folder of a release in which a file lies, or the file."""
    return name.partition("/")[0]


def _read_manifest(folder: Path) -> Manifest:
    try:
        raw = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        schema = raw["schema_version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ReleaseDamaged(f"release {folder.name} is damaged: manifest.json cannot be read ({error})") from error
    if not isinstance(schema, int) or schema > SCHEMA:
        raise ReleaseTooNew(
            f"release {folder.name} has schema {schema!r}, this program reads up to {SCHEMA}: upgrade recsys-engine "
            "or promote an older release"
        )
    try:
        manifest = Manifest.model_validate(raw)
    except ValidationError as error:
        raise ReleaseDamaged(f"release {folder.name} is damaged: manifest.json: {describe(error)}") from error
    if manifest.sha256 != manifest.checksum() or manifest.id != folder.name:
        raise ReleaseDamaged(f"release {folder.name} is damaged: manifest.json is not the one that was published")
    return manifest


def checksum(path: Path) -> str:
    """sha256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""Who gets a list, and where they live."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recsys.errors import PlaylistError, unknown_choice
from recsys.files import read_file
from recsys.playlists.plan import SHOWN_USERS
from recsys.playlists.weeks import zone_of
from recsys.sections import Playlists
from recsys.segments import user_segments
from recsys.users import Users


@dataclass(frozen=True, slots=True)
class Chosen:
    """Everybody whom the release knows; or those of a file, of a segment by how much they took, or a sample.

    ``file``: with a column ``user_id``, and ``time_zone`` if it has one; it may name people whom nobody knows.
    """

    file: Path | None = None
    segment: str = ""
    sample: int = 0

    @property
    def said(self) -> str:
        """Who they are, in words that are the same for the same people."""
        who = "everybody"
        if self.file is not None:
            read_file(self.file)
            who = f"users of a file with sha256 {hashlib.sha256(self.file.read_bytes()).hexdigest()[:16]}"
        if self.segment:
            who += f", segment {self.segment}"
        return who + (f", a sample of {self.sample:,}" if self.sample else "")

    @property
    def trial(self) -> bool:
        """Whether the edition is one to look at and not to serve."""
        return bool(self.sample or self.segment)

    def of(self, known: Users, settings: Playlists) -> tuple[list[str], dict[str, str], tuple[str, ...]]:
        """The users, the time zones of those who have one of their own, and what was wrong with the file."""
        zones = {} if settings.zones is None else _zones(settings.zones, required=True)
        refused: list[str] = []
        if self.file is None:
            users = list(known.ids)
        else:
            users, refused = _users(self.file, known)
            zones |= _zones(self.file, required=False)
        if self.segment:
            rows = known.ids.rows(users)
            lengths = np.diff(known.history.indptr)
            taken = np.where(rows >= 0, lengths[np.maximum(rows, 0)] if len(lengths) else 0, 0)
            parts = user_segments(taken.astype(np.int64))
            if self.segment not in parts:
                raise PlaylistError(unknown_choice("segment", self.segment, parts))
            users = [users[place] for place in np.flatnonzero(parts[self.segment]).tolist()]
        if self.sample:
            drawn = np.random.default_rng(settings.seed).permutation(len(users))[: self.sample]
            users = [users[place] for place in np.sort(drawn).tolist()]
        for zone in {settings.zone, *zones.values()}:
            zone_of(zone)
        there = set(users)
        return users, {user: zone for user, zone in zones.items() if user in there}, tuple(refused)


def _users(file: Path, known: Users) -> tuple[list[str], list[str]]:
    named = _column(file, "user_id")
    counts = Counter(named)
    users = [user for user in counts if user]
    refused = []
    if again := [user for user, count in counts.items() if count > 1 and user]:
        refused.append(f"named more than once in {file.name}, one list each: {len(again):,} ({_some(again)})")
    if counts[""]:
        refused.append(f"rows of {file.name} that name no user, left out: {counts['']:,}")
    rows = known.ids.rows(users)
    if unknown := [user for user, row in zip(users, rows.tolist(), strict=True) if row < 0]:
        refused.append(f"unknown users in {file.name}, answered by the ladder: {len(unknown):,} ({_some(unknown)})")
    return users, refused


def _zones(file: Path, *, required: bool) -> dict[str, str]:
    columns = read_file(file)
    if "time_zone" not in columns:
        if required:
            raise PlaylistError(f"{file} has no column 'time_zone': it has {', '.join(columns)}")
        return {}
    pairs = zip(_column(file, "user_id"), _texts(columns["time_zone"]), strict=True)
    return {user: zone for user, zone in pairs if user and zone}


def _column(file: Path, name: str) -> list[str]:
    columns = read_file(file)
    if name not in columns:
        raise PlaylistError(f"{file} has no column {name!r}: it has {', '.join(columns)}")
    return _texts(columns[name])


def _texts(column: Any) -> list[str]:
    return ["" if value is None or value != value else str(value) for value in column.tolist()]  # noqa: PLR0124  nan


def _some(users: list[str]) -> str:
    return ", ".join(map(repr, users[:SHOWN_USERS])) + (" …" if len(users) > SHOWN_USERS else "")

"""ISO weeks, and the moment at which one begins where a user lives."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from recsys.errors import PlaylistError

FORM = re.compile(r"(\d{4})-W(\d{2})")


@dataclass(frozen=True, slots=True, order=True)
class Week:
    """A week as ISO 8601 counts them, from Monday.

    >>> Week.parse("2026-W01").start.isoformat()
    '2025-12-29T00:00:00+00:00'
    """

    year: int
    number: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """PlaylistError for what is no week, or one that its year does not have."""
        found = FORM.fullmatch(text)
        if found is None:
            raise PlaylistError(f"week {text!r}: an ISO week such as 2026-W48 is wanted")
        year, number = map(int, found.groups())
        try:
            date.fromisocalendar(year, number, 1)
        except ValueError:
            last = date(year, 12, 28).isocalendar().week if year else 0
            raise PlaylistError(f"there is no week {text}: those of {year} run from W01 to W{last:02}") from None
        return cls(year, number)

    @classmethod
    def of(cls, moment: datetime) -> Self:
        """The week of a moment, by UTC."""
        year, number, _ = moment.astimezone(UTC).isocalendar()
        return cls(year, number)

    @property
    def start(self) -> datetime:
        """Monday 00:00 UTC."""
        return datetime.combine(date.fromisocalendar(self.year, self.number, 1), time(tzinfo=UTC))

    def starts(self, zones: Iterable[str]) -> dict[str, int]:
        """Monday 00:00 in each time zone, unix seconds. PlaylistError names a zone that nobody knows."""
        monday = self.start.replace(tzinfo=None)
        return {name: int(monday.replace(tzinfo=zone_of(name)).timestamp()) for name in set(zones)}

    def plus(self, weeks: int) -> Week:
        """So many weeks later."""
        return Week.of(self.start + timedelta(weeks=weeks))

    def __str__(self) -> str:
        return f"{self.year:04}-W{self.number:02}"


def zone_of(name: str) -> ZoneInfo:
    """The time zone of that name. PlaylistError where there is none.

    >>> zone_of("Mars/Olympus")
    Traceback (most recent call last):
    ...
    recsys.errors.PlaylistError: there is no time zone 'Mars/Olympus': names such as Europe/Berlin or UTC are wanted
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise PlaylistError(f"there is no time zone {name!r}: names such as Europe/Berlin or UTC are wanted") from None

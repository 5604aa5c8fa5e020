"""Records in files that only grow: how they are framed, and how the end of a crash is told from a record.

A line is ``sequence left checksum record``: the number of the record in its log, how many records of the same batch
still follow, CRC-32 in hexadecimal of the three other parts, and the record, which holds no line break. A batch whose
last line is not there was never acknowledged, and counts as not there.
"""

from __future__ import annotations

import os
import zlib
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Line:
    """A record under its number. ``sound``: False where the checksum is another one; ``stored`` is then all of it."""

    sequence: int
    stored: bytes
    sound: bool = True


def framed(first: int, records: Sequence[bytes]) -> bytes:
    r"""Records as one batch of lines, numbered from ``first``.

    >>> framed(7, [b"{}"])
    b'7 0 4365aa4f {}\n'
    """
    return b"".join(_frame(first + place, len(records) - 1 - place, stored) for place, stored in enumerate(records))


def alone(lines: Iterable[Line]) -> bytes:
    """Lines as batches of one each, under the numbers that they have; what is damaged stays as it is."""
    return b"".join(_frame(line.sequence, 0, line.stored) if line.sound else line.stored + b"\n" for line in lines)


class Segment:
    """One file of lines, of which it is remembered where they begin, so that only what is new is read again.

    To be asked by whoever keeps others from writing meanwhile. ``end``: bytes up to the end of the last whole batch.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.end = 0
        self._sequences: list[int] = []
        self._starts: list[int] = []

    def __len__(self) -> int:
        return len(self._sequences)

    @property
    def last(self) -> int | None:
        """The highest number in it."""
        return self._sequences[-1] if self._sequences else None

    def refresh(self) -> int:
        """Look at what was appended since; how many bytes stand behind the last whole batch."""
        size = self.path.stat().st_size
        if size > self.end:
            with self.path.open("rb") as file:
                file.seek(self.end)
                self._index(file.read(size - self.end))
        return size - self.end

    def count(self, least: int) -> int:
        """How many lines have the number ``least`` or a higher one."""
        return len(self) - bisect_left(self._sequences, least)

    def lines(self, least: int, most: int) -> list[Line]:
        """Up to ``most`` lines from the number ``least`` on."""
        begin = bisect_left(self._sequences, least)
        until = min(begin + most, len(self))
        if begin >= until:
            return []
        start = self._starts[begin]
        stop = self._starts[until] if until < len(self) else self.end
        with self.path.open("rb") as file:
            content = os.pread(file.fileno(), stop - start, start)
        starts = [*self._starts[begin:until], stop]
        return [
            _line(content[one - start : other - start - 1], number)
            for number, one, other in zip(self._sequences[begin:until], starts, starts[1:], strict=False)
        ]

    def find(self, numbers: Sequence[int]) -> Iterator[Line]:
        """The lines of these ascending numbers, of those that are here."""
        for number in numbers:
            place = bisect_left(self._sequences, number)
            if place < len(self) and self._sequences[place] == number:
                yield from self.lines(number, 1)

    def _index(self, content: bytes) -> None:
        """Note the lines of ``content``, which stands at ``end``, up to the end of its last whole batch."""
        before = self._sequences[-1] if self._sequences else -1
        start, found = self.end, []
        for text in content.split(b"\n")[:-1]:
            parsed = _parse(text)
            # what is damaged has the next number; whether it is a line at all, a sound one behind it tells
            before = before + 1 if parsed is None else parsed[0]
            found.append((before, start))
            start += len(text) + 1
            if parsed is not None and parsed[1] == 0:
                self._sequences += [number for number, _ in found]
                self._starts += [place for _, place in found]
                self.end, found = start, []


def _frame(sequence: int, left: int, stored: bytes) -> bytes:
    if b"\n" in stored:
        raise ValueError("a record holds a line break: encode it as JSON, which has none")
    return b"%d %d %08x %b\n" % (sequence, left, _checksum(sequence, left, stored), stored)


def _checksum(sequence: int, left: int, stored: bytes) -> int:
    return zlib.crc32(b"%d %d %b" % (sequence, left, stored))


def _parse(text: bytes) -> tuple[int, int, bytes] | None:
    """Number, how many follow, and record of a line without its line break; None if it is none."""
    parts = text.split(b" ", 3)
    if len(parts) != 4 or not parts[0].isdigit() or not parts[1].isdigit():
        return None
    sequence, left, stored = int(parts[0]), int(parts[1]), parts[3]
    return (sequence, left, stored) if b"%08x" % _checksum(sequence, left, stored) == parts[2] else None


def _line(text: bytes, number: int) -> Line:
    parsed = _parse(text)
    return Line(number, text, sound=False) if parsed is None else Line(number, parsed[2])

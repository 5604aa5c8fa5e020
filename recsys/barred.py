"""Who asked to be forgotten: what they did before is not learned from again, though the files of its owner have it.

::

    key      32 random bytes, for its owner alone to read
    users    a line for each erasure: keyed hash of the user's id, unix seconds

Nobody can read from the list who stands in it; who has the key can ask whether a certain id does. What a user does
after the erasure counts again.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from recsys.arrays import Int64

NEVER = np.iinfo(np.int64).min
"""The time of an erasure that never was."""
_LINE = re.compile(rb"([0-9a-f]{32}) (\d+)")


class Barred:
    """The list in ``folder``, which need not be there yet: nobody is barred then. Processes may share it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: tuple[tuple[int, int], bytes, Mapping[bytes, int]] | None = None

    def __len__(self) -> int:
        """How many users stand in it."""
        return len(self._listed()[1])

    def add(self, users: Sequence[str], time: int) -> None:
        """Bar what users did up to ``time``, unix seconds; on the disk when this returns."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with self._locked():
            if not (self._folder / "key").exists():
                _write(self._folder / "key.new", secrets.token_bytes(32), os.O_TRUNC)
                (self._folder / "key.new").replace(self._folder / "key")
            key = (self._folder / "key").read_bytes()
            lines = b"".join(b"%s %d\n" % (_hash(user, key), time) for user in users)
            # A line that a crash cut off must not run into these.
            _write(self._folder / "users", b"\n" + lines if self._torn() else lines, os.O_APPEND)

    def times(self, users: Sequence[str]) -> Int64:
        """Up to when what users did is barred, int64 (m,), unix seconds; NEVER for those who are not in the list.

        >>> Barred(Path("nowhere")).times(["ann"]) == NEVER
        array([ True])
        """
        key, listed = self._listed()
        if not listed:
            return np.full(len(users), NEVER, np.int64)
        found = (listed.get(_hash(user, key), NEVER) for user in users)
        return np.fromiter(found, np.int64, len(users))

    def since(self, users: Iterable[str], time: int) -> list[str]:
        """Those of users who were erased at ``time`` or later; users are not looked at if nobody was."""
        _, listed = self._listed()
        if max(listed.values(), default=NEVER) < time:
            return []
        everybody = list(users)
        late = self.times(everybody) >= time
        return [user for user, erased in zip(everybody, late.tolist(), strict=True) if erased]

    def _listed(self) -> tuple[bytes, Mapping[bytes, int]]:
        """The key, and hash → time; read again when the file has changed."""
        try:
            found = (self._folder / "users").stat()
        except FileNotFoundError:
            return b"", {}
        mark = (found.st_mtime_ns, found.st_size)
        if self._read is None or self._read[0] != mark:
            key, listed = (self._folder / "key").read_bytes(), dict[bytes, int]()
            for line in (self._folder / "users").read_bytes().splitlines():
                if match := _LINE.fullmatch(line):
                    listed[match[1]] = max(int(match[2]), listed.get(match[1], 0))
            self._read = (mark, key, listed)
        return self._read[1:]

    def _torn(self) -> bool:
        try:
            with (self._folder / "users").open("rb") as file:
                return file.seek(0, os.SEEK_END) > 0 and file.seek(-1, os.SEEK_END) >= 0 and file.read(1) != b"\n"
        except FileNotFoundError:
            return False

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with (self._folder / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _hash(user: str, key: bytes) -> bytes:
    digest = hashlib.blake2b(user.encode("utf-8", "surrogatepass"), key=key, digest_size=16)
    return digest.hexdigest().encode()


def _write(path: Path, content: bytes, how: int) -> None:
    """Write for the owner of the file alone, and have it on the disk."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | how, 0o600)
    try:
        os.write(handle, content)
        os.fsync(handle)
    finally:
        os.close(handle)

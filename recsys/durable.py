"""Files that are there whole or not at all, also after a crash."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def replace_file(path: Path, content: str | bytes) -> None:
    """Write a file atomically and durably, text as UTF-8: readers see the old one or the new, also after a crash.

    By one writer at a time; what a crash leaves beside it the next one writes over.
    """
    aside = path.with_name(f".{path.name}.new")
    aside.write_bytes(content.encode() if isinstance(content, str) else content)
    _put(aside, path)


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Where to write what becomes ``path`` when the context ends; nothing of it is left where that fails.

    Whoever else writes the same file meanwhile does not disturb: the last one stays.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        yield aside
        _put(aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def sync(path: Path) -> None:
    """Have what was written to a file or a folder on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _put(aside: Path, path: Path) -> None:
    sync(aside)
    aside.replace(path)
    sync(path.parent)

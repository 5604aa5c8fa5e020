"""Files mapped into memory, one copy for all processes, in pages as large as the system has them.

A request looks at thousands of places of a release; where pages are small, finding each page's address again takes 4 %
of its time at a million items. What was written piece by piece lies in small pages as long as it stays in memory.
"""

from __future__ import annotations

import mmap
import os
from contextlib import suppress
from pathlib import Path

import numpy as np

POPULATE_READ = 22
"""MADV_POPULATE_READ of Linux, which Python does not name."""


def mapped(path: Path) -> mmap.mmap | bytes:
    """The bytes of a file, read-only; an empty file cannot be mapped and is none."""
    with path.open("rb") as file:
        if not os.fstat(file.fileno()).st_size:
            return b""
        return _widened(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def load_mapped(path: Path) -> np.ndarray:
    """A ``.npy`` file as a read-only array, mapped; an empty array cannot be mapped and is read."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError:
        # mmap refuses a length of zero
        return np.asarray(np.load(path, allow_pickle=False))
    if isinstance(pages := array.base, mmap.mmap):
        _widened(pages)
    return np.asarray(array)


def reread(path: Path) -> None:
    """Have what stands on the disk in memory, in place of what the system kept there of a file: in large pages.

    Pages that somebody has mapped stay. Nothing is read where the system cannot be told so: whoever reads next does.
    """
    if not hasattr(os, "posix_fadvise"):
        return
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if isinstance(pages := mapped(path), mmap.mmap):
        with pages, suppress(OSError):
            # Unlike a look at the pages, this outlives a disk that cannot be read.
            pages.madvise(POPULATE_READ)


def _widened(pages: mmap.mmap) -> mmap.mmap:
    """The same, asked for in large pages when they come from the disk: a wish, which not every system knows."""
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):
            pages.madvise(mmap.MADV_HUGEPAGE)
    return pages

"""What loading a release leaves behind in a process, given back."""

from __future__ import annotations

import ctypes
import gc

import pyarrow as pa


def settle() -> None:
    """Give what was only needed while loading back to the system, and never look through what stays again.

    Files are read through buffers and columns are sorted on the way to arrays; allocators keep what those took: 80 MB a
    worker at a million items. And the collector's longest pass walks everything that a release and the imports made,
    tens of milliseconds in the middle of a request, to find nothing.
    """
    # What was set aside before belongs to a release that may be gone.
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    pa.default_memory_pool().release_unused()
    # glibc's; others give back by themselves.
    if (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)

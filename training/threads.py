"""How many threads compiled code and BLAS may use while a model is fitted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numba
from threadpoolctl import threadpool_limits


@contextmanager
def compiled_threads(threads: int, blas: int | None = None) -> Iterator[int]:
    """So many threads for numba, 0 for all cores; gives their number.

    ``blas``: threads of BLAS meanwhile; None is as many.
    """
    before = numba.get_num_threads()
    used = min(threads, before) if threads else before
    numba.set_num_threads(used)
    try:
        with threadpool_limits(blas or used, "blas"):
            yield used
    finally:
        numba.set_num_threads(before)

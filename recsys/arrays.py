"""The array types that every signature is written in.

The letters mean the same everywhere: q queries, n items or slots, d dimensions, k results, s seen,
m ids asked for.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int8 = NDArray[np.int8]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
UInt8 = NDArray[np.uint8]
UInt64 = NDArray[np.uint64]
Bool = NDArray[np.bool_]


def ranges(lengths: Int64) -> Int64:
    """0 … length-1 for each length, one after the other: positions inside ragged rows.

    >>> ranges(np.array([2, 0, 3]))
    array([0, 1, 0, 1, 2])
    """
    ends = np.cumsum(lengths)
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - lengths, lengths)

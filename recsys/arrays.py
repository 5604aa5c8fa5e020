"""The array types that every signature is written in.

The letters mean the same everywhere: q queries, n items or slots, d dimensions, k results, s seen,
m ids asked for.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int8 = NDArray[np.int8]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
UInt8 = NDArray[np.uint8]
UInt32 = NDArray[np.uint32]
UInt64 = NDArray[np.uint64]
Bool = NDArray[np.bool_]


def ranges(lengths: Int64) -> Int64:
    """0 … length-1 for each length, one after the other: positions inside ragged rows.

    >>> ranges(np.array([2, 0, 3]))
    array([0, 1, 0, 1, 2])
    """
    ends = np.cumsum(lengths)
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - lengths, lengths)


def unit(vectors: Float32) -> Float32:
    """Each at length one, float32 (m, d); zeros stay."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: Float32 = np.divide(vectors, lengths, out=np.zeros(vectors.shape, np.float32), where=lengths > 0)
    return scaled


class Patched:
    """An array of which some rows are others and behind which further ones come, without a copy of it.

    A mapped array of a million vectors takes a new one in microseconds so. It answers what is asked of item vectors
    while serving: shape and rows; whatever numpy does with it beyond that copies it whole.
    """

    def __init__(self, base: np.ndarray, rows: Int64, values: np.ndarray, length: int) -> None:
        self._base, self._rows, self._values = base, rows, values
        self.shape: tuple[int, ...] = (length, *base.shape[1:])
        self.ndim, self.dtype = base.ndim, base.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        asked = np.asarray(rows)
        if asked.size and not 0 <= asked.min() <= asked.max() < len(self):
            raise IndexError(f"rows run from {asked.min()} to {asked.max()}, the array from 0 to {len(self) - 1}")
        at = np.minimum(np.searchsorted(self._rows, asked), len(self._rows) - 1)
        other = self._rows[at] == asked
        if not other.any():
            return np.asarray(self._base[asked])
        found = np.asarray(self._base[np.where(other, 0, asked)]) if len(self._base) else self._values[at]
        return np.where(other.reshape(other.shape + (1,) * (self.ndim - 1)), self._values[at], found)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("a patched array cannot be seen as one without a copy")
        return np.asarray(self[np.arange(len(self))], dtype)

    def with_rows(self, rows: Int64, values: np.ndarray) -> Patched:
        """Once more, see :func:`patched`."""
        all_rows, last = np.unique(np.concatenate([rows, self._rows]), return_index=True)
        length = max(len(self), int(all_rows[-1]) + 1)
        return Patched(self._base, all_rows, np.concatenate([values, self._values])[last], length)


def at_hand(array: Any, *rows: Int32) -> list[np.ndarray]:
    """An array, and rows of it of any shapes, as compiled loops take them: an ndarray that holds these rows at least.

    Rows below 0 stay; others may point elsewhere than before.
    """
    if not isinstance(array, Patched):
        return [array, *(np.ascontiguousarray(some) for some in rows)]
    every = np.concatenate([some.ravel() for some in rows])
    at = np.where(every < 0, np.int32(-1), np.arange(every.size, dtype=np.int32))
    ends = np.cumsum([some.size for some in rows])
    parts = (part.reshape(some.shape) for part, some in zip(np.split(at, ends[:-1]), rows, strict=True))
    return [array[np.maximum(every, 0)], *parts]


def patched(base: np.ndarray, rows: Int32 | Int64, values: np.ndarray) -> Any:
    """``base`` with ``values``, (m, …), at m different ``rows``: old ones, and new ones that go on behind the last.

    What comes is no ndarray but, as far as rows are looked up in it, as good as one; hence the type. ValueError where
    the shapes do not fit or a row between the last and a new one is left out.

    >>> patched(np.array([1, 2, 3]), np.array([1, 3]), np.array([20, 40]))[[0, 1, 2, 3]]
    array([ 1, 20,  3, 40])
    """
    rows, values = np.asarray(rows, np.int64), np.asarray(values, base.dtype)
    if values.shape != (len(rows), *base.shape[1:]):
        raise ValueError(
            f"values are {values.shape}: {len(rows)} rows of {base.shape} need {(len(rows), *base.shape[1:])}"
        )
    if not len(rows):
        return base
    new = np.sort(rows[rows >= len(base)])
    if not np.array_equal(new, np.arange(len(base), len(base) + len(new))):
        raise ValueError(f"new rows are {new.tolist()[:5]}: they must go on from {len(base)}, one by one")
    if isinstance(base, Patched):
        return base.with_rows(rows, values)
    order = np.argsort(rows)
    return Patched(base, rows[order], values[order], len(base) + len(new))

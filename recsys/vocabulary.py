"""Ids outside, rows inside.

An id is any non-empty text; a row is its place in every array of one release. Between the two stands a
*key*, the xxh3 hash of the id's UTF-8 bytes in 64 bits: user states keep keys, which are eight bytes each,
mean the same item in every release, and are looked up a thousand at a time without touching a string.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import xxhash

from recsys.arrays import Int32, Int64, UInt8, UInt64, patched
from recsys.kernels import vocabulary as kernels
from recsys.mapping import load_mapped


def keys_of(ids: Sequence[str]) -> UInt64:
    """The 64-bit key of each id, uint64 (m,): xxh3_64 of its UTF-8 bytes, the same for ever.

    >>> keys_of(["i1"])
    array([5646418012223857726], dtype=uint64)
    """
    digest = xxhash.xxh3_64_intdigest
    encoded = (id_.encode("utf-8", "surrogatepass") for id_ in ids)
    return np.fromiter((digest(text) for text in encoded), np.uint64, len(ids))


class Vocabulary:
    """Ids to rows and back, in arrays that can be memory-mapped and shared between processes.

    ``text``: uint8, the ids' UTF-8 bytes one after the other. ``offsets``: int64 (n + 1,), where each
    starts. ``row_keys``: uint64 (n,), the key of each row. ``keys``: the same, ascending; ``key_rows``: int32
    (n,), the row of each of those.

    Laws: rows(ids(rows)) == rows; two ids never share a row. Two ids of one vocabulary whose keys collide
    (odds 3 · 10⁻⁸ for a million) are refused when it is built.
    """

    FILES = ("text", "offsets", "row_keys", "keys", "key_rows")

    def __init__(self, text: UInt8, offsets: Int64, row_keys: UInt64, keys: UInt64, key_rows: Int32) -> None:
        self._text, self._offsets, self.row_keys = text, offsets, row_keys
        self._keys, self._key_rows = keys, key_rows

    @classmethod
    def of(cls, ids: Iterable[str]) -> Vocabulary:
        """The vocabulary in which the i-th id is row i. ValueError for an empty or a repeated id."""
        ids = list(ids)
        encoded = [id_.encode("utf-8", "surrogatepass") for id_ in ids]
        lengths = np.fromiter(map(len, encoded), np.int64, len(encoded))
        if len(lengths) and not lengths.min():
            raise ValueError(f"an id is empty (row {int(lengths.argmin())}): ids are non-empty texts")
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        text = np.frombuffer(b"".join(encoded), np.uint8)
        row_keys = keys_of(ids)
        order = np.argsort(row_keys, kind="stable").astype(np.int32)
        keys = row_keys[order]
        repeated = np.flatnonzero(keys[1:] == keys[:-1])
        if len(repeated):
            first, second = (ids[order[repeated[0] + step]] for step in (0, 1))
            raise ValueError(f"ids must differ, but {first!r} and {second!r} are the same or share a key")
        return cls(text, offsets, row_keys, keys, order)

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[str]:
        return iter(self.ids(np.arange(len(self), dtype=np.int32)))

    def __repr__(self) -> str:
        return f"Vocabulary({len(self):,} ids)"

    def rows(self, ids: Sequence[str]) -> Int32:
        """Ids to rows, int32 (m,); -1 where unknown.

        >>> Vocabulary.of(["a", "b"]).rows(["b", "c", "a"])
        array([ 1, -1,  0], dtype=int32)
        """
        return self.rows_of_keys(keys_of(ids))

    def row(self, id_: str) -> int:
        """One id to its row; -1 where unknown.

        >>> Vocabulary.of(["a", "b"]).row("b")
        1
        """
        key = xxhash.xxh3_64_intdigest(id_.encode("utf-8", "surrogatepass"))
        return kernels.row_of(self._keys, self._key_rows, key)

    def rows_of_keys(self, keys: UInt64) -> Int32:
        """Keys to rows, int32 (m,); -1 where unknown. A few looks a key, no strings touched."""
        return kernels.rows_of(self._keys, self._key_rows, np.ascontiguousarray(keys, np.uint64))

    def ids(self, rows: Int32) -> list[str]:
        """Rows to ids. IndexError for a row outside the vocabulary.

        >>> Vocabulary.of(["a", "b"]).ids([1, 0])
        ['b', 'a']
        """
        return kernels.texts(self._text, self._offsets, np.ascontiguousarray(rows, np.int64))

    def starting_with(self, prefix: str, limit: int) -> Int32:
        """Rows of up to ``limit`` ids that begin with ``prefix``, by row: one pass over the text.

        >>> Vocabulary.of(["ab", "ba", "abc"]).starting_with("ab", 5)
        array([0, 2], dtype=int32)
        """
        text, at = self._text.tobytes(), -1
        rows: list[int] = []
        while len(rows) < limit and (at := text.find(prefix.encode("utf-8", "surrogatepass"), at + 1)) >= 0:
            row = int(np.searchsorted(self._offsets, at))
            if row < len(self) and self._offsets[row] == at:
                rows.append(row)
        return np.array(rows, np.int32)

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays that it is made of, by the names of ``FILES``."""
        arrays: tuple[np.ndarray, ...] = (self._text, self._offsets, self.row_keys, self._keys, self._key_rows)
        return dict(zip(self.FILES, arrays, strict=True))

    def grown(self, ids: Sequence[str]) -> Vocabulary:
        """With further ids behind the others, which are not copied. ValueError for one that is empty or known.

        >>> Vocabulary.of(["a", "b"]).grown(["c"]).rows(["c", "b"])
        array([2, 1], dtype=int32)
        """
        if not len(ids):
            return self
        if (known := self.rows(ids)).max() >= 0:
            raise ValueError(f"{ids[int(known.argmax())]!r} is in the vocabulary already: only new ids can be added")
        return _Chained(self, Vocabulary.of(ids))

    def save(self, folder: Path) -> None:
        """Write the arrays as ``.npy`` files into ``folder``, which is made."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, array in self.arrays().items():
            np.save(folder / f"{name}.npy", array, allow_pickle=False)

    @classmethod
    def load(cls, folder: Path) -> Vocabulary:
        """Map the arrays that :meth:`save` wrote; nothing is read until it is looked up."""
        return cls(*(load_mapped(folder / f"{name}.npy") for name in cls.FILES))


class _Chained(Vocabulary):
    """One vocabulary behind another. The second is small: it is made anew whenever an id is added."""

    def __init__(self, first: Vocabulary, later: Vocabulary) -> None:
        self._first, self._later = first, later
        rows = np.arange(len(first), len(first) + len(later))
        self.row_keys = patched(first.row_keys, rows, later.row_keys)

    def __len__(self) -> int:
        return len(self._first) + len(self._later)

    def grown(self, ids: Sequence[str]) -> Vocabulary:
        return self._first.grown([*self._later, *ids]) if len(ids) else self

    def rows_of_keys(self, keys: UInt64) -> Int32:
        rows, later = self._first.rows_of_keys(keys), self._later.rows_of_keys(keys)
        return np.where((rows < 0) & (later >= 0), later + np.int32(len(self._first)), rows)

    def row(self, id_: str) -> int:
        row = self._first.row(id_)
        later = self._later.row(id_) if row < 0 else -1
        return len(self._first) + later if later >= 0 else row

    def ids(self, rows: Int32) -> list[str]:
        rows, n = np.asarray(rows, np.int64), len(self._first)
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(self):
            raise IndexError(f"rows run from {rows.min()} to {rows.max()}, the vocabulary from 0 to {len(self) - 1}")
        first, later = iter(self._first.ids(rows[rows < n])), iter(self._later.ids(rows[rows >= n] - n))
        return [next(first if row < n else later) for row in rows.tolist()]

    def starting_with(self, prefix: str, limit: int) -> Int32:
        first, later = self._first.starting_with(prefix, limit), self._later.starting_with(prefix, limit)
        return np.concatenate([first, later + np.int32(len(self._first))])[:limit]

    def arrays(self) -> dict[str, np.ndarray]:
        return Vocabulary.of(self).arrays()

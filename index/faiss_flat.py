"""What the Faiss backends share: the release's own vectors as Faiss sees them, and the call."""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np

from index.searching import Found
from recsys.arrays import Float32


def flat_over(vectors: Float32) -> Any:
    """A flat inner-product index that reads ``vectors``, C-ordered float32 (n, d), where they lie.

    The caller keeps the array as long as the index: Faiss holds an address and owns nothing.
    """
    flat = faiss.IndexFlatIP(vectors.shape[1])
    nobody = faiss.MaybeOwnedVectorUInt8()
    address = faiss.cast_integer_to_void_ptr(vectors.ctypes.data)
    flat.codes = faiss.MaybeOwnedVectorUInt8.create_view(address, vectors.nbytes, nobody.owner)
    flat.ntotal = len(vectors)
    return flat


def ask(index: Any, queries: Float32, k: int, parameters: Any) -> Found:
    """Faiss's own search without the checks of its wrapper, which ours have made: C-ordered float32 (q, d)."""
    asked = len(queries)
    rows, scores = np.empty((asked, k), np.int64), np.empty((asked, k), np.float32)
    index.search_c(asked, faiss.swig_ptr(queries), k, faiss.swig_ptr(scores), faiss.swig_ptr(rows), parameters)
    return rows, scores

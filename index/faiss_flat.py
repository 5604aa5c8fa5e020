"""The release's own vectors as Faiss sees them, without a copy."""

from __future__ import annotations

from typing import Any

import faiss

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

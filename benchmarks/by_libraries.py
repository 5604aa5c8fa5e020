"""Parts of an answer as libraries do them, over the same data as ours."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import lightgbm

from index.faiss_flat import ask, flat_over
from index.faiss_ivf import FaissIvf
from index.remembering import Remembering
from index.searching import Found


def search(index: Any) -> Callable[..., Found]:
    """Faiss's search of the cells that it filled, as far as ours is asked to look; of all vectors where it filled none.

    What is called takes queries, float32 (q, d), and ``k``.
    """
    built: Any = index.built if isinstance(index, Remembering) else index
    if isinstance(built, FaissIvf):
        return lambda queries, k: ask(built.asked, queries, k, built.usual)
    flat = flat_over(built.vectors)
    return lambda queries, k: ask(flat, queries, min(k, flat.ntotal), None)


def trees(text: str) -> Callable[..., Any]:
    """LightGBM's prediction by the booster that it wrote; what is called takes features, float32 (n, columns)."""
    booster = lightgbm.Booster(model_str=text)
    return partial(booster.predict, raw_score=True, num_threads=1)

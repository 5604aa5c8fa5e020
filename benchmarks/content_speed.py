"""What encoding and mapping cost: overviews a second, seconds of a fit, milliseconds of one item that is new."""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np

from recsys.arrays import unit
from recsys.catalogue import Catalogue
from recsys.content import Content
from recsys.datasets import load
from recsys.encoding import Description
from recsys.interactions import interactions_of
from training.data import item_ids
from training.encoders import encoder_of
from training.maps import mapper_of
from training.models.svd import Svd

SINGLE = 200
"""New items that come one at a time."""


def measure() -> dict[str, Any]:
    """Overviews of ml-latest-small, and words and libraries of citeulike-t."""
    films, _ = _described("ml-latest-small")
    overviews = [{"text": film["text"]} for film in films if film.get("text")]
    wordllama = encoder_of({"name": "wordllama", "columns": ["text"]}).fit([], _rng(), threads=0)
    wordllama.encode(overviews[:256])
    articles, log = _described("citeulike-t")
    start = time.perf_counter()
    words = encoder_of({"name": "tfidf-svd", "columns": ["text"]}).fit(articles, _rng(), threads=0)
    fitted = time.perf_counter()
    vectors = unit(words.encode(articles))
    encoded = time.perf_counter()
    learned = Svd(factors=64).fit(log, _rng(), threads=0).vectors()
    directions = {name: unit(array) for name, array in learned.per_item().items()}
    seconds, maps = {}, {}
    for name in ("ridge", "mlp"):
        begin = time.perf_counter()
        maps[name] = mapper_of({"name": name}).fit(
            vectors, directions, np.ones(len(vectors), np.float32), _rng(), threads=0
        )
        seconds[name] = round(time.perf_counter() - begin, 2)
    content = Content(words, maps["mlp"], dict.fromkeys(directions, 1.0), 0.0, vectors)
    single = [_milliseconds(content, article) for article in articles[:SINGLE]]
    begin = time.perf_counter()
    wordllama.encode(overviews)
    return {
        "wordllama_overviews_s": round(len(overviews) / (time.perf_counter() - begin)),
        "overviews": len(overviews),
        "tfidf_svd_fit_s": round(fitted - start, 2),
        "tfidf_svd_encode_s": round(encoded - fitted, 2),
        "articles": len(articles),
        "map_s": seconds,
        "new_item_ms": {
            "median": round(float(np.median(single)), 3),
            "p99": round(float(np.quantile(single, 0.99)), 3),
        },
    }


def _milliseconds(content: Content, item: Description) -> float:
    begin = time.perf_counter()
    content.placed(content.encode([item]))
    return 1000 * (time.perf_counter() - begin)


def _described(dataset: str) -> tuple[list[dict[str, Any]], Any]:
    log = load(dataset, os.environ)
    data = interactions_of(log.events, log.kinds, items=item_ids(log))
    catalogue = Catalogue.of(log.items, data.items)
    return catalogue.describe(np.arange(len(catalogue), dtype=np.int32)), data


def _rng() -> np.random.Generator:
    return np.random.default_rng(0)

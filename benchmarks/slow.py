"""A ranker that takes too long, since it has so many trees, on a surface with a time budget: what answers cost then."""

from __future__ import annotations

import json
import time
import urllib.request
from collections import Counter
from datetime import UTC, datetime
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np

import index
from recsys.assembly import HOME, assemble
from recsys.errors import ReleaseError
from recsys.ranking import Card, Ranker
from recsys.releases import Manifest, Release, ReleaseStore
from recsys.settings import load_settings

BUDGET = 20.0
"""Milliseconds that an answer may take."""
TRIES = 20
"""Times that trees are timed, of which the quickest counts."""


def publish_slow(folder: Path, milliseconds: float, budget: float = BUDGET) -> tuple[Release, float]:
    """Promote the current release of ``folder`` once more, its ranker so slow and its home surface with a budget.

    The trees are repeated, and the slope divided: nothing but time is different. Also the milliseconds that the trees
    take for as many candidates as are put in order. ReleaseError for a release without a ranker.
    """
    store = ReleaseStore(load_settings(folder / "recsys.toml", {}).releases.folder)
    release = store.current()
    engine = assemble(release, index.load)
    line, ranker, facts = engine.surfaces[HOME].ranker, engine.parts.ranker, engine.parts.facts
    if line is None or ranker is None or facts is None:
        raise ReleaseError(f"release {release.id} has no ranker that could be slow")
    depth = int((line.model_extra or {}).get("depth", 200))
    slow, took = _slowed(ranker, milliseconds, depth)
    now = datetime.now(UTC)
    home = engine.surfaces[HOME].model_copy(update={"budget_ms": budget})
    with store.publishing():
        made = engine.ranked(slow, facts, home)
        manifest = release.manifest.model_dump() | {"id": store.new_id(now), "created": now, "files": {}}
        with store.staging(manifest["id"]) as staged:
            made.save(staged)
            published = store.commit(staged, Manifest.model_validate(manifest))
    store.promote(published.id, now=now)
    return published, took


def _slowed(ranker: Ranker, milliseconds: float, depth: int) -> tuple[Ranker, float]:
    """One that takes at least so long for ``depth`` candidates, and not much longer; and what it takes."""
    slow, times, took = ranker, 1, _milliseconds(ranker, depth)
    # Trees that no longer fit into a cache take longer than more of them should: by steps.
    while took < milliseconds:
        times = ceil(times * min(max(milliseconds / took, 1.1), 4))
        slow = repeated(ranker, times)
        took = _milliseconds(slow, depth)
    return slow, took


def repeated(ranker: Ranker, times: int) -> Ranker:
    """The same ranker with each tree but the last so often, and its sum divided by as much."""
    head, *trees = ranker.text.split("\nTree=")
    card = ranker.card
    text = "\nTree=".join([head, *(trees[:-1] * times), trees[-1]])
    return Ranker.of(text, Card(features=card.features, slope=card.slope / times, offset=card.offset))


def _milliseconds(ranker: Ranker, depth: int) -> float:
    rows = np.random.default_rng(0).normal(size=(depth, ranker.trees.columns)).astype(np.float32)
    quickest = np.inf
    for _ in range(TRIES):
        start = time.perf_counter()
        ranker.score(rows)
        quickest = min(quickest, time.perf_counter() - start)
    return 1000 * quickest


def degraded(url: str, users: list[str]) -> dict[str, int]:
    """How many answers were made without what, "" for nothing; of one after the other."""
    found: Counter[str] = Counter()
    for user in users:
        with urllib.request.urlopen(f"{url}/recommend?user_id={user}&k=20", timeout=30) as answer:  # noqa: S310
            said: dict[str, Any] = json.load(answer)
        found[" ".join(said["degraded"])] += 1
    return dict(found)

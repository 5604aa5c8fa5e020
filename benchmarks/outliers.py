"""Does content find neighbours that do not belong, and what does taking them out cost? With intruders that are known.

Item vectors are learned from one part of the log; of the nearest of each item some are made wrong on purpose. Two ways:
``swapped``, where one item in twenty has got the vector of another, and ``everywhere``, where popular items stand among
the neighbours of everything, as intros do that are played before every track of an album. The lists are then judged by
content that the filter does not see, and by what users who had taken the item took in the other part of the log.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from benchmarks.models import SETTINGS
from index.exact import Exact
from recsys.arrays import Bool, Float32, Float64, Int64, unit
from recsys.candidates import Candidates
from recsys.catalogue import Catalogue
from recsys.comparison import difference
from recsys.datasets import Log, load
from recsys.datasets.ragged import grouped
from recsys.errors import SettingsError, unknown_choice
from recsys.interactions import Interactions, interactions_of
from recsys.pipeline import Recommender
from recsys.retrieval import SIMILAR_INDEX, Parts, Query, Step
from recsys.splits import split_at_random
from recsys.steps.content_outlier import CONTENT, ContentOutlier
from recsys.surfaces import Line, unseen
from recsys.topk import best
from training.data import item_ids
from training.encoders import encoder_of
from training.models import model_of

POOL, DEPTH = 100, 10
"""How many neighbours the step is given, as the pipeline gives it, and how many are shown."""
ASKED = 2000
"""Items asked about, at most."""
TAKEN = 5
"""Takers that an item must have, to be asked about or swapped: the others' vectors say little as it is."""
SHARE = 0.05
"""Of the items that are swapped, and of the slots that popular items stand in."""
EVERYWHERE = 50
"""Popular items that stand everywhere."""
QUANTILES = (0.25, 0.5, 0.75)
KAPPAS = (0.0, 3.0, 10.0)
SEED = 0


@dataclass(frozen=True, slots=True)
class Study:
    """``encoder``: what the filter sees. ``judged``: the column of lists by which it is judged, which it does not."""

    encoder: Mapping[str, Any]
    judged: str


STUDIES: Mapping[str, Study] = MappingProxyType(
    {
        "citeulike-t": Study({"name": "tfidf-svd", "columns": ["text"], "width": 128}, "tags"),
        "lastfm-2k": Study({"name": "tfidf-svd", "columns": ["seen"], "width": 128}, "unseen"),
        "ml-latest-small": Study(
            {"name": "tfidf-svd", "columns": ["text", "keywords", "tags"], "width": 128}, "genres"
        ),
    }
)
MODEL: Mapping[str, Any] = MappingProxyType({"name": "ials", "factors": 64})


@dataclass(frozen=True, slots=True, eq=False)
class Neighbours:
    """Lists of which is known what does not belong.

    ``asked``: int64 (q,), items. ``rows``: int32 (q, POOL), neighbours, best first. ``intruders``: bool (q, POOL).
    """

    asked: Int64
    rows: Any
    intruders: Bool


@dataclass(frozen=True, slots=True, eq=False)
class Judge:
    """What lists are held against.

    ``labels``: CSR (items, labels) of ones. ``together``: CSR (items, items), how many users of the one took the other.
    """

    labels: sp.csr_matrix
    together: sp.csr_matrix

    def overlap(self, asked: Int64, rows: Any) -> Float64:
        """Mean Jaccard index of the labels of each item with those of its list, nan without labels, float64 (q,)."""
        sizes = np.diff(self.labels.indptr)
        found = np.full(rows.shape, np.nan)
        for slot in range(rows.shape[1]):
            other = np.maximum(rows[:, slot], 0)
            both = np.asarray(self.labels[asked].multiply(self.labels[other]).sum(axis=1)).ravel()
            either = sizes[asked] + sizes[other] - both
            there = (rows[:, slot] >= 0) & (sizes[asked] > 0) & (sizes[other] > 0)
            found[:, slot] = np.where(there, both / np.maximum(either, 1), np.nan)
        some = ~np.isnan(found)
        total, count = np.where(some, found, 0).sum(axis=1), some.sum(axis=1)
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)

    def held_out(self, asked: Int64, rows: Any) -> Float64:
        """Share of each list that users of the item took in the part that was held out; nan where they took nothing."""
        lines = self.together[asked]
        hits = np.zeros(len(asked))
        for slot in range(rows.shape[1]):
            taken = np.asarray(lines[np.arange(len(asked)), np.maximum(rows[:, slot], 0)]).ravel()
            hits += (rows[:, slot] >= 0) & (taken > 0)
        return np.where(np.diff(lines.indptr) > 0, hits / rows.shape[1], np.nan)


def measure(dataset: str, environ: Mapping[str, str]) -> dict[str, Any]:
    """``dataset``, ``model``, ``encoder``, ``judged``, ``rows`` as of :func:`rows_of`, ``served`` as of :func:`served`.

    SettingsError for a data set whose content is not studied.
    """
    if dataset not in STUDIES:
        raise SettingsError(unknown_choice("data set with content to filter by", dataset, STUDIES))
    study, rng = STUDIES[dataset], np.random.default_rng(SEED)
    log = _halved(load(dataset, environ), rng)
    data = interactions_of(log.events, log.kinds, items=item_ids(log))
    catalogue = Catalogue.of(log.items, data.items)
    split = split_at_random(data, 0.2, rng)
    fold = model_of(dict(MODEL)).fit(split.train, rng, threads=SETTINGS.train.threads).vectors()
    described = catalogue.describe(np.arange(len(catalogue), dtype=np.int32))
    encoding = encoder_of(dict(study.encoder)).fit(described, rng, threads=SETTINGS.train.threads)
    content = unit(encoding.encode(described))
    judge = Judge(_labels(catalogue, study.judged), _together(split.train, split.test))
    takers = np.asarray(split.train.seen().sum(axis=0)).ravel()
    found = rows_of(unit(fold.items), content, takers, judge, rng)
    known = {"items": len(catalogue), "with_content": int(content.any(axis=1).sum())}
    described_as = {"model": dict(MODEL), "encoder": dict(study.encoder), "judged": study.judged}
    lists = served(unit(fold.items), content, takers, judge, rng)
    return {"dataset": dataset, **known, **described_as, "rows": found, "served": lists}


def rows_of(
    directions: Float32, content: Float32, takers: Float64, judge: Judge, rng: np.random.Generator
) -> list[dict[str, Any]]:
    """The rows for item vectors and content vectors at length one, float32 (n, d) and (n, w).

    ``out``: the share of the neighbours of known content that is taken out, ``genuine_out``: of those that are no
    intruders. ``precision`` and ``recall`` of the intruders of known content. ``overlap@10`` and ``held_out@10``: see
    :class:`Judge`; ``…_gain``: against the unfiltered list, with the bounds of a 95 % interval.
    """
    fit = np.flatnonzero((takers >= TAKEN) & directions.any(axis=1) & content.any(axis=1))
    swapped = rng.permutation(fit)[: int(SHARE * len(fit)) // 2 * 2]
    asked = rng.permutation(np.setdiff1d(fit, swapped))[:ASKED]
    parts = Parts(len(content), {}, takers.astype(np.float32), {SIMILAR_INDEX: directions, CONTENT: content})
    steps = {f"content-outlier {quantile}": ContentOutlier.of(parts, quantile) for quantile in QUANTILES}
    usual = steps[f"content-outlier {QUANTILES[1]}"]
    lists = {
        "none": _nearest(directions, asked, np.zeros(len(content), bool)),
        "swapped": _nearest(*_exchanged(directions, swapped, asked)),
        "everywhere": _everywhere(_nearest(directions, asked, np.zeros(len(content), bool)), takers, rng),
    }
    rows = []
    for intrusion, given in lists.items():
        gone = _taken_out(usual, given)
        kept: dict[str, Bool] = {
            "unfiltered": np.zeros(given.rows.shape, bool),
            "as many at random": rng.permuted(gone, axis=1),
            "by the item alone": _alone(content, usual, given, float(gone.mean())),
            **{name: _taken_out(step, given) for name, step in steps.items()},
            "oracle": given.intruders,
        }
        before = _judged(given, kept["unfiltered"], judge)
        for name, out in kept.items():
            if name != "oracle" or intrusion != "none":
                row = _row(given, out, content, _judged(given, out, judge), before, rng)
                rows.append({"intruders": intrusion, "filter": name, **row})
    return rows


def served(
    directions: Float32, content: Float32, takers: Float64, judge: Judge, rng: np.random.Generator
) -> list[dict[str, Any]]:
    """The filter behind what a release with content answers to /similar: learned neighbours and those by content.

    They are mixed by how many took the items, with each κ of ``KAPPAS``; nothing was put in. Asked about are items that
    somebody took. ``out``: the share of the ten shown that others take the place of.
    """
    fit = np.flatnonzero((takers > 0) & directions.any(axis=1) & content.any(axis=1))
    asked = rng.permutation(fit)[:ASKED]
    vectors = {SIMILAR_INDEX: directions, CONTENT: content}
    indexes = {name: Exact.build(array) for name, array in vectors.items()}
    parts = Parts(len(content), indexes, takers.astype(np.float32), vectors)
    steps = {f"content-outlier {quantile}": ContentOutlier.of(parts, quantile) for quantile in QUANTILES}
    nothing = np.zeros((len(asked), POOL), bool)
    rows = []
    for kappa in KAPPAS:
        surface = unseen(
            Line(name="nearest", index=SIMILAR_INDEX),
            Line(name="content-nearest", index=CONTENT),
            fusion=Line(name="by-takers", kappa=kappa),
        )
        found = Recommender.of(surface, parts).recommend(_about(asked, directions), POOL).candidates.rows
        given = Neighbours(asked, found, nothing)
        before = _judged(given, nothing, judge)
        for name, step in {"unfiltered": None, **steps}.items():
            out = nothing if step is None else _taken_out(step, given)
            row = _row(given, out, content, _judged(given, out, judge), before, rng)
            said = {key: value for key, value in row.items() if key.partition("@")[0] in {"overlap", "held_out"}}
            rows.append({"kappa": kappa, "filter": name, "out": _number(out[:, :DEPTH].mean()), **said})
    return rows


def _row(
    given: Neighbours,
    out: Bool,
    content: Float32,
    after: Mapping[str, Float64],
    before: Mapping[str, Float64],
    rng: np.random.Generator,
) -> dict[str, Any]:
    known = np.asarray(content.any(axis=1))[given.rows]
    wrong, right = given.intruders & known, ~given.intruders & known
    hit = int((out & wrong).sum())
    row: dict[str, Any] = {
        "out": _number(out[known].mean()),
        "precision": _number(hit / out.sum()) if out.any() and wrong.any() else None,
        "recall": _number(hit / wrong.sum()) if wrong.any() else None,
        "genuine_out": _number((out & right).sum() / right.sum()),
    }
    for name, values in after.items():
        between = difference(values, before[name], rng)
        row[name] = _number(float(np.nanmean(values)))
        row[f"{name}_gain"] = [_number(number) for number in (between.mean, between.low, between.high)]
    return row


def _judged(given: Neighbours, out: Bool, judge: Judge) -> dict[str, Float64]:
    shown = np.argsort(out, axis=1, kind="stable")[:, :DEPTH]
    rows = np.take_along_axis(given.rows, shown, axis=1)
    return {
        f"intruders@{DEPTH}": np.take_along_axis(given.intruders, shown, axis=1).mean(axis=1),
        f"overlap@{DEPTH}": judge.overlap(given.asked, rows),
        f"held_out@{DEPTH}": judge.held_out(given.asked, rows),
    }


def _about(asked: Int64, directions: Float32 | None = None) -> list[Query]:
    """A query about each item alone."""
    now, ones = datetime.fromtimestamp(0, UTC), np.ones(1, np.float32)
    return [
        Query(now=now, vector=None if directions is None else directions[item], recent=alone, weights=ones, seen=alone)
        for item in asked.tolist()
        for alone in (np.array([item], np.int32),)
    ]


def _taken_out(step: Step, given: Neighbours) -> Bool:
    queries = _about(given.asked)
    scores = np.broadcast_to(-np.arange(POOL, dtype=np.float32), given.rows.shape)
    left = step(queries, Candidates(given.rows, scores))
    return ~left.filled


def _alone(content: Float32, step: ContentOutlier, given: Neighbours, share: float) -> Bool:
    """The simpler rule: as many, but those least like the item asked about, whatever the other neighbours are like."""
    centred = unit(np.where(content.any(axis=1, keepdims=True), content - step.mean, np.float32(0)))
    alike = np.einsum("qw,qkw->qk", centred[given.asked], centred[given.rows])
    known = np.asarray(content.any(axis=1))[given.rows]
    random = np.sort(centred[given.asked] @ step.usual.T, axis=1)
    places = np.stack([np.searchsorted(line, values) for line, values in zip(random, alike, strict=True)])
    places = np.where(known, places + 1e-3 * alike, np.inf)
    return np.asarray(places < np.quantile(places[known], min(1.0, share * places.size / known.sum())))


def _nearest(directions: Float32, asked: Int64, intruders: Bool) -> Neighbours:
    found = []
    for start in range(0, len(asked), 500):
        part = asked[start : start + 500]
        scores = directions[part] @ directions.T
        scores[np.arange(len(part)), part] = -np.inf
        found.append(best(scores, POOL)[0])
    rows = np.concatenate(found)
    return Neighbours(asked, rows, intruders[rows])


def _exchanged(directions: Float32, swapped: Int64, asked: Int64) -> tuple[Float32, Int64, Bool]:
    half = len(swapped) // 2
    others = directions.copy()
    others[swapped] = directions[np.concatenate([swapped[half:], swapped[:half]])]
    return others, asked, np.isin(np.arange(len(directions)), swapped)


def _everywhere(given: Neighbours, takers: Float64, rng: np.random.Generator) -> Neighbours:
    """The same lists with popular items that were not in them in one slot of twenty."""
    popular = np.argsort(-takers, kind="stable")[:EVERYWHERE].astype(np.int32)
    rows, intruders = given.rows.copy(), np.zeros(given.rows.shape, bool)
    count = int(SHARE * POOL)
    for line, item in enumerate(given.asked):
        free = popular[~np.isin(popular, [*rows[line], item])]
        chosen = rng.permutation(free)[:count]
        slots = rng.permutation(POOL)[: len(chosen)]
        rows[line, slots], intruders[line, slots] = chosen, True
    return Neighbours(given.asked, rows, intruders)


def _halved(log: Log, rng: np.random.Generator) -> Log:
    """Of artists only tags are known: half of the tags are what the filter sees, half what it is judged by."""
    if log.name != "lastfm-2k" or log.items is None:
        return log
    tags = log.items["tags"].explode().dropna()
    names = tags.drop_duplicates()
    first = set(names[rng.random(len(names)) < 0.5])
    seen = tags.isin(first).to_numpy()
    columns = {
        name: grouped(tags.index.to_numpy(np.int64)[mask], pd.Series(tags.to_numpy(object)[mask]), len(log.items))
        for name, mask in (("seen", seen), ("unseen", ~seen))
    }
    items = log.items[["item_id", "title"]].assign(**columns)
    return Log(log.name, log.events, items, log.kinds)


def _labels(catalogue: Catalogue, column: str) -> sp.csr_matrix:
    names, places, rows = catalogue.groups(column)
    labels = sp.csr_matrix((np.ones(len(places)), (rows, places)), shape=(len(catalogue), len(names)))
    labels.sum_duplicates()
    labels.data[:] = 1
    return labels


def _together(train: Interactions, test: Interactions) -> sp.csr_matrix:
    """How many users had the one item in training and took the other, which they had not, in the test."""
    had, took = train.seen(), test.seen()
    new = (took - took.multiply(had)).tocsr()
    new.eliminate_zeros()
    return (had.T @ new).tocsr()


def _number(value: float) -> float:
    return round(float(value), 4)

"""Why an item was answered: what of the user's own history its score is the sum of, and what a ranker saw in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from recsys.arrays import Float32, Float64, Int32
from recsys.assembly import USUAL, Engine
from recsys.candidates import Candidates
from recsys.features import FEATURES
from recsys.folding import Explains
from recsys.item_lists import ItemLists
from recsys.retrieval import ITEMS_INDEX, Query

MOST = 3
"""Items that are named of each history."""
MOST_FEATURES = 5
"""Features that are named of each item."""


@dataclass(frozen=True, slots=True)
class Reason:
    """An item of the history, by its row, and its share of what speaks for the item that was answered."""

    row: int
    share: float


@dataclass(frozen=True, slots=True)
class Cause:
    """A feature that a ranker looked at, what it says, and its share of all that moved the item; below 0: downwards."""

    feature: str
    about: str
    share: float


@runtime_checkable
class ExplainsOrder(Protocol):
    """A ranker that can say what each feature adds. Law: with what there is without any, that is the score."""

    @property
    def features(self) -> Sequence[str]:
        """The names of what it looks at."""
        ...

    def explain(self, query: Query, candidates: Candidates, rows: Int32) -> Float64:
        """What each feature adds for items among the candidates of one query, float64 (m, features)."""
        ...


def reasons(
    engine: Engine, surface: str, query: Query, rows: Int32, proposed: Sequence[Sequence[str]], most: int = MOST
) -> list[list[Reason]]:
    """For each of ``rows``, int32 (m,), what of the query's history speaks for it most, the strongest first.

    ``proposed``: the sources of the surface that proposed each. Sources whose scores are sums over the history can be
    asked: vectors of a fold that explains, and item lists; of several that proposed an item each counts alike. An item
    that none of them proposed has no reasons. Shares are of the sum of all that speaks for an item, so they say nothing
    of the scores themselves, which would give the model away.
    """
    history, weights = history_of(engine, query)
    if not len(history) or not len(rows):
        return [[] for _ in rows]
    total = np.zeros((len(rows), len(history)))
    for name, source in _explaining(engine, surface, query).items():
        said = np.array([name in names for names in proposed])
        if said.any():
            total[said] += shares(source.explain(history, weights, rows[said]))
    return [_strongest(history, line, most) for line in shares(total)]


def causes(
    engine: Engine, surface: str, query: Query, rows: Int32, k: int, most: int = MOST_FEATURES
) -> list[list[Cause]] | None:
    """For each of ``rows``, int32 (m,), among k that were asked for, the features that moved it most in the ranking.

    None where the surface has no ranker that can say. An item that the ranker did not see has none: one of the ladder,
    or from behind those that are put in order. The candidates are retrieved once more, for what features say of one
    depends on the others.
    """
    recommender = engine.recommenders[surface]
    ranker = recommender.ranker
    if not isinstance(ranker, ExplainsOrder):
        return None
    told = ranker.explain(query, recommender.retrieve([query], k), rows)
    size = np.abs(told).sum(axis=1, keepdims=True)
    parts = np.divide(told, size, out=np.zeros_like(told), where=size > 0)
    order = np.argsort(-np.abs(parts), axis=1, kind="stable")[:, :most]
    return [
        [_cause(ranker.features[place], float(line[place])) for place in best if line[place]]
        for line, best in zip(parts, order.tolist(), strict=True)
    ]


def _cause(feature: str, share: float) -> Cause:
    kind, _, argument = feature.partition(":")
    return Cause(feature, FEATURES[kind].about + (f" ({argument})" if argument else ""), share)


def history_of(engine: Engine, query: Query) -> tuple[Int32, Float32]:
    """The items that a query's vector was folded in from and their weights: of a user of the release, all of them."""
    learned, vector = engine.users.vectors, query.vector
    if query.user is not None and learned is not None and vector is not None:
        row = int(engine.users.ids.rows([query.user])[0])
        if row >= 0 and np.array_equal(learned[row], vector):
            part = slice(*engine.users.history.indptr[row : row + 2])
            return np.asarray(engine.users.history.rows[part]), np.asarray(engine.users.history.weights[part])
    return query.recent, query.weights


def shares(told: Float64) -> Float64:
    """Each contribution as a share of those above 0 of its line, float64 (m, r); what speaks against is 0."""
    positive = np.maximum(told, 0)
    total = positive.sum(axis=1, keepdims=True)
    found: Float64 = np.divide(positive, total, out=np.zeros_like(positive), where=total > 0)
    return found


def _explaining(engine: Engine, surface: str, query: Query) -> Mapping[str, Explains | ItemLists]:
    """The sources of a surface that can say what a history adds, under what they are called."""
    found: dict[str, Explains | ItemLists] = {}
    for line in {**USUAL, **engine.surfaces}[surface].sources:
        options, fold = line.model_extra or {}, engine.resolver.fold
        if line.name == "item-item":
            found[line.called] = engine.lists[options["lists"]]
        elif line.name == "nearest" and options.get("index") == ITEMS_INDEX and isinstance(fold, Explains):
            found[line.called] = fold
    return {name: source for name, source in found.items() if query.vector is not None or isinstance(source, ItemLists)}


def _strongest(history: Int32, line: Float64, most: int) -> list[Reason]:
    # An item may stand in a history twice.
    items, at = np.unique(history, return_inverse=True)
    added = np.bincount(at, line)
    best = np.argsort(-added, kind="stable")[:most]
    return [Reason(int(items[place]), float(added[place])) for place in best if added[place] > 0]

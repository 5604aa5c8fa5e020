"""What a ranker looks at: each feature defined once, the same code in training, in evaluation and in a request.

A feature is of a candidate as one query sees it, float32, nan where it is not known. Some stand once for each source,
window or attribute: ``source-rank:als``, ``recent-cosine:5``, ``attribute:year``. To add one: a function here and a
line in FEATURES.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from types import MappingProxyType

import numpy as np

from recsys.arrays import Float32, Float64, Int32, at_hand
from recsys.candidates import NONE, Candidates
from recsys.errors import unknown_choice
from recsys.item_facts import ItemFacts
from recsys.kernels import features as kernels
from recsys.kernels.vectors import products
from recsys.retrieval import CONTENT_INDEX, ITEMS_INDEX, SIMILAR_INDEX, Parts, Query

WINDOWS = (1, 5, 20)
"""How many of the newest items a similarity looks back at."""
CHUNK = 32
"""Queries whose candidates' vectors are gathered at once."""
DAY = 86400.0
NO_ARGUMENT = ("",)
_WINDOWS = np.array(WINDOWS, np.int32)


class Asked:
    """q queries with their candidates, n slots each, and what several features need of both, made once."""

    def __init__(self, queries: Sequence[Query], candidates: Candidates, parts: Parts) -> None:
        self.queries, self.candidates, self.parts = queries, candidates, parts
        self.rows = np.ascontiguousarray(candidates.rows)
        self._cosines: dict[str, Float32] = {}
        self._items: dict[str, Float32] = {}

    @cached_property
    def facts(self) -> ItemFacts:
        """ValueError for a release without facts."""
        if self.parts.facts is None:
            raise ValueError("this release holds no facts of items for a ranker to look at: train it with [ranker]")
        return self.parts.facts

    @cached_property
    def now(self) -> Float64:
        """Unix seconds of each request, float64 (q,)."""
        return np.array([query.now.timestamp() for query in self.queries])

    @cached_property
    def recent(self) -> Int32:
        """The newest items that say something good of each user's taste, int32 (q, 20), -1 where there are fewer."""
        recent = np.full((len(self.queries), WINDOWS[-1]), NONE)
        for line, query in enumerate(self.queries):
            taught = query.recent[query.weights > 0][: WINDOWS[-1]]
            recent[line, : len(taught)] = taught
        return recent

    def cosines(self, space: str) -> Float32:
        """Mean cosine of each candidate to the newest items, by the windows, and last the largest to any of them.

        float32 (windows + 1, q, n), nan where there are none.
        """
        if space not in self._cosines:
            vectors, rows, recent = at_hand(self.parts.vectors[space], self.rows, self.recent)
            self._cosines[space] = kernels.cosines(vectors, rows, recent, _WINDOWS)
        return self._cosines[space]

    def item(self, name: str) -> Float32:
        """What facts of this name, float32 (items,), say of each candidate: float32 (q, n), nan where they do not."""
        if name not in self._items:
            self._items[name] = kernels.looked_up(getattr(self.facts, name), self.rows)
        return self._items[name]

    def by_user(self, values: Sequence[float] | Float64) -> Float32:
        """One value a query, the same in all of its slots: float32 (q, n)."""
        found = np.empty(self.rows.shape, np.float32)
        found[:] = np.asarray(values, np.float32)[:, None]
        return found


@dataclass(frozen=True, slots=True)
class Feature:
    """``of``: what is asked and the argument → float32 (q, n), nan where unknown; empty slots may hold anything.

    ``arguments``: a release's parts and the names of a surface's sources → the arguments that there are for it; none
    where the release lacks what the feature looks at.
    """

    of: Callable[[Asked, str], Float32]
    arguments: Callable[[Parts, Sequence[str]], Iterable[str]]

    @property
    def about(self) -> str:
        """What it says, for people."""
        return (self.of.__doc__ or "").rstrip(".")


def features_of(names: Sequence[str], queries: Sequence[Query], candidates: Candidates, parts: Parts) -> Float32:
    """The named features of every slot, float32 (q, n, features), nan where unknown and in empty slots.

    Laws: a query's features do not depend on the others of its batch, nor a slot's on which slot it is; infinity does
    not occur. ValueError for a name that is none.
    """
    # A feature after the other in memory, and turned at the end: writing every 24th number takes longer.
    found = np.empty((len(names), *candidates.shape), np.float32)
    features = _all_known(tuple(names))
    for start in range(0, len(queries), CHUNK):
        block = slice(start, start + CHUNK)
        asked = Asked(queries[block], candidates.part(block) if len(queries) > CHUNK else candidates, parts)
        for place, (feature, argument) in enumerate(features):
            found[place, block] = feature.of(asked, argument)
    return kernels.rows_of(found, np.ascontiguousarray(candidates.rows))


def names_of(parts: Parts, sources: Sequence[str]) -> tuple[str, ...]:
    """Every feature that there is for these parts and sources."""
    return tuple(
        f"{name}:{argument}" if argument else name
        for name, feature in FEATURES.items()
        for argument in feature.arguments(parts, sources)
    )


def check_features(names: Sequence[str], parts: Parts, sources: Sequence[str]) -> None:
    """ValueError names those features that a ranker asks for and that the release, or the surface, does not have."""
    there = names_of(parts, sources)
    lacking = [name for name in names if name not in there]
    if lacking:
        raise ValueError(
            f"the ranker asks for {', '.join(lacking)}, which this surface of this release does not have: train the "
            f"ranker with it, or choose among {', '.join(there)}"
        )


@lru_cache(maxsize=1024)
def _known(name: str) -> tuple[Feature, str]:
    kind, _, argument = name.partition(":")
    if kind not in FEATURES:
        raise ValueError(unknown_choice("feature", kind, FEATURES))
    return FEATURES[kind], argument


@lru_cache(maxsize=64)
def _all_known(names: tuple[str, ...]) -> list[tuple[Feature, str]]:
    return [_known(name) for name in names]


# --------------------------------------------------------------------------- what the sources and the fusion said


def _signal(asked: Asked, source: str) -> Float32:
    said = asked.candidates.signals.get(source)
    return np.full(asked.rows.shape, np.nan, np.float32) if said is None else np.ascontiguousarray(said)


def fusion_rank(asked: Asked, _: str) -> Float32:
    """Place in the fused list."""
    return kernels.ranks(np.ascontiguousarray(asked.candidates.scores))


def fusion_score(asked: Asked, _: str) -> Float32:
    """The fusion's score by the best one's."""
    return kernels.shares(np.ascontiguousarray(asked.candidates.scores))


def source_rank(asked: Asked, source: str) -> Float32:
    """Place among what the source proposed."""
    return kernels.ranks(_signal(asked, source))


def source_score(asked: Asked, source: str) -> Float32:
    """The source's score by its best one's for this query."""
    return kernels.shares(_signal(asked, source))


def agreeing(asked: Asked, _: str) -> Float32:
    """How many sources proposed it."""
    found = np.zeros(asked.rows.shape, np.float32)
    for said in asked.candidates.signals.values():
        kernels.count_known(np.ascontiguousarray(said), found)
    return found


# --------------------------------------------------------------------------- vectors


def affinity(asked: Asked, _: str) -> Float32:
    """Inner product with the user's vector, whoever proposed the item."""
    items = asked.parts.vectors[ITEMS_INDEX]
    users = np.zeros((len(asked.queries), items.shape[1]), np.float32)
    for line, query in enumerate(asked.queries):
        if query.vector is not None:
            users[line] = query.vector
    near, rows = at_hand(items, asked.rows)
    said = products(near, rows, users)
    for line, query in enumerate(asked.queries):
        if query.vector is None or not np.count_nonzero(query.vector):
            said[line] = np.nan
    return said


def recent_cosine(asked: Asked, window: str) -> Float32:
    """Mean cosine to the newest items, by learned vectors."""
    found: Float32 = asked.cosines(SIMILAR_INDEX)[WINDOWS.index(int(window))]
    return found


def recent_nearest(asked: Asked, _: str) -> Float32:
    """Largest cosine to any of the 20 newest items, by learned vectors."""
    found: Float32 = asked.cosines(SIMILAR_INDEX)[-1]
    return found


def content_cosine(asked: Asked, window: str) -> Float32:
    """Mean cosine to the newest items, by content vectors."""
    found: Float32 = asked.cosines(CONTENT_INDEX)[WINDOWS.index(int(window))]
    return found


# --------------------------------------------------------------------------- the item


def takers(asked: Asked, _: str) -> Float32:
    """Share of all users who took it."""
    return asked.item("takers")


def lately(asked: Asked, _: str) -> Float32:
    """Share of those who did anything lately, in the newest tenth of the log, who took it then."""
    return asked.item("lately")


def trend(asked: Asked, _: str) -> Float32:
    """The share lately by the share over all."""
    return kernels.ratios(lately(asked, ""), takers(asked, ""))


def age(asked: Asked, _: str) -> Float32:
    """Days since somebody first took it."""
    return kernels.days_since(asked.facts.first, asked.now, asked.rows)


def attribute(asked: Asked, name: str) -> Float32:
    """A number that the catalogue has of it."""
    return kernels.looked_up(asked.facts.numbers[asked.facts.names.index(name)], asked.rows)


# --------------------------------------------------------------------------- the user, and the user with the item


def activity(asked: Asked, _: str) -> Float32:
    """How many items the user has seen."""
    return asked.by_user([len(query.seen) for query in asked.queries])


def idle(asked: Asked, _: str) -> Float32:
    """Days since the user's newest event."""
    newest = np.array([query.times[0] if len(query.times) else np.nan for query in asked.queries])
    return asked.by_user(np.maximum(asked.now - newest, 0) / DAY)


def hour(asked: Asked, _: str) -> Float32:
    """Hour of the day, UTC, with its fraction."""
    return asked.by_user(asked.now % DAY / 3600)


def category_affinity(asked: Asked, _: str) -> Float32:
    """Mean share that the item's categories have in the user's 20 newest items."""
    facts = asked.facts
    return kernels.likeness(facts.categories, facts.width, asked.recent, np.ascontiguousarray(asked.rows))


def shown(asked: Asked, _: str) -> Float32:
    """How often it was shown to the user so far."""
    found = np.full(asked.rows.shape, np.nan, np.float32)
    for line, query in enumerate(asked.queries):
        if query.shown is not None:
            found[line] = kernels.counted(query.shown, asked.rows[line])
    return found


# --------------------------------------------------------------------------- the table


def _always(parts: Parts, sources: Sequence[str]) -> Iterable[str]:  # noqa: ARG001
    return NO_ARGUMENT


def _by_source(parts: Parts, sources: Sequence[str]) -> Iterable[str]:  # noqa: ARG001
    return sources


def _if_vectors(space: str, arguments: Sequence[str]) -> Callable[[Parts, Sequence[str]], Iterable[str]]:
    """For releases that have these vectors."""
    return lambda parts, sources: arguments if space in parts.vectors else ()  # noqa: ARG005


def _with_facts(there: Callable[[ItemFacts], Iterable[str]]) -> Callable[[Parts, Sequence[str]], Iterable[str]]:
    return lambda parts, sources: () if parts.facts is None else there(parts.facts)  # noqa: ARG005


_windows = tuple(str(window) for window in WINDOWS)
_facts = _with_facts(lambda facts: NO_ARGUMENT)  # noqa: ARG005
_timed = _with_facts(lambda facts: NO_ARGUMENT if np.isfinite(facts.first).any() else ())
_attributes = _with_facts(lambda facts: facts.names)
_categories = _with_facts(lambda facts: NO_ARGUMENT if facts.width else ())

FEATURES: Mapping[str, Feature] = MappingProxyType(
    {
        "fusion-rank": Feature(fusion_rank, _always),
        "fusion-score": Feature(fusion_score, _always),
        "agreeing": Feature(agreeing, _always),
        "source-rank": Feature(source_rank, _by_source),
        "source-score": Feature(source_score, _by_source),
        "affinity": Feature(affinity, _if_vectors(ITEMS_INDEX, NO_ARGUMENT)),
        "recent-cosine": Feature(recent_cosine, _if_vectors(SIMILAR_INDEX, _windows)),
        "recent-nearest": Feature(recent_nearest, _if_vectors(SIMILAR_INDEX, NO_ARGUMENT)),
        "content-cosine": Feature(content_cosine, _if_vectors(CONTENT_INDEX, _windows)),
        "takers": Feature(takers, _facts),
        "lately": Feature(lately, _facts),
        "trend": Feature(trend, _facts),
        "age": Feature(age, _timed),
        "attribute": Feature(attribute, _attributes),
        "category-affinity": Feature(category_affinity, _categories),
        "activity": Feature(activity, _always),
        "idle": Feature(idle, _timed),
        "hour": Feature(hour, _timed),
        "shown": Feature(shown, _always),
    }
)

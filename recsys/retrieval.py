"""What a request is made of, and the protocols of the parts that answer it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np

from recsys.arrays import Float32, Int32, Int64
from recsys.attributes import Attributes
from recsys.candidates import Candidates, Unwanted
from recsys.catalogue import Catalogue
from recsys.filters import Filter
from recsys.item_facts import ItemFacts
from recsys.item_lists import ItemLists
from recsys.masks import Mask
from recsys.ranking import Ranker
from recsys.recency import Recency

NO_ROWS: Int32 = np.zeros(0, np.int32)
NO_ROWS.flags.writeable = False
NO_WEIGHTS: Float32 = np.zeros(0, np.float32)
NO_WEIGHTS.flags.writeable = False
NO_TIMES: Int64 = np.zeros(0, np.int64)
NO_TIMES.flags.writeable = False

ITEMS_INDEX = "items"
"""The index over item vectors as they were learned: inner product with a user's vector is the score."""
SIMILAR_INDEX = "similar"
"""The index over unit item vectors: inner product is the cosine of two items."""
CONTENT_INDEX = "content"
"""The index over unit content vectors."""

PERSONAL = "personal"
"""The level of an answer from what the batch layer learned of the user."""
RECENT = "recent"
"""The level of an answer from recent items alone."""


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """One request, resolved against one release.

    ``vector``: float32 (d,) or None, and ``level``, what a personal answer is called. ``recent``: int32 (r,),
    item rows, newest first, and ``weights``: float32 (r,), what was learned from each. ``seen``: int32 (s,), item rows
    that must not be answered, and ``dismissed``: int32 (m,), those of them that the user does not want on any surface.
    ``interests``: words and tags that the user named. ``excluded``: int32 (e,), item
    rows that this request does not want, and ``allowed``, the items that it wants; None for all. ``seed``: of what is
    left to chance in its answer. ``times``: int64 (r,), unix seconds of the recent items, empty where nobody knows.
    ``shown``: int32 (m,), item rows, one for each time that they were shown to the user; None where nobody counts.
    ``shown_times``: int64 (m,), unix seconds of each time, empty where nobody knows. ``context``: int32 (c,), item rows
    that the request is about: a basket, what plays, what is looked at. ``segment``: a column of the catalogue and one
    of its values, where the request names a part of it; None where it does not.
    """

    now: datetime
    user: str | None = None
    vector: Float32 | None = None
    level: str = PERSONAL
    recent: Int32 = field(default_factory=lambda: NO_ROWS)
    weights: Float32 = field(default_factory=lambda: NO_WEIGHTS)
    seen: Int32 = field(default_factory=lambda: NO_ROWS)
    dismissed: Int32 = field(default_factory=lambda: NO_ROWS)
    interests: tuple[str, ...] = ()
    excluded: Int32 = field(default_factory=lambda: NO_ROWS)
    allowed: Mask | None = None
    seed: int = 0
    times: Int64 = field(default_factory=lambda: NO_TIMES)
    shown: Int32 | None = None
    shown_times: Int64 = field(default_factory=lambda: NO_TIMES)
    context: Int32 = field(default_factory=lambda: NO_ROWS)
    segment: tuple[str, str] | None = None


class SearchIndex(Protocol):
    """Maximum inner product search over item vectors, float32 (n, d).

    Laws: scores are inner products, higher is better; results are sorted, best first; exactly k slots, the
    last ones empty (-1, -inf) where the index has fewer than k items; a batch equals its queries one by one
    up to float rounding; search is thread-safe; under a mask only allowed items are answered, and k of them wherever
    k are allowed.
    Errors: ValueError with both numbers for a wrong shape, k below 1, values that are not finite, or a mask over
    another number of items.
    """

    @property
    def backend(self) -> str:
        """Its name in the table of backends."""
        ...

    @property
    def shape(self) -> tuple[int, int]:
        """(n, d)."""
        ...

    def search(self, queries: Float32, k: int, allowed: Mask | None = None) -> Candidates:
        """The k items of largest inner product with each query, float32 (q, d), among those allowed."""
        ...


class VectorIndex(SearchIndex, Protocol):
    """One that is kept in files. Law: what was loaded from them answers as the index that was saved."""

    def save(self, folder: Path) -> None:
        """Write the index's own files into ``folder``."""
        ...


@runtime_checkable
class GrowingIndex(SearchIndex, Protocol):
    """One that takes items and lets go of them. Values: every change gives another one."""

    def put(self, rows: Int32, vectors: Float32) -> Self:
        """With these vectors at m different rows: new ones behind the last, others in place of theirs."""
        ...

    def remove(self, rows: Iterable[int]) -> Self:
        """Without some items, which are not answered any more."""
        ...

    def restore(self, rows: Iterable[int]) -> Self:
        """With items that were removed before, as they were."""
        ...


@runtime_checkable
class RememberingIndex(SearchIndex, Protocol):
    """One that may know what is nearest to its own items without searching."""

    def remembered(self, rows: Int32, k: int) -> Candidates | None:
        """The k nearest of items, int32 (m,), themselves among them; fewer where some went since.

        None where they have to be searched for.
        """
        ...


class Source(Protocol):
    """Proposes items. It may fail; the request may not.

    One that does not ask what the user took says so by a class attribute, ``personal = False``.
    """

    def __call__(self, queries: Sequence[Query], k: int) -> Candidates:
        """About k items for each query, in slots; a query that it has nothing for gets empty slots."""
        ...


@runtime_checkable
class Scorer(Protocol):
    """A source that can also say what it thinks of items that it did not propose."""

    def score(self, queries: Sequence[Query], rows: Int32) -> Float32:
        """Scores of ``rows``, int32 (q, n), on the scale of its proposals.

        nan where the slot is empty (-1), or where it has nothing to say of the query.
        """
        ...


class Fusion(Protocol):
    """Makes one list of what several sources proposed."""

    pool: int
    """How many items it wants of each source at least, where there are several, however few are asked for."""

    def __call__(
        self, queries: Sequence[Query], proposals: Mapping[str, Candidates], sources: Mapping[str, Source]
    ) -> Candidates:
        """Each item once, with what each source said of it as a signal."""
        ...


@runtime_checkable
class Blending(Fusion, Protocol):
    """A fusion that sees to it by itself that nothing unwanted gets in: one loop over all, where stages are many."""

    def blend(
        self, proposals: Mapping[str, Candidates], unwanted: Sequence[Unwanted], pool: int | None, most: int | None
    ) -> Candidates:
        """The ``most`` best, best first, of each source's ``pool`` best that are wanted; of all where those are None.

        Law: as if what is unwanted had been taken out, each source cut, and the rest fused and cut.
        """
        ...


class Step(Protocol):
    """Empties slots or changes scores; never invents an item.

    One that looks at :attr:`Query.shown` has an attribute ``reads_shown`` that is true: it is fetched for those alone.
    """

    def __call__(self, queries: Sequence[Query], candidates: Candidates) -> Candidates:
        """The candidates after the step, in as many slots."""
        ...


class ContentSpace(Protocol):
    """What makes content vectors of descriptions, and item vectors of content vectors."""

    @property
    def reads(self) -> tuple[str, ...]:
        """The names in a description that a vector depends on."""
        ...

    @property
    def vectors(self) -> Float32:
        """The content vectors of the release's items, float32 (n, w)."""
        ...

    def encode(self, items: Sequence[Mapping[str, Any]]) -> Float32:
        """Content vectors, float32 (m, w), of length one, or zero where a description says nothing."""
        ...

    def placed(self, content: Float32) -> Mapping[str, Float32]:
        """What a fold keeps of items that nobody has taken, float32 (m, d), by their content; zero where that is."""
        ...

    def save(self, folder: Path) -> None:
        """Write its files into ``folder``, which is made."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """What sources, fusions and steps of one release are built from.

    ``indexes``: name → index over all items, and ``vectors``: name → what it was built from, float32 (n, d).
    ``popularity``: float32 (n,), how often each item was consumed, and ``order``: int32 (n,), all rows, those most
    consumed first, or None where nobody has sorted them yet. ``lists``: name → what goes with each item. ``content``:
    what content vectors are made by. ``available``: the items that may be answered at all; None for every one.
    ``catalogue``: what is known of the items; None where nobody asks. ``facts``: what features ask of items, and
    ``ranker``: what was learned of ordering candidates; None where a release has none. ``attributes``: the columns of
    the catalogue that was built, and ``recency``: when its items were taken; None where nobody asks.
    """

    items: int
    indexes: Mapping[str, SearchIndex]
    popularity: Float32
    vectors: Mapping[str, Float32] = field(default_factory=dict)
    lists: Mapping[str, ItemLists] = field(default_factory=dict)
    content: ContentSpace | None = None
    available: Mask | None = None
    order: Int32 | None = None
    catalogue: Catalogue | None = None
    facts: ItemFacts | None = None
    ranker: Ranker | None = None
    attributes: Attributes | None = None
    recency: Recency | None = None

    @property
    def gone(self) -> Int32:
        """The rows that may not be answered, ascending."""
        return NO_ROWS if self.available is None else (~self.available).rows

    def named(self, items: Sequence[str]) -> Int32:
        """The rows of items by their ids, int32 (m,), -1 for one that is unknown. ValueError for one named twice."""
        if isinstance(items, str) or not all(isinstance(item, str) for item in items):
            raise ValueError(f"items are {items!r}: a list of ids was wanted")
        if len(set(items)) < len(items):
            raise ValueError(f"items are {list(items)}: each may be named once")
        if self.catalogue is None:
            raise ValueError("items are named, and there is no catalogue to find them in")
        return self.catalogue.find(items)

    def newest_first(self, column: str = "") -> Int32:
        """Rows of which it is known when they came, the newest first, int32 (m,): by a column of the catalogue.

        Without one, items that were put since the release was made come first, then those that somebody took by the
        first time that they were taken; one that nobody took is left out. ValueError where nobody knows.
        """
        if column:
            if self.catalogue is None:
                raise ValueError(f"column {column!r} is asked for, and there is no catalogue")
            return self.catalogue.newest_first(column)
        if self.recency is None:
            raise ValueError("nobody knows when items were first taken: name a `column` of the catalogue")
        built = self.recency.items
        put = np.arange(built, self.items, dtype=np.int32) if self.order is None else self.order[built:]
        return np.concatenate([put, self.recency.newest_first])

    def fulfilling(self, wanted: Filter) -> Mask:
        """The items that fulfil a filter, as they are described now. ValueError for a column that there is not."""
        if self.attributes is None or self.catalogue is None:
            raise ValueError("a filter is asked for, and there is no catalogue to look into")
        found = wanted.mask(self.attributes)
        if not (said := self.catalogue.described):
            return found
        fulfil = [row for row, about in said.items() if wanted.holds(about)]
        found = found.grown(self.items - found.items)
        return (found & ~Mask.of_rows(said, self.items)) | Mask.of_rows(fulfil, self.items)


def by_popularity(popularity: Float32) -> Int32:
    """All rows, most popular first, equally popular ones by row: int32 (n,)."""
    return np.argsort(-popularity, kind="stable").astype(np.int32)


class PartBuilder(Protocol):
    """Builds a source, a fusion or a step from a release's parts and the options of its line in the pipeline."""

    def __call__(self, parts: Parts, **options: Any) -> Any:
        """Build it; ValueError for an option that it does not have or that names a part that is not there."""
        ...


class RankerBuilder(Protocol):
    """Builds what orders a surface's candidates: a step that takes no item away."""

    def __call__(self, parts: Parts, sources: Sequence[str], **options: Any) -> Step:
        """``sources``: what those of the surface are called. ValueError as for other parts."""
        ...


LENGTHS = (1e-15, 1e15)
"""What the largest value among item vectors may be: beyond, float32 loses their squares, and indexes items."""


def check_queries(queries: Float32, shape: tuple[int, int], k: int) -> Float32:
    """The queries as C-ordered float32 (q, d) for an index of ``shape`` (n, d); ValueError if they cannot be."""
    array = _float32(queries)
    if array.ndim != 2 or array.shape[1] != shape[1]:
        raise ValueError(f"queries are {array.shape} but the index is {shape}: d must match")
    if k < 1:
        raise ValueError(f"k is {k}: ask for at least 1")
    # Counted, which for one query takes half of what `all` does.
    if np.count_nonzero(np.isfinite(array)) < array.size:
        raise ValueError("queries hold values that are not finite")
    return array


def check_vectors(vectors: Float32) -> Float32:
    """The vectors as C-ordered float32 (n, d); ValueError unless finite, d at least 1 and lengths within LENGTHS."""
    array = _float32(vectors)
    if array.ndim != 2 or not array.shape[1]:
        raise ValueError(f"vectors are {array.shape}: they must be (n, d) with d of at least 1")
    bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
    if len(bad):
        raise ValueError(f"{len(bad)} of {len(array)} vectors hold values that are not finite, first in row {bad[0]}")
    largest = max(float(array.max(initial=0.0)), -float(array.min(initial=0.0)))
    if largest and not LENGTHS[0] <= largest <= LENGTHS[1]:
        raise ValueError(
            f"the largest value among {len(array)} vectors is {largest:g}: squares are exact from {LENGTHS[0]:g} to "
            f"{LENGTHS[1]:g} only, multiply all vectors by one number, which changes no order"
        )
    return array


def _float32(array: np.ndarray) -> Float32:
    """C-ordered, in float32; what that cannot hold becomes infinite."""
    if array.dtype == np.float32:
        return np.ascontiguousarray(array)
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(array, np.float32)


def check_mask(allowed: Mask, items: int) -> Mask:
    """The mask; ValueError unless it is over as many items as the index."""
    if allowed.items != items:
        raise ValueError(f"the mask is over {allowed.items} items but the index holds {items}: n must match")
    return allowed


def pad(rows: Int64 | Int32, scores: Float32, k: int) -> Candidates:
    """A backend's answer, (q, ≤k) with -1 where it found nothing, as Candidates of exactly k slots."""
    rows = rows.astype(np.int32, copy=False)
    scores = scores.astype(np.float32, copy=False)
    if rows.shape[1] == k and (not rows.size or rows.min() >= 0):
        return Candidates(rows, scores)
    missing = ((0, 0), (0, k - rows.shape[1]))
    rows = np.pad(rows, missing, constant_values=-1)
    return Candidates(rows, np.where(rows >= 0, np.pad(scores, missing), np.float32(-np.inf)))

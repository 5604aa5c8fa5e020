"""What a request says of the list that it wants, as the rows and masks of one release."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from api.lookup import allowed_of
from api.problems import Problem
from api.schemas import MAX_CONTEXT
from recsys.arrays import Int32
from recsys.assembly import Engine
from recsys.errors import unknown_choice
from recsys.masks import Mask
from recsys.pipeline import Recommender
from recsys.retrieval import NO_ROWS, Query
from recsys.sources.segment import Segment


@dataclass(frozen=True, slots=True, eq=False)
class Wanted:
    """``excluded``, ``context``, ``allowed`` and ``segment`` as a query has them.

    ``unknown``: ids that the request names and the release does not know; they count for nothing.
    """

    excluded: Int32
    context: Int32
    allowed: Mask | None
    segment: tuple[str, str] | None
    unknown: list[str]

    @classmethod
    def of(
        cls,
        engine: Engine,
        recommender: Recommender,
        *,
        exclude: Sequence[str],
        context: Sequence[str],
        filters: list[str] | None,
        segment: str | None,
    ) -> Wanted:
        """422 for a filter, a context or a segment that cannot be. What a request is about it does not want back."""
        if len(context) > MAX_CONTEXT:
            raise Problem(422, f"context: it names {len(context):,} items, at most {MAX_CONTEXT} are taken")
        allowed, part = allowed_of(engine, filters), _segment_of(recommender, segment)
        if not exclude and not context:
            return cls(NO_ROWS, NO_ROWS, allowed, part, [])
        unwanted, unknown = _rows_of(engine, exclude)
        about, more = _rows_of(engine, context)
        return cls(np.union1d(unwanted, about), about, allowed, part, [*unknown, *more])

    def asked(self, query: Query) -> Query:
        """The query of somebody who wants this."""
        if self.allowed is None and self.segment is None and not len(self.excluded) and not len(self.context):
            return query
        return replace(query, excluded=self.excluded, context=self.context, allowed=self.allowed, segment=self.segment)

    def said(self) -> dict[str, list[str]]:
        """What an answer says of it: nothing where everything was known."""
        return {"unknown": self.unknown} if self.unknown else {}


def parted(texts: Sequence[str] | None) -> list[str]:
    """Ids that stand in parameters, parted by commas."""
    return [item for text in texts or () for item in text.split(",") if item]


def _rows_of(engine: Engine, items: Sequence[str]) -> tuple[Int32, list[str]]:
    """The rows of the items that there are, int32, each once in their order, and the ids of the others."""
    named = list(dict.fromkeys(items))
    rows = engine.items.rows(named)
    return rows[rows >= 0], [item for item, row in zip(named, rows.tolist(), strict=True) if row < 0]


def _segment_of(recommender: Recommender, text: str | None) -> tuple[str, str] | None:
    """The column and the value that a request names, as ``country:DE``."""
    if text is None:
        return None
    column, found, value = text.partition(":")
    if not (column and found and value):
        raise Problem(422, f"segment: a column and a value were wanted, as in `genres:Jazz`, but it is {text!r}")
    sources = (*recommender.sources.values(), *recommender.ladder.values())
    columns = sorted({name for source in sources if isinstance(source, Segment) for name in source.columns})
    if not columns:
        raise Problem(422, "segment: this surface goes by none: give it the source `segment`, or leave it out")
    if column not in columns:
        raise Problem(422, f"segment: {unknown_choice('column', column, columns)}")
    return column, value

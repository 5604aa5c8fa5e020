"""Vectors that the owner of the catalogue brings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from recsys.arrays import Float32
from recsys.encoding import Description
from recsys.encoding.problems import SILENT, says
from recsys.sections import Section
from recsys.vocabulary import Vocabulary


class PrecomputedRule(Section):
    """Where a vector stands in a description."""

    column: str = "vector"
    """The list of numbers."""
    width: int = Field(ge=1)
    """w, how many there must be."""


@dataclass(frozen=True, slots=True, eq=False)
class Precomputed:
    """What ``column`` of a description says; without it, what is known of its ``item_id``.

    ``known``: the ids whose vectors were in a file, and ``vectors``, float32 (n, w), theirs.
    """

    kind: ClassVar[str] = "precomputed"
    Rule: ClassVar[type[PrecomputedRule]] = PrecomputedRule

    rule: PrecomputedRule
    known: Vocabulary
    vectors: Float32

    @classmethod
    def of(cls, rule: PrecomputedRule, arrays: Mapping[str, np.ndarray]) -> Precomputed:
        """Without arrays nothing is known but what descriptions say. ValueError for vectors of another width."""
        if not arrays:
            return cls(rule, Vocabulary.of([]), np.zeros((0, rule.width), np.float32))
        known = Vocabulary(*(arrays[f"ids/{name}"] for name in Vocabulary.FILES))
        vectors = arrays["vectors"]
        if vectors.shape != (len(known), rule.width):
            raise ValueError(f"vectors are {vectors.shape}, ({len(known)}, {rule.width}) was wanted")
        return cls(rule, known, vectors)

    def arrays(self) -> Mapping[str, np.ndarray]:
        """The vectors of the file and the ids that they belong to."""
        return {**{f"ids/{name}": array for name, array in self.known.arrays().items()}, "vectors": self.vectors}

    @property
    def width(self) -> int:
        """As many numbers as the vectors have that were brought."""
        return self.rule.width

    @property
    def reads(self) -> tuple[str, ...]:
        """The vector, and whose it is."""
        return (self.rule.column, "item_id")

    def problems(self, item: Description) -> dict[str, str]:
        """See :class:`recsys.encoding.problems.Explains`; an unknown ``item_id`` is none."""
        said = item.get(self.rule.column)
        if not says(said):
            return {self.rule.column: SILENT}
        try:
            return {} if vector_of(said, self.width).any() else {self.rule.column: "is zeros alone"}
        except ValueError as error:
            return {self.rule.column: str(error)}

    def encode(self, items: Sequence[Description]) -> Float32:
        """The vectors as they were brought, float32 (m, w); zeros where there is none, or one that cannot be used.

        What a description says goes before the file.
        """
        vectors = np.zeros((len(items), self.rule.width), np.float32)
        rows = self.known.rows([id_ if isinstance(id_ := item.get("item_id"), str) else "" for item in items])
        for place, (item, row) in enumerate(zip(items, rows.tolist(), strict=True)):
            said = item.get(self.rule.column)
            if said is not None:
                with suppress(ValueError):
                    vectors[place] = vector_of(said, self.rule.width)
            elif row >= 0:
                vectors[place] = self.vectors[row]
        return vectors


def vector_of(said: Any, width: int) -> Float32:
    """A vector that somebody brings, float32 (w,). ValueError, the end of a sentence, where it cannot be used.

    >>> vector_of([1, 2.5], 3)
    Traceback (most recent call last):
    ...
    ValueError: has 2 numbers, 3 were wanted
    """
    shown = repr(said[:40] if isinstance(said, str | list) else said)[:40]
    if not isinstance(said, list | tuple | np.ndarray):
        raise ValueError(f"is {shown}, a list of {width} numbers was wanted")  # noqa: TRY004  the world's error, not ours
    try:
        with np.errstate(over="ignore"):
            vector = np.asarray(said, np.float32)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"is {shown}, a list of {width} numbers was wanted") from None
    if vector.ndim != 1:
        raise ValueError(f"is {shown}, a list of {width} numbers was wanted")
    if len(vector) != width:
        raise ValueError(f"has {len(vector)} numbers, {width} were wanted")
    if not (finite := np.isfinite(vector)).all():
        raise ValueError(f"has {int((~finite).sum())} numbers that are not finite")
    return vector

"""A user's vector from their items, in the space that the items already have. To add a way: one file and one line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

import numpy as np
from pydantic import ValidationError

from recsys.arrays import Float32, Float64, Int32, Int64
from recsys.errors import unknown_choice
from recsys.mapping import load_mapped
from recsys.sections import Section
from recsys.settings import describe
from recsys.tables import Table


class Fold(Protocol):
    """What turns a history into a vector: known users, newcomers and the last click go through the same.

    ``items``: float32 (n, d), the item vectors that the result is multiplied with. ``rule``: its numbers, kept in
    ``model.json``.
    Laws: no items, or weights of 0 or less, is the zero vector; a batch equals its users one by one up to rounding;
    what :meth:`arrays` gives and ``rule`` says is all that :meth:`of` needs.
    """

    kind: ClassVar[str]
    """Its name in the table of folds."""
    Rule: ClassVar[Any]
    """The class of its numbers, a Section."""

    @property
    def items(self) -> Float32:
        """The item vectors."""
        ...

    @property
    def rule(self) -> Section:
        """The numbers."""
        ...

    def fold(self, indptr: Int64, rows: Int32, weights: Float32) -> Float32:
        """Vectors of q users, float32 (q, d).

        User u's items are ``rows[indptr[u]:indptr[u + 1]]``, int32, newest first, with ``weights`` alike.
        """
        ...

    def arrays(self) -> Mapping[str, np.ndarray]:
        """What it needs beside the item vectors and the rule, by name."""
        ...

    def per_item(self) -> Mapping[str, Float32]:
        """What it keeps of each item, float32 (n, d): ``items``, and what users' vectors are made of if not that."""
        ...

    def replaced(self, vectors: Mapping[str, Float32]) -> Self:
        """The same with other vectors of items, as many or more, under the names that :meth:`per_item` gives.

        All else stays as it was learned: what users left aside is told by the items that they could take.
        ValueError for another name, width, or number of items than the rest has.
        """
        ...

    @classmethod
    def of(cls, items: Float32, rule: Any, arrays: Mapping[str, np.ndarray] | None = None) -> Self:
        """Put it together; what can be computed is, where ``arrays`` lacks it."""
        ...


@runtime_checkable
class Explains(Protocol):
    """A fold whose scores are sums over the history."""

    def explain(self, history: Int32, weights: Float32, rows: Int32) -> Float64:
        """What each of r items of a history adds to the scores of ``rows``, int32 (m,): float64 (m, r).

        Laws: a line adds up to the inner product of the item with what :meth:`Fold.fold` makes of the history; an item
        of weight 0 or less adds 0.
        """
        ...


FOLDS: Table[type[Fold]] = Table(
    "fold",
    {
        "least-squares": "recsys.folding.least_squares:LeastSquares",
        "linear": "recsys.folding.linear:Linear",
        "transformer": "recsys.folding.transformer:Transformer",
    },
)
OLDEST = "least-squares"
"""What a release of schema 1, which names no kind, was folded in by."""


def check_replaced(fold: Fold, vectors: Mapping[str, Float32]) -> dict[str, Float32]:
    """What a fold keeps of each item with some of it replaced. ValueError as :meth:`Fold.replaced` says."""
    kept = dict(fold.per_item())
    if unknown := vectors.keys() - kept.keys():
        raise ValueError(f"a {fold.kind} fold keeps {', '.join(kept)} of an item, not {', '.join(sorted(unknown))}")
    merged = {**kept, **vectors}
    width = fold.items.shape[1]
    wrong = {name: array.shape for name, array in merged.items() if array.shape != (len(merged["items"]), width)}
    if wrong:
        raise ValueError(
            f"vectors are {wrong}: as many as there are items, {(len(merged['items']), width)}, were wanted"
        )
    return merged


def describe_fold(fold: Fold) -> dict[str, Any]:
    """The kind and the numbers of a fold, for ``model.json``."""
    return {"kind": fold.kind, **fold.rule.model_dump(mode="json")}


def save_arrays(fold: Fold, folder: Path) -> None:
    """Write each array as ``NAME.npy`` into ``folder``."""
    for name, array in fold.arrays().items():
        np.save(folder / f"{name}.npy", array, allow_pickle=False)


def load_fold(described: Mapping[str, Any], items: Float32, folder: Path) -> Fold:
    """What :func:`describe_fold` and :func:`save_arrays` kept, mapped. ValueError for an unknown kind or key."""
    numbers = dict(described)
    kind = numbers.pop("kind", OLDEST)
    if kind not in FOLDS:
        raise ValueError(unknown_choice("fold", str(kind), FOLDS))
    fold = FOLDS[kind]
    try:
        rule = fold.Rule.model_validate(numbers)
    except ValidationError as error:
        raise ValueError(f"fold {kind}: {describe(error)}") from error
    names = getattr(fold, "ARRAYS", ())
    return fold.of(items, rule, {name: load_mapped(folder / f"{name}.npy") for name in names})

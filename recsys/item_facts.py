"""What features ask of items beside their vectors, as it was when a release was made: small arrays in row order."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recsys.arrays import Float32, Float64, Int32
from recsys.mapping import load_mapped


@dataclass(frozen=True, slots=True, eq=False)
class ItemFacts:
    """Facts of n items.

    ``takers`` and ``lately``: float32 (n,), the share of all users, and of those who did anything lately, who took
    it. ``first``: float64 (n,), unix seconds of its first event, nan where there is none or the log has no times.
    ``numbers``: float32 (a, n), nan where unknown, and ``names``: what they are called. ``categories``: int32 (n, ≤ 8),
    -1 where there are fewer, of ``width`` different ones.
    Law: what happened after the events that it was made of changes nothing in it.
    """

    ARRAYS = ("takers", "lately", "first", "numbers", "categories")

    takers: Float32
    lately: Float32
    first: Float64
    numbers: Float32
    names: tuple[str, ...]
    categories: Int32
    width: int

    def __len__(self) -> int:
        return len(self.takers)

    def save(self, folder: Path) -> None:
        """Write the arrays and ``facts.json`` into ``folder``, which is made."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in self.ARRAYS:
            np.save(folder / f"{name}.npy", getattr(self, name), allow_pickle=False)
        described = json.dumps({"numbers": self.names, "categories": self.width}, ensure_ascii=False, indent=2)
        (folder / "facts.json").write_text(described + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, items: int) -> ItemFacts:
        """Map what :meth:`save` wrote. ValueError unless it speaks of ``items`` items in arrays that fit."""
        arrays = {name: load_mapped(folder / f"{name}.npy") for name in cls.ARRAYS}
        described = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
        facts = cls(**arrays, names=tuple(described["numbers"]), width=int(described["categories"]))
        wanted: dict[str, tuple[int, ...]] = dict.fromkeys(("takers", "lately", "first"), (items,))
        wanted |= {"numbers": (len(facts.names), items), "categories": (items, facts.categories.shape[-1])}
        for name, shape in wanted.items():
            if arrays[name].shape != shape:
                raise ValueError(f"facts of items: {name} is {arrays[name].shape}, {shape} was wanted")
        if facts.categories.size and not -1 <= facts.categories.min() <= facts.categories.max() < facts.width:
            raise ValueError(f"facts of items name a category beyond the {facts.width} that there are")
        return facts

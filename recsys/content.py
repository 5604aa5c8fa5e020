"""Where an item belongs by what is said of it, before anybody has taken it: content vectors and a map to item vectors.

The map gives a direction. How long an item's vector is says how popular it is, which content does not know: an item
that nobody took gets one length that is stated, the prior. As it is taken its vector moves from there to the learned
one, see :func:`shrunk`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from pydantic import Field, ValidationError

from recsys.arrays import Float32, Int64, unit
from recsys.encoding import Description, Encoding, load_encoding, save_encoding
from recsys.folding import Fold
from recsys.mapping import load_mapped
from recsys.sections import Section
from recsys.settings import describe

ITEMS = "items"
"""The space that users' vectors are multiplied with, as :meth:`recsys.folding.Fold.per_item` names it."""


@dataclass(frozen=True, slots=True, eq=False)
class ContentMap:
    """Content vectors to directions in the spaces of a fold: a net of layers with max(0, ·) between them.

    ``layers``: a matrix, float32 (a, b), and a shift, float32 (b,), each; a linear map has one layer, and one of zeros
    predicts nothing.
    ``spaces``: name → d, which add up to the width of the last. ValueError where widths do not fit.

    Laws: what comes is of length one, or zeros where the content vector is; a batch equals its items one by one up to
    rounding.
    """

    layers: tuple[tuple[Float32, Float32], ...]
    spaces: Mapping[str, int]

    def __post_init__(self) -> None:
        widths = [(*matrix.shape, len(shift)) for matrix, shift in self.layers]
        fits = all(b == shift for _, b, shift in widths) and all(one[1] == other[0] for one, other in pairwise(widths))
        if not widths or not fits or widths[-1][1] != sum(self.spaces.values()):
            raise ValueError(f"layers are {widths}, which do not fit each other and spaces of {dict(self.spaces)}")

    @property
    def width(self) -> int:
        """w, of the content vectors."""
        return int(self.layers[0][0].shape[0])

    def directions(self, content: Float32) -> dict[str, Float32]:
        """For each space float32 (m, d), for content vectors float32 (m, w). ValueError for another width."""
        if content.ndim != 2 or content.shape[1] != self.width:
            raise ValueError(f"content vectors are {content.shape}, but the map was learned for width {self.width}")
        x = content
        for place, (matrix, shift) in enumerate(self.layers):
            x = (np.maximum(x, 0) if place else x) @ matrix + shift
        known = np.any(content, axis=1, keepdims=True)
        ends = np.cumsum(list(self.spaces.values()))
        parts = np.split(x, ends[:-1], axis=1)
        return {name: unit(np.where(known, part, 0)) for name, part in zip(self.spaces, parts, strict=True)}

    def predict(self, content: Float32) -> Float32:
        """The directions of items, float32 (m, d)."""
        return self.directions(content)[ITEMS]


class _Card(Section):
    """``content.json``."""

    norms: dict[str, float]
    kappa: float = Field(ge=0)
    spaces: dict[str, int]
    layers: int = Field(ge=1)


@dataclass(frozen=True, slots=True, eq=False)
class Content:
    """What a release knows of its items by what is said of them, and how a new one finds its place.

    ``norms``: space → the length of the vector of an item that nobody took. ``vectors``: float32 (n, w), the content
    vectors of the release's items at length one, zeros where nothing is known. ValueError where parts do not fit.
    """

    encoding: Encoding
    map: ContentMap
    norms: Mapping[str, float]
    kappa: float
    vectors: Float32

    def __post_init__(self) -> None:
        if self.vectors.shape[1:] != (self.encoding.width,):
            raise ValueError(f"content vectors are {self.vectors.shape}, the encoding's width is {self.encoding.width}")
        if self.map.width != self.encoding.width or self.map.spaces.keys() != self.norms.keys():
            raise ValueError(
                f"the map takes width {self.map.width} to {', '.join(self.map.spaces)}, but the encoding gives width "
                f"{self.encoding.width} and there are norms of {', '.join(self.norms)}"
            )

    @property
    def prior(self) -> float:
        """The length of the vector of an item that nobody took."""
        return self.norms[ITEMS]

    @property
    def reads(self) -> tuple[str, ...]:
        """The names in a description that a content vector depends on."""
        return self.encoding.reads

    def encode(self, items: Sequence[Description]) -> Float32:
        """Content vectors of descriptions, float32 (m, w), of length one, or zeros where nothing usable is said."""
        return unit(self.encoding.encode(items))

    def placed(self, content: Float32) -> dict[str, Float32]:
        """The vectors of items that nobody took, float32 (m, d) for each space of the fold, by their content vectors.

        As :meth:`recsys.folding.Fold.replaced` takes them. Zeros where the content vector is.
        """
        found = self.map.directions(content)
        return {name: found[name] * np.float32(self.norms[name]) for name in found}

    def place(self, content: Float32) -> Float32:
        """The item vectors alone, prior · direction, float32 (m, d)."""
        return self.placed(content)[ITEMS]

    def mixed(self, fold: Fold, takers: Int64) -> Fold:
        """The fold with what content says of items that few took, see :func:`shrunk`.

        ``takers``: int64 (n,), how many users took each item of the release.
        """
        learned = fold.per_item()
        return fold.replaced(
            {
                name: shrunk(learned[name], predicted, takers, self.kappa)
                for name, predicted in self.placed(self.vectors).items()
            }
        )

    def save(self, folder: Path) -> None:
        """Write ``content.json``, the vectors, the layers and the encoding into ``folder``, which is made."""
        folder.mkdir(parents=True, exist_ok=True)
        card = _Card(
            norms=dict(self.norms), kappa=self.kappa, spaces=dict(self.map.spaces), layers=len(self.map.layers)
        )
        (folder / "content.json").write_text(card.model_dump_json(indent=2) + "\n")
        np.save(folder / "vectors.npy", self.vectors, allow_pickle=False)
        for place, (matrix, shift) in enumerate(self.map.layers):
            np.save(folder / f"matrix_{place}.npy", matrix, allow_pickle=False)
            np.save(folder / f"shift_{place}.npy", shift, allow_pickle=False)
        save_encoding(self.encoding, folder / "encoding")

    @classmethod
    def load(cls, folder: Path) -> Content:
        """Map what :meth:`save` wrote. ValueError for what does not fit together."""
        try:
            card = _Card.model_validate_json((folder / "content.json").read_bytes())
        except ValidationError as error:
            raise ValueError(f"{folder / 'content.json'}: {describe(error)}") from error
        layers = tuple(
            (load_mapped(folder / f"matrix_{place}.npy"), load_mapped(folder / f"shift_{place}.npy"))
            for place in range(card.layers)
        )
        return cls(
            encoding=load_encoding(folder / "encoding"),
            map=ContentMap(layers, card.spaces),
            norms=card.norms,
            kappa=card.kappa,
            vectors=load_mapped(folder / "vectors.npy"),
        )


def shrunk(learned: Float32, predicted: Float32, takers: Int64, kappa: float) -> Float32:
    """A mean, takers / (takers + κ) · learned + κ / (takers + κ) · predicted, float32 (n, d); ``takers``: int64 (n,).

    Laws: an item that nobody took is as predicted, for any κ; the more took it, the less the prediction counts; where
    nothing is predicted, a row of zeros, the learned vector stays.

    >>> learned, predicted = np.ones((3, 1), np.float32), np.full((3, 1), 5, np.float32)
    >>> shrunk(learned, predicted, np.array([0, 3, 7]), kappa=1).ravel()
    array([5. , 2. , 1.5], dtype=float32)
    """
    n = np.asarray(takers, np.float64)
    share = np.divide(n, n + kappa, out=np.zeros(len(n)), where=n > 0)
    share = np.where(predicted.any(axis=1), share, 1).astype(np.float32)[:, None]
    mixed: Float32 = share * learned + (1 - share) * predicted
    return mixed

"""Several encoders side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from pydantic import Field, model_validator

from recsys.arrays import Float32
from recsys.encoding import Description
from recsys.encoding.concat import Concat
from training.encoders import Encoder, encoder_of
from training.encoders.on_device import encoded
from training.models import Progress, silent


class ConcatEncoder(Encoder):
    """What each part gives, at length one times its weight."""

    parts: dict[str, dict[str, Any]] = Field(
        default_factory=lambda: {"tfidf-svd": {}, "tags": {}}, min_length=1, validate_default=True
    )
    """The name of an encoder → its options, and ``weight`` (1); any other name with ``name`` among the options."""

    @model_validator(mode="after")
    def _parts_can_be_made(self) -> Self:
        for part, options in self.parts.items():
            weight = options.get("weight", 1.0)
            if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < float("inf"):
                raise ValueError(f"the weight of part {part} is {weight!r}, a number above 0 was wanted")
            if not part or set(part) & set("/\\.") or not part.isprintable():
                raise ValueError(f"a part is named {part!r}, which cannot be a folder: use letters, digits, - and _")
            _encoder(part, options)
        return self

    def fit(
        self, items: Sequence[Description], rng: np.random.Generator, *, threads: int, progress: Progress = silent
    ) -> Concat:
        """Fit each part, in the order in which they stand. TrainingError where one has nothing to learn from."""
        parts = {}
        for place, (part, options) in enumerate(self.parts.items()):

            def share(done: float, before: int = place) -> None:
                progress((before + done) / len(self.parts))

            parts[part] = _encoder(part, options).fit(items, rng, threads=threads, progress=share)
        return Concat(parts, {part: float(options.get("weight", 1.0)) for part, options in self.parts.items()})

    def refined(
        self,
        encoding: Concat,
        items: Sequence[Description],
        directions: Float32,
        weights: Float32,
        rng: np.random.Generator,
        *,
        threads: int,
        progress: Progress = silent,
    ) -> Concat:
        """Each part refined; the same if none has changed."""
        parts = {}
        for place, (part, options) in enumerate(self.parts.items()):

            def share(done: float, before: int = place) -> None:
                progress((before + done) / len(self.parts))

            parts[part] = _encoder(part, options).refined(
                encoding.parts[part], items, directions, weights, rng, threads=threads, progress=share
            )
        same = all(parts[part] is encoding.parts[part] for part in parts)
        return encoding if same else Concat(parts, encoding.weights)


def encoded_on(encoding: Concat, items: Sequence[Description], device: str) -> Float32:
    """What :meth:`Concat.encode` gives, float32 (m, w), its parts computed on a device as far as they can."""
    return encoding.encode_by(lambda part, some: encoded(part, some, device), items)


def _encoder(part: str, options: Mapping[str, Any]) -> Encoder:
    return encoder_of({"name": part, **{key: value for key, value in options.items() if key != "weight"}})

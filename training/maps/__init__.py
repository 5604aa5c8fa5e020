"""What learns where items lie from what is said of them. To add a map: one file and one line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from recsys.arrays import Float32, Int64
from recsys.content import ContentMap
from recsys.sections import Section
from recsys.tables import Table
from training.config import configured
from training.maps.taste import Taste
from training.models import Progress, silent


class Mapper(Section):
    """A frozen configuration that can fit; it keeps no state.

    Laws: the same arrays, configuration, generator state and one thread give the same bits; nothing is written into
    what is given.
    """

    def fit(
        self,
        content: Float32,
        directions: Mapping[str, Float32],
        weights: Float32,
        rng: np.random.Generator,
        *,
        threads: int,
        progress: Progress = silent,
    ) -> ContentMap:
        """Learn from m items with this many threads, 0 for all cores.

        ``content``: float32 (m, w), of length one. ``directions``: for each space float32 (m, d), of length one or
        zero. ``weights``: float32 (m,), above 0, how sure each is.
        """
        raise NotImplementedError

    def refined(
        self,
        net: ContentMap,
        content: Float32,  # noqa: ARG002
        directions: Mapping[str, Float32],  # noqa: ARG002
        weights: Float32,  # noqa: ARG002
        taste: Taste,  # noqa: ARG002
        rng: np.random.Generator,  # noqa: ARG002
        *,
        threads: int,  # noqa: ARG002
        progress: Progress = silent,  # noqa: ARG002
    ) -> ContentMap:
        """What :meth:`fit` learned, after a look at who took which of the items; for most maps as it was."""
        return net


MAPS: Table[type[Mapper]] = Table(
    "map",
    {
        "ridge": "training.maps.ridge:Ridge",
        "mlp": "training.maps.mlp:Mlp",
        "contrastive": "training.maps.contrastive:Contrastive",
        "auto": "training.maps.auto:Auto",
        "none": "training.maps.nothing:Nothing",
    },
    extra="train",
)


def mapper_of(options: Mapping[str, Any]) -> Mapper:
    """The map of ``[content.map]``, ``ridge`` if nothing is named; SettingsError as ``configured`` has it."""
    return configured(MAPS, options, "ridge", "content.map")


def parted(items: int, share: float, rng: np.random.Generator) -> tuple[Int64, Int64]:
    """Rows to learn from and rows to be judged by, a ``share`` of all at random; the same ones where there are few."""
    order = rng.permutation(items)
    held = round(share * items)
    return (order[held:], order[:held]) if held >= 2 else (order, order)


def likeness(net: ContentMap, content: Float32, directions: Mapping[str, Float32], weights: Float32) -> float:
    """The mean cosine of what is predicted with what was learned, over all spaces, by ``weights``."""
    found = net.directions(content)
    return float(
        np.mean([np.average(np.einsum("md,md->m", found[name], directions[name]), weights=weights) for name in found])
    )

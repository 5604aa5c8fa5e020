"""The network of :mod:`recsys.folding.transformer` in torch, over whole sequences at once, to be trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recsys.arrays import Int32, Int64, ranges
from recsys.folding.transformer import EPSILON, Transformer, TransformerRule
from training.sequences import spans

WHOLE = frozenset({"item", "position", "norm_last_scale", "norm_last_shift"})
"""Parameters that are there once; of the others each block has its own."""
SPREAD = 0.02
"""Standard deviation of the first item and position vectors."""


def initial(items: int, factors: int, window: int, blocks: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Random parameters by name: those of the fold, and "item", (items, factors)."""
    d = factors

    def normal(*shape: int, deviation: float) -> Tensor:
        return torch.randn(*shape, generator=generator) * deviation

    parameters = {
        "item": normal(items, d, deviation=SPREAD),
        "position": normal(window, d, deviation=SPREAD),
        "norm_attention_scale": torch.ones(blocks, d),
        "norm_attention_shift": torch.zeros(blocks, d),
        "attention_in": normal(blocks, d, 3 * d, deviation=(2 * d) ** -0.5),
        "attention_in_shift": torch.zeros(blocks, 3 * d),
        "attention_out": normal(blocks, d, d, deviation=d**-0.5),
        "attention_out_shift": torch.zeros(blocks, d),
        "norm_forward_scale": torch.ones(blocks, d),
        "norm_forward_shift": torch.zeros(blocks, d),
        "forward_in": normal(blocks, d, d, deviation=d**-0.5),
        "forward_in_shift": torch.zeros(blocks, d),
        "forward_out": normal(blocks, d, d, deviation=d**-0.5),
        "forward_out_shift": torch.zeros(blocks, d),
        "norm_last_scale": torch.ones(d),
        "norm_last_shift": torch.zeros(d),
    }
    return {name: value.requires_grad_() for name, value in parameters.items()}


def fold_of(parameters: Mapping[str, Tensor], heads: int) -> Transformer:
    """What serves these parameters."""
    arrays = {name: value.detach().cpu().numpy() for name, value in parameters.items()}
    return Transformer.of(arrays.pop("item"), TransformerRule(heads=heads), arrays)


class Dropout:
    """Zeros in a share of places, the rest scaled up to the same mean; torch's own takes no generator."""

    def __init__(self, share: float, generator: torch.Generator) -> None:
        self._keep = 1 - share
        self._generator = generator

    def __call__(self, x: Tensor) -> Tensor:
        """``x`` with other zeros each time."""
        if self._keep == 1:
            return x
        kept = torch.rand(x.shape, generator=self._generator) < self._keep
        return x * (kept.to(x) / self._keep)


@dataclass(frozen=True, slots=True, eq=False)
class Packed:
    """Sequences end to end, without padding.

    Only attention needs rectangles: for it the sequences are grouped by length, a group's longest at most twice as
    long as its shortest, or 4. ``items``, ``places``: int64 (t,), item rows and positions in the sequence.
    """

    items: Tensor
    places: Tensor
    groups: Sequence[Group]

    @classmethod
    def of(cls, rows: Int32, lengths: Int64, device: torch.device | str = "cpu") -> Packed:
        """``rows``: the sequences end to end; ``lengths`` ascend, and none is 0."""
        groups = []
        ends = np.cumsum(lengths)
        low = 0
        while low < len(lengths):
            high = int(np.searchsorted(lengths, max(4, 2 * lengths[low] - 1), side="right"))
            part, first = lengths[low:high], int(ends[low] - lengths[low])
            width = int(part[-1])
            # Padding repeats the last item. It comes last, where nothing attends to it.
            columns = np.minimum(np.arange(width), part[:, None] - 1)
            rectangle = (ends[low:high] - part - first)[:, None] + columns
            back = spans(np.arange(len(part)) * width, part)
            part_of_all = slice(first, int(ends[high - 1]))
            groups.append(Group(part_of_all, *(torch.from_numpy(each).to(device) for each in (rectangle, back))))
            low = high
        items, places = (torch.from_numpy(each).to(device) for each in (rows.astype(np.int64), ranges(lengths)))
        return cls(items, places, groups)


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """g sequences of alike length among t items.

    ``part``: where they stand. ``rectangle``: int64 (g, length), places in that part. ``back``: int64, places of the
    part's items in the rectangle, laid out.
    """

    part: slice
    rectangle: Tensor
    back: Tensor


def states(parameters: Mapping[str, Tensor], packed: Packed, heads: int, drop: Callable[[Tensor], Tensor]) -> Tensor:
    """The state at each item, (t, d), which attends to that item and those before it."""
    d = parameters["item"].shape[1]
    p = {name: value.unbind(0) for name, value in parameters.items() if name not in WHOLE}
    x = drop(parameters["item"][packed.items] * d**0.5 + parameters["position"][packed.places])
    for b in range(len(p["attention_in"])):
        y = torch.layer_norm(x, (d,), p["norm_attention_scale"][b], p["norm_attention_shift"][b], EPSILON)
        y = torch.addmm(p["attention_in_shift"][b], y, p["attention_in"][b])
        y = torch.cat([_attended(y[group.part], group, heads, drop) for group in packed.groups])
        x = x + drop(torch.addmm(p["attention_out_shift"][b], y, p["attention_out"][b]))
        y = torch.layer_norm(x, (d,), p["norm_forward_scale"][b], p["norm_forward_shift"][b], EPSILON)
        y = drop(torch.addmm(p["forward_in_shift"][b], y, p["forward_in"][b]).relu())
        x = x + drop(torch.addmm(p["forward_out_shift"][b], y, p["forward_out"][b]))
    return torch.layer_norm(x, (d,), parameters["norm_last_scale"], parameters["norm_last_shift"], EPSILON)


def _attended(y: Tensor, group: Group, heads: int, drop: Callable[[Tensor], Tensor]) -> Tensor:
    """What each item of a group takes from itself and those before it; ``y``: queries, keys and values, (t, 3 d)."""
    count, length = group.rectangle.shape
    width = y.shape[1] // (3 * heads)
    q, k, v = y[group.rectangle.reshape(-1)].view(count, length, 3, heads, width).permute(2, 0, 3, 1, 4)
    scores = (q * width**-0.5) @ k.transpose(-1, -2)
    later = torch.ones(length, length, dtype=torch.bool, device=y.device).triu(1)
    weights = drop(scores.masked_fill(later, -torch.inf).softmax(-1))
    mixed: Tensor = (weights @ v).transpose(1, 2).reshape(-1, heads * width)
    return mixed[group.back]

"""Cross-entropy over many items, all of them or a sample, without keeping the scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from recsys.arrays import Float64

ROWS = 256
"""Users whose scores are held at once."""


class Negatives:
    """Draws items, a share of them by popularity and the rest alike, and knows how often each is to be expected.

    ``counts``: (items,), how often each was taken. ``size``: how many are drawn at once. ``popular``: the share.
    """

    def __init__(self, counts: np.ndarray, size: int, popular: float, rng: np.random.Generator) -> None:
        chances: Float64 = (1 - popular) / len(counts) + popular * counts / counts.sum()
        self._cumulative = np.cumsum(chances)
        self._expected = chances * size
        self._size = size
        self._rng = rng

    def draw(self) -> tuple[Tensor, Tensor]:
        """The items drawn, each once, int64 (m,), and ln(times drawn / times expected), float32 (m,).

        With that added to its score an item stands for those that were not drawn: Σ exp(score) over the sample
        estimates Σ exp(score) over all items without bias, Bengio & Senécal (2008).
        """
        places = self._rng.random(self._size) * self._cumulative[-1]
        found = np.minimum(np.searchsorted(self._cumulative, places, side="right"), len(self._cumulative) - 1)
        drawn, times = np.unique(found, return_counts=True)
        correction = np.log(times / self._expected[drawn]).astype(np.float32)
        return torch.from_numpy(drawn), torch.from_numpy(correction)


def cross_entropy(users: Tensor, items: Tensor, targets: Tensor, negatives: Negatives | None) -> Tensor:
    """Mean of -ln of the chance of each target, (), with chances proportional to the exp of inner products.

    ``users``: (t, d). ``items``: (n, d). ``targets``: int64 (t,). ``negatives``: what stands for all items; None: all.
    """
    if negatives is None:
        return _streamed(users, items[targets], items, items.new_zeros(len(items)), targets)
    drawn, correction = (each.to(items.device) for each in negatives.draw())
    slot = torch.full((len(items),), -1, device=items.device)
    slot[drawn] = torch.arange(len(drawn), device=items.device)
    return _streamed(users, items[targets], items[drawn], correction, slot[targets])


def _streamed(users: Tensor, right: Tensor, others: Tensor, correction: Tensor, hit: Tensor) -> Tensor:
    loss: Tensor = _CrossEntropy.apply(users, right, others, correction, hit)  # type: ignore[no-untyped-call]
    return loss


class _CrossEntropy(torch.autograd.Function):
    """Of each user's ``right`` item, (t, d), against ``others``, (m, d), whose scores get a ``correction``, (m,).

    ``hit``: int64 (t,), where the right item stands among the others, which is then left out; -1 for nowhere.
    Scores are made, used and overwritten some rows at a time, with the gradients on the way: nothing of t × m numbers
    is kept.
    """

    @staticmethod
    def forward(ctx: Any, users: Tensor, right: Tensor, others: Tensor, correction: Tensor, hit: Tensor) -> Tensor:
        of_users, of_right, of_others = torch.empty_like(users), torch.empty_like(right), torch.zeros_like(others)
        total = 0.0
        for low in range(0, len(users), ROWS):
            part = slice(low, low + ROWS)
            some, own = users[part], (users[part] * right[part]).sum(1, keepdim=True)
            scores = torch.addmm(correction, some, others.T)
            row = torch.nonzero(hit[part] >= 0)[:, 0]
            scores[row, hit[part][row]] = -torch.inf
            top = torch.maximum(scores.amax(1, keepdim=True), own)
            scores.sub_(top).exp_()
            itself = (own - top).exp_()
            mass = scores.sum(1, keepdim=True).add_(itself)
            total += float((mass.log() + top - own).sum())
            scores.div_(mass)
            lacking = itself / mass - 1
            torch.addmm(lacking * right[part], scores, others, out=of_users[part])
            of_right[part] = lacking * some
            of_others.addmm_(scores.T, some)
        ctx.save_for_backward(of_users, of_right, of_others)
        ctx.scale = 1 / len(users)
        return users.new_tensor(total * ctx.scale)

    @staticmethod
    def backward(ctx: Any, *upstream: Any) -> Any:
        scale = upstream[0] * ctx.scale
        return *(gradient * scale for gradient in ctx.saved_tensors), None, None

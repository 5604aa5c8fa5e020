"""A net with hidden layers, by gradients."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from recsys.arrays import Float32
from recsys.content import ContentMap
from training.devices import fastest_device, torch_threads
from training.maps import Mapper, parted
from training.maps.dropout import Dropout
from training.models import Progress, silent

HELD_OUT = 0.1
"""The share of the items by which it is seen when to stop."""


class Mlp(Mapper):
    """Layers with max(0, ·) between them, after van den Oord, Dieleman & Schrauwen (2013), who predict ALS factors.

    AdamW, Loshchilov & Hutter (2019), on batches of items; what is kept is the net that was nearest to a tenth of the
    items, which it did not learn from, and it stops where that has not been for ``patience`` passes. On a GPU if there
    is one.
    """

    hidden: tuple[int, ...] = Field(default=(512,), min_length=1)
    """How many units each hidden layer has."""
    loss: Literal["cosine", "squared"] = "cosine"
    """What is made small: 1 - cosine with what was learned, or the squared distance to its direction."""
    dropout: float = Field(default=0.3, ge=0, lt=1)
    """The share of hidden units that each step leaves out."""
    input_dropout: float = Field(default=0.1, ge=0, lt=1)
    """The share of content numbers that each step leaves out."""
    mixup: float = Field(default=0.0, ge=0)
    """α of Zhang et al. (2018): items are learned from as mixtures of two; 0: as they are."""
    learning_rate: float = Field(default=0.001, gt=0)
    """Length of the first steps; it falls to nothing as half a cosine."""
    decay: float = Field(default=0.01, ge=0)
    """How much matrices shrink in each step, as a multiple of the rate."""
    batch: int = Field(default=256, ge=2)
    """Items in a step."""
    epochs: int = Field(default=60, ge=1)
    """Passes over the items at most."""
    patience: int = Field(default=8, ge=1)
    """Passes without a better net after which it stops."""

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
        """Descend."""
        spaces = {name: array.shape[1] for name, array in directions.items()}
        rows, held = parted(len(content), HELD_OUT, rng)
        device = fastest_device()
        wanted = torch.from_numpy(np.hstack(list(directions.values())).astype(np.float32)).to(device)
        # Numbers of variance one are what initial weights and rates are made for.
        scale = np.float32(1 / max(float(content.std()), 1e-12))
        told = torch.from_numpy(content * scale).to(device)
        sure = torch.from_numpy((weights / weights.mean()).astype(np.float32)).to(device)
        seed = int(rng.integers(2**62))
        with torch_threads(threads), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            net = self.net(content.shape[1], wanted.shape[1]).to(device)
            optimizer = torch.optim.AdamW(net.parameters(), lr=self.learning_rate, weight_decay=self.decay)
            best, kept, since = np.inf, net.state_dict(), 0
            for epoch in range(self.epochs):
                for group in optimizer.param_groups:
                    group["lr"] = self.learning_rate * 0.5 * (1 + np.cos(np.pi * epoch / self.epochs))
                net.train()
                for some in _batches(rng.permutation(rows), self.batch):
                    x, y = self._mixed(told[some], wanted[some], rng)
                    optimizer.zero_grad()
                    self._loss(net(x), y, sure[some], spaces).backward()  # type: ignore[no-untyped-call]
                    optimizer.step()
                net.eval()
                with torch.no_grad():
                    far = float(self._loss(net(told[held]), wanted[held], sure[held], spaces))
                since += 1
                if far < best:
                    best, since = far, 0
                    kept = {name: value.clone() for name, value in net.state_dict().items()}
                progress((epoch + 1) / self.epochs)
                if since >= self.patience:
                    break
            net.load_state_dict(kept)
        return exported(net, spaces, scale)

    def net(self, width: int, wanted: int) -> nn.Sequential:
        """The net before it has learned anything."""
        layers: list[nn.Module] = [Dropout(self.input_dropout)]
        for wide, (inner, outer) in enumerate(pairwise((width, *self.hidden, wanted))):
            layers += [nn.ReLU(), Dropout(self.dropout)] if wide else []
            layers.append(nn.Linear(inner, outer))
        return nn.Sequential(*layers)

    def _mixed(self, x: Tensor, y: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        if not self.mixup:
            return x, y
        share = float(rng.beta(self.mixup, self.mixup))
        other = torch.from_numpy(rng.permutation(len(x)))
        return share * x + (1 - share) * x[other], share * y + (1 - share) * y[other]

    def _loss(self, found: Tensor, wanted: Tensor, sure: Tensor, spaces: Mapping[str, int]) -> Tensor:
        far = torch.zeros_like(sure)
        for one, other in zip(*(torch.split(each, [*spaces.values()], 1) for each in (found, wanted)), strict=True):
            if self.loss == "cosine":
                far = far + 1 - nn.functional.cosine_similarity(one, other, dim=1)
            else:
                far = far + ((one - other) ** 2).sum(1)
        return (sure * far).sum() / sure.sum()


def exported(net: nn.Sequential, spaces: Mapping[str, int], scale: np.float32) -> ContentMap:
    """What a net does to content vectors times ``scale``, as arrays."""
    layers = [
        (np.ascontiguousarray(layer.weight.detach().cpu().numpy().T), layer.bias.detach().cpu().numpy().copy())
        for layer in net
        if isinstance(layer, nn.Linear)
    ]
    (matrix, shift), *rest = layers
    return ContentMap(((matrix * scale, shift), *rest), spaces)


def _batches(rows: np.ndarray, size: int) -> Iterator[Tensor]:
    for start in range(0, len(rows), size):
        yield torch.from_numpy(rows[start : start + size])

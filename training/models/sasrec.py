"""Self-attentive sequential recommendation, Kang & McAuley (2018), trained by sampled cross-entropy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from recsys.interactions import Interactions
from training.devices import fastest_device, torch_threads
from training.losses import Negatives, cross_entropy
from training.models import VECTORS, Choice, Family, Learned, Model, Progress, Range, Served, matrix_to_learn, silent
from training.sequences import Sequences
from training.transformer import Dropout, Packed, fold_of, initial, states

LEAST_STEPS = 16
"""Steps in an epoch: small data get small batches."""
WARMUP = 0.05
"""The share of all steps in which the rate rises; then it falls along a cosine."""
MOMENTA = (0.9, 0.98)
"""Of AdamW."""


class Sasrec(Model):
    """A causal transformer over a user's items, oldest first, whose state at the newest is the user's vector.

    Minimises -ln exp(xᵀyⱼ) / Σₙ exp(xᵀyₙ) over the items j that follow the histories of state x. The items' vectors y
    are also what goes into the network. The sum is estimated from drawn items, each corrected for how often it is
    drawn: -ln of that, not the gBCE of Petrov & Macdonald (2023), see docs/decisions/0013-sasrec.md.

    An event's weight counts for nothing but being above 0; an item that was taken again stands where it was last.
    Layers are normalised ahead, not behind. Fitted on a GPU if there is one.
    """

    family: ClassVar[Family] = "sequence"
    serves: ClassVar[frozenset[Served]] = VECTORS
    space: ClassVar[Mapping[str, Range | Choice]] = {
        "factors": Choice((32, 64, 128)),
        "dropout": Range(0.1, 0.6),
        "popular": Range(0.0, 0.9),
        "learning_rate": Range(0.0005, 0.01, log=True),
        "decay": Range(0.001, 0.3, log=True),
        "epochs": Range(5, 40),
    }

    factors: int = Field(default=64, ge=1, le=2048)
    """d, the width of a vector; a multiple of ``heads``."""
    blocks: int = Field(default=2, ge=1)
    """Layers of attention, each with a feed-forward layer behind."""
    heads: int = Field(default=2, ge=1)
    """Into how many parts attention divides a vector."""
    window: int = Field(default=50, ge=1)
    """How many of the newest items count."""
    dropout: float = Field(default=0.5, ge=0, lt=1)
    """The share of numbers that each step of training leaves out."""
    negatives: int = Field(default=1000, ge=0)
    """How many items are drawn in each step to stand for all; 0: none, the sum is over all, as with fewer items."""
    popular: float = Field(default=0.5, ge=0, le=1)
    """The share of them that is drawn by popularity, the rest is drawn alike."""
    batch: int = Field(default=800, ge=1)
    """Targets in a step, about; fewer in small data."""
    learning_rate: float = Field(default=0.003, gt=0)
    """Length of the longest steps."""
    decay: float = Field(default=0.05, ge=0)
    """How much matrices and vectors shrink in each step, as a multiple of the rate."""
    epochs: int = Field(default=20, ge=1)
    """Passes over the data."""

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        if self.factors % self.heads:
            raise ValueError(f"`factors` must be a multiple of `heads`, but {self.factors} is none of {self.heads}")
        return self

    def fit(
        self, data: Interactions, rng: np.random.Generator, *, threads: int, progress: Progress = silent
    ) -> Learned:
        """Descend. TrainingError for data without a positive event, or where no user has two items."""
        matrix_to_learn(data)
        sequences = Sequences.of(data)
        counts = np.bincount(sequences.rows, minlength=len(data.items))
        negatives = None
        if 0 < self.negatives < len(counts):
            negatives = Negatives(counts, self.negatives, self.popular, rng)
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        drawn = initial(len(counts), self.factors, self.window, self.blocks, generator)
        parameters = {name: value.detach().to(fastest_device()).requires_grad_() for name, value in drawn.items()}
        with torch_threads(threads):
            self._descend(parameters, sequences, negatives, Dropout(self.dropout, generator), rng, progress)
        return Learned.of_fold(fold_of(parameters, self.heads))

    def _descend(
        self,
        parameters: Mapping[str, Tensor],
        sequences: Sequences,
        negatives: Negatives | None,
        drop: Dropout,
        rng: np.random.Generator,
        progress: Progress,
    ) -> None:
        optimizer = self._optimizer(parameters)
        windows = sequences.windows(self.window)
        size = max(1, min(self.batch, windows.targets // LEAST_STEPS))
        for epoch in range(self.epochs):
            done = 0
            for batch in windows.batches(size, rng):
                done += len(batch.targets)
                share = (epoch + done / windows.targets) / self.epochs
                for group in optimizer.param_groups:
                    group["lr"] = self.learning_rate * _pace(share)
                optimizer.zero_grad()
                items = parameters["item"]
                packed = Packed.of(batch.inputs, batch.lengths, items.device)
                users = states(parameters, packed, self.heads, drop)
                targets = torch.from_numpy(batch.targets.astype(np.int64)).to(items.device)
                cross_entropy(users, items, targets, negatives).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                progress(share)

    def _optimizer(self, parameters: Mapping[str, Tensor]) -> torch.optim.Optimizer:
        """AdamW, Loshchilov & Hutter (2019); norms and shifts do not shrink."""
        plain = {name for name in parameters if name.startswith("norm") or name.endswith("shift")}
        return torch.optim.AdamW(
            [
                {"params": [p for name, p in parameters.items() if name not in plain], "weight_decay": self.decay},
                {"params": [parameters[name] for name in sorted(plain)], "weight_decay": 0.0},
            ],
            lr=self.learning_rate,
            betas=MOMENTA,
            fused=True,
        )


def _pace(done: float) -> float:
    """The rate's share of its highest after the share ``done`` of all steps."""
    return min(1.0, done / WARMUP) * (0.5 + 0.5 * math.cos(math.pi * done))

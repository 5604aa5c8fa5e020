"""A line with a net beside it, taught by lists: what a user takes should stand above what others take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from recsys.arrays import Float32, Int64
from recsys.content import ITEMS, ContentMap
from training.devices import fastest_device, torch_threads
from training.maps import Mapper, parted
from training.maps.dropout import Dropout
from training.maps.ridge import Ridge
from training.maps.taste import Halves, Taste
from training.models import Progress, silent

HELD_OUT = 0.1
"""The share of the items by which it is seen when to stop."""
MARGIN = 0.01
"""How much better than the line, as a share of its loss, the net must be to be taken."""
JUDGED = 4096
"""Items that compete where that is seen, at most."""
USERS = 20_000
"""Users in a pass, at most."""
WARM_UP = 0.1
"""The share of the steps in which the rate grows to what it is."""


class Contrastive(Mapper):
    """The line of ``ridge`` plus a net of one hidden layer, after Wei et al. (2021), CLCRec, with users who stay.

    A random half of each history makes the user's vector, as serving makes it, and should put the items of the other
    half above items of others, by a softmax over cosines. Items that it did not learn from, a tenth, say after how many
    passes it is best, and whether it is better than the line alone; then it learns from all. On a GPU if there is one.
    """

    regularization: Annotated[float, Field(gt=0)] | Literal["auto"] = "auto"
    """λ of the line that it starts from, as in ``ridge``."""
    hidden: int = Field(default=512, ge=1)
    """Units of the hidden layer."""
    temperature: float = Field(default=0.1, gt=0)
    """τ, what cosines are divided by: the less, the more the likeliest negatives count."""
    negatives: int = Field(default=1024, ge=1)
    """Items drawn for each step, against which all of its users are taught."""
    wanted: int = Field(default=16, ge=1)
    """Items wanted of a user in a step, at most."""
    user_exponent: float = Field(default=0.5, ge=0, le=2)
    """How much less each item of a user with many counts."""
    dropout: float = Field(default=0.5, ge=0, lt=1)
    """The share of hidden units that each step leaves out."""
    input_dropout: float = Field(default=0.3, ge=0, lt=1)
    """The share of content numbers that each step leaves out before the hidden layer."""
    learning_rate: float = Field(default=0.001, gt=0)
    """Length of the steps, to which they grow and from which they fall to nothing as half a cosine."""
    decay: float = Field(default=0.0001, ge=0)
    """How much matrices shrink in each step, as a multiple of the rate."""
    batch: int = Field(default=64, ge=1)
    """Users in a step."""
    epochs: int = Field(default=4, ge=1)
    """Passes over the users at most."""

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
        """The line alone, from which :meth:`refined` starts."""
        line = Ridge(regularization=self.regularization)
        return line.fit(content, directions, weights, rng, threads=threads, progress=progress)

    def refined(
        self,
        net: ContentMap,
        content: Float32,
        directions: Mapping[str, Float32],
        weights: Float32,
        taste: Taste,
        rng: np.random.Generator,
        *,
        threads: int,
        progress: Progress = silent,
    ) -> ContentMap:
        """Climb from a line over nine tenths of the items to see how far, then from ``net`` over all."""
        rows, held = parted(len(content), HELD_OUT, rng)
        part = {name: array[rows] for name, array in directions.items()}
        start = self.fit(content[rows], part, weights[rows], rng, threads=threads)
        seed = int(rng.integers(2**62))
        with torch_threads(threads), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            trial = _Climb(self, start, content, taste, rows, rng)
            losses = [trial.loss(held[:JUDGED])]
            for epoch in range(self.epochs):
                trial.climb()
                losses.append(trial.loss(held[:JUDGED]))
                progress(0.5 * (epoch + 1) / self.epochs)
            passes = int(np.argmin(losses))
            if losses[passes] > (1 - MARGIN) * losses[0]:
                return net
            whole = _Climb(self, net, content, taste, np.arange(len(content)), rng)
            for epoch in range(passes):
                whole.climb()
                progress(0.5 + 0.5 * (epoch + 1) / passes)
        return whole.exported()


class _Bent(nn.Module):
    """x W + shift, and a net beside it that says nothing at first."""

    def __init__(self, how: Contrastive, matrix: Float32, shift: Float32, scale: float) -> None:
        super().__init__()
        width, wanted = matrix.shape
        self.line = nn.Linear(width, wanted)
        self.inner, self.outer = nn.Linear(width, how.hidden), nn.Linear(how.hidden, wanted)
        self.drop_input, self.drop = Dropout(how.input_dropout), Dropout(how.dropout)
        self.scale = scale
        with torch.no_grad():
            self.line.weight.copy_(torch.from_numpy(matrix.T.copy()))
            self.line.bias.copy_(torch.from_numpy(shift.copy()))
            self.outer.weight.zero_()
            self.outer.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.drop(nn.functional.relu(self.inner(self.drop_input(x * self.scale))))
        return nn.functional.normalize(self.line(x) + self.outer(hidden), dim=1)


class _Climb:
    """One net on its way: a pass is :meth:`climb`."""

    def __init__(
        self, how: Contrastive, start: ContentMap, content: Float32, taste: Taste, rows: Int64, rng: np.random.Generator
    ) -> None:
        self._how, self._start, self._taste, self._rng = how, start, taste, rng
        ((matrix, shift),) = start.layers
        places = np.cumsum([0, *start.spaces.values()])[list(start.spaces).index(ITEMS) :][:2]
        self._columns = slice(int(places[0]), int(places[1]))
        self._device = fastest_device()
        self._content = torch.from_numpy(np.ascontiguousarray(content)).to(self._device)
        # Numbers of variance one are what initial weights and rates are made for.
        scale = 1 / max(float(content.std()), 1e-12)
        self._net = _Bent(how, matrix[:, self._columns], shift[self._columns], scale).to(self._device)
        self._rows, self._learning = rows, np.zeros(len(content), bool)
        self._learning[rows] = True
        self._judging = taste.halves(rng)
        self._optimizer = torch.optim.AdamW(self._net.parameters(), lr=how.learning_rate, weight_decay=how.decay)
        self._step, self._steps = 0, how.epochs * max(1, -(-min(self._judging.users, USERS) // how.batch))

    def climb(self) -> None:
        """One pass: every user, USERS at most, with another half of the history."""
        how, halves = self._how, self._taste.halves(self._rng)
        self._net.train()
        everybody = self._rng.permutation(halves.users)[:USERS]
        for start in range(0, len(everybody), how.batch):
            users = everybody[start : start + how.batch]
            owner, wanted = halves.wanted(users, self._learning, how.wanted, self._rng)
            drawn = self._rng.choice(self._rows, min(how.negatives, len(self._rows)), replace=False)
            self._step += 1
            if not len(owner):
                continue
            for group in self._optimizer.param_groups:
                group["lr"] = how.learning_rate * self._rate()
            self._optimizer.zero_grad()
            self._loss(halves, users, owner, wanted, drawn).backward()  # type: ignore[no-untyped-call]
            self._optimizer.step()

    def loss(self, rows: Int64) -> float:
        """Of items that were not learned from, which compete with each other alone."""
        among = np.zeros_like(self._learning)
        among[rows] = True
        halves, total, count = self._judging, 0.0, 0
        self._net.eval()
        with torch.no_grad():
            for start in range(0, min(halves.users, USERS), self._how.batch):
                users = np.arange(start, min(start + self._how.batch, halves.users))
                owner, wanted = halves.wanted(users, among, len(rows), self._rng)
                if len(owner):
                    total += float(self._loss(halves, users, owner, wanted, rows)) * len(owner)
                    count += len(owner)
        return total / max(count, 1)

    def exported(self) -> ContentMap:
        """As layers: y = max(0, y) - max(0, -y) takes the line through the hidden one."""
        (matrix, shift), net = self._start.layers[0], self._net
        matrix, shift = matrix.copy(), shift.copy()
        numbers = {name: value.detach().cpu().numpy() for name, value in net.state_dict().items()}
        matrix[:, self._columns], shift[self._columns] = numbers["line.weight"].T, numbers["line.bias"]
        bent = np.zeros((self._how.hidden, matrix.shape[1]), np.float32)
        bent[:, self._columns] = numbers["outer.weight"].T
        last = np.zeros(matrix.shape[1], np.float32)
        last[self._columns] = numbers["outer.bias"]
        same = np.eye(matrix.shape[1], dtype=np.float32)
        first = np.hstack([numbers["inner.weight"].T * np.float32(net.scale), matrix, -matrix])
        shifts = np.concatenate([numbers["inner.bias"], shift, -shift])
        return ContentMap(((first, shifts), (np.vstack([bent, same, -same]), last)), self._start.spaces)

    def _rate(self) -> float:
        share = self._step / (self._steps + 1)
        return float(min(share / WARM_UP, 0.5 * (1 + np.cos(np.pi * max(0.0, share - WARM_UP) / (1 - WARM_UP)))))

    def _loss(self, halves: Halves, users: Int64, owner: Int64, wanted: Int64, drawn: Int64) -> Tensor:
        """Softmax of each wanted item against what is drawn or wanted by others; what its user took is no negative.

        ``owner``: int64 (p,), places in ``users``; ``wanted``: int64 (p,), rows of content.
        """
        among = np.unique(np.concatenate([wanted, drawn]))
        place = np.full(len(self._content), -1)
        place[among] = np.arange(len(among))
        taken = np.zeros((len(users), len(among)), bool)
        whose, what = halves.taken(users)
        there = place[what] >= 0
        taken[whose[there], place[what[there]]] = True
        found = self._net(self._content[self._there(among)])
        scores = self._there(halves.vectors[users]) @ found.T / self._how.temperature
        others = torch.logsumexp(scores.masked_fill(self._there(taken), -1e9), 1)
        own = self._there(owner)
        losses = nn.functional.softplus(others[own] - scores[own, self._there(place[wanted])])
        weights = np.bincount(owner, minlength=len(users))[owner] ** -self._how.user_exponent
        sure = self._there((weights / weights.sum()).astype(np.float32))
        return (sure * losses).sum()

    def _there(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(self._device)

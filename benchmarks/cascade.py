"""``recsys bench cascade``: what each stage of a configured pipeline adds, on public data sets."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.pipeline import PUBLISHED, checked, made, split_of
from recsys.assembly import HOME
from recsys.catalogue import Catalogue
from recsys.errors import SettingsError, unknown_choice
from recsys.settings import Settings, load_settings
from recsys.splits import Split, split_in_time, split_within_users
from training.data import read_log
from training.progress import Watcher

CONFIGS = Path(__file__).parent / "configs-cascade"


def measure(
    dataset: str, watcher: Watcher, *, environ: Mapping[str, str], validation: bool = False, folder: Path = CONFIGS
) -> dict[str, Any]:
    """The stages of the home surface, as :func:`recsys.cascade.judge_stages` has them, and what they were made of.

    By the published test where there is one, else as `recsys train` parts the log. ``validation``: by a part of the
    training part, which settings are chosen by. SettingsError for a data set without a configuration.
    """
    settings = config_of(dataset, folder)
    checked(settings)
    log = read_log(settings.data, now=datetime.now(UTC), environ=environ, watcher=watcher)
    rng = np.random.default_rng(settings.train.seed)
    split = split_of(log, None if log.test is None else PUBLISHED, settings.train.test_share, rng)
    if validation:
        split = _inside(split, settings, rng)
    watcher.note(f"{dataset}, {split.description}")
    catalogue = Catalogue.of(log.items, split.train.items)
    _, served = made(settings, split, catalogue, HOME, watcher)
    with watcher.stage("stages") as progress:
        stages = served.stages(split, catalogue, settings.train.seed, progress)
    return {
        "dataset": dataset,
        "split": split.description,
        "validation": validation,
        "users": stages.pop("users"),
        "items": len(split.train.items),
        "settings": settings.model_dump(mode="json", include={"model", "ranker", "surfaces", "train"}),
        **stages,
    }


def config_of(dataset: str, folder: Path = CONFIGS) -> Settings:
    """The configuration whose stages are measured on a data set. SettingsError where there is none."""
    known = sorted(file.stem for file in folder.glob("*.toml"))
    if dataset not in known:
        raise SettingsError(unknown_choice("data set with a cascade", dataset, known))
    return load_settings(folder / f"{dataset}.toml", {})


def _inside(split: Split, settings: Settings, rng: np.random.Generator) -> Split:
    """The training part, parted as the log was; without times a share of each user's items."""
    data, share = split.train, settings.train.test_share
    lean = 0.0 if settings.ranker is None else settings.ranker.lean
    return split_in_time(data, share) if data.timed else split_within_users(data, share, rng, lean=lean)

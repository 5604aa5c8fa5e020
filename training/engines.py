"""From interactions to something that answers: learning, content, indexes, surfaces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from index import report as indexes
from recsys.arrays import Float32, unit
from recsys.assembly import HOME, SIMILAR, Engine, card_of
from recsys.catalogue import Catalogue
from recsys.content import Content
from recsys.errors import TrainingError
from recsys.interactions import Interactions
from recsys.retrieval import CONTENT_INDEX, ITEMS_INDEX, SIMILAR_INDEX
from recsys.sections import Kind
from recsys.settings import Settings
from recsys.users import History, Users, fold_all
from training.content import Choice, Described, learn_content
from training.models import Learned, Model
from training.models.popular import popularity_of
from training.progress import Watcher
from training.strangers import rungs_of
from training.surfaces import home_surface, similar_surface, surfaces_of

ASK_FOR_CONTENT = frozenset({"content-nearest", "declared-interests", "content-outlier"})
"""Sources and steps that a release without content cannot have."""


def named(settings: Settings) -> dict[str, dict[str, Any]]:
    """The surfaces that the settings add to those that every release has."""
    return {name: said for name, said in settings.surfaces.items() if name not in {HOME, SIMILAR}}


def plain(settings: Settings) -> Settings:
    """The settings without surfaces: what a model is compared with answers as it is."""
    return settings.model_copy(update={"surfaces": {}})


def without_content(surfaces: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Surfaces of a release with content as they are where it is measured without: no line that asks for content."""

    def asks(line: Any) -> bool:
        said = line if isinstance(line, Mapping) else {"name": line}
        return said.get("name") in ASK_FOR_CONTENT or CONTENT_INDEX in (said.get("index"), said.get("vectors"))

    kept = {}
    for name, said in surfaces.items():
        left = {key: [one for one in value if not asks(one)] if isinstance(value, list | tuple) else value
                for key, value in said.items()}  # fmt: skip
        # Sources that were all of content's leave those that the release has anyway.
        kept[name] = {key: value for key, value in left.items() if key != "sources" or value or not said["sources"]}
    return kept


def content_rng(settings: Settings) -> np.random.Generator:
    """Chance of its own for content, so that all else comes out as it does without."""
    return np.random.default_rng([settings.train.seed, 1])


def learn(
    data: Interactions, model: Model, settings: Settings, rng: np.random.Generator, watcher: Watcher, label: str
) -> Learned:
    """Fit the model. TrainingError for what are no numbers."""
    with watcher.stage(f"fit{label}") as progress:
        learned = model.fit(data, rng, threads=settings.train.threads, progress=progress)
    check_finite(learned)
    return learned


def add_content(
    learned: Learned,
    data: Interactions,
    catalogue: Catalogue,
    settings: Settings,
    watcher: Watcher,
    label: str,
    *,
    items: Described,
    choice: Choice,
) -> tuple[Learned, Content]:
    """Learn the map and mix the vectors. TrainingError for what are no numbers."""
    assert settings.content is not None  # noqa: S101  items were described by it
    with watcher.stage(f"content{label}") as progress:
        learned, content = learn_content(
            learned,
            data,
            catalogue,
            settings.content,
            content_rng(settings),
            items=items,
            choice=choice,
            threads=settings.train.threads,
            progress=progress,
        )
    check_finite(learned)
    return learned, content


def engine_of(
    learned: Learned,
    data: Interactions,
    catalogue: Catalogue,
    settings: Settings,
    rng: np.random.Generator,
    release: str,
    *,
    kinds: Mapping[str, Kind],
    known: Interactions | None = None,
    content: Content | None = None,
    remembering: bool = False,
) -> tuple[Engine, dict[str, Any]]:
    """What a model learned as something that answers the users of ``data``, and what was measured of its indexes.

    ``known``: what is known of users when they ask, if that is more than what was learned from. ``content``: what is
    known of items by what is said of them, if ``learned`` has it in its vectors. ``remembering``: whether neighbours
    are found beforehand, if the settings ask for it: it takes longer than judging, and the lists are the same.
    """
    if content is None and settings.content is not None:
        settings = settings.model_copy(update={"surfaces": without_content(settings.surfaces)})
    history = History.of(data if known is None else known)
    fold, built, reports = learned.fold, {}, {}
    vectors = directions = None
    asked: dict[str, tuple[Float32, Float32]] = {}
    if fold is not None:
        vectors, directions = fold_all(history, fold), unit(fold.items)
        asked = {ITEMS_INDEX: (fold.items, vectors), SIMILAR_INDEX: (directions, directions)}
    if content is not None:
        asked[CONTENT_INDEX] = content.vectors, content.vectors
    for name, (over, queries) in asked.items():
        # Users alone ask where it is over scores; items ask where it is over directions.
        options = settings.index if remembering and over is queries else {**settings.index, "remembered": 0}
        built[name], report = indexes.build(over, queries, rng=rng, target=settings.gate.index_recall, **options)
        reports[name] = report.as_dict()
    recent = settings.train.recent_items
    strangers = rungs_of(data, catalogue, np.random.default_rng([settings.train.seed, 2]))
    made = {
        HOME: home_surface(learned.home, content, strangers),
        SIMILAR: similar_surface(fold, learned.lists, content),
    }
    made = surfaces_of(
        {name: said for name, said in settings.surfaces.items() if name in made}, made, made[HOME], ranks=False
    )
    engine = Engine.of(
        release,
        items=data.items,
        fold=fold,
        directions=directions,
        lists=learned.lists,
        catalogue=catalogue,
        popularity=popularity_of(data) if learned.scores is None else learned.scores,
        users=Users(data.users, vectors, history, data.items, recent),
        indexes=built,
        card=card_of(fold, learned.lists, recent, kinds),
        surfaces=surfaces_of(named(settings), made, made[HOME], ranks=False),
        content=content,
    )
    return engine, reports


def check_finite(learned: Learned) -> None:
    """TrainingError for vectors or weights that are not numbers."""
    numbers = {name: lists.weights for name, lists in learned.lists.items()}
    if learned.fold is not None:
        numbers |= {f"vectors of {name}": array for name, array in learned.fold.per_item().items()}
    wrong = [name for name, array in numbers.items() if not np.isfinite(array).all()]
    if wrong:
        raise TrainingError(
            f"the model learned {' and '.join(wrong)} that are not finite: lower alpha or the learning rate, or raise "
            "regularization, under [model]"
        )

"""Surfaces of a release: those that every one has, and ``[surfaces.NAME]`` of the settings, checked before that."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import ValidationError

from recsys.attributes import Attributes
from recsys.catalogue import Catalogue
from recsys.content import Content
from recsys.errors import SettingsError, unknown_choice
from recsys.folding import Fold
from recsys.fusions import FUSIONS
from recsys.item_lists import ItemLists
from recsys.rankers import RANKERS
from recsys.recency import Recency
from recsys.retrieval import NO_ROWS, NO_TIMES, SIMILAR_INDEX, Parts
from recsys.settings import describe
from recsys.sources import SOURCES
from recsys.steps import STEPS
from recsys.surfaces import Line, Surface, unseen
from recsys.tables import Table

TABLES: Mapping[str, Table[Any]] = {
    "sources": SOURCES,
    "filters": STEPS,
    "fusion": FUSIONS,
    "ranker": RANKERS,
    "steps": STEPS,
    "ladder": SOURCES,
}
"""The keys of a surface that hold lines, and what those name."""
GIVEN = frozenset({"parts", "sources"})
"""What builders get from the pipeline and not from a line."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def home_surface(learned: Surface, content: Content | None, strangers: Sequence[Line] = ()) -> Surface:
    """What was learned to be served; where that says nothing, content does, then ``strangers``, then popularity.

    A model that has the same list for everybody is left as it is: that list is its ladder.
    """
    about = () if content is None else (Line(name="content-nearest"), Line(name="declared-interests"))
    return learned.model_copy(update={"ladder": (*about, *(strangers if learned.sources else ()), *learned.ladder)})


def similar_surface(fold: Fold | None, lists: Mapping[str, ItemLists], content: Content | None = None) -> Surface:
    """Items like one item: by the angle between vectors, else by the first item lists, else what is popular.

    With content, neighbours by content too, which count the more the fewer took the items of a pair.
    """
    learned: tuple[Line, ...] = ()
    if fold is not None:
        learned = (Line(name="nearest", index=SIMILAR_INDEX),)
    elif lists:
        learned = (Line(name="item-item", lists=next(iter(lists))),)
    if content is None:
        return unseen(*learned)
    return unseen(*learned, Line(name="content-nearest"), fusion=Line(name="by-takers", kappa=content.kappa))


def surface_of(name: str, given: Mapping[str, Any], base: Surface) -> Surface:
    """What is given of a surface, and the rest as on ``base``. SettingsError for a key or value that cannot be.

    The ranker was learned for the candidates of its own surface, so other sources or another fusion go without it
    unless they name one.
    """
    kept = base.model_dump(exclude_none=True)
    if {"sources", "fusion"} & given.keys():
        kept.pop("ranker", None)
    try:
        return Surface.model_validate({**kept, **given})
    except ValidationError as error:
        raise SettingsError(f"[surfaces.{name}]: {describe(error)}") from error


def surfaces_of(
    given: Mapping[str, Mapping[str, Any]], made: Mapping[str, Surface], base: Surface, *, ranks: bool
) -> dict[str, Surface]:
    """The surfaces that the release would have had, as the settings change them, and those that they add over ``base``.

    ``ranks``: whether the release has a ranker; without one, lists stay as the fusion puts them.
    """
    named = {name: surface_of(name, said, made.get(name, base)) for name, said in given.items()}
    return {
        name: surface if ranks else surface.model_copy(update={"ranker": None})
        for name, surface in {**made, **named}.items()
    }


def check_surfaces(given: Mapping[str, Mapping[str, Any]], *, ranks: bool) -> None:
    """SettingsError for a name, key, source, step or option that cannot be, before anything is read.

    ``ranks``: whether a ranker is asked for.
    """
    for name, said in given.items():
        if not NAME.fullmatch(name):
            raise SettingsError(f"[surfaces.{name}]: a name has 1 to 64 letters, digits, - and _")
        surface = surface_of(name, said, Surface(sources=()))
        for key, line in _lines(surface):
            _check_line(f"[surfaces.{name}] {key}", line, TABLES[key])
        if surface.ranker is not None and not ranks:
            raise SettingsError(f"[surfaces.{name}] ranker: none is learned without [ranker], add that section")


def check_columns(given: Mapping[str, Mapping[str, Any]], catalogue: Catalogue, vectors: Iterable[str]) -> None:
    """SettingsError for steps that cannot be built over this catalogue, before anything is fitted.

    ``vectors``: the names of those that the release will have.
    """
    flat = np.zeros((len(catalogue), 1), np.float32)
    parts = Parts(
        len(catalogue),
        {},
        flat[:, 0],
        dict.fromkeys(vectors, flat),
        catalogue=catalogue,
        attributes=Attributes(catalogue),
        recency=Recency(len(catalogue), NO_ROWS, NO_TIMES),
    )
    for name, said in given.items():
        for key, line in _lines(surface_of(name, said, Surface(sources=()))):
            builder = TABLES[key][line.name]
            # Other sources need what is learned; those that go by columns need the catalogue, at most.
            if TABLES[key] is STEPS or {"column", "columns"} & inspect.signature(builder).parameters.keys():
                try:
                    builder(parts, **(line.model_extra or {}))
                except (ValueError, TypeError) as error:
                    raise SettingsError(f"[surfaces.{name}] {key}: {line.name}: {error}") from error


def _lines(surface: Surface) -> Iterator[tuple[str, Line]]:
    for key in TABLES:
        value = getattr(surface, key)
        lines = value if isinstance(value, tuple) else () if value is None else (value,)
        for line in lines:
            yield key, line


def _check_line(where: str, line: Line, table: Table[Callable[..., Any]]) -> None:
    if line.name not in table:
        raise SettingsError(f"{where}: {unknown_choice(table.kind, line.name, table)}")
    options = {
        name: parameter
        for name, parameter in inspect.signature(table[line.name]).parameters.items()
        if name not in GIVEN
    }
    said = line.model_extra or {}
    for option in said:
        if option not in options:
            wanted = unknown_choice("option", option, options) if options else f"unknown option {option!r}, it has none"
            raise SettingsError(f"{where}: {line.name}: {wanted}")
    missing = [name for name, option in options.items() if option.default is option.empty and name not in said]
    if missing:
        raise SettingsError(f"{where}: {line.name}: {', '.join(missing)} must be given")

"""The pipeline that makes playlists, where ``[surfaces.playlist]`` of recsys.toml does not describe one."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from recsys.assembly import HOME, Engine
from recsys.retrieval import SIMILAR_INDEX
from recsys.surfaces import Line, Surface

PLAYLIST = "playlist"
CAPS: Mapping[tuple[str, ...], int] = MappingProxyType(
    {("artist", "artists", "author", "authors", "brand"): 2, ("album", "albums"): 2}
)
"""Columns of a catalogue by the names that they usually have, the first that there is, and items of each value."""
POOL = 200


def playlist_surface(engine: Engine, length: int) -> Surface:
    """The surface of that name, as it was described; else home's with the steps of a playlist.

    Home's sources propose, and steps that look at vectors are left out where the release learned none.
    """
    if PLAYLIST in engine.surfaces:
        return engine.surfaces[PLAYLIST]
    home = engine.surfaces[HOME]
    found = {next((name for name in names if _groups(engine, name)), ""): most for names, most in CAPS.items()}
    columns = [(name, most) for name, most in found.items() if name]
    caps = [Line(name="capped", column=column, at_most=most) for column, most in columns]
    steps = [*caps, Line(name="dithered")]
    if SIMILAR_INDEX in engine.parts.vectors:
        familiar = {"column": columns[0][0]} if columns else {}
        steps = [
            Line(name="unrepeated"),
            *steps,
            Line(name="diverse", length=length, depth=max(100, length)),
            Line(name="portioned", length=length),
            Line(name="flow", length=length, **familiar),
        ]
    filters = home.filters if any(line.name == "seen" for line in home.filters) else (Line(name="seen"), *home.filters)
    fusion = home.fusion
    if fusion.name == "reciprocal-rank" and "pool" not in (fusion.model_extra or {}):
        fusion = Line(name="reciprocal-rank", pool=POOL)
    return home.model_copy(update={"filters": filters, "fusion": fusion, "steps": tuple(steps), "budget_ms": None})


def caps_of(surface: Surface) -> dict[str, int]:
    """Column → how many items of each of its values a list may hold, as the surface says."""
    lines = [line.model_extra or {} for line in (*surface.filters, *surface.steps) if line.name == "capped"]
    return {str(line["column"]): int(line.get("at_most", 2)) for line in lines}


def _groups(engine: Engine, column: str) -> bool:
    """Whether items can be grouped by that column."""
    try:
        return bool(len(engine.catalogue.memberships(column)[1]))
    except ValueError:
        return False

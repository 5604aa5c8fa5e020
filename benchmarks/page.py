"""What the HTML reports have in common: one file that needs nothing else, from a template beside this module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from recsys import __version__
from recsys.errors import RecsysError

FOLDER = Path(__file__).parent


def page(template: str, sections: Sequence[Mapping[str, Any]]) -> str:
    """The page of a template, a section for each data set."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["number"] = number
    return environment.get_template(template).render(sections=sections, version=__version__)


def write_page(text: str, path: Path) -> None:
    """Write the page; RecsysError if the file cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    except OSError as error:
        raise RecsysError(
            f"the report cannot be written to {path}: {error.strerror}; choose another --report"
        ) from error


def number(value: float | None, places: int = 4) -> str:
    """A figure as people read it; a dash for none.

    >>> number(0.12345), number(1234.5, 0), number(None)
    ('0.1235', '1,234', '–')
    """
    return "–" if value is None else f"{value:,.{places}f}"

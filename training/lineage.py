"""Where a release came from: its data, configuration, seed, code and libraries."""

from __future__ import annotations

import hashlib
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import recsys
from recsys.datasets import Log
from recsys.interactions import Interactions
from recsys.settings import Settings
from training.content import Described
from training.encoders import encoder_of
from training.maps import mapper_of
from training.models import Model

LIBRARIES = ("faiss-cpu", "implicit", "lightgbm", "numpy", "pandas", "scipy")


def lineage_of(
    log: Log, data: Interactions, settings: Settings, model: Model, items: Described | None
) -> dict[str, Any]:
    """The lineage of a manifest; ``items``: as the encoder of ``[content]`` saw them, if there is that section."""
    digest = hashlib.sha256()
    for vocabulary in (data.users, data.items):
        digest.update(vocabulary.row_keys.tobytes())
    for column in (data.user, data.item, data.weight, data.kind, data.time):
        digest.update(column.tobytes())

    def day(time: int) -> str:
        return datetime.fromtimestamp(time, UTC).isoformat()

    return {
        "data": {
            "name": log.name,
            "window": [day(int(data.time[0])), day(int(data.time[-1]))] if data.timed else None,
            "sha256": digest.hexdigest(),
        },
        "config": {
            **settings.model_dump(
                mode="json", exclude={"serve", "state", "releases", *({"content"} if items is None else ())}
            ),
            "model": {"name": settings.model.get("name", "als"), **model.model_dump(mode="json")},
            **_content_lineage(settings, items),
        },
        "seed": settings.train.seed,
        "code": {"version": recsys.__version__, "commit": _commit()},
        "libraries": {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}},
    }


def _content_lineage(settings: Settings, items: Described | None) -> dict[str, Any]:
    """``[content]`` with the encoder and the map as they were, their defaults among them."""
    if settings.content is None or items is None:
        return {}
    encoder = {"name": items.options.get("name", "tfidf-svd"), **encoder_of(items.options).model_dump(mode="json")}
    net = {"name": settings.content.map.get("name", "ridge"), **mapper_of(settings.content.map).model_dump(mode="json")}
    return {"content": {**settings.content.model_dump(mode="json"), "encoder": encoder, "map": net}}


def _commit() -> str | None:
    """The commit this program was checked out at; None for an installed package."""
    root = Path(recsys.__file__).parent.parent
    if not (root / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"],  # noqa: S607  the operator's own git
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
            timeout=5,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()

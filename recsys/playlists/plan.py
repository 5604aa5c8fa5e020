"""What a night's run was told and what it found when it began: all that its lists depend on beside the two inputs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from recsys.sections import PlaylistGate, Section
from recsys.surfaces import Surface

CHUNK = 1024
"""Users that are answered at once: as many as a matrix product likes."""
PART = 8 * CHUNK
"""Users of a file, which is what a killed run loses at most from each process."""
PLAN, DRAFT, EDITION = "plan.json", "draft.json", "edition"
"""What a run calls its files: the plan, the plan before states were read, and the folder that becomes the edition."""
SHOWN_USERS = 5
"""Users that a finding names."""

Arrow = Any
"""The published stubs know too little of Arrow."""


def arrow(values: np.ndarray) -> Arrow:
    """An array of numbers as Arrow's."""
    return pa.array(values)


def _schema(fields: Sequence[tuple[str, Arrow]]) -> pa.Schema:
    return pa.schema([pa.field(name, kind) for name, kind in fields])


ROWS = _schema(
    [
        ("user", pa.string()),
        ("position", pa.int16()),
        ("item", pa.string()),
        ("score", pa.float32()),
        ("source", pa.string()),
        ("reason", pa.string()),
        ("level", pa.string()),
        ("available_from", pa.int64()),
        ("release", pa.string()),
    ]
)
"""A row of an edition. ``reason``: the item of the user's own history that it is nearest to, null where its source says
it all. ``level``: what the whole list is called. ``available_from``: unix seconds."""

STATES = _schema(
    [
        ("user", pa.string()),
        ("level", pa.string()),
        ("available_from", pa.int64()),
        ("vector", pa.list_(pa.float32())),
        ("recent", pa.list_(pa.int32())),
        ("weights", pa.list_(pa.float32())),
        ("times", pa.list_(pa.int64())),
        ("seen", pa.list_(pa.int32())),
        ("interests", pa.list_(pa.string())),
        ("shown", pa.list_(pa.int32())),
        ("shown_times", pa.list_(pa.int64())),
        ("earlier", pa.list_(pa.int32())),
        ("last", pa.list_(pa.int32())),
    ]
)
"""A user at the cut-off, as the query that the pipeline is asked; items by their rows in the plan's release.
``earlier``: the items of their lists of the weeks before, ``last``: of last week's alone."""


class Request(Section):
    """What was asked for: a run goes on only where the same was asked for."""

    week: str
    length: int
    apart: int
    seed: int
    users: str = "everybody"
    """Who: everybody, or a sentence that says which ones and, for a file, its checksum."""
    trial: bool = False
    """Whether only some are asked for, which nobody should be served."""


class Plan(Section):
    """A run as it began. ``inputs``: sha256 of all that its lists depend on; equal inputs, equal bytes."""

    edition: str
    request: Request
    release: str
    cut_off: datetime
    surface: Surface
    gate: PlaylistGate
    canaries: tuple[str, ...]
    users: int
    refused: tuple[str, ...]
    """What was wrong with the users that were asked for, in sentences."""
    earlier: tuple[str, ...]
    """The editions of the weeks before that nothing is repeated of, the newest first."""
    last: str | None
    """Last week's edition."""
    changes: dict[str, dict[str, Any] | None]
    """Items that were described or deleted since the release was made."""
    inputs: str = ""
    part: int = PART
    """Users of a file."""

    @property
    def parts(self) -> int:
        """Files."""
        return -(-self.users // self.part)

    @classmethod
    def load(cls, path: Path) -> Plan:
        """Read it."""
        return cls.model_validate_json(path.read_bytes())


def digest(*parts: object) -> str:
    """sha256 of values that JSON has, in their order."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def part_name(part: int) -> str:
    """The file of a part."""
    return f"part-{part:05}.parquet"


def states_name(part: int) -> str:
    """The file of the states of a part's users."""
    return f"states-{part:05}.parquet"


def found_name(part: int) -> str:
    """The file of what was found in a part."""
    return f"part-{part:05}.json"

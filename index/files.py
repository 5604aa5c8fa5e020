"""An index's files and the record beside them: what is damaged or foreign is refused before a library reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import xxhash

from recsys.errors import ReleaseDamaged
from recsys.mapping import mapped

RECORD = "index.json"


def write_record(folder: Path, backend: str, shape: tuple[int, int], **parameters: Any) -> None:
    """Say what lies in ``folder``: whose it is, over how many vectors, and each file's size and checksum."""
    files = {
        file.name: {"bytes": file.stat().st_size, "xxh3": _checksum(file)}
        for file in sorted(folder.iterdir())
        if file.is_file() and file.name not in {RECORD, "backend.json"}
    }
    record = {"backend": backend, "items": shape[0], "dimensions": shape[1], "parameters": parameters, "files": files}
    (folder / RECORD).write_text(json.dumps(record, indent=2) + "\n")


def read_record(folder: Path, backend: str, shape: tuple[int, ...]) -> Mapping[str, Any]:
    """The parameters, once every file is what was written; ReleaseDamaged says which is not, with both numbers.

    ``shape``: of the vectors that the index should be over. Reading all of a file brings its pages into memory too.
    """
    try:
        record = json.loads((folder / RECORD).read_bytes())
        stated = (record["items"], record["dimensions"])
        owner, files, parameters = record["backend"], dict(record["files"]), dict(record["parameters"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ReleaseDamaged(f"{folder / RECORD} is no record of an index: {error}; build the index anew") from error
    if owner != backend:
        raise ReleaseDamaged(f"{folder} holds an index of {owner!r}, {backend!r} was asked to load it")
    if stated != shape:
        raise ReleaseDamaged(f"the index in {folder} is over {stated} but the vectors are {shape}: they must match")
    for name, wanted in files.items():
        path = folder / name
        size = path.stat().st_size if path.is_file() else None
        if size != wanted["bytes"]:
            raise ReleaseDamaged(f"{path} has {size} bytes, {wanted['bytes']} were written: fetch or build it anew")
        if _checksum(path) != wanted["xxh3"]:
            raise ReleaseDamaged(f"{path} is not the file that was written: its checksum differs, build it anew")
    return parameters


def _checksum(path: Path) -> str:
    return xxhash.xxh3_64_hexdigest(mapped(path))

"""Content vectors that were computed before: only items of which something else is said are encoded again.

A file a fitted encoding, ``KIND-FINGERPRINT.npz`` with ``keys`` and ``vectors``, its parts with checksums. A vector is
found by the hash of what the encoding reads of an item, and of the files that it reads for it, so it does not matter
which item that was, or what else is said of it. Files of encodings that are no longer used can be deleted at any time.
"""

from __future__ import annotations

import json
import logging
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from recsys.arrays import Float32
from recsys.durable import whole
from recsys.encoding import Description, Encoding, describe_encoding
from recsys.encoding.reading import ReadsFiles
from training.encoders.on_device import encoded
from training.models import Progress, silent

log = logging.getLogger(__name__)

BATCH = 512
"""Items that are encoded between two reports of progress."""


def encode_cached(
    encoding: Encoding, items: Sequence[Description], folder: Path | None, progress: Progress = silent
) -> Float32:
    """Vectors of ``items``, float32 (m, w), from the cache in ``folder`` where it has them, else encoded and kept.

    None caches nothing. Whatever ends this, what was encoded until then is kept. A file that cannot be read is made
    anew, with a warning in the log; so is one that cannot be written, which costs time and nothing else.
    """
    keys = [content_key(encoding, item) for item in items]
    path = None if folder is None else folder / f"{encoding.kind}-{fingerprint(encoding)}.npz"
    kept = {} if path is None else _read(path, encoding.width)
    vectors = np.zeros((len(items), encoding.width), np.float32)
    fresh: dict[bytes, int] = {}
    for place, key in enumerate(keys):
        if key in kept:
            vectors[place] = kept[key]
        else:
            fresh.setdefault(key, place)
    places = list(fresh.values())
    done = 0
    try:
        for low in range(0, len(places), BATCH):
            progress(low / len(places))
            some = places[low : low + BATCH]
            vectors[some] = encoded(encoding, [items[place] for place in some])
            done = low + len(some)
    finally:
        if path is not None and done:
            _write(path, kept | {keys[place]: vectors[place] for place in places[:done]})
    for place, key in enumerate(keys):
        if key in fresh:
            vectors[place] = vectors[fresh[key]]
    progress(1.0)
    return vectors


def content_key(encoding: Encoding, item: Description) -> bytes:
    """The hash of what the encoding reads of an item, 16 bytes; what is None is not said."""
    read = {name: value for name in encoding.reads if (value := item.get(name)) is not None}
    digest = xxhash.xxh3_128(json.dumps(read, sort_keys=True, default=_written_out).encode())
    for file in encoding.files(item) if isinstance(encoding, ReadsFiles) else ():
        try:
            digest.update(file.read_bytes())
        except (OSError, ValueError):
            # that there is none, or that no file can have that name, is said by the description
            continue
    return digest.digest()


def fingerprint(encoding: Encoding) -> str:
    """The hash of all that an encoding is: kind, rule and arrays."""
    digest = xxhash.xxh3_128(json.dumps(describe_encoding(encoding), sort_keys=True).encode())
    for name, array in sorted(encoding.arrays().items()):
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _written_out(value: Any) -> Any:
    """Arrays and their numbers as JSON has them; anything else by what it says of itself."""
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else repr(value)


def _read(path: Path, width: int) -> dict[bytes, Float32]:
    """Key → vector, of width ``width``; nothing where there is no file, or none that can be read."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            keys, vectors = arrays["keys"], arrays["vectors"]
        if keys.dtype != np.uint8 or keys.shape != (len(vectors), 16) or vectors.shape != (len(vectors), width):
            raise ValueError(f"it holds keys {keys.shape} and vectors {vectors.shape}")  # noqa: TRY301  one answer
    except FileNotFoundError:
        return {}
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        log.warning("the cache of content vectors %s cannot be read and is made anew: %s", path, error)
        return {}
    return dict(zip(map(bytes, keys), vectors, strict=True))


def _write(path: Path, vectors: Mapping[bytes, Float32]) -> None:
    """Replace the file in one step; where that fails, say so and leave what there was."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole(path) as aside, aside.open("wb") as file:
            keys = np.frombuffer(b"".join(vectors), np.uint8).reshape(len(vectors), 16)
            np.savez(file, keys=keys, vectors=np.stack(list(vectors.values())))
    except OSError as error:
        log.warning("the cache of content vectors %s cannot be written: %s", path, error)

"""Loading indexes in a process of its own: a library that a damaged file brings down takes nobody with it.

Files with a record beside them (:mod:`index.files`) are known to be what was written before a library reads them. This
is for those without one, which releases of schema 1 hold, and for whoever doubts: ``recsys release verify``.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from index import BACKENDS, load
from recsys.assembly import assemble
from recsys.errors import MissingExtra, RecsysError, ReleaseDamaged
from recsys.releases import Release, ReleaseStore
from recsys.retrieval import SearchIndex

SECONDS = 120
"""A child that takes longer is taken to hang."""
QUERIES = 100
NOT_INSTALLED = 3
"""What a child ends with that lacks the library: that says nothing of the files."""


def survive(backend: str, folder: Path, shape: tuple[int, int]) -> None:
    """Load and search the index in a child; ReleaseDamaged says what became of it."""
    _child(f"the index in {folder}", "build it anew", "index", backend, str(folder), *map(str, shape))


def survive_release(release: Release) -> None:
    """Load the release as servers do and search its indexes, in a child; ReleaseDamaged says what became of it.

    Checksums say that files are those that the manifest names. Whoever wrote both may have lied: this finds what ends
    a process, and answers that are no items.
    """
    hint = "promote another one or train again"
    _child(f"release {release.id}", hint, "release", str(release.folder.parent), release.id)


def _child(what: str, hint: str, *arguments: str) -> None:
    home = str(Path(__file__).resolve().parent.parent)
    paths = [home, *filter(None, [os.environ.get("PYTHONPATH")])]
    try:
        done = subprocess.run(  # noqa: S603  this program itself
            [sys.executable, "-m", "index.check", *arguments],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ReleaseDamaged(f"{what} did not load in {SECONDS} s: {hint}") from error
    if not done.returncode:
        return
    said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
    if done.returncode == NOT_INSTALLED:
        raise RecsysError(f"{what} cannot be tried here: {said}")
    ended = signal.Signals(-done.returncode).name if done.returncode < 0 else f"code {done.returncode}"
    raise ReleaseDamaged(f"a process that loaded {what} ended with {ended} ({said}): {hint}")


def try_index(backend: str, folder: str, items: str, dimensions: str) -> None:
    """In the child: load over vectors of zeros, and search."""
    vectors = np.zeros((int(items), int(dimensions)), np.float32)
    _search(backend, BACKENDS[backend].load(Path(folder), vectors))


def try_release(folder: str, release: str) -> None:
    """In the child: load all of it, and search every index."""
    for name, index in assemble(ReleaseStore(Path(folder)).get(release), load).indexes.items():
        _search(name, index)


def _search(name: str, index: SearchIndex) -> None:
    items, dimensions = index.shape
    queries = np.random.default_rng(0).standard_normal((QUERIES, dimensions), np.float32)
    found = index.search(queries, 100)
    if found.rows.max() >= items:
        raise ReleaseDamaged(f"index {name!r} found row {found.rows.max()} among {items} items")
    if np.isnan(found.scores).any():
        raise ReleaseDamaged(f"index {name!r} found scores that are no numbers")


TASKS: dict[str, Callable[..., None]] = {"index": try_index, "release": try_release}


def main(task: str, *arguments: str) -> None:
    """What the child does; its last line on standard error is what it has to say."""
    try:
        TASKS[task](*arguments)
    except MissingExtra as error:
        print(error, file=sys.stderr)  # noqa: T201  the parent reads it
        sys.exit(NOT_INSTALLED)
    except RecsysError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""A published release without some of its users: the one change that a release ever sees.

What it learned of items stays; a user's id, history and vector go. The folder ``users`` is written anew beside the old
one, the manifest that names the new one takes the place of the old manifest, then the old folder is removed: a crash
leaves the release as it was or as it is to be, and what it leaves behind is removed by the next redaction.
"""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from recsys.arrays import Bool, Int32
from recsys.durable import sync
from recsys.errors import ReleaseError
from recsys.mapping import load_mapped
from recsys.releases import Release, ReleaseStore, checksum, replace_manifest
from recsys.users import History
from recsys.vocabulary import Vocabulary

VECTORS = "vectors"
Spans = Sequence[tuple[int, int]]


def redact(store: ReleaseStore, users: Sequence[str]) -> int:
    """Take users out of every release of the store; how many releases knew any of them.

    Waits for others who do the same. ReleaseError if a release cannot be read or written.
    """
    with _locked(store.folder):
        return sum(redacted(store.get(id_), users) for id_ in store.ids())


def redacted(release: Release, users: Sequence[str]) -> bool:
    """Take users out of one release; whether it knew any of them. Files of the others stay to the byte as they were."""
    home = release.users
    try:
        ids = Vocabulary.load(home)
        rows = ids.rows(users)
        rows = np.unique(rows[rows >= 0])
        if len(rows):
            fresh = release.folder / f"users-{int(home.name.partition('-')[2] or 0) + 1}"
            shutil.rmtree(fresh, ignore_errors=True)
            fresh.mkdir()
            _write(ids, rows, home, fresh)
            for path in [*fresh.iterdir(), fresh, release.folder]:
                sync(path)
            files = {name: sha for name, sha in release.manifest.files.items() if not name.startswith(f"{home.name}/")}
            files |= {f"{fresh.name}/{path.name}": checksum(path) for path in sorted(fresh.iterdir())}
            counts = {**release.manifest.counts, "users": len(ids) - len(rows)}
            replace_manifest(release, release.manifest.model_copy(update={"files": files, "counts": counts}))
            home = fresh
        for left in release.folder.glob("users*"):
            if left != home:
                shutil.rmtree(left)
    except OSError as error:
        raise ReleaseError(
            f"users could not be taken out of release {release.id} ({error}): make room or correct the rights, and "
            "erase them again"
        ) from error
    return bool(len(rows))


def _write(ids: Vocabulary, rows: Int32, home: Path, fresh: Path) -> None:
    """Everything in ``home`` but what is of ``rows``, into ``fresh``, piece by piece: a release may be large."""
    arrays, history = ids.arrays(), History.load(home)
    n = len(ids)
    stays = np.ones(n, bool)
    stays[rows] = False
    spans = _spans(rows, np.arange(n + 1))
    letters, entries = _spans(rows, arrays["offsets"]), _spans(rows, history.indptr)
    _copy(arrays["text"], letters, fresh / "text.npy")
    np.save(fresh / "offsets.npy", _starts(arrays["offsets"], stays), allow_pickle=False)
    _copy(arrays["row_keys"], spans, fresh / "row_keys.npy")
    # In the order of the keys, where each row is as many lower as rows before it go.
    before = np.cumsum(~stays)
    here = stays[arrays["key_rows"]]
    moved = arrays["key_rows"][here]
    np.save(fresh / "keys.npy", arrays["keys"][here], allow_pickle=False)
    np.save(fresh / "key_rows.npy", (moved - before[moved]).astype(np.int32), allow_pickle=False)
    np.save(fresh / "indptr.npy", _starts(history.indptr, stays), allow_pickle=False)
    for name in ("rows", "weights", "times"):
        _copy(getattr(history, name), entries, fresh / f"{name}.npy")
    if (home / f"{VECTORS}.npy").exists():
        _copy(load_mapped(home / f"{VECTORS}.npy"), spans, fresh / f"{VECTORS}.npy")
    if unknown := {path.name for path in home.iterdir()} - {path.name for path in fresh.iterdir()}:
        raise ReleaseError(
            f"{home} holds {', '.join(sorted(unknown))}, of which this program does not know whose it is"
        )


def _spans(rows: Int32, starts: np.ndarray) -> Spans:
    """What lies between rows, each of which begins at ``starts`` and ends where the next one begins."""
    begins, ends = [0, *starts[rows + 1].tolist()], [*starts[rows].tolist(), int(starts[-1])]
    return [(begin, end) for begin, end in zip(begins, ends, strict=True) if begin < end]


def _starts(starts: np.ndarray, stays: Bool) -> np.ndarray:
    """Where the rows that stay begin, and the last one ends."""
    return np.concatenate([starts[:1], np.cumsum(np.diff(starts)[stays], dtype=starts.dtype)])


def _copy(source: np.ndarray, spans: Spans, path: Path) -> None:
    length = sum(end - begin for begin, end in spans)
    if not length:
        np.save(path, source[:0], allow_pickle=False)
        return
    target = np.lib.format.open_memmap(path, "w+", source.dtype, (length, *source.shape[1:]))
    at = 0
    for begin, end in spans:
        target[at : at + end - begin] = source[begin:end]
        at += end - begin
    target.flush()


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".redacting").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield

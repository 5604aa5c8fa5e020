"""`recsys release verify`: what checksums cannot know, a child finds out, and nobody else goes down with it."""

import hashlib
import shutil
import subprocess
import sys

import faiss
import numpy as np
import pytest

from index import check
from index.check import survive_release
from index.faiss_hnsw import FILE, FaissHnsw
from index.files import write_record
from recsys.errors import RecsysError, ReleaseDamaged
from recsys.releases import Manifest, ReleaseStore


@pytest.fixture
def folder(settings, tmp_path):
    """The published release once more, with an approximate index in the place of the exact one."""
    release = ReleaseStore(settings.releases.folder).current()
    copy = tmp_path / "var/releases" / release.id
    shutil.copytree(release.folder, copy)
    vectors = np.load(copy / "items/vectors.npy")
    place = copy / "indexes/items"
    FaissHnsw.build(vectors).save(place)
    (place / "backend.json").write_text('{"backend": "faiss-hnsw"}')
    sign(copy)
    return copy


def sign(folder):
    """The manifest over whatever lies in the folder, as whoever forges files would write it."""
    manifest = Manifest.model_validate_json((folder / "manifest.json").read_bytes())
    files = {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "manifest.json"
    }
    signed = manifest.model_copy(update={"files": files}).signed()
    (folder / "manifest.json").write_text(signed.model_dump_json())


def forge(folder, change):
    """Change the graph, with every record and checksum made to fit."""
    place = folder / "indexes/items"
    graph = faiss.read_index(str(place / FILE), faiss.IO_FLAG_SKIP_STORAGE)
    change(graph)
    faiss.write_index(graph, str(place / FILE), faiss.IO_FLAG_SKIP_STORAGE)
    shape = np.load(folder / "items/vectors.npy", mmap_mode="r").shape
    write_record(place, "faiss-hnsw", shape, search_width=100)
    sign(folder)


def far_links(graph):
    faiss.copy_array_to_vector(np.full(graph.hnsw.neighbors.size(), 2**30, np.int32), graph.hnsw.neighbors)


def far_entry(graph):
    graph.hnsw.entry_point = 2**30


def verify(folder):
    command = [sys.executable, "-m", "recsys", "release", "verify", folder.name]
    return subprocess.run(command, cwd=folder.parents[2], capture_output=True, text=True)


def test_a_sound_release_is_loaded_and_searched(folder):
    done = verify(folder)
    assert done.returncode == 0, done.stderr
    assert "files are as published, its indexes load and answer" in done.stdout


@pytest.mark.parametrize("change", [far_links, far_entry])
def test_a_forged_index_is_found_without_going_down_with_it(folder, change):
    forge(folder, change)
    ReleaseStore(folder.parent).verify(folder.name)
    done = verify(folder)
    assert done.returncode == 1, done
    said = " ".join(done.stderr.split())
    assert f"a process that loaded release {folder.name} ended with " in said
    assert "promote another one or train again" in said
    assert not done.stdout


def test_what_cannot_be_loaded_is_said_in_its_own_words(folder):
    (folder / "indexes/items/index.json").write_text("{}")
    sign(folder)
    with pytest.raises(ReleaseDamaged, match=r"ended with code 1 \(.*index\.json is no record of an index"):
        survive_release(ReleaseStore(folder.parent).get(folder.name))


def test_a_process_that_hangs_is_not_waited_for(folder, monkeypatch):
    monkeypatch.setattr(check, "SECONDS", 0.01)
    with pytest.raises(ReleaseDamaged, match=r"did not load in 0\.01 s: promote another one"):
        survive_release(ReleaseStore(folder.parent).get(folder.name))


def test_a_library_that_is_not_installed_says_nothing_of_the_files(folder, tmp_path, monkeypatch):
    (tmp_path / "faiss.py").write_text("raise ModuleNotFoundError(name='faiss')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(RecsysError, match=r"cannot be tried here: .*needs faiss.*pip install") as caught:
        survive_release(ReleaseStore(folder.parent).get(folder.name))
    assert not isinstance(caught.value, ReleaseDamaged)


def test_rows_that_are_no_items_and_scores_that_are_no_numbers_are_refused():
    class Answers:
        shape = (5, 2)

        def __init__(self, row, score):
            self.row, self.score = row, score

        def search(self, queries, k, allowed=None):
            from recsys.candidates import Candidates

            filled = np.ones((len(queries), k))
            return Candidates((filled * self.row).astype(np.int32), (filled * self.score).astype(np.float32))

    check._search("items", Answers(4, 1.0))
    with pytest.raises(ReleaseDamaged, match="index 'items' found row 5 among 5 items"):
        check._search("items", Answers(5, 1.0))
    with pytest.raises(ReleaseDamaged, match="index 'items' found scores that are no numbers"):
        check._search("items", Answers(4, np.nan))

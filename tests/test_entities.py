"""Artists, playlists and genres as vectors of the items' space."""

import re
import subprocess
import sys
from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from benchmarks.entities import halves, measure
from index import BACKENDS
from index.growing import Growing
from recsys.catalogue import Catalogue
from recsys.datasets import load
from recsys.entities import Entities, mean_vectors
from recsys.errors import ReleaseDamaged, ReleaseError, SettingsError
from recsys.folding.linear import Linear, LinearRule
from recsys.interactions import interactions_of
from recsys.sections import Kind
from recsys.settings import Settings
from recsys.vocabulary import Vocabulary
from training.data import item_ids
from training.engines import engine_of
from training.models import Learned

BUILD = BACKENDS["exact"].build
RNG = np.random.default_rng(0)
IDS = ["so-what", "blue-train", "giant-steps", "creep", "unheard"]
VECTORS = np.array([[2, 0], [0, 1], [0, 3], [-1, -1], [0, 0]], np.float32)
ITEMS = pd.DataFrame(
    {
        "item_id": IDS,
        "artist": ["Miles Davis", "Coltrane", "Coltrane", "Radiohead", "Nobody"],
        "tags": pd.Series(
            pa.array([["jazz", "modal"], ["jazz"], ["jazz", "", None, "jazz"], ["rock"], None]),
            dtype=pd.ArrowDtype(pa.list_(pa.string())),
        ),
        "year": [1959, 1957, 1960, 1992, 2026],
    }
)
EVENTS = pd.DataFrame(
    [("ann", "so-what"), ("ann", "blue-train"), ("ben", "so-what"), ("ben", "creep"), ("cat", "giant-steps")],
    columns=["user_id", "item_id"],
    dtype="str",
).assign(kind="play", value=1.0)


def engine_over(vectors=VECTORS, release="r1", items=ITEMS):
    data = interactions_of(EVENTS, {"play": Kind()}, items=Vocabulary.of(items["item_id"]))
    learned = Learned.of_fold(Linear.of(vectors, LinearRule()))
    return engine_of(learned, data, Catalogue.of(items, data.items), Settings(), RNG, release, kinds={})[0]


@pytest.fixture(scope="module")
def engine():
    return engine_over()


@pytest.fixture(scope="module")
def artists(engine):
    return Entities.of(engine, "artist", BUILD)


def test_an_entity_is_the_mean_of_its_members_weighted_by_who_took_them(engine):
    tags = Entities.of(engine, "tags", BUILD)
    assert list(tags.ids) == ["jazz", "modal", "rock"]
    # so-what has two takers, the others one; a tag that an item names twice is one membership
    assert np.allclose(tags.vectors, [[2 * 2 / 4, (1 + 3) / 4], [2, 0], [-1, -1]])
    assert tags.members("jazz") == ["so-what", "blue-train", "giant-steps"]
    alike = Entities.of(engine, "tags", BUILD, weights="equal")
    assert np.allclose(alike.vectors[0], [2 / 3, 4 / 3])
    given_ = Entities.of(engine, "tags", BUILD, weights=np.array([0, 3, 1, 1, 1], np.float32))
    assert np.allclose(given_.vectors[list(given_.ids).index("jazz")], [0, 1.5])


def test_what_has_no_member_with_a_vector_is_left_out_and_counted(engine, artists):
    assert list(artists.ids) == ["Miles Davis", "Coltrane", "Radiohead"]
    assert artists.left_out == 1
    with pytest.raises(ValueError, match=r"no artist 'Nobody' among the 3 of release r1.* the 1 without an item"):
        artists.like("Nobody", 3)
    without = Entities.of(engine, "tags", BUILD, weights=np.array([0, 1, 1, 1, 1], np.float32))
    assert (list(without.ids), without.left_out) == (["jazz", "rock"], 1)


def test_members_that_cancel_out_are_nothing_known_and_no_direction_of_rounding():
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(9, 8)).astype(np.float32)
    weights = rng.random(9) + 0.1
    vectors = np.concatenate([vectors, -(weights[:, None] * vectors).sum(axis=0, keepdims=True)]).astype(np.float32)
    means = mean_vectors(sp.csr_matrix(np.ones((1, 10))), vectors, np.append(weights, 1.0))
    assert not means.any()


def test_entities_are_likened_by_angle_and_scored_for_users_by_inner_product(artists):
    (first, cosine), (second, other) = artists.like("Miles Davis", 5)
    assert (first, second) == ("Coltrane", "Radiohead")
    assert (cosine, other) == (pytest.approx(0), pytest.approx(-np.sqrt(0.5)))
    assert artists.like("Miles Davis", 1) == [(first, cosine)]
    with pytest.raises(ValueError, match="k is 0: ask for at least 1"):
        artists.like("Miles Davis", 0)
    scored = artists.for_user(np.array([1, 2], np.float32), 2)
    assert scored == [("Coltrane", pytest.approx(4)), ("Miles Davis", pytest.approx(2))]
    assert artists.for_user(np.zeros(2, np.float32), 2) == []
    with pytest.raises(ValueError, match=r"queries are \(1, 3\) but the index is \(3, 2\): d must match"):
        artists.for_user(np.ones(3, np.float32), 2)


def test_items_near_an_entity_come_with_its_own_or_without(artists):
    assert {item for item, _ in artists.items("Coltrane", 2)} == {"blue-train", "giant-steps"}
    continued = artists.items("Coltrane", 2, members=False)
    assert [item for item, _ in continued] == ["so-what", "unheard"]


def test_a_users_score_of_an_entity_is_the_mean_of_their_scores_of_its_members(engine):
    tags = Entities.of(engine, "tags", BUILD)
    user = np.array([0.3, -1.2], np.float32)
    scores = VECTORS @ user
    assert dict(tags.for_user(user, 9))["jazz"] == pytest.approx((2 * scores[0] + scores[1] + scores[2]) / 4)


@cache
def vector_sets():
    numbers = st.floats(-4, 4, width=16)
    return st.integers(1, 8).flatmap(lambda n: hnp.arrays(np.float32, (n, 3), elements=numbers))


@given(vector_sets(), st.data())
def test_a_group_of_one_has_its_items_vector(vectors, data):
    item = data.draw(st.integers(0, len(vectors) - 1))
    weight = data.draw(st.floats(0.001, 1000))
    one = sp.csr_matrix(([1.0], ([0], [item])), shape=(1, len(vectors)))
    assert np.array_equal(mean_vectors(one, vectors, np.full(len(vectors), weight))[0], vectors[item])


def test_a_group_whose_weights_are_as_small_as_numbers_get_has_a_mean():
    vectors = np.array([[0, 0, 1], [0, 2, 0]], np.float32)
    groups = sp.csr_matrix(np.array([[1.0, 0.0], [0.0, 1.0]]))
    assert mean_vectors(groups, vectors, np.array([1.0, 2.3e-313])).tolist() == vectors.tolist()


@given(vector_sets(), st.data())
def test_neither_the_order_of_members_nor_the_scale_of_weights_counts(vectors, data):
    n = len(vectors)
    weights = data.draw(hnp.arrays(np.float64, n, elements=st.floats(0, 1000)))
    groups = data.draw(hnp.arrays(np.float32, (2, n), elements=st.sampled_from([0.0, 1.0])))
    order = np.array(data.draw(st.permutations(range(n))))
    means = mean_vectors(sp.csr_matrix(groups), vectors, weights)
    turned = mean_vectors(sp.csr_matrix(groups[:, order]), vectors[order], weights[order])
    scaled = mean_vectors(sp.csr_matrix(groups), vectors, weights * data.draw(st.floats(0.001, 1000)))
    assert np.allclose(means, turned, atol=1e-4)
    assert np.allclose(means, scaled, atol=1e-4)


@given(vector_sets())
def test_an_item_of_which_nothing_is_known_moves_no_mean(vectors):
    n = len(vectors)
    beside = np.concatenate([vectors, np.zeros((2, 3), np.float32)])
    means = mean_vectors(sp.csr_matrix(np.ones((1, n))), vectors, np.ones(n))
    assert np.allclose(mean_vectors(sp.csr_matrix(np.ones((1, n + 2))), beside, np.ones(n + 2)), means, atol=1e-6)


def test_what_was_saved_answers_the_same_and_only_beside_its_release(artists, engine, tmp_path):
    folder = tmp_path / "artists"
    artists.save(folder)
    loaded = Entities.load(folder, engine, BUILD)
    assert list(loaded.ids) == list(artists.ids)
    assert (loaded.column, loaded.left_out, loaded.release) == ("artist", 1, "r1")
    assert loaded.like("Coltrane", 2) == artists.like("Coltrane", 2)
    assert loaded.items("Coltrane", 2, members=False) == artists.items("Coltrane", 2, members=False)
    with pytest.raises(ReleaseError, match=r"of release r1, the engine is of r2: vectors of two releases share no"):
        Entities.load(folder, engine_over(release="r2"), BUILD)
    with pytest.raises(ValueError, match="is there already"):
        artists.save(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["artists"]


@pytest.mark.parametrize("name", ["entities.json", "vectors.npy", "rows.npy"])
def test_what_is_damaged_is_refused_by_name(artists, engine, tmp_path, name):
    folder = tmp_path / "artists"
    artists.save(folder)
    (folder / name).write_bytes((folder / name).read_bytes()[:20])
    with pytest.raises(ReleaseDamaged, match=re.escape(str(folder))):
        Entities.load(folder, engine, BUILD)
    np.save(folder / "vectors.npy", np.ones((2, 2), np.float32))
    with pytest.raises(ReleaseDamaged):
        Entities.load(folder, engine, BUILD)


def test_items_that_came_in_later_are_nobodys_members_and_in_nobodys_way(engine, artists):
    growing = replace(engine, grow=Growing.of)
    amended = growing.amended({"new": {"artist": "Coltrane", "tags": ["jazz"]}, "creep": None})
    later = Entities.of(amended, "artist", BUILD)
    assert list(later.ids) == list(artists.ids)
    assert np.array_equal(later.vectors, artists.vectors)
    assert later.members("Coltrane") == artists.members("Coltrane")


def test_what_cannot_be_grouped_is_an_error_that_says_so(engine):
    with pytest.raises(ValueError, match=r"'year' is none in this catalogue: choose one of artist, tags"):
        Entities.of(engine, "year", BUILD)
    with pytest.raises(ValueError, match=r"weights are \(2,\) for 5 items"):
        Entities.of(engine, "artist", BUILD, weights=np.ones(2, np.float32))
    with pytest.raises(ValueError, match="finite and not negative"):
        Entities.of(engine, "artist", BUILD, weights=np.array([1, -1, 1, 1, 1], np.float32))
    with pytest.raises(ValueError, match="choose takers or equal"):
        Entities.of(engine, "artist", BUILD, weights="plays")
    blind = replace(engine, resolver=replace(engine.resolver, fold=None))
    with pytest.raises(ValueError, match="release r1 learned no item vectors"):
        Entities.of(blind, "artist", BUILD)


def test_a_column_that_is_empty_has_no_entities(tmp_path):
    none = Entities.of(engine_over(items=ITEMS.assign(artist="")), "artist", BUILD)
    assert (len(none), none.left_out) == (0, 0)
    assert none.for_user(np.ones(2, np.float32), 3) == []
    none.save(tmp_path / "none")
    assert len(Entities.load(tmp_path / "none", none.engine, BUILD)) == 0


def test_a_tag_is_found_again_from_artists_that_it_was_not_made_of(data_folder):
    """Last.fm: of 1,729 tags each gets a vector from each half of the artists. Chance is 1 in 1,729."""
    (tags,) = measure("lastfm-2k", {"RECSYS_DATA": str(data_folder)})["columns"]
    assert tags["judged"] > 1000
    assert tags["hit@1"] > 50 * tags["hit@1_chance"]
    assert tags["shared"] > 5 * tags["shared_chance"]


def test_over_vectors_drawn_at_random_no_tag_is_found_again(data_folder):
    """What the same measurement finds above is in the vectors, not in the measuring."""
    log = load("lastfm-2k", {"RECSYS_DATA": str(data_folder)})
    data = interactions_of(log.events, log.kinds, items=item_ids(log))
    vectors = np.random.default_rng(1).normal(size=(len(data.items), 8)).astype(np.float32)
    learned = Learned.of_fold(Linear.of(vectors, LinearRule()))
    engine = engine_of(learned, data, Catalogue.of(log.items, data.items), Settings(), RNG, "r1", kinds={})[0]
    tags = halves(engine, "tags")
    assert tags["hit@1"] < 10 * tags["hit@1_chance"]
    assert tags["shared"] < 2 * tags["shared_chance"]


def test_a_data_set_without_entities_is_named(data_folder):
    with pytest.raises(SettingsError, match="unknown data set with entities 'gowalla', choose one of citeulike-t"):
        measure("gowalla", {"RECSYS_DATA": str(data_folder)})


def test_the_example_of_the_page_prints_what_it_shows(repo, tmp_path):
    page, readme = ((repo / name).read_text() for name in ("docs/entities.md", "README.md"))
    for file in ("events.csv", "items.csv", "recsys.toml"):
        shown = re.search(rf"^`{re.escape(file)}`:\n\n```\w+\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)[1]
        (tmp_path / file).write_text(shown)
    example = re.search(r"```python\n(.*?)```", page, re.DOTALL)[1]
    for command in (["-m", "recsys", "train"], ["-c", example]):
        done = subprocess.run([sys.executable, *command], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert f"```text\n{done.stdout}```" in page

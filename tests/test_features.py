"""Features: numbers worked by hand, the same in training and in serving, and blind to what came after the cut."""

from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace

import numpy as np
import pytest

from index import load
from recsys.assembly import HOME, assemble
from recsys.candidates import Candidates
from recsys.catalogue import Catalogue
from recsys.datasets import load as load_dataset
from recsys.features import FEATURES, check_features, features_of, names_of
from recsys.interactions import interactions_of
from recsys.item_facts import ItemFacts
from recsys.releases import Release
from recsys.retrieval import Parts, Query
from recsys.sections import RankerSettings
from recsys.settings import Settings
from recsys.splits import hold_out
from recsys.stores.codec import decode, written
from training.data import item_ids
from training.engines import engine_of
from training.facts import facts_of
from training.models import model_of
from training.ranker import Returning, examples_of, feature_names, with_candidates

NAN = np.nan
NOW = datetime(2026, 11, 23, 18, 30, tzinfo=UTC)
DAY = 86400
UNIT = np.array([[1, 0], [0, 1], [0.6, 0.8], [-1, 0]], np.float32)
FACTS = ItemFacts(
    takers=np.array([0.5, 0.25, 0, 0.1], np.float32),
    lately=np.array([0.25, 0.5, 0, 0], np.float32),
    first=np.array([NOW.timestamp() - 2 * DAY, NOW.timestamp() + DAY, NAN, NOW.timestamp() - 10 * DAY]),
    numbers=np.array([[1990, NAN, 2000, 2010]], np.float32),
    names=("year",),
    categories=np.array([[0, 1], [1, -1], [-1, -1], [2, 0]], np.int32),
    width=3,
)
PARTS = Parts(5, {}, np.zeros(5, np.float32), {"items": 2 * UNIT, "similar": UNIT, "content": UNIT}, facts=FACTS)
QUERY = Query(
    now=NOW,
    vector=np.array([1, 2], np.float32),
    recent=np.array([0, 3, 1], np.int32),
    weights=np.array([1, 0, 2], np.float32),
    times=np.array([NOW.timestamp() - 3 * DAY, 0, 0], np.int64),
    seen=np.array([0, 3, 1], np.int32),
    shown=np.array([2, 2, 0], np.int32),
)
CANDIDATES = Candidates(
    np.array([[2, 0, -1, 1]], np.int32),
    np.array([[0.4, 0.8, -np.inf, 0.4]], np.float32),
    {"als": np.array([[-3, NAN, NAN, 6]], np.float32), "knn": np.array([[7, NAN, NAN, NAN]], np.float32)},
)
# Slots hold items 2, 0, nothing and 1. What the user likes: items 0 and 1, of categories {0, 1} and {1}.
BY_HAND = {
    "fusion-rank": [2, 1, NAN, 2],
    "fusion-score": [0.5, 1, NAN, 0.5],
    "agreeing": [2, 0, NAN, 1],
    "source-rank:als": [2, NAN, NAN, 1],
    "source-rank:knn": [1, NAN, NAN, NAN],
    "source-score:als": [-0.5, NAN, NAN, 1],
    "source-score:knn": [1, NAN, NAN, NAN],
    "affinity": [2 * 0.6 + 4 * 0.8, 2, NAN, 4],
    "recent-cosine:1": [0.6, 1, NAN, 0],
    "recent-cosine:5": [0.7, 0.5, NAN, 0.5],
    "recent-cosine:20": [0.7, 0.5, NAN, 0.5],
    "recent-nearest": [0.8, 1, NAN, 1],
    "content-cosine:1": [0.6, 1, NAN, 0],
    "content-cosine:5": [0.7, 0.5, NAN, 0.5],
    "content-cosine:20": [0.7, 0.5, NAN, 0.5],
    "takers": [0, 0.5, NAN, 0.25],
    "lately": [0, 0.25, NAN, 0.5],
    "trend": [NAN, 0.5, NAN, 2],
    "age": [NAN, 2, NAN, 0],
    "attribute:year": [2000, 1990, NAN, NAN],
    "category-affinity": [NAN, (0.25 + 0.75) / 2, NAN, 0.75],
    "activity": [3, 3, NAN, 3],
    "idle": [3, 3, NAN, 3],
    "hour": [18.5, 18.5, NAN, 18.5],
    "shown": [2, 1, NAN, 0],
}


def test_every_feature_is_what_it_is_by_hand():
    assert tuple(BY_HAND) == names_of(PARTS, ["als", "knn"])
    assert {name.partition(":")[0] for name in BY_HAND} == set(FEATURES)
    found = features_of(tuple(BY_HAND), [QUERY], CANDIDATES, PARTS)
    assert (found.shape, found.dtype) == ((1, 4, len(BY_HAND)), np.float32)
    for place, (name, wanted) in enumerate(BY_HAND.items()):
        assert np.allclose(found[0, :, place], wanted, equal_nan=True), (name, found[0, :, place])


def test_nothing_is_known_of_a_stranger_or_of_an_item_that_came_later():
    candidates = Candidates(np.array([[4]], np.int32), np.zeros((1, 1), np.float32))
    vectors = {name: np.concatenate([array, np.zeros((1, 2), np.float32)]) for name, array in PARTS.vectors.items()}
    found = features_of(tuple(BY_HAND), [Query(now=NOW)], candidates, replace(PARTS, vectors=vectors))[0, 0]
    known = {name: float(value) for name, value in zip(BY_HAND, found, strict=True) if not np.isnan(value)}
    assert known == {"fusion-rank": 1, "agreeing": 0, "activity": 0, "hour": 18.5}


def test_slots_and_neighbours_in_the_batch_change_nothing():
    names = tuple(BY_HAND)
    turned = np.array([3, 1, 0, 2])
    signals = {name: signal[:, turned] for name, signal in CANDIDATES.signals.items()}
    other = Candidates(CANDIDATES.rows[:, turned], CANDIDATES.scores[:, turned], signals)
    alone = features_of(names, [QUERY], CANDIDATES, PARTS)
    assert np.allclose(features_of(names, [QUERY], other, PARTS), alone[:, turned], equal_nan=True)
    many = 70  # more than are held at once
    batch = Candidates(
        np.repeat(CANDIDATES.rows, many, axis=0),
        np.repeat(CANDIDATES.scores, many, axis=0),
        {name: np.repeat(signal, many, axis=0) for name, signal in CANDIDATES.signals.items()},
    )
    queries = [QUERY if place % 2 else Query(now=NOW) for place in range(many)]
    found = features_of(names, queries, batch, PARTS)
    assert all(np.array_equal(found[place], alone[0], equal_nan=True) for place in range(1, many, 2))


def test_features_depend_on_what_a_release_has():
    assert names_of(Parts(4, {}, np.zeros(4, np.float32)), ()) == (
        "fusion-rank",
        "fusion-score",
        "agreeing",
        "activity",
        "shown",
    )
    with pytest.raises(
        ValueError, match=r"asks for source-rank:bpr, attribute:price, which .* choose among fusion-rank"
    ):
        check_features(["takers", "source-rank:bpr", "attribute:price"], PARTS, ["als"])
    with pytest.raises(ValueError, match="unknown feature 'takerz', choose one of"):
        features_of(["takerz"], [QUERY], CANDIDATES, PARTS)
    with pytest.raises(ValueError, match="holds no facts of items"):
        features_of(["takers"], [QUERY], CANDIDATES, replace(PARTS, facts=None))


@pytest.fixture(scope="module")
def movies(data_folder):
    """MovieLens 100K, cut in time, and how an engine comes of a part of it."""
    log = load_dataset("ml-100k", {"RECSYS_DATA": str(data_folder)})
    data = interactions_of(log.events, log.kinds, items=item_ids(log))
    catalogue = Catalogue.of(log.items, data.items)
    model = model_of(
        {"name": "blend", "parts": {"als": {"factors": 16}, "item-knn": {}}, "weights": {"als": 1, "item-knn": 1}}
    )
    settings = Settings.model_validate({"train": {"threads": 1}, "index": {"backend": "exact"}})

    def engine(part):
        learned = model.fit(part, np.random.default_rng(0), threads=1)
        made, _ = engine_of(learned, part, catalogue, settings, np.random.default_rng(0), "one", kinds=log.kinds)
        return with_candidates(made, part, catalogue, RankerSettings())

    return data, catalogue, engine


def test_training_sees_what_serving_sees_on_ten_thousand_rows(movies, tmp_path):
    data, catalogue, engine_over = movies
    split = hold_out(data, 0.2, np.random.default_rng(0))
    engine, settings = engine_over(split.train), RankerSettings()
    names = feature_names(engine)
    users = np.unique(split.test.user)[::5][:60].astype(np.int32)
    returning = Returning.of(engine, split)
    queries, candidates = returning.candidates(users, settings)
    trained = features_of(names, queries, candidates, engine.parts)

    # The same through files and the store's bytes, one request at a time.
    engine.save(tmp_path)
    facts_of(split.train, catalogue).save(tmp_path / "facts")
    served = assemble(Release("one", tmp_path, SimpleNamespace(files={})), load)
    served = served.ranked(None, ItemFacts.load(tmp_path / "facts", len(data.items)), engine.surfaces[HOME])
    rows = 0
    for place, (state, query) in enumerate(zip(engine.users.states(users), queries, strict=True)):
        kept = written(state)
        asked = served.resolver.known(state.user, decode(state.user, kept.state, kept.vector), query.now)
        found = served.recommenders[HOME].retrieve([asked], 20).top(settings.depth)
        assert np.array_equal(found.rows[0], candidates.rows[place])
        # Sources answer a batch as one by one up to the rounding of a product; features of their answers do so exactly.
        assert np.allclose(found.scores[0], candidates.scores[place])
        for name, said in found.signals.items():
            assert np.allclose(said[0], candidates.signals[name][place], rtol=1e-5, atol=1e-6, equal_nan=True)
        one = candidates.part(slice(place, place + 1))
        assert np.array_equal(features_of(names, [asked], one, served.parts)[0], trained[place], equal_nan=True)
        assert np.allclose(
            features_of(names, [asked], found, served.parts)[0], trained[place], rtol=1e-4, atol=1e-6, equal_nan=True
        )
        rows += int(found.filled.sum())
    assert rows >= 10_000
    unknown = np.isnan(trained[candidates.filled]).mean(axis=0)
    assert all(share < 1 for name, share in zip(names, unknown, strict=True) if name != "shown")


def test_what_happened_after_the_cut_changes_no_feature(movies):
    data, _, engine_over = movies
    split = hold_out(data, 0.2, np.random.default_rng(0))
    after = len(split.train)
    rng = np.random.default_rng(1)
    # The same people at the same times, after the cut, with other items: the future is another.
    other = replace(data, item=np.concatenate([data.item[:after], rng.permutation(data.item[after:])]))
    other_split = hold_out(other, 0.2, np.random.default_rng(0))
    assert not np.array_equal(split.test.item, other_split.test.item)
    users = np.unique(split.test.user)[:100]
    asked = []
    for part in (split, other_split):
        engine, settings = engine_over(part.train), RankerSettings(depth=50)
        queries, candidates = Returning.of(engine, part).candidates(users, settings)
        asked.append((candidates, features_of(feature_names(engine), queries, candidates, engine.parts)))
    (one, seen), (other_one, other_seen) = asked
    assert np.array_equal(one.rows, other_one.rows)
    assert np.array_equal(seen, other_seen, equal_nan=True)
    # What follows from another future are other labels, or this test could not fail.
    judged = [
        examples_of(engine, part, ("fusion-rank",), settings, np.random.default_rng(0)) for part in (split, other_split)
    ]
    assert not np.array_equal(*(part.labels[:1000] for part in judged))


def test_facts_count_users_once(movies):
    data, catalogue, _ = movies
    facts = facts_of(data, catalogue)
    row = int(data.item[0])
    assert np.isclose(facts.takers[row], len(set(data.user[data.item == row])) / len(set(data.user)))
    newest = slice(int(len(data) * 0.9), None)
    took = set(data.user[newest][data.item[newest] == row])
    assert np.isclose(facts.lately[row], len(took) / len(set(data.user[newest])))
    assert facts.first[row] == data.time[data.item == row].min()
    described = catalogue.describe(np.array([row], np.int32))[0]
    assert facts.names == ("year",)
    assert facts.numbers[0, row] == described["year"]
    assert (facts.categories[row] >= 0).sum() == len(described["genres"])


def test_facts_of_another_catalogue_are_refused(tmp_path):
    FACTS.save(tmp_path)
    kept = ItemFacts.load(tmp_path, 4)
    assert all(np.array_equal(getattr(kept, name), getattr(FACTS, name), equal_nan=True) for name in ItemFacts.ARRAYS)
    with pytest.raises(ValueError, match=r"takers is \(4,\), \(5,\) was wanted"):
        ItemFacts.load(tmp_path, 5)
    replace(FACTS, width=2).save(tmp_path)
    with pytest.raises(ValueError, match="name a category beyond the 2 that there are"):
        ItemFacts.load(tmp_path, 4)

"""The contract of models, which every one of the table passes. A model that has no line in EXPECTED fails."""

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
from annotated_types import Ge, Gt

from index import load as load_index
from recsys.assembly import assemble
from recsys.catalogue import Catalogue
from recsys.datasets import load
from recsys.errors import SettingsError, TrainingError
from recsys.interactions import interactions_of
from recsys.releases import Manifest, Release
from recsys.sections import USUAL_KINDS, Kind, Train
from recsys.settings import Settings
from training.engines import engine_of
from training.models import MODELS, Choice, model_of
from training.progress import Unwatched
from training.run import measure

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
T0 = 1_600_000_000


@dataclass(frozen=True)
class Expected:
    """What one model must reach.

    ``floor``: NDCG@10 of warm users on ml-100k, cut in time as `recsys train` cuts it, with ``keys``. ``board``: keys
    under which it learns 40 × 40 of a checkerboard; None for a baseline, which cannot.
    """

    floor: float
    keys: dict = field(default_factory=dict)
    board: dict | None = field(default_factory=dict)


# Measured on one thread, less 5 %: als .187, ials .133, bpr .165, svd .185, item2vec .158, popular .145, trending .210,
# item-knn .143, rp3beta .154, graph-filter .181, ease .144, slim .160, sasrec .154, blend .177, two-tower .167.
EXPECTED = {
    "als": Expected(0.178, keys={"factors": 64, "regularization": 20.0, "alpha": 2.0}, board={"factors": 4}),
    "ials": Expected(0.126, board={"factors": 4}),
    "bpr": Expected(0.156, board={"factors": 8, "learning_rate": 0.1, "iterations": 200}),
    "svd": Expected(0.175, board={"factors": 4}),
    "item2vec": Expected(0.150, board={"factors": 8}),
    "item-knn": Expected(0.135),
    "rp3beta": Expected(0.146),
    "graph-filter": Expected(0.171, board={"factors": 4}),
    "ease": Expected(0.136, board={"regularization": 1.0}),
    "sasrec": Expected(
        0.146, keys={"factors": 32, "negatives": 0, "epochs": 6}, board={"factors": 16, "dropout": 0.2, "epochs": 10}
    ),
    "slim": Expected(0.151),
    "two-tower": Expected(
        0.159, keys={"factors": 32, "als_alpha": 2.0, "als_regularization": 20.0}, board={"factors": 8}
    ),
    "blend": Expected(0.168, board={"parts": {"als": {"factors": 4}, "item-knn": {}}}),
    "popular": Expected(0.138, board=None),
    "trending": Expected(0.199, board=None),
    "random": Expected(0.005, board=None),
}


@pytest.fixture(params=sorted(MODELS))
def name(request):
    assert request.param in EXPECTED, f"the model {request.param} needs a line in EXPECTED, with a floor measured"
    return request.param


@pytest.fixture
def model(name):
    """The model as the checkerboard is learned with."""
    return model_of({"name": name, **(EXPECTED[name].board or {})})


def log_of(rows, kinds=("play",)):
    """Interactions from (user, item) pairs, a minute between two."""
    log = pd.DataFrame(rows, columns=["user_id", "item_id"], dtype="str")
    kind = pd.Series([kinds[place % len(kinds)] for place in range(len(log))], dtype="str")
    log = log.assign(kind=kind, value=1.0, time=T0 + 60 * np.arange(len(log)))
    return interactions_of(log, {"play": Kind(), "skip": Kind(weight=0)})


def checkerboard(side=40):
    """Even users take even items, odd users odd ones, each round the ring from the one after that they should get."""
    return log_of([(f"u{u}", f"i{(u + 2 * step) % side}") for u in range(side) for step in range(1, side // 2)])


def fitted(model, data, seed=0):
    return model.fit(data, np.random.default_rng(seed), threads=1)


def arrays(learned):
    """Everything that was learned."""
    found = [] if learned.fold is None else [learned.fold.items, *learned.fold.arrays().values()]
    for lists in learned.lists.values():
        found += [lists.rows, lists.weights]
    return found if learned.scores is None else [*found, learned.scores]


def engine(learned, data):
    settings = Settings(index={"backend": "exact"})
    blank = Catalogue.of(None, data.items)
    return engine_of(learned, data, blank, settings, np.random.default_rng(0), "r1", kinds={"play": Kind()})[0]


def queries(engine):
    """Somebody known, a visitor with a history, one whose items nobody knows, one without any, a stranger."""
    (state,) = engine.users.find(["u2"])
    visitor = engine.resolver.anonymous
    return [
        engine.resolver.known("u2", state, NOW),
        visitor(["i3", "i5"], np.ones(2, np.float32), NOW),
        visitor(["no such item"], np.ones(1, np.float32), NOW),
        visitor([], np.ones(0, np.float32), NOW),
        engine.resolver.known("stranger", None, NOW),
    ]


def test_every_line_is_a_model():
    assert EXPECTED.keys() == dict(MODELS).keys()


def test_shapes_and_types_are_as_promised_and_it_serves_what_it_declares(model):
    data = checkerboard()
    learned = fitted(model, data)
    assert learned.serves == model.serves
    if learned.fold is not None:
        assert learned.fold.items.shape[0] == len(data.items)
        assert learned.fold.items.dtype == np.float32
    for lists in learned.lists.values():
        assert len(lists) == len(data.items)
    if learned.scores is not None:
        assert learned.scores.shape == (len(data.items),)
        assert learned.scores.dtype == np.float32
    assert all(np.isfinite(array).all() for array in arrays(learned))


def test_one_thread_and_one_seed_give_the_same_bits(model):
    data = checkerboard()
    for one, same in zip(arrays(fitted(model, data)), arrays(fitted(model, data)), strict=True):
        assert np.array_equal(one, same)


def test_nothing_is_written_into_the_interactions(model):
    data = checkerboard()
    columns = ("weight", "user", "item", "time", "kind")
    before = {column: getattr(data, column).copy() for column in columns}
    for column in columns:
        getattr(data, column).setflags(write=False)
    fitted(model, data)
    assert all(np.array_equal(before[column], getattr(data, column)) for column in columns)


def test_progress_ends_at_one(model):
    shares = []
    model.fit(checkerboard(), np.random.default_rng(0), threads=1, progress=shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_the_checkerboard_is_learned(name, model):
    if EXPECTED[name].board is None:
        assert model.family == "baseline"
        return
    data = checkerboard()
    users = np.arange(len(data.users), dtype=np.int32)
    best = engine(fitted(model, data), data).recommend(users, 1, NOW).candidates.rows[:, 0]
    assert data.items.ids(best) == [user.replace("u", "i") for user in data.users]


def test_a_release_answers_as_what_it_was_made_of(model, tmp_path):
    data = checkerboard(12)
    made = engine(fitted(model, data), data)
    made.save(tmp_path)
    manifest = Manifest(
        id="r1", created=NOW, lineage={}, counts={}, metrics={}, indexes={},
        gate={"passed": True, "forced": False, "findings": ()}, files={},
    )  # fmt: skip
    loaded = assemble(Release("r1", tmp_path, manifest), load_index)
    for surface in ("home", "similar"):
        one, same = (each.recommenders[surface].recommend(queries(each), 5) for each in (made, loaded))
        assert np.array_equal(one.candidates.rows, same.candidates.rows)
        assert np.array_equal(one.candidates.scores, same.candidates.scores)
        assert one.levels == same.levels
        assert one.degraded == same.degraded == ()


def test_who_is_unknown_or_has_no_history_falls_to_the_ladder(model):
    data = checkerboard(12)
    made = engine(fitted(model, data), data)
    answer = made.recommenders["home"].recommend(queries(made), 5)
    lists = answer.candidates.rows
    assert (lists >= 0).all()
    assert not answer.degraded
    popular = np.argsort(-made.popularity, kind="stable")[:5]
    for place in (2, 3, 4):
        assert np.array_equal(np.sort(made.popularity[lists[place]]), np.sort(made.popularity[popular]))


def test_an_unknown_item_in_a_history_changes_nothing(model):
    data = checkerboard(12)
    made = engine(fitted(model, data), data)
    one = made.resolver.anonymous(["i3", "i5"], np.ones(2, np.float32), NOW)
    other = made.resolver.anonymous(["i3", "no such item", "i5"], np.ones(3, np.float32), NOW)
    answers = made.recommenders["home"].recommend([one, other], 5).candidates
    assert np.array_equal(answers.rows[0], answers.rows[1])


def test_items_and_users_without_a_positive_event_are_lived_with(model):
    data = log_of([*[(f"u{u}", f"i{i}") for u in range(12) for i in range(12) if i % 2 == u % 2], ("u99", "i99")])
    data = replace(data, weight=np.where(data.user == len(data.users) - 1, 0, data.weight).astype(np.float32))
    made = engine(fitted(model, data), data)
    assert np.isfinite(made.recommend(np.arange(len(data.users), dtype=np.int32), 3, NOW).candidates.scores).all()


def test_one_user_and_one_item_are_enough_to_fit(model):
    """But for a model of what follows what."""
    if model.family == "sequence":
        with pytest.raises(TrainingError, match="no user has two items"):
            fitted(model, log_of([("u", "i"), ("u", "i")]))
        return
    assert all(np.isfinite(array).all() for array in arrays(fitted(model, log_of([("u", "i"), ("u", "i")]))))


def test_where_nothing_teaches_nothing_is_learned(name, model):
    data = log_of([("u1", "i1"), ("u2", "i2")], kinds=("skip",))
    if name in {"popular", "random"}:
        assert fitted(model, data).scores is not None
        return
    with pytest.raises(TrainingError, match="none of 2 events teaches anything"):
        fitted(model, data)


def test_the_configuration_comes_back_from_its_own_json(name, model):
    assert type(model).model_validate_json(model.model_dump_json()) == model
    assert model_of({"name": name, **json.loads(model.model_dump_json())}) == model


def test_a_key_that_it_does_not_know_is_refused_by_name(name):
    with pytest.raises(SettingsError, match=rf"\[model\] {name}: factros: unknown key"):
        model_of({"name": name, "factros": 3})


def test_every_number_has_a_least_value_and_less_is_refused(name):
    for key, described in MODELS[name].model_fields.items():
        if described.annotation not in {int, float}:
            continue
        (least,) = [bound for bound in described.metadata if isinstance(bound, Ge | Gt)]
        wrong = least.ge - 1 if isinstance(least, Ge) else least.gt
        with pytest.raises(SettingsError, match=rf"\[model\] {name}: {key}: Input should be greater than"):
            model_of({"name": name, key: wrong})
        if key == "factors":
            assert wrong == 0


def test_what_is_tuned_are_its_own_keys_within_what_they_allow(name):
    default = model_of({"name": name})
    for key, over in MODELS[name].space.items():
        assert hasattr(default, key)
        ends = over.of if isinstance(over, Choice) else (over.low, over.high)
        for end in ends:
            assert getattr(model_of({"name": name, key: end}), key) == end
        if not isinstance(over, Choice):
            assert over.low < over.high
            assert over.low > 0 or not over.log


@pytest.fixture(scope="module")
def ml_100k():
    log = load("ml-100k")
    return interactions_of(log.events, {**USUAL_KINDS, **log.kinds})


def test_it_reaches_its_floor_on_ml_100k(name, ml_100k):
    model = model_of({"name": name, **EXPECTED[name].keys})
    settings = Settings(index={"backend": "exact"}, train=Train(threads=1))
    metrics, *_ = measure(ml_100k, model, settings, Unwatched())
    assert metrics["pipeline"]["ndcg@10"]["warm"] >= EXPECTED[name].floor


def test_ials_does_not_care_how_many_threads_solve():
    data = checkerboard()
    one, two = (
        model_of({"name": "ials", "factors": 4}).fit(data, np.random.default_rng(0), threads=threads)
        for threads in (1, 2)
    )
    assert np.array_equal(one.fold.items, two.fold.items)


def test_an_unknown_model_is_refused_with_the_choices():
    with pytest.raises(SettingsError, match="unknown model 'asl', choose one of als, "):
        model_of({"name": "asl"})

"""Rankers: what they do to candidates, how they are learned, when they are used, and what happens when they fail."""

import io
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime

import lightgbm as lgb
import numpy as np
import pytest
from rich.console import Console

from index import load
from index.exact import Exact
from recsys.assembly import HOME, assemble
from recsys.candidates import Candidates
from recsys.errors import ReleaseDamaged, SettingsError, TrainingError
from recsys.features import features_of
from recsys.pipeline import Recommender
from recsys.rankers import RANKERS
from recsys.ranking import Card, Ranker, sigmoid
from recsys.reasons import causes
from recsys.retrieval import Parts, Query
from recsys.sections import RankerSettings
from recsys.settings import load_settings
from recsys.surfaces import Line, unseen
from recsys.terminal import print_release
from recsys.tree_paths import paths_of
from training.calibration import platt
from training.gate import judge_ranker
from training.ranker import Examples, beside, grow, ranked_surface
from training.run import train

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
N, D = 60, 4
RNG = np.random.default_rng(0)
VECTORS = RNG.normal(size=(N, D)).astype(np.float32)
NAMES = ("fusion-rank", "source-rank:nearest", "activity")


def booster():
    """One that puts the fusion's last first."""
    rows = np.stack([RNG.permutation(100) + 1.0, RNG.random(100), RNG.random(100)], axis=1)
    options = {"objective": "regression", "min_data_in_leaf": 1, "num_leaves": 30, "verbosity": -1, "num_threads": 1}
    return lgb.train(options, lgb.Dataset(rows, rows[:, 0] / 25 - 4), 40)


TEXT = booster().model_to_string()
RANKER = Ranker.of(TEXT, Card(features=NAMES, slope=1.0, offset=0.0))
PARTS = Parts(N, {"items": Exact.build(VECTORS)}, np.arange(N, dtype=np.float32), {"items": VECTORS}, ranker=RANKER)
SURFACE = unseen(Line(name="nearest", index="items"), Line(name="popular"))


def ranked(**options):
    return SURFACE.model_copy(update={"ranker": Line.model_validate({"name": "learned", **options})})


def query(seed=0, seen=()):
    vector = np.random.default_rng(seed).normal(size=D).astype(np.float32)
    return Query(now=NOW, vector=vector, seen=np.array(seen, np.int32))


def test_a_ranker_only_reorders():
    plain, order = Recommender.of(SURFACE, PARTS), Recommender.of(ranked(depth=10), PARTS)
    queries = [query(seed, seen=range(seed)) for seed in range(5)]
    before, after = plain.retrieve(queries, 20), order.recommend(queries, 40).candidates
    for place in range(5):
        fused = before.part(slice(place, place + 1)).top(40)
        assert set(after.rows[place, :10]) == set(fused.rows[0, :10])
        head = fused.part(slots=slice(10))
        said = RANKER.score(features_of(NAMES, queries[place : place + 1], head, PARTS)[0])
        assert after.rows[place, :10].tolist() == head.rows[0, np.argsort(-said, kind="stable")].tolist()
        assert after.rows[place, :10].tolist() != head.rows[0].tolist()
        # What is behind the depth follows as it stood.
        assert after.rows[place, 10:].tolist() == fused.rows[0, 10:].tolist()
        assert (np.diff(after.scores[place]) <= 0).all()
        assert 0 < after.scores[place, 10] < after.scores[place, 9] < after.scores[place, 0] < 1
    assert {"nearest", "popular"} == set(after.signals)


def test_a_batch_is_ranked_as_its_queries_one_by_one():
    order = Recommender.of(ranked(depth=30), PARTS)
    queries = [query(seed, seen=range(seed % 7)) for seed in range(70)]  # more than are held at once
    together = order.recommend(queries, 20).candidates
    alone = [order.recommend([one], 20).candidates.rows[0] for one in queries]
    assert np.array_equal(together.rows, alone)


def test_probabilities_are_the_sigmoid_of_lightgbm():
    rows = np.array([[1, 1, 0], [90, 1, 5], [np.nan, np.nan, np.nan], [40, np.inf, -np.inf]], np.float32)
    wanted = sigmoid(lgb.Booster(model_str=TEXT).predict(rows) * 1.0)
    assert np.allclose(RANKER.score(rows), wanted, atol=1e-7)
    assert np.isfinite(RANKER.score(rows)).all()


def test_candidates_of_which_nothing_is_known_are_ranked_too():
    stranger = Query(now=NOW)
    answer = Recommender.of(ranked(), PARTS).recommend([stranger], 20)
    assert (answer.degraded, answer.levels) == ((), ("popular",))
    assert (answer.candidates.rows >= 0).all()
    empty = RANKERS["learned"](PARTS, ["nearest", "popular"])([stranger], Candidates.empty(1, 3))
    assert (empty.rows == -1).all()


class Broken:
    def __call__(self, queries, candidates):
        raise RuntimeError("out of order")


def test_a_ranker_that_fails_leaves_the_order_of_the_fusion_and_is_named():
    plain = Recommender.of(SURFACE, PARTS)
    answer = replace(plain, ranker=Broken()).recommend([query()], 20)
    assert answer.degraded == ("ranker",)
    assert answer.candidates.rows.tolist() == plain.recommend([query()], 20).candidates.rows.tolist()


def test_a_surface_whose_ranker_cannot_be_is_refused():
    with pytest.raises(SettingsError, match="unknown ranker 'clever', choose one of learned"):
        Recommender.of(SURFACE.model_copy(update={"ranker": Line(name="clever")}), PARTS)
    with pytest.raises(SettingsError, match="this release holds no ranker: train it with"):
        Recommender.of(ranked(), replace(PARTS, ranker=None))
    with pytest.raises(SettingsError, match="depth is 0: look at 1 candidate or more"):
        Recommender.of(ranked(depth=0), PARTS)
    alone = ranked().model_copy(update={"sources": (Line(name="popular"),)})
    with pytest.raises(SettingsError, match="asks for source-rank:nearest, which this surface of this rel"):
        Recommender.of(alone, PARTS)


@pytest.mark.parametrize(
    ("card", "sentence"),
    [
        ({"features": NAMES[:2]}, "grown on 3 columns, the card names 2 features"),
        ({"features": (*NAMES[:2], NAMES[0])}, "the card names 2 features"),
        ({"slope": -1.0}, "the slope above 0"),
        ({"offset": float("nan")}, "both must be finite"),
    ],
)
def test_a_card_that_does_not_fit_its_booster_is_refused(card, sentence):
    with pytest.raises(ValueError, match=sentence):
        Ranker.of(TEXT, RANKER.card.model_copy(update=card))


def test_platt_finds_the_sigmoid_that_labels_were_drawn_by():
    sums = RNG.normal(size=50_000) * 2
    labels = RNG.random(50_000) < sigmoid(1.5 * sums - 3)
    assert np.allclose(platt(sums, labels), (1.5, -3), atol=0.1)
    slope, offset = platt(np.array([-1.0, -1, 1, 1]), np.array([False, False, True, True]))
    # Two of two, by Platt's targets, are 3 / 4.
    assert np.allclose(sigmoid(np.array([slope + offset, -slope + offset])), [0.75, 0.25])
    assert np.isfinite(platt(np.zeros(4), np.array([True, False, True, False]))).all()


def lists_of(users, depth, signal, seed=0):
    """Lists in which one of three features says what was taken, as far as ``signal`` is above 0."""
    rng = np.random.default_rng(seed)
    rows = rng.random((users * depth, 3)).astype(np.float32)
    rows[rng.random(rows.shape) < 0.1] = np.nan
    chance = sigmoid(signal * (np.nan_to_num(rows[:, 1]) - 0.8) - 2)
    return Examples(rows, rng.random(len(rows)) < chance, np.full(users, depth), np.arange(users, dtype=np.int32))


def test_what_is_grown_finds_the_feature_that_tells_and_its_scores_are_probabilities():
    settings = RankerSettings(folds=3, trees=40, leaves=4)
    ranker, told = grow(lists_of(150, 40, signal=8), NAMES, settings, seed=0, threads=1)
    assert next(iter(told["importance"])) == NAMES[1]
    assert told["importance"][NAMES[1]] > 0.8
    fresh = lists_of(300, 40, signal=8, seed=1)
    said = ranker.score(fresh.rows)
    order = np.argsort(said)
    for part in np.array_split(order, 4):
        assert said[part].mean() == pytest.approx(fresh.labels[part].mean(), abs=0.02)
    again, _ = grow(lists_of(150, 40, signal=8), NAMES, settings, seed=0, threads=1)
    assert again.text == ranker.text


def test_lists_from_which_nothing_can_be_learned_are_refused():
    few = lists_of(20, 5, signal=1)
    with pytest.raises(TrainingError, match=r"0 of 100 candidates in 20 lists were taken: too few"):
        grow(replace(few, labels=np.zeros(100, bool)), NAMES, RankerSettings(), seed=0, threads=1)


def test_a_ranker_is_used_only_if_it_beats_everything_for_certain():
    rng = np.random.default_rng(0)
    base = rng.random(200)
    better, same = base + 0.05 + rng.normal(size=200) * 0.1, base + rng.normal(size=200) * 0.1
    findings, against = judge_ranker(better, {"fusion": base}, rng)
    assert findings == ()
    assert 0 < against["fusion"]["low"] < against["fusion"]["difference"] < against["fusion"]["high"]
    findings, _ = judge_ranker(better, {"fusion": base, "itself": better}, rng)
    assert len(findings) == 1
    assert findings[0].startswith("NDCG@10 with the ranker is +0.0000 beside itself, with an interval from")
    assert judge_ranker(same, {"fusion": base}, rng)[0]
    (finding,), against = judge_ranker(np.full(3, np.nan), {"fusion": np.full(3, np.nan)}, rng)
    assert "could not be measured" in finding
    assert against["fusion"]["low"] is None


def test_what_trends_and_is_popular_are_sources_of_candidates_once():
    surface = ranked_surface(unseen(Line(name="nearest", index="items")), RankerSettings(depth=7, pool=9))
    assert [line.name for line in surface.sources] == ["nearest", "popular"]
    assert surface.ranker.model_extra == {"depth": 7}
    trends = Line(name="trending", half_life=30)
    knowing = unseen(Line(name="nearest", index="items")).model_copy(update={"ladder": (trends, Line(name="popular"))})
    assert ranked_surface(knowing, RankerSettings()).sources == (*knowing.sources, trends, Line(name="popular"))
    assert ranked_surface(ranked_surface(knowing, RankerSettings()), RankerSettings()).sources[1:-1] == (trends,)
    assert ranked_surface(surface, RankerSettings(), ranker=False).sources == surface.sources


def test_candidates_come_of_the_same_sources_whatever_the_ladder_of_a_part_knows():
    plain = unseen(Line(name="nearest", index="items"))
    trends = Line(name="trending", half_life=30)
    knowing = plain.model_copy(update={"ladder": (trends, Line(name="popular"))})
    for others in (beside(plain), beside(knowing)):
        for home in (plain, knowing):
            assert ranked_surface(home, RankerSettings(), others).sources == (*home.sources, *others)
    assert beside(plain) == (Line(name="popular"),)
    assert beside(knowing) == (trends, Line(name="popular"))


CONFIG = """
[data]
dataset = "ml-100k"
[model]
name = "als"
factors = 16
regularization = 20.0
alpha = 2.0
[train]
threads = 1
[index]
backend = "exact"
[state]
url = "memory://"
[ranker]
folds = 2
trees = 40
learning_rate = 0.1
least_rows = 300
"""


@pytest.fixture(scope="module")
def outcome(tmp_path_factory, data_folder):
    """MovieLens 100K trained with a ranker, which is better there for certain."""
    folder = tmp_path_factory.mktemp("ranked")
    (folder / "recsys.toml").write_text(CONFIG)
    return train(load_settings(folder / "recsys.toml", {}), now=NOW, environ={"RECSYS_DATA": str(data_folder)})


def test_a_release_with_a_ranker_that_beats_the_fusion_says_so_and_serves_it(outcome):
    told = outcome.release.manifest.metrics["ranker"]
    assert told["used"]
    assert min(against["low"] for against in told["against"].values()) > 0
    assert outcome.release.manifest.metrics["pipeline"]["ndcg@10"]["all"] == told["ndcg@10"]["the ranker"]
    assert abs(told["calibration"]["predicted"] - told["calibration"]["observed"]) < 0.03
    assert sum(told["importance"].values()) == pytest.approx(1, abs=0.01)
    console = Console(record=True, file=io.StringIO(), width=200)
    print_release(console, outcome.release)
    assert re.search(r"ranker +used *\n +NDCG@10 \+0\.\d{4}, from \+0\.\d{4} to \+", console.export_text())
    engine = assemble(outcome.release, load)
    assert set(engine.parts.ranker.features) == set(told["importance"])
    users = np.arange(20, dtype=np.int32)
    answer = engine.recommend(users, 20, NOW)
    assert answer.degraded == ()
    plain = engine.ranked(None, engine.parts.facts, engine.surfaces[HOME].model_copy(update={"ranker": None}))
    assert not np.array_equal(answer.candidates.rows, plain.recommend(users, 20, NOW).candidates.rows)
    # Scores are what LightGBM says of the same features.
    queries = [engine.resolver.known(state.user, state, NOW) for state in engine.users.states(users[:1])]
    head = plain.recommenders[HOME].retrieve(queries, 20).top(200)
    rows = features_of(engine.parts.ranker.features, queries, head, engine.parts)[0]
    sums = lgb.Booster(model_str=engine.parts.ranker.text).predict(rows, raw_score=True)
    card = engine.parts.ranker.card
    wanted = np.sort(sigmoid(card.slope * sums + card.offset))[::-1][:20]
    assert np.allclose(answer.candidates.scores[0], wanted, atol=1e-6)


def test_what_features_add_is_lightgbms_and_adds_up_to_the_score(outcome):
    engine = assemble(outcome.release, load)
    ranker = engine.parts.ranker
    (state,) = engine.users.states(np.array([5], np.int32))
    query = engine.resolver.known(state.user, state, NOW)
    answer = engine.recommenders[HOME].recommend([query], 20)
    rows, candidates = answer.candidates.rows[0], engine.recommenders[HOME].retrieve([query], 20)
    told = engine.recommenders[HOME].ranker.explain(query, candidates, rows)
    head = candidates.top(200)
    looked_at = features_of(ranker.features, [query], head, engine.parts)[0]
    at = [head.rows[0].tolist().index(row) for row in rows]
    wanted = lgb.Booster(model_str=ranker.text).predict(looked_at[at], pred_contrib=True)
    assert np.allclose(told, ranker.card.slope * wanted[:, :-1], atol=1e-9)
    _, without = ranker.explain(looked_at[at])
    assert np.allclose(sigmoid(told.sum(axis=1) + without), answer.candidates.scores[0], atol=1e-6)
    assert not engine.recommenders[HOME].ranker.explain(query, candidates, state_of_nobody(engine, head)).any()


def state_of_nobody(engine, head):
    """Items that are not among those that are put in order."""
    return np.setdiff1d(np.arange(len(engine.items), dtype=np.int32), head.rows[0])[:3]


def test_without_the_feature_that_is_named_first_the_score_falls(outcome):
    """Of ten users' lists; of one that moved an item down it rises."""
    engine = assemble(outcome.release, load)
    ranker, paths = engine.parts.ranker, paths_of(engine.parts.ranker.text)
    for state in engine.users.states(np.arange(10, dtype=np.int32)):
        query = engine.resolver.known(state.user, state, NOW)
        rows = engine.recommenders[HOME].recommend([query], 10).candidates.rows[0]
        head = engine.recommenders[HOME].retrieve([query], 10).top(200)
        looked_at = features_of(ranker.features, [query], head, engine.parts)[0]
        told = causes(engine, HOME, query, rows, 10)
        for row, why in zip(rows.tolist(), told, strict=True):
            assert 1 <= len(why) <= 5
            assert sum(abs(cause.share) for cause in why) <= 1 + 1e-6
            assert [abs(cause.share) for cause in why] == sorted((abs(cause.share) for cause in why), reverse=True)
            asked = looked_at[head.rows[0].tolist().index(row)][None]
            fall = ranker.trees.score(asked) - paths.without(asked, ranker.features.index(why[0].feature))
            assert np.sign(fall[0]) == np.sign(why[0].share)


def test_a_release_is_served_without_lightgbm(outcome):
    act = """
import sys, json
import numpy as np
from datetime import UTC, datetime
from pathlib import Path
from index import load
from recsys.assembly import assemble
from recsys.releases import ReleaseStore
engine = assemble(ReleaseStore(Path(sys.argv[1])).current(), load)
answer = engine.recommend(np.arange(3, dtype=np.int32), 20, datetime(2026, 11, 23, tzinfo=UTC))
assert answer.degraded == () and engine.parts.ranker
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""
    folder = str(outcome.release.folder.parent)
    done = subprocess.run([sys.executable, "-c", act, folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not {"lightgbm", "scipy", "pandas", "training"} & set(json.loads(done.stdout))


@pytest.mark.parametrize(
    ("forged", "sentence"),
    [
        (lambda card: {**card, "features": ["source-rank:bpr", *card["features"][1:]]}, "asks for source-rank:bpr"),
        (lambda card: {**card, "features": ["magic", *card["features"][1:]]}, "asks for magic"),
        (lambda card: {**card, "features": card["features"][1:]}, "features: one each was wanted"),
        (lambda card: {**card, "slope": "steep"}, "ranker.json: slope"),
    ],
)
def test_a_ranker_whose_features_do_not_match_the_release_is_refused_by_name(outcome, tmp_path, forged, sentence):
    shutil.copytree(outcome.release.folder, tmp_path / "copy")
    path = tmp_path / "copy/ranker/ranker.json"
    path.write_text(json.dumps(forged(json.loads(path.read_text()))))
    with pytest.raises(ReleaseDamaged, match=sentence):
        assemble(replace(outcome.release, folder=tmp_path / "copy"), load)


def test_a_release_falls_back_to_the_fusion_where_a_ranker_is_no_better(tmp_path):
    rng = np.random.default_rng(0)
    log = [f"u{rng.integers(40)},i{rng.integers(50)},{1_600_000_000 + 1000 * at}" for at in range(1200)]
    (tmp_path / "log.csv").write_text("\n".join(["user_id,item_id,time", *log]) + "\n")
    (tmp_path / "recsys.toml").write_text(
        '[data]\nevents = "log.csv"\n[state]\nurl = "memory://"\n[train]\nthreads = 1\n'
        "[gate]\nbeat_popularity = false\n[ranker]\ncuts = 1\nfolds = 2\ntrees = 5\nleast_rows = 5\n"
    )
    outcome = train(load_settings(tmp_path / "recsys.toml", {}), now=NOW, environ={})
    assert outcome.promoted
    told = outcome.release.manifest.metrics["ranker"]
    assert not told["used"]
    assert told["findings"]
    assert not (outcome.release.folder / "ranker").exists()
    console = Console(record=True, file=io.StringIO(), width=200)
    print_release(console, outcome.release)
    printed = console.export_text()
    assert "not used: the fusion's order is served" in printed
    assert told["findings"][0] in printed
    engine = assemble(outcome.release, load)
    assert engine.surfaces[HOME].ranker is None
    assert engine.parts.ranker is None

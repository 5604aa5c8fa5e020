"""The stages of a surface: what each of them is, what each is worth, and what the shortcuts of the whole cost."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from rich.console import Console

from benchmarks.cascade import CONFIGS, config_of
from benchmarks.cascade_plot import draw, draw_stages
from benchmarks.pipeline import judge_pipeline
from index.exact import Exact
from recsys.beyond_accuracy import Shown, coverage, shown_alone
from recsys.cascade import judge_stages, stages_of
from recsys.catalogue import Catalogue
from recsys.comparison import jackknife, loss
from recsys.datasets import DATASETS
from recsys.errors import SettingsError
from recsys.interactions import interactions_of
from recsys.pipeline import Recommender
from recsys.ranking import Card, Ranker
from recsys.retrieval import Parts, Query
from recsys.sections import Kind
from recsys.settings import load_settings
from recsys.splits import Split
from recsys.surfaces import Line, Surface, unseen
from recsys.terminal import print_stages
from recsys.vocabulary import Vocabulary
from training.models import model_of
from training.progress import Unwatched
from training.surfaces import check_surfaces

NOW = datetime(2026, 11, 26, tzinfo=UTC)
ITEMS = Vocabulary.of([f"item{row}" for row in range(6)])
USERS = Vocabulary.of(["ann", "bob"])
# Ann is nearest to items 1, 2, 3, 4, 5, in this order, and Bob to 5, 4, 3, 2, 1; both have seen item 0.
VECTORS = np.array([[9, 9], [5, 1], [4, 2], [3, 3], [2, 4], [1, 5]], np.float32)
POPULARITY = np.array([9, 2, 3, 8, 4, 1], np.float32)
CATALOGUE = Catalogue.of(
    pd.DataFrame({"item_id": ITEMS.ids(np.arange(6)), "artist": ["z", "a", "b", "x", "y", "x"]}), ITEMS
)
SOURCES = (Line(name="nearest", index="items"), Line(name="popular"))
SURFACE = unseen(*SOURCES, fusion=Line.model_validate({"name": "reciprocal-rank", "pool": 6}))
CAP = Line.model_validate({"name": "capped", "column": "artist", "at_most": 1})
CAPPED = SURFACE.model_copy(update={"steps": (CAP,)})


def log(*pairs):
    frame = pd.DataFrame(
        [(user, f"item{item}", "play") for user, item in pairs], columns=["user_id", "item_id", "kind"]
    )
    return interactions_of(frame, {"play": Kind()}, ITEMS, USERS)


SPLIT = Split(log(("ann", 0), ("bob", 0)), log(("ann", 1), ("bob", 5)), "by hand")


@dataclass(frozen=True)
class Blind:
    """An index that does not find one item."""

    index: Exact
    row: int
    backend: str = "blind"

    def search(self, queries, k, allowed=None):
        found = self.index.search(queries, k, allowed)
        return found.keep(found.rows != self.row).top(k)


@dataclass(frozen=True)
class Asked:
    """The two users with what is known of them, and a surface."""

    recommender: Recommender

    def recommend(self, users, k, now):
        vectors = np.eye(2, dtype=np.float32)
        queries = [Query(now=now, vector=vectors[user], seen=np.array([0], np.int32)) for user in users]
        return self.recommender.recommend(queries, k)


def asking(index, ranker=None):
    parts = Parts(6, {"items": index}, POPULARITY, {"items": VECTORS}, catalogue=CATALOGUE, ranker=ranker)
    return lambda surface: Asked(Recommender.of(surface, parts))


REST = ["popular alone", "nearest alone"]
EXACT = Exact.build(VECTORS)


def judged(surface, index=EXACT, exact=None, **more):
    ask = None if exact is None else asking(exact)
    return judge_stages(stages_of(surface), asking(index), SPLIT, np.random.default_rng(0), exact=ask, **more)


def at(rank):
    """NDCG of one relevant item at this rank."""
    return 1 / np.log2(rank + 1)


def test_the_stages_of_a_surface_end_in_the_whole():
    ranked = CAPPED.model_copy(
        update={
            "fusion": Line.model_validate({"name": "z-score", "weights": {"nearest": 1, "popular": 1}, "pool": 50}),
            "ranker": Line(name="learned"),
            "filters": (Line(name="seen"), Line(name="available")),
            "budget_ms": 5,
        }
    )
    found = {stage.name: stage for stage in stages_of(ranked, SURFACE)}
    assert {name: stage.kind for name, stage in found.items()} == {
        "nearest alone": "source",
        "popular alone": "source",
        "rank fusion": "fusion",
        "fusion by z-score": "fusion",
        "without the ranker": "fusion",
        "ranker": "ranker",
        "whole": "whole",
    }
    assert found["whole"].surface == ranked.model_copy(update={"budget_ms": None})
    assert found["nearest alone"].surface.sources == SOURCES[:1]
    assert found["rank fusion"].surface.fusion.model_extra == {"pool": 50}
    # Nothing but what was seen is taken out before the whole, and nothing moved.
    for name in found.keys() - {"whole"}:
        surface = found[name].surface
        assert [line.name for line in surface.filters] == ["seen"]
        assert (surface.steps, surface.budget_ms) == ((), None)
        assert (surface.ranker is None) == (name != "ranker")
    assert [stage.name for stage in stages_of(unseen(SOURCES[0]))] == ["nearest alone", "whole"]
    ladder = Surface(sources=(), filters=(Line(name="seen"),), ladder=(Line(name="popular"),))
    assert [stage.name for stage in stages_of(ladder)] == ["popular alone", "whole"]


def test_every_stage_has_the_figures_that_are_worked_out_by_hand():
    # Fused by rank, Ann's item 1 is second (1/61 + 1/64 behind item 3's 1/63 + 1/61); Bob's item 5 is third.
    fused = (at(2) + at(3)) / 2
    found = judged(CAPPED, vectors=np.eye(6, dtype=np.float32))
    rows = {row["stage"]: row for row in found["rows"]}
    wanted = {
        "nearest alone": 1.0,
        "popular alone": (at(4) + at(5)) / 2,
        "rank fusion": fused,
        # Items 3 and 5 are of one artist: Bob loses his.
        "whole": at(2) / 2,
    }
    assert {name: row["ndcg@10"]["mean"] for name, row in rows.items()} == pytest.approx(wanted, abs=1e-6)
    assert found["users"] == 2
    assert found["best_source"] == "nearest alone"
    assert found["gain"] == rows["whole"]["less"]["nearest alone"]
    assert found["gain"]["ndcg@10"]["mean"] == pytest.approx(at(2) / 2 - 1, abs=1e-6)
    # Of two users the interval reaches from the one's difference to the other's.
    assert found["gain"]["ndcg@10"]["low"] == pytest.approx(-1, abs=1e-6)
    assert found["gain"]["ndcg@10"]["high"] == pytest.approx(at(2) - 1, abs=1e-6)
    assert set(rows["rank fusion"]["less"]) == {"nearest alone"}
    assert set(rows["whole"]["less"]) == {"nearest alone", "rank fusion"}
    assert rows["rank fusion"]["coverage@20"]["mean"] == pytest.approx(5 / 6, abs=1e-6)
    assert rows["whole"]["coverage@20"]["mean"] == pytest.approx(4 / 6, abs=1e-6)
    assert rows["rank fusion"]["recall@20"]["mean"] == 1
    assert rows["whole"]["recall@20"]["mean"] == 0.5
    # No two of these vectors are alike.
    assert rows["whole"]["diversity@20"] == {"mean": 1, "low": 1, "high": 1}
    json.dumps(found, allow_nan=False)


def test_a_rule_that_takes_hits_away_is_a_loss_and_an_exact_pipeline_without_rules_has_none():
    lost = judged(CAPPED)["loss"]
    fused = (at(2) + at(3)) / 2
    assert lost["share"] == pytest.approx(1 - at(2) / 2 / fused, abs=1e-6)
    assert lost["by"] == pytest.approx({"rules": lost["share"], "search": 0, "candidates": 0}, abs=2e-6)
    assert (lost["served"], lost["exact"]) == pytest.approx((at(2) / 2, fused), abs=1e-6)
    assert lost["low"] <= lost["share"] <= lost["high"]
    none = judged(SURFACE)["loss"]
    assert (none["share"], none["low"], none["high"]) == (0, 0, 0)
    assert none["by"] == {"rules": 0, "search": 0, "candidates": 0}


def test_what_an_index_does_not_find_is_told_apart_from_rules():
    alone = unseen(SOURCES[0])
    lost = judged(alone, index=Blind(EXACT, 5), exact=EXACT)["loss"]
    # Of nearest alone Bob gets his item first; without it the ladder brings it last, at rank 5.
    assert lost["share"] == pytest.approx(1 - (1 + at(5)) / 2, abs=1e-6)
    assert lost["by"] == pytest.approx({"rules": 0, "search": lost["share"], "candidates": 0}, abs=2e-6)


def ranker_by(feature, sign):
    """One that orders candidates by a rank, the first or the last one first."""
    ranks = np.repeat(np.arange(1.0, 7), 50)[:, None]
    options = {"objective": "regression", "min_data_in_leaf": 1, "num_leaves": 8, "verbosity": -1, "num_threads": 1}
    booster = lgb.train(options, lgb.Dataset(ranks, sign * ranks[:, 0]), 40)
    return Ranker.of(booster.model_to_string(), Card(features=(feature,), slope=1.0, offset=0.0))


@pytest.mark.parametrize(
    ("ranker", "reached", "served", "refused"),
    [
        (ranker_by("source-rank:nearest", -1), 1, 1, []),
        (ranker_by("fusion-rank", 1), (at(4) + at(3)) / 2, (at(2) + at(3)) / 2, ["rank fusion", "without the ranker"]),
    ],
    ids=["better", "worse"],
)
def test_the_whole_goes_without_a_ranker_that_does_not_beat_the_fusions(ranker, reached, served, refused):
    surface = SURFACE.model_copy(update={"ranker": Line(name="learned")})
    found = judge_stages(
        stages_of(surface, SURFACE), asking(EXACT, ranker), SPLIT, np.random.default_rng(0), without=SURFACE
    )
    rows = {row["stage"]: row["ndcg@10"]["mean"] for row in found["rows"]}
    assert (rows["ranker"], rows["whole"]) == pytest.approx((reached, served), abs=1e-6)
    assert found["refused"] == refused
    assert found["loss"]["share"] == 0
    console = Console(record=True, width=200)
    print_stages(console, found)
    assert ("the ranker is not above rank fusion and without the ranker" in console.export_text()) == bool(refused)


def test_stages_without_a_whole_are_refused():
    with pytest.raises(ValueError, match="sources and last a whole are wanted"):
        judge_stages(stages_of(SURFACE)[:-1], asking(EXACT), SPLIT, np.random.default_rng(0))


def test_nobody_to_judge_by_gives_no_figures():
    nobody = Split(SPLIT.train, SPLIT.train, "nothing new")
    found = judge_stages(stages_of(SURFACE), asking(EXACT), nobody, np.random.default_rng(0))
    assert found["users"] == 0
    assert found["gain"]["ndcg@10"] == {"mean": None, "low": None, "high": None}
    assert (found["loss"]["share"], found["loss"]["exact"]) == (None, None)
    json.dumps(found, allow_nan=False)
    print_stages(Console(record=True), found)


def test_the_table_shows_every_stage_the_gain_and_the_loss():
    console = Console(record=True, width=200)
    print_stages(console, judged(CAPPED))
    text = console.export_text()
    for said in ("nearest alone", "popular alone", "rank fusion", "whole − nearest alone: ndcg@10 -0.6845 [-1.0000, "):
        assert said in text
    assert "lost of ndcg@10 against exact, unfiltered scoring: +44.2" in text
    assert "by rules +44.2" in text


def shop(folder, users, ranker):
    """A configuration over a log without times, of tastes in four parts of 40 items."""
    rng = np.random.default_rng(0)
    rows = [
        (f"user{user}", f"item{item}")
        for user in range(users)
        for item in rng.choice(40, 12, replace=False, p=np.where(np.arange(40) % 4 == user % 4, 0.08, 0.02 / 3))
    ]
    pd.DataFrame(rows, columns=["user_id", "item_id"]).to_csv(folder / "events.csv", index=False)
    (folder / "recsys.toml").write_text(
        'data = { events = "events.csv" }\ntrain = { threads = 1 }\nindex = { backend = "exact" }\n'
        '[model]\nname = "als"\nfactors = 8\n'
        f'[surfaces.home]\nsteps = [{{ name = "diverse", weight = 0.3 }}]\n[ranker]\n{ranker}\n'
    )
    return load_settings(folder / "recsys.toml", {})


def test_a_configuration_is_judged_stage_by_stage_with_what_is_served_of_it(tmp_path):
    settings = shop(tmp_path, 300, "cuts = 2\nfolds = 2\ntrees = 10\nleast_rows = 20\npool = 50\ndepth = 40")
    found = judge_pipeline(settings, now=NOW, environ={}, watcher=Unwatched())
    stages = found["stages"]
    names = ["nearest alone", "popular alone", "rank fusion", "without the ranker", "ranker", "whole"]
    assert [row["stage"] for row in stages["rows"]] == names
    assert stages["best_source"] == "nearest alone"
    assert stages["ranker"]["trees"] >= 1
    # What no log without times tells is in no tree.
    assert not any(stages["ranker"]["importance"].get(name, 0) for name in ("lately", "trend", "age", "hour", "idle"))
    rows = {row["stage"]: row for row in stages["rows"]}
    beaten = [rows["ranker"]["less"][name]["ndcg@10"]["low"] > 0 for name in ("rank fusion", "without the ranker")]
    assert bool(stages["refused"]) != all(beaten)
    pipeline = next(row for row in found["rows"] if row["model"] == "pipeline")
    assert pipeline["ndcg@10"] == pytest.approx(rows["whole"]["ndcg@10"]["mean"], abs=2e-6)
    assert rows["whole"]["diversity@20"]["mean"] > rows["without the ranker"]["diversity@20"]["mean"]
    assert stages["loss"]["by"]["rules"] != 0


def test_where_no_ranker_can_be_learned_the_stages_say_why(tmp_path):
    settings = shop(tmp_path, 20, "cuts = 1\nfolds = 15\ntrees = 5\nusers = 10")
    stages = judge_pipeline(settings, now=NOW, environ={}, watcher=Unwatched())["stages"]
    assert [row["stage"] for row in stages["rows"]] == ["nearest alone", "whole"]
    assert "too few to learn an order from in 15 folds" in stages["ranker"]["findings"][0]


def test_stages_are_drawn_by_what_they_are_above_the_best_source():
    document = {**judged(CAPPED), "dataset": "by hand"}
    axes = Figure().subplots()
    draw_stages(axes, document)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["whole", "rank fusion", *REST]
    dots = {round(float(dot.get_offsets()[0][1])): dot.get_offsets()[0][0] for dot in axes.collections}
    # The best source is where all others are measured from; what is below half of it stands there in numbers.
    assert dots == pytest.approx({1: (at(2) + at(3)) / 2 - 1, 3: 0}, abs=1e-6)
    assert [text.get_text() for text in axes.texts] == ["◂ -0.685", "◂ -0.591"]


def test_documents_become_one_picture(tmp_path):
    document = {**judged(CAPPED), "dataset": "by hand"}
    draw([document] * 4, tmp_path / "new" / "stages.png")
    assert (tmp_path / "new" / "stages.png").read_bytes().startswith(b"\x89PNG")


def test_coverage_is_as_sure_as_what_single_users_bring_to_it():
    shown = Shown(np.array([[0, 1], [1, 2], [3, 3]], np.int32), items=10)
    # Items 0, 2 and 3 each stand in one list only, the last one twice in it.
    lost = shown_alone(shown, 2)
    assert lost.tolist() == [0.1, 0.1, 0.1]
    without = [coverage(Shown(np.delete(shown.rows, user, axis=0), items=10), 2) for user in range(3)]
    assert without == pytest.approx(coverage(shown, 2) - lost)


def test_the_jackknife_of_a_mean_is_its_usual_interval():
    values = np.array([1.0, 4.0, 2.0, 9.0, 3.0])
    lost = values.mean() - np.array([np.delete(values, user).mean() for user in range(5)])
    found = jackknife(values.mean(), lost)
    half = 1.959964 * values.std(ddof=1) / np.sqrt(5)
    assert (found.mean, found.low, found.high) == pytest.approx(
        (values.mean(), values.mean() - half, values.mean() + half), abs=1e-5
    )
    assert np.isnan(jackknife(0.5, np.array([0.5])).low)


def test_the_share_that_is_lost_is_that_of_the_means():
    rng = np.random.default_rng(0)
    found = loss(np.array([0.5, 0.25, np.nan]), np.array([1.0, 0.5, 0.7]), rng)
    assert (found.mean, found.low, found.high) == (0.5, 0.5, 0.5)
    more = loss(np.array([1.0, 0.0, 0.5]), np.array([0.5, 0.5, 0.0]), rng)
    assert more.mean == -0.5
    assert more.low < -0.5 < more.high
    assert np.isnan(loss(np.ones(2), np.zeros(2), rng).mean)


@pytest.mark.parametrize("file", sorted(CONFIGS.glob("*.toml")), ids=lambda file: file.stem)
def test_every_configuration_of_a_cascade_is_one_of_a_known_data_set(file):
    settings = config_of(file.stem)
    assert settings.data.dataset == file.stem
    assert file.stem in DATASETS
    assert settings.ranker is not None
    model_of(settings.model)
    check_surfaces(settings.surfaces, ranks=True)


def test_a_data_set_without_a_configuration_is_refused():
    with pytest.raises(SettingsError, match="unknown data set with a cascade 'ml-99k', choose one of"):
        config_of("ml-99k")

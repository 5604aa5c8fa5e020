"""Comparing models: how data sets are split, what is measured of each, rows, intervals and tests."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from rich.console import Console

from benchmarks.measuring import ACCURACY, Measured, compared, measure
from benchmarks.models import CONFIGS, SETTINGS, compare, configs_of
from benchmarks.protocols import PROTOCOLS, split_of
from benchmarks.published import PUBLISHED, published
from benchmarks.speed import run
from recsys.catalogue import Catalogue
from recsys.datasets import DATASETS, load
from recsys.errors import RecsysError, SettingsError, UnknownDataset
from recsys.evaluation import parse
from recsys.interactions import interactions_of
from recsys.terminal import print_rows
from training.models import MODELS
from training.progress import Unwatched


@pytest.fixture(scope="module")
def environ(data_folder):
    return {**os.environ, "RECSYS_DATA": str(data_folder)}


@pytest.fixture(scope="module")
def document(environ):
    return compare("ml-100k", ("als", "popular"), Unwatched(), environ=environ)


def test_models_are_compared_in_processes_of_their_own(document):
    best, other = document["rows"]
    assert document["dataset"] == "ml-100k"
    assert document["split"].startswith("in time")
    assert (best["model"], best["kind"]) == ("als", "vector")
    assert (other["model"], other["kind"]) == ("popular", "baseline")
    assert document["failed"] == {}
    assert document["published"] == []
    json.dumps(document, allow_nan=False)
    for row in document["rows"]:
        assert set(ACCURACY) <= row.keys()
        assert 50 < row["baseline_mb"] <= row["peak_mb"] < 2000
        low, high = row["intervals"]["ndcg@20"]
        assert low < row["ndcg@20"] < high
        assert [point["share"] for point in row["curve"]] == [0.1, 0.25, 0.5, 1.0]
        assert row["curve"][-1]["ndcg@20"] == row["ndcg@20"]


def test_costs_are_those_of_what_is_served(document):
    als, popular = document["rows"]
    assert als["bytes_item"] == als["bytes_user"] == 4 * als["config"]["factors"]
    assert popular["bytes_user"] == 0
    assert als["fit_s"] > popular["fit_s"]
    assert als["ms_user"] > 0


def test_each_is_tested_against_the_best_single_model(document):
    als, popular = document["rows"]
    assert "against" not in als
    assert popular["against"]["model"] == "als"
    found = popular["against"]["ndcg@20"]
    assert found["difference"] == pytest.approx(popular["ndcg@20"] - als["ndcg@20"], abs=2e-6)
    assert found["low"] < found["difference"] < found["high"]
    assert 0 < found["p"] <= 1


def test_the_table_has_published_rows_between_the_measured_ones(document):
    console = Console(record=True, width=200)
    line = {"model": "Paper", "ndcg@20": 0.32, "recall@20": 0.2, "source": "Somebody (2020)"}
    print_rows(console, {**document, "published": [line], "failed": {"late": "memory ran out"}})
    text = console.export_text()
    assert text.index(" als ") < text.index("Paper") < text.index(" popular ")
    assert "Somebody (2020)" in text
    assert "late could not be measured: memory ran out" in text


def row(name, kind, values):
    values = np.array(values)
    return Measured({"model": name, "kind": kind, "ndcg@20": float(values.mean())}, {"ndcg@20": values})


def test_a_blend_is_compared_with_the_best_single_model_and_not_with_itself():
    measured = [row("a", "vector", [0.1, 0.2]), row("mix", "blend", [0.5, 0.6]), row("b", "item-item", [0.2, 0.3])]
    rows = compared(measured, None, np.random.default_rng(0))
    assert [found["model"] for found in rows] == ["mix", "b", "a"]
    assert [found.get("against", {}).get("model") for found in rows] == ["b", None, "b"]
    assert compared([], None, np.random.default_rng(0)) == []


def test_a_model_that_fails_does_not_stop_the_others(environ, tmp_path):
    (tmp_path / "ml-100k").mkdir()
    (tmp_path / "ml-100k/popular.toml").write_text('[model]\nname = "popular"\n')
    # No vectors of finite numbers come out of this.
    (tmp_path / "ml-100k/wild.toml").write_text(
        '[model]\nname = "als"\nregularization = 0.0\nalpha = 1e38\niterations = 3\n'
    )
    found = compare("ml-100k", (), Unwatched(), environ=environ, folder=tmp_path)
    assert [one["model"] for one in found["rows"]] == ["popular"]
    assert "NaN" in found["failed"]["wild"]
    with pytest.raises(RecsysError, match=r"none of 1 models could be measured on ml-100k; wild: .*NaN"):
        compare("ml-100k", ("wild",), Unwatched(), environ=environ, folder=tmp_path)


@pytest.mark.parametrize("folder", sorted(CONFIGS.iterdir()), ids=lambda folder: folder.name)
def test_every_configuration_is_a_model_of_a_known_data_set(folder):
    assert folder.name in DATASETS
    assert configs_of(folder.name)


def test_configurations_that_cannot_be_are_refused(tmp_path):
    with pytest.raises(UnknownDataset, match="unknown data set 'ml-99k', choose one of"):
        configs_of("ml-99k")
    with pytest.raises(SettingsError, match=r"put a file NAME.toml with a \[model\] table into"):
        configs_of("ml-100k", folder=tmp_path)
    with pytest.raises(SettingsError, match="unknown model configuration 'alt', choose one of als, "):
        configs_of("ml-100k", ("alt",))
    (tmp_path / "ml-100k").mkdir()
    file = tmp_path / "ml-100k/bad.toml"
    for text, said in (
        ("factors = 3", "bad.toml must be TOML with a .model. table"),
        ('[model]\nname = "als"\nfactor = 3', "bad.toml: .*factor: unknown key"),
        ('[model]\nname = "als"\nregularization = -1', "bad.toml: .*regularization"),
    ):
        file.write_text(text)
        with pytest.raises(SettingsError, match=said):
            configs_of("ml-100k", folder=tmp_path)


@pytest.mark.parametrize("dataset", ["ml-100k", "s3rec-beauty", "lastfm-2k", "diginetica"])
def test_a_protocol_leaves_something_on_both_sides_and_no_pair_on_both(dataset, environ):
    split = split_of(load(dataset, environ))
    assert len(split.train)
    assert len(split.test)
    # What is judged is what was not known: the same event never stands on both sides.
    assert len(split.known) + len(split.test) <= DATASETS[dataset].events + DATASETS[dataset].tests


def test_sessions_are_folded_in_and_never_trained_on(environ):
    split = split_of(load("diginetica", environ))
    assert not np.isin(split.test.user, split.train.user).any()
    assert np.isin(split.fold_in.user, split.test.user).mean() > 0.5
    assert (np.bincount(split.test.user) <= 1).all()


def test_protocols_and_published_rows_speak_of_what_exists():
    assert set(PROTOCOLS) <= set(DATASETS)
    for lines in PUBLISHED.values():
        for line in lines:
            assert line.source
            assert all(0 < value < 1 and parse(metric) for metric, value in line.values.items())
    assert max(line.values["ndcg@20"] for line in published("gowalla")) == 0.1597
    assert published("ml-100k") == ()


def test_what_is_asked_for_is_what_is_measured(environ):
    log = load("ml-100k", environ)
    split = split_of(log)
    items = interactions_of(log.events, log.kinds).items
    told = []
    found = measure(
        "popular", MODELS["popular"](), split, Catalogue.of(None, items), SETTINGS, metrics=("mrr@5", "gini@5"),
        progress=told.append,
    )  # fmt: skip
    assert "recall@20" not in found.row
    assert list(found.values) == ["mrr@5"]
    assert 0 < found.row["gini@5"] < 1
    assert told[-1] == 1
    assert told == sorted(told)


def test_an_unknown_benchmark_of_speed_is_refused():
    with pytest.raises(
        SettingsError,
        match="unknown benchmark 'lop', choose one of als, cells, content, evaluation, loop, pages, ranker, ",
    ):
        run(("lop",), None)


def recsys(*arguments, cwd, environ):
    return subprocess.run(
        [sys.executable, "-m", "recsys", *arguments], cwd=cwd, env=environ, capture_output=True, text=True
    )


def test_evaluate_gives_the_figures_that_train_gives(home, environ):
    shown = json.loads(recsys("release", "show", "--json", cwd=home, environ=environ).stdout)["metrics"]
    done = recsys("evaluate", "--json", cwd=home, environ=environ)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    rows = {found["model"]: found for found in document["rows"]}
    for system in ("pipeline", "popularity"):
        for segment in ("all", "warm", "cold"):
            ours, theirs = rows[system]["users"]["ndcg@10"][segment], shown[system]["ndcg@10"][segment]
            # Threads add up in another order each time.
            assert ours == pytest.approx(theirs, abs=0.01)
    assert rows["pipeline"]["against"]["model"] == "popularity"
    stages = document["stages"]
    assert (document["surface"], stages["best_source"]) == ("home", "nearest alone")
    assert [(row["stage"], row["kind"]) for row in stages["rows"]] == [("nearest alone", "source"), ("whole", "whole")]
    for row in stages["rows"]:
        for metric in ("ndcg@10", "recall@20", "coverage@20", "novelty@20", "diversity@20"):
            assert row[metric]["low"] < row[metric]["mean"] < row[metric]["high"]
    assert stages["rows"][-1]["ndcg@10"]["mean"] == pytest.approx(rows["pipeline"]["ndcg@10"], abs=1e-6)
    assert set(stages["loss"]) == {"metric", "users", "reach", "served", "exact", "share", "low", "high", "by"}
    assert abs(stages["loss"]["share"]) <= 0.02


def test_evaluate_prints_segments_and_takes_a_split_and_metrics(tmp_path, environ):
    (tmp_path / "recsys.toml").write_text('[model]\nname = "popular"\n')
    options = ("--split", "at-random", "--test-share", "0.3", "--metrics", "ndcg@5,recall@5,coverage@5")
    options += ("--report", "report.html")
    done = recsys("evaluate", *options, cwd=tmp_path, environ={**environ, "COLUMNS": "160"})
    assert done.returncode == 0, done.stderr
    assert "at random: 30% test" in done.stdout
    for said in (
        "few items",
        "never seen in training",
        "coverage@5",
        "pipeline − popularity: ndcg@5 0.0000",
        "whole − popular alone: ndcg@10 +0.0000",
    ):
        assert said in done.stdout
    assert not (tmp_path / "var").exists()
    page = (tmp_path / "report.html").read_text("utf-8")
    for said in ("<figcaption>Stage by stage</figcaption>", "<h3>Stage by stage</h3>", "whole less popular alone"):
        assert said in page
    assert "Surface home. Against exact, unfiltered scoring the whole has" in page


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("evaluate", "--metrics", "ndgc@10"), 2, "unknown metric 'ndgc@10'"),
        (("evaluate", "--split", "in-tme"), 1, "unknown split 'in-tme', choose one of at-random, "),
        (("evaluate", "--split", "published"), 1, "comes without a published test part"),
        (("evaluate", "--surface", "hom"), 1, "unknown surface 'hom', choose one of home, "),
        (("evaluate", "--test-share", "1"), 2, "it is 1, wanted more than 0 and less than 1"),
        (("bench", "models", "ml-99k"), 1, "unknown data set 'ml-99k'"),
        (("bench", "speed", "lop"), 1, "unknown benchmark 'lop'"),
    ],
)
def test_what_cannot_be_measured_is_said_in_a_sentence(arguments, code, said, tmp_path, environ):
    done = recsys(*arguments, cwd=tmp_path, environ={**environ, "COLUMNS": "200"})
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == "" or "published" in arguments

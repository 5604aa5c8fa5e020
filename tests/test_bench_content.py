"""What content is worth: how data sets are parted, that systems stand on the ladder, and the command."""

import json

import matplotlib.image
import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from benchmarks.cold import PARTED, parts_of
from benchmarks.content import CONFIGS, config_of, keep, measure
from benchmarks.content_plots import main as draw
from benchmarks.ladder import Chance, _ranks, _turns
from recsys.cli import app
from recsys.datasets import load
from recsys.errors import SettingsError
from recsys.evaluation import Report
from recsys.metrics import Judged, Ranks, auc
from recsys.terminal import print_ladder
from training.progress import Unwatched

SMALL = """
[model]
name = "svd"
factors = 16
[encoder]
name = "tags"
columns = ["keywords", "genres"]
width = 32
[maps]
linear = { name = "ridge" }
[ablation.genres]
name = "tags"
columns = ["genres"]
[curve]
takers = [0, 2]
least = 20
kappas = [3]
"""


@pytest.fixture(scope="module")
def environ(data_folder):
    return {"RECSYS_DATA": str(data_folder)}


@pytest.fixture(scope="module")
def document(environ, tmp_path_factory):
    folder = tmp_path_factory.mktemp("configs")
    (folder / "ml-latest-small.toml").write_text(SMALL)
    return measure("ml-latest-small", Unwatched(), environ=environ, folder=folder)


def test_systems_stand_on_the_ladder(document):
    rows = {row["system"]: row for row in document["rows"]}
    assert list(rows) == ["random", "popular", "cf-only", "content-only", "linear", "pipeline", "oracle"]
    cold = {name: row["cold_ndcg@20"] for name, row in rows.items()}
    assert cold["random"] + 0.05 < cold["linear"] < cold["oracle"] - 0.2
    assert rows["cf-only"]["overall_cold_recall@20"] == 0
    assert rows["random"]["cold_auc"] == pytest.approx(0.5, abs=0.03)
    assert rows["oracle"]["cold_auc"] > 0.9
    assert rows["random"]["warm_ndcg@20"] < 0.05 < rows["cf-only"]["warm_ndcg@20"]
    for row in rows.values():
        low, high = row["interval"]
        assert low < row["cold_ndcg@20"] < high
        assert row["cold_recall@20"] < row["cold_recall@100"]
        assert row["fit_s"] >= 0
    assert document["counts"]["cold_items_without_content"] < document["counts"]["cold_items"]


def test_an_item_that_gets_takers_is_learned(document):
    before, after = document["curve"]
    assert (before["takers"], after["takers"]) == (0, 2)
    assert before["learned"] < before["predicted"]
    assert after["learned"] > before["learned"]
    assert before["κ = 3"] == before["predicted"]


def test_the_document_is_kept_printed_and_drawn(document, tmp_path):
    keep(document, tmp_path / "new")
    assert json.loads((tmp_path / "new/content-ml-latest-small.json").read_text("utf-8")) == document
    console = Console(record=True, width=200)
    print_ladder(console, {**document, "published": [{"model": "Paper", "ndcg@20": 0.12, "source": "Somebody"}]})
    text = console.export_text()
    for said in (" oracle ", "genres", "published: Paper 0.120", document["parts"]):
        assert said in text
    draw(str(tmp_path / "new"), str(tmp_path))
    for name in ("ladders", "curve"):
        assert matplotlib.image.imread(tmp_path / f"content-{name}.png")[..., :3].std() > 0.05


@pytest.mark.parametrize("dataset", ["lastfm-2k", "spotify-songs"])
def test_what_is_judged_as_cold_was_learned_from_by_nobody(dataset, environ):
    log = load(dataset, environ)
    test, vali = (parts_of(log, validation=validation) for validation in (False, True))
    for parts in (test, vali):
        assert not parts.takers[parts.cold.item].any()
        assert parts.takers[parts.warm.item].all()
        assert parts.judged[parts.cold.item].all()
        assert not parts.takers[parts.judged].any()
    if dataset == "spotify-songs":
        assert not np.intersect1d(test.cold.user, [*test.train.user, *vali.cold.user]).size
    else:
        assert not (test.judged & vali.judged).any()


def test_every_configuration_can_be_made_and_has_its_data_set():
    for file in CONFIGS.glob("*.toml"):
        assert "linear" in config_of(file.stem).maps
        assert file.stem in PARTED


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[maps]", "model: Field required"),
        (SMALL.replace("svd", "sdv"), "unknown model 'sdv'"),
        (SMALL.replace("ridge", "rigde"), "unknown map 'rigde'"),
        (SMALL.replace("blend", "") + "\n[extra]", "extra"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused_before_anything_is_read(text, said, tmp_path):
    (tmp_path / "lastfm-2k.toml").write_text(text)
    with pytest.raises(SettingsError, match=said):
        config_of("lastfm-2k", tmp_path)


def test_what_is_not_listed_shares_the_ranks_behind_the_list():
    rows = np.array([[4, 2, -1, -1]], np.int32)
    report = Report(
        users=np.zeros(1, np.int32), rows=rows, judged=Judged(np.array([[True, False, False, False]]), np.array([2])),
        values={}, catalogue={}, segments={}, by_popularity={}, seconds=0.0,
    )  # fmt: skip
    found = _ranks(report, np.array([4]))
    whole = Ranks.of(
        np.array([[2, 1, 0, 0]], np.float32), np.array([[True, False, True, False]]), np.zeros((1, 4), bool)
    )
    assert sorted(found.rank) == sorted(whole.rank) == [1, 3.5]
    assert auc(found) == auc(whole)


def test_turns_number_the_events_of_each_item():
    items = np.array([3, 1, 3, 3, 1], np.int32)
    turns = _turns(items, np.random.default_rng(0))
    assert sorted(turns[items == 3]) == [0, 1, 2]
    assert sorted(turns[items == 1]) == [0, 1]


def test_chance_answers_only_what_is_allowed_and_not_taken(environ):
    parts = parts_of(load("ml-latest-small", environ))
    taken = parts.train.seen()
    answer = Chance(taken, parts.judged, np.random.default_rng(0)).recommend(np.arange(5, dtype=np.int32), 30, None)
    assert parts.judged[answer.candidates.rows].all()
    assert len(np.unique(answer.candidates.rows[0])) == 30


def test_the_command_says_what_there_is():
    for name in ("gowalla", "nowhere"):
        done = CliRunner().invoke(app, ["bench", "content", name])
        assert done.exit_code != 0
        assert "choose one of citeulike-a" in str(done.exception) + done.output

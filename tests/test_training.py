"""From a log to a promoted release, and every way in which that must not happen."""

import shutil
from datetime import UTC, datetime

import numpy as np
import pytest

from index import load
from recsys.assembly import assemble
from recsys.errors import Busy, DataError, DataRefused, SettingsError, TrainingError
from recsys.mapping import load_mapped
from recsys.releases import ReleaseStore
from recsys.retrieval import Query
from recsys.sections import Gate
from recsys.settings import load_settings
from training.gate import judge
from training.run import train

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
T0 = 1_600_000_000


def configured(folder, rows, more="", header="user_id,item_id,time"):
    (folder / "log.csv").write_text("\n".join([header, *rows]) + "\n")
    text = '[data]\nevents = "log.csv"\n[state]\nurl = "memory://"\n[train]\nthreads = 1\n' + more
    (folder / "recsys.toml").write_text(text)
    return load_settings(folder / "recsys.toml", {})


def trained(settings, **options):
    return train(settings, now=NOW, environ={}, **options)


def taste(users=12, items=12):
    """Even users take even items, odd ones odd."""
    return [f"u{u},i{i},{T0 + 1000 * i + u}" for u in range(users) for i in range(items) if u % 2 == i % 2 and i != u]


def engine_of(outcome):
    return assemble(outcome.release, load)


def test_a_small_log_becomes_a_release_that_knows_tastes(tmp_path):
    outcome = trained(configured(tmp_path, taste(), "[gate]\nbeat_popularity = false\n"))
    assert (outcome.promoted, outcome.states) == (True, 0)
    manifest = outcome.release.manifest
    assert manifest.counts == {"users": 12, "items": 12, "events": 60}
    assert manifest.lineage["data"]["window"][0].startswith("2020-09-13")
    assert manifest.lineage["config"]["model"]["factors"] == 32
    engine = engine_of(outcome)
    (state,) = engine.users.find(["u2"])
    answer = engine.recommenders["home"].recommend([engine.resolver.known("u2", state, NOW)], 1)
    assert engine.items.ids(answer.candidates.rows[0]) == ["i2"]


def test_one_thread_and_one_seed_give_the_same_vectors(tmp_path):
    settings = configured(tmp_path, taste(), "[gate]\nbeat_popularity = false\n")
    one, same = trained(settings), trained(settings)
    assert one.release.id != same.release.id
    for name in ("items/vectors.npy", "users/vectors.npy", "items/directions.npy"):
        assert np.array_equal(load_mapped(one.release.folder / name), load_mapped(same.release.folder / name))
    assert one.release.manifest.lineage["data"] == same.release.manifest.lineage["data"]


def test_neighbours_that_are_remembered_give_the_list_that_searching_gives(tmp_path):
    surface = '[surfaces.home]\nsources = [{ name = "similar-to-recent", last = 2, each = 6 }]\n'
    lists = []
    for remembered in (0, 6):
        index = f'[index]\nbackend = "exact"\nremembered = {remembered}\n'
        outcome = trained(configured(tmp_path, taste(), f"[gate]\nbeat_popularity = false\n{index}{surface}"))
        there = [path.parent.name for path in outcome.release.folder.glob("indexes/*/remembered")]
        assert there == (["similar"] if remembered else []), "users ask the other one"
        assert outcome.release.manifest.indexes["similar"]["remembered"] == remembered
        engine = engine_of(outcome)
        queries = [engine.resolver.known(state.user, state, NOW) for state in engine.users.find(["u2", "u7"])]
        lists.append(engine.recommenders["home"].recommend(queries, 8).candidates)
    searched, known = lists
    assert np.array_equal(known.rows, searched.rows)
    assert searched.filled[:, :3].all()


@pytest.mark.parametrize(
    ("index", "said"),
    [
        ('backend = "hsnw"', "unknown index backend 'hsnw', choose one of annoy, auto, exact"),
        ("remembered = -1", "remembered = -1: a number of neighbours was wanted, 0 for none"),
        ("remembered = true", "remembered = True: a number of neighbours was wanted"),
        ("probes = 3", r"auto cannot be built with \{'probes': 3\}"),
        ('backend = "exact"\nrng = 3', r"exact cannot be built with \{'rng': 3\}"),
        ("target = 0.9", r"auto cannot be built with \{'target': 0.9\}"),
    ],
)
def test_an_index_that_cannot_be_is_refused_before_anything_is_learned(tmp_path, monkeypatch, index, said):
    monkeypatch.setattr("training.run.learn", lambda *_: pytest.fail("a model was learned first"))
    with pytest.raises(SettingsError, match=said):
        trained(configured(tmp_path, taste(), f"[index]\n{index}\n"))
    assert not (tmp_path / "var/releases").exists()


def test_an_engine_from_files_answers_as_the_state_that_was_written(home, settings):
    engine = assemble(ReleaseStore(settings.releases.folder).current(), load)
    (state,) = engine.users.find(["196"])
    personal = engine.resolver.known("196", state, NOW)
    ids = engine.items.ids(engine.items.rows_of_keys(state.seen))
    weights = engine.users.history.weights[engine.users.history.indptr[engine.users.ids.rows(["196"])[0]] :][: len(ids)]
    folded = engine.resolver.anonymous(ids, np.asarray(weights), NOW)
    # The whole history folded in is the vector that was published: API, batch and fold-in agree.
    assert np.allclose(personal.vector, folded.vector, rtol=1e-3, atol=1e-5)


def test_als_beats_popularity_on_the_time_split_of_ml_100k(settings):
    metrics = ReleaseStore(settings.releases.folder).current().manifest.metrics
    for segment in ("all", "warm"):
        assert metrics["pipeline"]["ndcg@10"][segment] > metrics["popularity"]["ndcg@10"][segment]
    # Popularity depends on nothing but the loader, the split and the metric.
    assert metrics["popularity"]["ndcg@10"]["all"] == pytest.approx(0.3402, abs=5e-4)


def test_a_poor_index_is_refused_and_the_old_release_stays(tmp_path, home):
    shutil.copytree(home / "var/releases", tmp_path / "var/releases")
    (tmp_path / "recsys.toml").write_text(
        '[state]\nurl = "memory://"\n[index]\nbackend = "faiss-ivf"\ncells = 8\nprobes = 1\n'
    )
    settings = load_settings(tmp_path / "recsys.toml", {})
    store = ReleaseStore(settings.releases.folder)
    before = store.current_id()
    outcome = trained(settings)
    assert not outcome.promoted
    assert any("recall@100 of index 'items'" in finding for finding in outcome.release.manifest.gate.findings)
    assert store.current_id() == before
    forced = trained(settings, force=True)
    assert forced.promoted
    assert forced.release.manifest.gate.forced
    assert store.current_id() == forced.release.id
    assert store.promotions()[-1]["forced"]


def test_the_gate_compares_with_both_numbers():
    metrics = {"pipeline": {"ndcg@10": {"all": 0.1}}, "popularity": {"ndcg@10": {"all": 0.2}}}
    indexes = {"items": {"recall": {"100": 0.9}}}
    report = judge(Gate(), metrics, indexes)
    assert not report.passed
    assert report.findings == (
        "recall@100 of index 'items' is 0.900, below 0.98",
        "NDCG@10 is 0.1000, below popularity's 0.2000",
    )
    assert judge(Gate(index_recall=0.9, beat_popularity=False), metrics, indexes).passed
    assert judge(Gate(), metrics, indexes, force=True).forced


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "empty|no rows|holds no"),
        ([f"u1,i1,{T0}"], "cannot be split"),
        ([f"u{n},i{n},{T0}" for n in range(20)], "all of them bear the same time"),
    ],
    ids=["no rows", "one event", "one moment"],
)
def test_a_log_that_cannot_be_measured_is_refused_with_a_reason(tmp_path, rows, said):
    with pytest.raises(DataError, match=said):
        trained(configured(tmp_path, rows))
    assert ReleaseStore(tmp_path / "var/releases").ids() == []


def test_one_user_and_one_item_each_get_a_correct_answer(tmp_path):
    one_user = [f"u1,i{n},{T0 + n}" for n in range(20)]
    one_item = [f"u{n},i1,{T0 + n}" for n in range(20)]
    for name, rows in (("user", one_user), ("item", one_item)):
        (tmp_path / name).mkdir()
        settings = configured(tmp_path / name, rows, "[gate]\nbeat_popularity = false\n")
        engine = engine_of(trained(settings))
        answer = engine.recommenders["home"].recommend([Query(now=NOW)], 3)
        assert answer.levels == ("popular",)
        (state,) = engine.users.find(["u1"])
        seen_all = engine.recommenders["home"].recommend([engine.resolver.known("u1", state, NOW)], 3)
        assert seen_all.levels == ("none",), f"one {name}: everything was seen, so nothing is left"


def test_users_who_are_all_alike_get_what_they_lack_from_the_ladder(tmp_path):
    rows = [f"u{u},i{i},{T0 + 100 * i + u}" for u in range(8) for i in range(6)] + [f"u9,i7,{T0}"]
    engine = engine_of(trained(configured(tmp_path, rows, "[gate]\nbeat_popularity = false\n")))
    for user in ("u0", "u7"):
        (state,) = engine.users.find([user])
        answer = engine.recommenders["home"].recommend([engine.resolver.known(user, state, NOW)], 3)
        assert engine.items.ids(answer.candidates.rows[0, :1]) == ["i7"]


def test_a_log_that_teaches_nothing_is_refused_with_a_reason(tmp_path):
    settings = configured(tmp_path, taste(), "[data.kinds]\nplay = 0\n")
    with pytest.raises(TrainingError, match=r"none of .* events teaches anything"):
        trained(settings)


def test_bad_rows_are_refused_or_set_aside_but_never_dropped(tmp_path):
    rows = [*taste(40, 40), f",i1,{T0}", f"u1,i1,{T0}000"]
    settings = configured(tmp_path, rows, "[gate]\nbeat_popularity = false\n")
    with pytest.raises(DataRefused, match=r"millisecond"):
        trained(settings)
    outcome = trained(settings, quarantine=tmp_path / "bad.csv")
    assert outcome.release.manifest.counts["events"] == len(rows) - 2
    assert len((tmp_path / "bad.csv").read_text().splitlines()) == 3


def test_a_second_trainer_is_turned_away_and_changes_nothing(tmp_path):
    settings = configured(tmp_path, taste(), "[gate]\nbeat_popularity = false\n")
    store = ReleaseStore(settings.releases.folder)
    with store.publishing(), pytest.raises(Busy, match="nothing was changed"):
        trained(settings)
    assert store.ids() == []
    assert trained(settings).promoted


def test_a_model_without_vectors_is_released_too(tmp_path):
    outcome = trained(configured(tmp_path, taste(), '[model]\nname = "popular"\n'))
    assert outcome.release.manifest.indexes == {}
    engine = engine_of(outcome)
    (state,) = engine.users.find(["u2"])
    query = engine.resolver.known("u2", state, NOW)
    assert query.vector is None
    for surface in ("home", "similar"):
        answer = engine.recommenders[surface].recommend([query], 3)
        assert answer.candidates.filled.all()
        assert answer.levels == ("popular",), "a list that is the same for everybody is not personal"


def test_a_log_without_times_is_trained_on_too(tmp_path):
    rows = [",".join(row.split(",")[:2]) for row in taste(20, 20)]
    settings = configured(tmp_path, rows, "[gate]\nbeat_popularity = false\n", header="user_id,item_id")
    manifest = trained(settings).release.manifest
    assert manifest.metrics["split"].startswith("at random")
    assert manifest.lineage["data"]["window"] is None

"""The search looks only at what may be learned from, keeps what it found, and goes on where it was stopped."""

import json
import signal
import sqlite3
import subprocess
import sys
import time
import tomllib
from contextlib import closing
from dataclasses import replace

import numpy as np
import optuna
import pandas as pd
import pytest
from typer.testing import CliRunner

from recsys.cli import app
from recsys.errors import DataError, SettingsError, TrainingError
from recsys.interactions import interactions_of
from recsys.sections import Kind, Train
from recsys.settings import load_settings
from recsys.splits import hold_out
from training.models import MODELS, model_of
from training.tuning import hopeless, toml_of, tune, validation_splits

TRAIN = Train(threads=1)
SVD = {"name": "svd", "factors": 8}


def log_of(users=60, items=40, *, timed=True, seed=0):
    """Users of two tastes, who take from the other one now and then."""
    rng = np.random.default_rng(seed)
    rows = [(u, i) for u in range(users) for i in rng.permutation(items)[:15] if u % 2 == i % 2 or rng.random() < 0.2]
    log = pd.DataFrame({"user_id": [f"u{u}" for u, _ in rows], "item_id": [f"i{i}" for _, i in rows]}, dtype="str")
    log = log.assign(kind="play", value=1.0)
    if timed:
        log = log.assign(time=1_600_000_000 + rng.permutation(len(log)))
    return interactions_of(log, {"play": Kind()})


def found(data, storage, trials=4, table=SVD, **options):
    return tune(data, table, TRAIN, trials=trials, storage=storage, **options)


def values(tuned):
    return [(trial.state, trial.value, dict(trial.keys)) for trial in tuned.trials]


def events(side):
    return set(zip(side.user.tolist(), side.item.tolist(), side.time.tolist(), strict=True))


@pytest.mark.parametrize("timed", [True, False])
def test_what_is_measured_by_in_the_end_is_never_looked_at(timed, tmp_path):
    data = log_of(timed=timed)
    held = hold_out(
        replace(data, weight=np.arange(len(data), dtype=np.float32)), 0.2, np.random.default_rng(TRAIN.seed)
    )
    test = held.test.weight.astype(int)
    item = data.item.copy()
    item[test] = np.random.default_rng(9).permutation(item[test])
    poisoned = replace(data, item=item)
    assert events(poisoned) != events(data)
    one, other = (found(log, tmp_path / f"{name}.db", trials=2) for name, log in (("a", data), ("b", poisoned)))
    assert values(one) == values(other)
    known = {
        place for split in validation_splits(data, TRAIN, published=False, folds=3) for place in events(split.test)
    }
    assert not known & events(data.where(np.isin(np.arange(len(data)), test)))


@pytest.mark.parametrize("timed", [True, False])
def test_where_the_test_is_published_apart_each_fold_parts_all_that_is_given(timed):
    data = log_of(timed=timed)
    splits = validation_splits(data, TRAIN, published=True, folds=2)
    for split in splits:
        assert events(split.train) | events(split.test) == events(data)
        assert not events(split.train) & events(split.test)
    assert events(splits[0].test) != events(splits[1].test)


def test_folds_of_a_timed_log_lie_one_before_the_other():
    first, second, third = validation_splits(log_of(), TRAIN, published=False, folds=3)
    for later, earlier in ((first, second), (second, third)):
        assert events(earlier.train) | events(earlier.test) == events(later.train)
        assert earlier.test.time.max() < later.test.time.min()


def test_a_log_too_short_for_the_folds_says_so():
    with pytest.raises(DataError, match=r"cannot be split .* one side would be empty"):
        validation_splits(log_of(2, 2), TRAIN, published=False, folds=9)


def test_the_search_starts_from_the_given_keys_and_ends_no_lower(tmp_path):
    tuned = found(log_of(), tmp_path / "a.db", table={**SVD, "power": 2.0}, trials=6)
    assert tuned.trials[0].keys["power"] == 2.0
    assert tuned.start == tuned.trials[0].value
    assert tuned.value >= tuned.start
    assert tuned.best.iterations == MODELS["svd"]().iterations
    assert not tuned.interrupted


def test_a_search_goes_on_where_it_stopped_and_repeats_nothing(tmp_path):
    data = log_of()
    first = found(data, tmp_path / "a.db", trials=3)
    assert len(first.trials) == 3
    then = found(data, tmp_path / "a.db", trials=6)
    assert values(then)[:3] == values(first)
    tried = [tuple(trial.keys.values()) for trial in then.trials]
    assert len(set(tried)) == len(tried) == 6
    assert values(found(data, tmp_path / "a.db", trials=6)) == values(then)


def test_what_was_interrupted_is_the_first_of_the_next_search(tmp_path):
    def stop_in_the_third(share, best):
        if 2 / 6 + 0.05 < share < 1:
            raise KeyboardInterrupt

    data, storage = log_of(), tmp_path / "a.db"
    stopped = found(data, storage, trials=6, folds=1, told=stop_in_the_third)
    assert stopped.interrupted
    assert len(stopped.trials) == 2
    assert stopped.value == max(trial.value for trial in stopped.trials)
    then = found(data, storage, trials=3, folds=1)
    hit, again = (trial["keys"] for trial in rows(storage)[2:])
    assert hit == again == dict(then.trials[2].keys)


def rows(storage):
    """All trials of a file, also those that say nothing."""
    base = optuna.storages.RDBStorage(f"sqlite:///{storage}")
    (study,) = base.get_all_studies()
    found = [{"keys": trial.params, "state": trial.state.name} for trial in base.get_all_trials(study._study_id)]
    base.remove_session()
    base.engine.dispose()
    return found


def test_progress_ends_at_one_and_tells_the_best(tmp_path):
    told = []
    tuned = found(log_of(), tmp_path / "a.db", told=lambda share, best: told.append((share, best)))
    shares = [share for share, _ in told]
    assert shares == sorted(shares)
    assert told[-1] == (1.0, tuned.value)
    assert told[0][1] is None


def test_a_trial_is_given_up_below_the_median_of_five_that_came_as_far():
    def trial(*means):
        return optuna.trial.create_trial(value=means[-1], intermediate_values=dict(enumerate(means)))

    others = [trial(0.1), trial(0.2, 0.2), trial(0.3, 0.3), trial(0.4, 0.4), trial(0.5, 0.5)]
    assert hopeless(0.29, 0, others)
    assert not hopeless(0.3, 0, others)
    assert not hopeless(0.0, 0, others[1:])
    assert not hopeless(0.0, 1, others)


def test_given_up_trials_are_counted_and_never_the_best(tmp_path):
    tuned = found(log_of(), tmp_path / "a.db", trials=12, folds=2)
    states = {trial.state for trial in tuned.trials}
    assert states == {"complete", "pruned"}
    assert tuned.value == max(trial.value for trial in tuned.trials if trial.state == "complete")


def test_the_best_is_written_as_a_configuration(tmp_path):
    tuned = found(log_of(), tmp_path / "a.db", trials=2)
    (tmp_path / "recsys.toml").write_text(tuned.toml())
    assert model_of(load_settings(tmp_path / "recsys.toml", {}).model) == tuned.best
    for name in MODELS:
        if MODELS[name].space:
            model = model_of({"name": name})
            assert model_of(tomllib.loads(toml_of(name, model, "a comment"))["model"]) == model


def test_a_model_with_nothing_to_vary_is_refused_with_those_that_have(tmp_path):
    with pytest.raises(SettingsError, match="model 'popular' has nothing to tune, choose one of als, "):
        found(log_of(), tmp_path / "a.db", table={"name": "popular"})


def test_where_no_trial_learns_anything_the_reason_is_said(tmp_path):
    tuned = found(log_of(timed=False), tmp_path / "a.db", table={"name": "trending"}, trials=2)
    assert [trial.state for trial in tuned.trials] == ["failed", "failed"]
    with pytest.raises(
        TrainingError, match="none of 2 trials of trending has a value yet: trending needs to know when"
    ):
        tuned.toml()


def test_trials_of_another_question_are_not_gone_on_with(tmp_path):
    found(log_of(), tmp_path / "a.db", trials=1)
    with pytest.raises(SettingsError, match=r"a\.db holds trials of svd that differ in data and folds: give another"):
        found(log_of(seed=1), tmp_path / "a.db")
    with pytest.raises(SettingsError, match=r"that differ in fixed keys: give another --storage than .*, or remove it"):
        found(log_of(), tmp_path / "a.db", table={**SVD, "iterations": 3})


def test_a_storage_that_cannot_hold_trials_is_refused(tmp_path):
    (tmp_path / "text.db").write_text("this is no database" * 100)
    with pytest.raises(
        SettingsError, match=r"text\.db cannot hold trials \(.*not a database\): give another --storage"
    ):
        found(log_of(), tmp_path / "text.db")
    with pytest.raises(SettingsError, match="cannot hold trials"):
        found(log_of(), tmp_path / "text.db/under/a.db")


def tune_command(*arguments):
    return CliRunner().invoke(app, ["tune", *arguments])


def test_the_command_prints_one_document_and_writes_the_best(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = tune_command("ml-100k", "--model", "svd", "--trials", "2", "--folds", "1", "--json")
    assert done.exit_code == 0, done.stderr
    document = json.loads(done.stdout)
    assert document.keys() >= {"dataset", "model", "metric", "split", "value", "start", "best", "trials", "out"}
    assert document["metric"] == "ndcg@20"
    written = tomllib.loads((tmp_path / "var/tune/ml-100k-svd.toml").read_text())["model"]
    assert written == {"name": "svd", **document["best"]}


def test_a_configuration_gives_the_model_and_its_keys(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shop.toml").write_text('[data]\ndataset = "ml-100k"\n[model]\nname = "svd"\niterations = 3\n')
    done = tune_command("shop.toml", "--trials", "1", "--folds", "1", "--out", "deep/best.toml")
    assert done.exit_code == 0, done.stderr
    assert "the best is in deep/best.toml" in done.stdout
    assert tomllib.loads((tmp_path / "deep/best.toml").read_text())["model"]["iterations"] == 3


def test_what_is_neither_a_data_set_nor_a_file_is_refused():
    with pytest.raises(SettingsError, match=r"unknown data set 'ml-1000k', choose one of .*, or the path of a recsys"):
        CliRunner().invoke(app, ["tune", "ml-1000k"], catch_exceptions=False)


def test_help_shows_examples():
    assert "recsys tune ml-100k --model als --trials 30" in tune_command("--help").stdout


def test_ctrl_c_keeps_what_is_done(tmp_path):
    command = [sys.executable, "-m", "recsys", "tune", "ml-100k", "-m", "svd", "-n", "10000", "--folds", "1", "--json"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as search:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and complete(tmp_path / "var/tune/ml-100k-svd.db") < 2:
            assert search.poll() is None, search.stderr.read()
            time.sleep(0.1)
        search.send_signal(signal.SIGINT)
        printed, said = search.communicate(timeout=60)
    assert search.returncode == 130, said
    document = json.loads(printed)
    assert document["interrupted"]
    assert len(document["trials"]) >= 2
    assert (tmp_path / document["out"]).is_file()


def complete(storage):
    """How many trials a file says are complete, while another process writes into it."""
    try:
        with closing(sqlite3.connect(f"file:{storage}?mode=ro", uri=True)) as base:
            return base.execute("SELECT COUNT(*) FROM trials WHERE state = 'COMPLETE'").fetchone()[0]
    except sqlite3.OperationalError:
        return 0

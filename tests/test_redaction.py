"""Users taken out of published releases, and the list of those who are not to be learned from again."""

import shutil
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from index import load
from recsys.assembly import assemble
from recsys.barred import NEVER, Barred
from recsys.errors import ReleaseDamaged, ReleaseError
from recsys.redaction import redact
from recsys.releases import ReleaseStore
from recsys.settings import load_settings
from training import run
from training.run import train

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
T0 = 1_600_000_000


@pytest.fixture
def releases(settings, tmp_path):
    shutil.copytree(settings.releases.folder, tmp_path / "releases")
    return ReleaseStore(tmp_path / "releases")


def traces(folder, user):
    """The files below a folder in which an id stands, apart from those that hold no ids of users."""
    return [path for path in folder.rglob("*") if path.is_file() and user.encode() in path.read_bytes()]


def everybody(engine):
    return {state.user: state for state in engine.users.find(list(engine.users.ids))}


def test_who_is_taken_out_is_gone_and_everybody_else_is_as_before(releases):
    before = assemble(releases.current(), load)
    states, ids = everybody(before), list(before.users.ids)
    gone = [ids[0], ids[17], ids[18], ids[-1]]
    assert redact(releases, [*gone, "nobody"]) == 1
    engine = assemble(releases.verify(releases.current_id()), load)
    assert list(engine.users.ids) == [id_ for id_ in ids if id_ not in gone]
    assert engine.users.find(gone) == [None] * 4
    for user, state in everybody(engine).items():
        for name in ("vector", "recent", "weights", "times", "seen"):
            np.testing.assert_array_equal(getattr(state, name), getattr(states[user], name))
    assert releases.current().manifest.counts["users"] == len(ids) - 4
    assert redact(releases, gone) == 0


def test_no_file_of_the_release_holds_the_id(home, settings, tmp_path, configured):
    """MovieLens' ids are small numbers, which stand anywhere: this one is written into the release first."""
    shutil.copytree(settings.releases.folder, tmp_path / "releases")
    store = ReleaseStore(tmp_path / "releases")
    engine = assemble(store.current(), load)
    ids = ["somebody-quite-unmistakable" if id_ == "405" else id_ for id_ in engine.users.ids]
    users = replace(engine.users, ids=type(engine.users.ids).of(ids))
    manifest = store.current().manifest.model_copy(update={"id": "2026-01-01T00-00-00"})
    with store.staging(manifest.id) as folder:
        replace(engine, users=users).save(folder)
        store.commit(folder, manifest)
    assert traces(tmp_path, "somebody-quite-unmistakable")
    assert redact(store, ["somebody-quite-unmistakable"]) == 1
    assert traces(tmp_path, "somebody-quite-unmistakable") == []
    store.verify(manifest.id)


def test_a_release_whose_users_are_all_gone_is_one_still(releases):
    ids = list(assemble(releases.current(), load).users.ids)
    for some in (ids[:500], ids[500:]):
        assert redact(releases, some) == 1
    engine = assemble(releases.verify(releases.current_id()), load)
    assert len(engine.users.ids) == 0
    assert engine.users.find(["196"]) == [None]
    assert len(engine.users.vectors) == len(engine.users.history.rows) == 0


@pytest.mark.parametrize("moment", ["before the manifest", "after the manifest"])
def test_what_a_crash_leaves_behind_damages_nothing_and_is_removed(releases, monkeypatch, moment):
    current = releases.current()
    ids = list(assemble(current, load).users.ids)

    def crash(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        where = "recsys.redaction.replace_manifest" if moment.startswith("before") else "recsys.redaction.shutil.rmtree"
        if moment.startswith("after"):
            rmtree = shutil.rmtree
            broken.setattr(where, lambda path, **how: rmtree(path, **how) if how else crash())
        else:
            broken.setattr(where, crash)
        with pytest.raises(KeyboardInterrupt):
            redact(releases, [ids[0]])
    assert len(list(current.folder.glob("users*"))) == 2
    found = list(assemble(releases.verify(current.id), load).users.ids)
    assert found == (ids if moment.startswith("before") else ids[1:])
    redact(releases, [ids[0]])
    assert len(list(current.folder.glob("users*"))) == 1
    assert list(assemble(releases.verify(current.id), load).users.ids) == ids[1:]


def test_a_file_of_which_nobody_knows_whose_it_is_is_not_passed_over(releases):
    release = releases.current()
    (release.users / "tastes.npy").write_bytes(b"405")
    with pytest.raises(ReleaseError, match=r"holds tastes\.npy, of which this program does not know whose it is"):
        redact(releases, ["405"])
    with pytest.raises(ReleaseDamaged, match=r"users/tastes\.npy was not part of it"):
        releases.verify(release.id)


def test_an_edition_changes_with_each_erasure_and_only_then(releases):
    id_ = releases.current_id()
    first = releases.edition(id_)
    redact(releases, ["nobody"])
    assert releases.edition(id_) == first
    redact(releases, ["405"])
    assert releases.edition(id_) != first
    assert releases.edition("2020-01-01T00-00-00") is None


def test_the_list_says_until_when_and_of_nobody_who(tmp_path):
    folder = tmp_path / "erased"
    barred = Barred(folder)
    assert len(barred) == 0
    assert barred.times(["ann", "é\n"]).tolist() == [NEVER, NEVER]
    barred.add(["ann"], 100)
    barred.add(["é\n", "ann"], 200)
    barred.add(["ann"], 150)
    for each in (barred, Barred(folder)):
        assert each.times(["bob", "ann", "é\n", ""]).tolist() == [NEVER, 200, 200, NEVER]
        assert len(each) == 2
    assert traces(folder, "ann") == []
    assert {(path.stat().st_mode & 0o077) for path in folder.iterdir() if path.name != "lock"} == {0}
    other = Barred(tmp_path / "other")
    other.add(["ann"], 100)
    assert (tmp_path / "other/users").read_bytes().split()[0] != (folder / "users").read_bytes().split()[0]


def test_a_line_that_a_crash_cut_off_hides_no_other(tmp_path):
    barred = Barred(tmp_path)
    barred.add(["ann"], 100)
    whole = (tmp_path / "users").read_bytes()
    (tmp_path / "users").write_bytes(whole + whole[:20])
    assert barred.times(["ann"]).tolist() == [100]
    barred.add(["bob"], 300)
    assert Barred(tmp_path).times(["ann", "bob"]).tolist() == [100, 300]


def small(folder, header="user_id,item_id,time"):
    """Even users take even items, odd ones odd; user u's last event is at T0 + 1000 · u + 10 or 11."""
    times = header.endswith("time")
    rows = [f"u{u},i{i}" + f",{T0 + 1000 * u + i}" * times for u in range(12) for i in range(12) if u % 2 == i % 2]
    (folder / "log.csv").write_text("\n".join([header, *rows]) + "\n")
    text = '[data]\nevents = "log.csv"\n[state]\nurl = "memory://"\n[gate]\nbeat_popularity = false\n'
    (folder / "recsys.toml").write_text(text)
    return load_settings(folder / "recsys.toml", {})


def learned_of(settings):
    """Who stands in the newest release with how many items."""
    engine = assemble(train(settings, now=NOW, environ={}).release, load)
    return {state.user: len(state.seen) for state in engine.users.find(list(engine.users.ids))}


def test_the_next_training_learns_nothing_of_what_somebody_did_before_they_were_erased(tmp_path):
    settings = small(tmp_path)
    Barred(settings.log.erased).add(["u3"], T0 + 1000 * 3 + 11)
    Barred(settings.log.erased).add(["u4"], T0 + 1000 * 4 + 5)
    expected = {f"u{u}": 6 for u in range(12)}
    del expected["u3"]
    # What happened later counts: i6, i8 and i10.
    assert learned_of(settings) == expected | {"u4": 3}


def test_of_a_log_without_times_nothing_of_who_was_erased_is_learned(tmp_path):
    settings = small(tmp_path, "user_id,item_id")
    Barred(settings.log.erased).add(["u3"], 5)
    assert "u3" not in learned_of(settings)


def test_who_is_erased_while_a_release_is_made_does_not_stand_in_it(tmp_path, monkeypatch):
    settings = small(tmp_path)
    reading = run.read_log

    def erased_meanwhile(*arguments, **options):
        log = reading(*arguments, **options)
        Barred(settings.log.erased).add(["u3"], int(NOW.timestamp()) + 60)
        return log

    monkeypatch.setattr(run, "read_log", erased_meanwhile)
    assert sorted(learned_of(settings)) == sorted(f"u{u}" for u in range(12) if u != 3)

"""The release store: whole or not at all, and every damage named."""

import errno
import json
import os
from datetime import UTC, datetime, timedelta

import pytest

from recsys.errors import Busy, GateRefused, ReleaseDamaged, ReleaseError, ReleaseNotFound, ReleaseTooNew
from recsys.releases import SCHEMA, GateReport, Manifest, ReleaseStore

START = datetime(2026, 11, 23, 2, 47, 10, tzinfo=UTC)


@pytest.fixture
def store(tmp_path):
    return ReleaseStore(tmp_path / "releases")


def publish(store, minute=0, *, passed=True, promote=True):
    when = START + timedelta(minutes=minute)
    manifest = Manifest(
        id=store.new_id(when), created=when, lineage={}, counts={}, metrics={}, indexes={}, files={},
        gate=GateReport(passed=passed, findings=() if passed else ("it is worse",)),
    )  # fmt: skip
    with store.publishing(), store.staging(manifest.id) as folder:
        (folder / "items").mkdir()
        (folder / "items/vectors.npy").write_bytes(b"vectors")
        (folder / "model.json").write_text("{}")
        release = store.commit(folder, manifest)
    if promote:
        store.promote(release.id, now=when)
    return release


def test_a_published_release_is_whole_and_current(store):
    release = publish(store)
    assert release.id == "2026-11-23T02-47-10"
    assert store.current().manifest == release.manifest
    assert sorted(store.verify(release.id).manifest.files) == ["items/vectors.npy", "model.json"]
    assert store.pointer.read_text() == "2026-11-23T02-47-10\n"


def test_two_releases_of_one_second_have_two_ids(store):
    assert [publish(store).id, publish(store).id] == ["2026-11-23T02-47-10", "2026-11-23T02-47-10-2"]


def test_before_the_first_promotion_there_is_no_current_release(store):
    assert store.current_id() is None
    assert store.ids() == []
    with pytest.raises(ReleaseNotFound, match="run `recsys train` first"):
        store.current()


@pytest.mark.parametrize("id_", ["2026-01-01T00-00-00", "../../etc", "", ".lock"])
def test_an_unknown_id_is_not_found_and_the_newest_are_named(store, id_):
    publish(store)
    with pytest.raises(ReleaseNotFound, match="the newest are: 2026-11-23T02-47-10"):
        store.get(id_)


DAMAGE = {
    "truncated": (lambda f: (f / "items/vectors.npy").write_bytes(b"vect"), "items/vectors.npy is not the file"),
    "edited": (lambda f: (f / "model.json").write_text("{ }"), "model.json is not the file"),
    "missing": (lambda f: (f / "model.json").unlink(), "model.json is missing"),
    "added": (lambda f: (f / "more.npy").write_text(""), "more.npy was not part of it"),
    "manifest cut off": (lambda f: (f / "manifest.json").write_text('{"schema'), "manifest.json cannot be read"),
    "manifest gone": (lambda f: (f / "manifest.json").unlink(), "manifest.json cannot be read"),
    "manifest a list": (lambda f: (f / "manifest.json").write_text("[]"), "manifest.json cannot be read"),
    "manifest edited": (
        lambda f: edit(f, lambda m: m["gate"].update(forced=True)),
        "manifest.json is not the one that was published",
    ),
    "manifest with another key": (lambda f: edit(f, lambda m: m.update(more=1)), "more: unknown key"),
}


def edit(folder, change):
    content = json.loads((folder / "manifest.json").read_text())
    change(content)
    (folder / "manifest.json").write_text(json.dumps(content))


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_refused_by_name_and_the_pointer_stays(store, name):
    old, new = publish(store), publish(store, 1, promote=False)
    damage, said = DAMAGE[name]
    damage(new.folder)
    with pytest.raises(ReleaseDamaged, match=said):
        store.promote(new.id, now=START)
    assert store.current().id == old.id


def test_a_newer_schema_is_refused_by_both_numbers(store):
    release = publish(store)
    edit(release.folder, lambda manifest: manifest.update(schema_version=SCHEMA + 1))
    with pytest.raises(ReleaseTooNew, match=f"has schema {SCHEMA + 1}, this program reads up to {SCHEMA}"):
        store.get(release.id)


def test_what_the_gate_refused_is_promoted_only_by_force_and_that_is_recorded(store):
    good, bad = publish(store), publish(store, 1, passed=False, promote=False)
    with pytest.raises(GateRefused, match="refused by the gate: it is worse"):
        store.promote(bad.id, now=START)
    assert store.current_id() == good.id
    store.promote(bad.id, now=START, force=True)
    assert [entry["forced"] for entry in store.promotions()] == [False, True]


def test_rollback_goes_back_through_what_was_served(store):
    first, second, third = (publish(store, minute) for minute in range(3))
    publish(store, 3, passed=False, promote=False)
    assert store.rollback(now=START).id == second.id
    assert store.rollback(now=START).id == first.id
    with pytest.raises(ReleaseNotFound, match="nothing to roll back to"):
        store.rollback(now=START)
    store.promote(third.id, now=START)
    assert store.rollback(now=START).id == first.id
    assert store.rollback(now=START, to=second.id).id == second.id


def test_rollback_does_not_go_round_the_gate(store):
    publish(store)
    refused = publish(store, 1, passed=False, promote=False)
    with pytest.raises(GateRefused):
        store.rollback(now=START, to=refused.id)


def test_half_a_line_in_the_log_of_promotions_does_not_matter(store):
    first, second = publish(store), publish(store, 1)
    with (store.folder / "promotions.jsonl").open("a") as log:
        log.write('{"release": "20')
    assert store.current_id() == second.id
    assert store.rollback(now=START).id == first.id


def test_prune_keeps_the_newest_and_the_current(store):
    releases = [publish(store, minute).id for minute in range(5)]
    store.promote(releases[1], now=START)
    assert store.outdated(3) == [releases[0], releases[2]]
    store.remove(store.outdated(3))
    assert store.ids() == [releases[1], releases[3], releases[4]]
    assert store.outdated(1) == releases[3:]
    with pytest.raises(ValueError, match="keep is 0"):
        store.outdated(0)
    with pytest.raises(ValueError, match="is current"):
        store.remove([releases[1]])


def test_a_second_publisher_is_refused_while_the_first_is_at_work(store):
    with store.publishing(), pytest.raises(Busy, match="another publisher is at work"), store.publishing():
        pass
    with store.publishing():
        pass


def test_leftovers_of_a_crashed_publisher_are_cleared_away(store):
    store.folder.mkdir()
    leftover = store.folder / ".staging-2026-11-23T02-47-10"
    leftover.mkdir()
    (leftover / "half").write_text("")
    with store.publishing():
        assert not leftover.exists()
    assert store.ids() == []


def test_a_release_that_fails_half_way_leaves_nothing(store):
    def failing():
        with store.publishing(), store.staging("2026-11-23T02-47-10") as folder:
            (folder / "half").write_text("")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(ReleaseError, match=r"could not be written .*No space left on device.*nothing was published"):
        failing()
    assert [path.name for path in store.folder.iterdir()] == [".lock"]

"""Changes of items that every release knows: they are dropped with the releases that did not."""

import asyncio
import shutil
import subprocess
import sys
from datetime import UTC, datetime

import numpy as np
import pytest

from index import load
from index.growing import Growing
from recsys.assembly import assemble, settled
from recsys.errors import ReleaseDamaged
from recsys.releases import ReleaseStore
from recsys.settings import load_settings
from recsys.stores import ItemChange, open_store

NOW = datetime(2026, 11, 26, 23, tzinfo=UTC)
SAME = ItemChange("i3", {"title": "Item 3", "genre": "odd", "tags": ["odd", "thing"], "year": None})
OTHERS = [
    ItemChange("i4", {"title": "Item 4", "genre": "odd", "tags": ["even", "thing"]}),
    ItemChange("i5", {"title": "Item 5"}),
    ItemChange("new", {"title": "New", "tags": ["odd"]}),
    ItemChange("i6", None),
    ItemChange("never", None),
]


@pytest.fixture
def release(repo):
    store = ReleaseStore(repo / "tests/golden/schema-3")
    return store.get(store.current_id())


def test_what_a_release_knows_by_the_same_description_is_settled_and_nothing_else(release):
    assert settled(release, [SAME, *OTHERS]) == [SAME]
    assert settled(release, []) == []


def test_an_engine_is_the_same_without_what_is_settled(release):
    engine = assemble(release, load, Growing.of)
    after = engine.amended({SAME.item_id: SAME.description}, "mark")
    everybody = np.arange(len(engine.users.ids), dtype=np.int32)
    for surface in ("home", "quiet"):
        one, same = (each.recommend(everybody, 10, NOW, surface).candidates for each in (engine, after))
        assert np.array_equal(one.rows, same.rows)
        assert np.array_equal(one.scores, same.scores)
    assert after.catalogue.describe(np.arange(16)) == engine.catalogue.describe(np.arange(16))
    changed = engine.amended({"i4": OTHERS[0].description}, "mark")
    assert changed.catalogue.describe(np.arange(16)) != engine.catalogue.describe(np.arange(16))


def test_items_that_cannot_be_read_are_said(release, tmp_path):
    shutil.copytree(release.folder, tmp_path / release.id)
    (tmp_path / release.id / "items/catalogue.arrow").unlink()
    with pytest.raises(ReleaseDamaged, match="its items cannot be read"):
        settled(ReleaseStore(tmp_path).get(release.id), [SAME])


def test_prune_drops_what_all_releases_that_are_left_know(release, tmp_path):
    shutil.copytree(release.folder.parent, tmp_path / "var/releases")
    (tmp_path / "recsys.toml").write_text("[state]\ntimeout_ms = 5000\n")
    settings = load_settings(tmp_path / "recsys.toml", {})

    async def kept(*changes):
        async with open_store(settings.state) as store:
            if changes:
                await store.change_items(changes)
            return [change.item_id for change in (await store.item_changes()).changes]

    def prune():
        command = [sys.executable, "-m", "recsys", "release", "prune", "--keep", "1"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert asyncio.run(kept(SAME, *OTHERS)) == ["i3", *(change.item_id for change in OTHERS)]
    assert (
        prune() == "0 releases and 0 user vectors removed; 1 changes of items dropped, which all that are left know\n"
    )
    assert asyncio.run(kept()) == [change.item_id for change in OTHERS]
    assert prune() == "0 releases and 0 user vectors removed\n"
    asyncio.run(kept(SAME))
    (tmp_path / "var/releases" / release.id / "items/catalogue.arrow").unlink()
    assert prune() == "0 releases and 0 user vectors removed\n"
    assert asyncio.run(kept()) == [*(change.item_id for change in OTHERS), "i3"]

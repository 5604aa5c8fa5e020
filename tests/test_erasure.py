"""What is forgotten of whom: links between users, failures half-way, and nobody else."""

import asyncio
import time

import pytest

from recsys.barred import Barred
from recsys.erasure import Eraser
from recsys.errors import StoreError
from recsys.logs import open_log
from recsys.logs.archive import Archive
from recsys.logs.records import Declared, Event, Merged
from recsys.releases import ReleaseStore
from recsys.settings import Settings
from recsys.speed import Applier
from recsys.stores.memory import MemoryStore

NOW = int(time.time()) - 10
RECORDS = [
    Event("e1", NOW, "session", "i1", "play"),
    Merged("m1", NOW, "ann", "session"),
    Event("e2", NOW, "ann", "i2", "play"),
    Event("e3", NOW, "bob", "i3", "play"),
    Declared("d1", NOW, "bob", ("jazz",)),
]


def story(tmp_path, act, lists=None):
    """Records appended and applied, then ``act(eraser, store, log, settings)``."""
    settings = Settings.model_validate(
        {
            "log": {"url": f"file:{tmp_path / 'events'}", "archive": tmp_path / "log", "erased": tmp_path / "erased"},
            "releases": {"folder": tmp_path / "releases"},
        }
    )

    async def run():
        store, barred = MemoryStore(), Barred(settings.log.erased)
        async with open_log(settings) as log:
            await log.append(RECORDS)
            await Applier(store, lambda: None, settings).apply(RECORDS)
            archive, releases = Archive(settings.log.archive), ReleaseStore(settings.releases.folder)
            return await act(Eraser(log, store, archive, releases, barred, lists, settle=0), store, log, settings)

    return asyncio.run(run())


async def left_of(store, log):
    states = {stored.state.user: stored.state for stored in await store.load(["ann", "session", "bob"], "")
              if stored.state is not None}  # fmt: skip
    return states, {entry.record.id async for entry in log.replay()}


def test_who_was_merged_into_a_user_goes_with_them_and_nobody_else(tmp_path):
    async def act(eraser, store, log, settings):
        receipt = await eraser.erase("ann")
        states, records = await left_of(store, log)
        assert (receipt.user, receipt.ids, receipt.removed["log"], receipt.removed["states"]) == ("ann", 2, 3, 2)
        assert records == {"e3", "d1"}
        assert set(states) == {"bob"}
        assert states["bob"].interests == ("jazz",)
        assert (await eraser.erase("ann")).ids == 1

    story(tmp_path, act)


def test_an_anonymous_id_goes_alone_and_the_user_no_longer_says_who_they_were(tmp_path):
    async def act(eraser, store, log, settings):
        assert (await left_of(store, log))[0]["ann"].absorbed == ("session",)
        receipt = await eraser.erase("session")
        states, records = await left_of(store, log)
        assert receipt.ids == 1
        assert records == {"e2", "e3", "d1"}
        assert set(states) == {"ann", "bob"}
        assert states["ann"].absorbed == ()
        assert len(states["ann"].recent) == 2

    story(tmp_path, act)


def test_records_that_somebody_had_in_hand_have_no_effect_after_an_erasure(tmp_path):
    async def act(eraser, store, log, settings):
        await eraser.erase("bob")
        await Applier(store, lambda: None, settings).apply(RECORDS)
        states, _ = await left_of(store, log)
        assert set(states) == {"ann", "session"}
        again = [Event("e9", int(time.time()) + 60, "bob", "i9", "play")]
        await Applier(store, lambda: None, settings).apply(again)
        assert len((await left_of(store, log))[0]["bob"].recent) == 1

    story(tmp_path, act)


def test_an_erasure_that_failed_half_way_is_completed_by_another(tmp_path):
    class Failing:
        up = False

        async def erase(self, user):
            if not self.up:
                raise StoreError("the lists do not answer")
            return 4

    lists = Failing()

    async def act(eraser, store, log, settings):
        with pytest.raises(StoreError, match="the lists do not answer"):
            await eraser.erase("bob")
        # Barred first: whatever else fails, nothing is learned again.
        assert eraser.barred.times(["bob"])[0] >= NOW
        lists.up = True
        receipt = await eraser.erase("bob")
        assert receipt.removed["lists"] == 8
        assert "bob" not in (await left_of(store, log))[0]

    story(tmp_path, act, lists)

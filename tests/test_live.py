"""The engine that answers, as releases are promoted and items change."""

import asyncio
import shutil

import pytest

import index
from api.live import Live
from index.growing import Growing
from recsys.redaction import redact
from recsys.releases import ReleaseStore
from recsys.stores import ItemChange
from recsys.stores.memory import MemoryStore


@pytest.fixture
def releases(settings, tmp_path):
    """The trained release, and a copy of it under another id, which is not promoted."""
    shutil.copytree(settings.releases.folder, tmp_path / "releases")
    return ReleaseStore(tmp_path / "releases")


def new_live(releases):
    return Live(releases, index.load, Growing.of)


def put(*ids):
    return [ItemChange(id_, {"title": f"The {id_}"}) for id_ in ids]


def holds(live, *ids):
    return [live.current.holds(id_) for id_ in ids]


def test_a_worker_that_starts_late_knows_what_the_others_know(releases):
    async def story():
        store, early, late = MemoryStore(), new_live(releases), new_live(releases)
        await early.follow()
        await early.catch_up(store)
        assert early.current.mark == ""
        for changes in (put("a"), put("b", "c"), [ItemChange("a", None)], put("d"), [ItemChange("50", None)]):
            await store.change_items(changes)
            await early.catch_up(store)
        await late.catch_up(store)
        assert late.current is None
        await late.follow()
        await late.catch_up(store)
        for live in (early, late):
            assert holds(live, "a", "b", "c", "d", "50", "181") == [False, True, True, True, False, True]
        assert early.current.tag == late.current.tag == f"{early.current.id}+{(await store.item_changes()).mark}"

    asyncio.run(story())


def test_a_release_is_loaded_again_when_users_were_erased_from_it(releases):
    async def story():
        live = new_live(releases)
        assert await live.follow()
        assert live.current.users.find(["405"]) != [None]
        redact(releases, ["405"])
        assert await live.follow()
        assert live.current.users.find(["405"]) == [None]
        assert not await live.follow()

    asyncio.run(story())


def test_looking_again_changes_nothing(releases):
    async def story():
        store, live = MemoryStore(), new_live(releases)
        await live.follow()
        await store.change_items(put("a"))
        await live.catch_up(store)
        engine = live.current
        await live.catch_up(store)
        assert live.current is engine

    asyncio.run(story())


def test_a_store_that_lost_everything_is_given_what_workers_know_but_not_in_place_of_what_is_new(releases):
    async def story():
        live, other = new_live(releases), new_live(releases)
        store = MemoryStore()
        await store.change_items([*put("a", "b"), ItemChange("50", None)])
        for each in (live, other):
            await each.follow()
            await each.catch_up(store)
        emptied = MemoryStore()
        await emptied.change_items([ItemChange("b", None)])
        for each in (live, other):
            await each.catch_up(emptied)
            assert holds(each, "a", "b", "50") == [True, False, False]
        found = {change.item_id: change.description for change in (await emptied.item_changes()).changes}
        assert found == {"a": {"title": "The a"}, "b": None, "50": None}
        assert live.current.mark == other.current.mark == (await emptied.item_changes()).mark

    asyncio.run(story())


def test_a_release_that_is_promoted_answers_with_what_changed_before_and_while_it_was_loaded(releases, monkeypatch):
    async def story():
        store, live = MemoryStore(), new_live(releases)
        await store.change_items(put("a", "b"))
        await live.catch_up(store)
        loading, go_on = asyncio.Event(), asyncio.Event()
        load, loop = live._load, asyncio.get_running_loop()

        def slowly(*arguments):
            loaded = load(*arguments)
            loop.call_soon_threadsafe(loading.set)
            asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result()
            return loaded

        monkeypatch.setattr(live, "_load", slowly)
        following = asyncio.create_task(live.follow())
        await loading.wait()
        await store.change_items([ItemChange("a", None), *put("c")])
        await live.catch_up(store)
        go_on.set()
        assert await following
        assert holds(live, "a", "b", "c") == [False, True, True]
        assert live.current.mark == (await store.item_changes()).mark

    asyncio.run(story())

"""What is taken is in the next list of what trends."""

import asyncio

import numpy as np
import pytest

import index
from api.live import Live
from index.growing import Growing
from recsys.assembly import assemble
from recsys.logs.records import Event
from recsys.recency import DAY, Moving, Recency
from recsys.releases import ReleaseStore
from recsys.retrieval import Query
from recsys.settings import Settings
from recsys.speed import Applier
from recsys.stores.memory import MemoryStore
from recsys.trends import Trends

NOW = 1_790_000_000
ROWS, TIMES = np.array([0, 0, 0, 1, 1, 2], np.int32), np.array([10, 10, 10, 10, 10, 10]) * DAY
BASE = Recency(5, ROWS, TIMES)


def since(taken, amounts, days=10, base=BASE):
    return Moving.since(base, np.array(taken, np.int32), np.array(amounts, np.float32), days * DAY)


def test_what_a_release_knows_fades_beside_what_was_taken_since():
    assert BASE.decayed(7.0).tolist() == [3, 2, 1, 0, 0]
    moving = since([3, 1], [1.25, 0.25], days=17)
    assert moving.decayed(7.0).tolist() == [1.5, 1, 0.5, 1.25, 0]
    assert moving.ranked(7.0).tolist() == [0, 3, 1, 2]
    assert moving.newest_first.tolist() == BASE.newest_first.tolist()


def test_what_happened_since_is_not_counted_twice_by_a_release_that_was_trained_on_it():
    assert since([0], [3.0]).decayed(7.0).tolist() == BASE.decayed(7.0).tolist()


def test_looking_again_puts_the_new_in_place_of_the_old_and_a_release_keeps_its_order_however_old():
    again = since([4], [0.5], days=4000, base=since([3], [9.0]))
    assert again.decayed(7.0)[3] == 0
    assert again.ranked(7.0).tolist() == [4, 0, 1, 2]


def test_the_order_is_that_of_the_counts_whatever_was_taken():
    rng = np.random.default_rng(0)
    base = Recency(200, rng.integers(0, 150, 400).astype(np.int32), rng.integers(0, 30, 400) * DAY)
    for _ in range(20):
        taken = rng.permutation(200)[:30].astype(np.int32)
        moving = since(taken, rng.random(30) * 3, days=30, base=base)
        counts = moving.decayed(7.0)
        assert sorted(moving.ranked(7.0).tolist()) == np.flatnonzero(counts).tolist()
        assert (np.diff(counts[moving.ranked(7.0)]) <= 0).all()


def test_an_event_makes_its_item_trend_on_the_surface_and_changes_the_tag(settings):
    engine = assemble(ReleaseStore(settings.releases.folder).current(), index.load, Growing.of)
    moved = engine.moved({"1504": 2.0, "no such item": 9.0}, NOW)
    before, after = (
        each.recommenders["trending"].recommend([Query(now=None)], 5).candidates.rows[0] for each in (engine, moved)
    )
    assert engine.items.ids(after[:1]) == ["1504"]
    assert after[1:].tolist() == before[:4].tolist()
    assert (engine.tag, moved.tag) == (engine.id, f"{engine.id}+t{NOW}")
    assert engine.moved({"no such item": 9.0}, NOW) is engine


def test_a_worker_follows_what_is_taken_and_rests_while_nothing_is(settings):
    async def story():
        live = Live(ReleaseStore(settings.releases.folder), index.load, Growing.of)
        store, trends = MemoryStore(), Trends(7.0)
        await live.look_at_trends(store, trends, NOW)
        await live.follow()
        first = live.current
        await live.look_at_trends(store, trends, NOW)
        assert live.current is first
        applier = Applier(store, lambda: live.current, Settings())
        await applier.apply([Event("1", NOW, "ann", "1504", "play")])
        await live.look_at_trends(store, trends, NOW)
        second = live.current
        assert second.parts.recency.decayed(7.0)[engine_row(second, "1504")] == pytest.approx(1)
        await live.look_at_trends(store, trends, NOW + 3600)
        assert live.current is second
        await applier.apply([Event("2", NOW + 10, "ann", "1505", "play")])
        await live.look_at_trends(store, trends, NOW + 3600)
        assert live.current is not second

    asyncio.run(story())


def engine_row(engine, item):
    return int(engine.items.rows([item])[0])

"""The speed layer: in effect each event counts once, however it comes, and the next list knows of it."""

import asyncio
import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

import index
from index.growing import Growing
from recsys.assembly import assemble
from recsys.errors import StoreError
from recsys.logs import open_log
from recsys.logs.records import Declared, Described, Event, Merged, Shown
from recsys.releases import ReleaseStore
from recsys.settings import Settings
from recsys.speed import GROUP, TOGETHER, Applier, SpeedLayer, rebuild
from recsys.states import limits_of, listed, refresh
from recsys.stores.memory import MemoryStore
from recsys.trends import Trends

NOW = 1_790_000_000
USERS = ("196", "405", "new", "guest", "22")


@pytest.fixture(scope="module")
def engine(settings):
    return assemble(ReleaseStore(settings.releases.folder).current(), index.load, Growing.of)


@pytest.fixture
def streaming(tmp_path):
    """Settings over a log in a folder; what nobody acknowledges is given to another soon."""
    return Settings.model_validate(
        {
            "log": {"url": f"file:{tmp_path}/log", "claim_seconds": 0.05},
            "stream": {"batch": 50, "tries": 3, "seen": 80, "shown": 20},
            "train": {"recent_items": 20},
        }
    )


def events(count, seed=0):
    """Plays, likes, skips and dismissals of known and unknown items, at a few different times, and lists shown."""
    rng = random.Random(seed)  # noqa: S311
    told = []
    for n in range(count):
        user, time = rng.choice(USERS), NOW + rng.randrange(count)
        item = rng.choice([str(rng.randrange(1, 60)), f"unknown {rng.randrange(5)}"])
        kind = rng.choice(["play", "play", "like", "skip", "dismiss"])
        told.append(Event(f"e{n}", time, user, item, kind))
        if n % 10 == 0:
            told.append(
                Shown(f"r{n}", time, user, tuple(str(rng.randrange(1, 60)) for _ in range(4)), "home", "r", "x")
            )
    return told


def bytes_of(store, release):
    """Everything that is stored of users, to the bit, vectors of one release."""
    return store._states, store._shown, store._vectors.get(release, {}), store._interests


def replayed(records, engine, settings):
    """What a store holds after a clean replay."""
    store = MemoryStore()
    asyncio.run(Applier(store, lambda: engine, settings).apply(records))
    return bytes_of(store, engine.id if engine else "")


def test_what_happens_is_in_the_next_list(engine, streaming, now):
    async def story():
        store = MemoryStore()
        applier = Applier(store, lambda: engine, streaming)
        before = engine.resolver.known("196", None, now)
        listed_ = engine.recommenders["home"].recommend([before], 10).candidates.rows[0]
        first, second = engine.items.ids(listed_[:2])
        await applier.apply([Event("1", NOW, "196", first, "like"), Event("2", NOW, "196", second, "dismiss")])
        (state,) = await store.get(["196"], engine.id)
        query = engine.resolver.known("196", state, now)
        after = engine.recommenders["home"].recommend([query], 10).candidates.rows[0]
        assert not {int(listed_[0]), int(listed_[1])} & set(after.tolist())
        assert query.dismissed.tolist() == [int(listed_[1])]
        taken, _ = engine.resolver.taken(["196"], [state])
        assert np.array_equal(state.vector, engine.resolver.folded(taken)[0])
        assert not np.array_equal(state.vector, before.vector)
        assert (applier.counted.records, applier.counted.events) == (2, 2)

    asyncio.run(story())


@examples(max_examples=15)
@given(st.integers(0, 10**6))
def test_any_order_any_duplication_and_any_batches_leave_the_same_bytes(engine, seed):
    settings = Settings.model_validate({"stream": {"seen": 30, "shown": 10}, "train": {"recent_items": 8}})
    rng = random.Random(seed)  # noqa: S311
    told = [
        *events(150, seed),
        Merged("m1", NOW + 9, "new", "guest"),
        Merged("m2", NOW + 5, "196", "new"),
        Declared("d1", NOW + 1, "new", ("jazz",)),
        Declared("d2", NOW + 2, "new", ("rock",)),
    ]
    wanted = replayed(told, engine, settings)
    again = told + rng.choices(told, k=300)
    rng.shuffle(again)

    async def story():
        store = MemoryStore()
        applier = Applier(store, lambda: engine, settings)
        while again:
            size = rng.randrange(1, 100)
            await applier.apply(again[:size])
            del again[:size]
        assert bytes_of(store, engine.id) == wanted
        assert applier.counted.events <= len(told) < applier.counted.records == 300 + len(told)

    asyncio.run(story())


def test_what_is_done_under_a_merged_id_counts_for_the_user_before_and_after(engine, streaming):
    early = Event("1", NOW, "guest", "50", "play")
    merged, late = Merged("m", NOW + 1, "ann", "guest"), Event("2", NOW + 2, "guest", "181", "dismiss")
    own = [replace(early, user="ann"), replace(late, user="ann")]
    states, _, vectors, _ = replayed([early, merged, late], engine, streaming)
    assert replayed([late, merged, early], engine, streaming)[0] == states
    assert replayed([merged, merged, late, early, early], engine, streaming)[0] == states
    direct, _, direct_vectors, _ = replayed(own, engine, streaming)
    assert vectors["ann"][8:] != direct_vectors["ann"][8:12]
    assert vectors["ann"][12:] == direct_vectors["ann"][12:]

    async def known():
        store = MemoryStore()
        await Applier(store, lambda: engine, streaming).apply([early, merged, late])
        return await store.get(["ann", "guest"], engine.id)

    ann, guest = asyncio.run(known())
    assert (ann.absorbed, guest.into) == (("guest",), ("ann",))
    assert ann.recent.tolist() == guest.recent.tolist()
    assert len(direct["ann"]) < len(states["ann"])


def test_workers_that_share_a_log_leave_what_one_leaves(engine, streaming):
    told = [*events(400), Merged("m1", NOW + 9, "new", "guest")]

    async def story():
        store, stop = MemoryStore(), asyncio.Event()
        async with open_log(streaming) as log:
            layers = [SpeedLayer(log, store, lambda: engine, streaming, f"w{n}") for n in range(3)]
            await log.append(told)
            working = [asyncio.create_task(layer.run(stop)) for layer in layers]
            await finished(log)
            stop.set()
            await asyncio.gather(*working)
        assert sum(layer.counted.records for layer in layers) >= len(told)
        return bytes_of(store, engine.id)

    assert asyncio.run(story()) == replayed(told, engine, streaming)


def test_a_reader_that_never_acknowledges_is_not_waited_for(engine, streaming):
    told = events(120)

    async def story():
        store, stop = MemoryStore(), asyncio.Event()
        async with open_log(streaming) as log:
            await log.append(told)
            assert len(await log.read(GROUP, "asleep", 60, 0)) == 60
            layer = SpeedLayer(log, store, lambda: engine, streaming, "awake")
            working = asyncio.create_task(layer.run(stop))
            await finished(log)
            stop.set()
            await working
        return bytes_of(store, engine.id)

    assert asyncio.run(story()) == replayed(told, engine, streaming)


async def finished(log):
    """When everything was applied."""
    while (found := await log.status(GROUP)).lag or found.pending:  # noqa: ASYNC110  readers in other tasks do it
        await asyncio.sleep(0.01)


async def handled(log, layer, times):
    """Batches until nothing is left for a while, so many times."""
    for _ in range(times):
        while entries := await log.read(GROUP, "w", 50, 0):
            assert await layer.handle(entries)
        await asyncio.sleep(0.06)


def test_what_cannot_be_applied_is_tried_and_put_aside_and_blocks_nothing(engine, streaming):
    good = events(40)
    bad = [
        (Event("b1", NOW, "196", "50", "no such kind"), "unknown kind of event 'no such kind', choose one of"),
        (Event("b2", NOW, "196", "50", "play", -1.0), "its value is -1.0: a number of at least 0 was wanted"),
        (Event("b3", 2**60, "196", "50", "play"), "its time is 1152921504606846976: unix seconds were wanted"),
        (Merged("b4", NOW, "196", "196"), "user '196' cannot be merged into themselves"),
    ]

    async def story():
        store = MemoryStore()
        async with open_log(streaming) as log:
            layer = SpeedLayer(log, store, lambda: engine, streaming, "w")
            await log.append([record for record, _ in bad] + good)
            assert await layer.handle(await log.read(GROUP, "w", 50, 0))
            after_one = [dict(part) for part in bytes_of(store, engine.id)]
            assert (await log.status(GROUP)).pending == len(bad)
            assert [each async for each in log.dead(GROUP)] == []
            await handled(log, layer, 3)
            assert (await log.status(GROUP)).pending == 0
            dead = [(entry.record, reason) async for entry, reason in log.dead(GROUP)]
            assert [record for record, _ in dead] == [record for record, _ in bad]
            assert all(reason.startswith(said) for (_, reason), (_, said) in zip(dead, bad, strict=True))
            assert layer.counted.buried == len(bad)
            return after_one

    assert asyncio.run(story()) == [dict(part) for part in replayed(good, engine, streaming)]


def test_a_damaged_state_costs_its_user_alone(engine, streaming):
    told = events(60)

    async def story():
        store = MemoryStore()
        store._states["405"] = b"garbage"
        async with open_log(streaming) as log:
            layer = SpeedLayer(log, store, lambda: engine, streaming, "w")
            await log.append(told)
            await handled(log, layer, 5)
            dead = [(entry.record.user, reason) async for entry, reason in log.dead(GROUP)]
        assert {user for user, _ in dead} == {"405"}
        assert "state of user '405' was not written by this program" in dead[0][1]
        assert len(dead) == sum(record.user == "405" for record in told)
        assert store._states.pop("405") == b"garbage"
        return bytes_of(store, engine.id)

    others = [record for record in told if record.user != "405"]
    assert asyncio.run(story()) == replayed(others, engine, streaming)


def test_more_users_than_are_joined_at_once_leave_what_one_by_one_leaves(engine, streaming):
    """Also where two ids that become one are far apart; and where one part fails, the others are there in full."""
    told = [Event(f"e{n}", NOW + n, f"u{n}", str(n % 60 + 1), "play") for n in range(2 * TOGETHER + 50)]
    told.append(Merged("m", NOW, "u0", f"u{2 * TOGETHER}"))
    wanted = MemoryStore()
    for record in told:
        asyncio.run(Applier(wanted, lambda: engine, streaming).apply([record]))
    assert replayed(told, engine, streaming) == bytes_of(wanted, engine.id)
    damaged = MemoryStore()
    damaged._states["u1"] = b"garbage"
    with pytest.raises(StoreError, match="state of user 'u1' was not written by this program"):
        asyncio.run(Applier(damaged, lambda: engine, streaming).apply(told))
    assert set(damaged._vectors[engine.id]) >= {f"u{n}" for n in range(TOGETHER, 2 * TOGETHER + 50)}


def test_without_a_release_states_are_kept_and_folded_when_there_is_one(engine, streaming):
    told = events(80)

    async def story():
        store = MemoryStore()
        await Applier(store, lambda: None, streaming).apply(told)
        folded = await refresh(store, engine, store.users(), limits_of(streaming))
        assert folded == len([user for user in USERS if user in store._vectors[engine.id]])
        assert await refresh(store, engine, store.users(), limits_of(streaming)) == 0
        assert await refresh(store, engine, listed(["nobody"]), limits_of(streaming)) == 0
        return bytes_of(store, engine.id)

    assert asyncio.run(story()) == replayed(told, engine, streaming)


def test_a_release_that_is_published_in_the_middle_leaves_what_a_clean_replay_over_it_leaves(engine, streaming):
    """Workers that still hold the old one too: what they write has no vector in the new space, and requests fold it."""
    told, other = events(200), replace(engine, id="another")

    async def story():
        store = MemoryStore()
        old, new = (Applier(store, lambda each=each: each, streaming) for each in (engine, other))
        await old.apply(told[:120])
        await refresh(store, other, store.users(), limits_of(streaming))
        await old.apply(told[120:140])
        await new.apply(told[140:])
        await old.apply(told[150:160])
        for state in await store.get(USERS, other.id):
            taken, _ = other.resolver.taken([state.user], [state])
            assert state.vector is None or np.array_equal(state.vector, other.resolver.folded(taken)[0])
        await refresh(store, other, listed(await store.active(0)), limits_of(streaming))
        return bytes_of(store, other.id)

    assert asyncio.run(story()) == replayed(told, other, streaming)


def test_states_are_made_again_from_the_log_to_the_bit(engine, streaming):
    told = [replace(record, time=NOW + n) for n, record in enumerate(events(300))]
    told += [Merged("m", NOW, "new", "guest"), Declared("d", NOW, "new", ("jazz",))]

    async def story():
        store = MemoryStore()
        async with open_log(streaming) as log:
            layer = SpeedLayer(log, store, lambda: engine, streaming, "w")
            await log.append([*told[:150], Event("b", NOW, "196", "50", "no such kind"), *told[150:]])
            await handled(log, layer, 4)
            live = [dict(part) for part in bytes_of(store, engine.id)]
            trends = await Trends(7.0).largest(store, NOW)
            store._states["196"] = b"garbage"

            async def records():
                async for entry in log.replay():
                    yield entry.record

            counted = await rebuild(records(), store, engine, streaming)
        assert [dict(part) for part in bytes_of(store, engine.id)] == live
        assert await Trends(7.0).largest(store, NOW) == pytest.approx(trends)
        assert await store.sealed(engine.id)
        assert counted.records == len(told)

    asyncio.run(story())


def test_items_and_interests_of_the_log_are_those_said_last(engine, streaming):
    async def story():
        store = MemoryStore()
        applier = Applier(store, lambda: engine, streaming)
        said = [
            Described("i2", NOW + 2, "x", None),
            Described("i1", NOW + 1, "x", {"title": "X"}),
            Declared("d2", NOW + 2, "ann", ("jazz",)),
            Declared("d1", NOW + 1, "ann", ("rock",)),
        ]
        for record in said:
            await applier.apply([record])
        assert [change.description for change in (await store.item_changes()).changes] == [None]
        (ann,) = await store.get(["ann"], engine.id)
        assert ann.interests == ("jazz",)

    asyncio.run(story())


def test_what_trends_counts_each_event_once_and_fades():
    trends = Trends(1.0)

    async def story():
        store = MemoryStore()
        applier = Applier(store, lambda: None, Settings.model_validate({"stream": {"half_life_days": 1}}))
        told = [Event("1", NOW, "a", "x", "play"), Event("2", NOW - 86_400, "a", "y", "like")]
        told += [Event("3", NOW, "a", "z", "skip"), Event("4", NOW, "b", "x", "play")]
        for _ in range(3):
            await applier.apply([*told, *told])
        assert await trends.largest(store, NOW) == pytest.approx({"x": 2.0, "y": 1.0})
        assert await trends.largest(store, NOW + 86_400) == pytest.approx({"x": 1.0, "y": 0.5})
        assert list(await trends.largest(store, NOW, most=1)) == ["x"]
        assert applier.counted.repeated == 5 * len(told)

    asyncio.run(story())


def test_trends_go_on_over_the_border_of_an_era():
    trends = Trends(1.0)

    async def story():
        store = MemoryStore()
        border = 100 * 86_400 * (NOW // (100 * 86_400))
        await trends.count(store, [("before", border - 1, 1.0), ("after", border, 1.0)])
        found = await trends.largest(store, border)
        assert found == pytest.approx({"before": 1.0, "after": 1.0}, rel=1e-4)

    asyncio.run(story())


def test_impressions_cost_no_folding(engine, streaming, monkeypatch):
    async def story():
        store = MemoryStore()
        applier = Applier(store, lambda: engine, streaming)
        await applier.apply([Event("1", NOW, "196", "50", "like")])
        vector = store._vectors[engine.id]["196"]
        folded = []
        blind = replace(engine, resolver=replace(engine.resolver, fold=Watching(engine.resolver.fold, folded)))
        await Applier(store, lambda: blind, streaming).apply([Shown("r", NOW, "196", ("1", "2"), "home", "r", "x")])
        assert (folded, store._vectors[engine.id]["196"]) == ([], vector)
        (state,) = await store.get(["196"], engine.id)
        assert (len(state.shown), state.vector is not None) == (2, True)

    asyncio.run(story())


class Watching:
    """A fold that says when it is asked."""

    def __init__(self, fold, asked):
        self.fold_, self.asked, self.items = fold, asked, fold.items

    def fold(self, *arguments):
        self.asked.append(arguments)
        return self.fold_.fold(*arguments)

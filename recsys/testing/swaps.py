"""The contract suite of what a store does for who changes states: read, swap if nobody was faster, erase, count."""

# ruff: noqa: S101 - asserting is what these functions are for

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import numpy as np

from recsys.arrays import Float32
from recsys.stores import ItemChange, Store, UserState
from recsys.testing.stores import OpenStore, Run, assert_same_state, running, user_state


class SwapContract:
    """What every store must do for who changes states; the fixture is that of ``UserStateStoreContract``."""

    def test_what_nobody_else_changed_is_written_and_what_somebody_did_is_not(self, open_empty: OpenStore) -> None:
        """A token holds until the state, or what was shown, is another; of several users each is for itself."""
        with running(open_empty) as (run, store):
            run(store.put([user_state("a"), user_state("b")], "r1"))
            before = run(store.load(["a", "b", "new"], "r1"))
            newer = [user_state(user, 4, 1, _vector()) for user in ("a", "b", "new")]
            run(store.put([replace(user_state("b"), shown_times=user_state("b").shown_times + 1)], "r1"))
            changes = [(state, stored.token) for state, stored in zip(newer, before, strict=True)]
            assert run(store.swap(changes, "r1")) == [True, False, True]
            found = run(store.get(["a", "b", "new"], "r1"))
            assert_same_state(found[0], newer[0])
            assert found[1] is not None
            assert found[1].vector is None
            assert_same_state(found[2], newer[2])
            assert run(store.swap(changes, "r1")) == [False, False, False]
            assert run(store.swap([], "r1")) == []

    def test_one_of_many_who_swap_at_once_wins_each_time(self, open_empty: OpenStore) -> None:
        """So that nothing of what each of them adds is lost if the others read again."""

        async def add(store: Store, mark: int) -> int:
            for tries in range(1, 100):
                (stored,) = await store.load(["u"], "r1")
                state = stored.state or user_state("u", 0, 0)
                marks = np.append(state.marks, np.uint32(mark))
                wanted = replace(user_state("u", len(marks), 0), marks=marks)
                if (await store.swap([(wanted, stored.token)], "r1"))[0]:
                    return tries
            raise AssertionError("somebody never won")

        async def together(store: Store) -> list[int]:
            return await asyncio.gather(*(add(store, mark) for mark in range(20)))

        with running(open_empty) as (run, store):
            run(together(store))
            (found,) = run(store.get(["u"], "r1"))
            assert found is not None
            assert sorted(found.marks.tolist()) == list(range(20))

    def test_a_state_of_nothing_is_taken_away(self, open_empty: OpenStore) -> None:
        """But what is linked with another id is not nothing."""
        with running(open_empty) as (run, store):
            linked = replace(_nothing("linked"), into=("u",))
            run(store.put([user_state("u", vector=_vector()), user_state("linked")], "r1"))
            tokens = [stored.token for stored in run(store.load(["u", "linked"], "r1"))]
            assert run(store.swap(list(zip([_nothing("u"), linked], tokens, strict=True)), "r1")) == [True, True]
            found = run(store.get(["u", "linked"], "r1"))
            assert found[0] is None
            assert_same_state(found[1], linked)
            assert _everybody(run, store) == {"linked"}

    def test_users_that_were_swapped_are_active_and_those_with_states_are_listed(self, open_empty: OpenStore) -> None:
        """Also one whose swap came to nothing: somebody tried."""
        with running(open_empty) as (run, store):
            start = time.time() - 1
            (late,) = run(store.load(["put"], "r1"))
            run(store.put([user_state("put")], "r1"))
            assert run(store.active(start)) == []
            (stored,) = run(store.load(["ü{}"], "r1"))
            run(store.swap([(user_state("ü{}"), stored.token)], "r1"))
            assert run(store.swap([(user_state("put"), late.token)], "r1")) == [False]
            assert sorted(run(store.active(start))) == ["put", "ü{}"]
            assert run(store.active(time.time() + 60)) == []
            assert _everybody(run, store) == {"put", "ü{}"}

    def test_what_is_erased_is_gone_and_counted_and_nobody_else_is(self, open_empty: OpenStore) -> None:
        """All releases' vectors, interests and impressions; a user whose id looks like a pattern is that user alone."""
        with running(open_empty) as (run, store):
            for user in ("a*", "ab"):
                for release in ("r1", "r2"):
                    run(store.put([user_state(user, vector=_vector())], release))
                run(store.declare({user: ["jazz"]}))
                (stored,) = run(store.load([user], "r1"))
                run(store.swap([(user_state(user, vector=_vector()), stored.token)], "r1"))
            counts = run(store.erase(["a*", "nobody"]))
            assert counts == {"states": 1, "impressions": 1, "vectors": 2, "interests": 1, "active": 1}
            assert set(run(store.erase(["a*"])).values()) == {0}
            assert run(store.get(["a*"], "r1")) == [None]
            assert run(store.active(0)) == ["ab"]
            (left,) = run(store.get(["ab"], "r2"))
            assert_same_state(left, replace(user_state("ab", vector=_vector()), interests=("jazz",)))

    def test_wiping_takes_states_and_counts_and_leaves_what_was_said(self, open_empty: OpenStore) -> None:
        """Interests and items stay."""
        with running(open_empty) as (run, store):
            run(store.put([user_state("u", vector=_vector()), user_state("v")], "r1"))
            run(store.declare({"u": ["jazz"]}))
            run(store.change_items([ItemChange("x", {})]))
            run(store.count("week", {"x": 1.0}, 60))
            assert run(store.wipe()) == 2
            (found,) = run(store.get(["u"], "r1"))
            assert found is not None
            assert (found.empty, found.interests, len(found.shown)) == (True, ("jazz",), 0)
            assert run(store.forget("r1")) == 0
            assert run(store.largest("week", 5)) == {}
            assert run(store.item_changes()).changes == (ItemChange("x", {}),)

    def test_what_was_said_later_stays_whatever_comes_after(self, open_empty: OpenStore) -> None:
        """By stamps, of interests and of items; what has no stamp is taken as it comes."""
        early, late = "1" * 24, "2" * 24
        with running(open_empty) as (run, store):
            run(store.declare({"u": ["late"]}, late))
            run(store.declare({"u": ["early"]}, early))
            (found,) = run(store.get(["u"], "r1"))
            assert found is not None
            assert found.interests == ("late",)
            run(store.declare({"u": []}, "3" * 24))
            run(store.declare({"u": ["late"]}, late))
            assert run(store.get(["u"], "r1")) == [None]
            run(store.change_items([ItemChange("x", {"title": "late"}, late), ItemChange("x", None, early)]))
            read = run(store.item_changes())
            assert read.changes == (ItemChange("x", {"title": "late"}),)
            run(store.change_items([ItemChange("x", {"title": "again"}, late)]))
            assert run(store.item_changes()).mark == read.mark
            run(store.change_items([ItemChange("x", {"title": "now"})]))
            assert run(store.item_changes()).changes == (ItemChange("x", {"title": "now"}),)

    def test_amounts_add_up_and_the_largest_are_kept(self, open_empty: OpenStore) -> None:
        """Tallies are apart; of too many names those with the least go, sooner or later."""
        with running(open_empty) as (run, store):
            run(store.count("week", {"a": 1.0, "ü": 2.5}, 60))
            run(store.count("week", {"a": 2.0}, 60))
            run(store.count("month", {}, 60))
            assert run(store.largest("week", 5)) == {"a": 3.0, "ü": 2.5}
            assert list(run(store.largest("week", 1))) == ["a"]
            assert run(store.largest("month", 5)) == {}
            run(store.count("many", {f"i{n}": float(n) for n in range(100)}, 60, most=10))
            assert list(run(store.largest("many", 100))) == [f"i{n}" for n in range(99, 89, -1)]


def _everybody(run: Run, store: Store) -> set[str]:
    async def listed() -> set[str]:
        return {user async for some in store.users() for user in some}

    return run(listed())


def _nothing(user: str) -> UserState:
    empty = user_state(user, 0, 0)
    return replace(empty, into=())


def _vector() -> Float32:
    return np.linspace(0, 1, 8, dtype=np.float32)

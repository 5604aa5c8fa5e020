"""The contract suites of user-state stores and of stores of item changes."""

# ruff: noqa: S101 - asserting is what these functions are for

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

from recsys.arrays import Float32
from recsys.stores import ItemChange, ItemChanges, Store, UserState

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn, SearchStrategy

T = TypeVar("T")

OpenStore = Callable[[], AbstractAsyncContextManager[Store]]


ARRAYS = ("vector", "recent", "weights", "times", "marks", "seen", "seen_times", "dropped", "shown", "shown_times",
          "shown_marks")  # fmt: skip
"""The arrays of a state."""


class Run(Protocol):
    """Waits for something asynchronous."""

    def __call__(self, awaitable: Awaitable[T]) -> T:
        """Return what ``awaitable`` gives."""
        ...


@contextmanager
def running(open_store: OpenStore) -> Iterator[tuple[Run, Store]]:
    """An event loop and a store that is open in it, for tests that are plain functions."""

    async def waited(awaitable: Awaitable[T]) -> T:
        return await awaitable

    with asyncio.Runner() as runner:

        def run(awaitable: Awaitable[T]) -> T:
            return runner.run(waited(awaitable))

        context = open_store()
        store = run(context.__aenter__())
        try:
            yield run, store
        finally:
            run(context.__aexit__(None, None, None))


def user_state(user: str, recent: int = 3, seen: int = 5, vector: Float32 | None = None) -> UserState:
    """A state whose numbers follow from the user's id, so that no two users' states are alike."""
    rng = np.random.default_rng(list(user.encode("utf-8", "surrogatepass")))
    return UserState(
        user=user,
        vector=vector,
        recent=rng.integers(0, 2**64, recent, np.uint64),
        weights=rng.random(recent, np.float32),
        times=np.sort(rng.integers(0, 2_000_000_000, recent))[::-1],
        seen=rng.integers(0, 2**64, seen, np.uint64),
        marks=rng.integers(0, 2**32, recent, np.uint32),
        seen_times=rng.integers(0, 2_000_000_000, seen),
        dropped=rng.random(seen) < 0.5,
        shown=rng.integers(0, 2**64, recent, np.uint64),
        shown_times=rng.integers(0, 2_000_000_000, recent),
        shown_marks=rng.integers(0, 2**32, recent, np.uint32),
        into=(f"{user}'s",),
    )


def assert_same_state(found: UserState | None, wanted: UserState | None) -> None:
    """Two states are the same to the bit, or both None."""
    if found is None or wanted is None:
        assert found is wanted, f"{found} is not {wanted}"
        return
    assert found.user == wanted.user
    assert found.interests == wanted.interests
    assert (found.vector is None) == (wanted.vector is None), f"{found.user!r}: {found.vector} is not {wanted.vector}"
    assert (found.into, found.absorbed) == (wanted.into, wanted.absorbed)
    for name in ARRAYS:
        one, other = getattr(found, name), getattr(wanted, name)
        if one is not None:
            assert one.dtype == other.dtype, f"{name} of {found.user!r}: {one.dtype} is not {other.dtype}"
            np.testing.assert_array_equal(one, other, err_msg=f"{name} of {found.user!r}")


class UserStateStoreContract:
    """What every user-state store must do.

    The fixture ``open_empty`` is a function that opens a store in which nothing is kept.
    """

    def test_get_gives_what_was_put_in_the_order_asked_for(self, open_empty: OpenStore) -> None:
        """Order is the caller's, and a user asked for twice comes twice."""
        states = {user: user_state(user, vector=_vector(7)) for user in ("a", "b", "c")}
        with running(open_empty) as (run, store):
            assert run(store.put(states.values(), "r1")) == 3
            _assert_same(run(store.get(["c", "a", "b", "a"], "r1")), [states[user] for user in "caba"])

    def test_what_was_shown_need_not_be_asked_for(self, open_empty: OpenStore) -> None:
        """Without it the state is the same but for that."""
        times, marks = np.array([5, 6], np.int64), np.array([1, 2], np.uint32)
        put = replace(user_state("u"), shown=np.array([3, 4], np.uint64), shown_times=times, shown_marks=marks)
        with running(open_empty) as (run, store):
            run(store.put([put], "r1"))
            nothing = UserState("nobody", None, put.recent[:0], put.weights[:0], put.times[:0], put.seen[:0])
            bare = replace(put, shown=nothing.shown, shown_times=nothing.shown_times, shown_marks=nothing.shown_marks)
            _assert_same(run(store.get(["u", "v"], "r1", shown=False)), [bare, None])
            _assert_same(run(store.get(["u", "v"], "r1")), [put, None])

    def test_an_unknown_user_is_none_and_moves_nobody(self, open_empty: OpenStore) -> None:
        """None stands where the user was asked for."""
        known = user_state("known")
        with running(open_empty) as (run, store):
            assert run(store.get(["nobody"], "r1")) == [None]
            run(store.put([known], "r1"))
            _assert_same(run(store.get(["x", "known", "y"], "r1")), [None, known, None])

    def test_nobody_asked_for_is_nobody_found_and_nothing_put_is_nothing_written(self, open_empty: OpenStore) -> None:
        """Empty in, empty out."""
        with running(open_empty) as (run, store):
            assert run(store.get([], "r1")) == []
            assert run(store.put([], "r1")) == 0

    def test_a_vector_is_never_given_for_another_release(self, open_empty: OpenStore) -> None:
        """Not even when one release's id begins with the other's or looks like a pattern."""
        releases = ["r1", "r11", "r", "r*", "r?", "r1:{u", "r%31"]
        vectors = {release: _vector(place) for place, release in enumerate(releases)}
        with running(open_empty) as (run, store):
            for release, vector in vectors.items():
                _assert_same(run(store.get(["u"], release)), [None if release == "r1" else user_state("u")])
                run(store.put([user_state("u", vector=vector)], release))
            for release, vector in vectors.items():
                _assert_same(run(store.get(["u"], release)), [user_state("u", vector=vector)])
            assert run(store.forget("r*")) == 1
            for release, vector in vectors.items():
                left = None if release == "r*" else vector
                _assert_same(run(store.get(["u"], release)), [user_state("u", vector=left)])

    def test_recent_and_seen_items_are_shared_by_all_releases(self, open_empty: OpenStore) -> None:
        """What one release writes, every other reads, beside its own vector."""
        with running(open_empty) as (run, store):
            run(store.put([user_state("u", 2, 2, _vector(1))], "r1"))
            newer = user_state("u", 6, 9, _vector(2))
            run(store.put([newer], "r2"))
            # The vector of another release was made of what the state is no longer.
            _assert_same(run(store.get(["u"], "r1")), [user_state("u", 6, 9)])
            _assert_same(run(store.get(["u"], "r2")), [newer])
            run(store.put([replace(newer, vector=_vector(3))], "r1"))
            _assert_same(run(store.get(["u"], "r2")), [newer])

    def test_the_last_put_wins(self, open_empty: OpenStore) -> None:
        """Within one call as well, and a state without a vector takes the old one away."""
        with running(open_empty) as (run, store):
            first, second, third = (user_state("u", n, n + 1, _vector(n)) for n in (4, 2, 3))
            assert run(store.put([first, second], "r1")) == 2
            _assert_same(run(store.get(["u"], "r1")), [second])
            run(store.put([third], "r1"))
            _assert_same(run(store.get(["u"], "r1")), [third])
            bare = user_state("u")
            run(store.put([bare], "r1"))
            _assert_same(run(store.get(["u"], "r1")), [bare])

    def test_a_release_is_sealed_after_seal_and_not_after_forget(self, open_empty: OpenStore) -> None:
        """Putting alone seals nothing, and seals of other releases stay."""
        with running(open_empty) as (run, store):
            run(store.put([user_state("u", vector=_vector(1))], "r1"))
            assert not run(store.sealed("r1"))
            run(store.seal("r1"))
            run(store.seal("r2"))
            assert run(store.sealed("r1"))
            run(store.forget("r1"))
            assert not run(store.sealed("r1"))
            assert run(store.sealed("r2"))

    def test_forget_removes_the_vectors_of_one_release_and_nothing_else(self, open_empty: OpenStore) -> None:
        """It counts vectors, of which a state may have none, and finds nothing the second time."""
        with running(open_empty) as (run, store):
            some = [user_state(f"u{n}", vector=_vector(n) if n % 2 else None) for n in range(10)]
            run(store.put(some, "r1"))
            run(store.put([user_state("u1", vector=_vector(9))], "r2"))
            assert run(store.forget("r1")) == 5
            assert run(store.forget("r1")) == 0
            users = [state.user for state in some]
            _assert_same(run(store.get(users, "r1")), [user_state(user) for user in users])
            _assert_same(run(store.get(["u1"], "r2")), [user_state("u1", vector=_vector(9))])

    def test_ten_thousand_states_come_back(self, open_empty: OpenStore) -> None:
        """Given one at a time, as the trainer does, and read in one call."""
        users = [f"user-{n}" for n in range(10_000)]
        with running(open_empty) as (run, store):
            assert run(store.put((user_state(user, 2, 3, _vector(1)) for user in users), "r1")) == len(users)
            found = run(store.get(users, "r1"))
            assert [state and state.user for state in found] == users
            _assert_same(found[::997], [user_state(user, 2, 3, _vector(1)) for user in users[::997]])
            assert run(store.forget("r1")) == len(users)

    def test_any_text_is_an_id(self, open_empty: OpenStore) -> None:
        """No id is another's, whatever it is made of."""
        users = ["", "0", "ü", "用户", "a b\r\n", "{}", "{a}", "}{", "}", "a*", "NUL\0", "\udc80", "u" * 1000, "a:{ub}"]
        with running(open_empty) as (run, store):
            states = [user_state(user, vector=_vector(place)) for place, user in enumerate(users)]
            run(store.put(states, "r1"))
            _assert_same(run(store.get(users, "r1")), states)
            assert run(store.forget("r1")) == len(users)

    def test_arrays_that_come_out_cannot_be_written_to(self, open_empty: OpenStore) -> None:
        """And what is done to the arrays that went in is not seen."""
        with running(open_empty) as (run, store):
            given = user_state("u", vector=_vector(1))
            run(store.put([given], "r1"))
            given.recent[:] = 0
            (found,) = run(store.get(["u"], "r1"))
            _assert_same([found], [user_state("u", vector=_vector(1))])
            assert found is not None
            assert found.vector is not None
            for name in ARRAYS:
                assert not getattr(found, name).flags.writeable

    def test_a_batch_is_the_same_as_one_by_one(self, open_empty: OpenStore) -> None:
        """Known and unknown users mixed, with and without vectors, for any numbers that the types can hold."""
        from hypothesis import given, settings  # noqa: PLC0415  only where tests run
        from hypothesis import strategies as st  # noqa: PLC0415

        with running(open_empty) as (run, store):

            @settings(max_examples=25, deadline=None, database=None)
            @given(st.lists(user_states(), max_size=5), st.lists(st.text(max_size=3), max_size=3))
            def law(states: list[UserState], strangers: list[str]) -> None:
                assert run(store.put(states, "r1")) == len(states)
                users = [state.user for state in states] + strangers
                together = run(store.get(users, "r1"))
                _assert_same(together, [run(store.get([user], "r1"))[0] for user in users])
                last = {state.user: state for state in states}
                _assert_same(together[: len(states)], [last[state.user] for state in states])

            law()

    def test_interests_are_what_was_declared_last_whatever_is_put(self, open_empty: OpenStore) -> None:
        """Somebody who only declared something is known, with nothing seen; nothing declared is nothing kept."""
        with running(open_empty) as (run, store):
            run(store.declare({"new": ["jazz", "Ä, b"], "u": ["x"]}))
            run(store.put([user_state("u", vector=_vector(1))], "r1"))
            found = run(store.get(["new", "u", "x"], "r1"))
            assert [state and state.interests for state in found] == [("jazz", "Ä, b"), ("x",), None]
            assert [state and state.empty for state in found] == [True, False, None]
            run(store.put([user_state("new")], "r1"))
            run(store.declare({"u": ["y", "z"], "new": []}))
            _assert_same(
                run(store.get(["new", "u"], "r1")),
                [user_state("new"), replace(user_state("u", vector=_vector(1)), interests=("y", "z"))],
            )
            run(store.declare({"nobody": []}))
            assert run(store.get(["nobody"], "r1")) == [None]

    def test_ping_returns(self, open_empty: OpenStore) -> None:
        """The store that has just been opened answers."""
        with running(open_empty) as (run, store):
            run(store.ping())


class ItemChangeStoreContract:
    """What every store of item changes must do; the fixture is that of :class:`UserStateStoreContract`."""

    def test_changes_come_back_in_their_order_and_only_what_is_new(self, open_empty: OpenStore) -> None:
        """The last change of each item, where its last one stands."""
        first = [ItemChange("a", {"title": "A"}), ItemChange("b", {"tags": ["x", "ü"], "year": 1972, "vector": [0.5]})]
        with running(open_empty) as (run, store):
            assert run(store.item_changes()) == ItemChanges("", (), whole=True)
            run(store.change_items(first))
            read = run(store.item_changes())
            assert (read.changes, read.whole) == (tuple(first), True)
            assert run(store.item_changes(read.mark)) == ItemChanges(read.mark, (), whole=False)
            then = [ItemChange("c", {}), ItemChange("a", None), ItemChange("c", {"title": "C"})]
            run(store.change_items(then))
            later = run(store.item_changes(read.mark))
            assert (later.changes, later.whole) == ((then[1], then[2]), False)
            assert later.mark != read.mark
            assert run(store.item_changes()).changes == (first[1], then[1], then[2])

    def test_what_is_written_back_does_not_undo_what_came_since(self, open_empty: OpenStore) -> None:
        """Only items that the store knows nothing of are taken."""
        with running(open_empty) as (run, store):
            run(store.change_items([ItemChange("a", {"title": "new"})]))
            run(store.change_items([ItemChange("a", None), ItemChange("b", None)], only_missing=True))
            found = run(store.item_changes()).changes
            assert found == (ItemChange("a", {"title": "new"}), ItemChange("b", None))

    def test_any_id_and_any_text_are_kept_and_thousands_of_them(self, open_empty: OpenStore) -> None:
        """In more batches than one, the long ones among them."""
        ids = ["0", "ü", "a b\r\n", "{items}", "NUL\0", "\udc80", "u" * 1000]
        changes = [ItemChange(id_, {"text": id_ * 1000, "none": None, "deep": [1, 2.5, True]}) for id_ in ids]
        changes += [ItemChange(f"item-{n}", {"title": str(n)}) for n in range(3000)]
        with running(open_empty) as (run, store):
            run(store.change_items([]))
            run(store.change_items(changes))
            assert run(store.item_changes()).changes == tuple(changes)

    def test_what_is_dropped_is_gone_unless_it_changed_and_its_past_does_not_come_back(
        self, open_empty: OpenStore
    ) -> None:
        """The mark stays; a later change is another one; an older one that comes twice comes too late."""
        early, late = "1" * 24, "2" * 24
        a, b = ItemChange("a", {"title": "A"}, late), ItemChange("b", {"title": "B"})
        with running(open_empty) as (run, store):
            run(store.change_items([a, b, ItemChange("c", None)]))
            read = run(store.item_changes())
            run(store.change_items([ItemChange("b", {"title": "other"})]))
            assert run(store.drop_items([])) == 0
            assert run(store.drop_items([a, b, ItemChange("never", {})])) == 1
            found = run(store.item_changes())
            assert found.changes == (ItemChange("c", None), ItemChange("b", {"title": "other"}))
            assert run(store.item_changes(read.mark)).changes == (ItemChange("b", {"title": "other"}),)
            run(store.change_items([ItemChange("a", None, early)]))
            assert run(store.item_changes()) == found
            run(store.change_items([ItemChange("a", {"title": "again"})]))
            assert run(store.item_changes(found.mark)).changes == (ItemChange("a", {"title": "again"}),)

    def test_users_and_items_are_kept_apart(self, open_empty: OpenStore) -> None:
        """An item of a user's name is no user, and forgetting a release forgets no item."""
        with running(open_empty) as (run, store):
            run(store.change_items([ItemChange("x", None)]))
            assert run(store.get(["x"], "r1")) == [None]
            assert run(store.forget("r1")) == 0
            assert run(store.item_changes()).changes == (ItemChange("x", None),)


def user_states() -> SearchStrategy[UserState]:
    """Any state that the types allow: a strategy of hypothesis."""
    from hypothesis import strategies as st  # noqa: PLC0415  only where tests run

    int64, uint64 = st.integers(-(2**63), 2**63 - 1), st.integers(0, 2**64 - 1)
    float32 = st.floats(width=32)

    @st.composite
    def states(draw: DrawFn) -> UserState:
        uint32, texts = st.integers(0, 2**32 - 1), st.lists(st.text(max_size=3), max_size=2).map(tuple)

        def columns(most: int, *kinds: tuple[SearchStrategy[Any], type]) -> list[Any]:
            lines = draw(st.lists(st.tuples(*(kind for kind, _ in kinds)), max_size=most))
            return [np.array(column, dtype) for column, (_, dtype) in
                    zip(zip(*lines, strict=True) if lines else ((),) * len(kinds), kinds, strict=True)]  # fmt: skip

        key, time, mark = (uint64, np.uint64), (int64, np.int64), (uint32, np.uint32)
        recent, weights, times, marks = columns(8, key, (float32, np.float32), time, mark)
        seen, seen_times, dropped = columns(12, key, time, (st.booleans(), np.bool_))
        shown, shown_times, shown_marks = columns(8, key, time, mark)
        vector = draw(st.none() | st.lists(float32, max_size=8))
        return UserState(
            user=draw(st.text(max_size=3)),
            vector=None if vector is None else np.array(vector, np.float32),
            recent=recent,
            weights=weights,
            times=times,
            seen=seen,
            marks=marks,
            seen_times=seen_times,
            dropped=dropped,
            shown=shown,
            shown_times=shown_times,
            shown_marks=shown_marks,
            into=draw(texts),
            absorbed=draw(texts),
        )

    return states()


def _vector(place: int) -> Float32:
    return np.linspace(place, place + 1, 8, dtype=np.float32)


def _assert_same(found: Sequence[UserState | None], wanted: Iterable[UserState | None]) -> None:
    for one, other in zip(found, wanted, strict=True):
        assert_same_state(one, other)

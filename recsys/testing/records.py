"""Records of every kind, for tests of whatever keeps them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recsys.logs.records import Declared, Described, Event, Merged, Record, Shown

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy


def records() -> SearchStrategy[Record]:
    """Any record that the types allow: a strategy of hypothesis."""
    from hypothesis import strategies as st  # noqa: PLC0415  only where tests run

    # half a surrogate pair too: JSON can hold one
    text = st.text(st.characters(categories=None), max_size=8)
    time, number = st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False)
    position = st.integers(1, 10_000)
    json = st.recursive(
        st.none() | st.booleans() | st.integers() | number | text,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
        max_leaves=8,
    )
    texts = st.lists(text, max_size=4).map(tuple)
    numbers = st.lists(number, max_size=4).map(tuple)
    return st.one_of(
        st.builds(Event, text, time, text, text, text, number, text, text, st.none() | position),
        st.builds(Shown, text, time, text, texts, text, text, text, position, numbers),
        st.builds(Described, text, time, text, st.none() | st.dictionaries(text, json, max_size=4)),
        st.builds(Declared, text, time, text, texts),
        st.builds(Merged, text, time, text, text),
    )

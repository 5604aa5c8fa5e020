"""The contract suite of encodings."""

# ruff: noqa: S101 - asserting is what these functions are for

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from recsys.encoding import Description, Encoding, load_encoding, save_encoding
from recsys.encoding.problems import SILENT, problems_of

TOLERANCE = 1e-6
"""How far apart two answers to one question may be."""
NOTHING: tuple[Any, ...] = (None, "", " \t\n", [], [""], [None], {})
"""Values that say nothing, wherever they stand."""
DIRTY: tuple[Any, ...] = (
    "<p>A <b>bold</b> &amp; bad <script>var x = '<'</script> film &nbsp;</p>",
    "<" * 2000 + "&" * 2000 + "<!-- ",
    "Een oude man kijkt terug · Старик вспоминает · 老人は海を思う · एक बूढ़ा आदमी · رجل عجوز",
    "ﬁﬁ Å Å \u0301 \u202e \x00 \ufeff \ud800 \U0001f600",
    "word " * 200_000,
    "x" * 1_000_000,
    ["never seen before", "", None, 7, ["nested"], {"a": 1}, "t" * 10_000],
    [float("nan"), float("inf"), 1e300],
    [1.0],
    [[1.0, 2.0], [3.0]],
    {"a": {"b": []}},
    float("nan"),
    float("-inf"),
    10**400,
    -1e308,
    True,
    0,
    b"bytes",
)
"""Values that a catalogue or a request may hold: markup, no known language, 1 MB, nothing that was ever seen."""


class EncodingContract:
    """What every encoding must do.

    The fixture ``fit`` is a function that fits it, the same each time; ``items``, the descriptions that it was fitted
    on, of which the first ``known`` must not be zeros: 3, unless the suite's subclass says otherwise.
    """

    known = 3

    def test_vectors_are_finite_rows_of_its_width(
        self, fit: Callable[[], Encoding], items: Sequence[Description]
    ) -> None:
        encoding = fit()
        vectors = encoding.encode(items)
        assert vectors.shape == (len(items), encoding.width)
        assert vectors.dtype == np.float32
        assert np.isfinite(vectors).all()
        assert vectors[: self.known].any(axis=1).all()
        assert encoding.encode([]).shape == (0, encoding.width)

    def test_what_is_loaded_encodes_as_what_was_saved(
        self, fit: Callable[[], Encoding], items: Sequence[Description], tmp_path: Path
    ) -> None:
        encoding = fit()
        save_encoding(encoding, tmp_path / "content")
        assert not any(array.dtype.hasobject for array in encoding.arrays().values())
        described = json.loads((tmp_path / "content/encoding.json").read_text("utf-8"))
        loaded = load_encoding(tmp_path / "content")
        assert described["kind"] == loaded.kind == encoding.kind
        assert loaded.rule == encoding.rule
        assert (loaded.width, loaded.reads) == (encoding.width, encoding.reads)
        assert np.allclose(loaded.encode(items), encoding.encode(items), rtol=0, atol=TOLERANCE)

    def test_fitting_twice_gives_the_same(self, fit: Callable[[], Encoding], items: Sequence[Description]) -> None:
        one, same = fit(), fit()
        assert one.arrays().keys() == same.arrays().keys()
        assert np.array_equal(one.encode(items), same.encode(items))

    def test_a_batch_equals_its_items_one_by_one_in_any_order(
        self, fit: Callable[[], Encoding], items: Sequence[Description]
    ) -> None:
        encoding = fit()
        batch = encoding.encode(items)
        for place in range(0, len(items), max(1, len(items) // 20)):
            assert np.allclose(encoding.encode([items[place]])[0], batch[place], rtol=0, atol=TOLERANCE)
        turned = encoding.encode(list(reversed(items)))[::-1]
        assert np.allclose(turned, batch, rtol=0, atol=TOLERANCE)

    def test_an_item_that_says_nothing_has_zeros(
        self, fit: Callable[[], Encoding], items: Sequence[Description]
    ) -> None:
        encoding = fit()
        silent: list[Description] = [{}, {"something else": "that nobody reads"}]
        silent += [dict.fromkeys(encoding.reads, nothing) for nothing in NOTHING]
        assert not encoding.encode(silent).any()
        mixed = encoding.encode([silent[0], items[0], silent[2]])
        assert mixed.any(axis=1).tolist() == [False, True, False]

    def test_what_cannot_be_used_is_explained_by_its_field(
        self, fit: Callable[[], Encoding], items: Sequence[Description]
    ) -> None:
        encoding = fit()
        reads = set(encoding.reads)
        for nothing in NOTHING[:2]:
            silent = problems_of(encoding, dict.fromkeys(encoding.reads, nothing))
            assert set(silent.values()) == {SILENT}
            assert set(silent) <= reads
        for item in items[: self.known]:
            assert reads - set(problems_of(encoding, item)), "what has a vector has something that can be used"
        for value in DIRTY:
            dirty = dict.fromkeys(encoding.reads, value)
            found = problems_of(encoding, dirty)
            assert found or encoding.encode([dirty]).any(), "what has no vector has a reason"
            assert set(found) <= reads
            assert all(found.values())

    def test_only_what_it_reads_changes_anything(
        self, fit: Callable[[], Encoding], items: Sequence[Description]
    ) -> None:
        encoding = fit()
        assert encoding.reads
        bare = [{name: item[name] for name in encoding.reads if name in item} for item in items]
        more = [{**item, "something else": "word " * place} for place, item in enumerate(items)]
        assert np.array_equal(encoding.encode(bare), encoding.encode(items))
        assert np.array_equal(encoding.encode(more), encoding.encode(items))

    def test_nothing_that_a_description_holds_makes_it_raise(
        self, fit: Callable[[], Encoding], items: Sequence[Description]
    ) -> None:
        encoding = fit()
        dirty: list[Description] = [dict.fromkeys(encoding.reads, value) for value in DIRTY]
        dirty += [{**items[0], name: value} for name in encoding.reads[:2] for value in DIRTY]
        vectors = encoding.encode([items[0], *dirty, items[1]])
        assert np.isfinite(vectors).all()
        clean = encoding.encode([items[0], items[1]])
        assert np.allclose(vectors[[0, -1]], clean, rtol=0, atol=TOLERANCE)

    def test_nothing_is_written_into_what_was_given(
        self, fit: Callable[[], Encoding], items: Sequence[Description]
    ) -> None:
        encoding = fit()
        before = copy.deepcopy(list(items))
        arrays = {name: array.copy() for name, array in encoding.arrays().items()}
        encoding.encode(items)
        assert list(items) == before
        assert all(np.array_equal(array, arrays[name]) for name, array in encoding.arrays().items())

    def test_whatever_json_a_description_holds_has_one_vector(
        self, fit: Callable[[], Encoding], items: Sequence[Description]
    ) -> None:
        from hypothesis import given, settings  # noqa: PLC0415  only where tests run
        from hypothesis import strategies as st  # noqa: PLC0415

        encoding = fit()
        simple = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12)
        values = simple | st.lists(simple, max_size=4) | st.dictionaries(st.text(max_size=2), simple, max_size=2)
        said = st.fixed_dictionaries({}, optional=dict.fromkeys(encoding.reads, values))

        @settings(max_examples=40, deadline=None, database=None)
        @given(st.lists(said, max_size=4))
        def law(dirty: list[Description]) -> None:
            vectors = encoding.encode([*dirty, items[0]])
            assert np.isfinite(vectors).all()
            for place, item in enumerate(dirty):
                assert np.allclose(encoding.encode([item])[0], vectors[place], rtol=0, atol=TOLERANCE)

        law()

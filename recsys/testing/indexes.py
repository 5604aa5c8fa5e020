"""The contract suite of index backends."""

# ruff: noqa: S101 - asserting is what these functions are for

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from shutil import copytree
from typing import Protocol, cast

import numpy as np

from recsys.arrays import Float32
from recsys.errors import ReleaseDamaged
from recsys.masks import Mask
from recsys.retrieval import VectorIndex


class Backend(Protocol):
    """Builds and loads one kind of index."""

    def build(self, vectors: Float32) -> VectorIndex:
        """Build over item vectors, float32 (n, d)."""
        ...

    def load(self, folder: Path, vectors: Float32) -> VectorIndex:
        """Open what ``save`` wrote."""
        ...


class VectorIndexContract:
    """What every index backend must do. Needs a fixture ``backend``: the class that builds and loads."""

    def vectors(self, n: int = 300, d: int = 8, seed: int = 0) -> Float32:
        """Vectors with log-normal norms, as factor models learn them: the largest is some 30 times the smallest."""
        rng = np.random.default_rng(seed)
        norms = rng.lognormal(0, 0.6, size=(n, 1))
        directions = rng.normal(size=(n, d))
        vectors: Float32 = (directions / np.linalg.norm(directions, axis=1, keepdims=True) * norms).astype(np.float32)
        return vectors

    def test_search_fills_exactly_k_slots_best_first_with_inner_products(self, backend: Backend) -> None:
        vectors, queries = self.vectors(), self.vectors(5, seed=1)
        found = backend.build(vectors).search(queries, 20)
        assert found.shape == (5, 20)
        assert found.filled.all()
        assert (found.scores[:, 1:] <= found.scores[:, :-1]).all()
        products = np.einsum("qkd,qd->qk", vectors[found.rows], queries)
        assert np.allclose(found.scores, products, rtol=1e-4, atol=1e-5)
        assert all(len(set(line)) == 20 for line in found.rows.tolist())

    def test_the_best_item_is_found(self, backend: Backend) -> None:
        vectors, queries = self.vectors(), self.vectors(50, seed=2)
        best = (queries @ vectors.T).argmax(axis=1)
        assert (backend.build(vectors).search(queries, 10).rows[:, 0] == best).mean() >= 0.98

    def test_norms_that_vary_leave_no_item_unreachable(self, backend: Backend) -> None:
        vectors, queries = self.vectors(20_000, 16), self.vectors(100, 16, seed=3)
        assert np.linalg.norm(vectors, axis=1).max() > 30 * np.linalg.norm(vectors, axis=1).min()
        found = backend.build(vectors).search(queries, 100).rows
        exact = np.argsort(-(queries @ vectors.T), axis=1)[:, :100]
        shares = [len(set(a) & set(b)) / 100 for a, b in zip(found.tolist(), exact.tolist(), strict=True)]
        assert np.mean(shares) >= 0.95

    def test_slots_beyond_the_catalogue_are_empty(self, backend: Backend) -> None:
        found = backend.build(self.vectors(3)).search(self.vectors(2, seed=1), 5)
        assert found.shape == (2, 5)
        assert found.filled.sum(axis=1).tolist() == [3, 3]
        assert (found.rows[:, 3:] == -1).all()
        assert np.isneginf(found.scores[:, 3:]).all()

    def test_an_empty_index_and_no_queries_have_answers(self, backend: Backend) -> None:
        assert not backend.build(self.vectors(0)).search(self.vectors(2), 4).filled.any()
        assert backend.build(self.vectors(5)).search(self.vectors(0), 4).shape == (0, 4)

    def test_an_empty_index_is_saved_and_loaded_and_takes_a_mask(self, backend: Backend, tmp_path: Path) -> None:
        nothing = self.vectors(0)
        backend.build(nothing).save(tmp_path)
        loaded = backend.load(tmp_path, nothing)
        assert loaded.shape == (0, 8)
        assert loaded.search(self.vectors(2), 4, Mask.of(np.ones(0, bool))).rows.tolist() == [[-1] * 4] * 2

    def test_a_batch_equals_its_queries_one_by_one(self, backend: Backend) -> None:
        index, queries = backend.build(self.vectors()), self.vectors(20, seed=4)
        batch = index.search(queries, 10)
        for place in range(20):
            alone = index.search(queries[place : place + 1], 10)
            assert np.allclose(alone.scores[0], batch.scores[place], rtol=1e-4, atol=1e-5)

    def test_a_loaded_index_answers_as_the_saved_one(self, backend: Backend, tmp_path: Path) -> None:
        vectors, queries = self.vectors(), self.vectors(20, seed=5)
        index = backend.build(vectors)
        index.save(tmp_path)
        loaded = backend.load(tmp_path, vectors)
        assert loaded.shape == index.shape == (300, 8)
        assert loaded.backend == index.backend
        assert np.array_equal(loaded.search(queries, 10).rows, index.search(queries, 10).rows)

    def test_files_that_are_cut_short_foreign_or_gone_are_refused(self, backend: Backend, tmp_path: Path) -> None:
        """Before they end the process. A backend that writes no files has none to lose."""
        vectors, sound = self.vectors(), tmp_path / "sound"
        sound.mkdir()
        backend.build(vectors).save(sound)
        damages: dict[str, Callable[[Path], object]] = {
            "cut short": lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
            "emptied": lambda file: file.write_bytes(b""),
            "foreign": lambda file: file.write_bytes(b"PK\x03\x04 this is no index " * 40),
            "gone": Path.unlink,
        }
        for file in [path.relative_to(sound) for path in sound.rglob("*") if path.is_file()]:
            for name, damage in damages.items():
                home = tmp_path / f"{file.parent.name} {file.name} {name}"
                copytree(sound, home)
                damage(home / file)
                _assert_damaged(partial(backend.load, home, vectors), f"{file} {name} was loaded")

    def test_files_over_other_vectors_are_refused(self, backend: Backend, tmp_path: Path) -> None:
        """With fewer, more, or of another width. A backend that writes no files is over whatever it is given."""
        vectors = self.vectors()
        backend.build(vectors).save(tmp_path)
        if not list(tmp_path.iterdir()):
            return
        for other in (vectors[:-1], self.vectors(301), self.vectors(300, 7), self.vectors(0)):
            _assert_damaged(partial(backend.load, tmp_path, other), f"loaded over {other.shape}")

    def test_equal_and_zero_vectors_are_items_like_others(self, backend: Backend) -> None:
        vectors = np.concatenate([np.zeros((5, 4)), np.ones((5, 4))]).astype(np.float32)
        found = backend.build(vectors).search(np.ones((1, 4), np.float32), 10)
        assert sorted(found.rows[0].tolist()) == list(range(10))
        assert np.allclose(found.scores[0], [4.0] * 5 + [0.0] * 5, atol=1e-5)

    def test_vectors_and_queries_of_nothing_but_zeros_have_answers(self, backend: Backend) -> None:
        zeros = np.zeros((300, 8), np.float32)
        for vectors, queries in ((zeros, self.vectors(2)), (self.vectors(), zeros[:2]), (zeros, zeros[:2])):
            found = backend.build(vectors).search(queries, 20)
            assert all(len(set(line)) == 20 for line in found.rows.tolist())
            assert found.filled.all()
            assert np.allclose(found.scores, 0, atol=1e-6)

    def test_scale_changes_nothing_until_squares_are_lost_which_is_refused(self, backend: Backend) -> None:
        vectors, queries = self.vectors(2000), self.vectors(20, seed=12)
        best = (queries @ vectors.T).argmax(axis=1)
        for scale in (1e-2, 1e6):
            found = backend.build(vectors * np.float32(scale)).search(queries, 10)
            assert (found.rows[:, 0] == best).mean() >= 0.95
        for scale in (1e-30, 1e19, 1e30):
            _assert_refused(
                partial(backend.build, vectors * np.float32(scale)), "the largest value among 2000 vectors is"
            )

    def test_one_vector_many_times_is_as_many_items(self, backend: Backend) -> None:
        vectors = np.tile(self.vectors(1), (2000, 1))
        index = backend.build(vectors)
        for allowed in (None, Mask.of(np.arange(2000) % 7 == 0)):
            found = index.search(vectors[:3], 150, allowed)
            assert found.filled.all()
            assert all(len(set(line)) == 150 for line in found.rows.tolist())
            assert np.allclose(found.scores, vectors[0] @ vectors[0], rtol=1e-5)

    def test_other_layouts_and_widths_are_taken(self, backend: Backend) -> None:
        vectors = self.vectors()
        plain = backend.build(vectors).search(vectors[:3], 5)
        doubled = np.asfortranarray(vectors.astype(np.float64))
        assert np.array_equal(backend.build(doubled).search(doubled[:3], 5).rows, plain.rows)  # type: ignore[arg-type]
        # Every other row and column of something larger, and read-only as what is mapped is.
        sparse = np.zeros((600, 16), np.float32)
        sparse[::2, ::2] = vectors
        sparse.flags.writeable = False
        assert np.array_equal(backend.build(sparse[::2, ::2]).search(sparse[:6:2, ::2], 5).rows, plain.rows)

    def test_nothing_is_written_into_what_was_given(self, backend: Backend) -> None:
        vectors, queries = self.vectors(), self.vectors(4, seed=6)
        copies = vectors.copy(), queries.copy()
        backend.build(vectors).search(queries, 5)
        assert np.array_equal(vectors, copies[0])
        assert np.array_equal(queries, copies[1])

    def test_searches_from_many_threads_do_not_disturb_each_other(self, backend: Backend) -> None:
        index, queries = backend.build(self.vectors()), self.vectors(40, seed=7)
        alone = [index.search(query[None], 10).rows for query in queries]
        with ThreadPoolExecutor(4) as pool:
            together = list(pool.map(lambda query: index.search(query[None], 10).rows, queries))
        assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))

    def test_under_a_mask_only_allowed_items_come_and_k_of_them_where_k_are_allowed(self, backend: Backend) -> None:
        vectors, queries, rng = self.vectors(), self.vectors(6, seed=8), np.random.default_rng(9)
        index = backend.build(vectors)
        for count in (300, 150, 30, 4, 1, 0):
            chosen = rng.permutation(300)[:count]
            found = index.search(queries, 20, Mask.of_rows(chosen, 300))
            assert found.shape == (6, 20)
            assert found.filled.sum(axis=1).tolist() == [min(count, 20)] * 6
            assert np.isin(found.rows[found.filled], chosen).all()
            assert (found.scores[:, 1:] <= found.scores[:, :-1]).all()
            assert all(len({*line} - {-1}) == min(count, 20) for line in found.rows.tolist())

    def test_recall_holds_at_every_selectivity(self, backend: Backend) -> None:
        vectors, queries, rng = self.vectors(30_000, 16), self.vectors(50, 16, seed=10), np.random.default_rng(11)
        index = backend.build(vectors)
        scores = queries @ vectors.T
        for share in (0.9, 0.7, 0.1, 0.01, 0.001):
            allowed = rng.random(30_000) < share
            found = index.search(queries, 100, Mask.of(allowed))
            wanted = np.argsort(-np.where(allowed, scores, -np.inf), axis=1)[:, : min(100, int(allowed.sum()))]
            shares = [np.isin(a, b).mean() for a, b in zip(wanted, found.rows, strict=True)]
            assert np.mean(shares) >= 0.95, f"recall is {np.mean(shares)} where {share} of the items are allowed"

    def test_a_mask_of_another_length_is_an_error_with_both_numbers(self, backend: Backend) -> None:
        index = backend.build(self.vectors(5, 4))
        wrong = Mask.of(np.ones(6, bool))
        _assert_refused(
            partial(index.search, self.vectors(1, 4), 2, wrong), "the mask is over 6 items but the index holds 5"
        )

    def test_what_cannot_be_searched_is_an_error_with_both_numbers(self, backend: Backend) -> None:
        index = backend.build(self.vectors(5, 4))
        for queries, k, said in (
            (np.ones((1, 3), np.float32), 2, r"queries are \(1, 3\) but the index is \(5, 4\): d must match"),
            (np.ones(4, np.float32), 2, r"queries are \(4,\) but the index is \(5, 4\)"),
            (np.ones((1, 4), np.float32), 0, "k is 0: ask for at least 1"),
            (np.ones((0, 5), np.float32), 2, r"queries are \(0, 5\) but the index is \(5, 4\)"),
            (np.ones((1, 4), np.float32), -3, "k is -3: ask for at least 1"),
            (np.full((1, 4), np.nan, np.float32), 2, "queries hold values that are not finite"),
            (np.array([[1, 2, -np.inf, 4]], np.float32), 2, "queries hold values that are not finite"),
            (np.full((1, 4), 1e300), 2, "queries hold values that are not finite"),
        ):
            _assert_refused(partial(index.search, queries, k), said)
        _assert_refused(
            partial(backend.build(self.vectors(0, 4)).search, self.vectors(1, 3), 2), r"the index is \(0, 4\)"
        )
        for value in (np.nan, np.inf, -np.inf, 1e300):
            bad = self.vectors(5, 4).astype(np.float64)
            bad[3, 1] = value
            _assert_refused(
                partial(backend.build, cast("Float32", bad)),
                "1 of 5 vectors hold values that are not finite, first in row 3",
            )
        _assert_refused(partial(backend.build, np.ones((3, 0), np.float32)), r"vectors are \(3, 0\): they must be")
        _assert_refused(partial(backend.build, np.ones(3, np.float32)), r"vectors are \(3,\): they must be \(n, d\)")


def _assert_refused(act: Callable[[], object], said: str) -> None:
    import pytest  # noqa: PLC0415  needed when the tests run, not to import this module

    with pytest.raises(ValueError, match=said):
        act()


def _assert_damaged(act: Callable[[], object], otherwise: str) -> None:
    import pytest  # noqa: PLC0415  needed when the tests run, not to import this module

    try:
        act()
    except (ReleaseDamaged, ValueError) as error:
        assert str(error), "an error says what is wrong"  # noqa: PT017  which of the two is the backend's choice
    else:
        pytest.fail(otherwise)

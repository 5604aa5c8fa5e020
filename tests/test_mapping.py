"""Files in memory: as they stand on the disk, whatever was kept of them before."""

from pathlib import Path

import numpy as np
import pytest

from recsys.mapping import load_mapped, mapped, reread

LARGE = 3 * 2**20 + 5
"""Bytes of a file that takes a large page, and part of another."""


@pytest.mark.parametrize("size", [0, 1, 4096, LARGE])
def test_the_bytes_are_those_of_the_file_before_and_after_it_is_read_anew(tmp_path: Path, size: int) -> None:
    content = np.random.default_rng(0).bytes(size)
    file = tmp_path / "some"
    file.write_bytes(content)
    assert bytes(mapped(file)) == content
    reread(file)
    assert bytes(mapped(file)) == content == file.read_bytes()


def test_what_is_mapped_stays_as_it_is_while_the_file_is_read_anew(tmp_path: Path) -> None:
    values = np.arange(LARGE // 4, dtype=np.float32)
    np.save(tmp_path / "some.npy", values)
    before = load_mapped(tmp_path / "some.npy")
    reread(tmp_path / "some.npy")
    np.testing.assert_array_equal(before, values)
    np.testing.assert_array_equal(load_mapped(tmp_path / "some.npy"), values)


@pytest.mark.parametrize("shape", [(0, 64), (3, 4), (600_000,)])
def test_an_array_comes_as_it_was_saved_and_cannot_be_written(tmp_path: Path, shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).random(shape).astype(np.float32)
    np.save(tmp_path / "some.npy", values)
    found = load_mapped(tmp_path / "some.npy")
    np.testing.assert_array_equal(found, values)
    assert found.dtype == np.float32
    assert type(found) is np.ndarray
    if values.size:
        with pytest.raises(ValueError, match="read-only"):
            found[0] = 1.0


def test_what_is_not_there_cannot_be_mapped(tmp_path: Path) -> None:
    for each in (mapped, load_mapped, reread):
        with pytest.raises(FileNotFoundError):
            each(tmp_path / "nothing")

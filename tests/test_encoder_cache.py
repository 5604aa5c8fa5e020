"""The cache of content vectors, over an encoding that counts what it is asked."""

import logging
from dataclasses import dataclass, field

import numpy as np
import pytest

from recsys.encoding.concat import Concat
from recsys.sections import Section
from training.encoders.cache import BATCH, content_key, encode_cached, fingerprint


class LengthRule(Section):
    column: str = "text"


@dataclass
class Length:
    """How long a text is; refuses the word "stop"."""

    rule: LengthRule = field(default_factory=LengthRule)
    scale: float = 1.0
    asked: list = field(default_factory=list)
    kind = "length"
    width = 2
    reads = ("text",)

    def encode(self, items):
        self.asked += [item["text"] for item in items]
        if any(item["text"] == "stop" for item in items):
            raise KeyboardInterrupt
        return np.array([[len(item["text"]) * self.scale, 1] for item in items], np.float32)

    def arrays(self):
        return {"scale": np.array([self.scale], np.float32)}


def texts(*said):
    return [{"item_id": str(place), "text": text} for place, text in enumerate(said)]


def test_only_what_changed_is_encoded_again(tmp_path):
    encoding = Length()
    assert encode_cached(encoding, texts("a", "bb", "a"), tmp_path).tolist() == [[1, 1], [2, 1], [1, 1]]
    assert encoding.asked == ["a", "bb"], "what is said twice is encoded once"
    assert encode_cached(encoding, texts("ccc", "bb"), tmp_path).tolist() == [[3, 1], [2, 1]]
    assert encoding.asked == ["a", "bb", "ccc"]
    encode_cached(encoding, [{"item_id": "other", "text": "a", "unread": 1}], tmp_path)
    assert encoding.asked == ["a", "bb", "ccc"], "whose text it is and what else is said does not matter"
    assert encode_cached(encoding, [], tmp_path).shape == (0, 2)


def test_another_encoding_has_a_cache_of_its_own(tmp_path):
    encode_cached(Length(), texts("a"), tmp_path)
    other = Length(scale=3)
    assert encode_cached(other, texts("a"), tmp_path).tolist() == [[3, 1]]
    assert other.asked == ["a"]
    assert len({fingerprint(each) for each in (Length(), Length(scale=3), Length(LengthRule(column="x")))}) == 3
    assert len(list(tmp_path.iterdir())) == 2


def test_without_a_folder_nothing_is_kept(tmp_path):
    encoding = Length()
    for _ in range(2):
        encode_cached(encoding, texts("a"), None)
    assert encoding.asked == ["a", "a"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"",
        lambda _: b"not a cache",
        lambda whole: whole[: len(whole) // 2],
        lambda whole: whole.replace(np.float32(2).tobytes(), np.float32(3).tobytes()),
        lambda _: b"\x93NUMPY",
    ],
)
def test_a_damaged_file_is_made_anew_with_a_warning(tmp_path, caplog, damage):
    encode_cached(Length(), texts("a", "bb"), tmp_path)
    (path,) = tmp_path.iterdir()
    damaged = damage(path.read_bytes())
    assert damaged != path.read_bytes()
    path.write_bytes(damaged)
    encoding = Length()
    with caplog.at_level(logging.WARNING):
        assert encode_cached(encoding, texts("a", "bb"), tmp_path).tolist() == [[1, 1], [2, 1]]
    assert encoding.asked == ["a", "bb"]
    assert "cannot be read and is made anew" in caplog.text
    encode_cached(encoding, texts("a", "bb"), tmp_path)
    assert encoding.asked == ["a", "bb"], "the new file is whole"


def test_what_was_done_before_an_interrupt_is_kept(tmp_path):
    many = texts(*("x" * n for n in range(1, BATCH + 1)), "stop")
    with pytest.raises(KeyboardInterrupt):
        encode_cached(Length(), many, tmp_path)
    encoding = Length()
    encode_cached(encoding, many[:-1], tmp_path)
    assert encoding.asked == []
    assert [path.suffix for path in tmp_path.iterdir()] == [".npz"], "nothing half-written lies about"


def test_a_folder_that_cannot_be_written_to_costs_a_warning(tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    with caplog.at_level(logging.WARNING):
        assert encode_cached(Length(), texts("a"), tmp_path / "file").tolist() == [[1, 1]]
    assert "cannot be written" in caplog.text


def test_progress_ends_at_one_and_never_falls(tmp_path):
    for _ in range(2):
        shares = []
        encode_cached(Length(), texts(*("x" * n for n in range(2 * BATCH + 1))), tmp_path, shares.append)
        assert shares == sorted(shares)
        assert shares[-1] == 1


def test_a_key_depends_on_what_is_read_to_the_last_number():
    class Vector(Length):
        reads = ("vector", "text")

    def key(**said):
        return content_key(Vector(), said)

    long = np.arange(5000, dtype=np.float32)
    other = long + (np.arange(5000) == 2500)
    assert len({key(vector=long), key(vector=other), key(vector="x"), key(text="x"), key(), key(text="")}) == 6
    assert key(vector=long) == key(vector=long.tolist()) == key(vector=long, text=None)


def test_a_file_that_a_description_names_is_read_again_when_it_is_another(tmp_path):
    class Loudness(Length):
        reads = ("file",)

        def files(self, item):
            return [tmp_path / item["file"]] if "file" in item else []

        def encode(self, items):
            paths = [self.files(item)[0] for item in items]
            self.asked += [path.name for path in paths]
            return np.array([[path.stat().st_size if path.exists() else 0, 1] for path in paths], np.float32)

    encoding, cache = Loudness(), tmp_path / "cache"
    items = [{"file": "a"}, {"file": "b"}]
    assert Concat({"one": encoding, "two": Length()}, {}).files(items[0]) == [tmp_path / "a"]
    assert content_key(encoding, {"file": "\0"}) == content_key(encoding, {"file": "\0"})
    (tmp_path / "a").write_bytes(b"12")
    assert encode_cached(encoding, items, cache).tolist() == [[2, 1], [0, 1]]
    (tmp_path / "a").write_bytes(b"123")
    assert encode_cached(encoding, items, cache).tolist() == [[3, 1], [0, 1]]
    (tmp_path / "b").write_bytes(b"1")
    assert encode_cached(encoding, items, cache).tolist() == [[3, 1], [1, 1]]
    assert encoding.asked == ["a", "b", "a", "b"]

"""Items' attributes in row order, from one mapped file, as plain values."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recsys.catalogue import Catalogue
from recsys.errors import DataError
from recsys.vocabulary import Vocabulary

FRAME = pd.DataFrame(
    {
        "item_id": ["i3", "i1", "i2"],
        "title": ["The Great Escape", "Great Expectations", None],
        "year": pd.array([1963, 1998, None], "Int64"),
        "score": [1.5, float("nan"), float("inf")],
        "genres": [["War"], ["Drama", "Romance"], None],
    }
)
VOCABULARY = Vocabulary.of(["i1", "i2", "i3", "i4"])


@pytest.fixture(params=["made", "loaded"])
def catalogue(request, tmp_path):
    made = Catalogue.of(FRAME, VOCABULARY)
    if request.param == "made":
        return made
    made.save(tmp_path / "catalogue.arrow")
    return Catalogue.load(tmp_path / "catalogue.arrow")


def test_rows_are_those_of_the_vocabulary_and_what_is_unknown_is_left_out(catalogue):
    assert len(catalogue) == 4
    described = catalogue.describe(np.arange(4, dtype=np.int32))
    assert described == [
        {"item_id": "i1", "title": "Great Expectations", "year": 1998, "genres": ["Drama", "Romance"]},
        {"item_id": "i2"},
        {"item_id": "i3", "title": "The Great Escape", "year": 1963, "score": 1.5, "genres": ["War"]},
        {"item_id": "i4"},
    ]
    assert json.loads(json.dumps(described, allow_nan=False)) == described


def test_describing_many_equals_describing_one_by_one(catalogue):
    rows = np.array([2, 0, 2], np.int32)
    assert catalogue.describe(rows) == [catalogue.describe(rows[at : at + 1])[0] for at in range(3)]
    assert catalogue.describe(np.empty(0, np.int32)) == []


@pytest.mark.parametrize("row", [-1, 4])
def test_a_row_outside_is_an_error_and_not_another_item(catalogue, row):
    with pytest.raises(IndexError, match=f"rows run from {row} to {row}, the catalogue from 0 to 3"):
        catalogue.describe(np.array([row], np.int32))


def test_a_title_that_begins_so_comes_before_one_that_holds_it(catalogue):
    assert catalogue.search("great", 9).tolist() == [0, 2]
    assert catalogue.search("GREAT E", 9).tolist() == [0, 2]
    assert catalogue.search("the", 9).tolist() == [2]
    assert catalogue.search("great", 1).tolist() == [0]
    assert catalogue.search("nothing", 9).tolist() == []
    assert catalogue.search("great", 9).dtype == np.int32


def test_titles_are_found_in_any_case_beyond_ascii():
    catalogue = Catalogue.of(pd.DataFrame({"item_id": ["a"], "title": ["ÉTÉ (50% off)"]}), Vocabulary.of(["a"]))
    assert catalogue.search("été (50%", 5).tolist() == [0]
    assert catalogue.search(".", 5).tolist() == []


def test_without_items_there_are_only_ids():
    catalogue = Catalogue.of(None, VOCABULARY)
    assert catalogue.describe(np.array([3], np.int32)) == [{"item_id": "i4"}]
    assert catalogue.search("i", 9).tolist() == []


def test_everything_is_described_in_plain_json():
    moment = datetime(2020, 1, 2, 3, 4, 5, 600, UTC)
    frame = pd.DataFrame(
        {
            "item_id": ["a", "b"],
            "at": pd.Series([moment, pd.NaT]),
            "naive": pd.Series([datetime(2020, 1, 2), pd.NaT]),  # noqa: DTZ001  this is what is tested
            "price": [Decimal("9.50"), None],
            "colour": pd.Categorical(["red", None]),
            "floats": [[1.0, float("nan"), float("inf")], []],
            "sold": [True, False],
            "day": [moment.date(), None],
            "shape": [{"w": 1}, None],
        }
    )
    first, second = Catalogue.of(frame, Vocabulary.of(["a", "b"])).describe(np.arange(2, dtype=np.int32))
    assert first == {
        "item_id": "a",
        "at": "2020-01-02T03:04:05Z",
        "naive": "2020-01-02T00:00:00",
        "price": 9.5,
        "colour": "red",
        "floats": [1.0, None, None],
        "sold": True,
        "day": "2020-01-02",
        "shape": {"w": 1},
    }
    assert second == {"item_id": "b", "floats": [], "sold": False}
    json.dumps([first, second], allow_nan=False)


def test_what_cannot_be_kept_is_refused_by_column():
    ids = {"item_id": ["i1", "i2"]}
    with pytest.raises(DataError, match="column 'year' of the items cannot be kept"):
        Catalogue.of(pd.DataFrame({**ids, "year": pd.Series([1990, "next"], dtype=object)}), VOCABULARY)
    with pytest.raises(DataError, match="column 'cover' of the items holds bytes"):
        Catalogue.of(pd.DataFrame({**ids, "cover": [b"\xff", b""]}), VOCABULARY)
    with pytest.raises(ValueError, match="item 'i1' stands twice"):
        Catalogue.of(pd.DataFrame({"item_id": ["i1", "i1"]}), VOCABULARY)
    with pytest.raises(ValueError, match="the vocabulary does not know item 'i9'"):
        Catalogue.of(pd.DataFrame({"item_id": ["i9"]}), VOCABULARY)


@pytest.mark.parametrize("content", [b"", b"not arrow", None])
def test_a_file_that_is_not_the_one_written_is_refused(tmp_path, content):
    path = tmp_path / "catalogue.arrow"
    Catalogue.of(FRAME, VOCABULARY).save(path)
    path.write_bytes(path.read_bytes()[:-40] if content is None else content)
    with pytest.raises(ValueError, match=r"catalogue.arrow is not a catalogue, an Arrow file was wanted"):
        Catalogue.load(path)


def test_a_table_of_many_chunks_is_described_as_one():
    whole = Catalogue.of(FRAME, VOCABULARY)
    chunked = Catalogue(pa.concat_tables([whole.table.slice(row, 1) for row in range(len(whole))]))
    assert chunked.table.column("title").num_chunks == len(whole)
    rows = np.arange(len(whole), dtype=np.int32)
    assert chunked.describe(rows) == whole.describe(rows)
    assert chunked.search("great", 9).tolist() == [0, 2]


@pytest.mark.parametrize("frame", [None, FRAME.iloc[:0]])
def test_a_catalogue_of_no_items_is_one(tmp_path, frame):
    Catalogue.of(frame, Vocabulary.of([])).save(tmp_path / "catalogue.arrow")
    empty = Catalogue.load(tmp_path / "catalogue.arrow")
    assert len(empty) == 0
    assert empty.describe(np.empty(0, np.int32)) == []
    assert empty.search("great", 9).tolist() == []
    with pytest.raises(IndexError, match="rows run from 0 to 0"):
        empty.describe(np.zeros(1, np.int32))


CELLS = st.one_of(st.none(), st.lists(st.one_of(st.none(), st.text(st.characters(exclude_categories=["Cs"])))))


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cells=st.lists(CELLS, min_size=1, max_size=6), data=st.data())
def test_lists_come_back_as_they_went_in(tmp_path, cells, data):
    ids = [str(row) for row in range(len(cells))]
    order = data.draw(st.permutations(ids))
    frame = pd.DataFrame({"item_id": ids, "tags": pd.Series(cells, dtype=object)})
    Catalogue.of(frame, Vocabulary.of(order)).save(tmp_path / "catalogue.arrow")
    loaded = Catalogue.load(tmp_path / "catalogue.arrow").describe(np.arange(len(ids), dtype=np.int32))
    assert [each["item_id"] for each in loaded] == order
    assert [each.get("tags") for each in loaded] == [cells[int(id_)] for id_ in order]


TITLES = st.lists(st.text(st.sampled_from("abcAB é%"), max_size=5), min_size=1, max_size=8)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(titles=TITLES, text=st.text(st.sampled_from("abA é%"), min_size=1, max_size=2), limit=st.integers(1, 9))
def test_search_finds_what_python_finds(titles, text, limit):
    ids = [str(row) for row in range(len(titles))]
    catalogue = Catalogue.of(pd.DataFrame({"item_id": ids, "title": titles}), Vocabulary.of(ids))
    low = [title.lower() for title in titles]
    holding = [row for row, title in enumerate(low) if text.lower() in title]
    expected = sorted(holding, key=lambda row: not low[row].startswith(text.lower()))
    assert catalogue.search(text, limit).tolist() == expected[:limit]


def test_serving_reads_a_catalogue_without_pandas(tmp_path):
    path = tmp_path / "catalogue.arrow"
    frame = FRAME.assign(at=pd.Timestamp("2020-01-01", tz="UTC"))
    Catalogue.of(frame, VOCABULARY).save(path)
    program = (
        "import sys, numpy as np; from pathlib import Path; from recsys.catalogue import Catalogue;"
        f"c = Catalogue.load(Path({str(path)!r})); print(c.describe(c.search('great', 1)));"
        "assert 'pandas' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "Great Expectations" in done.stdout


def test_categories_are_shares_of_the_first_column_of_lists(catalogue):
    shares = catalogue.shares()
    assert shares.shape == (4, 3)
    assert sorted(shares[0].tolist()) == [0, 0.5, 0.5]
    assert shares.sum(axis=1).tolist() == [1, 0, 1, 0]
    assert catalogue.shares(limit=2) is None
    assert Catalogue.of(None, VOCABULARY).shares() is None

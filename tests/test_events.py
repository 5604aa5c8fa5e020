"""Reading a log: nothing is coerced, nothing is lost, and what cannot be read is refused by name."""

import csv
import gzip
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recsys.errors import DataError, DataRefused
from recsys.events import original_columns, places, read_events, read_items, typed
from recsys.sections import Data, EventColumns, ItemColumns, Kind

ROWS = [
    {"user_id": "007", "item_id": "1.0", "kind": "play", "value": 2.5, "time": 1_700_000_000, "event_id": "a"},
    {"user_id": "null", "item_id": "NA", "kind": "like", "value": 1.0, "time": 1_700_000_001, "event_id": "b"},
    {"user_id": 'é, "ü"', "item_id": " x", "kind": "play", "value": 0.0, "time": 1_700_000_002, "event_id": "c"},
]


def put(path, text):
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def separated(rows, separator):
    cells = [list(rows[0]), *(list(row.values()) for row in rows)]
    if separator == "\t":
        return "".join("\t".join(map(str, row)) + "\n" for row in cells)
    return "".join(",".join('"' + str(cell).replace('"', '""') + '"' for cell in row) + "\n" for row in cells)


def written(folder, suffix):
    path = folder / f"log{suffix}"
    kind = suffix.removesuffix(".gz")
    if kind == ".parquet":
        pyarrow.parquet.write_table(pa.Table.from_pylist(ROWS), path)
    elif kind in {".csv", ".tsv"}:
        put(path, separated(ROWS, "," if kind == ".csv" else "\t"))
    else:
        put(path, "".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def read(path, **more):
    return read_events(Data(events=path, **more))


@pytest.mark.parametrize(
    "suffix", [".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".csv.gz", ".tsv.gz", ".jsonl.gz", ".ndjson.gz"]
)
def test_every_format_gives_the_same_events(tmp_path, suffix):
    frame = read(written(tmp_path, suffix))
    assert frame.to_dict("records") == ROWS
    assert {name: str(kind) for name, kind in frame.dtypes.items()} == {
        "user_id": "str", "item_id": "str", "kind": "str", "value": "float64", "time": "int64", "event_id": "str",
    }  # fmt: skip
    pd.testing.assert_frame_equal(typed(frame), frame)


def test_a_log_may_have_nothing_but_two_ids(tmp_path):
    frame = read(put(tmp_path / "log.csv", "user_id,item_id\nu,i\n"), default_kind="click")
    assert frame.to_dict("records") == [{"user_id": "u", "item_id": "i", "kind": "click", "value": 1.0}]


def test_columns_are_renamed_and_a_stranger_of_that_name_steps_aside(tmp_path):
    path = put(tmp_path / "log.csv", "who,what,action,kind,time,user_id\nu,i,play,vip,noon,x\n")
    columns = EventColumns(user_id="who", item_id="what", kind="action", time=None)
    frame = read(path, event_columns=columns)
    assert frame[["user_id", "item_id", "kind", "value"]].to_dict("records") == [
        {"user_id": "u", "item_id": "i", "kind": "play", "value": 1.0}
    ]
    assert "time" not in frame
    assert list(original_columns(frame)) == ["who", "what", "action", "kind", "time", "user_id"]
    assert original_columns(frame)["user_id"].tolist() == ["x"]


def test_a_cell_that_does_not_parse_keeps_its_text(tmp_path):
    frame = read(put(tmp_path / "log.csv", "user_id,item_id,value,time\nu,i,many,noon\nu,j,2,1700000000\n"))
    assert frame["value"].tolist() == ["many", "2"]
    assert frame["time"].tolist() == ["noon", "1700000000"]
    with pytest.raises(ValueError, match="column value holds cells that are missing or unreadable"):
        typed(frame)


def test_an_empty_value_is_one_only_where_its_kind_makes_no_use_of_values(tmp_path):
    path = put(tmp_path / "log.csv", "user_id,item_id,kind,value\nu,i,click,\nu,j,rating,\nu,k,rating,4\n")
    frame = read(path, kinds={"rating": Kind(at_least=3.0)})
    assert frame["value"].isna().tolist() == [False, True, False]
    assert read(path)["value"].tolist() == [1.0, 1.0, 4.0]


def test_times_may_be_seconds_or_iso_8601(tmp_path):
    times = ["1700000000", "2023-11-14T22:13:20Z", "2023-11-14 22:13:20", "2023-11-15T00:13:20.9+02:00"]
    frame = read(put(tmp_path / "log.csv", "user_id,item_id,time\n" + "".join(f"u,i,{time}\n" for time in times)))
    assert frame["time"].tolist() == [1_700_000_000] * 4


def test_json_keeps_what_is_no_id(tmp_path):
    lines = ['{"user_id": 7, "item_id": "a"}', '{"user_id": 7.0, "item_id": "\\ud800"}', '{"item_id": ["x"]}']
    frame = read(put(tmp_path / "log.jsonl", "\n".join(lines)))
    assert frame["user_id"].tolist()[:2] == [7, 7.0]
    assert frame["item_id"].tolist() == ["a", "\ud800", ["x"]]


def test_whole_numbers_stay_whole_in_parquet_where_cells_are_missing(tmp_path):
    table = pa.table({"user_id": [7, None, 9], "item_id": pa.array(["a", "b", "a"]).dictionary_encode()})
    pyarrow.parquet.write_table(table, tmp_path / "log.parquet")
    frame = read(tmp_path / "log.parquet")
    assert frame["user_id"].dropna().tolist() == ["7", "9"]
    assert frame["item_id"].tolist() == ["a", "b", "a"]


@pytest.mark.parametrize("kind", [pa.timestamp("ns"), pa.timestamp("ms", "Europe/Berlin"), pa.timestamp("s", "UTC")])
def test_times_of_parquet_are_utc_seconds(tmp_path, kind):
    moment = pa.array([1_700_000_000], pa.int64()).cast(pa.timestamp("s", kind.tz)).cast(kind)
    pyarrow.parquet.write_table(pa.table({"user_id": ["u"], "item_id": ["i"], "time": moment}), tmp_path / "l.parquet")
    assert read(tmp_path / "l.parquet")["time"].tolist() == [1_700_000_000]


BYTES = {
    "empty.csv": (b"", "is empty: at least one row was wanted"),
    "blank.jsonl": (b"\n\n", "is empty"),
    "header.csv": (b"user_id,item_id\n", "no rows were found"),
    "latin.csv": ("user_id,item_id\nu,i\né,i\n".encode("latin-1"), "line 3: byte 0xe9 is not UTF-8"),
    "utf16.csv": ("user_id,item_id\nu,i\n".encode("utf-16"), "line 1: byte 0xff is not UTF-8"),
    "broken.jsonl": (b'{"user_id":"u","item_id":"i"}\n\n{"user_id":\n', "line 3 is not JSON"),
    "list.jsonl": (b'{"user_id":"u","item_id":"i"}\n[1]\n', r"line 2: an object was wanted, it reads '\[1\]'"),
    "torn.csv.gz": (gzip.compress(b"user_id,item_id\nu,i\n")[:-9], "cannot be read"),
    "plain.csv.gz": (b"user_id,item_id\nu,i\n", "cannot be read: Not a gzipped file"),
    "torn.parquet": (b"PAR1 and no more", "cannot be read as Parquet"),
    "log.xlsx": (b"x", r"files ending in '.xlsx' are unknown, choose one of .csv, .tsv, .jsonl, .ndjson, .parquet"),
    "log": (b"x", "files ending in 'nothing' are unknown"),
    "twice.csv": (b"user_id,item_id,user_id\nu,i,v\n", "column 'user_id' stands there twice"),
    "column.csv": (b"user,item_id\nu,i\n", "there is no column 'user_id', it has user, item_id"),
    "columns.jsonl": (b'{"a":1}\n', "there is no column 'item_id', 'user_id', it has a"),
}


@pytest.mark.parametrize("name", BYTES)
def test_what_cannot_be_read_is_refused_by_name(tmp_path, name):
    content, said = BYTES[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=said) as caught:
        read(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)


def test_a_file_that_is_not_there_and_a_folder_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"there is no .*gone.csv"):
        read(tmp_path / "gone.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(DataError, match="is a folder, a file was wanted"):
        read(tmp_path / "folder.csv")


def test_rows_of_another_length_than_the_header_are_refused_with_their_numbers(tmp_path):
    path = put(tmp_path / "log.csv", "user_id,item_id\nu,i\nu,i,x\nu\n")
    with pytest.raises(DataRefused, match=r"2 rows do not have the 2 fields .*row 3 has 3: 'u,i,x'; row 4 has 1: 'u'"):
        read(path)


def test_a_column_that_was_chosen_must_be_there(tmp_path):
    path = put(tmp_path / "log.csv", "user_id,item_id,rating\nu,i,3\n")
    with pytest.raises(DataError, match="there is no column 'ratng', it has user_id, item_id, rating"):
        read(path, event_columns=EventColumns(value="ratng"))


def test_places_name_the_line_on_which_a_record_begins(tmp_path):
    first = put(tmp_path / "a.csv", 'user_id,item_id,note\n\nu,i,"one\ntwo"\nu,j,x\n')
    second = put(tmp_path / "b.jsonl", '\n{"user_id":"u","item_id":"k"}\n\n{"user_id":"u","item_id":"l"}\n')
    assert places(read(first), np.array([0, 1])) == ["line 3", "line 5"]
    both = read((first, second))
    assert places(both, np.array([3, 1])) == ["b.jsonl line 4", "a.csv line 5"]
    kept = both.loc[both["item_id"] != "i"]
    assert places(kept, np.array([0, 1])) == ["a.csv line 5", "b.jsonl line 2"]


def test_places_of_parquet_are_rows(tmp_path):
    assert places(read(written(tmp_path, ".parquet")), np.array([2])) == ["row 3"]


def test_several_files_are_one_log_in_their_order(tmp_path):
    first = put(tmp_path / "a.csv", "user_id,item_id,time\nu,i,1700000000\n")
    second = put(tmp_path / "b.csv", "item_id,user_id,time\nj,v,1600000000\n")
    assert read((first, second))[["user_id", "item_id", "time"]].to_numpy().tolist() == [
        ["u", "i", 1_700_000_000],
        ["v", "j", 1_600_000_000],
    ]


def test_items_keep_their_attributes(tmp_path):
    path = put(
        tmp_path / "items.jsonl", '{"sku": 1, "name": "A", "year": 1999, "tags": ["x"]}\n{"sku": 2, "year": null}\n'
    )
    items = read_items(Data(events="log.csv", items=path, item_columns=ItemColumns(item_id="sku", title="name")))
    assert items["item_id"].tolist() == ["1", "2"]
    assert items["title"].tolist()[0] == "A"
    assert items["tags"].tolist() == [["x"], None]
    assert read_items(Data(events="log.csv")) is None


# CSV as our own writer writes it: any text but the halves of surrogate pairs, which no file can hold
IDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ids=st.lists(st.tuples(IDS, IDS), min_size=1, max_size=8))
def test_ids_survive_csv_and_json_as_they_are(tmp_path, ids):
    log = tmp_path / "log.csv"
    with log.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([("user_id", "item_id"), *ids])
    lines = [json.dumps({"user_id": user, "item_id": item}, ensure_ascii=False) for user, item in ids]
    (tmp_path / "log.jsonl").write_text("\n".join(lines), encoding="utf-8", newline="")
    for path in (log, Path(tmp_path / "log.jsonl")):
        frame = read(path)
        assert list(zip(frame["user_id"], frame["item_id"], strict=True)) == ids

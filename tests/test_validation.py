"""A suite of corruptions, each caught by name, and the promise that no row is dropped in silence."""

import json
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recsys.errors import DataRefused
from recsys.events import read_events, read_items
from recsys.sections import Data, EventColumns, Kind
from recsys.validation import accept, check, event_schema, validate_events, validate_items

NOW = datetime(2026, 11, 23, tzinfo=UTC)
SECONDS = int(NOW.timestamp())
ROWS = 20
BAD = 7
CATALOGUE = pd.DataFrame({"item_id": [f"i{number}" for number in range(5)]})


def good_rows():
    return [
        {
            "user_id": f"u{row % 3}",
            "item_id": f"i{row % 5}",
            "kind": "rating",
            "value": row % 5 + 0.5,
            "time": SECONDS - 1_000 * row,
            "event_id": f"e{row}",
        }
        for row in range(ROWS)
    ]


def read(folder, rows, **more):
    path = folder / "log.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read_events(Data(events=path, kinds={"rating": Kind(at_least=3.0)}, **more))


CORRUPTIONS = {
    "a user that is missing": ("user_id", None, "missing"),
    "a user without a name": ("user_id", "", "empty"),
    "a user of blanks": ("user_id", "  ", "empty"),
    "a user of 1,001 characters": ("user_id", "x" * 1_001, "too long"),
    "a user with a NUL": ("user_id", "u\0", "control characters"),
    "a user with a line end": ("user_id", "u\n1", "control characters"),
    "a user that is a broken number": ("user_id", 7.5, "not text"),
    "a user that is a list": ("user_id", ["u"], "not text"),
    "a user that is yes": ("user_id", True, "not text"),
    "half a surrogate pair": ("user_id", "\ud800", "not text"),
    "an item that is missing": ("item_id", None, "missing"),
    "an item without a name": ("item_id", "", "empty"),
    "an item that nobody sells": ("item_id", "i99", "unknown item"),
    "a kind that is missing": ("kind", None, "missing"),
    "a kind that is a number": ("kind", 1.5, "not text"),
    "a rating that is missing": ("value", None, "missing"),
    "a rating in words": ("value", "many", "not a number"),
    "a rating that is yes": ("value", True, "not a number"),
    "a rating without end": ("value", float("inf"), "not finite"),
    "a rating that no float can hold": ("value", 10**400, "not finite"),
    "a rating below zero": ("value", -1, "negative"),
    "a time that is missing": ("time", None, "missing"),
    "a time in words": ("time", "noon", "not a time"),
    "a time that is yes": ("time", True, "not a time"),
    "milliseconds": ("time", SECONDS * 1_000, "milliseconds"),
    "microseconds": ("time", SECONDS * 1_000_000, "microseconds"),
    "nanoseconds": ("time", SECONDS * 1_000_000_000, "nanoseconds"),
    "milliseconds of 1990": ("time", 631_152_000_000, "milliseconds"),
    "the day after tomorrow": ("time", SECONDS + 86_401, "in the future"),
    "a date to come": ("time", "2027-01-01", "in the future"),
    "the last second of the eighties": ("time", 631_151_999, "before 1990"),
    "a time of zero": ("time", 0, "before 1990"),
    "a time below zero": ("time", -1, "before 1990"),
    "an event told twice": ("event_id", "e3", "repeated"),
    "an event without an id": ("event_id", None, "missing"),
    "an event id with a tab": ("event_id", "e\t", "control characters"),
}


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corruption_is_caught_by_name_and_set_aside(tmp_path, name):
    column, cell, expected = CORRUPTIONS[name]
    rows = good_rows()
    rows[BAD][column] = cell
    frame = read(tmp_path, rows)
    findings = validate_events(frame, CATALOGUE, NOW)
    (found,) = findings
    assert (found.check, found.column, found.rows, found.where) == (expected, column, 1, (f"line {BAD + 1}",))
    assert found.examples
    assert found.advice
    with pytest.raises(DataRefused) as refused:
        accept(frame, findings, None, 1.0)
    for part in (expected, column, f"line {BAD + 1}", found.advice, "--quarantine"):
        assert part in str(refused.value)
    assert refused.value.findings == (found.plain(),)
    for path in (tmp_path / "bad.csv", tmp_path / "bad.parquet"):
        kept = accept(frame, findings, path, 0.05)
        assert kept["event_id"].tolist() == [row["event_id"] for row in rows if row is not rows[BAD]]
        aside = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
        assert list(aside) == [*rows[0], "reason"]
        assert aside["reason"].tolist() == [f"{column}: {expected}"]
        event_schema(NOW).validate(kept)


def test_good_events_have_no_findings_and_go_on_as_they_are(tmp_path):
    frame = read(tmp_path, good_rows())
    findings = validate_events(frame, CATALOGUE, NOW)
    assert not findings
    assert str(findings) == "events: 20 rows, nothing wrong"
    pd.testing.assert_frame_equal(accept(frame, findings, None, 0.0), frame)


def test_tomorrow_is_not_yet_the_future(tmp_path):
    rows = good_rows()
    rows[0]["time"] = SECONDS + 86_400
    rows[1]["time"] = 631_152_000
    assert not validate_events(read(tmp_path, rows), None, NOW)


def test_without_a_catalogue_every_item_is_known(tmp_path):
    rows = good_rows()
    rows[0]["item_id"] = "i99"
    assert not validate_events(read(tmp_path, rows), None, NOW)


def test_a_finding_counts_all_rows_and_shows_the_first_five(tmp_path):
    rows = [{**row, "time": row["time"] * 1_000} for row in good_rows()]
    (found,) = validate_events(read(tmp_path, rows), None, NOW)
    assert found.rows == ROWS
    assert found.where == ("line 1", "line 2", "line 3", "line 4", "line 5")
    assert len(found.examples) == 3


def test_a_row_with_two_faults_is_one_bad_row_with_two_reasons(tmp_path):
    rows = good_rows()
    rows[BAD] = {**rows[BAD], "user_id": None, "value": -1}
    frame = read(tmp_path, rows)
    findings = validate_events(frame, None, NOW)
    assert findings.bad.tolist() == [BAD]
    accept(frame, findings, tmp_path / "bad.csv", 0.05)
    assert pd.read_csv(tmp_path / "bad.csv")["reason"].tolist() == ["user_id: missing; value: negative"]


def test_more_bad_rows_than_the_share_are_refused_and_nothing_is_written(tmp_path):
    rows = good_rows()
    rows[1]["value"] = rows[2]["value"] = -1
    frame = read(tmp_path, rows)
    findings = validate_events(frame, None, NOW)
    with pytest.raises(DataRefused, match=r"2 bad rows are 10.00% of 20, at most 9.00% may be set aside"):
        accept(frame, findings, tmp_path / "bad.csv", 0.09)
    assert not (tmp_path / "bad.csv").exists()
    assert len(accept(frame, findings, tmp_path / "bad.csv", 0.10)) == 18
    assert [path.name for path in tmp_path.glob("*bad*")] == ["bad.csv"]
    assert not list(tmp_path.glob(".quarantine-*"))


def test_a_log_of_nothing_but_bad_rows_is_refused_at_any_share(tmp_path):
    rows = [{**row, "value": -1} for row in good_rows()]
    frame = read(tmp_path, rows)
    with pytest.raises(DataRefused, match=r"100.00%"):
        accept(frame, validate_events(frame, None, NOW), tmp_path / "bad.csv", 1.0)


def test_a_quarantine_of_unknown_suffix_is_refused(tmp_path):
    rows = good_rows()
    rows[1]["value"] = -1
    frame = read(tmp_path, rows)
    with pytest.raises(DataRefused, match=r"bad.xlsx: bad rows are written as .csv or .parquet"):
        accept(frame, validate_events(frame, None, NOW), tmp_path / "bad.xlsx", 1.0)


def test_bad_rows_are_set_aside_under_the_column_names_of_their_file(tmp_path):
    (tmp_path / "log.csv").write_text("who,what,reason\nu,i,x\n,j,y\n")
    frame = read_events(Data(events=tmp_path / "log.csv", event_columns=EventColumns(user_id="who", item_id="what")))
    accept(frame, validate_events(frame, None, NOW), tmp_path / "bad.csv", 0.5)
    assert (tmp_path / "bad.csv").read_text() == "who,what,reason,quarantine_reason\n,j,y,user_id: missing\n"


def test_findings_of_another_frame_are_a_bug_of_the_caller(tmp_path):
    frame = read(tmp_path, good_rows())
    with pytest.raises(ValueError, match="findings are of 19 rows, the frame has 20"):
        accept(frame, validate_events(frame.iloc[1:], None, NOW), None, 0.0)


@pytest.mark.parametrize("column", ["user_id", "item_id", "kind", "value"])
def test_a_missing_column_is_found_and_no_quarantine_mends_it(tmp_path, column):
    frame = read(tmp_path, good_rows()).drop(columns=column)
    findings = validate_events(frame, None, NOW)
    (found,) = findings
    assert (found.check, found.column) == ("missing column", column)
    with pytest.raises(DataRefused, match="no rows can be set aside for this"):
        accept(frame, findings, tmp_path / "bad.csv", 1.0)


def test_no_rows_are_a_finding(tmp_path):
    frame = read(tmp_path, good_rows()).iloc[:0]
    (found,) = validate_events(frame, None, NOW)
    assert found.check == "no rows"
    with pytest.raises(DataRefused, match="no rows"):
        accept(frame, validate_events(frame, None, NOW), tmp_path / "bad.csv", 1.0)


ITEM_CORRUPTIONS = {
    "an item without an id": ({"item_id": None}, "missing", "item_id"),
    "an item told twice": ({"item_id": "i0"}, "repeated", "item_id"),
    "an id with a NUL": ({"item_id": "\0"}, "control characters", "item_id"),
    "a title that is a list": ({"title": ["T"]}, "not text", "title"),
    "an attribute of another type": ({"year": "next"}, "mixed types", "year"),
    "an attribute of half a surrogate pair": ({"genre": "\ud800"}, "mixed types", "genre"),
}


@pytest.mark.parametrize("name", ITEM_CORRUPTIONS)
def test_a_corruption_of_the_catalogue_is_caught_by_name(tmp_path, name):
    change, expected, column = ITEM_CORRUPTIONS[name]
    rows = [{"item_id": f"i{row}", "title": f"T{row}", "year": 1990 + row, "genre": "g"} for row in range(ROWS)]
    rows[BAD] = {**rows[BAD], **change}
    path = tmp_path / "items.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    items = read_items(Data(events="log.csv", items=path))
    findings = validate_items(items)
    (found,) = findings
    assert (found.check, found.column) == (expected, column)
    assert f"line {BAD + 1}" in found.where or expected == "mixed types"
    if found.rows == 1:
        kept = accept(items, findings, tmp_path / "bad.csv", 0.05)
        assert kept["item_id"].tolist() == [f"i{row}" for row in range(ROWS) if row != BAD]


def test_check_counts_and_dates_a_log(tmp_path):
    rows = good_rows()
    checked = check(read(tmp_path, rows), CATALOGUE, NOW)
    assert checked.counts == {"events": 20, "users": 3, "items": 5, "catalogue": 5}
    assert checked.last == NOW
    assert checked.first == datetime.fromtimestamp(SECONDS - 19_000, UTC)
    assert not checked.events
    assert not checked.items
    untimed = check(read(tmp_path, [{"user_id": "u", "item_id": "i"}]), None, NOW)
    assert (untimed.first, untimed.last, untimed.items) == (None, None, None)


CELLS = st.fixed_dictionaries(
    {
        "user_id": st.one_of(st.none(), st.text(max_size=3), st.integers(), st.floats()),
        "item_id": st.sampled_from(["i1", "", "i2", None]),
        "value": st.one_of(st.none(), st.floats(), st.just("x"), st.just("3")),
        "time": st.one_of(st.integers(-1, 2 * SECONDS), st.just("2020-01-01"), st.just("x"), st.none()),
    }
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(CELLS, min_size=1, max_size=12))
def test_every_row_goes_on_or_is_set_aside_with_a_reason(tmp_path, rows):
    frame = read(tmp_path, [{**row, "kind": "rating", "number": at} for at, row in enumerate(rows)])
    findings = validate_events(frame, None, NOW)
    if len(findings.bad) == len(rows):
        with pytest.raises(DataRefused):
            accept(frame, findings, tmp_path / "bad.parquet", 1.0)
        return
    kept = accept(frame, findings, tmp_path / "bad.parquet", 1.0)
    # our reading of the schema agrees with pandera's own
    event_schema(NOW).validate(kept)
    assert kept["time"].dtype == np.int64
    aside = pd.read_parquet(tmp_path / "bad.parquet") if findings else frame.iloc[:0].assign(reason="")
    assert (aside["reason"].str.len() > 0).all()
    assert sorted([*kept["number"].astype(int), *aside["number"].astype(int)]) == list(range(len(rows)))
    (tmp_path / "bad.parquet").unlink(missing_ok=True)

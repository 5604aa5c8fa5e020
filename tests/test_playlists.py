"""Weekly playlists: what lists are, what an edition is, and what a night survives."""

import asyncio
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from index.exact import load_exact
from index.growing import Growing
from recsys.barred import Barred
from recsys.errors import Busy, EditionRefused, PlaylistError
from recsys.playlists.comparing import compared
from recsys.playlists.editions import EditionStore
from recsys.playlists.exports import write
from recsys.playlists.lists import Maker, opened
from recsys.playlists.people import Chosen
from recsys.playlists.plan import part_name
from recsys.playlists.processes import Here, Processes
from recsys.playlists.quality import inspected
from recsys.playlists.reading import Reader
from recsys.playlists.runs import make
from recsys.playlists.weeks import Week
from recsys.releases import ReleaseStore
from recsys.sections import PlaylistGate, Playlists

NOW = datetime(2026, 11, 26, tzinfo=UTC)
WEEK = Week.parse("2026-W48")
PART = 128


@pytest.fixture(scope="module")
def releases(home):
    return ReleaseStore(home / "var/releases")


@pytest.fixture
def settings(tmp_path):
    return Playlists(folder=tmp_path / "playlists", length=10, apart=2, gate=PlaylistGate(most_share=1))


@pytest.fixture
def making(releases, settings):
    """Makes the edition of a week, by default in this process."""

    def of(week=WEEK, **options):
        usual = {
            "chosen": Chosen(),
            "run": Here(),
            "part": PART,
            "settings": settings,
            "now": NOW,
            "releases": releases,
        }
        options = {**usual, **options}
        return make(
            week, options.pop("settings"), options.pop("releases"), state=None, load_index=load_exact, grow=Growing.of,
            **options,
        )  # fmt: skip

    return of


def bytes_of(edition):
    """Every file of an edition but the manifest, which says when it was made."""
    files = {
        path.relative_to(edition.folder): path.read_bytes() for path in edition.folder.rglob("*") if path.is_file()
    }
    return {name: content for name, content in files.items() if name.name != "manifest.json"}


def table_of(edition):
    return pa.concat_tables(edition.table(part).unify_dictionaries() for part in range(edition.manifest.plan.parts))


def published(settings, edition):
    store = EditionStore(settings.folder)
    store.publish(store.verify(edition.id), now=NOW)


def test_everybody_has_one_list_of_what_they_have_not_heard(making, releases):
    outcome = making()
    edition = outcome.edition
    assert outcome.made
    assert edition.id == "2026-W48"
    assert edition.manifest.quality.passed
    engine = opened(releases, edition.manifest.plan.release, load_exact, Growing.of, {})
    rows = table_of(edition).to_pandas()
    assert list(dict.fromkeys(rows.user)) == list(engine.users.ids) == list(edition.users)
    assert (rows.groupby("user").position.apply(list).map(lambda places: places == list(range(1, 11)))).all()
    history = engine.users.history
    for row, user in enumerate(engine.users.ids):
        heard = engine.items.ids(history.rows[history.indptr[row] : history.indptr[row + 1]])
        theirs = rows[rows.user == user]
        assert not set(heard) & set(theirs["item"])
        assert set(theirs.reason.dropna()) <= set(heard), "a reason is something that they heard"
    assert set(rows.level) == {"personal"}
    assert set(rows.release) == {edition.manifest.plan.release}


def test_two_weeks_differ_and_nothing_is_repeated_for_so_many_weeks(making, settings):
    editions = []
    for weeks in range(4):
        editions.append(making(WEEK.plus(weeks)).edition)
        published(settings, editions[-1])
    for at, later in enumerate(editions):
        for before in editions[max(0, at - 2) : at]:
            assert compared(before, later)["overlap"] == 0
    assert compared(editions[0], editions[3])["overlap"] > 0, "after that it may come back"
    assert [edition.manifest.plan.earlier for edition in editions][3] == ("2026-W50", "2026-W49")


def test_the_same_inputs_give_the_same_bytes_and_another_seed_another_revision(making, settings, tmp_path):
    first = making().edition
    again = making()
    assert (again.made, again.edition.id) == (False, "2026-W48")
    elsewhere = settings.model_copy(update={"folder": tmp_path / "elsewhere"})
    other = making(settings=elsewhere, now=NOW + timedelta(hours=5), run=Processes(2)).edition
    assert bytes_of(other) == bytes_of(first), "neither the hour nor the processes change anything"
    corrected = making(settings=settings.model_copy(update={"seed": 1})).edition
    assert corrected.id == "2026-W48.2"
    assert compared(first, corrected)["overlap"] < 1
    assert EditionStore(settings.folder).ids() == ["2026-W48", "2026-W48.2"], "the one before is kept"


def test_a_batch_of_chunks_is_its_users_one_by_one(making, releases):
    plan = making().edition.manifest.plan
    engine = opened(releases, plan.release, load_exact, Growing.of, {})
    maker = Maker.over(engine, plan)
    from recsys.playlists.states import columns_of

    queries = [engine.resolver.learned(row, WEEK.start) for row in range(20)]
    nothing = [np.zeros(0, np.int32)] * 20
    states = columns_of(queries, np.zeros(20, np.int64), nothing, nothing)
    whole = maker.rows(states)
    single = pa.concat_tables([maker.rows(states.slice(place, 1)) for place in range(20)])
    assert whole.drop_columns("score").equals(single.drop_columns("score"))


def test_a_list_may_be_heard_when_the_week_begins_where_the_user_lives(making, settings, tmp_path):
    zones = tmp_path / "zones.csv"
    zones.write_text("user_id,time_zone\n196,Asia/Tokyo\n22,America/Los_Angeles\n")
    edition = making(settings=settings.model_copy(update={"zones": zones})).edition
    opens = {user: datetime.fromtimestamp(edition.read(user)[0]["available_from"], UTC) for user in ("196", "22", "1")}
    assert opens["1"] == datetime(2026, 11, 23, tzinfo=UTC)
    assert opens["196"] == opens["1"] - timedelta(hours=9)
    assert opens["22"] == opens["1"] + timedelta(hours=8)
    zones.write_text("user_id,time_zone\n196,Mars/Olympus\n")
    with pytest.raises(PlaylistError, match="no time zone 'Mars/Olympus'"):
        making(WEEK.plus(1), settings=settings.model_copy(update={"zones": zones}))
    zones.write_text("user_id\n196\n")
    with pytest.raises(PlaylistError, match="no column 'time_zone'"):
        making(WEEK.plus(1), settings=settings.model_copy(update={"zones": zones}))


def test_a_file_of_users_may_hold_duplicates_and_strangers_and_says_so(making, tmp_path):
    file = tmp_path / "users.csv"
    file.write_text("user_id,time_zone\n196,UTC\nnobody knows,Europe/Berlin\n196,UTC\n22,\n")
    edition = making(chosen=Chosen(file)).edition
    assert list(edition.users) == ["196", "nobody knows", "22"]
    again, unknown = edition.manifest.plan.refused
    assert again == "named more than once in users.csv, one list each: 1 ('196')"
    assert unknown == "unknown users in users.csv, answered by the ladder: 1 ('nobody knows')"
    cold = edition.read("nobody knows")
    assert {row["level"] for row in cold} == {cold[0]["source"]} <= {"trending", "popular"}
    assert {row["reason"] for row in cold} == {None}
    assert len(cold) == 10
    file.write_text("who\n196\n")
    with pytest.raises(PlaylistError, match="no column 'user_id'"):
        making(WEEK.plus(1), chosen=Chosen(file))
    file.write_text("user_id,x\n,1\n")
    with pytest.raises(PlaylistError, match="nobody is asked for"):
        making(WEEK.plus(1), chosen=Chosen(file))


def test_a_sample_or_a_segment_is_a_trial_that_nobody_is_served(making, settings):
    for chosen, count in ((Chosen(sample=7), 7), (Chosen(segment="cold"), 0), (Chosen(segment="few"), 1)):
        if not count:
            with pytest.raises(PlaylistError, match="nobody is asked for"):
                making(chosen=chosen)
            continue
        edition = making(chosen=chosen).edition
        assert count <= len(edition.users) < 943
        with pytest.raises(EditionRefused, match="it is a trial of everybody, "):
            published(settings, edition)
    with pytest.raises(PlaylistError, match="unknown segment 'x', choose one of all, cold, few"):
        making(WEEK.plus(1), chosen=Chosen(segment="x"))


def test_weeks_that_are_over_or_never_were_are_refused(making):
    with pytest.raises(PlaylistError, match="2026-W40 was over by 2026-10-05"):
        making(Week.parse("2026-W40"))
    with pytest.raises(PlaylistError, match="there is no week 2026-W54: those of 2026 run from W01 to W53"):
        Week.parse("2026-W54")
    with pytest.raises(PlaylistError, match="those of 2025 run from W01 to W52"):
        Week.parse("2025-W53")
    with pytest.raises(PlaylistError, match="an ISO week such as 2026-W48 is wanted"):
        Week.parse("48")


def test_the_gate_finds_every_kind_of_broken_list(making, releases):
    edition = making().edition
    plan = edition.manifest.plan
    engine = opened(releases, plan.release, load_exact, Growing.of, {})
    users = list(engine.users.ids)[:3]
    from recsys.playlists.states import columns_of

    queries = [engine.resolver.learned(row, WEEK.start) for row in range(3)]
    good = Maker.over(engine, plan)
    states = columns_of(queries, np.zeros(3, np.int64), *[[np.zeros(0, np.int32)] * 3] * 2)
    rows = good.rows(states)

    def found(change, table=rows, states=states, engine=engine):
        lines = table.to_pylist()
        change(lines)
        said = inspected(pa.Table.from_pylist(lines, rows.schema), states, engine, plan)["findings"]
        return {name: finding["some"] for name, finding in said.items() if finding["users"]}

    assert found(list) == {}
    heard = engine.items.ids(queries[0].seen[:1])[0]
    assert found(lambda lines: lines[2].update(item=heard)) == {"heard": users[:1]}
    assert found(lambda lines: lines[2].update(item="no such item")) == {"unavailable": users[:1]}
    assert found(lambda lines: lines[2].update(item=lines[1]["item"])) == {"twice": users[:1]}
    assert found(lambda lines: lines[2].update(position=9)) == {"gaps": users[:1]}
    assert found(lambda lines: lines[12].update(available_from=5)) == {"early": users[1:2]}
    assert found(lambda lines: lines[10:20].clear()) == {}
    assert found(lambda lines: lines.__setitem__(slice(10, 20), [])) == {"missing": users[1:2]}
    assert "foreign" in found(lambda lines: lines.append({**lines[0], "position": 1}))
    assert "foreign" in found(lambda lines: lines.append({**lines[0], "user": "somebody else"}))
    before = [engine.items.rows([rows.column("item")[25].as_py()])] * 3
    repeating = columns_of(queries, np.zeros(3, np.int64), before, [np.zeros(0, np.int32)] * 3)
    assert found(list, states=repeating)["repeated"][-1:] == users[2:]
    gone = engine.amended({rows.column("item")[0].as_py(): None})
    assert users[0] in found(list, engine=gone)["unavailable"]


def test_an_edition_that_is_refused_is_not_published_and_says_who_and_why(making, settings):
    strict = settings.model_copy(update={"gate": PlaylistGate(most_share=0.01)})
    edition = making(settings=strict).edition
    assert not edition.manifest.quality.passed
    with pytest.raises(EditionRefused, match=r"item '\d+' stands in .*% of the lists by taste, more than 1.0%"):
        published(settings, edition)
    assert EditionStore(settings.folder).published() == []
    store = EditionStore(settings.folder)
    store.publish(store.verify(edition.id), now=NOW, force=True)
    assert json.loads((settings.folder / "publications.jsonl").read_text())["forced"] is True


def test_last_weeks_edition_bounds_coverage_and_concentration(making, settings):
    published(settings, making().edition)
    strict = settings.model_copy(update={"gate": PlaylistGate(coverage=5, gini=0, overlap=0, most_share=1), "apart": 0})
    findings = " ".join(making(WEEK.plus(1), settings=strict).edition.manifest.quality.findings)
    assert "below 5 of last week's" in findings
    assert "in common with last week's on average, more than 0.0%" in findings


def test_publishing_and_undoing_move_one_pointer(making, settings):
    store = EditionStore(settings.folder)
    with pytest.raises(PlaylistError, match="nothing is published"):
        store.undo(now=NOW)
    first = making().edition
    published(settings, first)
    published(settings, first)
    assert store.published() == ["2026-W48"], "twice is as once"
    published(settings, making(settings=settings.model_copy(update={"seed": 1})).edition)
    published(settings, making(WEEK.plus(1)).edition)
    assert store.published() == ["2026-W48", "2026-W48.2", "2026-W49"]
    assert store.undo(now=NOW) == ("2026-W49", "2026-W48.2")
    assert store.undo(now=NOW) == ("2026-W48.2", "2026-W48")
    assert store.undo(now=NOW) == ("2026-W48", None)


def test_old_weeks_are_pruned_out_of_service_first(making, settings):
    for weeks in range(4):
        published(settings, making(WEEK.plus(weeks)).edition)
    store = EditionStore(settings.folder)
    assert store.prune(2, now=NOW) == ["2026-W48", "2026-W49"]
    assert store.ids() == store.published() == ["2026-W50", "2026-W51"]
    assert store.prune(2, now=NOW) == []


def test_a_reader_finds_nothing_of_whom_was_erased_since(making, settings, tmp_path):
    published(settings, making().edition)
    barred = Barred(tmp_path / "erased")
    reader = Reader(EditionStore(settings.folder), None, barred)
    moment = datetime(2026, 11, 27, tzinfo=UTC)
    assert len(asyncio.run(reader.find("196", None, moment)).items) == 10
    barred.add(["196"], int(moment.timestamp()))
    with pytest.raises(PlaylistError, match="user '196' was erased since edition 2026-W48 was made"):
        asyncio.run(reader.find("196", None, moment))
    assert asyncio.run(reader.find("22", None, moment)).items


def test_a_damaged_edition_is_not_published(making, settings):
    edition = making().edition
    path = edition.folder / part_name(1)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(PlaylistError, match=f"2026-W48 is damaged: {part_name(1)} differ"):
        EditionStore(settings.folder).verify(edition.id)
    manifest = edition.folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"users": 943', '"users": 944'))
    with pytest.raises(PlaylistError, match=r"manifest\.json is not the one that was written"):
        EditionStore(settings.folder).get(edition.id)
    with pytest.raises(PlaylistError, match="there is no edition '2026-W07'"):
        EditionStore(settings.folder).get("2026-W07")


def test_one_run_of_a_week_at_a_time(making, settings):
    with EditionStore(settings.folder).lock(str(WEEK)), pytest.raises(Busy, match="another run is at work on 2026-W48"):
        making()
    assert making().made


class Stopping:
    """Stops after so many parts of the lists."""

    def __init__(self, parts):
        self.parts = parts

    def __call__(self, opening, job, parts, done):
        for count, part in enumerate(parts):
            if job == "lists" and count == self.parts:
                raise KeyboardInterrupt
            Here()(opening, job, [part], done)


def test_a_run_that_was_stopped_goes_on_with_what_it_began_with(making, settings, releases, tmp_path):
    mine = tmp_path / "releases"
    shutil.copytree(releases.folder, mine)
    store = ReleaseStore(mine)
    whole = making(settings=settings.model_copy(update={"folder": tmp_path / "whole"})).edition
    with pytest.raises(KeyboardInterrupt):
        making(run=Stopping(3), releases=store)
    assert EditionStore(settings.folder).ids() == [], "nothing half-made is an edition"
    # Another release is promoted meanwhile.
    old = store.current()
    later = f"{old.id[:-2]}99"
    with store.staging(later) as folder:
        shutil.copytree(old.folder, folder, dirs_exist_ok=True)
        (folder / "manifest.json").unlink()
        store.commit(folder, old.manifest.model_copy(update={"id": later}))
    store.promote(later, now=NOW)
    with pytest.raises(PlaylistError, match="was begun with length 10, not 5"):
        making(settings=settings.model_copy(update={"length": 5}), releases=store)
    told = []
    done = making(releases=store, told=lambda *said: told.append(said)).edition
    assert told[0] == ("lists", 3 * PART, 943), "what was done is not done again"
    assert done.manifest.plan.release == old.id
    assert bytes_of(done) == bytes_of(whole)
    assert not EditionStore(settings.folder).making(WEEK).exists()


RUN = """
import signal
import sys
from pathlib import Path
from datetime import UTC, datetime
from index.exact import load_exact
from index.growing import Growing
from recsys.playlists.people import Chosen
from recsys.playlists.processes import Here, Processes
from recsys.playlists.runs import make
from recsys.playlists.weeks import Week
from recsys.releases import ReleaseStore
from recsys.sections import Playlists, PlaylistGate

if __name__ == "__main__":
    # Whoever runs these tests in the background of a shell has Ctrl-C ignored, and children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    settings = Playlists(folder=Path(sys.argv[1]), length=10, apart=2, gate=PlaylistGate(most_share=1))
    run = Processes(2) if sys.argv[3] == "processes" else Here()
    print("begins", flush=True)
    make(Week(2026, 48), settings, ReleaseStore(Path(sys.argv[2])), now=datetime(2026, 11, 26, tzinfo=UTC),
         chosen=Chosen(), state=None, load_index=load_exact, grow=Growing.of, run=run, part=int(sys.argv[4]),
         told=lambda *said: print(*said, flush=True))
"""


@pytest.mark.parametrize("how", ["here", "processes"])
def test_killed_at_random_moments_and_gone_on_with_the_bytes_are_the_same(making, settings, releases, tmp_path, how):
    whole = making(settings=settings.model_copy(update={"folder": tmp_path / "whole"}), part=64).edition
    script = tmp_path / "run.py"
    script.write_text(RUN)
    command = [sys.executable, str(script), str(settings.folder), str(releases.folder), how, "64"]
    rng = np.random.default_rng(5)
    killed = 0
    rounds, latest = (6, 1.5) if how == "here" else (3, 3)
    for number in range(rounds):
        with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "OPENBLAS_NUM_THREADS": "1"}) as run:
            run.stdout.readline()
            try:
                # the first ones early, so that a fast machine is killed too
                run.wait(rng.uniform(0, latest * (number + 0.2) / rounds))
            except subprocess.TimeoutExpired:
                run.send_signal(signal.SIGKILL)
                killed += 1
            run.wait()
        for id_ in EditionStore(settings.folder).ids():
            EditionStore(settings.folder).verify(id_)
    subprocess.run(command, check=True)
    assert killed, "the machine was too fast to be killed: shorten the moments"
    assert bytes_of(EditionStore(settings.folder).get("2026-W48")) == bytes_of(whole)


def test_ctrl_c_lets_a_part_end_and_leaves_nobody_behind(making, settings, releases, tmp_path):
    whole = making(settings=settings.model_copy(update={"folder": tmp_path / "whole"}), part=16).edition
    script = tmp_path / "run.py"
    script.write_text(RUN)
    command = [sys.executable, str(script), str(settings.folder), str(releases.folder), "processes", "16"]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment) as run:
        for line in run.stdout:
            if line.startswith("lists 16"):
                break
        run.send_signal(signal.SIGINT)
        _, said = run.communicate(timeout=60)
    assert run.returncode != 0
    assert "KeyboardInterrupt" in said
    assert "Traceback" not in said.replace("Traceback (most recent call last)", "", 1), "workers say nothing of it"
    making_it = EditionStore(settings.folder).making(WEEK)
    parts = len(list(making_it.glob("edition/part-*.parquet")))
    assert 1 <= parts < 59
    assert not list(making_it.rglob("*.new")), "nobody was stopped in the middle of a part"
    told = []
    done = making(part=16, told=lambda *said: told.append(said)).edition
    assert told[0] == ("lists", 16 * parts, 943)
    assert bytes_of(done) == bytes_of(whole)


def test_a_disk_that_is_full_is_said_and_gone_on_from(making, settings, releases, tmp_path):
    script = tmp_path / "run.py"
    script.write_text(RUN)
    command = [sys.executable, str(script), str(settings.folder), str(releases.folder), "here", "64"]
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, 12_000))  # noqa: E731
    run = subprocess.run(command, capture_output=True, text=True, preexec_fn=limit)
    assert run.returncode == 1
    assert "PlaylistError: the lists could not be written below" in run.stderr
    assert "nothing was published; make room" in run.stderr
    assert EditionStore(settings.folder).ids() == []
    assert making(part=64).edition.manifest.quality.passed


def test_everything_heard_gives_empty_lists_with_a_counted_reason_and_no_edition_to_serve(making, settings, tmp_path):
    (tmp_path / "log.csv").write_text(
        "user_id,item_id,time\n" + "".join(f"u{u},i{i},{1_000_000_000 + i}\n" for u in range(5) for i in range(4))
    )
    (tmp_path / "recsys.toml").write_text(
        '[data]\nevents = "log.csv"\n[model]\nfactors = 2\n[state]\nurl = "memory://"\n'
    )
    run = subprocess.run(
        [sys.executable, "-m", "recsys", "train", "--force"], cwd=tmp_path, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    edition = making(releases=ReleaseStore(tmp_path / "var/releases")).edition
    assert edition.manifest.quality.measured["short"] == {"everything heard": 5}
    assert "there is not one item in any list" in edition.manifest.quality.findings[0]
    assert edition.read("u0") == []
    assert edition.read("nobody") is None
    assert write(edition, tmp_path / "x.csv", None, ReleaseStore(tmp_path / "var/releases")) == 0


def test_lists_are_written_for_other_programs(making, releases, tmp_path):
    edition = making().edition
    assert write(edition, tmp_path / "all.csv", None, releases) == 9430
    assert (tmp_path / "all.csv").read_text().count("\n") == 9431
    assert write(edition, tmp_path / "all.jsonl", None, releases) == 9430
    line = json.loads((tmp_path / "all.jsonl").read_text().split("\n")[0])
    assert len(line["items"]) == 10
    assert write(edition, tmp_path / "one.m3u", "196", releases) == 10
    lines = (tmp_path / "one.m3u").read_text().splitlines()
    items = [row["item"] for row in edition.read("196")]
    assert lines[0] == "#EXTM3U"
    assert lines[3::2] == items
    assert write(edition, tmp_path / "one.jspf", "196", releases) == 10
    tracks = json.loads((tmp_path / "one.jspf").read_text())["playlist"]["track"]
    assert [track["identifier"] for track in tracks] == [[f"urn:item:{item}"] for item in items]
    with pytest.raises(PlaylistError, match=r"unknown form '\.mp3', choose one of \.csv, \.jsonl, \.jspf, \.m3u"):
        write(edition, tmp_path / "x.mp3", None, releases)
    with pytest.raises(PlaylistError, match=r"\.m3u holds one list: say whose"):
        write(edition, tmp_path / "x.m3u", None, releases)
    with pytest.raises(PlaylistError, match="user 'nobody' has no list"):
        write(edition, tmp_path / "x.m3u", "nobody", releases)


def test_a_row_group_holds_the_users_that_a_reader_looks_for(making):
    edition = making().edition
    whole = table_of(edition).to_pandas()
    for user in ("1", "196", "943", next(iter(edition.users)), list(edition.users)[-1]):
        assert [row["item"] for row in edition.read(user)] == list(whole[whole.user == user]["item"])
    assert edition.read("nobody") is None
    assert pq.ParquetFile(edition.folder / part_name(0)).num_row_groups == 2


def test_what_was_deleted_since_the_release_is_in_no_list(making, releases):
    plan = making().edition.manifest.plan
    engine = opened(releases, plan.release, load_exact, Growing.of, {})
    gone = engine.items.ids(np.argsort(-engine.popularity)[:50].astype(np.int32))
    amended = engine.amended(dict.fromkeys(gone))
    from recsys.playlists.states import columns_of

    queries = [engine.resolver.learned(row, WEEK.start) for row in range(50)]
    states = columns_of(queries, np.zeros(50, np.int64), *[[np.zeros(0, np.int32)] * 50] * 2)
    rows = Maker.over(amended, plan).rows(states)
    assert not set(gone) & set(rows.column("item").to_pylist())
    assert len(rows) == 500

"""Events posted to a real server: what is accepted is in the log, what is refused is named."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import httpx
import pytest

from api.writing import TOGETHER, WAITING, Impressions, Writer
from recsys.errors import LogError, LogFull
from recsys.logs import open_log
from recsys.logs.records import Event, Shown
from recsys.settings import load_settings

# Nobody applies and archives events here, so that all of them stay in the log.
LOG = '[stream]\ninside = false\n[log]\nurl = "file:var/events"\n'


@pytest.fixture(scope="module")
def own(tmp_path_factory, configured, copied):
    return copied(tmp_path_factory.mktemp("events"), configured() + LOG)


@pytest.fixture(scope="module")
def client(own, serve):
    with serve(own) as (address, _), httpx.Client(base_url=address) as client:
        yield client


def logged(folder):
    """Every record of the log in a folder."""

    async def read():
        async with open_log(load_settings(folder / "recsys.toml", {})) as log:
            return [entry.record async for entry in log.replay()]

    return asyncio.run(read())


def of(folder, user):
    return [record for record in logged(folder) if getattr(record, "user", None) == user]


def play(user="ann", item="50", **more):
    return {"user_id": user, "item_id": item, "kind": "play", **more}


def test_an_event_is_in_the_log_when_it_is_accepted(client, own):
    before = int(time.time())
    said = play("whole", "i/7 é", event_id="e1", value=2.5, surface="home", request_id="5f3a9c0e7b1d4a26", position=3)
    answer = client.post("/events", json=said)
    assert (answer.status_code, answer.json()) == (202, {"accepted": 1, "refused": []})
    assert answer.headers["cache-control"] == "no-store"
    (record,) = of(own, "whole")
    assert before <= record.time <= time.time()
    expected = Event("e1", record.time, "whole", "i/7 é", "play", 2.5, "home", "5f3a9c0e7b1d4a26", 3)
    assert record == expected


def test_an_event_without_an_id_is_given_one_and_is_another_each_time(client, own):
    for _ in range(2):
        assert client.post("/events", json=play("nameless")).status_code == 202
    first, second = of(own, "nameless")
    assert first.id != second.id
    assert replace(first, id="x", time=0) == replace(second, id="x", time=0)


def test_of_a_list_each_event_is_accepted_or_refused_for_itself_and_order_is_kept(client, own):
    now = int(time.time())
    answer = client.post(
        "/events",
        json=[
            play("list", "1", time=now - 60),
            play("list", "2", kind="plya"),
            play("list", "3", time="2026-11-23T12:00:00+01:00"),
            play("list", "4", kind="dismiss"),
            "play",
            play("", "5"),
        ],
    )
    assert answer.status_code == 202
    body = answer.json()
    assert body["accepted"] == 3
    assert [each["index"] for each in body["refused"]] == [1, 4, 5]
    assert "unknown kind of event 'plya', choose one of click, dismiss, impression, " in body["refused"][0]["reason"]
    assert [record.item for record in of(own, "list")] == ["1", "3", "4"]
    assert [record.time for record in of(own, "list")][:2] == [now - 60, 1795431600]


BAD = {
    "no user": ({"item_id": "1", "kind": "play"}, "user_id: Field required, but it is missing"),
    "empty user": (play(""), "user_id: "),
    "user with a control character": (play("a\x1fb"), "user_id: "),
    "user of 1,001 characters": (play("u" * 1001), "user_id: "),
    "user that is a number": ({"user_id": 196, "item_id": "1", "kind": "play"}, "user_id: "),
    "no item": ({"user_id": "u", "kind": "play"}, "item_id: "),
    "item with NUL": (play(item="\x00"), "item_id: "),
    "no kind": ({"user_id": "u", "item_id": "1"}, "kind: "),
    "unknown kind": (play(kind="Play"), "kind: unknown kind of event 'Play', choose one of "),
    "negative value": (play(value=-0.5), "value: "),
    "value that is a text": (play(value="5"), "value: "),
    "value that is true": (play(value=True), "value: "),
    "the future": (play(time=4_000_000_000), "time: 4000000000.0 is more than 300 s ahead of this server's clock"),
    "milliseconds": (play(time=1_764_190_000_000), "divide milliseconds by 1,000"),
    "ancient": (play(time=0), "time: 0.0 is more than 3,650 days ago"),
    "negative time": (play(time=-5), "time: -5.0 is more than 3,650 days ago"),
    "the year 1": (play(time="0001-01-01"), "time: 0001-01-01 is more than 3,650 days ago"),
    "the year 9999": (play(time="9999-12-31T23:59:59+00:00"), "ahead of this server's clock"),
    "no time": (play(time="yesterday"), "time: yesterday is neither unix seconds nor ISO 8601"),
    "empty time": (play(time=""), "is neither unix seconds nor ISO 8601"),
    "position 0": (play(position=0), "position: "),
    "empty event id": (play(event_id=""), "event_id: "),
    "unknown field": (play(session="s"), "session: "),
    "surface of 101 characters": (play(surface="s" * 101), "surface: "),
}
NO_BODY = {
    "no JSON": b'{"user_id": ',
    "a text": b'"play"',
    "a number of 100,000 digits": b"1" * 100_000,
    "nested 100,000 deep": b"[" * 100_000 + b"]" * 100_000,
    "a lone surrogate": json.dumps(play("\ud800")).encode(),
    "not UTF-8": b'{"user_id": "\xff"}',
    "nothing": b"",
    "1,001 events": json.dumps([play()] * 1001).encode(),
}
JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_event_is_refused_by_name_alone_and_among_others(client, own, name):
    event, said = BAD[name]
    answer = client.post("/events", json=event)
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert said in answer.json()["detail"]
    user = f"beside {name}"
    answer = client.post("/events", json=[play(user), event, play(user)])
    assert (answer.status_code, answer.json()["accepted"]) == (202, 2)
    (refused,) = answer.json()["refused"]
    assert refused["index"] == 1
    assert said in refused["reason"]
    assert len(of(own, user)) == 2


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_value_must_be_finite(client, value):
    body = f'[{{"user_id": "u", "item_id": "1", "kind": "play", "value": {value}}}]'
    answer = client.post("/events", content=body, headers=JSON)
    assert answer.json()["accepted"] == 0
    assert answer.json()["refused"][0]["reason"].startswith("value: ")


@pytest.mark.parametrize("name", NO_BODY)
def test_a_body_that_cannot_be_read_is_a_problem_as_a_whole(client, name):
    answer = client.post("/events", content=NO_BODY[name], headers=JSON)
    assert answer.status_code == 422, answer.text
    assert answer.json()["detail"].startswith("body: ")


def test_too_much_at_once_and_what_is_no_json_are_refused_before_they_are_read(client):
    assert client.post("/events", content=b"x" * 5_000_000, headers=JSON).status_code == 413
    answer = client.post("/events", content=json.dumps(play()), headers={"Content-Type": "text/plain"})
    assert answer.status_code == 415
    assert "send application/json" in answer.json()["detail"]
    assert client.delete("/events").status_code == 405


def test_an_empty_list_is_no_problem_and_a_thousand_are_taken(client, own):
    assert client.post("/events", json=[]).json() == {"accepted": 0, "refused": []}
    many = [play("thousand", str(number)) for number in range(1000)]
    assert client.post("/events", json=many).json() == {"accepted": 1000, "refused": []}
    assert [record.item for record in of(own, "thousand")] == [str(number) for number in range(1000)]


def test_an_item_that_the_release_does_not_know_is_kept_and_counted(client, own):
    def counted(name):
        lines = client.get("/metrics").text.splitlines()
        return next((float(line.split()[-1]) for line in lines if line.startswith(name)), 0.0)

    unknown, plays = counted("recsys_events_unknown_items_total"), counted('recsys_events_total{kind="play"}')
    client.post("/events", json=[play("early", "no such film"), play("early", "50")])
    assert counted("recsys_events_unknown_items_total") == unknown + 1
    assert counted('recsys_events_total{kind="play"}') == plays + 2
    assert [record.item for record in of(own, "early")] == ["no such film", "50"]


def soon(found):
    """What ``found`` gives once it gives something; impressions are written a moment after the answer."""
    deadline = time.monotonic() + 10
    while not (got := found()):
        assert time.monotonic() < deadline, "nothing came within 10 s"
        time.sleep(0.02)
    return got


def test_what_is_answered_to_somebody_is_logged_as_shown(client, own):
    first = client.get("/recommend", params={"user_id": "196", "k": 3}).json()
    second = client.get("/recommend", params={"user_id": "196", "k": 3, "cursor": first["cursor"]}).json()
    batch = client.post("/recommend", json={"user_ids": ["22"], "k": 2}).json()["answers"][0]
    client.post("/recommend", json={"history": [{"item_id": "50"}]})
    soon(lambda: of(own, "22"))
    shown = {record.id: record for record in logged(own) if isinstance(record, Shown)}
    for answer, position in ((first, 1), (second, 4), (batch, 1)):
        record = shown[answer["request_id"]]
        assert record.items == tuple(item["item_id"] for item in answer["items"])
        assert (record.user, record.surface, record.release, record.level, record.position, record.propensities) == (
            (answer["user_id"], "home", answer["release"], "personal", position, ())
        )
    assert {record.user for record in shown.values()} == {"196", "22"}


def test_an_impression_that_a_page_posts_is_the_one_that_the_server_logged(client, own):
    answer = client.get("/recommend", params={"user_id": "244", "k": 2}).json()
    item = answer["items"][1]["item_id"]
    said = {"user_id": "244", "item_id": item, "kind": "impression", "surface": "home"}
    posted = [{**said, "request_id": answer["request_id"], "position": 2}, {**said, "event_id": "seen-1"}]
    assert client.post("/events", json=posted).json()["accepted"] == 2
    soon(lambda: len(of(own, "244")) == 3)
    records = {(record.id, record.position): record.items for record in of(own, "244")}
    assert records == {
        (answer["request_id"], 1): tuple(each["item_id"] for each in answer["items"]),
        (answer["request_id"], 2): (item,),
        ("seen-1", 1): (item,),
    }


def test_places_that_were_drawn_are_logged_with_their_odds(home, serve, configured, tmp_path):
    text = configured(8) + LOG + '[gate]\nbeat_popularity = false\n[surfaces.home]\nsteps = ["explored"]\n'
    (tmp_path / "recsys.toml").write_text(text)
    done = subprocess.run([sys.executable, "-m", "recsys", "train"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with serve(tmp_path) as (address, _):
        httpx.get(f"{address}/recommend", params={"user_id": "196", "k": 10})
        (record,) = soon(lambda: of(tmp_path, "196"))
    assert sum(record.propensities) == pytest.approx(9 + 1 / 91)
    assert sorted(record.propensities)[1:] == [1.0] * 9


def test_a_share_of_the_answers_is_logged_and_the_id_of_the_request_says_which(serve, configured, tmp_path, copied):
    folder = copied(tmp_path, configured() + LOG + "impressions = 0.5\n")
    with serve(folder) as (address, _), httpx.Client(base_url=address) as client:
        ids = {client.get("/recommend", params={"user_id": "13", "k": 1}).json()["request_id"] for _ in range(40)}
        soon(lambda: of(folder, "13"))
    # A server that ends writes what waits.
    assert {record.id for record in of(folder, "13")} == {id_ for id_ in ids if id_[0] < "8"} != ids


class Halting:
    """A log that does not go on before it is told to, and fails as it is told to."""

    def __init__(self):
        self.batches, self.go, self.failure = [], asyncio.Event(), None

    async def append(self, records):
        self.batches.append(list(records))
        await self.go.wait()
        if self.failure:
            raise self.failure
        return [str(place) for place in range(len(records))]


def events(count, user="u"):
    return [Event(f"{user}{number}", 0, user, "i", "play") for number in range(count)]


def test_what_comes_while_the_log_is_busy_is_written_together_and_in_order():
    async def story():
        log = Halting()
        writer = Writer(log)
        requests = [events(2, f"u{number}") for number in range(50)]
        appending = [asyncio.create_task(writer.append(records)) for records in requests]
        await asyncio.sleep(0.01)
        more = asyncio.create_task(writer.append(events(1, "late")))
        large = asyncio.create_task(writer.append(events(TOGETHER, "large")))
        await asyncio.sleep(0.01)
        assert not any(task.done() for task in (*appending, more, large))
        log.go.set()
        await asyncio.gather(*appending, more, large)
        assert [record for batch in log.batches for record in batch] == [
            *(record for records in requests for record in records),
            *events(1, "late"),
            *events(TOGETHER, "large"),
        ]
        assert len(log.batches) == 3

    asyncio.run(story())


@pytest.mark.parametrize("failure", [LogError("down"), LogFull("full"), RuntimeError("a bug")])
def test_everybody_hears_when_the_log_fails_and_the_next_may_succeed(failure):
    async def story():
        log = Halting()
        log.failure = failure
        log.go.set()
        writer = Writer(log)
        heard = await asyncio.gather(*(writer.append(events(1)) for _ in range(3)), return_exceptions=True)
        assert heard == [failure] * 3
        log.failure = None
        await writer.append(events(1))

    asyncio.run(story())


def test_impressions_wait_while_the_log_is_down_and_beyond_a_bound_they_are_dropped():
    async def story():
        log = Halting()
        log.go.set()
        log.failure = LogError("down")
        impressions = Impressions(Writer(log), 1.0)
        shown = [Shown(f"{number:x}", 0, "u", ("i",), "home", "r", "personal") for number in range(WAITING + 5)]
        for each in shown:
            impressions.add(each)
        with pytest.raises(LogError):
            await impressions.flush()
        log.failure = None
        log.batches.clear()
        await impressions.close(5)
        assert [record for batch in log.batches for record in batch] == shown[:WAITING]

    asyncio.run(story())


def test_without_a_log_nothing_is_accepted_and_everything_answered(home, serve, configured, tmp_path):
    (tmp_path / "recsys.toml").write_text(configured() + f'[log]\nurl = "unix://{tmp_path}/nobody-listens.sock"\n')
    shutil.copytree(home / "var/releases", tmp_path / "var/releases")
    with serve(tmp_path) as (address, _), httpx.Client(base_url=address) as client:
        answer = client.post("/events", json=play())
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert "nobody-listens.sock" in answer.json()["detail"]
        assert "send it again under the same event_id" in answer.json()["detail"]
        assert client.get("/recommend", params={"user_id": "196"}).status_code == 200


def test_a_killed_server_has_lost_nothing_that_it_acknowledged(serve, configured, tmp_path, copied):
    folder = copied(tmp_path, configured() + LOG)
    acknowledged = []
    with serve(folder) as (address, server), httpx.Client(base_url=address) as client:
        for number in range(200):
            client.post("/events", json=play("killed", str(number), event_id=str(number)))
            acknowledged.append(str(number))
        os.kill(server.pid, signal.SIGKILL)
    assert [record.id for record in of(folder, "killed")] == acknowledged

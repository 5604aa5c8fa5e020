"""`recsys bench serving` on a small release: what it reports, and that its clients tell a stalled server."""

import asyncio
import json

import aiohttp
import pytest
from aiohttp import web
from typer.testing import CliRunner

from benchmarks import floor, loops
from benchmarks.load import closed_loop, open_loop
from recsys.cli import app


def test_the_command_prints_what_was_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(floor, "SECONDS", 0.3)
    plot = tmp_path / "latency.png"
    size = ["--items", "2000", "--users", "100", "--seconds", "1", "--slow-ranker", "25"]
    done = CliRunner().invoke(app, ["bench", "serving", *size, "--json", "--plot", str(plot)], catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    document = json.loads(done.stdout)
    assert {"rate", "p50_ms", "p99_ms", "errors"} <= document["open_loop"].keys()
    assert document["empty_open_loop"]["errors"] == 0 < document["empty_open_loop"]["requests"]
    assert document["closed_loop"]["workers"] == 1
    assert document["closed_loop"]["rps"] > 0
    assert document["open_loop"]["errors"] == document["closed_loop"]["errors"] == 0
    assert {"state", "nearest", "similar-to-recent", "item-item", "fusion", "steps"} <= document["stages_ms"].keys()
    assert document["floor_ms"] == pytest.approx(sum(document["floor"].values()), abs=1e-3)
    assert document["times_floor"] > 0
    assert document["libraries"].keys() == document["floor"].keys() >= {"search_similar-to-recent", "trees"}
    assert document["libraries_ms"] == pytest.approx(sum(document["libraries"].values()), abs=1e-3)
    assert document["times_libraries"] > 0
    assert document["loops"].keys() >= {"candidates.blended", "features.cosines", "vectors.diverse", "vocabulary.texts"}
    assert not document["loops"].keys() & loops.OF_FLOOR, "the floor has these"
    assert document["loops_ms"] == pytest.approx(sum(document["loops"].values()), abs=1e-3)
    assert document["second_worker_private_mb"] > 0
    assert document["ready_s"] > 0
    slow = document["slow_ranker"]
    assert slow["ranker_ms"] >= 25 > slow["budget_ms"]
    asked = sum(slow["degraded"].values())
    assert sum(count for parts, count in slow["degraded"].items() if "ranker" in parts) >= asked - 1, (
        "tried once, at most"
    )
    assert slow["open_loop"]["errors"] == 0
    assert plot.read_bytes()[:4] == b"\x89PNG"


async def stalled(loop, *arguments):
    """What a loop tells of a server that answers at once, but for half a second in which it answers nobody."""
    clock = asyncio.get_running_loop()
    begin = clock.time()

    async def answer(_):
        since = clock.time() - begin
        if 0.5 < since < 1:
            await asyncio.sleep(1 - since)
        return web.Response(text="[]")

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0]
    async with aiohttp.ClientSession(f"http://{host}:{port}") as session:
        seen = await loop(session, ["/"], *arguments)
    await runner.cleanup()
    return seen


def test_an_open_loop_charges_a_stall_to_everybody_who_came_meanwhile():
    opened = asyncio.run(stalled(open_loop, 100, 2))
    closed = asyncio.run(stalled(closed_loop, 1, 2))
    late = [sum(took > 0.05 for took in seen.seconds) / len(seen.seconds) for seen in (opened, closed)]
    assert late[0] > 0.1, "a quarter of the time nobody was answered"
    assert late[1] < 0.05, "who waits for their answers asks once in that time"
    assert opened.errors == closed.errors == 0

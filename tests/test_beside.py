"""What `recsys serve` starts beside its workers: replaced when it ends, and never there for longer than the server."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest


@pytest.fixture
def folder(tmp_path, configured, copied):
    return copied(tmp_path, configured())


def children(parent):
    """Processes of Python that a process started, but for what only keeps track of shared memory."""
    found = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    found += [one for task in Path(f"/proc/{parent}/task").iterdir() for one in (task / "children").read_text().split()]
    return {int(child) for child in found if "spawn_main" in Path(f"/proc/{child}/cmdline").read_text()}


def soon(found, within=20):
    """What is found, once it is something."""
    end = time.monotonic() + within
    while not (there := found()):
        assert time.monotonic() < end, f"there was nothing within {within} s"
        time.sleep(0.02)
    return there


def likes(address, item):
    event = {"user_id": "196", "item_id": item, "kind": "like"}
    assert httpx.post(f"{address}/events", json=event).json()["accepted"] == 1
    return lambda: item not in listed(address)


def listed(address):
    return [item["item_id"] for item in httpx.get(f"{address}/recommend?user_id=196&k=10").json()["items"]]


def test_one_that_is_killed_is_replaced_and_applies_what_came_meanwhile(folder, serve):
    with serve(folder) as (address, server):
        soon(likes(address, listed(address)[0]))
        (first,) = children(server.pid)
        os.kill(first, signal.SIGKILL)
        gone = likes(address, listed(address)[0])
        assert soon(lambda: children(server.pid) - {first})
        soon(gone)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_it_ends_with_the_server_however_that_ends(folder, serve, number):
    with serve(folder) as (address, server):
        (process,) = soon(lambda: children(server.pid))
        soon(likes(address, listed(address)[0]))
        server.send_signal(number)
        server.wait(20)
        soon(lambda: not Path(f"/proc/{process}").exists())


def test_a_server_that_is_told_to_end_leaves_nothing_behind(folder, serve, monkeypatch):
    # A folder of pytest's own may be too long a name for the socket in it.
    with TemporaryDirectory() as scratch:
        monkeypatch.setenv("TMPDIR", scratch)
        with serve(folder) as (_, server):
            assert list(Path(scratch).glob("recsys-metrics-*"))
            server.terminate()
            assert server.wait(20) == 0
        assert not list(Path(scratch).glob("recsys-metrics-*"))


def test_states_that_only_one_process_has_cannot_be_changed_by_another(folder):
    with (folder / "recsys.toml").open("a") as file:
        file.write("[stream]\ninside = true\n")
    command = [sys.executable, "-m", "recsys", "serve", "--port", "0"]
    environ = {**os.environ, "RECSYS_STATE_URL": "memory://"}
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert "stream.inside: states in memory are one process's own" in done.stderr

"""``recsys demo`` after training: a real server in a process of its own, asked over HTTP like any front end would.

A process of its own, because this one has trained and so holds the training libraries.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn
from urllib.error import URLError
from urllib.parse import quote
from urllib.request import urlopen

from rich.console import Console
from rich.table import Table

from recsys.errors import RecsysError
from recsys.releases import Release

READY_SECONDS = 30.0
SHOWN_USERS = 4
SHOWN_ITEMS = 5
NEWCOMER = "a newcomer"


def run(
    config: Path | None, port: int | None, release: Release, console: Console, *, once: bool
) -> list[dict[str, Any]]:
    """Serve, print what a few users get, and go on until Ctrl-C unless ``once``; the lists that were printed.

    ``config`` and ``port`` are handed to ``recsys serve``. RecsysError if the server does not come up, or answers
    from another release.
    """
    with serving(config, port) as (address, ready):
        if ready != release.id:
            raise RecsysError(f"the server answers from {ready}, wanted {release.id}: is another trainer at work?")
        lists = ask(address)
        _print(console, lists)
        console.print(f"serving [bold]{ready}[/] at [bold underline]{address}[/]   [dim]API: {address}/docs[/]")
        if not once:
            console.print("Ctrl-C stops")
            try:
                while True:
                    time.sleep(3600)
            except KeyboardInterrupt:
                console.print("stopped")
    return lists


@contextmanager
def serving(config: Path | None, port: int | None) -> Iterator[tuple[str, str]]:
    """``recsys serve`` as a child; gives its address and release once it is ready, and stops it in the end."""
    signal.signal(signal.SIGTERM, _exit)
    options = ["--config", str(config)] if config else []
    options += ["--port", str(port)] if port is not None else []
    command = [sys.executable, "-m", "recsys", "serve", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as server:  # noqa: S603
        try:
            # The first line names the address; it is empty if the server could not start and has said why.
            line = server.stdout.readline() if server.stdout else ""
            if "http" not in line:
                raise RecsysError(f"the server did not start (exit code {server.wait(10)}): see the lines above")
            address = line[line.index("http") :].split()[0]
            yield address, _wait_until_ready(server, address)
        finally:
            server.terminate()
            server.wait(15)


def ask(address: str) -> list[dict[str, Any]]:
    """What a few users and somebody unknown get, each answer with the titles of its items and its latency."""
    users = [user["user_id"] for user in _get(f"{address}/page/users?limit={SHOWN_USERS}")["users"]]
    lists = []
    for user in [*users, NEWCOMER]:
        start = time.perf_counter()
        answer = _get(f"{address}/recommend?user_id={quote(user)}&k={SHOWN_ITEMS}")
        answer["milliseconds"] = round((time.perf_counter() - start) * 1000, 2)
        ids = "&".join(f"ids={quote(item['item_id'])}" for item in answer["items"])
        for item, described in zip(answer["items"], _get(f"{address}/page/items?{ids}")["items"], strict=True):
            item["title"] = described.get("title", item["item_id"])
        lists.append(answer)
    return lists


def _print(console: Console, lists: list[dict[str, Any]]) -> None:
    table = Table("user", "level", "ms", "recommended")
    for answer in lists:
        titles = " · ".join(item["title"] for item in answer["items"])
        table.add_row(answer["user_id"], answer["level"], f"{answer['milliseconds']:.1f}", titles)
    console.print(table)


def _wait_until_ready(server: subprocess.Popen[str], address: str) -> str:
    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            return str(_get(f"{address}/readyz")["release"])
        except (URLError, ConnectionError) as error:
            if server.poll() is not None:
                raise RecsysError(f"the server ended (exit code {server.returncode}): see the lines above") from error
            if time.monotonic() > deadline:
                raise RecsysError(f"{address} was not ready within {READY_SECONDS:.0f} s: {error}") from error
            time.sleep(0.05)


def _get(url: str) -> Any:
    with urlopen(url, timeout=10) as response:  # noqa: S310  our own server
        return json.load(response)


def _exit(*_: object) -> NoReturn:
    # So that the context managers above end the server too.
    sys.exit(143)

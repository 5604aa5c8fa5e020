"""What tests share: where things lie, and one release trained on real data."""

import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import hypothesis
import pytest
from playwright.sync_api import sync_playwright

from index import load
from recsys.assembly import assemble
from recsys.releases import ReleaseStore
from recsys.settings import load_settings

# How long an example takes says something of the machine only.
hypothesis.settings.register_profile("unhurried", deadline=None)
hypothesis.settings.load_profile("unhurried")

REPO = Path(__file__).resolve().parent.parent
CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-quic",
    "--no-first-run",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def repo():
    return REPO


@pytest.fixture(scope="session")
def data_folder():
    """The folder of public data sets; a missing one fails, since a skipped test hides what it would have found."""
    folder = Path(os.environ.get("RECSYS_DATA") or REPO.parent / "shared" / "datasets")
    assert folder.is_dir(), f"{folder} is not there: point RECSYS_DATA at the folder of public data sets"
    return folder


@pytest.fixture(scope="session")
def now():
    return datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    """A folder in which MovieLens 100K has been trained on and published, as `recsys train` does it."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "recsys.toml").write_text(configuration())
    done = subprocess.run([sys.executable, "-m", "recsys", "train"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def settings(home):
    """The settings of that folder; tests that change releases or states make their own."""
    return load_settings(home / "recsys.toml", {})


def configuration(factors=64, url=None):
    """The demo's settings in a file. Patient with the store: a busy test machine must not look like a dead one."""
    return (
        f'[model]\nname = "als"\nfactors = {factors}\nregularization = 20.0\nalpha = 2.0\n'
        f"[serve]\nwatch_seconds = 0.1\n[state]\ntimeout_ms = 5000\n" + (f'url = "{url}"\n' if url else "")
    )


@contextmanager
def served(folder, *options):
    """`recsys serve` in a folder, from when it is ready to when it has stopped; gives its address and process."""
    command = [sys.executable, "-m", "recsys", "serve", "--port", "0", *options]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        try:
            line = server.stdout.readline()
            assert "http" in line, f"the server did not start: {server.stderr.read()}"
            address = line[line.index("http") :].split()[0]
            deadline = time.monotonic() + 30
            while True:
                try:
                    if httpx.get(f"{address}/healthz").status_code == 200:
                        break
                except httpx.TransportError:
                    assert server.poll() is None, server.stderr.read()
                    assert time.monotonic() < deadline, "the server does not answer"
                    time.sleep(0.05)
            yield address, server
        finally:
            server.terminate()
            server.communicate(timeout=20)


@contextmanager
def redis_running(folder, *options):
    """Debian's redis-server on a socket in ``folder``, until the context ends; gives its URL and its process."""
    binary = shutil.which("redis-server")
    assert binary, "redis-server is not on the PATH: install it (`apt-get install redis-server`), these tests need it"
    path = folder / "redis.sock"
    command = [binary, "--port", "0", "--unixsocket", path, "--dir", folder, "--save", "", *options]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + 30
            while not answers_ping(path):
                assert process.poll() is None, "redis-server ended"
                assert time.monotonic() < deadline, "redis-server does not answer"
                time.sleep(0.01)
            yield f"unix://{path}", process
        finally:
            process.terminate()


def answers_ping(path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
        try:
            peer.connect(str(path))
            peer.sendall(b"PING\r\n")
            return peer.recv(64).startswith(b"+PONG")
        except OSError:
            return False


@pytest.fixture(scope="session")
def redis_server():
    """The context manager above, for tests that need a server of their own."""
    return redis_running


@pytest.fixture(scope="session")
def serve():
    """The context manager above, for tests that need a server of their own."""
    return served


@pytest.fixture(scope="session")
def copied(home):
    """Puts the release of that folder and the text of a recsys.toml into another one, which is given back.

    The state stays behind: a server that others share may be writing to it.
    """

    def copy(folder, text):
        shutil.copytree(home / "var/releases", folder / "var/releases")
        (folder / "recsys.toml").write_text(text)
        return folder

    return copy


@pytest.fixture(scope="session")
def configured():
    """The text of recsys.toml for tests that write their own, see :func:`configuration`."""
    return configuration


@pytest.fixture(scope="module")
def client(folder, serve):
    """Asks a server of the module's own ``folder``."""
    with serve(folder) as (address, _), httpx.Client(base_url=address) as client:
        yield client


@pytest.fixture(scope="module")
def engine(folder):
    """The engine of the module's own ``folder``."""
    settings = load_settings(folder / "recsys.toml", {})
    return assemble(ReleaseStore(settings.releases.folder).current(), load)


@pytest.fixture(scope="session")
def address(home):
    """A server that only reading tests share."""
    with served(home) as (address, _):
        yield address


@pytest.fixture(scope="module")
def browser():
    """Chromium, for one module: while its loop runs no other can."""
    assert Path(CHROMIUM).exists(), f"{CHROMIUM} is not there: install it (`apt-get install chromium`)"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def browsing(browser):
    """A context over a file, in which pages of it are opened; it may ask for nothing but itself, and not complain."""

    @contextmanager
    def over(path):
        said, asked, contexts = [], [], []

        def open_page(**options):
            contexts.append(browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options}))
            page = contexts[-1].new_page()
            page.on("console", lambda message: said.append(message.text))
            page.on("request", lambda request: asked.append(request.url))
            page.goto(path.as_uri())
            return page

        yield open_page
        for context in contexts:
            context.close()
        assert said == []
        assert set(asked) == {path.as_uri()}

    return over

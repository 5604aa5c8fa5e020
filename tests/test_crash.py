"""A publisher is killed at every step it takes on disk; the pointer always names a whole release.

A child trains for real, in a fresh process each time, with a hook that counts every open, rename, mkdir, remove
and fsync below the folder of releases and kills the child with SIGKILL before the n-th of them, for every n.
"""

import os
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from index import load
from recsys.assembly import assemble
from recsys.releases import ReleaseStore

# Forks a child for each step, so that imports are paid for once; the parent itself never trains.
PUBLISHER = """
import importlib, os, signal, sys
from datetime import UTC, datetime
from pathlib import Path

from recsys.settings import load_settings
import training.run

folder = Path(sys.argv[1])
settings = load_settings(folder / "recsys.toml", {})
releases = str(settings.releases.folder)

def count_down(left):
    def step(path):
        nonlocal left
        if str(path).startswith(releases):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def hook(event, arguments):
        if event in {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir"} and isinstance(arguments[0], str | Path):
            step(arguments[0])

    fsync = os.fsync

    def watched(handle):
        step(os.readlink(f"/proc/self/fd/{handle}"))
        fsync(handle)

    os.fsync = watched
    sys.addaudithook(hook)

# What one training imports, whenever it does, found out in a child and a folder that do not count.
reading, writing = os.pipe()
if not os.fork():
    elsewhere = settings.releases.model_copy(update={"folder": folder / "elsewhere"})
    training.run.train(settings.model_copy(update={"releases": elsewhere}), now=datetime.now(UTC), environ={})
    os.write(writing, "\\n".join(sys.modules).encode())
    os._exit(0)
os.close(writing)
with os.fdopen(reading) as told:
    for name in told.read().split("\\n"):
        try:
            importlib.import_module(name)
        except ImportError:
            pass
os.wait()

n = 0
while True:
    n += 1
    child = os.fork()
    if not child:
        count_down(n)
        training.run.train(settings, now=datetime.now(UTC), environ={})
        os._exit(0)
    _, status = os.waitpid(child, 0)
    print(n, -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status), flush=True)
    if sys.stdin.readline() != "on\\n":
        break
"""


@pytest.fixture
def folder(tmp_path):
    rows = [f"u{u},i{i},{100_000_000 * 10 + u * 60 + i}" for u in range(12) for i in range(12) if (u + i) % 3]
    (tmp_path / "log.csv").write_text("user_id,item_id,time\n" + "\n".join(rows) + "\n")
    (tmp_path / "recsys.toml").write_text(
        '[data]\nevents = "log.csv"\n[model]\nfactors = 4\n[train]\nthreads = 1\n'
        '[state]\nurl = "memory://"\n[gate]\nbeat_popularity = false\n'
    )
    return tmp_path


def test_the_pointer_always_names_a_whole_release(folder):
    first = subprocess.run([sys.executable, "-m", "recsys", "train"], cwd=folder, capture_output=True, text=True)
    assert first.returncode == 0, first.stderr
    store = ReleaseStore(folder / "var/releases")
    old = store.current_id()
    outcomes, whole = [], set()
    # Whoever is killed reports no coverage: tracing it would double the time and tell nothing.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_PROCESS")}
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", PUBLISHER, str(folder)], stdin=pipe, stdout=pipe, text=True, env=environ
    ) as publisher:
        while True:
            step, outcome = map(int, publisher.stdout.readline().split())
            outcomes.append(outcome)
            named = store.current_id()
            assemble(store.verify(named), load)
            assert named == old or outcome == 0 or named > old, f"step {step}: the pointer went from {old} to {named}"
            # as each appears; that none was damaged later is seen at the end, for nobody repairs one
            for id_ in set(store.ids()) - whole:
                store.verify(id_)
                whole.add(id_)
            old = named
            if outcome != -9:
                break
            publisher.stdin.write("on\n")
            publisher.stdin.flush()
        publisher.stdin.close()
    for id_ in store.ids():
        store.verify(id_)
    assert whole == set(store.ids())
    assert outcomes[-1] == 0, "the last publisher was left in peace and should have succeeded"
    # Files, folders, their syncs, the manifest, the rename, the pointer, the log: far more steps than this.
    assert len(outcomes) > 80
    assert not list(store.folder.glob(".staging-*")), "what the killed ones left was cleared away"
    store.rollback(now=datetime.now(UTC))

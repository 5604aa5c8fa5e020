"""Playlists from a real Spark cluster, a master and two workers of this machine, are those made here, to the byte.

``make spark`` runs these: pandera imports pyspark wherever it finds it, and warns, so it has a folder of its own.
"""

import importlib.util
import os
import re
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from recsys.playlists.editions import EditionStore

pytestmark = pytest.mark.spark

FOUND = importlib.util.find_spec("pyspark")
HOME = Path(FOUND.origin).parent if FOUND else Path("no pyspark")
ENVIRONMENT = {
    **os.environ,
    "SPARK_HOME": str(HOME),
    "SPARK_LOCAL_IP": "127.0.0.1",
    "PYSPARK_PYTHON": sys.executable,
    "OPENBLAS_NUM_THREADS": "1",
}
RUN = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from index.exact import load_exact
from index.growing import Growing
from recsys.playlists.people import Chosen
from recsys.playlists.processes import Here
from recsys.playlists.runs import make
from recsys.playlists.weeks import Week
from recsys.releases import ReleaseStore
from recsys.sections import Playlists

if __name__ == "__main__":
    folder, releases, master = sys.argv[1:]
    run = Here()
    if master:
        from recsys.playlists.spark import Spark
        run = Spark(master, 1)
    make(Week(2026, 48), Playlists(folder=Path(folder), length=10), ReleaseStore(Path(releases)),
         now=datetime(2026, 11, 26, tzinfo=UTC), chosen=Chosen(), state=None, load_index=load_exact,
         grow=Growing.of, run=run, part=256)
"""


@contextmanager
def daemon(folder, name, *options):
    """One of Spark's own programs, and the file that it writes its log to."""
    log = folder / f"{name}.log"
    command = [str(HOME / "bin/spark-class"), f"org.apache.spark.deploy.{name}", *options]
    with log.open("w") as file, subprocess.Popen(command, env=ENVIRONMENT, stderr=file, stdout=file) as process:
        try:
            yield log
        finally:
            process.terminate()


def said(log, pattern):
    deadline = time.monotonic() + 120
    while not (found := re.search(pattern, log.read_text())):
        assert time.monotonic() < deadline, log.read_text()[-2000:]
        time.sleep(0.1)
    return found[0]


@pytest.fixture
def cluster(tmp_path):
    """The address of one master with two workers."""
    with ExitStack() as stack:
        options = ("--host", "127.0.0.1", "--port", "0", "--webui-port", "0")
        master = stack.enter_context(daemon(tmp_path, "master.Master", *options))
        address = said(master, r"spark://127\.0\.0\.1:[1-9]\d*")
        for number in range(2):
            folder = tmp_path / str(number)
            folder.mkdir()
            options = ("--host", "127.0.0.1", "--cores", "1", "--memory", "1g", "--webui-port", "0", "-d", str(folder))
            worker = stack.enter_context(daemon(folder, "worker.Worker", *options, address))
            said(worker, "Successfully registered with master")
        yield address


def bytes_of(folder):
    edition = EditionStore(folder).verify("2026-W48")
    assert datetime.now(UTC) > edition.manifest.created
    files = [path for path in edition.folder.rglob("*") if path.is_file() and path.name != "manifest.json"]
    return {path.relative_to(edition.folder): path.read_bytes() for path in files}


@pytest.mark.timeout(600)
def test_a_cluster_makes_what_this_machine_makes(home, cluster, tmp_path):
    script = tmp_path / "run.py"
    script.write_text(RUN)
    for name, master in (("here", ""), ("there", cluster)):
        command = [sys.executable, str(script), str(tmp_path / name), str(home / "var/releases"), master]
        done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
    here, there = bytes_of(tmp_path / "here"), bytes_of(tmp_path / "there")
    assert sorted(here) == sorted(there)
    assert here == there
    assert len([path for path in there if path.suffix == ".parquet"]) == 4


def test_no_cluster_is_said(home, tmp_path):
    script = tmp_path / "run.py"
    script.write_text(RUN)
    command = [sys.executable, str(script), str(tmp_path / "x"), str(home / "var/releases"), "nonsense"]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "nonsense is no Spark cluster that answers" in done.stderr
    assert EditionStore(tmp_path / "x").ids() == []

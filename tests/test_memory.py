"""What a worker takes: memory that loading leaves behind is given back, and one request uses one core."""

import gc
import json
import os
import subprocess
import sys
import weakref

from api.memory import settle


class Knot:
    """Holds itself, so that only the collector can free it."""

    def __init__(self):
        self.me = self


def test_what_stays_is_not_looked_through_again_and_what_went_since_is_freed_next_time():
    try:
        knot = Knot()
        gone = weakref.ref(knot)
        settle()
        assert gc.get_freeze_count() > 0
        del knot
        gc.collect()
        assert gone() is not None
        settle()
        assert gone() is None
    finally:
        gc.unfreeze()


def test_libraries_that_come_with_a_release_use_one_thread():
    act = """
import json, sys
from pathlib import Path
from api.server import worker_app
from recsys.settings import load_settings
worker_app(load_settings(None, {"RECSYS_STATE_URL": "memory://"}))
import faiss
from threadpoolctl import threadpool_info
print(json.dumps([one["num_threads"] for one in threadpool_info()]))
"""
    environ = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    done = subprocess.run([sys.executable, "-c", act], capture_output=True, text=True, env=environ)
    assert done.returncode == 0, done.stderr
    threads = json.loads(done.stdout)
    assert len(threads) >= 2
    assert set(threads) == {1}

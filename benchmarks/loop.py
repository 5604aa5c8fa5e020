"""How long the whole loop takes on MovieLens 100K: raw file to promoted release, start to ready, one request."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

import numpy as np

REQUESTS = 2000


def measure() -> dict[str, Any]:
    """Each step as its user starts it, in a fresh folder: whole processes, imports included."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        train_s = _seconds("train", cwd=folder)
        demo_s = _seconds("demo", "--once", cwd=folder)
        start = time.perf_counter()
        command = [sys.executable, "-m", "recsys", "serve", "--port", "0"]
        with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as server:
            try:
                line = server.stdout.readline() if server.stdout else ""
                address = urlsplit(line.split()[2])
                ready_s = _ready(address.netloc, start)
                times = _requests(address.netloc)
            finally:
                server.terminate()
    p50, p99 = (float(np.percentile(times, share) * 1000) for share in (50, 99))
    return {
        "data": "ml-100k",
        "raw_file_to_promoted_s": round(train_s, 2),
        "demo_once_s": round(demo_s, 2),
        "start_to_ready_s": round(ready_s, 2),
        "recommend_ms": {"requests": REQUESTS, "clients": 1, "p50": round(p50, 3), "p99": round(p99, 3)},
    }


def _seconds(*arguments: str, cwd: Path) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "recsys", *arguments], cwd=cwd, check=True, capture_output=True)
    return time.perf_counter() - start


def _ready(netloc: str, start: float) -> float:
    while time.perf_counter() - start < 60:
        connection = http.client.HTTPConnection(netloc, timeout=5)
        try:
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return time.perf_counter() - start
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(0.01)
    raise TimeoutError(f"{netloc} was not ready within 60 s")


def _requests(netloc: str) -> list[float]:
    connection = http.client.HTTPConnection(netloc, timeout=5)
    connection.request("GET", "/page/users?limit=200")
    users = [user["user_id"] for user in json.load(connection.getresponse())["users"]]
    times = []
    for n in range(REQUESTS):
        start = time.perf_counter()
        connection.request("GET", f"/recommend?user_id={users[n % len(users)]}&k=20")
        connection.getresponse().read()
        times.append(time.perf_counter() - start)
    connection.close()
    return times

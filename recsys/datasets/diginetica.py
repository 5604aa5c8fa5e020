"""Products clicked in the sessions of a shop (CIKM Cup 2016): a session is a user, the last week is the test."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from recsys.datasets import Dataset, Log
from recsys.datasets.ragged import events, order_within
from recsys.sections import Kind


def _part(path: Path, first: int) -> tuple[pd.DataFrame, int]:
    """Events of the sessions of one file, numbered from ``first``, and how many sessions there are."""
    sessions = json.loads(path.read_text("ascii"))
    lengths = np.fromiter(map(len, sessions), np.int64, len(sessions))
    clicked = np.fromiter((item for session in sessions for item in session), np.int64, int(lengths.sum()))
    user = np.repeat(np.arange(first, first + len(sessions)), lengths)
    return events(user, clicked, "click", order=order_within(lengths)), len(sessions)


def _read(folder: Path) -> Log:
    folder /= "diginetica"
    train, sessions = _part(folder / "train_sessions.json", 0)
    test, _ = _part(folder / "test_sessions.json", sessions)
    return Log("diginetica", train, None, {"click": Kind()}, test)


DATASET = Dataset(
    name="diginetica",
    title="Diginetica: sessions of product clicks",
    home="https://competitions.codalab.org/competitions/11161",
    terms="none stated",
    files=("diginetica/train_sessions.json", "diginetica/test_sessions.json"),
    users=202_633,
    items=43_097,
    events=906_140,
    tests=76_821,
    read=_read,
)

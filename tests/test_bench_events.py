"""What the benchmarks of the speed layer count is what they say they count."""

import asyncio
import os

import pytest

import index
from benchmarks.drift import measure as measure_drift
from benchmarks.events import fold_in_ms, redis_server, taken_over
from recsys.assembly import assemble
from recsys.releases import ReleaseStore
from recsys.sections import State


def test_a_user_of_fifty_events_takes_less_than_promised_and_everybody_is_taken_over(settings, tmp_path_factory):
    engine = assemble(ReleaseStore(settings.releases.folder).current(), index.load)
    with redis_server(tmp_path_factory.mktemp("r") / "redis") as (url, client):
        own = settings.model_copy(update={"state": State(url=url, timeout_ms=5000)})
        found = asyncio.run(taken_over(own, engine, 600, client))
    assert found["recompute_users"] == 600
    # Bytes are no matter of speed: the same on every machine.
    assert 1130 < found["redis_bytes_per_user"] < 1500
    assert found["redis_bytes_per_user_with_impressions"] > found["redis_bytes_per_user"] + 900


def test_a_fold_is_timed():
    assert 0 < fold_in_ms() < 1000


def test_folding_in_at_age_0_is_learning_anew_and_later_it_is_not(data_folder):
    document = measure_drift("ml-100k", {"RECSYS_DATA": str(data_folder), **os.environ}, ages=(0, 28))
    now, later = document["ages"]
    assert now["fold_in"] == pytest.approx(now["refit"])
    assert now["lost"] == pytest.approx(0)
    assert later["refit"] != later["fold_in"] != later["without"]
    assert (now["age_days"], later["age_days"]) == (0, 28)
    assert min(now["users"], later["users"]) > 30

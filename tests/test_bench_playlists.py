"""The benchmark of playlists at a small size: what it makes is whole, and it measures everything that is promised."""

from benchmarks import playlists, weeks


def test_a_small_night_breaks_no_rule_and_is_measured():
    found = playlists.measure(users=1024, items=2000, seconds=0.5)
    assert (found["violations"], found["passed"], found["get_errors"]) == (0, True, 0)
    assert found["quality"]["full"] == 1024
    assert found["quality"]["overlap"] == 0, "the second week repeats nothing of the first"
    for name in ("users_per_s", "cpu_ms_a_user", "peak_mb", "gemm_share", "redis_lists_per_s", "get_p99_ms"):
        assert found[name] > 0, name


def test_weeks_are_parts_of_what_each_user_did_in_their_order(data_folder):
    from recsys.datasets import load

    events = load("ml-latest-small", {"RECSYS_DATA": str(data_folder)}).events
    parts = weeks._parted(events)
    assert len(parts) == 1 + weeks.WEEKS
    assert sum(map(len, parts)) == len(events)
    for number, part in enumerate(parts[1:]):
        week = weeks.FIRST.plus(number)
        assert week.start.timestamp() <= part.time.min() <= part.time.max() < week.plus(1).start.timestamp()
    user = events.user_id.iloc[0]
    mine = events[events.user_id == user].sort_values("time", kind="stable").item_id.tolist()
    assert [item for part in parts for item in part[part.user_id == user].item_id] == mine

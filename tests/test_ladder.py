"""What a user is answered when less and less is known of them, and which rungs the data give a ladder."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from index import load
from index.growing import Growing
from recsys.assembly import HOME, assemble
from recsys.catalogue import Catalogue
from recsys.interactions import Interactions
from recsys.masks import Mask
from recsys.retrieval import Query
from recsys.settings import load_settings
from recsys.vocabulary import Vocabulary
from training.run import train
from training.strangers import rungs_of, segments_of, trend_of

NOW = datetime(2026, 11, 26, tzinfo=UTC)
T0, DAY = 1_600_000_000, 86_400
USERS, ITEMS, MONTHS = 120, 60, 6
SETTINGS = """
[data]
events = "log.csv"
items = "items.jsonl"
[model]
name = "als"
factors = 8
[content]
kappa = 5.0
prior = 1.0
[content.encoder]
name = "tags"
[train]
threads = 1
[state]
url = "memory://"
[log]
url = "memory://"
[gate]
beat_popularity = false
warm_loss = 1.0
"""


def moving_log(rng):
    """Newcomers every month, who take what that month takes: what was taken long ago foretells little."""
    rows = []
    for user in range(USERS):
        month = user * MONTHS // USERS
        there = np.arange(10 * month, 10 * month + 10)
        taken = rng.choice(there, 7, replace=False).tolist()
        rows += [(user, item, T0 + 30 * DAY * month + int(rng.integers(0, 25 * DAY))) for item in taken]
    return sorted(rows, key=lambda row: row[2])


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ladder")
    rows = [f"u{user},i{item},{time}" for user, item, time in moving_log(np.random.default_rng(0))]
    (folder / "log.csv").write_text("\n".join(["user_id,item_id,time", *rows]) + "\n")
    described = [
        f'{{"item_id": "i{row}", "title": "Item {row}", "tags": ["{"odd" if row % 2 else "even"}", "t{row // 10}"], '
        f'"country": "{"DE" if row % 3 else "FR"}"}}'
        for row in range(ITEMS)
    ]
    (folder / "items.jsonl").write_text("\n".join(described) + "\n")
    (folder / "recsys.toml").write_text(SETTINGS)
    outcome = train(load_settings(folder / "recsys.toml", {}), now=NOW, environ={})
    return assemble(outcome.release, load, Growing.of).amended({"new": {"title": "New", "tags": ["odd", "t2"]}})


def test_the_data_say_which_rungs_there_are(engine):
    assert [line.name for line in engine.surfaces[HOME].ladder] == [
        "content-nearest", "declared-interests", "segment", "trending", "popular"
    ]  # fmt: skip
    segment = engine.surfaces[HOME].ladder[2].model_extra
    assert segment["columns"] == ["country"], "two tags of each item are too many different ones, and so are titles"


def test_the_less_is_known_of_a_user_the_further_down_their_list_comes_from(engine):
    (state,) = engine.users.find(["u10"])
    known = engine.resolver.known("u10", state, NOW)
    few = engine.resolver.anonymous([f"i{row}" for row in (40, 41, 42)], np.ones(3, np.float32), NOW)
    unheard = engine.resolver.anonymous(["new"], np.ones(1, np.float32), NOW)
    # A vector that content put there would answer as learned; what only content knows is left.
    unheard = replace(unheard, vector=None)
    nobody = Query(now=NOW)
    interested = replace(nobody, interests=("odd",))
    from_there = replace(nobody, segment=("country", "fr"))
    untaken = replace(nobody, allowed=Mask.of_rows(np.flatnonzero(engine.popularity == 0), len(engine.items)))
    everything = replace(nobody, seen=np.arange(len(engine.items), dtype=np.int32))
    answer = engine.recommenders[HOME].recommend(
        [known, few, unheard, interested, from_there, nobody, untaken, everything], 8
    )
    assert answer.levels == (
        "personal", "recent", "content-nearest", "declared-interests", "segment", "trending", "popular", "none"
    )  # fmt: skip
    left = len(engine.items) - np.array([len(known.seen), 3, 1, 0, 0, 0, 0, 0])
    left[6], left[7] = untaken.allowed.count, 0
    assert answer.candidates.filled.sum(axis=1).tolist() == np.minimum(8, left).tolist(), "k wherever there are k"
    countries = engine.catalogue.describe(answer.candidates.rows[4])
    assert {about["country"] for about in countries} == {"FR"}


@pytest.mark.parametrize("k", [1, 8, 61, 200])
def test_k_items_come_back_whenever_k_exist_whichever_rung_begins(engine, k):
    nobody = Query(now=NOW)
    asked = [nobody, replace(nobody, segment=("country", "FR")), replace(nobody, interests=("t2", "FR", "unheard"))]
    found = engine.recommenders[HOME].recommend(asked, k).candidates
    for rows in found.rows:
        assert len(set(rows[rows >= 0].tolist())) == min(k, len(engine.items))


# --------------------------------------------------------------------------- which rungs


def data_of(rows, *, timed=True):
    user, item, time = (np.array(column) for column in zip(*rows, strict=True))
    ones = np.ones(len(rows), np.float32)
    kinds = np.zeros(len(rows), np.int8)
    users, items = (Vocabulary.of([f"{letter}{n}" for n in range(count)]) for letter, count in
                    (("u", USERS), ("i", ITEMS)))  # fmt: skip
    columns = user.astype(np.int32), item.astype(np.int32), ones, kinds
    return Interactions(users, items, *columns, ("play",), time.astype(np.int64) * timed, timed)


def test_a_trend_is_found_where_there_is_one_and_nowhere_else():
    rng = np.random.default_rng(0)
    assert trend_of(data_of(moving_log(rng)), rng) == 7.0
    assert trend_of(data_of(moving_log(rng), timed=False), rng) is None
    # The same taste all the time: what is popular foretells as much.
    odds = 1 / np.arange(1, ITEMS + 1)
    still = [(user, int(item), T0 + 900 * at) for at, (user, item) in enumerate(
        zip(rng.integers(0, USERS, 3000), rng.choice(ITEMS, 3000, p=odds / odds.sum()), strict=True))]  # fmt: skip
    assert trend_of(data_of(still), rng) is None
    assert trend_of(data_of([(0, 0, T0), (1, 1, T0)]), rng) is None, "one moment cannot be cut"


def test_segments_are_columns_of_few_values_with_several_items_each():
    data = data_of(moving_log(np.random.default_rng(0)))
    ids = [f"i{row}" for row in range(ITEMS)]
    catalogue = Catalogue.of(
        pd.DataFrame(
            {
                "item_id": ids,
                "title": [f"Item {row}" for row in range(ITEMS)],
                "country": ["DE", "FR"] * (ITEMS // 2),
                "one": ["x"] * ITEMS,
                "year": list(range(ITEMS)),
                "tags": [[f"t{row % 5}", "all"] for row in range(ITEMS)],
            }
        ),
        data.items,
    )
    assert segments_of(catalogue) == ["country", "tags"]
    segment, trending = rungs_of(data, catalogue, np.random.default_rng(0))
    assert (segment.name, trending.name) == ("segment", "trending")
    assert segment.model_extra["half_life"] == trending.model_extra["half_life"] == 7.0
    untimed = rungs_of(data_of(moving_log(np.random.default_rng(0)), timed=False), catalogue, np.random.default_rng(0))
    assert [line.name for line in untimed] == ["segment"]
    assert rungs_of(data, Catalogue.of(None, data.items), np.random.default_rng(0)) == (trending,)

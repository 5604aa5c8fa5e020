"""A network for sound that learns towards the vectors of a model, `learn = "factors"`, in releases as they are made."""

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from index import load as load_index
from recsys.assembly import assemble
from recsys.encoding.concat import Concat
from recsys.settings import load_settings
from recsys.testing.encodings import EncodingContract
from training.encoders import encoder_of
from training.engines import without_content
from training.run import train

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
KINDS, ITEMS, USERS = 4, 48, 80
TINY = {
    "name": "mel-cnn", "window": 16, "channels": 8, "width": 6, "kernel": 3, "pools": (2, 1), "batch": 16, "steps": 120,
    "learning_rate": 0.01, "dropout": 0.0, "learn": "factors",
}  # fmt: skip


def rng(seed=0):
    return np.random.default_rng(seed)


def clip(kind, seed=0, frames=40):
    """Noise whose loud bands say its kind, in dB."""
    loud = np.exp(-0.5 * ((np.arange(64) - 16 * kind - 8) / 4) ** 2)
    return (-50 + 50 * loud[:, None] + rng([kind, seed]).normal(0, 3, (64, frames))).astype(np.float32)


def refined(encoder, items, seed=0):
    """What an encoder knows after it was shown directions that are as many as the kinds."""
    directions = np.eye(KINDS, dtype=np.float32)[np.arange(len(items)) % KINDS]
    encoding = encoder.fit(items, rng(seed), threads=1)
    return encoder.refined(encoding, items, directions, np.ones(len(items), np.float32), rng(seed), threads=1)


class TestTaughtByFactors(EncodingContract):
    @pytest.fixture
    def items(self):
        return [{"mel": clip(kind).tolist()} for kind in range(KINDS)]

    @pytest.fixture
    def fit(self, items):
        return lambda: refined(encoder_of({**TINY, "steps": 3}), items)


def test_sound_comes_to_lie_where_its_directions_say():
    items = [{"mel": clip(place % KINDS, place)} for place in range(32)]
    encoding = refined(encoder_of(TINY), items)
    assert encoding.width == KINDS
    unheard = encoding.encode([{"mel": clip(kind, 99)} for kind in range(KINDS)])
    assert unheard.argmax(axis=1).tolist() == list(range(KINDS))


def test_a_part_of_several_learns_so_and_the_others_stay():
    items = [{"mel": clip(place % KINDS, place), "tags": [f"t{place % 3}"]} for place in range(24)]
    parts = {"sound": {**TINY, "steps": 3}, "tags": {"name": "tags", "columns": ["tags"]}}
    encoder = encoder_of({"name": "concat", "parts": parts})
    before, after = encoder.fit(items, rng(), threads=1), refined(encoder, items)
    assert isinstance(after, Concat)
    assert after.parts["sound"].width == KINDS
    assert np.array_equal(after.parts["tags"].components, before.parts["tags"].components)
    still = encoder_of({"name": "concat", "parts": {**parts, "sound": {**TINY, "steps": 3, "learn": "contrast"}}})
    one = still.fit(items, rng(), threads=1)
    assert still.refined(one, items, np.eye(24, dtype=np.float32), np.ones(24, np.float32), rng(), threads=1) is one


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """A shop of sounds that are taken by those who like their kind; of the last of each kind nobody has heard yet."""
    folder = tmp_path_factory.mktemp("sounds")
    (folder / "clips").mkdir()
    chance = rng(7)
    for item in range(ITEMS):
        np.save(folder / "clips" / f"{item}.npy", clip(item % KINDS, item))
    events = [
        (f"u{user}", f"i{item}", pd.Timestamp(NOW) - pd.Timedelta(minutes=int(chance.integers(10_000))), "play")
        for user in range(USERS)
        for item in range(ITEMS - KINDS)
        if chance.random() < (0.5 if user % KINDS == item % KINDS else 0.03)
    ]
    pd.DataFrame(events, columns=["user_id", "item_id", "time", "kind"]).to_csv(folder / "events.csv", index=False)
    pd.DataFrame(
        {"item_id": [f"i{item}" for item in range(ITEMS)], "mel": [f"{item}.npy" for item in range(ITEMS)]}
    ).to_csv(folder / "items.csv", index=False)
    options = "\n".join(
        f"{key} = {list(value) if isinstance(value, tuple) else value!r}" for key, value in TINY.items()
    )
    (folder / "recsys.toml").write_text(
        '[data]\nevents = "events.csv"\nitems = "items.csv"\n[model]\nname = "ials"\nfactors = 8\n'
        "[content]\nkappa = 3\nprior = 1\n[gate]\nwarm_loss = 1.0\nbeat_popularity = false\n"
        f'[content.encoder]\n{options}\nfolder = "clips"\n'
        '[surfaces.similar]\nsteps = [{ name = "content-outlier", quantile = 0.25 }]\n'
        '[index]\nbackend = "exact"\n[state]\nurl = "memory://"\n[train]\nthreads = 1\n'
    )
    return train(load_settings(folder / "recsys.toml", {}), now=NOW, environ={}).release


def test_a_surface_may_ask_for_content_though_the_release_is_measured_without_it_too(released):
    engine = assemble(released, load_index)
    assert [line.name for line in engine.surfaces["similar"].steps] == ["content-outlier"]
    assert "without" in released.manifest.metrics["content"]
    outlier, seen = {"name": "content-outlier"}, {"name": "seen"}
    said = {"sources": ["content-nearest"], "filters": [seen, outlier], "ladder": [{"name": "x", "index": "content"}]}
    assert without_content({"a": said, "b": {"budget_ms": 3.0, "steps": [outlier]}}) == {
        "a": {"filters": [seen], "ladder": []},
        "b": {"budget_ms": 3.0, "steps": []},
    }


def test_a_release_is_taught_so_by_its_configuration(released):
    engine = assemble(released, load_index)
    unheard = engine.items.rows([f"i{ITEMS - KINDS + kind}" for kind in range(KINDS)])
    content = engine.parts.content
    assert content.encoding.width == 8
    scores = engine.users.vectors @ engine.resolver.fold.items[unheard].T
    likes = np.array([int(user[1:]) % KINDS for user in engine.users.ids.ids(np.arange(len(engine.users.ids)))])
    assert (scores.argmax(axis=1) == likes).mean() > 0.6, "a user is offered an unheard sound of the kind that he likes"
    encoded = content.encode(engine.catalogue.describe(unheard))
    assert content.place(encoded) == pytest.approx(engine.resolver.fold.items[unheard], abs=1e-4)

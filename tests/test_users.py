"""From what is remembered of a user to the query that is asked."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from index import load
from recsys.assembly import assemble
from recsys.errors import ReleaseDamaged
from recsys.releases import ReleaseStore


@pytest.fixture(scope="module")
def engine(settings):
    return assemble(ReleaseStore(settings.releases.folder).current(), load)


@pytest.fixture(scope="module")
def state(engine):
    return engine.users.find(["196"])[0]


def test_a_user_whose_data_are_stripped_step_by_step_goes_down_the_ladder(engine, state, now):
    nothing = np.zeros(0, np.uint64)
    steps = [
        (state, "personal"),
        (replace(state, vector=None), "recent"),
        (replace(state, vector=None, recent=nothing, weights=state.weights[:0], times=state.times[:0]), "popular"),
        (None, "popular"),
    ]
    for remembered, level in steps:
        query = engine.resolver.known("196", remembered, now)
        answer = engine.recommenders["home"].recommend([query], 20)
        assert answer.levels == (level,)
        assert answer.candidates.filled.all()
        if remembered is not None:
            seen = set(engine.items.rows_of_keys(remembered.seen).tolist())
            assert not seen & set(answer.candidates.rows[0].tolist())


def test_a_vector_of_another_width_is_not_used(engine, state, now):
    assert engine.resolver.known("196", replace(state, vector=np.ones(3, np.float32)), now).level == "recent"


def test_items_that_the_release_does_not_know_count_for_nothing(engine, state, now):
    stranger = np.array([1], np.uint64)
    more = replace(
        state,
        vector=None,
        recent=np.concatenate([stranger, state.recent]),
        weights=np.append(np.float32(9), state.weights),
        times=np.append(0, state.times),
        seen=np.concatenate([stranger, state.seen]),
    )
    one, other = (engine.resolver.known("196", s, now) for s in (more, replace(state, vector=None)))
    assert np.array_equal(one.vector, other.vector)
    assert sorted(one.seen) == sorted(other.seen)


def test_states_keep_the_newest_items_and_everything_seen(engine, state):
    history = engine.users.history
    row = engine.users.ids.rows(["405"])[0]
    (busy,) = engine.users.find(["405"])
    assert len(busy.recent) == engine.card.recent_items == 50
    assert len(busy.seen) == history.indptr[row + 1] - history.indptr[row] == 737
    assert (np.diff(busy.times) <= 0).all()
    assert engine.users.find(["nobody", "196"])[0] is None
    assert engine.users.find(["nobody", "196"])[1].user == "196"


def test_a_release_of_another_shape_is_refused_by_its_key(settings, tmp_path):
    release = ReleaseStore(settings.releases.folder).current()
    copy = replace(release, folder=tmp_path / release.id)
    shutil.copytree(release.folder, copy.folder)
    (copy.folder / "model.json").write_text('{"recent_items": 50}')
    with pytest.raises(ReleaseDamaged, match=r"(?s)ModelCard: .*fold: Field required"):
        assemble(copy, load)

"""The contract of models, against every one of the table."""

import numpy as np
import pandas as pd
import pytest

from recsys.errors import SettingsError
from recsys.interactions import interactions_of
from recsys.settings import Kind
from recsys.users import History, fold_all
from training.config import model_of
from training.models import MODELS


@pytest.fixture(params=sorted(MODELS))
def model(request):
    return model_of({"name": request.param})


def checkerboard(side=40):
    """Even users take even items, odd users odd ones; each leaves out one that they should get."""
    rows = [(u, i) for u in range(side) for i in range(side) if u % 2 == i % 2 and i != u]
    log = pd.DataFrame({"user_id": [f"u{u}" for u, _ in rows], "item_id": [f"i{i}" for _, i in rows]}, dtype="str")
    return interactions_of(log.assign(kind="play", value=1.0), {"play": Kind()})


def fitted(model, data, seed=0):
    return model.fit(data, np.random.default_rng(seed), threads=1)


def arrays(learned):
    """Everything that was learned."""
    found = [] if learned.fold is None else [learned.fold.items, *learned.fold.arrays().values()]
    for lists in learned.lists.values():
        found += [lists.rows, lists.weights]
    return found if learned.scores is None else [*found, learned.scores]


def test_shapes_and_types_are_as_promised_and_it_serves_what_it_declares(model):
    data = checkerboard()
    learned = fitted(model, data)
    assert learned.serves == model.serves
    if learned.fold is not None:
        assert learned.fold.items.shape[0] == len(data.items)
        assert learned.fold.items.dtype == np.float32
    for lists in learned.lists.values():
        assert len(lists) == len(data.items)
    if learned.scores is not None:
        assert learned.scores.shape == (len(data.items),)
    assert all(np.isfinite(array).all() for array in arrays(learned))


def test_one_thread_and_one_seed_give_the_same_bits(model):
    data = checkerboard()
    for one, same in zip(arrays(fitted(model, data)), arrays(fitted(model, data)), strict=True):
        assert np.array_equal(one, same)


def test_nothing_is_written_into_the_interactions(model):
    data = checkerboard()
    before = data.weight.copy(), data.user.copy(), data.item.copy()
    fitted(model, data)
    assert all(np.array_equal(a, b) for a, b in zip(before, (data.weight, data.user, data.item), strict=True))


def test_progress_ends_at_one(model):
    shares = []
    model.fit(checkerboard(), np.random.default_rng(0), threads=1, progress=shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1


@pytest.mark.parametrize("name", ["als", "ials"])
def test_vector_models_learn_the_checkerboard(name):
    data = checkerboard()
    learned = fitted(model_of({"name": name, "factors": 4}), data)
    scores = fold_all(History.of(data), learned.vectors()) @ learned.vectors().items.T
    scores[data.user, data.item] = -np.inf
    best = scores.argmax(axis=1)
    wanted = [data.items.rows([user.replace("u", "i")])[0] for user in data.users]
    assert best.tolist() == wanted


def test_ials_does_not_care_how_many_threads_solve():
    data = checkerboard()
    one, two = (
        model_of({"name": "ials", "factors": 4}).fit(data, np.random.default_rng(0), threads=threads)
        for threads in (1, 2)
    )
    assert np.array_equal(one.fold.items, two.fold.items)


def test_the_configuration_comes_back_from_its_own_json(model):
    assert type(model).model_validate_json(model.model_dump_json()) == model


def test_what_a_model_does_not_know_is_refused_by_name():
    with pytest.raises(SettingsError, match=r"\[model\] als: factros: unknown key"):
        model_of({"name": "als", "factros": 3})
    with pytest.raises(SettingsError, match=r"regularization: .*greater than or equal to 0, but it is '-1'"):
        model_of({"name": "als", "regularization": -1})
    with pytest.raises(SettingsError, match="unknown model 'asl', choose one of als, ials, popular"):
        model_of({"name": "asl"})

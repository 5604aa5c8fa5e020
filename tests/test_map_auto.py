"""A map that is chosen by items that it did not learn from."""

import numpy as np
import pandas as pd
import pytest

from recsys.arrays import unit
from recsys.errors import SettingsError
from recsys.folding.linear import Linear, LinearRule
from recsys.interactions import interactions_of
from recsys.sections import Kind
from recsys.vocabulary import Vocabulary
from training.maps import mapper_of
from training.maps.auto import preferred, quality
from training.maps.taste import Halves, Taste

MLP = {"hidden": [64], "epochs": 60, "batch": 64, "learning_rate": 0.01, "dropout": 0.0, "input_dropout": 0.0}
AMONG = {"ridge": {}, "mlp": MLP}


def rng(seed=0):
    return np.random.default_rng(seed)


def world(bent, users=400, m=600, w=8, d=6):
    """Items whose content leads to taste along a line or a bend, and users who take what is nearest to theirs."""
    chance = rng(1)
    content = unit(chance.normal(size=(m, w)).astype(np.float32))
    size = np.abs(content[:, :d])
    true = unit((size - size.mean(axis=0) if bent else content[:, :d]).astype(np.float32))
    tastes = unit(chance.normal(size=(users, d)).astype(np.float32))
    taken = np.argsort(-(tastes @ true.T), axis=1)[:, :40]
    log = pd.DataFrame({"user_id": np.repeat(np.arange(users), 40).astype(str), "item_id": taken.ravel().astype(str)})
    items = Vocabulary.of([str(item) for item in range(m)])
    data = interactions_of(log.assign(kind="play"), {"play": Kind()}, items=items)
    known = np.bincount(data.item, minlength=m) > 0
    taste = Taste.of(Linear.of(true, LinearRule(unit=True)), data, known)
    return content[known], {"items": true[known]}, np.ones(int(known.sum()), np.float32), taste


def chosen(told, taste, **options):
    mapper = mapper_of({"name": "auto", **options})
    return mapper.refined(mapper.fit(*told, rng(2), threads=1), *told, taste, rng(3), threads=1)


@pytest.mark.parametrize(("bent", "layers"), [(True, 2), (False, 1)])
def test_a_net_is_taken_where_a_line_does_not_reach_and_a_line_where_it_does(bent, layers):
    *told, taste = world(bent)
    net = chosen(told, taste, among=AMONG)
    assert len(net.layers) == layers
    again = chosen(told, taste, among=AMONG)
    assert all(np.array_equal(one, same) for one, same in zip(net.layers[0], again.layers[0], strict=True))


def test_what_is_chosen_has_learned_from_all_items():
    *told, taste = world(bent=False)
    line = mapper_of({"name": "ridge", "regularization": 0.01})
    wanted = line.fit(*told, rng(), threads=1).predict(told[0])
    assert chosen(told, taste, among={"ridge": {"regularization": 0.01}}).predict(told[0]) == pytest.approx(wanted)


def test_another_than_the_first_is_taken_only_if_it_is_better_for_certain():
    base = rng(4).random(300)
    noise = rng(5).normal(0, 0.5, 300)
    luck, better, best = base + noise - noise.mean() + 0.03, base + 0.05, base + 0.1
    assert luck.mean() > base.mean()
    assert preferred({"line": base, "luck": luck}, rng()) == "line"
    assert preferred({"line": base, "luck": luck, "better": better, "best": best}, rng()) == "best"
    assert preferred({"best": best, "line": base}, rng()) == "best"
    assert preferred({"line": base}, rng()) == "line"


def test_quality_by_hand():
    # One user, whose vector is (1, 0), made of item 0; wanted are items 2 and 9, of which 9 is not judged.
    halves = Halves(
        np.array([[1, 0]], np.float32), np.array([0, 3]), np.array([0, 2, 9]), np.array([True, False, False])
    )
    held = np.array([0, 1, 2, 3])
    predicted = np.array([[1, 0], [0.9, 0.1], [0.5, 0.5], [0.1, 0.9]], np.float32)
    # Item 0 is known, so 1 comes first and 2 second.
    assert quality(predicted, held, halves, rng()) == pytest.approx([1 / np.log2(3)])
    assert np.isnan(quality(predicted, np.array([1, 3, 4, 5]), halves, rng())).all()


def test_a_choice_that_cannot_be_made_is_refused():
    for among, said in (
        ({}, "at least 1"),
        ({"auto": {}}, "`among` names auto itself"),
        ({"rigde": {}}, "unknown map 'rigde'"),
        ({"mlp": {"hiden": 3}}, "hiden: unknown key"),
    ):
        with pytest.raises(SettingsError, match=said):
            mapper_of({"name": "auto", "among": among})

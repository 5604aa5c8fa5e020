"""What training makes of descriptions: maps, the prior and κ, the gate, and a release that recommends unheard films."""

import json
import os
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import Ridge as SklearnRidge

from index import load as load_index
from recsys.arrays import unit
from recsys.assembly import assemble
from recsys.catalogue import Catalogue
from recsys.content import shrunk
from recsys.datasets import load as load_dataset
from recsys.errors import SettingsError, TrainingError
from recsys.folding.linear import Linear, LinearRule
from recsys.interactions import interactions_of
from recsys.sections import ContentSettings, Gate, Kind
from recsys.settings import Settings, load_settings
from recsys.vocabulary import Vocabulary
from training.content import (
    Choice,
    Trial,
    chosen,
    described,
    learn_content,
    takers_of,
    usual_encoder,
    validation,
)
from training.engines import engine_of
from training.gate import judge
from training.maps import MAPS, likeness, mapper_of
from training.maps.mlp import Mlp, exported
from training.maps.ridge import Ridge
from training.maps.taste import Taste
from training.models import model_of
from training.run import train

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
SMALL = {"mlp": {"hidden": [32], "epochs": 30, "batch": 64, "learning_rate": 0.01}}
CLIMBING = {"hidden": 64, "negatives": 200, "learning_rate": 0.02, "epochs": 20, "dropout": 0.1, "input_dropout": 0}


def rng(seed=0):
    return np.random.default_rng(seed)


def taught(m=600, w=12, d=5, seed=0):
    """Content vectors, the directions that a matrix and a bend make of them, and how sure each is."""
    chance = rng(seed)
    content = unit(chance.normal(size=(m, w)).astype(np.float32))
    bend = np.abs(content @ chance.normal(size=(w, 40))) @ chance.normal(size=(40, d))
    straight = content @ chance.normal(size=(w, d))
    directions = {
        "items": unit((2 * straight + 0.3 * bend + 0.1 * chance.normal(size=(m, d))).astype(np.float32)),
        "inputs": unit((straight - 0.3 * bend).astype(np.float32)),
    }
    return content, directions, chance.uniform(0.1, 1, m).astype(np.float32)


def fitted(name, content, directions, weights, **options):
    return mapper_of({"name": name, **SMALL.get(name, {}), **options}).fit(
        content, directions, weights, rng(1), threads=1
    )


@pytest.mark.parametrize("name", MAPS)
def test_a_map_is_as_wide_as_told_and_comes_out_the_same_again(name):
    content, directions, weights = taught()
    copies = content.copy(), directions["items"].copy()
    one, same = (fitted(name, content, directions, weights) for _ in range(2))
    assert (one.width, dict(one.spaces)) == (12, {"items": 5, "inputs": 5})
    for (matrix, shift), (again, too) in zip(one.layers, same.layers, strict=True):
        assert np.array_equal(matrix, again)
        assert np.array_equal(shift, too)
    assert np.array_equal(content, copies[0])
    assert np.array_equal(directions["items"], copies[1])


@pytest.mark.parametrize("name", ["ridge", "mlp"])
def test_a_map_predicts_items_that_it_has_not_seen(name):
    content, directions, weights = taught()
    net = fitted(name, content[:500], {key: array[:500] for key, array in directions.items()}, weights[:500])
    rest = {key: array[500:] for key, array in directions.items()}
    assert likeness(net, content[500:], rest, weights[500:]) > 0.6
    for some in (content[500:501], content[500:500]):
        assert len(net.predict(some)) == len(some)


def test_a_net_bends_where_a_line_does_not():
    content, _, weights = taught(m=3000, seed=2)
    bent = {"items": unit((np.abs(content[:, :5]) - np.abs(content).mean()).astype(np.float32))}
    cosines = [
        likeness(
            fitted(name, content[:2500], {"items": bent["items"][:2500]}, weights[:2500]),
            content[2500:],
            {"items": bent["items"][2500:]},
            weights[2500:],
        )
        for name in ("ridge", "mlp")
    ]
    assert cosines[1] > cosines[0] + 0.3


@pytest.mark.parametrize("items", [300, 8], ids=["more items than numbers", "fewer"])
def test_the_ridge_is_that_of_another_library(items):
    content, directions, weights = taught(m=items)
    net = Ridge(regularization=0.01).fit(content, directions, weights, rng(), threads=1)
    ((matrix, shift),) = net.layers
    theirs = SklearnRidge(alpha=0.01 * weights.sum()).fit(
        content.astype(np.float64), np.hstack(list(directions.values())), weights
    )
    assert matrix == pytest.approx(theirs.coef_.T, abs=1e-4)
    assert shift == pytest.approx(theirs.intercept_, abs=1e-4)


def test_auto_takes_the_regularization_that_predicts_best():
    content, directions, weights = taught(m=400, w=40)
    chance = {"items": unit(rng(9).normal(size=(400, 5)).astype(np.float32))}
    strong, weak = (Ridge().fit(content, wanted, weights, rng(), threads=1) for wanted in (chance, directions))
    # Where content says nothing, the best line is flat.
    assert np.linalg.norm(strong.layers[0][0]) < 0.3 * np.linalg.norm(weak.layers[0][0])


@pytest.mark.parametrize("hidden", [(16,), (24, 8)])
def test_a_net_answers_in_numpy_as_in_training(hidden):
    content, _, _ = taught(m=50)
    torch.manual_seed(0)
    net, scale = Mlp(hidden=hidden).net(12, 10).eval(), np.float32(3.7)
    with torch.no_grad():
        wanted = net(torch.from_numpy(content * scale)).numpy()
    found = exported(net, {"items": 5, "inputs": 5}, scale).directions(content)
    assert np.abs(found["items"] - unit(wanted[:, :5])).max() < 1e-4
    assert np.abs(found["inputs"] - unit(wanted[:, 5:])).max() < 1e-4


@pytest.mark.parametrize("options", [{"loss": "squared"}, {"mixup": 0.4}, {"hidden": [16, 16]}, {"epochs": 1}])
def test_the_options_of_a_net_do_what_they_say(options):
    content, directions, weights = taught()
    net, usual = (fitted("mlp", content, directions, weights, **given) for given in (options, {}))
    assert len(net.layers) == (3 if "hidden" in options else 2)
    assert not np.array_equal(net.layers[0][0], usual.layers[0][0])
    assert np.isfinite(net.predict(content)).all()


def test_a_map_that_does_not_exist_is_refused_with_the_choices():
    with pytest.raises(SettingsError, match=r"unknown map 'rigde', choose one of auto, contrastive, mlp, none, ridge"):
        mapper_of({"name": "rigde"})
    with pytest.raises(SettingsError, match=r"ridge: regularisation: unknown key"):
        mapper_of({"regularisation": 1})


# Two kinds of film and who likes them: jazz films are taken by even users, punk ones by odd ones.
USERS, ITEMS = 60, 40


def shop(seed=0):
    """Interactions and catalogue; items 0 and 1 were taken by nobody, 2 and 3 have no tags, 4 is not described."""
    chance = rng(seed)
    pairs = [
        (f"u{user}", f"i{item}")
        for user in range(USERS)
        for item in range(2, ITEMS)
        if chance.random() < (0.4 if user % 2 == item % 2 else 0.03) and not (item == 5 and user > 4)
    ]
    log = pd.DataFrame(pairs, columns=["user_id", "item_id"], dtype="str").assign(kind="play")
    items = Vocabulary.of(f"i{item}" for item in range(ITEMS))
    data = interactions_of(log, {"play": Kind()}, items=items)
    tags = [[] if item in {2, 3} else [("jazz", "punk")[item % 2], "film"] for item in range(ITEMS)]
    frame = pd.DataFrame({"item_id": list(items), "tags": tags})
    return data, Catalogue.of(frame.drop(index=4), items)


FIXED = ContentSettings(prior=1.5, kappa=4.0, cache=None, encoder={"name": "tags", "columns": ["tags"]})
MODELS = {
    "als": {"name": "als", "factors": 8},
    "svd": {"name": "svd", "factors": 8},
    "sasrec": {"name": "sasrec", "factors": 8, "epochs": 25, "learning_rate": 0.01, "dropout": 0.1},
}


@pytest.fixture(scope="module")
def sold():
    return shop()


@pytest.mark.parametrize("name", MODELS)
def test_items_lie_where_content_says_as_far_as_nobody_took_them(sold, name):
    data, catalogue = sold
    learned = model_of(MODELS[name]).fit(data, rng(), threads=1)
    mixed, content = learn_content(learned, data, catalogue, FIXED, rng(), threads=1)
    takers, placed = takers_of(data), content.placed(content.vectors)
    assert takers[:2].tolist() == [0, 0]
    before, after = learned.fold.per_item(), mixed.fold.per_item()
    assert before.keys() == after.keys() == placed.keys()
    for space, vectors in after.items():
        assert np.array_equal(vectors[:2], placed[space][:2])
        assert np.array_equal(vectors[2:5], before[space][2:5]), "nothing is said of these, so they stay"
        assert vectors == pytest.approx(shrunk(before[space], placed[space], takers, 4.0))
    lengths = np.linalg.norm(after["items"][:2], axis=1)
    known = (takers > 0) & content.vectors.any(axis=1)
    assert lengths == pytest.approx(1.5 * np.median(np.linalg.norm(before["items"][known], axis=1)), rel=1e-4)
    assert mixed.home == learned.home


@pytest.mark.parametrize("name", MODELS)
def test_a_user_who_takes_a_new_item_is_moved_by_it(sold, name):
    data, catalogue = sold
    learned = model_of(MODELS[name]).fit(data, rng(), threads=1)
    mixed, _ = learn_content(learned, data, catalogue, FIXED, rng(), threads=1)
    one = [mixed.fold.fold(np.array([0, 1]), np.array([row], np.int32), np.ones(1, np.float32))[0] for row in (0, 1)]
    jazz, punk = np.arange(6, ITEMS, 2), np.arange(7, ITEMS, 2)
    for vector, likes, other in ((one[0], jazz, punk), (one[1], punk, jazz)):
        assert (mixed.fold.items[likes] @ vector).mean() > (mixed.fold.items[other] @ vector).mean()


def test_no_map_changes_no_vector_to_the_bit(sold):
    data, catalogue = sold
    learned = model_of(MODELS["als"]).fit(data, rng(), threads=1)
    settings = FIXED.model_copy(update={"map": {"name": "none"}})
    mixed, content = learn_content(learned, data, catalogue, settings, rng(), threads=1)
    assert np.array_equal(mixed.fold.items, learned.fold.items)
    assert content.vectors.any()


def test_items_without_information_are_counted_by_the_reason():
    about = [{"text": "a river at night"}, {"text": "  "}, {}, {"text": "%%%"}, {"text": "night and river"}]
    ids = [f"i{place}" for place in range(5)]
    frame = pd.DataFrame({"item_id": ids, "text": [item.get("text") for item in about]})
    catalogue = Catalogue.of(frame, Vocabulary.of(ids))
    settings = ContentSettings(cache=None, encoder={"name": "tfidf-svd", "columns": ["text"], "max_share": 1.0})
    items = described(catalogue, settings, rng(), threads=1)
    assert items.counts == {"with content": 2, "nothing said": 2, "nothing usable": 1}
    assert items.problems == {"text: no word in it": 1}
    assert np.linalg.norm(items.vectors, axis=1) == pytest.approx([1, 0, 0, 0, 1])


@pytest.mark.parametrize(
    ("columns", "wanted"),
    [
        ({"title": "x", "tags": ["a"]}, {"name": "concat", "words": ["title"], "tags": ["tags"]}),
        ({"title": "x", "text": "y", "year": 1}, {"name": "tfidf-svd", "columns": ["title", "text"]}),
        ({"genres": ["a"], "tags": ["b"]}, {"name": "tags", "columns": ["genres", "tags"]}),
    ],
)
def test_the_usual_encoder_is_that_of_the_columns(columns, wanted):
    found = usual_encoder(Catalogue.of(pd.DataFrame([{"item_id": "i", **columns}]), Vocabulary.of(["i"])))
    if wanted["name"] == "concat":
        found = {"name": "concat", **{part: options["columns"] for part, options in found["parts"].items()}}
    assert found == wanted


def test_a_catalogue_that_says_nothing_is_refused():
    catalogue = Catalogue.of(pd.DataFrame([{"item_id": "i", "year": 1}]), Vocabulary.of(["i"]))
    with pytest.raises(SettingsError, match="the catalogue has only item_id, year: give it such a column"):
        usual_encoder(catalogue)


def test_content_of_items_that_nobody_took_teaches_nothing(sold):
    data, catalogue = sold
    learned = model_of(MODELS["als"]).fit(data, rng(), threads=1)
    ids = catalogue.table["item_id"].to_pylist()
    only_new = Catalogue.of(pd.DataFrame({"item_id": ids[:2], "tags": [["jazz"], ["jazz"]]}), data.items)
    with pytest.raises(TrainingError, match=r"of 40 items 38 were taken and 2 have content, but none both"):
        learn_content(learned, data, only_new, FIXED, rng(), threads=1)


def test_numbers_that_are_given_stand_and_auto_needs_the_model(sold):
    data, catalogue = sold
    items = described(catalogue, FIXED, rng(), threads=1)
    assert chosen(None, data, items, FIXED, rng()) == Choice(1.5, 4.0)
    with pytest.raises(ValueError, match="give the `model`"):
        chosen(None, data, items, ContentSettings(kappa=1), rng())
    few = data.where(np.arange(len(data)) < 1)
    assert chosen(model_of(MODELS["als"]), few, items, ContentSettings(kappa=2), rng()) == Choice(1.0, 2.0)


def test_what_is_chosen_costs_warm_items_no_more_than_allowed(sold):
    data, catalogue = sold
    items = described(catalogue, FIXED, rng(), threads=1)
    settings = ContentSettings(cache=None, encoder=FIXED.encoder)
    found = chosen(model_of(MODELS["als"]), data, items, settings, rng(), warm_loss=0.1, threads=1)
    (at,) = [trial for trial in found.trials if (trial.prior, trial.kappa) == (found.prior, found.kappa)]
    assert at.warm >= 0.95 * found.without.warm
    assert at.cold > 10 * found.without.cold
    assert at.overall >= 0.95 * max(
        trial.overall
        for trial in found.trials
        if trial.kappa == found.kappa and trial.warm >= 0.95 * found.without.warm
    )
    assert {trial.kappa for trial in found.trials} > {0.0, 10.0}
    json.dumps(found.as_dict())


def test_the_validation_part_has_items_that_its_training_part_never_saw(sold):
    data, catalogue = sold
    items = described(catalogue, FIXED, rng(), threads=1)
    split = validation(data, items, rng())
    cold = np.setdiff1d(split.test.item, split.train.item)
    assert len(cold) == round(0.1 * (ITEMS - 5))
    assert items.vectors[cold].any(axis=1).all()
    assert np.isin(split.test.user, split.train.user).all()


def measured(ours, theirs, pipeline=0.5):
    return {
        "pipeline": {"ndcg@10": {"all": pipeline}},
        "popularity": {"ndcg@10": {"all": 0.1}},
        "content": {"with": {"ndcg@10": {"warm": ours}}, "without": {"ndcg@10": {"warm": theirs}}},
    }


def test_the_gate_refuses_what_cold_items_cost_warm_ones():
    assert judge(Gate(), measured(0.198, 0.2), {}).passed
    refused = judge(Gate(), measured(0.1978, 0.2), {})
    said = "NDCG@10 over warm items is 0.1978 with content and 0.2000 without: it falls by 1.1%, more than 1.0%"
    assert refused.findings == (f"{said} (gate.warm_loss)",)
    assert judge(Gate(warm_loss=0.05), measured(0.1978, 0.2), {}).passed
    assert "could not be measured" in judge(Gate(), measured(None, None), {}).findings[0]


def test_content_without_vectors_is_refused_before_anything_is_read(tmp_path):
    for model, said in (("popular", "learns only scores"), ("item-knn", "learns only lists")):
        settings = Settings.model_validate({"model": {"name": model}, "content": {}, "releases": {"folder": tmp_path}})
        with pytest.raises(SettingsError, match=said):
            train(settings, now=NOW, environ={})
    settings = Settings.model_validate({"content": {"map": "nlp"}, "releases": {"folder": tmp_path}})
    with pytest.raises(SettingsError, match="unknown map 'nlp'"):
        train(settings, now=NOW, environ={})


def test_files_of_content_are_found_beside_the_configuration(tmp_path):
    (tmp_path / "recsys.toml").write_text(
        '[content]\nmap = "mlp"\n[content.encoder]\nname = "concat"\n'
        '[content.encoder.parts.own]\nname = "precomputed"\nfile = "v.npy"\nids = "/ids.txt"\n'
    )
    content = load_settings(tmp_path / "recsys.toml", {}).content
    own = content.encoder["parts"]["own"]
    assert (own["file"], own["ids"]) == (str(tmp_path / "v.npy"), "/ids.txt")
    assert content.cache == tmp_path / "var/content"
    assert content.map == {"name": "mlp"}


UNHEARD = {
    "172": "Empire Strikes Back, The",
    "181": "Return of the Jedi",
    "588": "Beauty and the Beast",
    "99": "Snow White and the Seven Dwarfs",
    "185": "Psycho",
    "313": "Titanic",
}


@pytest.fixture(scope="module")
def released(tmp_path_factory, data_folder):
    """A release of MovieLens 100K from which some films' ratings were taken out, and what was taken out."""
    folder = tmp_path_factory.mktemp("unheard")
    log = load_dataset("ml-100k", {**os.environ, "RECSYS_DATA": str(data_folder)})
    held = log.events["item_id"].isin(list(UNHEARD))
    log.events[~held].to_parquet(folder / "events.parquet")
    items = log.items.astype({"genres": "object"})
    items["genres"] = [list(genres) for genres in log.items["genres"]]
    items.to_parquet(folder / "items.parquet")
    (folder / "recsys.toml").write_text(
        '[data]\nevents = "events.parquet"\nitems = "items.parquet"\n[data.kinds]\nrating = 1\n'
        '[model]\nname = "als"\nfactors = 32\nregularization = 20.0\nalpha = 2.0\niterations = 8\n'
        "[content]\nkappa = 3\nprior = 3\n[gate]\nwarm_loss = 1.0\nbeat_popularity = false\n"
        '[index]\nbackend = "exact"\n[state]\nurl = "memory://"\n[train]\nthreads = 1\n'
    )
    outcome = train(load_settings(folder / "recsys.toml", {}), now=NOW, environ={})
    return outcome, log.events[held]


def test_films_that_nobody_has_rated_are_recommended_to_those_who_like_their_kind(released):
    outcome, held = released
    engine = assemble(outcome.release, load_index)
    rows = engine.items.rows(list(UNHEARD))
    assert (engine.popularity[rows] == 0).all()
    titles = [about["title"] for about in engine.catalogue.describe(rows)]
    assert titles == list(UNHEARD.values())
    everybody = np.arange(len(engine.users.ids), dtype=np.int32)
    scores = engine.users.vectors @ engine.resolver.fold.items[rows].T
    shares = []
    for place, film in enumerate(UNHEARD):
        fans = np.isin(everybody, engine.users.ids.rows(held["user_id"][held["item_id"] == film].tolist()))
        order = np.argsort(np.argsort(scores[:, place])) + 1
        shares.append((order[fans].sum() - fans.sum() * (fans.sum() + 1) / 2) / (fans.sum() * (~fans).sum()))
    # The chance that somebody who went to see it stands above somebody who did not; 0.5 is no better than any.
    assert np.mean(shares) > 0.6
    answer = engine.recommend(everybody, 20, NOW)
    assert np.isin(answer.candidates.rows, rows).any(axis=1).sum() > 20, "some lists hold a film that nobody has rated"


def test_the_release_says_what_content_brought(released):
    manifest = released[0].release.manifest
    content = manifest.metrics["content"]
    assert content["items"] == {"with content": 1681, "nothing said": 1, "nothing usable": 0}
    assert (content["prior"], content["kappa"]) == (3.0, 3.0)
    assert content["without"]["ndcg@10"]["cold"] == 0 < content["with"]["ndcg@10"]["cold"]
    assert manifest.metrics["pipeline"]["ndcg@10"]["all"] == content["with"]["ndcg@10"]["overall"]
    assert manifest.lineage["config"]["content"]["encoder"]["name"] == "concat"
    assert manifest.indexes["content"]["items"] == 1682


def test_a_loaded_release_places_a_description_as_it_placed_its_items(released):
    engine = assemble(released[0].release, load_index)
    rows = engine.items.rows(list(UNHEARD))
    content = engine.parts.content
    encoded = content.encode(engine.catalogue.describe(rows))
    assert encoded == pytest.approx(engine.parts.vectors["content"][rows], abs=1e-5)
    assert content.place(encoded) == pytest.approx(engine.resolver.fold.items[rows], abs=1e-4)
    found = engine.indexes["content"].search(encoded, 1)
    assert found.rows[:, 0].tolist() == rows.tolist()
    assert found.scores[:, 0] == pytest.approx(1.0, abs=1e-5)


def test_without_content_the_engine_is_what_it_was(sold):
    data, catalogue = sold
    learned = model_of(MODELS["als"]).fit(data, rng(), threads=1)
    engine, reports = engine_of(learned, data, catalogue, Settings(), rng(), "r", kinds={})
    assert engine.parts.content is None
    assert set(reports) == {"items", "similar"}


def test_a_trial_says_what_was_measured():
    trial = Trial(1.0, 3.0, 0.2, 0.3, None)
    assert Choice(1.0, 3.0, trial, (trial,)).as_dict()["trials"][0]["cold"] is None


def tasted(users=300, m=400, w=12, d=6, seed=0):
    """Items whose content bends into taste, users who take what is nearest to theirs, and vectors that half know it."""
    chance = rng(seed)
    content = unit(chance.normal(size=(m, w)).astype(np.float32))
    true = unit((np.abs(content[:, :d]) - np.abs(content[:, :d]).mean(axis=0)).astype(np.float32))
    tastes = unit(chance.normal(size=(users, d)).astype(np.float32))
    near = np.argsort(-(tastes @ true.T), axis=1)[:, :30]
    learned = unit(true + 0.3 * chance.normal(size=true.shape).astype(np.float32))
    events = pd.DataFrame(
        {
            "user_id": np.repeat(np.arange(users).astype(str), 30),
            "item_id": near.ravel().astype(str),
            "kind": "take",
        }
    )
    data = interactions_of(events, {"take": Kind()}, items=Vocabulary.of([str(item) for item in range(m)]))
    return content, learned, true, tastes, data


def test_a_map_that_is_taught_by_lists_ranks_unseen_items_better_than_the_line_it_starts_from():
    content, learned, true, tastes, data = tasted()
    known = np.arange(400) < 320
    takers = takers_of(data)
    known &= takers > 0
    fold = Linear.of(learned, LinearRule(unit=True))
    mapper = mapper_of({"name": "contrastive", **CLIMBING})
    told = content[known], {"items": learned[known]}, np.ones(int(known.sum()), np.float32)
    line = mapper.fit(*told, rng(1), threads=1)
    bent, again = (mapper.refined(line, *told, Taste.of(fold, data, known), rng(2), threads=1) for _ in range(2))
    assert all(np.array_equal(one, other) for one, other in zip(bent.layers[0], again.layers[0], strict=True))
    wanted = (tastes @ true[320:].T) > np.quantile(tastes @ true[320:].T, 0.9, axis=1, keepdims=True)
    found = [
        np.mean(np.take_along_axis(wanted, np.argsort(-(tastes @ net.predict(content[320:]).T), axis=1)[:, :8], axis=1))
        for net in (line, bent)
    ]
    assert found[1] > found[0] + 0.05
    assert not bent.predict(np.zeros((1, 12), np.float32)).any()


def test_where_lists_teach_nothing_the_line_stays_and_other_maps_never_move():
    content, learned, _, _, data = tasted(users=40)
    known = takers_of(data) > 0
    told = content[known], {"items": learned[known]}, np.ones(int(known.sum()), np.float32)
    taste = Taste.of(Linear.of(learned, LinearRule(unit=True)), data, known)
    still = mapper_of({"name": "contrastive", **CLIMBING, "learning_rate": 1e-30})
    line = still.fit(*told, rng(1), threads=1)
    for mapper in (still, Ridge()):
        moved = mapper.refined(line, *told, taste, rng(2), threads=1).predict(content)
        assert moved == pytest.approx(line.predict(content), abs=1e-5)


def test_halves_part_each_history_and_want_nothing_that_made_the_vector():
    _, learned, _, _, data = tasted(users=20)
    known = takers_of(data) > 0
    halves = Taste.of(Linear.of(learned, LinearRule(unit=True)), data, known).halves(rng(3))
    users = np.arange(halves.users)
    owner, wanted = halves.wanted(users, np.ones(int(known.sum()), bool), 5, rng(4))
    assert np.bincount(owner).max() == 5
    rows = np.flatnonzero(known)
    for user in users:
        entries = slice(halves.indptr[user], halves.indptr[user + 1])
        given = rows[halves.places[entries][halves.given[entries]]]
        assert not set(rows[wanted[owner == user]]) & set(given)
        assert unit(learned[given].sum(axis=0, keepdims=True))[0] == pytest.approx(halves.vectors[user], abs=1e-5)

"""Surfaces of the settings: what becomes of them, and every one that cannot be."""

import json

import pytest

from index import load
from recsys.assembly import assemble
from recsys.errors import SettingsError
from recsys.settings import load_settings
from recsys.surfaces import Line, unseen
from training.run import train
from training.surfaces import check_surfaces, surfaces_of

T0 = 1_600_000_000
USUAL = '[data]\nevents = "log.csv"\nitems = "items.csv"\n[state]\nurl = "memory://"\n[train]\nthreads = 1\n'


def configured(folder, more):
    rows = [f"u{u},i{i},{T0 + 1000 * i + u}" for u in range(12) for i in range(12) if u % 2 == i % 2 and i != u]
    (folder / "log.csv").write_text("\n".join(["user_id,item_id,time", *rows]) + "\n")
    (folder / "items.csv").write_text("item_id,title,by\n" + "".join(f"i{i},Item {i},A{i // 6}\n" for i in range(12)))
    (folder / "recsys.toml").write_text(USUAL + "[gate]\nbeat_popularity = false\n" + more)
    return load_settings(folder / "recsys.toml", {})


def test_surfaces_are_part_of_the_release_and_have_the_rest_of_home(tmp_path, now):
    settings = configured(
        tmp_path,
        '[surfaces.home]\nsteps = [{ name = "capped", column = "by", at_most = 1 }]\n'
        '[surfaces.email]\nsources = ["popular"]\nbudget_ms = 20\n'
        "[surfaces.plain]\nsteps = []\n[surfaces.similar]\nladder = []\n",
    )
    outcome = train(settings, now=now, environ={})
    engine = assemble(outcome.release, load)
    assert set(engine.surfaces) == {"home", "similar", "email", "plain"}
    made = json.loads((outcome.release.folder / "pipeline.json").read_text())
    assert (
        made["home"]["steps"]
        == made["email"]["steps"]
        == [{"name": "capped", "label": "", "column": "by", "at_most": 1}]
    )
    assert made["plain"]["steps"] == made["similar"]["ladder"] == []
    assert made["home"]["sources"] == made["plain"]["sources"] != made["email"]["sources"]
    assert made["email"]["budget_ms"] == 20
    rows = engine.users.ids.rows(["u2"])
    (home,), (plain,) = (
        [engine.items.ids(found[found >= 0])]
        for found in (engine.recommend(rows, 2, now, at).candidates.rows[0] for at in ("home", "plain"))
    )
    by = engine.catalogue.table["by"].to_pylist()
    assert len({by[engine.items.rows([item])[0]] for item in home}) == 2
    assert home[0] == plain[0] == "i2"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            '[surfaces.home]\nsteps = ["diferse"]',
            r"\[surfaces.home\] steps: unknown step 'diferse', choose one of .*diverse",
        ),
        ('[surfaces.x]\nsources = ["nearst"]', r"\[surfaces.x\] sources: unknown source 'nearst', .*nearest"),
        ('[surfaces.x]\nladder = ["nearst"]', r"\[surfaces.x\] ladder: unknown source"),
        ('[surfaces.x]\nfusion = "mean"', r"\[surfaces.x\] fusion: unknown fusion 'mean', .*reciprocal-rank"),
        (
            '[surfaces.x]\nsteps = [{ name = "diverse", wait = 1 }]',
            r"unknown option 'wait', choose one of depth, .*weight",
        ),
        ('[surfaces.x]\nsteps = ["capped"]', r"\[surfaces.x\] steps: capped: column must be given"),
        ('[surfaces.x]\nfilters = [{ name = "seen", k = 1 }]', r"unknown option 'k', it has none"),
        ('[surfaces.x]\nranker = "learned"', r"none is learned without \[ranker\]"),
        ("[surfaces.x]\nbudget_ms = 0", r"budget_ms: Input should be greater than 0, but it is '0'"),
        ("[surfaces.x]\nstep = []", r"step: unknown key"),
        ('[surfaces."a b"]\nsteps = []', r"a name has 1 to 64 letters"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_read(tmp_path, now, more, said):
    settings = configured(tmp_path, more)
    (tmp_path / "log.csv").unlink()
    with pytest.raises(SettingsError, match=said):
        train(settings, now=now, environ={})


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            '[surfaces.x]\nsteps = [{ name = "capped", column = "author" }]',
            r".author. is none in this catalogue: choose one of title, by",
        ),
        ('[surfaces.x]\nsteps = [{ name = "diverse", vectors = "books" }]', r"unknown vectors 'books', .*similar"),
        ('[surfaces.x]\nsteps = [{ name = "diverse", weight = 2 }]', r"weight is 2"),
    ],
)
def test_what_the_catalogue_lacks_is_refused_before_anything_is_fitted(tmp_path, now, more, said, monkeypatch):
    monkeypatch.setattr("training.run.measure", lambda *_: pytest.fail("fitted"))
    with pytest.raises(SettingsError, match=said):
        train(configured(tmp_path, more), now=now, environ={})


def test_a_ranker_is_named_where_one_is_learned():
    check_surfaces({"x": {"ranker": "learned"}}, ranks=True)
    check_surfaces({"x": {"ranker": False}}, ranks=False)


def test_a_surface_has_the_ranker_of_home_with_its_sources_and_none_with_others():
    ranked = unseen(Line(name="nearest", index="items"), Line(name="popular")).model_copy(
        update={"ranker": Line(name="learned", depth=50)}
    )
    given = {
        "same": {"steps": ["diverse"]},
        "other": {"sources": ["popular"]},
        "own": {"sources": ["popular"], "ranker": "learned"},
        "none": {"ranker": False},
    }
    made = surfaces_of(given, {"home": ranked}, ranked, ranks=True)
    assert made["home"] == ranked
    assert made["same"] == ranked.model_copy(update={"steps": (Line(name="diverse"),)})
    assert made["other"].ranker is made["none"].ranker is None
    assert made["own"].ranker == Line(name="learned")
    assert all(surface.ranker is None for surface in surfaces_of(given, {}, ranked, ranks=False).values())

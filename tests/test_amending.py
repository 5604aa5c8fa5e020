"""An engine with items that were put and deleted since its release was made."""

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from index.exact import Exact
from index.growing import Growing
from recsys.arrays import unit
from recsys.assembly import HOME, SIMILAR, Engine, card_of
from recsys.catalogue import Catalogue
from recsys.folding.linear import Linear, LinearRule
from recsys.item_lists import ItemLists
from recsys.retrieval import Query
from recsys.surfaces import Line, Surface
from recsys.users import History, Users
from recsys.vocabulary import Vocabulary

NOW = datetime(2026, 11, 23, tzinfo=UTC)
WORDS = ("jazz", "folk", "punk")
IDS = ["so-what", "blue-train", "pink-moon", "unheard"]
TAGS = [["jazz"], ["jazz", "punk"], ["folk"], ["folk"]]
VECTORS = np.array([[3, 0, 0.1], [2, 0, 1], [0, 2, 0], [0, 1, 0]], np.float32)
# Nobody took the last one.
TAKERS = np.array([30, 20, 10, 0], np.float32)
ONCE = np.ones(1, np.float32)


class Tags:
    """Content is which of the words an item is tagged by, and that is where it lies."""

    reads = ("tags",)

    @property
    def vectors(self):
        return self.encode([{"tags": tags} for tags in TAGS])

    def encode(self, items):
        found = [[word in (item.get("tags") or ()) for word in WORDS] for item in items]
        return unit(np.array(found, np.float32).reshape(len(items), 3))

    def placed(self, content):
        return {"items": content / 2, "inputs": content / 3}


def made(content=True, fold=True, grow=Growing.of):
    items, space = Vocabulary.of(IDS), Tags() if content else None
    frame = pd.DataFrame({"item_id": IDS, "title": [id_.title() for id_ in IDS], "tags": TAGS})
    history = History(np.array([0, 1]), np.array([0], np.int32), ONCE, np.array([7], np.int64))
    linear = Linear.of(VECTORS, LinearRule()) if fold else None
    vectors = {"items": VECTORS, "similar": unit(VECTORS)} if fold else {}
    if space:
        vectors["content"] = space.vectors
    lists = {"pairs": ItemLists(np.array([[1], [0], [3], [2]], np.int32), np.ones((4, 1), np.float32))}
    alike = [Line(name="nearest", index="similar")] if fold else [Line(name="item-item", lists="pairs")]
    by_content = [Line(name="content-nearest"), Line(name="declared-interests")] if content else []
    usual = {"filters": (Line(name="seen"),), "ladder": (*by_content, Line(name="popular"))}
    if content:
        usual["fusion"] = Line(name="by-takers", kappa=5.0)
    home = Line(name="nearest", index="items") if fold else Line(name="item-item", lists="pairs")
    return Engine.of(
        "r1",
        items=items,
        fold=linear,
        directions=vectors.get("similar"),
        lists=lists,
        catalogue=Catalogue.of(frame, items),
        popularity=TAKERS,
        users=Users(Vocabulary.of(["ann"]), VECTORS[:1] if fold else None, history, items, 5),
        indexes={name: Exact.build(array) for name, array in vectors.items()},
        card=card_of(linear, lists, 5, {}),
        surfaces={
            HOME: Surface(sources=(home,), filters=usual["filters"], ladder=usual["ladder"]),
            SIMILAR: Surface(sources=(*alike, *by_content[:1]), **usual),
        },
        content=space,
        grow=grow,
    )


def ids(engine, answer):
    rows = answer.candidates.rows[0]
    return engine.items.ids(rows[rows >= 0])


def similar(engine, item, k=3):
    row = engine.items.rows([item])
    vector = None if engine.directions is None else engine.directions[row[0]]
    query = Query(now=NOW, vector=vector, level=SIMILAR, recent=row, weights=ONCE, seen=row)
    return ids(engine, engine.recommenders[SIMILAR].recommend([query], k))


def home(engine, history=(), k=9, **options):
    query = engine.resolver.anonymous(list(history), np.ones(len(history), np.float32), NOW, **options)
    return engine.recommenders[HOME].recommend([query], k)


def test_a_new_item_is_found_described_and_recommended():
    engine = made().amended({"giant-steps": {"title": "Giant Steps", "tags": ["jazz"], "text": ""}}, "m1")
    assert engine.holds("giant-steps")
    assert engine.catalogue.describe(engine.items.rows(["giant-steps"])) == [
        {"item_id": "giant-steps", "title": "Giant Steps", "tags": ["jazz"]}
    ]
    assert ids(engine, home(engine, ["so-what"], 2)) == ["blue-train", "giant-steps"]
    assert home(engine, ["so-what"], 2).levels == ("recent",)
    assert "giant-steps" in similar(engine, "so-what", 2)
    assert similar(engine, "giant-steps", 2) == ["so-what", "blue-train"]
    assert (engine.tag, made().tag) == ("r1+m1", "r1")


def test_the_engine_before_stays_as_it_was():
    before = made()
    after = before.amended({"giant-steps": {"tags": ["jazz"]}, "pink-moon": None, "so-what": {"title": "?"}})
    assert len(before.items), len(after.items) == (4, 5)
    assert not before.holds("giant-steps")
    assert before.holds("pink-moon")
    assert ids(before, home(before)) == IDS
    assert before.catalogue.describe(np.array([0]))[0]["title"] == "So-What"


def test_who_takes_a_new_item_is_answered_from_it():
    engine = made().amended({"giant-steps": {"tags": ["jazz"]}})
    answer = home(engine, ["giant-steps"], 2)
    assert answer.levels == ("recent",)
    assert ids(engine, answer) == ["so-what", "blue-train"]


def test_without_vectors_a_new_item_is_answered_by_content():
    engine = made(fold=False).amended({"giant-steps": {"tags": ["jazz"]}})
    answer = home(engine, ["giant-steps"], 2)
    assert answer.levels == ("content-nearest",)
    assert ids(engine, answer) == ["so-what", "blue-train"]
    # The lists know only blue-train.
    assert ids(engine, home(engine, ["so-what"], 2)) == ["blue-train", "giant-steps"]
    assert similar(engine, "giant-steps", 1) == ["so-what"]


def test_an_item_that_says_nothing_stands_at_the_end_of_what_is_popular_and_nowhere_else():
    engine = made().amended({"?": {"title": "?", "tags": ["never seen"]}, "!": {}})
    assert set(ids(engine, home(engine, ["so-what"], 5))[-2:]) == {"?", "!"}
    assert home(engine, ["so-what"], 5).sources(0)[-2:] == [["popular"]] * 2
    for name in ("items", "similar", "content"):
        found = engine.parts.indexes[name].search(np.ones((1, 3), np.float32), 9)
        assert engine.items.rows(["?"])[0] not in found.rows
    # Nor is it like anything.
    assert home(engine, ["?"]).levels == ("popular",)
    assert engine.recommenders[SIMILAR].recommend([Query(now=NOW, recent=np.array([4]), weights=ONCE)], 1).levels == (
        "popular",
    )


def test_declared_interests_are_a_rung_of_the_ladder():
    engine = made().amended({"pastel-blues": {"tags": ["folk", "jazz"]}})
    answer = home(engine, k=2, interests=("folk",))
    assert (answer.levels, ids(engine, answer)) == (("declared-interests",), ["pink-moon", "unheard"])
    assert ids(engine, home(engine, k=1, interests=("folk", "jazz"))) == ["pastel-blues"]
    assert home(engine, k=2, interests=("polka",)).levels == ("popular",)


def test_a_deleted_item_is_gone_from_every_source_and_comes_back_when_it_is_put():
    for content, fold in ((True, True), (False, True), (True, False)):
        engine = made(content, fold).amended({"new": {"tags": ["jazz"]}})
        gone = engine.amended({"blue-train": None, "new": None, "never there": None})
        assert not gone.holds("blue-train")
        assert not gone.holds("never there")
        for asked in (home(gone, ["so-what"]), home(gone), home(gone, interests=("jazz",))):
            assert not {"blue-train", "new"} & set(ids(gone, asked))
        assert not {"blue-train", "new"} & set(similar(gone, "so-what"))
        assert set(ids(gone, home(gone))) == {"so-what", "pink-moon", "unheard"}
        back = gone.amended(
            {"blue-train": {"title": "Blue-Train", "tags": ["jazz", "punk"]}, "new": {"tags": ["jazz"]}}
        )
        assert similar(back, "so-what") == similar(engine, "so-what")
        assert ids(back, home(back, ["so-what"])) == ids(engine, home(engine, ["so-what"]))
        assert back.parts.available is None


def test_what_the_release_learned_of_an_item_stays_when_it_is_described_anew():
    engine = made().amended({"so-what": {"title": "So What (take 2)", "tags": ["folk"]}})
    assert engine.catalogue.search("take", 5).tolist() == [0]
    assert np.array_equal(engine.resolver.fold.items[np.array([0])], VECTORS[:1])
    assert np.array_equal(engine.parts.indexes["items"].search(VECTORS[:1], 1).rows, [[0]])
    # Its content is what is said of it now.
    found = engine.parts.indexes["content"].search(np.array([[0, 1, 0]], np.float32), 3)
    assert set(found.rows[0].tolist()) == {0, 2, 3}


def test_an_item_that_nobody_took_goes_where_its_description_says():
    engine = made().amended({"unheard": {"tags": ["punk"]}})
    assert np.allclose(engine.resolver.fold.items[np.array([3])], [[0, 0, 0.5]])
    assert "unheard" not in similar(engine, "pink-moon", 1)
    assert similar(engine, "unheard", 1) == ["blue-train"]
    silent = engine.amended({"unheard": {"title": "Nothing to say"}})
    assert 3 not in silent.parts.indexes["items"].search(np.ones((1, 3), np.float32), 9).rows
    # Without content there is nothing to go by but what the release has.
    kept = made(content=False).amended({"unheard": {"tags": ["punk"]}})
    assert np.array_equal(kept.resolver.fold.items[np.array([3])], VECTORS[3:])


def test_changes_one_by_one_are_changes_at_once():
    changes = {
        "a": {"tags": ["jazz"]},
        "so-what": {"tags": ["punk"]},
        "b": {"tags": ["folk", "punk"]},
        "unheard": None,
        "c": {},
    }
    at_once = made().amended(changes)
    one_by_one = made().amended({"a": {"tags": ["folk"]}, "c": None})
    for id_ in reversed(changes):
        one_by_one = one_by_one.amended({id_: changes[id_]})
    assert sorted(one_by_one.items) == sorted(at_once.items)
    for asked in ({"history": ["a"]}, {"history": ["so-what", "b"]}, {"interests": ("punk",)}, {}):
        one, other = (home(engine, **asked) for engine in (one_by_one, at_once))
        assert ids(one_by_one, one) == ids(at_once, other)
        assert one.levels == other.levels
    for item in ("a", "b", "so-what", "pink-moon"):
        assert similar(one_by_one, item, 5) == similar(at_once, item, 5)


def test_what_the_release_knows_by_the_same_description_is_left_alone():
    engine = made().amended({"so-what": {"title": "So-What", "tags": ["jazz"], "text": None}, "x": None}, "m1")
    assert len(engine.items) == 4
    assert engine.parts.indexes["content"].rows.tolist() == []
    assert engine.mark == "m1"


def test_an_engine_that_is_to_stay_as_it_is_says_so():
    with pytest.raises(ValueError, match="this engine does not change: assemble it with `grow`"):
        made(grow=None).amended({"x": {}})
    with pytest.raises(ValueError, match="1 items were described since this catalogue was made"):
        made().amended({"x": {}}).catalogue.save("anywhere")


def test_what_was_put_is_fresh_and_is_boosted_as_it_is_described_now():
    surfaces = {
        "new": Surface(sources=(Line(name="fresh"),)),
        "jazz": Surface(
            sources=(Line(name="popular"),),
            steps=(Line(name="boosted", where="tags:jazz", factor=9, share=1.0, length=2),),
        ),
    }
    before = made().over(surfaces)
    after = before.amended({"giant-steps": {"tags": ["jazz"]}, "so-what": {"tags": ["folk"]}, "blue-train": None})

    def asked(engine, surface):
        return ids(engine, engine.recommenders[surface].recommend([Query(now=NOW)], 4))

    assert asked(before, "new") == ["so-what"], "the only one that a history names"
    assert asked(after, "new") == ["giant-steps", "so-what"]
    assert asked(before, "jazz") == ["so-what", "blue-train", "pink-moon", "unheard"]
    assert asked(after, "jazz") == ["giant-steps", "so-what", "pink-moon", "unheard"]

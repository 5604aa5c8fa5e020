"""What is proposed by content, how it is weighed against what was learned, and that what was deleted is gone."""

from datetime import UTC, datetime

import numpy as np
import pytest

from index.exact import Exact
from index.growing import Growing
from recsys.candidates import Candidates
from recsys.errors import SettingsError
from recsys.fusions.by_takers import ByTakers
from recsys.item_lists import ItemLists
from recsys.masks import Mask
from recsys.pipeline import Recommender
from recsys.retrieval import Parts, Query
from recsys.sources.content_nearest import ContentNearest
from recsys.sources.declared_interests import DeclaredInterests
from recsys.surfaces import Line, Surface, unseen

NOW = datetime(2026, 11, 23, tzinfo=UTC)
# Nothing is known of item 4.
CONTENT = np.array([[1, 0], [0.8, 0.6], [0, 1], [-1, 0], [0, 0]], np.float32)


class Words:
    """An encoder of two words, in columns that it reads."""

    reads = ("title", "tags", "item_id")

    def encode(self, items):
        found = np.array([[("jazz" in item["tags"]), ("folk" in item["title"])] for item in items], np.float32)
        assert all("item_id" not in item for item in items)
        found = found.reshape(len(items), 2)
        return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1)


def parts(**options):
    indexes, vectors = {"content": Exact.build(CONTENT)}, {"content": CONTENT}
    if "available" in options:
        indexes["content"] = Growing.of(indexes["content"]).remove((~options["available"]).rows.tolist())
    return Parts(5, indexes, np.arange(5, 0, -1, np.float32), vectors, **{"content": Words(), **options})


def query(recent=(), weights=None, **options):
    weights = np.ones(len(recent)) if weights is None else weights
    return Query(now=NOW, recent=np.array(recent, np.int32), weights=np.array(weights, np.float32), **options)


def test_a_profile_is_the_weighted_mean_of_recent_content():
    source = ContentNearest.of(parts())
    asked = [query([0]), query([0, 2], [1, 3]), query([4]), query(), query([0], [0]), query([4, 2], [9, 1])]
    found = source(asked, 2)
    assert found.rows.tolist() == [[0, 1], [2, 1], [-1, -1], [-1, -1], [-1, -1], [2, 1]]
    profile = np.array([1, 3]) / np.sqrt(10)
    assert np.allclose(found.scores[1], [profile[1], profile @ [0.8, 0.6]])
    said = source.score(asked, np.array([[0, -1]] * 6, np.int32))
    assert np.allclose(said[:2, 0], [1, profile[0]])
    assert np.isnan(said[2:5]).all()
    assert np.isnan(said[:, 1]).all()


def test_items_of_opposite_content_are_no_profile():
    assert not ContentNearest.of(parts())([query([0, 3])], 2).filled.any()


def test_interests_are_encoded_as_a_description():
    source = DeclaredInterests.of(parts())
    asked = [query(interests=("jazz",)), query(), query(interests=("never seen",)), query(interests=("jazz", "folk"))]
    assert source(asked, 1).rows.tolist() == [[0], [-1], [-1], [1]]
    assert not source([query()], 3).filled.any()
    alone = [source([each], 1).rows.tolist()[0] for each in asked]
    assert [line or [-1] for line in alone] == source(asked, 1).rows.tolist()


def test_a_release_without_content_has_no_such_sources():
    without = Parts(5, {}, np.zeros(5, np.float32))
    with pytest.raises(SettingsError, match="unknown index 'content'"):
        Recommender.of(unseen(Line(name="content-nearest")), without)
    with pytest.raises(SettingsError, match="the release has no encoder of content: train it with"):
        Recommender.of(unseen(Line(name="declared-interests")), parts(content=None))


def fused(asked, takers, kappa, learned, content):
    fusion = ByTakers.of(Parts(len(takers), {}, np.array(takers, np.float32)), kappa, content="content", pool=5)
    proposals = {
        name: Candidates(np.array([rows], np.int32), -np.arange(len(rows), dtype=np.float32)[None])
        for name, rows in (("learned", learned), ("content", content))
    }
    found = fusion([query([asked])], proposals, {}).top(6)
    return [(int(row), float(score)) for row, score in zip(found.rows[0], found.scores[0], strict=True) if row >= 0]


def test_a_new_item_is_compared_by_content_alone():
    # Item 0 is new: what a predicted vector calls near, 1 and 2, does not count.
    assert [row for row, _ in fused(0, [0, 90, 90, 90, 90], 10, learned=[1, 2], content=[3, 4])] == [3, 4]


def test_items_that_many_took_are_compared_by_what_was_learned():
    found = fused(0, [1e6, 1e6, 1e6, 1e6, 0], 10, learned=[1, 2], content=[3, 4])
    # 4 is new, so its place among content neighbours counts in full; 3 is not, so its does next to nothing.
    assert [row for row, _ in found] == [1, 4, 2, 3]
    assert found[0][1] == pytest.approx(1 / 61, rel=1e-3)
    assert found[1][1] == pytest.approx(1 / 62, rel=1e-3)
    assert found[3][1] < 1e-5


def test_in_between_both_count_by_takers():
    # t = 30 / (30 + 10) for both of the pair, by hand
    ((row, score),) = fused(0, [30, 30], 10, learned=[1], content=[1])
    assert (row, score) == (1, pytest.approx(1 / 61))
    assert fused(0, [30, 30, 30], 10, learned=[1], content=[2]) == [
        (1, pytest.approx(0.5625 / 61)),
        (2, pytest.approx(0.4375 / 61)),
    ]


def test_more_takers_never_give_content_more_to_say():
    shares = [fused(0, [n, n, n], 10, learned=[1], content=[2])[-1][1] for n in (1, 3, 10, 30, 100)]
    content = [dict(fused(0, [n, n, n], 10, learned=[1], content=[2]))[2] for n in (1, 3, 10, 30, 100)]
    assert content == sorted(content, reverse=True)
    assert shares


def test_without_shrinkage_one_taker_is_enough():
    assert [row for row, _ in fused(0, [1, 1, 0], 0, learned=[1], content=[2])] == [1, 2]
    with pytest.raises(ValueError, match="kappa is -1: a number of takers was wanted"):
        ByTakers.of(parts(), -1)
    with pytest.raises(ValueError, match="pool is 0: ask for at least 1"):
        ByTakers.of(parts(), 1, pool=0)


def test_what_is_not_available_is_answered_by_no_source_and_does_not_cost_a_slot():
    lists = ItemLists(np.array([[1, 2], [2, 0], [0, 1], [0, 1], [0, 1]], np.int32), np.ones((5, 2), np.float32))
    allowed = ~Mask.of_rows([0, 1], 5)
    for line in (Line(name="item-item", lists="lists"), Line(name="popular"), Line(name="content-nearest")):
        surface = Surface(sources=(line,), ladder=(Line(name="popular"),))
        whole = Recommender.of(surface, parts(lists={"lists": lists})).recommend([query([1, 2])], 3)
        left = Recommender.of(surface, parts(lists={"lists": lists}, available=allowed)).recommend([query([1, 2])], 3)
        assert np.isin([0, 1], whole.candidates.rows).any()
        assert sorted(left.candidates.rows[0].tolist()) == [2, 3, 4]
        assert left.degraded == ()
    # Item 3 is on the other side of the profile and nothing is known of item 4: what is popular follows.
    assert left.sources(0) == [["content-nearest"], ["popular"], ["popular"]]


def test_popular_looks_as_far_down_as_it_takes():
    popularity = np.arange(1000, 0, -1, np.float32)
    some = Parts(1000, {}, popularity, available=Mask.of_rows(range(900, 1000), 1000))
    answer = Recommender.of(Surface(sources=(), ladder=(Line(name="popular"),)), some).recommend([query(), query()], 7)
    assert answer.candidates.rows.tolist() == [list(range(900, 907))] * 2
    nothing = Parts(3, {}, popularity[:3], available=Mask.of_rows([], 3))
    answer = Recommender.of(Surface(sources=(), ladder=(Line(name="popular"),)), nothing).recommend([query()], 2)
    assert answer.levels == ("none",)

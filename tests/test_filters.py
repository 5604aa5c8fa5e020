"""Filters: what they say of one item, of a whole catalogue, and what is no filter."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.attributes import Attributes
from recsys.catalogue import Catalogue
from recsys.filters import AllOf, AnyOf, Not, Term, parse
from recsys.vocabulary import Vocabulary

ITEMS = [
    {"title": "Kind of Blue", "genres": ["Jazz"], "year": 1959, "live": False, "released": "1959-08-17"},
    {"title": "Blue Train", "genres": ["jazz", "Bop"], "year": 1958, "live": False, "released": "1958-01-01"},
    {"title": "Exodus", "genres": ["Reggae"], "year": 1977, "live": True, "released": "1977-06-03"},
    {"title": "", "genres": [], "year": None, "live": None, "released": None},
    {"title": "STRASSE", "genres": ["Reggae", ""], "year": 0, "live": True, "released": "2001"},
]
IDS = [f"i{place}" for place in range(len(ITEMS))]


@pytest.fixture(scope="module")
def catalogue():
    frame = pd.DataFrame(
        {
            "item_id": IDS,
            "title": [item["title"] for item in ITEMS],
            "genres": pd.arrays.ArrowExtensionArray(pa.array([item["genres"] for item in ITEMS])),
            "year": pd.array([item["year"] for item in ITEMS], "Int64"),
            "live": pd.array([item["live"] for item in ITEMS], "boolean"),
            "released": [item["released"] for item in ITEMS],
        }
    )
    return Catalogue.of(frame, Vocabulary.of(IDS))


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("genres:JAZZ", [0, 1]),
        ("genres:jazz and not genres:bop", [0]),
        ("genres:bop or genres:reggae and live:true", [1, 2, 4]),
        ("(genres:bop or genres:reggae) and live:false", [1]),
        ("not genres:jazz", [2, 3, 4]),
        ("genres!=jazz", [2, 4]),
        ("genres:*", [0, 1, 2, 4]),
        ("year>=1959 AND year<1977", [0]),
        ("year:0", [4]),
        ("year!=0", [0, 1, 2]),
        ("year>then", []),
        ("live!=true", [0, 1]),
        ('title:"kind of blue"', [0]),
        ("title:straße", [4]),
        ("title<c", [1]),
        ("title<=exodus", [1, 2]),
        ("title>kind", [0, 4]),
        ("released>=1959-01-01 and released<1980", [0, 2]),
        ("genres:polka", []),
        ("not(not genres:bop)", [1]),
        ("item_id:i3", [3]),
    ],
)
def test_a_filter_holds_where_one_would_say_so(catalogue, text, rows):
    found = parse(text)
    assert found.mask(Attributes(catalogue)).rows.tolist() == rows
    described = catalogue.describe(np.arange(len(ITEMS), dtype=np.int32))
    assert [place for place, item in enumerate(described) if found.holds(item)] == rows


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it ends where a term such as genres:jazz"),
        ("genres", "'genres' stands where a term such as"),
        ("genres:jazz year>3", "'year>3' stands where 'and', 'or' or the end"),
        ("genres:jazz and", "it ends where a term"),
        ("(genres:jazz", r"it ends where '\)' was wanted"),
        ("genres:jazz)", r"'\)' stands where 'and', 'or' or the end"),
        ('title:"Kind', "stands where a term such as"),
        ("genres:", "stands where a term"),
        ("and genres:jazz", "'and genres:jazz' stands where a term"),
        ("(" * 60 + "genres:jazz" + ")" * 60, "may go 50 levels deep"),
        ("x:" + "y" * 3000, "a filter of 3,002 characters came, at most 2,000 are read"),
    ],
)
def test_what_is_no_filter_is_told_where_it_goes_wrong(text, said):
    with pytest.raises(ValueError, match=said):
        parse(text)


def test_an_unknown_column_is_refused_with_the_choices(catalogue):
    with pytest.raises(
        ValueError, match="unknown column 'genre', choose one of genres, item_id, live, released, title, year"
    ):
        parse("genre:jazz").mask(Attributes(catalogue))


def test_a_column_may_be_called_as_a_word_of_the_language_is():
    assert parse("not:x").holds({"not": "X"})
    assert parse("and:1 and or:2").holds({"and": 1, "or": 2})


VALUES = ["jazz", "bop", "reggae", "1959", "1977", "true", "exodus", "*", "1959-08-17", "n", "0"]
TERMS = st.builds(
    Term,
    st.sampled_from(["title", "genres", "year", "live", "released"]),
    st.sampled_from([":", "!=", "<", "<=", ">", ">="]),
    st.sampled_from(VALUES),
)
FILTERS = st.recursive(
    TERMS,
    lambda inner: (
        st.builds(Not, inner)
        | st.lists(inner, min_size=1, max_size=3).map(lambda parts: AllOf(tuple(parts)))
        | st.lists(inner, min_size=1, max_size=3).map(lambda parts: AnyOf(tuple(parts)))
    ),
    max_leaves=8,
)


@given(FILTERS)
def test_the_mask_of_a_catalogue_is_what_holds_of_each_item(catalogue, some):
    described = catalogue.describe(np.arange(len(ITEMS), dtype=np.int32))
    wanted = [place for place, item in enumerate(described) if some.holds(item)]
    assert some.mask(Attributes(catalogue)).rows.tolist() == wanted


def test_masks_are_kept_but_not_without_end(catalogue):
    attributes = Attributes(catalogue)
    first = attributes.mask(Term("year", ":", "1959"))
    assert attributes.mask(Term("year", ":", "1959")) is first
    for year in range(400):
        attributes.mask(Term("year", ">", str(year)))
    assert len(attributes._masks) <= 256
    assert attributes.mask(Term("year", ":", "1959")).rows.tolist() == [0]

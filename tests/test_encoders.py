import json
import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from recsys.catalogue import Catalogue
from recsys.datasets import load
from recsys.encoding import load_encoding, save_encoding
from recsys.encoding.tags import TagsRule
from recsys.encoding.terms import look_up
from recsys.encoding.words import LIMIT, WordsRule, plain, text_of, words
from recsys.errors import SettingsError, TrainingError
from recsys.vocabulary import Vocabulary
from training.encoders import encoder_of


def fitted(items, **options):
    return encoder_of(options).fit(items, np.random.default_rng(0), threads=1)


def unit(vectors):
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)


@pytest.fixture(scope="module")
def films(data_folder):
    """The 1,200 films of ml-latest-small that come first among those with an overview."""
    log = load("ml-latest-small", {"RECSYS_DATA": str(data_folder)})
    catalogue = Catalogue.of(log.items, Vocabulary.of(log.items["item_id"].tolist()))
    every = catalogue.describe(np.arange(len(catalogue), dtype=np.int32))
    return [film for film in every if "text" in film][:1200]


# words


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Don't <b>bold</b>ly go, R2-D2!", "don t bold ly go r2 d2"),
        ("a<br>b<!-- c -->d &eacute;&#233;&amp;e", "a b d éé e"),
        ("x<script>var y = '<b>';</script>z<STYLE>p {}</style>w", "x z w"),
        ("before<script>never closed, so never read", "before"),
        ("1 < 2 and 3 > 2", "1 2 and 3 2"),
        ("STRASSE Straße ﬁlm ＡＢＣ", "strasse strasse film abc"),
        ("Ёлка и ёж", "ёлка и ёж"),
        ("हिन्दी में किताब", "हिन्दी में किताब"),
        ("中文书 ok カタカナ x", "中文 文书 ok カタ タカ カナ x"),
        ("ไทย", "ไท ทย"),
        ("中", "中"),
        ("snake_case", "snake case"),
        ("… — !", ""),
    ],
)
def test_words_are_found_in_any_language_and_under_markup(text, wanted):
    assert words(text) == wanted.split()


@given(st.text(max_size=60))
def test_how_characters_are_composed_does_not_matter(text):
    text = text.replace("<", "").replace("&", "")
    composed, apart = (unicodedata.normalize(form, text) for form in ("NFC", "NFD"))
    assert words(composed) == words(apart)


@given(st.text("<>/!abscript &;#x1", max_size=60))
def test_no_markup_however_broken_makes_a_tag_of_a_word(text):
    assert not set(" ".join(words(text))) & set("<>&;#!/")
    assert "<b>" not in plain(text)


def test_what_lies_beyond_the_limit_is_not_read():
    long = "word " * LIMIT
    assert len(words(long)) == LIMIT // 5
    assert words(long + "more") == words(long)
    item = {"title": "t" * 10, "text": ["a" * LIMIT, "b" * LIMIT]}
    assert len(text_of(item, ("title", "text"))) == LIMIT
    assert "b" not in text_of(item, ("title", "text"))
    assert len(text_of({"text": ["x"] * 10**6}, ("text",))) < LIMIT


# tfidf-svd and bag-of-words


def test_tfidf_is_what_scikit_learn_computes_of_the_same_words(films):
    encoding = fitted(films[:200], width=200, ngrams=2)
    theirs = TfidfVectorizer(
        analyzer=lambda film: words(text_of(film, ("title", "text")), 2), sublinear_tf=True, min_df=2, max_df=0.5
    ).fit_transform(films[:200])
    assert len(encoding.keys) == theirs.shape[1]
    mine = encoding.encode(films[:200])
    # all 200 directions of 200 films: nothing is lost of what they have in common
    assert np.allclose(mine @ mine.T, (theirs @ theirs.T).toarray(), atol=1e-4)


def test_the_directions_are_the_strongest_ones(films):
    encoding = fitted(films[:200], width=8)
    theirs = TfidfVectorizer(
        analyzer=lambda film: words(text_of(film, ("title", "text"))), sublinear_tf=True, min_df=2, max_df=0.5
    ).fit_transform(films[:200])
    exact = TruncatedSVD(8, algorithm="arpack", random_state=0).fit_transform(theirs)
    mine = encoding.encode(films[:200])
    # no eight directions hold more than those of the exact decomposition
    assert 0.98 <= np.square(mine).sum() / np.square(exact).sum() <= 1 + 1e-5


@pytest.mark.parametrize("options", [{"width": 64}, {"name": "bag-of-words"}, {"name": "wordllama"}], ids=str)
def test_films_of_like_texts_have_like_genres(films, options):
    vectors = unit(fitted(films, **options, columns=["text"]).encode(films))
    alike = vectors @ vectors.T
    np.fill_diagonal(alike, -1)
    genres = [set(film.get("genres", ())) for film in films]

    def shared(pairs):
        return np.mean([len(genres[a] & genres[b]) / max(1, len(genres[a] | genres[b])) for a, b in pairs])

    # measured .28, .25, .33, and .19 by chance
    by_chance = shared(zip(range(len(films)), np.random.default_rng(0).permutation(len(films)), strict=True))
    assert shared(enumerate(alike.argmax(axis=1))) > 1.2 * by_chance


def test_words_too_rare_too_usual_or_too_many_are_left_away():
    texts = ["all some rare", "all some", "all other", "all other", "all"]
    items = [{"text": text} for text in texts]

    def kept(**options):
        encoding = fitted(items, **options)
        return {w for w in ("all", "some", "other", "rare") if len(look_up(encoding.keys, RULE, [{"text": w}]).terms)}

    assert kept(min_items=2, max_share=0.5) == {"some", "other"}
    assert kept(min_items=1, max_share=1.0) == {"all", "some", "other", "rare"}
    assert kept(min_items=1, max_share=1.0, max_features=1) == {"all"}
    # items · ln(n / items): all 0, some and other 1.8, rare 1.6
    assert kept(name="bag-of-words", features=2, min_items=1, max_share=1.0) == {"some", "other"}
    assert kept(name="bag-of-words", features=3, min_items=1, max_share=1.0) == {"some", "other", "rare"}
    with pytest.raises(TrainingError, match="5 of 5 items say anything in title, text, and nothing that 3 of these"):
        fitted(items, min_items=3)


RULE = WordsRule()


def test_a_bag_of_words_has_their_log_counts():
    items = [{"text": "a a a b"}, {"text": "b"}, {"text": "a c"}]
    encoding = fitted(items, name="bag-of-words", min_items=1, max_share=1.0)
    (vector,) = encoding.encode([{"text": "a a a b unknown"}])
    assert sorted(vector.tolist()) == pytest.approx(
        sorted(np.array([0, 1, 1 + np.log(3)]) / np.hypot(1, 1 + np.log(3)))
    )


@pytest.mark.parametrize("name", ["tfidf-svd", "bag-of-words", "tags", "wordllama"])
def test_more_items_than_are_held_at_once_are_encoded_each_in_its_row(name):
    kinds = ("jazz", "rock", "folk")
    items = [{"text": f"{kinds[place % 3]} music", "tags": [kinds[place % 3]]} for place in range(2500)]
    vectors = fitted(items, name=name, **({} if name == "tags" else {"columns": ["text"]})).encode(items)
    assert np.array_equal(vectors[3:], vectors[:-3])
    assert len(np.unique(vectors, axis=0)) == 3


# wordllama


def test_wordllama_gives_what_the_package_does(films):
    import wordllama

    package = wordllama.WordLlama.load(dim=256, cache_dir=Path(wordllama.__file__).parent, disable_download=True)
    texts = [film["text"] for film in films if "&" not in film["text"] and "<" not in film["text"]][:100]
    encoding = fitted([], name="wordllama")
    mine = encoding.encode([{"text": text} for text in texts])
    assert np.allclose(mine, package.embed(texts), atol=1e-6)
    assert np.array_equal(fitted([], name="wordllama", width=64).encode([{"text": texts[0]}])[0], mine[0, :64])


def test_making_a_table_of_wordllama_leaves_the_log_alone():
    act = """
import logging, numpy as np
from training.encoders import encoder_of
encoder_of({"name": "wordllama"}).fit([], np.random.default_rng(0), threads=1)
print(len(logging.root.handlers), logging.root.level)
"""
    done = subprocess.run([sys.executable, "-c", act], capture_output=True, text=True)
    assert done.stdout.split() == ["0", "30"], done.stderr


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [("tokenizer", np.zeros(3, np.uint8), "the tokenizer cannot be read"), ("table", np.zeros((2, 4)), "32000 tokens")],
)
def test_a_wordllama_that_does_not_fit_together_is_refused(name, value, said):
    encoding = fitted([], name="wordllama")
    with pytest.raises(ValueError, match=said):
        type(encoding).of(encoding.rule, {**encoding.arrays(), name: value})


# what a server does


def test_a_server_encodes_the_same_without_a_training_library(films, tmp_path):
    """Another process, which has only what was saved."""
    parts = {
        "tfidf-svd": {"width": 32}, "bag-of-words": {"features": 50}, "wordllama": {}, "tags": {"columns": ["genres"]},
        "numeric": {"columns": ["year"]},
    }  # fmt: skip
    encoding = fitted(films[:300], name="concat", parts=parts)
    save_encoding(encoding, tmp_path / "content")
    (tmp_path / "items.json").write_text(json.dumps(films[:50]))
    act = """
import json, sys
import numpy as np
from pathlib import Path
from recsys.encoding import load_encoding
items = json.loads(Path("items.json").read_text())
np.save("vectors.npy", load_encoding(Path("content")).encode(items))
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""
    done = subprocess.run([sys.executable, "-c", act], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    loaded = set(json.loads(done.stdout))
    assert {"numpy", "tokenizers"} <= loaded
    assert not {"torch", "sklearn", "scipy", "pandas", "training", "wordllama", "transformers"} & loaded
    assert np.allclose(np.load(tmp_path / "vectors.npy"), encoding.encode(films[:50]), rtol=0, atol=1e-6)


def test_a_folder_that_lacks_something_is_refused_by_what_it_lacks(tmp_path):
    save_encoding(fitted([{"text": "a b"}, {"text": "b c"}], min_items=1, max_share=1.0), tmp_path)
    (tmp_path / "idf.npy").unlink()
    with pytest.raises(
        ValueError, match=r"encoding tfidf-svd needs an array 'idf', there are \['components', 'keys'\]"
    ):
        load_encoding(tmp_path)
    np.save(tmp_path / "idf.npy", np.ones(1, np.float32))
    with pytest.raises(ValueError, match="there are 3 keys, 1 idf and 3 components"):
        load_encoding(tmp_path)
    (tmp_path / "encoding.json").write_text('{"kind": "tfidf-svd", "ngrams": 9}')
    with pytest.raises(ValueError, match="encoding tfidf-svd: ngrams: Input should be less than or equal to 2"):
        load_encoding(tmp_path)


# tags


def test_a_tag_is_the_same_in_any_column_case_and_spacing_and_weights_add_up():
    rule = TagsRule(columns=("tags", "genres"), weight_columns={"tags": "times"})
    item = {"tags": ["Film Noir", "noir", "unliked"], "times": [3, 0.5, 0], "genres": "film  noir "}
    assert rule.terms(item) == {"film noir": 4.0, "noir": 0.5}


@pytest.mark.parametrize("times", [None, [1], ["many", "few"], [float("nan"), 1], "12"])
def test_weights_that_cannot_be_used_are_one_each(times):
    rule = TagsRule(weight_columns={"tags": "times"})
    assert rule.terms({"tags": ["a", "b"], "times": times}) == {"a": 1.0, "b": 1.0}


def test_a_tag_given_more_often_pulls_an_item_further():
    items = [{"tags": ["jazz"]}, {"tags": ["jazz", "cool"]}, {"tags": ["rock"]}, {"tags": ["rock", "cool"]}]
    encoding = fitted(items, name="tags", weight_columns={"tags": "times"}, min_items=1)
    jazz, mixed, turned = encoding.encode(
        [{"tags": ["jazz"]}, *({"tags": ["jazz", "rock"], "times": times} for times in ([9, 1], [1, 9]))]
    )
    assert jazz @ mixed > jazz @ turned > 0
    assert not encoding.encode([{"tags": ["never seen"]}]).any()


# numeric


def test_numbers_are_scaled_missing_ones_are_in_the_middle_and_what_is_known_is_said():
    items = [{"a": float(a), "b": 1.0} for a in range(9)] + [{"b": 1.0}, {"c": 0}]
    encoding = fitted(items, name="numeric", columns=["a", "b"], scaling="standard")
    deviation = np.arange(9).std()
    assert encoding.encode([{"a": "6", "b": 3}, {"a": 4}, {"b": None, "a": float("inf")}]) == pytest.approx(
        np.array([[2 / deviation, 2, 1, 1, 1], [0, 0, 1, 0, 0.5], [0, 0, 0, 0, 0]])
    )
    robust = fitted(items, name="numeric", columns=["a"])
    assert robust.encode([{"a": 8.0}, {"a": 1e9}, {"a": -1e308}])[:, 0] == pytest.approx([4 / (4 / 1.349), 4, -4])


def test_what_goes_round_is_near_to_where_it_began():
    items = [{"key": key} for key in range(12)]
    eleven, zero, six, twelve = fitted(items, name="numeric", cyclic={"key": 12}).encode(
        [{"key": key} for key in (11, 0, 6, 12)]
    )
    assert np.allclose(zero, twelve, atol=1e-6)
    assert zero @ eleven > zero @ six


@given(st.lists(st.integers(-1000, 1000), min_size=3, max_size=12), st.integers(1, 9), st.integers(-50, 50))
def test_the_unit_that_is_measured_in_does_not_matter(values, factor, shift):
    for scaling in ("robust", "standard"):
        one, other = (
            [{"a": float(value)} for value in each] for each in (values, [factor * value + shift for value in values])
        )
        mine, theirs = (fitted(each, name="numeric", scaling=scaling).encode(each) for each in (one, other))
        assert np.allclose(mine, theirs, atol=1e-3)
        assert np.abs(mine).max() <= 4


def test_all_columns_of_numbers_are_taken_where_none_are_named():
    items = [{"item_id": "x", "b": 1, "a": 2.0, "name": "n", "flag": True, "tags": ["t"], "mixed": 3}, {"mixed": "m"}]
    assert fitted(items, name="numeric").reads == ("a", "b")
    with pytest.raises(TrainingError, match="no column of 1 items holds numbers"):
        fitted([{"a": "text"}], name="numeric")
    with pytest.raises(TrainingError, match="none of 2 items has a number in name"):
        fitted(items, name="numeric", columns=["a", "name"])


# precomputed


def test_vectors_of_a_file_are_found_by_id_and_a_description_goes_before(tmp_path):
    vectors = np.arange(6, dtype=np.float64).reshape(3, 2) + 1
    np.save(tmp_path / "v.npy", vectors)
    (tmp_path / "ids.txt").write_text("a\nb\nc d\n")
    pq.write_table(pa.table({"item_id": ["a", "b", "c d"], "v": vectors.tolist()}), tmp_path / "v.parquet")
    asked = [{"item_id": "c d"}, {"item_id": "a", "v": [9, 9]}, {"item_id": "new"}, {"item_id": "a", "v": [9]}]
    for options in ({"file": tmp_path / "v.npy", "ids": tmp_path / "ids.txt"}, {"file": tmp_path / "v.parquet"}):
        encoding = fitted([], name="precomputed", column="v", **options)
        save_encoding(encoding, tmp_path / "saved")
        for each in (encoding, load_encoding(tmp_path / "saved")):
            assert each.encode(asked).tolist() == [[5, 6], [9, 9], [0, 0], [0, 0]]


@pytest.mark.parametrize(
    ("vector", "said"),
    [
        ([1.0, 2.0], "that of item 'x' has 2 numbers, 3 were wanted"),
        ([1.0, float("nan"), 1e300], "that of item 'x' has 2 numbers that are not finite"),
        ("1 2 3", "that of item 'x' is '1 2 3', a list of 3 numbers was wanted"),
        ([[1], [2], [3]], r"that of item 'x' is \[\[1\], \[2\], \[3\]\], a list of 3 numbers was wanted"),
    ],
)
def test_a_vector_that_cannot_be_used_stops_the_training(vector, said):
    items = [{"item_id": "fine", "vector": [1.0, 2.0, 3.0]}, {"item_id": "x", "vector": vector}]
    with pytest.raises(TrainingError, match=f"1 of 2 vectors cannot be used: {said}"):
        fitted(items, name="precomputed")
    assert fitted(items[:1], name="precomputed").encode(items).any(axis=1).tolist() == [True, False]


def test_files_that_cannot_be_used_are_refused(tmp_path):
    np.save(tmp_path / "v.npy", np.ones((2, 2)))
    (tmp_path / "one.txt").write_text("a\n")
    (tmp_path / "twice.txt").write_text("a\na\n")
    (tmp_path / "v.csv").write_text("a,1,2")
    pq.write_table(pa.table({"id": ["a"]}), tmp_path / "v.parquet")
    for options, said in (
        ({"file": tmp_path / "none.npy"}, "there is no file"),
        ({"file": tmp_path / "v.npy"}, "a .parquet was wanted, or a .npy and `ids`"),
        ({"file": tmp_path / "v.csv"}, "a .parquet was wanted"),
        ({"file": tmp_path / "v.parquet"}, r"has no column item_id, vector, it has \['id'\]"),
        ({"file": tmp_path / "v.npy", "ids": tmp_path / "v.npy"}, "cannot be read"),
    ):
        with pytest.raises(SettingsError, match=said):
            fitted([], name="precomputed", **options)
    for ids, said in (("one.txt", r"\(2, 2\), but .*one.txt has 1 lines"), ("twice.txt", "'a' and 'a' are the same")):
        with pytest.raises(TrainingError, match=said):
            fitted([], name="precomputed", file=tmp_path / "v.npy", ids=tmp_path / ids)


# concat


def test_each_part_has_the_length_of_its_weight_or_none(tmp_path):
    items = [{"tags": ["a"], "vector": [3e30, 4e30]}, {"tags": ["b"]}, {"vector": [0.001, 0]}, {}]
    inner = {"name": "concat", "parts": {"tags": {"min_items": 1}}, "weight": 3}
    encoding = fitted(items, name="concat", parts={"inner": inner, "precomputed": {"weight": 0.5}})
    vectors = encoding.encode(items)
    lengths = np.column_stack([np.linalg.norm(part, axis=1) for part in (vectors[:, :-2], vectors[:, -2:])])
    assert lengths == pytest.approx(np.array([[3, 0.5], [3, 0], [0, 0.5], [0, 0]]))
    save_encoding(encoding, tmp_path)
    assert (tmp_path / "inner/tags/keys.npy").exists()
    assert np.array_equal(load_encoding(tmp_path).encode(items), vectors)


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"tags": {"weight": 0}}, "the weight of part tags is 0, a number above 0 was wanted"),
        ({"../x": {"name": "tags"}}, "a part is named '../x', which cannot be a folder"),
        ({"tgas": {}}, "unknown encoder 'tgas'"),
        ({"tags": {"widht": 3}}, r"\[content.encoder\] tags: widht: unknown key"),
        ({}, "parts: Dictionary should have at least 1 item"),
    ],
)
def test_parts_that_cannot_be_made_are_refused_before_anything_is_fitted(parts, said):
    with pytest.raises(SettingsError, match=said):
        encoder_of({"name": "concat", "parts": parts})

"""The contract of encoders, which every one of the table passes. An encoder without a line in CASES fails."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from annotated_types import Ge, Gt

from recsys.encoding import ENCODINGS, load_encoding
from recsys.errors import SettingsError, TrainingError
from recsys.testing.encodings import EncodingContract
from training.encoders import ENCODERS, encoder_of

WORDS = ("river", "night", "city", "dog", "war", "love", "ship", "king", "desert", "song", "winter", "train", "robot")


def films(count=30):
    """Films with all that an encoder may read; the last says nothing."""
    rng = np.random.default_rng(0)

    def film(place):
        some = rng.choice(WORDS, 5, replace=False).tolist()
        return {
            "item_id": f"f{place}",
            "title": f"The {some[0]} of {some[1]}",
            "text": f"<p>A {some[2]} &amp; a {some[3]}, and the {some[0]} again.</p>",
            "tags": some[:3],
            "counts": [1.0, 2.0, 30.0],
            "genres": [some[4].upper()],
            "year": 1950 + place if place % 7 else None,
            "key": float(place % 12),
            "vector": rng.normal(size=4).tolist(),
        }

    return [*map(film, range(count)), {"item_id": "blank"}]


def sounds():
    """Songs with a spectrogram each; the last says nothing."""
    rng = np.random.default_rng(0)
    return (*({"item_id": f"s{n}", "mel": rng.integers(0, 256, (64, 40)).tolist()} for n in range(6)), {"item_id": "x"})


@dataclass(frozen=True)
class Case:
    """Options with which an encoder is fitted, and what it is fitted on."""

    options: dict = field(default_factory=dict)
    items: tuple = tuple(films())
    learns: bool = True
    """Whether there is a TrainingError where items say nothing."""


CASES = {
    "tfidf-svd": Case({"width": 8, "ngrams": 2}),
    "bag-of-words": Case({"features": 12}),
    "wordllama": Case({"width": 64}, learns=False),
    "sentence-transformer": Case({"max_tokens": 8}, learns=False),
    "tags": Case({"width": 6, "weight_columns": {"tags": "counts"}}),
    "numeric": Case({"columns": ["year", "key"], "cyclic": {"key": 12}}),
    "precomputed": Case(),
    "mel-cnn": Case({"window": 32, "kernel": 2, "pools": [2], "width": 4, "channels": 4, "steps": 3}, sounds()),
    "concat": Case(
        {"parts": {"tags": {"width": 4, "weight": 2}, "words": {"name": "bag-of-words"}, "precomputed": {}}}
    ),
}


@pytest.fixture(params=sorted(ENCODERS))
def name(request):
    assert request.param in CASES, f"the encoder {request.param} needs a line in CASES"
    return request.param


@pytest.fixture
def encoder(name):
    return encoder_of({"name": name, **CASES[name].options})


@pytest.fixture
def items(name):
    return CASES[name].items


@pytest.fixture
def fit(encoder, items):
    return lambda: encoder.fit(items, np.random.default_rng(0), threads=1)


class TestEncoders(EncodingContract):
    pass


def test_every_line_is_an_encoder():
    assert CASES.keys() == dict(ENCODERS).keys()


def test_what_is_fitted_is_the_encoding_of_that_name(name, fit):
    assert fit().kind == name
    assert type(fit()) is ENCODINGS[name]


def test_progress_ends_at_one(encoder, items):
    shares = []
    encoder.fit(items, np.random.default_rng(0), threads=1, progress=shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_where_nothing_is_said_nothing_is_learned(name, encoder):
    blank = [{"item_id": "a"}, {"item_id": "b", "title": "", "text": None}]
    for items in (blank, []):
        if CASES[name].learns:
            with pytest.raises(TrainingError):
                encoder.fit(items, np.random.default_rng(0), threads=1)
        else:
            assert not encoder.fit(items, np.random.default_rng(0), threads=1).encode(blank).any()


def test_the_configuration_comes_back_from_its_own_json(name, encoder):
    assert type(encoder).model_validate_json(encoder.model_dump_json()) == encoder
    assert encoder_of({"name": name, **json.loads(encoder.model_dump_json())}) == encoder


def test_an_option_that_it_does_not_know_is_refused_by_name(name):
    with pytest.raises(SettingsError, match=rf"\[content.encoder\] {name}: (.|\n)*colums: unknown key"):
        encoder_of({"name": name, "colums": 3})


def test_every_number_has_a_least_value_and_less_is_refused(name):
    for key, described in ENCODERS[name].model_fields.items():
        if described.annotation not in {int, float}:
            continue
        (least,) = [bound for bound in described.metadata if isinstance(bound, Ge | Gt)]
        wrong = least.ge - 1 if isinstance(least, Ge) else least.gt
        with pytest.raises(SettingsError, match=rf"{key}: Input should be greater than"):
            encoder_of({"name": name, key: wrong})


def test_unknown_names_are_refused_with_the_choices(tmp_path: Path):
    with pytest.raises(SettingsError, match="unknown encoder 'tfidf', choose one of bag-of-words, concat, "):
        encoder_of({"name": "tfidf"})
    (tmp_path / "encoding.json").write_text('{"kind": "tfidf"}')
    with pytest.raises(ValueError, match="unknown encoding 'tfidf', choose one of bag-of-words, concat, "):
        load_encoding(tmp_path)

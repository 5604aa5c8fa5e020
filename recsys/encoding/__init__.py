"""Content vectors from what is said of items. To add a way: one file here, one in ``training/encoders``, two lines.

A *description* is what :meth:`recsys.catalogue.Catalogue.describe` gives for an item and what the body of
``PUT /items/{id}`` holds: plain JSON values by name. An *encoding* is a fitted encoder. Training and serving run the
same code on the same arrays, so the same description gives the same vector in both.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import numpy as np
from pydantic import ValidationError

from recsys.arrays import Float32
from recsys.errors import unknown_choice
from recsys.mapping import load_mapped
from recsys.sections import Section
from recsys.settings import describe
from recsys.tables import Table

Description = Mapping[str, Any]
"""What is said of one item: text, lists of text, numbers, by name."""


class Encoding(Protocol):
    """What turns descriptions into content vectors.

    Laws: a row of zeros where the item says nothing that it can use, and no other; the same description gives the
    same vector; a batch equals its items one by one up to rounding; nothing that a description holds makes it raise;
    what :meth:`arrays` gives and ``rule`` says is all that :meth:`of` needs.
    """

    kind: ClassVar[str]
    """Its name in the table of encodings."""
    Rule: ClassVar[Any]
    """The class of its numbers, a Section."""

    @property
    def rule(self) -> Section:
        """The numbers."""
        ...

    @property
    def width(self) -> int:
        """w, how long a vector is."""
        ...

    @property
    def reads(self) -> tuple[str, ...]:
        """The names in a description that a vector depends on; others change nothing."""
        ...

    def encode(self, items: Sequence[Description]) -> Float32:
        """A vector for each item, float32 (m, w), finite, of any length."""
        ...

    def arrays(self) -> Mapping[str, np.ndarray]:
        """What it needs beside the rule, by name; a ``/`` in a name is a folder."""
        ...

    @classmethod
    def of(cls, rule: Any, arrays: Mapping[str, np.ndarray]) -> Self:
        """Put it together. ValueError where an array is missing or does not fit."""
        ...


ENCODINGS: Table[type[Encoding]] = Table(
    "encoding",
    {
        "tfidf-svd": "recsys.encoding.tfidf_svd:TfidfSvd",
        "bag-of-words": "recsys.encoding.bag_of_words:BagOfWords",
        "wordllama": "recsys.encoding.wordllama:Wordllama",
        "tags": "recsys.encoding.tags:Tags",
        "numeric": "recsys.encoding.numeric:Numeric",
        "precomputed": "recsys.encoding.precomputed:Precomputed",
        "sentence-transformer": "recsys.encoding.sentence_transformer:SentenceTransformer",
        "mel-cnn": "recsys.encoding.mel_cnn:MelCnn",
        "concat": "recsys.encoding.concat:Concat",
    },
)


def describe_encoding(encoding: Encoding) -> dict[str, Any]:
    """The kind and the numbers of an encoding, as ``encoding.json`` keeps them."""
    return {"kind": encoding.kind, **encoding.rule.model_dump(mode="json")}


def encoding_of(described: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Encoding:
    """The encoding that :func:`describe_encoding` described. ValueError for an unknown kind or key."""
    numbers = dict(described)
    kind = numbers.pop("kind", None)
    if not isinstance(kind, str) or kind not in ENCODINGS:
        raise ValueError(unknown_choice("encoding", str(kind), ENCODINGS))
    encoding = ENCODINGS[kind]
    try:
        rule = encoding.Rule.model_validate(numbers)
    except ValidationError as error:
        raise ValueError(f"encoding {kind}: {describe(error)}") from error
    try:
        return encoding.of(rule, arrays)
    except KeyError as error:
        raise ValueError(f"encoding {kind} needs an array {error.args[0]!r}, there are {sorted(arrays)}") from error


def save_encoding(encoding: Encoding, folder: Path) -> None:
    """Write ``encoding.json`` and each array as ``NAME.npy`` into ``folder``, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in encoding.arrays().items():
        path = folder / f"{name}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, array, allow_pickle=False)
    described = json.dumps(describe_encoding(encoding), ensure_ascii=False, indent=2)
    (folder / "encoding.json").write_text(described + "\n", encoding="utf-8")


def load_encoding(folder: Path) -> Encoding:
    """What :func:`save_encoding` wrote, its arrays mapped. ValueError for an unknown kind, key or missing array."""
    described = json.loads((folder / "encoding.json").read_text(encoding="utf-8"))
    names = {path.relative_to(folder).with_suffix("").as_posix(): path for path in sorted(folder.rglob("*.npy"))}
    return encoding_of(described, {name: load_mapped(path) for name, path in names.items()})

"""Articles in personal libraries, with the words of title and abstract (Wang, Chen & Li 2013).

``text`` is the bag of words, each as often as it was counted: the order of the words is lost.
``citations`` are the ids of the articles that cite an article or that it cites; the file does not say which.
391 of the articles are in nobody's library.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from recsys.datasets import Dataset, Log
from recsys.datasets.ragged import events, grouped, ids, read_ragged
from recsys.sections import Kind


def _names(path: Path) -> list[str]:
    # not splitlines, which also splits at characters that names may hold
    return path.read_text("utf-8").removesuffix("\n").split("\n")


def _bags(path: Path, words: list[str]) -> list[str]:
    """Rows "count, then word:times" as texts."""
    texts = []
    for line in path.read_text("ascii").splitlines():
        _, *pairs = line.split()
        counted = (pair.split(":") for pair in pairs)
        texts.append(" ".join(" ".join([words[int(word)]] * int(times)) for word, times in counted))
    return texts


def _read(folder: Path) -> Log:
    folder /= "citeulike-t"
    libraries = read_ragged(folder / "users.dat", counted=True)
    texts = _bags(folder / "mult.dat", _names(folder / "vocabulary.dat"))
    # a row of this file is a tag: the other way round than in citeulike-a
    tagged = read_ragged(folder / "tag-item.dat", counted=True)
    tags = pd.Series(_names(folder / "tags.dat")).iloc[tagged.owners]
    cited = read_ragged(folder / "citations.dat", counted=True)
    items = pd.DataFrame(
        {
            "item_id": ids(np.arange(len(texts))),
            "text": pd.Series(texts, dtype="str"),
            "tags": grouped(tagged.values, tags, len(texts)),
            "citations": grouped(cited.owners, ids(cited.values), len(texts)),
        }
    )
    return Log("citeulike-t", events(libraries.owners, libraries.values, "save"), items, {"save": Kind()})


DATASET = Dataset(
    name="citeulike-t",
    title="CiteULike-t: saved articles with their words",
    home="https://github.com/js05212/citeulike-t",
    terms="none stated; research data",
    files=tuple(f"citeulike-t/{file}.dat" for file in ("users", "mult", "vocabulary", "tag-item", "tags", "citations")),
    users=7_947,
    items=25_975,
    events=134_860,
    read=_read,
)

"""The words of a text: one function, for learning and for answering.

Any language: words are runs of letters, marks and digits, folded in case; scripts that put no spaces between words
(Chinese, Japanese, Thai …) give pairs of neighbouring characters. HTML is taken out. What lies beyond ``LIMIT`` is
not read, so that a text of any size takes a bounded time.
"""

from __future__ import annotations

import html
import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from recsys.arrays import Float64
from recsys.encoding import Description
from recsys.encoding.terms import Terms, TermsRule

LIMIT = 100_000
"""Characters of an item that are read, over all its columns: some 16,000 words."""
TAG = re.compile(r"<(?=[a-zA-Z/!?])(/?)([a-zA-Z]*)[^<>]*>")
"""A tag, a comment or a declaration; ``3 < 4`` is none. No character is read twice."""
MOST = 1e15
"""Numbers from here on are not written out."""
UNREAD = frozenset({"script", "style"})
"""Elements of HTML whose text nobody reads."""
UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
"""Thai, Lao, Burmese, Khmer, Japanese syllables, Chinese characters."""


class WordsRule(TermsRule):
    """Which words are read."""

    noun: ClassVar[str] = "word"
    columns: tuple[str, ...] = Field(default=("title", "text"), min_length=1)
    """Columns of text, or of lists of text."""
    ngrams: int = Field(default=1, ge=1, le=2)
    """2: every two neighbouring words are a term as well."""

    def terms(self, item: Description) -> Terms:
        """How often an item has each word."""
        return Counter(words(text_of(item, self.columns), self.ngrams))

    def weights(self, counts: Float64) -> Float64:
        """1 + ln(times)."""
        return 1 + np.log(counts)


def text_of(item: Description, columns: Sequence[str], limit: int = LIMIT) -> str:
    r"""The texts of some columns one under the other; lists are joined, numbers written out, all else left away.

    >>> text_of({"title": "Alien", "genres": ["Horror", "Sci-Fi"], "text": None}, ["title", "genres", "text"])
    'Alien\nHorror\nSci-Fi'
    """
    parts: list[str] = []
    left = limit
    for column in columns:
        value = item.get(column)
        for part in value if isinstance(value, list | tuple) else (value,):
            if (text := written(part)) and left > 0:
                parts.append(text[:left])
                left -= len(text) + 1
    return "\n".join(parts)


def written(value: Any) -> str:
    """A text as it is, a number in digits; "" for anything else.

    >>> written(1995.0)
    '1995'
    """
    if isinstance(value, str):
        return value
    number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < MOST
    return format(value, ".15g") if number else ""


def plain(text: str) -> str:
    """The text without the tags, comments, scripts and entities of HTML.

    >>> plain("<p>Fish &amp; chips</p><script>alert(1)</script>, 3 < 4")
    ' Fish & chips  , 3 < 4'
    """
    if "<" in text:
        text = _untagged(text)
    return html.unescape(text) if "&" in text else text


def words(text: str, ngrams: int = 1) -> list[str]:
    """The words of a text in their order, and after them every two neighbours if ``ngrams`` is 2.

    >>> words("<b>The Étude's</b> 2nd PART", 2)
    ['the', 'étude', 's', '2nd', 'part', 'the étude', 'étude s', 's 2nd', '2nd part']
    >>> words("映画が好き")
    ['映画', '画が', 'が好', '好き']
    """
    text = plain(text[:LIMIT])
    if not text.isascii():
        text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
        text = text[:LIMIT]
        found: list[str] = []
        word, unspaced = _patterns()
        for each in word.findall(text):
            if each[0] > "\u0dff" and unspaced.fullmatch(each):
                found += [a + b for a, b in pairwise(each)] if len(each) > 1 else [each]
            else:
                found.append(each)
    else:
        found = re.findall(r"[a-z0-9]+", text.lower())
    return found + [f"{a} {b}" for a, b in pairwise(found)] if ngrams > 1 else found


def _untagged(text: str) -> str:
    """One pass; what a script or a style that is never closed holds is left away, as a browser does."""
    kept: list[str] = []
    at, inside = 0, ""
    for tag in TAG.finditer(text):
        closes, name = bool(tag[1]), tag[2].lower()
        if inside:
            if closes and name == inside:
                inside = ""
        else:
            kept.append(text[at : tag.start()])
            inside = name if name in UNREAD and not closes else ""
        at = tag.end()
    if not inside:
        kept.append(text[at:])
    return " ".join(kept)


@cache
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    r"""A word, and a run without spaces. Python's ``\w`` lacks the marks that vowels are in the scripts of India."""
    marks = "".join(
        re.escape(chr(point))
        for point in range(0x300, min(0x20000, sys.maxunicode))
        if unicodedata.category(chr(point)).startswith("M")
    )
    # a word without spaces ends where another script begins
    return (
        re.compile(rf"[{UNSPACED}]+|(?:(?![{UNSPACED}])[^\W_])(?:(?![{UNSPACED}])(?:[^\W_]|[{marks}]))*"),
        re.compile(rf"[{UNSPACED}]+"),
    )

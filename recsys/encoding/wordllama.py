"""Static vectors of the tokens of a text, averaged: WordLlama, Miller (2024), of a table that the release holds.

What the package of that name does, on the same table and by the same tokenizer, but without the package: a release
needs neither the wheel that it was made with nor one of the same version. The tokenizer is the library ``tokenizers``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from pydantic import Field
from tokenizers import Tokenizer

from recsys.arrays import Float32, UInt8
from recsys.encoding import Description
from recsys.encoding.problems import SILENT, says
from recsys.encoding.words import plain, text_of
from recsys.sections import Section

BLOCK = 256
"""Texts that are cut into tokens at once."""


class WordllamaRule(Section):
    """Which texts are read."""

    columns: tuple[str, ...] = Field(default=("title", "text"), min_length=1)
    """Columns of text, or of lists of text."""
    version: str
    """That of the wheel whose table this is."""


@dataclass(frozen=True, slots=True, eq=False)
class Wordllama:
    """The mean of the vectors of a text's tokens.

    ``table``: float16 (tokens, w). ``spelling``: uint8, the tokenizer as JSON.
    """

    kind: ClassVar[str] = "wordllama"
    Rule: ClassVar[type[WordllamaRule]] = WordllamaRule

    rule: WordllamaRule
    table: np.ndarray
    spelling: UInt8
    tokenizer: Tokenizer

    @classmethod
    def of(cls, rule: WordllamaRule, arrays: Mapping[str, np.ndarray]) -> Wordllama:
        """ValueError for a tokenizer that cannot be read, or that knows more tokens than the table."""
        table, spelling = arrays["table"], arrays["tokenizer"]
        try:
            tokenizer = Tokenizer.from_buffer(spelling.tobytes())
        except Exception as error:  # the library raises nothing narrower
            raise ValueError(f"the tokenizer cannot be read: {error}") from error
        if tokenizer.get_vocab_size() > len(table):
            raise ValueError(f"there are {tokenizer.get_vocab_size()} tokens, but {len(table)} vectors")
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return cls(rule, table, spelling, tokenizer)

    def arrays(self) -> Mapping[str, np.ndarray]:
        """The table and the tokenizer."""
        return {"table": self.table, "tokenizer": self.spelling}

    @property
    def width(self) -> int:
        """How long the vector of a token is."""
        return int(self.table.shape[1])

    @property
    def reads(self) -> tuple[str, ...]:
        """The columns of text."""
        return self.rule.columns

    def problems(self, item: Description) -> dict[str, str]:
        """See :class:`recsys.encoding.problems.Explains`."""
        return unreadable(item, self.rule.columns)

    def encode(self, items: Sequence[Description]) -> Float32:
        """Vectors float32 (m, w); zeros for a text without a letter or a digit."""
        vectors = np.zeros((len(items), self.width), np.float32)
        for low in range(0, len(items), BLOCK):
            texts = [readable(text_of(item, self.rule.columns)) for item in items[low : low + BLOCK]]
            encoded = self.tokenizer.encode_batch_fast(texts, add_special_tokens=False)
            for place, (text, tokens) in enumerate(zip(texts, encoded, strict=True)):
                if text and tokens.ids:
                    vectors[low + place] = self.table[tokens.ids].mean(axis=0, dtype=np.float32)
        return vectors


def unreadable(item: Description, columns: Sequence[str]) -> dict[str, str]:
    """The columns of text that cannot be read, and why."""
    return {
        name: "no letter or digit in it" if says(item.get(name)) else SILENT
        for name in columns
        if not readable(text_of(item, (name,)))
    }


def readable(text: str) -> str:
    """The text without HTML and halves of characters; "" if it has no letter and no digit."""
    text = plain(text)
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode()
    return text if any(map(str.isalnum, text)) else ""

"""The table and the tokenizer of the wordllama wheel, offline. Nothing is learned."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from recsys.encoding import Description
from recsys.encoding.wordllama import Wordllama, WordllamaRule
from training.encoders import Encoder
from training.models import Progress, silent

WIDTH = 256
"""Of the vectors in the wheel; a vector's first 64 or 128 numbers were learned to do alone (Matryoshka)."""


class WordllamaEncoder(Encoder):
    """The mean of what a language model's tokens stand for, from a table of 32,000 (Miller 2024)."""

    columns: tuple[str, ...] = Field(default=("title", "text"), min_length=1)
    """Columns of text, or of lists of text."""
    width: Literal[64, 128, 256] = 256
    """w, how many numbers of each token are used."""

    def fit(
        self,
        items: Sequence[Description],  # noqa: ARG002
        rng: np.random.Generator,  # noqa: ARG002
        *,
        threads: int,  # noqa: ARG002
        progress: Progress = silent,
    ) -> Wordllama:
        """Copy the table, 16 MB at full width, and the tokenizer, 2 MB: a release holds them."""
        handlers, level = logging.root.handlers[:], logging.root.level
        import wordllama  # noqa: PLC0415  it configures the log of the whole process, which is put back

        logging.root.handlers[:] = handlers
        logging.root.setLevel(level)
        model = wordllama.WordLlama.load(dim=WIDTH, cache_dir=Path(wordllama.__file__).parent, disable_download=True)
        spelling = model.tokenizer.to_str().encode()
        progress(1.0)
        return Wordllama.of(
            WordllamaRule(columns=self.columns, version=version("wordllama")),
            {
                # as it lies in the wheel: halves, which the package widens when it loads them
                "table": np.ascontiguousarray(model.embedding[:, : self.width], dtype=np.float16),
                "tokenizer": np.frombuffer(spelling, np.uint8),
            },
        )

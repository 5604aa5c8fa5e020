"""What learns content vectors from descriptions of items. To add an encoder: one file and one line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from recsys.arrays import Float32
from recsys.encoding import Description, Encoding
from recsys.sections import Section
from recsys.tables import Table
from training.config import configured
from training.models import Progress, silent


class Encoder(Section):
    """A frozen configuration that can fit; it keeps no state.

    Laws: the same items, configuration and generator state give the same bits; what is fitted encodes as it does after
    it was saved and loaded. TrainingError where nothing can be learned.
    """

    def fit(
        self, items: Sequence[Description], rng: np.random.Generator, *, threads: int, progress: Progress = silent
    ) -> Encoding:
        """Learn from ``items`` with this many threads, 0 for all cores."""
        raise NotImplementedError

    def refined(
        self,
        encoding: Any,
        items: Sequence[Description],  # noqa: ARG002
        directions: Float32,  # noqa: ARG002
        weights: Float32,  # noqa: ARG002
        rng: np.random.Generator,  # noqa: ARG002
        *,
        threads: int,  # noqa: ARG002
        progress: Progress = silent,
    ) -> Encoding:
        """What :meth:`fit` learned, after a look at where interactions put m items; for most encoders as it was.

        ``directions``: float32 (m, d), of length one. ``weights``: float32 (m,), above 0, how sure each is. A new
        encoding gives no zeros where the old one gave none.
        """
        progress(1.0)
        found: Encoding = encoding
        return found


ENCODERS: Table[type[Encoder]] = Table(
    "encoder",
    {
        "tfidf-svd": "training.encoders.tfidf_svd:TfidfSvdEncoder",
        "bag-of-words": "training.encoders.bag_of_words:BagOfWordsEncoder",
        "wordllama": "training.encoders.wordllama:WordllamaEncoder",
        "tags": "training.encoders.tags:TagsEncoder",
        "numeric": "training.encoders.numeric:NumericEncoder",
        "precomputed": "training.encoders.precomputed:PrecomputedEncoder",
        "sentence-transformer": "training.encoders.sentence_transformer:SentenceTransformerEncoder",
        "mel-cnn": "training.encoders.mel_cnn:MelCnnEncoder",
        "concat": "training.encoders.concat:ConcatEncoder",
    },
    extra="train",
)


def encoder_of(options: Mapping[str, Any]) -> Encoder:
    """The encoder of ``[content.encoder]``, ``tfidf-svd`` if unnamed; SettingsError as ``configured`` has it."""
    return configured(ENCODERS, options, "tfidf-svd", "content.encoder")

"""Texts through a language model of the BERT family, Devlin et al. (2019), in numpy: as sentence-transformers answers.

Reimers & Gurevych (2019) average the states of a text's tokens and scale the mean to length one. A release holds the
model's numbers, which every process maps, and its tokenizer, so a server needs the library ``tokenizers`` and no torch:
see docs/decisions/0016-sentence-transformers-in-numpy.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field
from tokenizers import Tokenizer

from recsys.arrays import Float32, Int64, UInt8, ranges
from recsys.encoding import Description
from recsys.encoding.wordllama import readable, unreadable
from recsys.encoding.words import text_of
from recsys.sections import Section

BLOCK = 256
"""Texts that are cut into tokens at once."""
TOKENS = 256
"""Tokens that go through the network at once, about: what they need fits a core's cache."""
ERF = tuple(np.float32(a) for a in (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592))
"""Of erf's approximation 7.1.26 in Abramowitz & Stegun (1964), which is off by 1.5e-7 at most."""


class SentenceTransformerRule(Section):
    """What the shapes of the parameters do not say."""

    columns: tuple[str, ...] = Field(default=("title", "text"), min_length=1)
    """Columns of text, or of lists of text."""
    model: str
    """The name of the model that this is."""
    heads: int = Field(ge=1)
    """Into how many parts attention divides a vector."""
    max_tokens: int = Field(ge=3)
    """A text's tokens beyond so many, with one that begins it and one that ends it, are not read."""
    pooling: Literal["mean", "first"] = "mean"
    """What stands for a text: the mean over its tokens, or the one that begins it."""
    epsilon: float = Field(default=1e-12, gt=0)
    """Added to the variance in layer norms."""


@dataclass(frozen=True, slots=True, eq=False)
class SentenceTransformer:
    """What the network makes of a text, at length one.

    ``parameters``: float32, by the names of ``ARRAYS``; "token" is (tokens, w), "position" is (max_tokens, w), and what
    begins with a layer's name has a first dimension for the layers. ``spelling``: uint8, the tokenizer as JSON.
    """

    kind: ClassVar[str] = "sentence-transformer"
    Rule: ClassVar[type[SentenceTransformerRule]] = SentenceTransformerRule
    ARRAYS: ClassVar[tuple[str, ...]] = (
        "token",
        "position",  # with what the model adds for a first text
        "norm_first_scale",  # (w,)
        "norm_first_shift",
        "attention_in",  # (layers, w, 3 w): queries, keys, values
        "attention_in_shift",
        "attention_out",
        "attention_out_shift",
        "norm_attention_scale",
        "norm_attention_shift",
        "forward_in",
        "forward_in_shift",
        "forward_out",
        "forward_out_shift",
        "norm_forward_scale",
        "norm_forward_shift",
    )

    rule: SentenceTransformerRule
    parameters: Mapping[str, Float32]
    spelling: UInt8
    tokenizer: Tokenizer

    @classmethod
    def of(cls, rule: SentenceTransformerRule, arrays: Mapping[str, np.ndarray]) -> SentenceTransformer:
        """ValueError for a tokenizer that cannot be read, or for numbers that do not fit it or each other."""
        parameters = {name: arrays[name] for name in cls.ARRAYS}
        spelling = arrays["tokenizer"]
        try:
            tokenizer = Tokenizer.from_buffer(spelling.tobytes())
        except Exception as error:  # the library raises nothing narrower
            raise ValueError(f"the tokenizer cannot be read: {error}") from error
        tokens, width = parameters["token"].shape
        if tokenizer.get_vocab_size() > tokens:
            raise ValueError(f"there are {tokenizer.get_vocab_size()} tokens, but {tokens} vectors")
        if len(parameters["position"]) < rule.max_tokens:
            raise ValueError(f"there are {len(parameters['position'])} positions, max_tokens is {rule.max_tokens}")
        if width % rule.heads:
            raise ValueError(f"vectors of width {width} cannot be divided among {rule.heads} heads")
        tokenizer.no_padding()
        tokenizer.enable_truncation(rule.max_tokens)
        return cls(rule, parameters, spelling, tokenizer)

    def arrays(self) -> Mapping[str, np.ndarray]:
        """The parameters and the tokenizer."""
        return {**self.parameters, "tokenizer": self.spelling}

    @property
    def width(self) -> int:
        """How long the vector of a token is."""
        return int(self.parameters["token"].shape[1])

    @property
    def reads(self) -> tuple[str, ...]:
        """The columns of text."""
        return self.rule.columns

    def problems(self, item: Description) -> dict[str, str]:
        """See :class:`recsys.encoding.problems.Explains`."""
        return unreadable(item, self.rule.columns)

    def encode(self, items: Sequence[Description]) -> Float32:
        """Vectors of length one, float32 (m, w); zeros for a text without a letter or a digit."""
        return self.encode_by(self.forward, items)

    def encode_by(self, forward: Callable[[Sequence[Int64]], Float32], items: Sequence[Description]) -> Float32:
        """The same where something else than :meth:`forward` does what it does, a GPU for one."""
        vectors = np.zeros((len(items), self.width), np.float32)
        for low in range(0, len(items), BLOCK):
            texts = [readable(text_of(item, self.rule.columns)) for item in items[low : low + BLOCK]]
            some = [place for place, text in enumerate(texts) if text]
            tokens = [np.array(found.ids) for found in self.tokenizer.encode_batch_fast([texts[i] for i in some])]
            if some:
                vectors[[low + place for place in some]] = forward(tokens)
        return vectors

    def forward(self, texts: Sequence[Int64]) -> Float32:
        """What stands for each text, float32 (m, w) of length one; ``texts``: the tokens of each, int64, at least one.

        Texts of alike length go together, end to end, so nothing is padded.
        """
        vectors = np.empty((len(texts), self.width), np.float32)
        order = np.argsort([len(text) for text in texts], kind="stable")
        ends = np.cumsum([len(texts[place]) for place in order])
        for part in np.split(order, np.flatnonzero(np.diff(ends // TOKENS)) + 1):
            vectors[part] = self._forward([texts[place] for place in part])
        return vectors

    def _forward(self, texts: Sequence[Int64]) -> Float32:
        p, epsilon = self.parameters, np.float32(self.rule.epsilon)
        lengths = np.array([len(text) for text in texts])
        x = p["token"][np.concatenate(texts)] + p["position"][ranges(lengths)]  # (t, w)
        x = _norm(x, p["norm_first_scale"], p["norm_first_shift"], epsilon)
        for i in range(len(p["attention_in"])):
            y = x @ p["attention_in"][i] + p["attention_in_shift"][i]
            y = self._attended(y, lengths) @ p["attention_out"][i]
            y += p["attention_out_shift"][i]
            x = _norm(x + y, p["norm_attention_scale"][i], p["norm_attention_shift"][i], epsilon)
            y = _gelu(x @ p["forward_in"][i] + p["forward_in_shift"][i]) @ p["forward_out"][i]
            y += p["forward_out_shift"][i]
            x = _norm(x + y, p["norm_forward_scale"][i], p["norm_forward_shift"][i], epsilon)
        starts = np.cumsum(lengths) - lengths
        pooled = x[starts]
        if self.rule.pooling == "mean":
            pooled = np.add.reduceat(x, starts) / lengths[:, None].astype(np.float32)
        unit: Float32 = pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
        return unit

    def _attended(self, y: Float32, lengths: Int64) -> Float32:
        """What each token takes from those of its text, float32 (t, w); ``y``: queries, keys, values, (t, 3 w)."""
        mixed = np.empty((len(y), self.width), np.float32)
        high = 0
        edges = [*(np.flatnonzero(np.diff(lengths)) + 1), len(lengths)]
        first = 0
        for last in edges:
            count, length = last - first, int(lengths[first])
            low, high, first = high, high + count * length, last
            parts = y[low:high].reshape(count, length, 3, self.rule.heads, -1)
            q, k, v = parts.transpose(2, 0, 3, 1, 4)  # (count, heads, length, w / heads) each
            scores: Float32 = np.matmul(q * np.float32(q.shape[-1] ** -0.5), k.swapaxes(-1, -2))
            scores -= scores.max(-1, keepdims=True)
            np.exp(scores, out=scores)
            scores /= scores.sum(-1, keepdims=True)
            mixed[low:high] = np.matmul(scores, v).transpose(0, 2, 1, 3).reshape(count * length, -1)
        return mixed


def _norm(x: Float32, scale: Float32, shift: Float32, epsilon: np.float32) -> Float32:
    """Mean 0 and variance 1 along the last dimension, then scaled and shifted."""
    x = x - x.mean(-1, keepdims=True)
    variance: Float32 = np.einsum("td,td->t", x, x)[:, None] / np.float32(x.shape[-1])
    x /= np.sqrt(variance + epsilon)
    x *= scale
    x += shift
    return x


def _gelu(x: Float32) -> Float32:
    """Hendrycks & Gimpel's (2016) x Φ(x), as max(x, 0) - |x| (1 - Φ(|x|)); over ten times as fast as scipy's erf."""
    size = np.abs(x)
    z = size * np.float32(0.5**0.5)
    t = np.float32(1) / (np.float32(0.3275911) * z + np.float32(1))
    y = t * ERF[0]
    for a in ERF[1:]:
        y += a
        y *= t
    np.multiply(z, -z, out=z)
    np.exp(z, out=z)
    y *= z
    y *= size
    y *= np.float32(0.5)
    active: Float32 = np.maximum(x, 0) - y
    return active

"""A user's vector from a causal transformer over their newest items: SASRec, Kang & McAuley (2018), in numpy alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from pydantic import Field

from recsys.arrays import Bool, Float32, Int32, Int64
from recsys.folding import check_replaced
from recsys.sections import Section

EPSILON = 1e-6
"""Added to the variance in layer norms, here and where the network is trained."""
CHUNK = 2048
"""Items that go through the network at once: what they need fits a core's cache."""


class TransformerRule(Section):
    """What the shapes of the parameters do not say."""

    heads: int = Field(default=1, ge=1)
    """Into how many parts attention divides a vector."""


@dataclass(frozen=True, slots=True, eq=False)
class Transformer:
    """The state at the newest item, which attends to those before it; a norm ahead of each layer and at the end.

    ``items``: float32 (n, d), what goes in, times √d, and what the result is multiplied with. ``parameters``: float32,
    by the names of ``ARRAYS``; "position" is (w, d), the rest begins with a dimension for the b blocks.

    Laws: the w newest items count, in their order, and their weights only by being above 0; no items, or weights of 0
    or less, is the zero vector.
    """

    kind: ClassVar[str] = "transformer"
    Rule: ClassVar[type[TransformerRule]] = TransformerRule
    ARRAYS: ClassVar[tuple[str, ...]] = (
        "position",
        "norm_attention_scale",
        "norm_attention_shift",
        "attention_in",  # (b, d, 3 d): queries, keys, values
        "attention_in_shift",
        "attention_out",
        "attention_out_shift",
        "norm_forward_scale",
        "norm_forward_shift",
        "forward_in",
        "forward_in_shift",
        "forward_out",
        "forward_out_shift",
        "norm_last_scale",  # (d,)
        "norm_last_shift",
    )

    items: Float32
    parameters: Mapping[str, Float32]
    rule: TransformerRule

    @classmethod
    def of(cls, items: Float32, rule: TransformerRule, arrays: Mapping[str, np.ndarray] | None = None) -> Transformer:
        """ValueError unless ``arrays`` has every parameter and the heads divide d."""
        arrays = arrays or {}
        if missing := [name for name in cls.ARRAYS if name not in arrays]:
            raise ValueError(f"a transformer needs {len(cls.ARRAYS)} arrays, but lacks {', '.join(missing)}")
        if items.shape[1] % rule.heads:
            raise ValueError(f"vectors of width {items.shape[1]} cannot be divided among {rule.heads} heads")
        return cls(items, {name: arrays[name] for name in cls.ARRAYS}, rule)

    def arrays(self) -> Mapping[str, np.ndarray]:
        """The parameters beside the item vectors."""
        return self.parameters

    def per_item(self) -> Mapping[str, Float32]:
        """The item vectors, which go in and are multiplied with what comes out."""
        return {"items": self.items}

    def replaced(self, vectors: Mapping[str, Float32]) -> Transformer:
        """As :class:`recsys.folding.Fold` says; the network stays."""
        return Transformer(check_replaced(self, vectors)["items"], self.parameters, self.rule)

    def fold(self, indptr: Int64, rows: Int32, weights: Float32) -> Float32:
        """Vectors of q users, float32 (q, d), as :class:`recsys.folding.Fold` says.

        Histories of one length go through together, so nothing is padded.
        """
        indptr, rows = _taken(indptr, rows, weights > 0)
        lengths = np.minimum(np.diff(indptr), len(self.parameters["position"]))
        vectors = np.zeros((len(lengths), self.items.shape[1]), np.float32)
        order = np.argsort(lengths, kind="stable")
        edges = np.flatnonzero(np.diff(lengths[order], prepend=-1))
        for low, high in zip(edges, [*edges[1:], len(order)], strict=True):
            length = int(lengths[order[low]])
            if length == 0:
                continue
            oldest_first = np.arange(length)[::-1]
            step = max(1, CHUNK // length)
            for first in range(low, high, step):
                some = order[first : min(high, first + step)]
                vectors[some] = self._last_states(rows[indptr[some][:, None] + oldest_first])
        return vectors

    def _last_states(self, histories: Int32) -> Float32:
        """The state at the last item of each, float32 (g, d); ``histories``: int32 (g, length), oldest first."""
        p, (_, length), d = self.parameters, histories.shape, self.items.shape[1]
        x = self.items[histories] * np.float32(d**0.5) + p["position"][:length]
        blocks = len(p["attention_in"])
        for b in range(blocks):
            y = _norm(x, p["norm_attention_scale"][b], p["norm_attention_shift"][b])
            if b == blocks - 1:
                # The answer is read at the last item alone: nothing else needs to go on.
                x = x[:, -1:]
            y = self._attended(y, b, queries=x.shape[1])
            x = x + _layer(y, p["attention_out"][b], p["attention_out_shift"][b])
            y = _norm(x, p["norm_forward_scale"][b], p["norm_forward_shift"][b])
            y = np.maximum(_layer(y, p["forward_in"][b], p["forward_in_shift"][b]), 0)
            x = x + _layer(y, p["forward_out"][b], p["forward_out_shift"][b])
        return _norm(x[:, 0], p["norm_last_scale"], p["norm_last_shift"])

    def _attended(self, y: Float32, block: int, queries: int) -> Float32:
        """What each of the last ``queries`` items takes from itself and those before it, float32 (g, queries, d)."""
        count, length, d = y.shape
        heads = self.rule.heads
        weight, shift = self.parameters["attention_in"][block], self.parameters["attention_in_shift"][block]
        q = _layer(y[:, length - queries :], weight[:, :d], shift[:d])
        q *= np.float32((d // heads) ** -0.5)
        kv = _layer(y, weight[:, d:], shift[d:])
        q = q.reshape(count, queries, heads, -1).transpose(0, 2, 1, 3)
        k = kv[:, :, :d].reshape(count, length, heads, -1).transpose(0, 2, 3, 1)
        v = kv[:, :, d:].reshape(count, length, heads, -1).transpose(0, 2, 1, 3)
        scores: Float32 = np.matmul(q, k)
        if queries > 1:
            scores += np.triu(np.full((length, length), -np.inf, np.float32), 1)
        scores -= scores.max(-1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(-1, keepdims=True)
        mixed: Float32 = np.matmul(scores, v).transpose(0, 2, 1, 3).reshape(count, queries, d)
        return mixed


def _taken(indptr: Int64, rows: Int32, kept: Bool) -> tuple[Int64, Int32]:
    """The histories without what is not ``kept``."""
    if kept.all():
        return indptr, rows
    before = np.concatenate([[0], np.cumsum(kept)])
    return before[indptr], rows[kept]


def _layer(x: Float32, weight: Float32, shift: Float32) -> Float32:
    """One product of two matrices, for x of any shape (…, d)."""
    y: Float32 = x.reshape(-1, x.shape[-1]) @ weight
    y += shift
    return y.reshape(*x.shape[:-1], -1)


def _norm(x: Float32, scale: Float32, shift: Float32) -> Float32:
    """Mean 0 and variance 1 along the last dimension, then scaled and shifted."""
    x = x - x.mean(-1, keepdims=True)
    variance: Float32 = np.einsum("...d,...d->...", x, x)[..., None] / np.float32(x.shape[-1])
    x /= np.sqrt(variance + np.float32(EPSILON))
    x *= scale
    x += shift
    return x

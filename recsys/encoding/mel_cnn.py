"""Sound through a small network of convolutions over time: van den Oord, Dieleman & Schrauwen (2013), in numpy alone.

Dieleman's account of it: "Recommending music on Spotify with deep learning" (2014). What learns it, in torch, is
:mod:`training.encoders.mel_cnn`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from pydantic import Field

from recsys.arrays import Float32, Int64, unit
from recsys.encoding import Description
from recsys.encoding.problems import SILENT
from recsys.encoding.spectrogram import BANDS, MEANING, Problem, file_of, read
from recsys.sections import Section

EPSILON = 1e-8
"""Added to the mean square ahead of its root, here and where the network is trained."""
CHUNK = 64
"""Windows that go through the network at once."""
TOGETHER = 1024
"""Windows of several items that are gathered first: 25 MB, and enough to keep a GPU busy."""


class MelCnnRule(Section):
    """What the shapes of the parameters do not say."""

    column: str = "mel"
    """Where a description has its spectrogram, or the name of a file: see :mod:`recsys.encoding.spectrogram`."""
    folder: str | None = None
    """Where files are; without it none is read. No name leads out of it."""
    window: int = Field(default=96, ge=1)
    """Frames that the network sees at once, 32 ms each; an item with fewer says nothing."""
    pools: tuple[int, ...] = Field(default=(4, 2, 1), min_length=1)
    """Behind each convolution the largest of so many neighbours in time is kept."""


@dataclass(frozen=True, slots=True, eq=False)
class MelCnn:
    """The mean over an item's windows of the network's answers, each of length one; brought to length one.

    A window is scaled by band, goes through convolutions over time with max-pooling behind each, then mean, maximum and
    root mean square over what time is left, then two dense layers. ``parameters``: float32, by the names of
    :meth:`names`; convolution i is (in, k, out), dense layers are (in, out).

    Windows lie evenly over each clip, as few as cover it.
    """

    kind: ClassVar[str] = "mel-cnn"
    Rule: ClassVar[type[MelCnnRule]] = MelCnnRule

    rule: MelCnnRule
    parameters: Mapping[str, Float32]

    @staticmethod
    def names(convolutions: int) -> tuple[str, ...]:
        """Of the parameters of a network with so many convolutions."""
        layers = [*(f"convolution_{i}" for i in range(convolutions)), "dense_0", "dense_1"]
        return ("mean", "deviation", *(name for layer in layers for name in (layer, f"{layer}_shift")))

    @classmethod
    def of(cls, rule: MelCnnRule, arrays: Mapping[str, np.ndarray]) -> MelCnn:
        """ValueError for layers that do not fit on each other, or a window that nothing is left of."""
        parameters = {name: arrays[name] for name in cls.names(len(rule.pools))}
        width = BANDS
        for i in range(len(rule.pools)):
            width = _fitting(parameters, f"convolution_{i}", width)
        _fitting(parameters, "dense_1", _fitting(parameters, "dense_0", 3 * width))
        if (
            frames_left(rule.window, [parameters[f"convolution_{i}"].shape[1] for i in range(len(rule.pools))], rule)
            < 1
        ):
            raise ValueError(f"a window of {rule.window} frames is too short for the layers: nothing is left of it")
        return cls(rule, parameters)

    def arrays(self) -> Mapping[str, np.ndarray]:
        """The parameters."""
        return self.parameters

    @property
    def width(self) -> int:
        """As many numbers as the last layer gives."""
        return int(self.parameters["dense_1"].shape[1])

    @property
    def reads(self) -> tuple[str, ...]:
        """The spectrogram alone."""
        return (self.rule.column,)

    def files(self, item: Description) -> list[Path]:
        """The file that an item names, if it is there."""
        said = item.get(self.rule.column)
        file = file_of(said, self._folder) if isinstance(said, str) and said.strip() else None
        return [file] if isinstance(file, Path) else []

    def encode(self, items: Sequence[Description]) -> Float32:
        """Vectors of length one, float32 (m, w); zeros for an item that has :meth:`problems`."""
        return self.encode_by(self.forward, items)

    def encode_by(self, forward: Callable[[Float32], Float32], items: Sequence[Description]) -> Float32:
        """The same where something else than :meth:`forward` does what it does, a GPU for one."""
        vectors = np.zeros((len(items), self.width), np.float32)
        waiting: list[tuple[int, Float32]] = []
        for place, item in enumerate(items):
            clips = self._read(item)
            if not isinstance(clips, str):
                waiting.append((place, windows_of(clips, self.rule.window)))
            if waiting and (place + 1 == len(items) or sum(len(windows) for _, windows in waiting) >= TOGETHER):
                answers = forward(np.concatenate([windows for _, windows in waiting]))
                ends = np.cumsum([len(windows) for _, windows in waiting])
                for (at, _), own in zip(waiting, np.split(answers, ends[:-1]), strict=True):
                    vectors[at] = own.mean(axis=0)
                waiting = []
        return unit(vectors)

    def problems(self, item: Description) -> dict[str, str]:
        """See :class:`recsys.encoding.problems.Explains`."""
        found = self._read(item)
        if not isinstance(found, str):
            return {}
        return {self.rule.column: SILENT if found == "nothing said" else f"{found}: {MEANING[found]}"}

    def forward(self, windows: Float32) -> Float32:
        """The answer for each window, float32 (g, w) of length one; ``windows``: float32 (g, 64, window) in dB."""
        return np.concatenate([self._forward(windows[low : low + CHUNK]) for low in range(0, len(windows), CHUNK)])

    def _read(self, item: Description) -> Float32 | Problem:
        return read(item.get(self.rule.column), self.rule.window, self._folder)

    @property
    def _folder(self) -> Path | None:
        return None if self.rule.folder is None else Path(self.rule.folder)

    def _forward(self, windows: Float32) -> Float32:
        p = self.parameters
        x = (windows - p["mean"][:, None]) / p["deviation"][:, None]
        x = np.ascontiguousarray(x.transpose(0, 2, 1))  # (g, t, bands)
        for i, pool in enumerate(self.rule.pools):
            weight, shift = p[f"convolution_{i}"], p[f"convolution_{i}_shift"]
            seen = np.lib.stride_tricks.sliding_window_view(x, weight.shape[1], axis=1)  # (g, t, in, k)
            y = seen.reshape(-1, weight.shape[0] * weight.shape[1]) @ weight.reshape(-1, weight.shape[2])
            y = y.reshape(len(x), seen.shape[1], -1)
            # The largest first: adding the shift and cutting at 0 does not change which that is.
            y = y[:, : y.shape[1] // pool * pool].reshape(len(x), -1, pool, y.shape[2]).max(axis=2)
            y += shift
            x = np.maximum(y, 0, out=y)
        squares = np.einsum("gtc,gtc->gc", x, x) / np.float32(x.shape[1])
        pooled = np.concatenate([x.mean(axis=1), x.max(axis=1), np.sqrt(squares + np.float32(EPSILON))], axis=1)
        hidden = np.maximum(pooled @ p["dense_0"] + p["dense_0_shift"], 0)
        return unit(hidden @ p["dense_1"] + p["dense_1_shift"])


def windows_of(clips: Float32, window: int) -> Float32:
    """As few windows as cover each clip, float32 (g, 64, window), laid evenly; ``clips``: float32 (c, 64, frames)."""
    frames = clips.shape[2]
    starts: Int64 = np.linspace(0, frames - window, -(-frames // window)).round().astype(np.int64)
    return np.concatenate([clips[:, :, start : start + window] for start in starts])


def frames_left(window: int, kernels: Iterable[int], rule: MelCnnRule) -> int:
    """How many places in time are left of a window behind the last convolution."""
    for kernel, pool in zip(kernels, rule.pools, strict=True):
        window = max(0, window - kernel + 1) // pool
    return window


def _fitting(parameters: Mapping[str, Float32], name: str, width: int) -> int:
    """How many numbers a layer gives. ValueError unless it takes ``width`` and its shift is as wide as it."""
    weight, shift = parameters[name], parameters[f"{name}_shift"]
    if weight.shape[0] != width or shift.shape != weight.shape[-1:]:
        raise ValueError(f"{name} is {weight.shape} with a shift of {shift.shape}, but {width} numbers come in")
    return int(weight.shape[-1])

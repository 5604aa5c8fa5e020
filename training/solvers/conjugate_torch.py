"""Conjugate gradients in torch, many lines at once: for a GPU; on the processor it is there to be compared with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from recsys.arrays import Float32, Int64
from recsys.errors import SettingsError
from training.solvers import Half

GATHERED = 2**26
"""Numbers of fixed vectors gathered at once: 256 MiB of float32."""


@dataclass(frozen=True, slots=True)
class Torch:
    """Lines of alike length are padded to one rectangle and solved together."""

    device: str

    def improve(self, half: Half, solved: Float32, fixed: Float32, steps: int, threads: int) -> None:
        """See :class:`training.solvers.Solver`. SettingsError where the device is not there."""
        if self.device == "cuda" and not torch.cuda.is_available():
            raise SettingsError("[model]: device is 'cuda', but torch sees no GPU here: use 'auto' or 'cpu'")
        before = torch.get_num_threads()
        torch.set_num_threads(threads or before)
        try:
            self._improve(half, solved, fixed, steps)
        finally:
            torch.set_num_threads(before)

    def _improve(self, half: Half, solved: Float32, fixed: Float32, steps: int) -> None:
        y = torch.from_numpy(fixed).to(self.device)
        gram = (y.T @ y) * half.unobserved
        order, counts = half.longest_first, half.counts
        filled = int((counts > 0).sum())
        solved[order[filled:]] = 0
        at = 0
        while at < filled:
            size = max(1, GATHERED // (int(counts[order[at]]) * fixed.shape[1]))
            lines = order[at : min(at + size, filled)]
            # Padding costs what it holds: no line is padded to more than twice its length and some.
            lines = lines[2 * counts[lines] + 8 >= counts[lines[0]]]
            solved[lines] = self._solved(half, lines, torch.from_numpy(solved[lines]), y, gram, steps)
            at += len(lines)

    def _solved(
        self, half: Half, lines: Int64, start: torch.Tensor, y: torch.Tensor, gram: torch.Tensor, steps: int
    ) -> Float32:
        """The lines improved, float32 (b, d)."""
        counts = half.counts[lines]
        slots = np.arange(counts.max())
        real = slots < counts[:, None]
        at = np.where(real, half.indptr[lines][:, None] + slots, 0)
        weights = torch.from_numpy(np.where(real, half.weights[at], np.float32(0))).to(self.device)
        taken = y[torch.from_numpy(half.indices[at]).to(self.device).long()]  # (b, m, d)
        ridge = torch.from_numpy(half.ridge[lines]).to(self.device)[:, None]

        def left_side(x: torch.Tensor) -> torch.Tensor:
            said = torch.bmm(taken, x[:, :, None])[:, :, 0] * weights
            return x @ gram + ridge * x + torch.bmm(said[:, None, :], taken)[:, 0]

        x = start.to(self.device)
        residual = torch.bmm(weights[:, None, :], taken)[:, 0] - left_side(x)
        direction, size = residual.clone(), (residual**2).sum(1, keepdim=True)
        for _ in range(steps):
            product = left_side(direction)
            # A line that is solved has nothing left to go by: it stays where it is.
            step = torch.where(size > 1e-20, size / (direction * product).sum(1, keepdim=True).clamp_min(1e-38), 0)
            x = x + step * direction
            residual = residual - step * product
            new = (residual**2).sum(1, keepdim=True)
            direction = residual + torch.where(size > 1e-20, new / size.clamp_min(1e-38), 0) * direction
            size = new
        improved: Float32 = x.cpu().numpy()
        return improved


CPU, CUDA = Torch("cpu"), Torch("cuda")

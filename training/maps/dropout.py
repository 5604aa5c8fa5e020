"""Torch's dropout as it is, but drawn on the processor: a GPU leaves out the same numbers."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Dropout(nn.Dropout):
    """Zeros in a share of places while it is trained, the rest scaled up; drawn by torch's own generator."""

    def forward(self, x: Tensor) -> Tensor:
        """``x`` with other zeros each time."""
        if not self.training or not self.p:
            return x
        return x * nn.functional.dropout(torch.ones(x.shape), self.p).to(x.device)

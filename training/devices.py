"""Where torch computes: on a GPU if there is one, and with how many threads otherwise.

What is random is drawn on the processor, so that both see the same numbers; sums are rounded in another order.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def fastest_device() -> torch.device:
    """A CUDA device if this machine has one, else the processor."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """So many threads for torch, all 32 bits of every number, on a GPU too.

    0 is one thread: steps are so small that on busy cores a second costs more than it brings.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads or 1)
    try:
        # products of matrices are so by default, convolutions are not
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            yield
    finally:
        torch.set_num_threads(before)

"""Where torch computes: on a GPU if there is one, and with how many threads otherwise.

What is random is drawn on the processor, so that both see the same numbers; sums are rounded in another order.
``CUDA_VISIBLE_DEVICES=""`` in the environment hides the GPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

DRIVERS = ("/dev/nvidiactl", "/proc/driver/nvidia", "/dev/dxg", "/dev/kfd")
"""Where the driver of a GPU shows itself: NVIDIA's, also inside Windows, and AMD's."""


def fastest_device() -> str:
    """``cuda`` if torch is installed and sees a GPU, else ``cpu``."""
    # Importing torch takes seconds, so it is asked only where a driver is.
    if find_spec("torch") is None or not any(Path(driver).exists() for driver in DRIVERS):
        return "cpu"
    return "cuda" if import_module("torch.cuda").is_available() else "cpu"


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """So many threads for torch, all 32 bits of every number, on a GPU too.

    0 is one thread: steps are so small that on busy cores a second costs more than it brings.
    """
    # Whoever only asks for the device needs no torch, and servers must not reach it.
    torch = import_module("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(threads or 1)
    try:
        # products of matrices are so by default, convolutions are not
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            yield
    finally:
        torch.set_num_threads(before)

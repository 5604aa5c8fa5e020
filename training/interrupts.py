"""Ctrl-C where it can be dealt with."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self


class Interrupts:
    """As long as it is entered, SIGINT raises KeyboardInterrupt inside :meth:`heeded` and is only noted elsewhere.

    So nothing is torn in the middle of its being written. ``asked``: whether it came. Outside of the main thread, where
    no signal arrives, it does nothing.
    """

    def __init__(self) -> None:
        self.asked = False
        self._heeded = False
        self._before: Any = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._heard)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    @contextmanager
    def heeded(self) -> Iterator[None]:
        """What may be broken off."""
        self._heeded = True
        try:
            if self.asked:
                raise KeyboardInterrupt
            yield
        finally:
            self._heeded = False

    def _heard(self, *_: object) -> None:
        self.asked = True
        if self._heeded:
            raise KeyboardInterrupt

"""What a long job tells the person who waits for it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from training.models import Progress as Share
from training.models import silent


class Watcher(Protocol):
    """Follows a job through its stages."""

    def stage(self, name: str) -> AbstractContextManager[Share]:
        """Enter a stage; what it yields is told the share that is done."""
        ...

    def note(self, text: str) -> None:
        """One line that stays."""
        ...


class Unwatched:
    """Nobody waits, or standard output is for a machine."""

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[Share]:  # noqa: ARG002
        """Say nothing."""
        yield silent

    def note(self, text: str) -> None:
        """Say nothing."""


class Rate(ProgressColumn):
    """How much of the stage a second does."""

    def render(self, task: Task) -> Text:
        """Nothing until it is known."""
        return Text(f"{task.speed:.0%}/s" if task.speed else "", style="progress.data.speed")


class Terminal:
    """A bar for each stage while it runs, with rate and time left, and a line with its seconds when it is done."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[Share]:
        """Show the bar; on a pipe only the line at the end."""
        start = time.monotonic()
        bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description:<12}"),
            BarColumn(),
            TaskProgressColumn(),
            Rate(),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
        )
        with bar:
            task = bar.add_task(name, total=None)

            def progress(share: float) -> None:
                bar.update(task, total=1.0, completed=share)

            yield progress
        self._console.print(f"[green]✓[/] {name:<12} [dim]{time.monotonic() - start:6.2f} s[/]")

    @contextlib.contextmanager
    def search(self, name: str) -> Iterator[Callable[[float, float | None], None]]:
        """A bar for a search: told the share that is done and the best so far, it shows these and the time left."""
        bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description:<12}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("best {task.fields[best]}"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
        )
        with bar:
            task = bar.add_task(name, total=1.0, best="–")

            def told(share: float, best: float | None) -> None:
                bar.update(task, completed=share, best="–" if best is None else f"{best:.5f}")

            yield told

    def note(self, text: str) -> None:
        """One line, dimmed."""
        self._console.print(f"  [dim]{text}[/]")

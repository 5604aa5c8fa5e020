"""The ``recsys`` command: the only package here that reaches upward, and only inside its commands.

To add a command: a function in the module of its group, with its help and examples.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.text import Text

from recsys import __version__
from recsys.cli import bench_stream, data, evaluation, log, loop, playlists, release, stream, tune
from recsys.errors import RecsysError, SettingsError

app = typer.Typer(
    help="A recommendation engine: learn from an event log, publish releases, serve in milliseconds.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(loop.app)
app.add_typer(evaluation.app)
evaluation.bench_app.add_typer(bench_stream.app)
app.add_typer(tune.app)
app.add_typer(data.app, name="data")
app.add_typer(release.app, name="release")
app.add_typer(stream.app, name="stream")
app.add_typer(log.app, name="log")
app.add_typer(playlists.app, name="playlists")


def main() -> None:
    """Run the command line; a RecsysError becomes one sentence on standard error and exit code 1."""
    try:
        _check_siblings()
        app()
    except RecsysError as error:
        Console(stderr=True).print(Text.assemble(("error: ", "bold red"), str(error)), soft_wrap=True)
        sys.exit(1)


@app.callback(invoke_without_command=True)
def version(
    *, show: Annotated[bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)] = False
) -> None:
    """Options of the program itself."""
    if show:
        typer.echo(__version__)
        raise typer.Exit


def _check_siblings() -> None:
    """The top-level packages have generic names: a foreign one of the same name must not answer for ours."""
    home = Path(__file__).resolve().parent.parent.parent
    for name in ("api", "index", "training"):
        spec = importlib.util.find_spec(name)
        found = Path(spec.origin).resolve().parent.parent if spec and spec.origin else None
        if found != home:
            _shadowed(name, home, found)


def _shadowed(name: str, home: Path, found: Path | None) -> NoReturn:
    raise SettingsError(
        f"package {name!r} should lie in {home} beside recsys, but "
        + (f"the one in {found} shadows it" if found else "it is not there")
        + ": run from another folder, or remove the other package from the path"
    )

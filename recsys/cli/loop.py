"""The loop: learn and publish, answer, and both at once to look at."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from recsys.cli.options import AsJson, Config, ConfigOption, Force, config_of, extra, print_json, settings_of
from recsys.errors import RecsysError
from recsys.releases import ReleaseStore
from recsys.settings import Settings
from recsys.terminal import print_release

app = typer.Typer()


@app.command(
    epilog="Examples: `recsys train` · `recsys train shop.toml --quarantine bad.csv` · `recsys train shop.toml --json`"
)
def train(
    config: Config = None,
    *,
    quarantine: Annotated[
        Path | None, typer.Option(help="Write bad rows here (.csv, .parquet) and go on without them, if they are few.")
    ] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Read, validate, fit, index, evaluate, gate and publish a release."""
    settings = settings_of(config)
    console = Console(stderr=as_json)
    outcome = _train(settings, console, quiet=as_json, quarantine=quarantine, force=force)
    manifest = outcome.release.manifest
    if as_json:
        print_json({"promoted": outcome.promoted, "states": outcome.states, **manifest.model_dump(mode="json")})
    else:
        print_release(console, outcome.release)
        state = "promoted" if outcome.promoted else "not promoted"
        console.print(f"release [bold]{outcome.release.id}[/] {state}, {outcome.states:,} users taken over")
    if not outcome.promoted:
        raise _refused(manifest.id, manifest.gate.findings)


@app.command(epilog="Examples: `recsys serve` · `recsys serve -c shop.toml --workers 2 --port 0`")
def serve(
    config: ConfigOption = None,
    *,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0: any free one.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that answer, sharing one memory map.", min=1)] = None,
) -> None:
    """Answer requests from the current release, following the pointer."""
    settings = settings_of(config)
    chosen = {"host": host, "port": port, "workers": workers}
    overrides = {key: value for key, value in chosen.items() if value is not None}
    settings = settings.model_copy(update={"serve": settings.serve.model_copy(update=overrides)})
    if ReleaseStore(settings.releases.folder).current_id() is None:
        Console(stderr=True).print(
            f"nothing is promoted in {settings.releases.folder} yet: /readyz answers 503 until `recsys train` is done",
            style="yellow",
        )
    _serve(settings, lambda address: typer.echo(f"serving at {address}  (Ctrl-C stops)"))


@app.command(epilog="Examples: `recsys demo` · `recsys demo --once` · `recsys demo --port 0`")
def demo(
    config: ConfigOption = None,
    *,
    once: Annotated[bool, typer.Option("--once", help="Ask for a few lists over HTTP, print them and stop.")] = False,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0: any free one.")] = None,
    as_json: AsJson = False,
) -> None:
    """Real data → train → publish → serve with an embedded Redis and a page to try it."""
    from recsys.demo import run

    settings = settings_of(config)
    console = Console(stderr=as_json)
    outcome = _train(settings, console, quiet=as_json, quarantine=None, force=False)
    if not outcome.promoted:
        raise _refused(outcome.release.id, outcome.release.manifest.gate.findings)
    if not as_json:
        print_release(console, outcome.release)
    port = 0 if once and port is None else port
    lists = run(config_of(config), port, outcome.release, console, once=once)
    if as_json:
        print_json({"release": outcome.release.id, "lists": lists})


def _train(settings: Settings, console: Console, *, quiet: bool, quarantine: Path | None, force: bool) -> Any:
    with extra("train"):
        from training.progress import Terminal, Unwatched
        from training.run import train as run

    return run(
        settings,
        now=datetime.now(UTC),
        environ=os.environ,
        watcher=Unwatched() if quiet else Terminal(console),
        quarantine=quarantine,
        force=force,
    )


def _serve(settings: Settings, announce: Callable[[str], None]) -> None:
    with extra("serve"):
        from api.server import serve as run

    run(settings, announce=announce)


def _refused(release: str, findings: Sequence[str]) -> RecsysError:
    from recsys.errors import GateRefused

    return GateRefused(
        f"release {release} was refused by the gate: {'; '.join(findings)}. The current release stays; "
        "`recsys release promote ID --force` if you know better"
    )

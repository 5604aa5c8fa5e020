"""``recsys stream``: what happens is applied, made again, and looked at."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from recsys.cli.options import AsJson, ConfigOption, extra, print_json, settings_of

app = typer.Typer(help="The speed layer: apply events, make states again, look how far it has come.")


@app.callback(
    invoke_without_command=True,
    epilog="Examples: `recsys stream` · `recsys stream -c shop.toml --metrics-port 9101` · `recsys stream status`",
)
def stream(
    context: typer.Context,
    config: ConfigOption = None,
    *,
    metrics_port: Annotated[
        int | None, typer.Option(help="Serve gauges to Prometheus on this port of 127.0.0.1.", min=1, max=65535)
    ] = None,
) -> None:
    """Apply what the event log holds to what is known of users, until stopped; as many at once as like."""
    if context.invoked_subcommand is not None:
        return
    settings = settings_of(config)
    with extra("serve"):
        from api.stream import stream as applied
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    console = Console()

    def announce(release: str) -> None:
        console.print(f"applying events: {release}", soft_wrap=True)

    counted = asyncio.run(applied(settings, announce=announce, metrics_port=metrics_port))
    console.print(_told(asdict(counted)), soft_wrap=True)


@app.command()
def rebuild(config: ConfigOption = None, *, as_json: AsJson = False) -> None:
    """Take all user states away and make them again from the archive and the log."""
    settings = settings_of(config)
    with extra("serve"):
        from api.stream import rebuilt
    counted = asdict(asyncio.run(rebuilt(settings)))
    if as_json:
        print_json(counted)
    else:
        Console().print(_told(counted), soft_wrap=True)


@app.command()
def status(config: ConfigOption = None, *, as_json: AsJson = False) -> None:
    """How far the speed layer has come: lag, rate, what is pending, what was put aside and why."""
    settings = settings_of(config)
    with extra("serve"):
        from api.stream import status as looked
    told = asyncio.run(looked(settings))
    if as_json:
        print_json(told)
        return
    table = Table("", "", show_header=False)
    for name, value in told.items():
        if name != "dead_letters":
            table.add_row(name.replace("_", " "), f"{value:,g}")
    console = Console()
    console.print(table)
    for letter in told["dead_letters"]:
        console.print(f"{letter['position']}: {letter['reason']}", soft_wrap=True, markup=False)


def _told(counted: dict[str, Any]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counted.items())

"""``recsys data``: public data sets, and the validation of one's own."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from recsys.cli.options import AsJson, ConfigOption, extra, print_json, settings_of
from recsys.sections import Data

app = typer.Typer(help="Public data sets, and the validation of your own.", no_args_is_help=True)


@app.command("list")
def data_list(*, as_json: AsJson = False) -> None:
    """The public data sets: what they are, their terms, and where their files are."""
    from recsys.datasets import status

    rows = status(os.environ)
    if as_json:
        print_json(
            [
                {
                    "name": row.name, "title": row.title, "terms": row.terms, "users": row.users, "items": row.items,
                    "events": row.events, "found": str(row.found) if row.found else None,
                    "missing": list(row.missing), "fetchable": row.fetchable,
                }
                for row in rows
            ]
        )  # fmt: skip
        return
    table = Table("name", "title", "users", "items", "events", "files", "terms")
    for row in rows:
        where = str(row.found) if row.found else "fetched when needed" if row.fetchable else "not here"
        counts = (f"{count:,}" for count in (row.users, row.items, row.events))
        table.add_row(row.name, row.title, *counts, where, row.terms)
    Console().print(table)


@app.command("fetch")
def data_fetch(name: Annotated[str, typer.Argument(help="A name of `recsys data list`.")] = "ml-100k") -> None:
    """Bring a data set's files here, if their terms and place allow it."""
    from recsys.datasets import fetch

    with Console(stderr=True).status(f"fetching {name}"):
        folder = fetch(name, os.environ)
    typer.echo(f"{name} is under {folder}")


@app.command("check", epilog="Examples: `recsys data check ml-100k` · `recsys data check -c shop.toml`")
def data_check(
    name: Annotated[str | None, typer.Argument(help="A data set; without it, what the configuration names.")] = None,
    config: ConfigOption = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Validate a log and its catalogue; exit code 1 and a table of what is wrong if anything is."""
    with extra("train"):
        from recsys import validation
        from training.data import read
        from training.progress import Terminal, Unwatched

    watcher = Unwatched() if as_json else Terminal(Console(stderr=True))
    log = read(settings_of(config).data if name is None else Data(dataset=name), os.environ, watcher)
    checked = validation.check(log.events, log.items, datetime.now(UTC))
    findings = [found for found in (checked.events, checked.items) if found]
    if as_json:
        print_json(
            {
                "counts": checked.counts,
                "window": [time.isoformat() if time else None for time in (checked.first, checked.last)],
                "findings": [finding for found in findings for finding in found.plain()],
            }
        )
    else:
        typer.echo("  ".join(f"{count:,} {what}" for what, count in checked.counts.items()))
        if checked.first and checked.last:
            typer.echo(f"from {checked.first:%Y-%m-%d} to {checked.last:%Y-%m-%d}")
        for found in findings:
            typer.echo(str(found))
        if not findings:
            typer.echo("nothing wrong")
    if findings:
        raise typer.Exit(1)

"""``recsys bench events`` and ``recsys bench drift``: what the speed layer costs, and how far it carries."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from recsys.cli.options import AsJson, deliver, extra, print_json

app = typer.Typer()


@app.command("events", epilog="Examples: `recsys bench events --json` · `recsys bench events --dataset ml-100k`")
def bench_events(
    *,
    items: Annotated[int, typer.Option(min=1000, help="Items of a synthetic release of 64 dimensions.")] = 100_000,
    users: Annotated[int, typer.Option(min=1000, help="Its users, and those that a new release takes over.")] = 100_000,
    dataset: Annotated[str | None, typer.Option(help="A public data set in its place, trained as the demo is.")] = None,
    seconds: Annotated[float, typer.Option(min=2, help="How long lists are watched.")] = 20.0,
    folder: Annotated[Path | None, typer.Option(help="Keep the document here as events.json.")] = None,
    as_json: AsJson = False,
) -> None:
    """What an event costs: how soon lists change, how many are accepted and applied, memory, a new release."""
    with extra("bench"):
        from benchmarks.events import measure
    deliver(measure(items=items, users=users, dataset=dataset, seconds=seconds), folder, "events", as_json=as_json)


@app.command("drift", epilog="Examples: `recsys bench drift` · `recsys bench drift ml-100k --json`")
def bench_drift(
    dataset: Annotated[str, typer.Argument(help="A data set with times.")] = "ml-100k",
    *,
    folder: Annotated[Path | None, typer.Option(help="Keep the document here as drift-DATASET.json.")] = None,
    as_json: AsJson = False,
) -> None:
    """How far folding in falls behind learning anew, by the age of the release."""
    with extra("train"):
        from benchmarks.content import keep
        from benchmarks.drift import measure
    document = measure(dataset, os.environ)
    if folder is not None:
        keep(document, folder, "drift")
    if as_json:
        print_json(document)
        return
    table = Table("days old", "users", "folded in", "learned anew", "without what came since", "lost")
    for row in document["ages"]:
        scores = [f"{row[name]:.4f}" for name in ("fold_in", "refit", "without")]
        table.add_row(str(row["age_days"]), str(row["users"]), *scores, f"{row['lost']:+.1%}")
    Console().print(f"{document['metric']} over {document['window_days']} days, {dataset}")
    Console().print(table)

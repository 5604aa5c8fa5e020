"""``recsys log``: what happened, archived and looked at."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from recsys.cli.options import AsJson, ConfigOption, print_json, settings_of
from recsys.logs import Entry, open_log
from recsys.logs.records import encode
from recsys.settings import Settings

if TYPE_CHECKING:
    from recsys.logs.archive import Archive
    from recsys.logs.archiver import Progress

app = typer.Typer(help="The log of what happened: archive it, and see how far its readers are.", no_args_is_help=True)


@app.command("archive", epilog="Examples: `recsys log archive` · `recsys log archive --once -c shop.toml`")
def log_archive(
    config: ConfigOption = None,
    *,
    once: Annotated[bool, typer.Option("--once", help="Archive what is there now and stop.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write the log to Parquet by day, and trim it of what is archived and in the user states.

    Without `--once` it goes on until it is stopped (Ctrl-C, SIGTERM), after the batch in hand. Several may run.
    """
    from recsys.barred import Barred
    from recsys.logs.archive import Archive

    settings = settings_of(config)
    archive = Archive(settings.log.archive, Barred(settings.log.erased))
    console = Console(stderr=True)
    with console.status("reading the log") as line:

        def told(progress: Progress) -> None:
            line.update(f"{progress.archived:,} records archived, {progress.trimmed:,} trimmed from the log")

        progress = asyncio.run(_archived(settings, archive, told, once=once))
    if as_json:
        print_json({**asdict(progress), "folder": str(archive.folder)})
        return
    typer.echo(
        f"{progress.archived:,} records archived in {archive.folder}, {progress.trimmed:,} trimmed from the log,"
        f" {progress.merged:,} files merged into others"
    )
    if progress.waiting:
        typer.echo(
            f"{progress.waiting:,} records are in the hands of an archiver that has not acknowledged them: they are"
            f" given to another {settings.log.claim_seconds:g} s after it was given them"
        )


@app.command("status", epilog="Examples: `recsys log status` · `recsys log status --json`")
def log_status(config: ConfigOption = None, *, as_json: AsJson = False) -> None:
    """How many records the log holds, how far the archiver and the speed layer have read, and what is archived."""
    from recsys.logs.archive import Archive
    from recsys.logs.archiver import NEEDED

    settings = settings_of(config)

    async def asked() -> dict[str, Any]:
        async with open_log(settings) as log:
            return {group: asdict(await log.status(group)) for group in NEEDED}

    groups = asyncio.run(asked())
    archive = Archive(settings.log.archive)
    days = archive.days()
    files = list(archive.folder.rglob("*.parquet"))
    held = {
        "folder": str(archive.folder),
        "days": len(days),
        "window": [str(days[0]), str(days[-1])] if days else None,
        "files": len(files),
        "bytes": sum(file.stat().st_size for file in files),
    }
    if as_json:
        print_json({"groups": groups, "archive": held})
        return
    table = Table("reader", "records in the log", "lag", "pending", "longest", "dead")
    for group, told in groups.items():
        counts = [f"{told[name]:,}" for name in ("length", "lag", "pending")]
        table.add_row(group, *counts, f"{told['oldest_pending']:.1f} s", f"{told['dead']:,}")
    Console().print(table)
    window = f", {days[0]} to {days[-1]}" if days else ""
    typer.echo(f"archived in {held['folder']}: {held['days']:,} days{window}, {held['bytes']:,} bytes")


@app.command("dead", epilog="Examples: `recsys log dead` · `recsys log dead archive --json`")
def log_dead(
    group: Annotated[str, typer.Argument(help="Whose: speed or archive.")] = "speed",
    config: ConfigOption = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Records that could not be applied and were put aside, with the reason of each."""

    async def asked() -> list[tuple[Entry, str]]:
        async with open_log(settings_of(config)) as log:
            return [found async for found in log.dead(group)]

    found = asyncio.run(asked())
    rows = [
        {
            "position": entry.position,
            "reason": reason,
            "record": (entry.stored if entry.record is None else encode(entry.record)).decode("utf-8", "replace"),
        }
        for entry, reason in found
    ]
    if as_json:
        print_json(rows)
        return
    table = Table("position", "reason", "record")
    for row in rows:
        table.add_row(*(escape(row[name]) for name in ("position", "reason", "record")))
    if rows:
        Console().print(table)
    else:
        typer.echo(f"{group} has put nothing aside")


async def _archived(settings: Settings, archive: Archive, told: Callable[[Progress], None], *, once: bool) -> Progress:
    from recsys.logs.archiver import archive_log

    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stopping.set)
    async with open_log(settings) as log:
        reader = f"{socket.gethostname()}-{os.getpid()}"
        return await archive_log(
            log, archive, reader, settings.log.claim_seconds, once=once, stopping=stopping, told=told
        )

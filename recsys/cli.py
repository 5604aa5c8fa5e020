"""The ``recsys`` command: the only module here that reaches upward, and only inside its commands."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from recsys import __version__
from recsys.errors import MissingExtra, RecsysError, SettingsError
from recsys.releases import ReleaseStore
from recsys.settings import Settings, load_settings
from recsys.terminal import print_release, verdict

app = typer.Typer(
    help="A recommendation engine: learn from an event log, publish releases, serve in milliseconds.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data_app = typer.Typer(help="Public data sets, and the validation of your own.", no_args_is_help=True)
release_app = typer.Typer(help="What is published: look, check, promote, roll back.", no_args_is_help=True)
app.add_typer(data_app, name="data")
app.add_typer(release_app, name="release")

Config = Annotated[
    Path | None,
    typer.Argument(help="recsys.toml; without it ./recsys.toml, else the demo's settings (MovieLens 100K)."),
]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", help="recsys.toml; without it ./recsys.toml, else the demo's settings.")
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on standard output, nothing else.")]
Force = Annotated[bool, typer.Option("--force", help="Promote whatever the gate says; that is recorded.")]
Id = Annotated[str, typer.Argument(help="The id of a release, as `recsys release list` shows it.")]


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
    settings = _settings(config)
    console = Console(stderr=as_json)
    outcome = _train(settings, console, quiet=as_json, quarantine=quarantine, force=force)
    manifest = outcome.release.manifest
    if as_json:
        _print_json({"promoted": outcome.promoted, "states": outcome.states, **manifest.model_dump(mode="json")})
    else:
        print_release(console, outcome.release)
        state = "promoted" if outcome.promoted else "not promoted"
        console.print(f"release [bold]{outcome.release.id}[/] {state}, {outcome.states:,} user states written")
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
    settings = _settings(config)
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

    settings = _settings(config)
    console = Console(stderr=as_json)
    outcome = _train(settings, console, quiet=as_json, quarantine=None, force=False)
    if not outcome.promoted:
        raise _refused(outcome.release.id, outcome.release.manifest.gate.findings)
    if not as_json:
        print_release(console, outcome.release)
    port = 0 if once and port is None else port
    lists = run(_config(config), port, outcome.release, console, once=once)
    if as_json:
        _print_json({"release": outcome.release.id, "lists": lists})


@data_app.command("list")
def data_list(*, as_json: AsJson = False) -> None:
    """The public data sets: what they are, their terms, and where their files are."""
    from recsys.datasets import status

    rows = status(os.environ)
    if as_json:
        _print_json(
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


@data_app.command("fetch")
def data_fetch(name: Annotated[str, typer.Argument(help="A name of `recsys data list`.")] = "ml-100k") -> None:
    """Bring a data set's files here, if their terms and place allow it."""
    from recsys.datasets import fetch

    with Console(stderr=True).status(f"fetching {name}"):
        folder = fetch(name, os.environ)
    typer.echo(f"{name} is under {folder}")


@data_app.command("check", epilog="Examples: `recsys data check ml-100k` · `recsys data check -c shop.toml`")
def data_check(
    name: Annotated[str | None, typer.Argument(help="A data set; without it, what the configuration names.")] = None,
    config: ConfigOption = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Validate a log and its catalogue; exit code 1 and a table of what is wrong if anything is."""
    with _extra("train"):
        from recsys import validation
        from recsys.datasets import load
        from recsys.events import read_events, read_items
        from training.data import DEFAULT_DATASET

    data = _settings(config).data
    if name is None and data.events:
        events, items = read_events(data), read_items(data)
    else:
        log = load(name or data.dataset or DEFAULT_DATASET, os.environ)
        events, items = log.events, log.items
    checked = validation.check(events, items, datetime.now(UTC))
    findings = [found for found in (checked.events, checked.items) if found]
    if as_json:
        _print_json(
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


@release_app.command("list")
def release_list(config: ConfigOption = None, *, as_json: AsJson = False) -> None:
    """All releases, oldest first, the current one marked."""
    store = ReleaseStore(_settings(config).releases.folder)
    current = store.current_id()
    rows: list[dict[str, Any]] = []
    for id_ in store.ids():
        row: dict[str, Any] = {"id": id_, "current": id_ == current}
        try:
            manifest = store.get(id_).manifest
            row |= {"gate": verdict(manifest.gate), **manifest.counts}
            row["ndcg@10"] = manifest.metrics["pipeline"]["ndcg@10"]["all"]
        except RecsysError as error:
            row["gate"] = str(error)
        rows.append(row)
    if as_json:
        _print_json(rows)
        return
    table = Table("", "release", "users", "items", "events", "NDCG@10", "gate")
    for row in rows:
        counts = [f"{row[key]:,}" if key in row else "" for key in ("users", "items", "events")]
        score = f"{row['ndcg@10']:.4f}" if row.get("ndcg@10") is not None else ""
        table.add_row("→" if row["current"] else "", row["id"], *counts, score, row["gate"])
    Console().print(table)


@release_app.command("show")
def release_show(
    release: Annotated[str | None, typer.Argument(help="An id; without it the current one.")] = None,
    config: ConfigOption = None,
    *,
    as_json: AsJson = False,
) -> None:
    """What a release is, where it came from and what it was measured to do."""
    store = ReleaseStore(_settings(config).releases.folder)
    found = store.get(release) if release else store.current()
    if as_json:
        _print_json(found.manifest.model_dump(mode="json"))
    else:
        print_release(Console(), found)


@release_app.command("verify")
def release_verify(release: Id, config: ConfigOption = None) -> None:
    """Read every file of a release and compare its checksum."""
    found = ReleaseStore(_settings(config).releases.folder).verify(release)
    typer.echo(f"{found.id}: {len(found.manifest.files)} files are as published")


@release_app.command("promote")
def release_promote(release: Id, config: ConfigOption = None, *, force: Force = False) -> None:
    """Point to a release; servers follow within their watch interval."""
    store = ReleaseStore(_settings(config).releases.folder)
    promoted = store.promote(release, now=datetime.now(UTC), force=force)
    typer.echo(f"{promoted.id} is current")


@release_app.command("rollback")
def release_rollback(
    to: Annotated[str | None, typer.Argument(help="An id; without it the one that was current before.")] = None,
    config: ConfigOption = None,
) -> None:
    """Go back to the release that was served before."""
    promoted = ReleaseStore(_settings(config).releases.folder).rollback(now=datetime.now(UTC), to=to)
    typer.echo(f"{promoted.id} is current")


@release_app.command("prune")
def release_prune(
    config: ConfigOption = None,
    *,
    keep: Annotated[int | None, typer.Option(help="How many to keep, the current one among them.", min=1)] = None,
) -> None:
    """Remove the oldest releases and the user vectors that lie in their spaces."""
    import asyncio

    from recsys.stores import open_store

    settings = _settings(config)
    releases = ReleaseStore(settings.releases.folder)

    async def forget(release: str) -> int:
        async with open_store(settings.state) as users:
            return await users.forget(release)

    with releases.publishing():
        gone = releases.outdated(keep or settings.releases.keep)
        # Vectors first: what a failure leaves can be pruned again.
        vectors = sum(asyncio.run(forget(release)) for release in gone)
        releases.remove(gone)
    typer.echo(f"{len(gone)} releases and {vectors:,} user vectors removed" + (f": {', '.join(gone)}" if gone else ""))


def _config(path: Path | None) -> Path | None:
    here = Path("recsys.toml")
    return path or (here if here.is_file() else None)


def _settings(path: Path | None) -> Settings:
    return load_settings(_config(path), os.environ)


def _train(settings: Settings, console: Console, *, quiet: bool, quarantine: Path | None, force: bool) -> Any:
    with _extra("train"):
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
    with _extra("serve"):
        from api.server import serve as run

    run(settings, announce=announce)


def _refused(release: str, findings: Sequence[str]) -> RecsysError:
    from recsys.errors import GateRefused

    return GateRefused(
        f"release {release} was refused by the gate: {'; '.join(findings)}. The current release stays; "
        "`recsys release promote ID --force` if you know better"
    )


def _print_json(content: object) -> None:
    typer.echo(json.dumps(content, indent=2, ensure_ascii=False))


@contextmanager
def _extra(name: str) -> Iterator[None]:
    """Imports of what one installation extra brings; a missing one says how to get it."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingExtra(f"{error.name}, which this command needs,", name) from error


def _check_siblings() -> None:
    """The top-level packages have generic names: a foreign one of the same name must not answer for ours."""
    home = Path(__file__).resolve().parent.parent
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

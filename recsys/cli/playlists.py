"""``recsys playlists``: the lists of a week, made in one night, looked at, published, taken back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from recsys.cli.options import AsJson, ConfigOption, Force, extra, print_json, settings_of
from recsys.errors import EditionRefused, RecsysError, SettingsError, unknown_choice
from recsys.playlists.editions import Edition, EditionStore, served, week_of
from recsys.releases import ReleaseStore
from recsys.sections import State
from recsys.settings import Settings

app = typer.Typer(help="Weekly playlists: make, look at, publish, take back.")
EditionId = Annotated[
    str | None, typer.Argument(help="An edition, such as 2026-W48 or 2026-W48.2; without it the newest one.")
]


@app.callback(
    invoke_without_command=True,
    epilog="Examples: `recsys playlists --week 2026-W48` · `recsys playlists --week 2026-W48 --sample 1000` · "
    "`recsys playlists status` · `recsys playlists publish 2026-W48`",
)
def playlists(
    context: typer.Context,
    config: ConfigOption = None,
    *,
    week: Annotated[str | None, typer.Option(help="Make this ISO week's lists, such as 2026-W48.")] = None,
    users: Annotated[
        Path | None, typer.Option(help="A file with user_id, and time_zone if you like: lists for these alone.")
    ] = None,
    segment: Annotated[
        str, typer.Option(help="Only those who took few, some or many items, or none (cold); a trial.")
    ] = "",
    sample: Annotated[int, typer.Option(help="Only so many, drawn at random; a trial.", min=0)] = 0,
    publish_: Annotated[bool, typer.Option("--publish", help="Publish what the gate lets pass.")] = False,
    force: Force = False,
    engine: Annotated[str, typer.Option(help="local, or spark.")] = "local",
    master: Annotated[str, typer.Option(help="With spark: the cluster, such as spark://host:7077.")] = "",
    as_json: AsJson = False,
) -> None:
    """Make the lists of a week from the current release; a run that was stopped goes on."""
    if context.invoked_subcommand is not None:
        context.obj = config
        return
    if week is None:
        raise typer.BadParameter("say which week to make, such as --week 2026-W48, or give a command")
    settings = settings_of(config)
    console = Console(stderr=as_json)
    outcome = _made(settings, week, (users, segment, sample), (engine, master), console, quiet=as_json)
    edition, quality = outcome.edition, outcome.edition.manifest.quality
    document = {"edition": edition.id, "made": outcome.made, **_document(edition), "published": False}
    if not as_json:
        _report(console, edition, made=outcome.made)
        _canaries(console, edition)
    if publish_ and (quality.passed or force):
        document["published"] = True
        _published(settings, edition.id, console, force=force)
    if as_json:
        print_json(document)
    # Who asks for a trial gets one; that is no failure.
    if not (quality.passed or force or (edition.manifest.plan.request.trial and not publish_)):
        raise EditionRefused(
            f"edition {edition.id} is made and may not be published: {'; '.join(quality.findings)}. Readers keep what "
            "they have"
        )
    if not (publish_ or as_json):
        console.print(f"not published yet: `recsys playlists publish {edition.id}`", style="dim")


@app.command("status", epilog="Examples: `recsys playlists status` · `recsys playlists status --json`")
def status(context: typer.Context, config: ConfigOption = None, *, as_json: AsJson = False) -> None:
    """All editions, what is served, and the runs that wait to be gone on with."""
    settings = settings_of(config or context.obj)
    store = EditionStore(settings.playlists.folder)
    current = set(served(store.published()).values())
    rows: list[dict[str, Any]] = []
    for id_ in store.ids():
        row: dict[str, Any] = {"edition": id_, "served": id_ in current}
        try:
            row |= _document(store.get(id_))
        except RecsysError as error:
            row["findings"] = [str(error)]
        rows.append(row)
    waiting = sorted(path.name.removeprefix(".making-") for path in store.folder.glob(".making-*"))
    if as_json:
        print_json({"editions": rows, "published": store.published(), "waiting": waiting})
        return
    table = Table("", "edition", "release", "users", "full", "coverage", "Gini", "gate")
    for row in rows:
        measured = row.get("measured", {})
        numbers = [f"{measured[name]:,}" if name in measured else "" for name in ("users", "full")]
        shares = [f"{measured[name]:.4f}" if name in measured else "" for name in ("coverage", "gini")]
        gate = "passed" if row.get("passed") else "refused: " + "; ".join(row["findings"])
        table.add_row("→" if row["served"] else "", row["edition"], row.get("release", ""), *numbers, *shares, gate)
    console = Console()
    console.print(table)
    for name in waiting:
        console.print(f"a run of {name} waits: `recsys playlists --week {name}` goes on with it")


@app.command("show", epilog="Examples: `recsys playlists show 196` · `recsys playlists show 196 --week 2026-W47`")
def show(
    context: typer.Context,
    user: Annotated[str, typer.Argument(help="A user.")],
    config: ConfigOption = None,
    *,
    week: Annotated[str | None, typer.Option(help="A week or an edition; without it the newest that is made.")] = None,
    as_json: AsJson = False,
) -> None:
    """A user's list with where each item came from and why."""
    settings = settings_of(config or context.obj)
    edition = _edition(EditionStore(settings.playlists.folder), week)
    rows = edition.read(user)
    if rows is None:
        raise RecsysError(f"{user!r} has no list in edition {edition.id}: it has {len(edition.users):,} users")
    if as_json:
        print_json({"edition": edition.id, "user": user, "items": rows})
        return
    _list(Console(), settings, edition, user, rows)


@app.command("publish", epilog="Examples: `recsys playlists publish` · `recsys playlists publish 2026-W48.2`")
def publish(
    context: typer.Context, edition: EditionId = None, config: ConfigOption = None, *, force: Force = False
) -> None:
    """Load an edition into Redis, point to it, and tell who is to be told."""
    settings = settings_of(config or context.obj)
    found = _edition(EditionStore(settings.playlists.folder), edition)
    _published(settings, found.id, Console(), force=force)


@app.command("undo", epilog="Example: `recsys playlists undo`")
def undo(context: typer.Context, config: ConfigOption = None) -> None:
    """Take back what was published last; readers get what they had before."""
    settings = settings_of(config or context.obj)
    gone, newest = EditionStore(settings.playlists.folder).undo(now=datetime.now(UTC))
    typer.echo(f"{gone} is not served any more; {newest or 'nothing'} is the newest that is")


@app.command("prune", epilog="Example: `recsys playlists prune --keep 8`")
def prune(
    context: typer.Context,
    config: ConfigOption = None,
    *,
    keep: Annotated[int, typer.Option(help="Of how many weeks editions are kept, the newest ones.", min=1)] = 8,
) -> None:
    """Delete the editions of old weeks, served or not; never those whose items must not be repeated yet."""
    settings = settings_of(config or context.obj)
    weeks = max(keep, settings.playlists.apart + 1)
    gone = EditionStore(settings.playlists.folder).prune(weeks, now=datetime.now(UTC))
    typer.echo(f"{len(gone)} editions removed" + (f": {', '.join(gone)}" if gone else ""))


@app.command("compare", epilog="Examples: `recsys playlists compare 2026-W47 2026-W48` · `… --json`")
def compare(
    context: typer.Context,
    first: Annotated[str, typer.Argument(help="An edition.")],
    second: Annotated[str, typer.Argument(help="Another one.")],
    config: ConfigOption = None,
    *,
    as_json: AsJson = False,
) -> None:
    """How much the lists of two editions have in common, and what each shows of the catalogue."""
    from recsys.playlists.comparing import compared

    settings = settings_of(config or context.obj)
    store = EditionStore(settings.playlists.folder)
    document = compared(store.get(first), store.get(second))
    if as_json:
        print_json(document)
        return
    table = Table("", first, second)
    for name, (one, other) in document["measured"].items():
        table.add_row(name, str(one), str(other))
    console = Console()
    console.print(table)
    console.print(
        f"{document['users']:,} users have a list in both; on average {document['overlap']:.1%} of the second list "
        f"stand in the first, {document['same']:,} lists are the same"
    )


@app.command(
    "export",
    epilog="Examples: `recsys playlists export lists.csv` · `recsys playlists export 196.m3u --user 196` · "
    "`recsys playlists export 196.jspf --user 196 --week 2026-W47`",
)
def export(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(help="Where to: .csv or .jsonl for all; .m3u or .jspf for one user.")],
    config: ConfigOption = None,
    *,
    user: Annotated[str | None, typer.Option(help="A user; without it everybody.")] = None,
    week: Annotated[str | None, typer.Option(help="A week or an edition; without it the newest that is made.")] = None,
) -> None:
    """Write lists for other programs."""
    from recsys.playlists.exports import write

    settings = settings_of(config or context.obj)
    edition = _edition(EditionStore(settings.playlists.folder), week)
    written = write(edition, path, user, ReleaseStore(settings.releases.folder))
    typer.echo(f"{written:,} items of edition {edition.id} written to {path}")


def _edition(store: EditionStore, wanted: str | None) -> Edition:
    """That edition, the one that is served of a week or its newest revision, or the newest of all."""
    ids = store.ids()
    if wanted is None and ids:
        return store.get(ids[-1])
    if wanted is not None and "." not in wanted and (of := store.of_week(week_of(wanted))):
        return store.get(served(store.published()).get(week_of(wanted), of[-1]))
    return store.get(wanted or "none")


def _made(
    settings: Settings,
    week: str,
    who: tuple[Path | None, str, int],
    how: tuple[str, str],
    console: Console,
    *,
    quiet: bool,
) -> Any:
    from index.exact import load_exact
    from index.growing import Growing
    from recsys.playlists.people import Chosen
    from recsys.playlists.runs import make
    from recsys.playlists.weeks import Week

    wanted, run = Week.parse(week), _run(*how, settings.playlists.processes)
    with reached(settings.state) as state, _progress(console, quiet=quiet) as told:
        try:
            return make(
                wanted,
                settings.playlists,
                ReleaseStore(settings.releases.folder),
                now=datetime.now(UTC),
                chosen=Chosen(*who),
                state=state,
                load_index=load_exact,
                grow=Growing.of,
                run=run,
                told=told,
            )
        except KeyboardInterrupt:
            console.print(f"stopped; `recsys playlists --week {week}` goes on where this stopped", style="yellow")
            raise typer.Exit(130) from None


def _run(engine: str, master: str, processes: int) -> Any:
    """What does the parts."""
    if engine == "spark":
        with extra("spark"):
            import pyspark  # noqa: F401  whether it is there

        from recsys.playlists.spark import Spark

        return Spark(master, processes)
    if engine != "local":
        raise SettingsError(unknown_choice("engine", engine, ("local", "spark")))
    from recsys.playlists.processes import Processes

    return Processes(processes)


@contextmanager
def reached(state: State) -> Iterator[State | None]:
    """Where other processes find the store; None for ``memory://``, which none can."""
    from recsys.stores.embedded import EmbeddedServer

    if state.url is not None:
        yield None if state.url.startswith("memory:") else state
        return
    with EmbeddedServer(state) as server:
        yield server.state


def _published(settings: Settings, edition: str, console: Console, *, force: bool) -> None:
    from recsys.playlists.delivery import publish as deliver

    with reached(settings.state) as state:
        done = deliver(
            EditionStore(settings.playlists.folder), edition, settings.playlists, state, now=datetime.now(UTC),
            force=force,
        )  # fmt: skip
    rate = f", {done.lists / done.seconds:,.0f} a second" if done.seconds else ""
    where = f"{done.lists:,} lists in Redis{rate}" if done.lists else "read from its files"
    console.print(f"edition [bold]{edition}[/] is published, {where}")
    for line in done.said:
        console.print(line, style="yellow")


@contextmanager
def _progress(console: Console, *, quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """A bar with users a second and the time left, for each stage."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:,.0f} users/s" if task.speed else "", style="progress.data.speed")

    if quiet:
        yield lambda _stage, _done, _all: None
        return
    columns = (TextColumn("{task.description:<8}"), BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        tasks: dict[str, Any] = {}

        def told(stage: str, done: int, users: int) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=users)
            bar.update(tasks[stage], completed=done, total=users)

        yield told


def _document(edition: Edition) -> dict[str, Any]:
    manifest = edition.manifest
    return {
        "release": manifest.plan.release,
        "created": manifest.created.isoformat(),
        "inputs": manifest.plan.inputs,
        "refused": list(manifest.plan.refused),
        **manifest.quality.model_dump(mode="json"),
    }


def _report(console: Console, edition: Edition, *, made: bool) -> None:
    manifest = edition.manifest
    measured = manifest.quality.measured
    if not made:
        console.print(f"edition {edition.id} was made of the same inputs: nothing to do")
    table = Table(show_header=False, box=None, padding=(0, 2), title=f"edition {edition.id}", title_justify="left")
    table.add_row("release", manifest.plan.release)
    table.add_row("cut-off", f"{manifest.plan.cut_off:%Y-%m-%d %H:%M:%S %Z}")
    table.add_row("lists", f"{measured['users']:,}, {measured['full']:,} of them full")
    for title in ("levels", "short"):
        table.add_row(title, ", ".join(f"{count:,} {name}" for name, count in measured[title].items()) or "none")
    table.add_row("coverage", f"{measured['coverage']:.4f}, Gini {measured['gini']:.4f}")
    common = measured["overlap"]
    table.add_row("last week", "none" if common is None else f"{common:.1%} in common with {measured['last']}")
    table.add_row("gate", "passed" if manifest.quality.passed else "refused")
    for line in (*manifest.quality.findings, *manifest.plan.refused):
        table.add_row("", line)
    console.print(table)


def _canaries(console: Console, edition: Edition) -> None:
    for user in edition.manifest.plan.canaries:
        rows = edition.read(user)
        shown = "has no list" if rows is None else " · ".join(row["item"] for row in rows) or "an empty list"
        console.print(f"canary {user}: {shown}", markup=False)


def _list(console: Console, settings: Settings, edition: Edition, user: str, rows: list[dict[str, Any]]) -> None:
    from recsys.playlists.exports import titles_of

    titles = titles_of(rows, ReleaseStore(settings.releases.folder))
    level = rows[0]["level"] if rows else "none"
    table = Table("", "item", "", "source", "near", title=f"{user}, {edition.id}, {level}", title_justify="left")
    for row in rows:
        near = titles.get(row["reason"], row["reason"] or "")
        table.add_row(str(row["position"]), row["item"], titles.get(row["item"], ""), row["source"], near)
    console.print(table)

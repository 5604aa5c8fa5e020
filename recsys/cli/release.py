"""``recsys release``: what is published."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from recsys.cli.options import AsJson, ConfigOption, Force, Id, print_json, settings_of
from recsys.errors import RecsysError, ReleaseError
from recsys.releases import ReleaseStore
from recsys.terminal import print_release, verdict

app = typer.Typer(help="What is published: look, check, promote, roll back.", no_args_is_help=True)


@app.command("list")
def release_list(config: ConfigOption = None, *, as_json: AsJson = False) -> None:
    """All releases, oldest first, the current one marked."""
    store = ReleaseStore(settings_of(config).releases.folder)
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
        print_json(rows)
        return
    table = Table("", "release", "users", "items", "events", "NDCG@10", "gate")
    for row in rows:
        counts = [f"{row[key]:,}" if key in row else "" for key in ("users", "items", "events")]
        score = f"{row['ndcg@10']:.4f}" if row.get("ndcg@10") is not None else ""
        table.add_row("→" if row["current"] else "", row["id"], *counts, score, row["gate"])
    Console().print(table)


@app.command("show")
def release_show(
    release: Annotated[str | None, typer.Argument(help="An id; without it the current one.")] = None,
    config: ConfigOption = None,
    *,
    as_json: AsJson = False,
) -> None:
    """What a release is, where it came from and what it was measured to do."""
    store = ReleaseStore(settings_of(config).releases.folder)
    found = store.get(release) if release else store.current()
    if as_json:
        print_json(found.manifest.model_dump(mode="json"))
    else:
        print_release(Console(), found)


@app.command("verify")
def release_verify(release: Id, config: ConfigOption = None) -> None:
    """Compare the checksum of every file of a release, then load it and search its indexes in a process of its own."""
    from index.check import survive_release

    found = ReleaseStore(settings_of(config).releases.folder).verify(release)
    survive_release(found)
    typer.echo(f"{found.id}: {len(found.manifest.files)} files are as published, its indexes load and answer")


@app.command("promote")
def release_promote(release: Id, config: ConfigOption = None, *, force: Force = False) -> None:
    """Point to a release; servers follow within their watch interval."""
    store = ReleaseStore(settings_of(config).releases.folder)
    promoted = store.promote(release, now=datetime.now(UTC), force=force)
    typer.echo(f"{promoted.id} is current")


@app.command("rollback")
def release_rollback(
    to: Annotated[str | None, typer.Argument(help="An id; without it the one that was current before.")] = None,
    config: ConfigOption = None,
) -> None:
    """Go back to the release that was served before."""
    promoted = ReleaseStore(settings_of(config).releases.folder).rollback(now=datetime.now(UTC), to=to)
    typer.echo(f"{promoted.id} is current")


@app.command("prune")
def release_prune(
    config: ConfigOption = None,
    *,
    keep: Annotated[int | None, typer.Option(help="How many to keep, the current one among them.", min=1)] = None,
) -> None:
    """Remove the oldest releases, user vectors in their spaces, and changes of items that all others know."""
    import asyncio

    from recsys.assembly import settled
    from recsys.stores import open_store

    settings = settings_of(config)
    releases = ReleaseStore(settings.releases.folder)

    async def forget(release: str) -> int:
        async with open_store(settings.state) as users:
            return await users.forget(release)

    async def drop() -> int:
        """Changes without which every release that is left is the same."""
        async with open_store(settings.state) as store:
            changes = list((await store.item_changes()).changes)
            try:
                for release in releases.ids():
                    changes = settled(releases.get(release), changes)
            except ReleaseError as error:
                typer.echo(f"no change of an item is dropped: {error}", err=True)
                return 0
            return await store.drop_items(changes)

    with releases.publishing():
        gone = releases.outdated(keep or settings.releases.keep)
        # Vectors first: what a failure leaves can be pruned again.
        vectors = sum(asyncio.run(forget(release)) for release in gone)
        releases.remove(gone)
        dropped = asyncio.run(drop()) if releases.ids() else 0
    typer.echo(
        f"{len(gone)} releases and {vectors:,} user vectors removed"
        + (f": {', '.join(gone)}" if gone else "")
        + (f"; {dropped:,} changes of items dropped, which all that are left know" if dropped else "")
    )

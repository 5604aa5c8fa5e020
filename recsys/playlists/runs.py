"""A night's run: who is asked for, their states at the cut-off, their lists in parts, an edition.

::

    .making-2026-W48/    draft.json, then plan.json once all states are read; states-00000.parquet …;
                         part-00000.json …: what was found in each part
      edition/           what the edition is going to be: users/, part-00000.parquet …

Every file is renamed into place, so a run that was killed goes on with the parts that are lacking, from the states that
were read when it began. What happens meanwhile (another release, more listening) changes nothing of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from recsys.amending import Grow
from recsys.arrays import Int64
from recsys.assembly import Engine, LoadIndex
from recsys.durable import replace_file
from recsys.errors import PlaylistError, ReleaseNotFound, StoreError
from recsys.playlists.editions import Edition, EditionStore, Manifest, served
from recsys.playlists.lists import opened
from recsys.playlists.people import Chosen
from recsys.playlists.plan import DRAFT, EDITION, PART, PLAN, Plan, Request, digest, found_name, part_name, states_name
from recsys.playlists.quality import exposure, judged
from recsys.playlists.surface import playlist_surface
from recsys.playlists.weeks import Week
from recsys.playlists.working import BULK_MS, Engines, Opening
from recsys.releases import ReleaseStore, checksum
from recsys.sections import Playlists, State
from recsys.stores import open_store
from recsys.vocabulary import Vocabulary

Told = Callable[[str, int, int], None]
"""(stage, users done, users in all)."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The edition, and whether it was there already because nothing that it depends on has changed."""

    edition: Edition
    made: bool


def make(
    week: Week,
    settings: Playlists,
    releases: ReleaseStore,
    *,
    now: datetime,
    chosen: Chosen,
    state: State | None,
    load_index: LoadIndex,
    grow: Grow,
    run: Engines,
    part: int = PART,
    told: Told = lambda _stage, _done, _all: None,
) -> Outcome:
    """Make the edition of a week, or go on with one that was begun.

    ``chosen``: who is asked for. ``state``: where what users did is known; None where nothing but the release is.
    ``part``: users of a file, a multiple of GROUP. PlaylistError for a week that is over; Busy if another run is at it.
    """
    if week.plus(1).start + timedelta(days=1) < now:
        raise PlaylistError(
            f"{week} was over by {week.plus(1).start:%Y-%m-%d}: playlists are made for {Week.of(now)}, or weeks to come"
        )
    editions = EditionStore(settings.folder)
    with editions.lock(str(week)), _on_disk(editions.making(week)):
        making = editions.making(week)
        request = Request(
            week=str(week), length=settings.length, apart=settings.apart, seed=settings.seed, users=chosen.said,
            trial=chosen.trial,
        )  # fmt: skip
        if (making / PLAN).exists():
            plan = _going_on(Plan.load(making / PLAN), request, making)
            engine = _opened(releases, plan, load_index, grow)
            opening = Opening(making, editions.folder, releases.folder, load_index, grow, None)
        else:
            draft, engine = _begun(
                week, settings, editions, releases, request, chosen, now, state, load_index, grow, part
            )
            opening = Opening(making, editions.folder, releases.folder, load_index, grow, state)
            plan = _read(draft, opening, run, told, releases, editions)
        for same in reversed(editions.of_week(week)):
            found = editions.get(same)
            if found.manifest.plan.inputs == plan.inputs:
                shutil.rmtree(making)
                return Outcome(found, made=False)
        _made(plan, opening, run, told)
        return Outcome(_committed(plan, opening, engine, editions, now), made=True)


def _begun(
    week: Week,
    settings: Playlists,
    editions: EditionStore,
    releases: ReleaseStore,
    request: Request,
    chosen: Chosen,
    now: datetime,
    state: State | None,
    load_index: LoadIndex,
    grow: Grow,
    part: int,
) -> tuple[Plan, Engine]:
    """A plan without its users' states, and the open release."""
    making = editions.making(week)
    shutil.rmtree(making, ignore_errors=True)
    (making / EDITION).mkdir(parents=True)
    release = releases.current()
    changes = asyncio.run(_changes(state))
    engine = opened(releases, release.id, load_index, grow, changes)
    users, zones, refused = chosen.of(engine.users, settings)
    if not users:
        raise PlaylistError(f"nobody is asked for: {chosen.said} names no user")
    Vocabulary.of(users).save(making / EDITION / "users")
    opens = week.starts([settings.zone, *zones.values()])
    moments = np.array([opens[zones.get(user, settings.zone)] for user in users], np.int64)
    np.save(making / EDITION / "opens.npy", moments, allow_pickle=False)
    before = sorted((other for other in served(editions.published()) if other < week), reverse=True)
    weeks = served(editions.published())
    apart = [weeks[other] for other in before if other >= week.plus(-settings.apart)]
    last = weeks.get(week.plus(-1))
    plan = Plan(
        edition=editions.new_id(week),
        request=request,
        release=release.id,
        cut_off=now,
        surface=playlist_surface(engine, settings.length),
        gate=settings.gate,
        canaries=settings.canaries,
        users=len(users),
        refused=refused,
        earlier=tuple(apart),
        last=last,
        changes=changes,
        part=part,
    )
    replace_file(making / DRAFT, plan.model_dump_json(indent=2) + "\n")
    return plan, engine


async def _changes(state: State | None) -> dict[str, Any]:
    """What changed of items since, by id."""
    if state is None:
        return {}
    try:
        async with open_store(state.model_copy(update={"timeout_ms": BULK_MS})) as store:
            found = await store.item_changes()
    except StoreError as error:
        raise StoreError(f"{error}; lists leave out what was heard up to now, so nothing was begun") from error
    return {c.item_id: None if c.description is None else dict(c.description) for c in found.changes}


def _read(
    draft: Plan, opening: Opening, run: Engines, told: Told, releases: ReleaseStore, editions: EditionStore
) -> Plan:
    """The plan, once the states of all its users lie beside it."""
    _all(draft, opening, "states", range(draft.parts), run, told)
    before = [editions.get(edition).manifest.sha256 for edition in draft.earlier]
    said = draft.model_dump(mode="json", exclude={"edition", "cut_off", "canaries", "gate", "inputs", "last"})
    files = [checksum(opening.making / states_name(part)) for part in range(draft.parts)]
    inputs = digest(said, releases.get(draft.release).manifest.sha256, before, files)
    plan = draft.model_copy(update={"inputs": inputs})
    replace_file(opening.making / PLAN, plan.model_dump_json(indent=2) + "\n")
    return plan


def _going_on(plan: Plan, request: Request, making: Path) -> Plan:
    if plan.request != request:
        asked, begun = (value.model_dump() for value in (request, plan.request))
        differ = ", ".join(f"{key} {begun[key]!r}, not {asked[key]!r}" for key in asked if asked[key] != begun[key])
        raise PlaylistError(
            f"a run of {plan.request.week} was begun with {differ}: go on with that, or remove {making} to begin anew"
        )
    return plan


def _opened(releases: ReleaseStore, plan: Plan, load_index: LoadIndex, grow: Grow) -> Engine:
    try:
        return opened(releases, plan.release, load_index, grow, plan.changes)
    except ReleaseNotFound as error:
        raise PlaylistError(
            f"a run of {plan.request.week} was begun with release {plan.release}, which is gone: remove its folder "
            "to begin anew"
        ) from error


def _made(plan: Plan, opening: Opening, run: Engines, told: Told) -> None:
    """Every part that is lacking."""
    for left in opening.making.rglob(".*.new"):
        left.unlink()
    lacking = [part for part in range(plan.parts) if not (opening.making / EDITION / part_name(part)).exists()]
    _all(plan, opening, "lists", lacking, run, told)


def _all(plan: Plan, opening: Opening, job: str, parts: Sequence[int], run: Engines, told: Told) -> None:
    done = plan.users - sum(_size(plan, part) for part in parts)
    told(job, done, plan.users)

    def finished(part: int) -> None:
        nonlocal done
        done += _size(plan, part)
        told(job, done, plan.users)

    if parts:
        run(opening, job, parts, finished)


def _size(plan: Plan, part: int) -> int:
    return min(plan.part, plan.users - part * plan.part)


def _committed(plan: Plan, opening: Opening, engine: Engine, editions: EditionStore, now: datetime) -> Edition:
    """What was made as an edition, with what the gate says of it."""
    made = opening.making / EDITION
    parts = [json.loads((opening.making / found_name(part)).read_bytes()) for part in range(plan.parts)]
    np.save(made / "starts.npy", _starts(parts), allow_pickle=False)
    tables = (
        pq.read_table(made / part_name(part), columns=["item", "level"], read_dictionary=["item", "level"])
        for part in range(plan.parts)
    )
    last = editions.get(plan.last) if plan.last else None
    quality = judged(parts, *exposure(tables, engine), engine, plan, last)
    manifest = Manifest(
        created=now,
        plan=plan,
        counts={"users": plan.users, "rows": quality.measured["rows"], "items": len(engine.items)},
        quality=quality,
        files={},
    )
    edition = editions.commit(made, manifest)
    # Who heard what is not kept: a killed run that comes here again finds an edition of the same inputs.
    shutil.rmtree(opening.making)
    return edition


def _starts(parts: Sequence[dict[str, Any]]) -> Int64:
    counts = [count for part in parts for count in part["counts"]]
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


@contextlib.contextmanager
def _on_disk(making: Path) -> Iterator[None]:
    """What the disk says in words, with what to do."""
    try:
        yield
    except OSError as error:
        raise PlaylistError(
            f"the lists could not be written below {making.parent} ({error.strerror or error}): nothing was published; "
            "make room or correct the rights and give the same command again, it goes on where it stopped"
        ) from error

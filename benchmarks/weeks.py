"""Four weeks of playlists on MovieLens, with what people really took between them: leaks, repeats, hits.

Of each user's ratings the last :data:`HELD` are held back and fall, in the order in which they were made, into as many
weeks. On each Sunday a release is trained on all that is known by then and a week's edition is made and published; then
the week's own part of what was held back is taken, which is what the lists are judged by.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd

from index.exact import load_exact
from index.growing import Growing
from recsys.arrays import Int32
from recsys.assembly import HOME, POPULAR, Engine, assemble
from recsys.datasets import load
from recsys.playlists.editions import Edition, EditionStore
from recsys.playlists.people import Chosen
from recsys.playlists.processes import Here
from recsys.playlists.runs import make
from recsys.playlists.weeks import Week
from recsys.releases import ReleaseStore
from recsys.settings import Settings, load_settings
from training.run import train

WEEKS = 4
FIRST = Week(2026, 49)
HELD = 0.2
"""The share of a user's ratings that fall into the weeks."""
LENGTH, APART = 30, 4
SYSTEMS = ("playlist", "plain top 30", "popular 30")
TOML = (
    '[data]\nevents = "log.csv"\nitems = "items.parquet"\n[data.kinds]\nrating = 1\n'
    '[model]\nname = "als"\nfactors = 64\nregularization = 20.0\nalpha = 2.0\n'
    f"[playlists]\nlength = {LENGTH}\napart = {APART}\n"
)


def measure(environ: Mapping[str, str]) -> dict[str, Any]:
    """What the lists of each week were: counts of what must be 0, overlap, and hits beside two that are simpler.

    ``hit_rate``: users to whom one item of the list happened that week, of those to whom anything new did; ``recall``:
    the share of what happened. A list of ``plain top 30`` is home's, one of ``popular 30`` what most people took; both
    leave out what was heard and repeat themselves.
    """
    log = load("ml-latest-small", environ)
    parts = _parted(log.events)
    rows = []
    with TemporaryDirectory() as name:
        folder = Path(name)
        if log.items is not None:
            log.items.to_parquet(folder / "items.parquet")
        (folder / "recsys.toml").write_text(TOML)
        settings = load_settings(folder / "recsys.toml", {})
        before: dict[str, list[set[str]]] = {}
        shown: list[dict[str, set[str]]] = []
        for number in range(WEEKS):
            week = FIRST.plus(number)
            known, taken = pd.concat(parts[: number + 1]), parts[number + 1]
            engine, edition = _week(folder, settings, week, known)
            lists = _lists(engine, edition, week)
            rows.append(_judged(week, lists, known, taken, before, shown, edition))
            before, shown = lists, [_by_user(engine, lists["playlist"]), *shown][:APART]
    return {
        "dataset": "ml-latest-small",
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "users": len(parts[0].user_id.unique()),
        "length": LENGTH,
        "apart": APART,
        "weeks": rows,
    }


def _parted(events: pd.DataFrame) -> list[pd.DataFrame]:
    """What is known before the weeks, and what happens in each, dated into it."""
    events = events.sort_values(["user_id", "time"], kind="stable")
    place = events.groupby("user_id").cumcount()
    size = events.groupby("user_id").user_id.transform("size")
    held = np.floor(size * HELD)
    first = size - held
    number = np.where(place < first, 0, 1 + np.floor((place - first) * WEEKS / np.maximum(held, 1))).astype(int)
    parts = [events[number == 0]]
    for week in range(WEEKS):
        part = events[number == week + 1]
        start = int(FIRST.plus(week).start.timestamp())
        parts.append(part.assign(time=start + 3600 + np.arange(len(part)) * 500_000 // max(len(part), 1)))
    return parts


def _week(folder: Path, settings: Settings, week: Week, known: pd.DataFrame) -> tuple[Engine, Edition]:
    """A release of what is known on the Sunday before, and the edition that is made from it and published."""
    sunday = week.start - timedelta(hours=6)
    known.to_csv(folder / "log.csv", index=False)
    settings = settings.model_copy(update={"state": settings.state.model_copy(update={"url": "memory://"})})
    train(settings, now=sunday, environ={}, force=True)
    releases = ReleaseStore(settings.releases.folder)
    made = make(
        week, settings.playlists, releases, now=sunday, chosen=Chosen(), state=None, load_index=load_exact,
        grow=Growing.of, run=Here(),
    )  # fmt: skip
    store = EditionStore(settings.playlists.folder)
    store.publish(store.verify(made.edition.id), now=sunday)
    return assemble(releases.current(), load_exact), made.edition


def _lists(engine: Engine, edition: Edition, week: Week) -> dict[str, list[set[str]]]:
    """The lists of everybody, in the order of the release's users, by each system."""
    everybody = np.arange(len(engine.users.ids), dtype=np.int32)
    found = {"playlist": [{row["item"] for row in edition.read(user) or ()} for user in engine.users.ids]}
    for name, surface in zip(SYSTEMS[1:], (HOME, POPULAR), strict=True):
        rows: Int32 = engine.recommend(everybody, LENGTH, week.start, surface).candidates.rows
        found[name] = [set(engine.items.ids(line[line >= 0])) for line in rows]
    return found


def _by_user(engine: Engine, lists: list[set[str]]) -> dict[str, set[str]]:
    return dict(zip(engine.users.ids, lists, strict=True))


def _judged(
    week: Week,
    lists: Mapping[str, list[set[str]]],
    known: pd.DataFrame,
    taken: pd.DataFrame,
    before: Mapping[str, list[set[str]]],
    shown: list[dict[str, set[str]]],
    edition: Edition,
) -> dict[str, Any]:
    users = list(edition.users)
    heard = _items(known)
    new = {user: items - heard.get(user, set()) for user, items in _items(taken).items()}
    new = {user: items for user, items in new.items() if items}
    at = {user: place for place, user in enumerate(users)}
    systems = {}
    for name, theirs in lists.items():
        hits = [len(theirs[at[user]] & items) for user, items in new.items() if user in at]
        sizes = [len(items) for user, items in new.items() if user in at]
        common = [len(one & other) / len(one) for one, other in zip(theirs, before.get(name, ()), strict=False) if one]
        systems[name] = {
            "hit_rate": round(float(np.mean(np.array(hits) > 0)), 4),
            "recall": round(float(np.mean(np.array(hits) / np.array(sizes))), 4),
            "overlap": round(float(np.mean(common)), 4) if common else None,
            "coverage": len(set().union(*theirs)),
        }
    playlists = lists["playlist"]
    measured = edition.manifest.quality.measured
    return {
        "week": str(week),
        "edition": edition.id,
        "judged_users": len(new),
        "heard": sum(len(items & heard[user]) for user, items in zip(users, playlists, strict=True)),
        "repeats": sum(
            len(items & earlier.get(user, set()))
            for earlier in shown
            for user, items in zip(users, playlists, strict=True)
        ),
        "full": measured["full"],
        "passed": edition.manifest.quality.passed,
        "gini": measured["gini"],
        "systems": systems,
    }


def _items(events: pd.DataFrame) -> dict[str, set[str]]:
    """User → the items of their events."""
    return {str(user): set(items) for user, items in events.groupby("user_id").item_id}


def draw(document: Mapping[str, Any], path: Path) -> None:
    """Hit rate and overlap by week into a PNG."""
    from matplotlib.figure import Figure  # noqa: PLC0415  only who draws needs it

    figure = Figure(figsize=(9, 3.6), layout="constrained", dpi=110)
    weeks = [row["week"] for row in document["weeks"]]
    for axes, metric, title in zip(
        figure.subplots(1, 2),
        ("hit_rate", "overlap"),
        ("somebody took one of the 30 that week", "in common with the list of the week before"),
        strict=True,
    ):
        for name in SYSTEMS:
            axes.plot(weeks, [row["systems"][name][metric] for row in document["weeks"]], "o-", label=name)
        axes.set(title=title, ylim=(0, 1.05 if metric == "overlap" else None))
        axes.title.set_fontsize(10)
        axes.grid(alpha=0.2)
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].legend(frameon=False)
    figure.savefig(path)

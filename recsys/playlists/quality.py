"""What a list must not be, asked of the rows that were written and not of the pipeline that made them.

Rules that no list may break name the users who have one that does. The others hold an edition against the one of the
week before. To add a rule: a count in :func:`inspected`, or a sentence in :func:`judged`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from recsys.arrays import Bool, Int32, Int64, ranges
from recsys.assembly import Engine
from recsys.playlists.editions import Edition, Quality
from recsys.playlists.plan import SHOWN_USERS, Arrow, Plan, arrow
from recsys.playlists.states import flat
from recsys.playlists.surface import caps_of
from recsys.retrieval import PERSONAL, RECENT

RULES: Mapping[str, str] = {
    "missing": "have no list though items are left for them",
    "foreign": "have a list that nobody asked for, or stand in the wrong place",
    "heard": "are given what they have heard or dismissed",
    "repeated": "are given what stood in their lists of the weeks before",
    "unavailable": "are given what is not there",
    "twice": "are given an item twice",
    "gaps": "have positions that do not run from 1",
    "caps": "have more of one artist or album than the caps allow",
    "early": "could hear their list at another time than their week begins",
}
"""What no list may be → how a finding says it."""
SHORT = ("everything heard", "too few left", "rules left too few")
"""Why a list may be shorter than asked for."""


def inspected(table: pa.Table, states: pa.Table, engine: Engine, plan: Plan) -> dict[str, Any]:
    """What a part's lists are: counts, and for each rule how many users' lists break it and some of those users."""
    table = table.combine_chunks()
    users = _texts(states, "user")
    owners, place = _owners(table, users)
    rows = _rows(table, engine)
    at = np.maximum(owners, 0)
    heard, repeated = (_pairs(*flat(states, name)) for name in ("seen", "earlier"))
    pairs = (at << 32) + rows
    counts = np.bincount(at, minlength=len(users)) if len(owners) else np.zeros(len(users), np.int64)
    available = engine.parts.available
    there = rows >= 0 if available is None else available.holds(rows)
    opens = np.asarray(states.column("available_from").to_numpy())
    broken = {
        "foreign": owners < 0,
        "heard": np.isin(pairs, heard),
        "repeated": np.isin(pairs, repeated),
        "unavailable": ~there,
        "twice": _again(pairs),
        "gaps": np.asarray(table.column("position").to_numpy()) != place + 1,
        "caps": _over(engine, plan, at, rows),
        "early": np.asarray(table.column("available_from").to_numpy()) != opens[at] if len(users) else at < 0,
    }
    short = _short(engine, plan, states, counts)
    findings = {name: _named(mask, at, users) for name, mask in broken.items()}
    missing = np.array([reason == "" for reason in short])
    findings["missing"] = _named(missing, np.arange(len(users)), users)
    levels: Arrow = table.column("level").take(arrow(np.flatnonzero(place == 0)))
    last, _ = flat(states, "last")
    common = np.isin(pairs, _pairs(*flat(states, "last"))).sum()
    return {
        "users": len(users),
        "full": int((counts >= plan.request.length).sum()),
        "short": dict(Counter(reason for reason in short if reason)),
        "levels": {**Counter(levels.to_pylist()), **({"none": n} if (n := int((counts == 0).sum())) else {})},
        "rows": len(rows),
        "overlap": [int(common), len(last)],
        "findings": findings,
    }


def exposure(tables: Iterable[pa.Table], engine: Engine) -> tuple[Int64, Int64]:
    """In how many lists each item stands, int64 (items,): of all lists, and of those by the users' own taste."""
    everywhere, personal = (np.zeros(len(engine.items), np.int64) for _ in range(2))
    own = set(OWN)
    for table in tables:
        rows = _rows(table, engine)
        levels, codes = _coded(table, "level")
        by_taste = np.array([level in own for level in levels], bool)[codes] if len(codes) else codes > 0
        everywhere += np.bincount(rows[rows >= 0], minlength=len(everywhere))
        personal += np.bincount(rows[(rows >= 0) & by_taste], minlength=len(personal))
    return everywhere, personal


OWN = (PERSONAL, RECENT)
"""The levels of lists by the user's own taste."""


def judged(
    parts: Sequence[Mapping[str, Any]], shown: Int64, personal: Int64, engine: Engine, plan: Plan, last: Edition | None
) -> Quality:
    """Everything that speaks against an edition. ``last``: last week's, as it is served."""
    counted: dict[str, Any] = {name: sum(part[name] for part in parts) for name in ("users", "full", "rows")}
    for name in ("short", "levels"):
        counted[name] = dict(sum((Counter(part[name]) for part in parts), Counter()))
    shares = _shares(shown)
    common, of = (sum(part["overlap"][place] for part in parts) for place in (0, 1))
    lists = sum(counted["levels"].get(level, 0) for level in OWN)
    most = int(personal.argmax()) if len(personal) else 0
    measured = {
        **counted,
        **shares,
        "overlap": round(common / of, 6) if of else None,
        "most_shown": {
            "item": engine.items.ids(np.array([most], np.int32))[0] if lists else None,
            "share": round(int(personal[most]) / lists, 6) if lists else 0.0,
        },
        "last": None if last is None else last.id,
        "broken": {name: sum(part["findings"][name]["users"] for part in parts) for name in RULES},
    }
    findings = list(_broken(parts))
    if counted["users"] != plan.users:
        findings.append(f"{counted['users']:,} users were answered and {plan.users:,} were to be")
    if not counted["rows"]:
        findings.append("there is not one item in any list: nothing is left for anybody, or the catalogue is empty")
    if plan.request.trial:
        findings.append(f"it is a trial of {plan.request.users}")
    bounds = plan.gate
    if last is not None:
        before = last.manifest.quality.measured
        if shares["coverage"] < bounds.coverage * before["coverage"]:
            findings.append(
                f"coverage is {shares['coverage']:.4f}, below {bounds.coverage:g} of last week's "
                f"{before['coverage']:.4f}"
            )
        if shares["gini"] > before["gini"] + bounds.gini:
            findings.append(
                f"the Gini coefficient is {shares['gini']:.4f}, more than {bounds.gini:g} above last week's "
                f"{before['gini']:.4f}"
            )
    if of and common / of > bounds.overlap:
        findings.append(
            f"lists have {common / of:.1%} in common with last week's on average, more than {bounds.overlap:.1%}"
        )
    if lists >= FEW and measured["most_shown"]["share"] > bounds.most_share:
        findings.append(
            f"item {measured['most_shown']['item']!r} stands in {measured['most_shown']['share']:.1%} of the lists by "
            f"taste, more than {bounds.most_share:.1%}"
        )
    return Quality(passed=not findings, findings=tuple(findings), measured=measured)


FEW = 20
"""With fewer lists the share that one item stands in says nothing."""


def _broken(parts: Sequence[Mapping[str, Any]]) -> list[str]:
    found = []
    for name, said in RULES.items():
        count = sum(part["findings"][name]["users"] for part in parts)
        if count:
            some = [user for part in parts for user in part["findings"][name]["some"]][:SHOWN_USERS]
            named = ", ".join(map(repr, some)) + (" …" if count > len(some) else "")
            found.append(f"{count:,} user{'s' * (count != 1)} {said} ({name}: {named})")
    return found


def _shares(shown: Int64) -> dict[str, float]:
    """Coverage and Gini as evaluation has them, of counts instead of lists."""
    if not len(shown) or not shown.any():
        return {"coverage": 0.0, "gini": 1.0}
    exposed = np.sort(shown)
    places = 2 * np.arange(1, len(exposed) + 1) - len(exposed) - 1
    return {
        "coverage": round(float((shown > 0).mean()), 6),
        "gini": round(float(places @ exposed / (len(exposed) * exposed.sum())), 6),
    }


def _short(engine: Engine, plan: Plan, states: pa.Table, counts: Int64) -> list[str | None]:
    """Why each list is short; None for a full one, "" for one without a reason."""
    length = plan.request.length
    out: list[str | None] = [None] * len(counts)
    short = np.flatnonzero(counts < length)
    if not len(short):
        return out
    gone = len(engine.parts.gone)
    for place in short.tolist():
        rows = np.concatenate([states.column(name)[place].values.to_numpy() for name in ("seen", "earlier")])
        distinct = np.unique(rows)
        left = len(engine.items) - gone - (len(distinct) - int(np.isin(distinct, engine.parts.gone).sum()))
        if counts[place] == 0 and left > 0:
            out[place] = "" if not caps_of(plan.surface) else SHORT[2]
        elif left <= 0:
            out[place] = SHORT[0]
        else:
            out[place] = SHORT[1] if counts[place] >= left else SHORT[2]
    return out


def _owners(table: pa.Table, users: Sequence[str]) -> tuple[Int64, Int64]:
    """The place of each row's user among ``users``, -1 for one who is none, and the row's place in that user's list."""
    at = {user: place for place, user in enumerate(users)}
    names, codes = _coded(table, "user")
    if not len(codes):
        return codes, codes
    owners = np.array([at.get(user, -1) for user in names], np.int64)[codes]
    begins = np.concatenate([[True], codes[1:] != codes[:-1]])
    lengths = np.diff(np.concatenate([np.flatnonzero(begins), [len(codes)]]))
    # A user whose rows stand in two places, or behind those of somebody who comes later, is not where they belong.
    firsts = owners[begins]
    wrong = np.concatenate([[False], firsts[1:] <= np.maximum.accumulate(firsts)[:-1]])
    return np.where(np.repeat(wrong, lengths), -1, owners), ranges(lengths)


def _texts(table: pa.Table, column: str) -> list[str]:
    values: Arrow = table.column(column)
    found: list[str] = values.to_pylist()
    return found


def _coded(table: pa.Table, column: str) -> tuple[list[str], Int64]:
    """The different texts of a column, and which of them stands in each row, int64 (m,)."""
    values: Arrow = table.column(column).combine_chunks()
    if isinstance(values, pa.ChunkedArray):
        values = values.unify_dictionaries().combine_chunks() if values.num_chunks else pa.array([], pa.string())
    coded = values if pa.types.is_dictionary(values.type) else values.dictionary_encode()
    return coded.dictionary.to_pylist(), np.asarray(coded.indices.to_numpy(zero_copy_only=False), np.int64)


def _rows(table: pa.Table, engine: Engine) -> Int32:
    """The rows of a table's items, -1 for what the release does not know; each different one is looked up once."""
    items, codes = _coded(table, "item")
    return engine.items.rows(items)[codes]


def _pairs(rows: Int32, owners: Int64) -> Int64:
    return (owners.astype(np.int64) << 32) + rows


def _again(pairs: Int64) -> Bool:
    order = np.argsort(pairs, kind="stable")
    again = np.zeros(len(pairs), bool)
    again[order[1:]] = pairs[order[1:]] == pairs[order[:-1]]
    return again


def _over(engine: Engine, plan: Plan, owners: Int64, rows: Int32) -> Bool:
    """Rows by which a list has more of one value of a column than the surface's caps allow."""
    over = np.zeros(len(rows), bool)
    for column, most in caps_of(plan.surface).items():
        starts, groups = engine.catalogue.memberships(column)
        places = np.flatnonzero((rows >= 0) & (rows < len(starts) - 1))
        lengths = starts[rows[places] + 1] - starts[rows[places]]
        values = groups[np.repeat(starts[rows[places]], lengths) + ranges(lengths)]
        at = np.repeat(places, lengths)
        _, code, counts = np.unique((owners[at] << 32) + values, return_inverse=True, return_counts=True)
        over[at[counts[code] > most]] = True
    return over


def _named(mask: Bool, owners: Int64, users: Sequence[str]) -> dict[str, Any]:
    broken = np.unique(owners[mask])
    return {"users": len(broken), "some": [users[place] for place in broken[:SHOWN_USERS].tolist()]}

"""Lists as files for other programs. To add a form: a function and a line in FORMS."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.csv

from recsys.catalogue import Catalogue
from recsys.errors import PlaylistError, ReleaseError, unknown_choice
from recsys.playlists.editions import Edition
from recsys.releases import ReleaseStore
from recsys.vocabulary import Vocabulary

Row = Mapping[str, Any]
Titles = Mapping[str, str]


def write(edition: Edition, path: Path, user: str | None, releases: ReleaseStore) -> int:
    """Write an edition, or a user's list of it, in the form that the file's suffix says; how many items.

    PlaylistError for a form that does not exist or that holds one list only, or a user who has none.
    """
    form = path.suffix.lower()
    if form not in FORMS:
        raise PlaylistError(unknown_choice("form", form, FORMS))
    if user is None and form in ONE:
        raise PlaylistError(f"{form} holds one list: say whose with --user, or write .csv or .jsonl")
    if user is not None:
        rows = edition.read(user)
        if rows is None:
            raise PlaylistError(f"user {user!r} has no list in edition {edition.id}")
        parts: Iterable[Sequence[Row]] = [rows]
    else:
        parts = (edition.table(part).to_pylist() for part in range(edition.manifest.plan.parts))
    return FORMS[form](path, edition, parts, releases)


def titles_of(rows: Sequence[Row], releases: ReleaseStore) -> Titles:
    """Item → its title, of the items and reasons of a list, as far as the release that it was made from has them."""
    if not rows:
        return {}
    try:
        folder = releases.get(rows[0]["release"]).folder
    except ReleaseError:
        return {}
    items = Vocabulary.load(folder / "items")
    ids = [id_ for id_ in dict.fromkeys([row[name] for row in rows for name in ("item", "reason")]) if id_]
    found = items.rows(ids)
    described = Catalogue.load(folder / "items/catalogue.arrow").describe(found[found >= 0])
    return {about["item_id"]: str(about["title"]) for about in described if "title" in about}


def _csv(path: Path, edition: Edition, parts: Iterable[Sequence[Row]], _: ReleaseStore) -> int:
    written = 0
    schema = edition.table(0).schema if edition.manifest.plan.parts else pa.schema([])
    plain = pa.schema([(field.name, _undictionaried(field.type)) for field in schema])
    with pyarrow.csv.CSVWriter(str(path), plain) as writer:
        for rows in parts:
            writer.write_table(pa.Table.from_pylist([dict(row) for row in rows], plain))
            written += len(rows)
    return written


def _undictionaried(kind: Any) -> Any:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _lines(path: Path, edition: Edition, parts: Iterable[Sequence[Row]], _: ReleaseStore) -> int:
    """One list a line."""
    written = 0
    with path.open("w", encoding="utf-8") as file:
        for user, rows in _lists(parts):
            head = {"edition": edition.id, "user": user, "release": rows[0]["release"], "level": rows[0]["level"]}
            items = [{name: row[name] for name in ("item", "score", "source", "reason")} for row in rows]
            file.write(json.dumps({**head, "items": items}, ensure_ascii=False) + "\n")
            written += len(rows)
    return written


def _m3u(path: Path, edition: Edition, parts: Iterable[Sequence[Row]], releases: ReleaseStore) -> int:
    """Extended M3U: a title and an address for each; ids stand where players expect a file or an address."""
    (rows,) = parts
    titles = titles_of(rows, releases)
    lines = ["#EXTM3U", f"#PLAYLIST:{edition.week}"]
    for row in rows:
        lines += [f"#EXTINF:-1,{_line(titles.get(row['item'], row['item']))}", quote(row["item"], safe="")]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return len(rows)


def _jspf(path: Path, edition: Edition, parts: Iterable[Sequence[Row]], releases: ReleaseStore) -> int:
    """JSON Shareable Playlist Format, xspf.org/jspf."""
    (rows,) = parts
    titles = titles_of(rows, releases)
    tracks = []
    for row in rows:
        track = {
            "identifier": [f"urn:item:{quote(row['item'], safe='')}"],
            "title": titles.get(row["item"], row["item"]),
        }
        if row["reason"]:
            track["annotation"] = f"near {titles.get(row['reason'], row['reason'])}"
        tracks.append(track)
    document = {
        "playlist": {
            "title": f"{edition.week}",
            "date": edition.week.start.isoformat(),
            "identifier": f"urn:edition:{edition.id}",
            "track": tracks,
        }
    }
    path.write_text(json.dumps(document, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    return len(rows)


def _lists(parts: Iterable[Sequence[Row]]) -> Iterator[tuple[str, list[Row]]]:
    for rows in parts:
        lists: dict[str, list[Row]] = {}
        for row in rows:
            lists.setdefault(row["user"], []).append(row)
        yield from lists.items()


def _line(text: str) -> str:
    return " ".join(text.split())


FORMS: Mapping[str, Callable[[Path, Edition, Iterable[Sequence[Row]], ReleaseStore], int]] = {
    ".csv": _csv,
    ".jsonl": _lines,
    ".jspf": _jspf,
    ".m3u": _m3u,
}
ONE = (".jspf", ".m3u")
"""Forms of one list."""

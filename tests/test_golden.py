"""Formats are promises: a release of every past schema is loaded for ever and answers as it did."""

import json
from datetime import UTC, datetime

import pytest

from index import load
from recsys.assembly import assemble
from recsys.releases import SCHEMA, ReleaseStore

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def golden(repo, name):
    """A release that was made when its format was, and what it answered then."""
    folder = repo / "tests/golden" / name
    store = ReleaseStore(folder)
    release = store.verify(store.current_id())
    return release, assemble(release, load), json.loads((folder / "answers.json").read_text())


@pytest.mark.parametrize("name", [*(f"schema-{schema}" for schema in range(1, SCHEMA + 1)), "content"])
def test_a_release_of_every_schema_answers_as_it_did(repo, name):
    release, engine, wanted = golden(repo, name)
    assert name in {f"schema-{release.manifest.schema_version}", "content"}
    for user, items in wanted["users"].items():
        (state,) = engine.users.find([user])
        answer = engine.recommenders["home"].recommend([engine.resolver.known(user, state, NOW)], len(items))
        assert engine.items.ids(answer.candidates.rows[0]) == items
    assert engine.catalogue.describe(engine.items.rows(["i3"]))[0] == wanted["i3"]


def test_a_release_with_content_places_a_new_item_where_it_did(repo):
    _, engine, wanted = golden(repo, "content")
    content = engine.parts.content
    assert content.place(content.encode([wanted["described"]]))[0] == pytest.approx(wanted["placed"], abs=1e-5)
    nothing = engine.items.rows(["i7"])
    assert not content.vectors[nothing].any()

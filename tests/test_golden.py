"""Formats are promises: a release of every past schema is loaded for ever and answers as it did."""

import json
from datetime import UTC, datetime

import pytest

from index import load
from recsys.assembly import assemble
from recsys.releases import SCHEMA, ReleaseStore

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.mark.parametrize("schema", range(1, SCHEMA + 1))
def test_a_release_of_every_schema_answers_as_it_did(repo, schema):
    folder = repo / "tests/golden" / f"schema-{schema}"
    store = ReleaseStore(folder)
    release = store.verify(store.current_id())
    assert release.manifest.schema_version == schema
    engine = assemble(release, load)
    wanted = json.loads((folder / "answers.json").read_text())
    for user, items in wanted["users"].items():
        (state,) = engine.users.find([user])
        answer = engine.recommenders["home"].recommend([engine.resolver.known(user, state, NOW)], len(items))
        assert engine.items.ids(answer.candidates.rows[0]) == items
    assert engine.catalogue.describe(engine.items.rows(["i3"]))[0] == wanted["i3"]

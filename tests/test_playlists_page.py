"""The trial page with playlists, in a real browser against a real server."""

import json
import shutil
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from playwright.sync_api import expect

from index.exact import load_exact
from index.growing import Growing
from recsys.playlists.editions import EditionStore
from recsys.playlists.people import Chosen
from recsys.playlists.processes import Here
from recsys.playlists.runs import make
from recsys.playlists.weeks import Week
from recsys.releases import ReleaseStore
from recsys.sections import Playlists


@pytest.fixture(scope="module")
def shop(home, configured, tmp_path_factory, serve):
    """A server over two published weeks, this one and the one before: its address, the newer edition, its folder."""
    folder = tmp_path_factory.mktemp("weeks")
    shutil.copytree(home / "var/releases", folder / "var/releases")
    (folder / "recsys.toml").write_text(configured())
    settings = Playlists(folder=folder / "var/playlists", length=8)
    store, now = EditionStore(settings.folder), datetime.now(UTC)
    for week in (Week.of(now).plus(-1), Week.of(now)):
        made = make(
            week, settings, ReleaseStore(folder / "var/releases"), now=week.start, chosen=Chosen(), state=None,
            load_index=load_exact, grow=Growing.of, run=Here(),
        )  # fmt: skip
        store.publish(store.verify(made.edition.id), now=now, force=True)
    with serve(folder) as (address, _):
        yield address, made.edition, folder


def test_the_playlist_of_the_week_stands_beside_last_weeks_with_reasons(shop, browser):
    address, edition, folder = shop
    said = []
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.on("console", lambda message: said.append(message.text) if message.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(f"{address}/#user=196")
    expect(page.locator("#weeks")).to_be_visible()
    weeks = page.locator("#weeks-body .week")
    expect(weeks).to_have_count(2)
    expect(weeks.nth(0).locator("h3")).to_have_text(f"This week · {edition.week}")
    expect(weeks.nth(1).locator("h3")).to_have_text(f"The week before · {edition.week.plus(-1)}")
    shown = weeks.nth(0).locator(".item").evaluate_all("items => items.map(item => item.dataset.id)")
    assert shown == [row["item"] for row in edition.read("196")]
    expect(weeks.nth(0).locator(".because").first).to_contain_text("because of ")
    boxes = [weeks.nth(place).bounding_box() for place in range(2)]
    assert boxes[0]["y"] == boxes[1]["y"], "side by side"
    page.goto(f"{address}/#user=nobody knows")
    expect(page.locator("#history-note")).to_have_text("unknown user")
    expect(page.locator("#weeks")).to_be_hidden()
    page.goto(f"{address}/#anonymous=50")
    expect(page.locator("#list-body .item").first).to_be_visible()
    expect(page.locator("#weeks")).to_be_hidden()
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{address}/#user=22")
    expect(weeks).to_have_count(2)
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert weeks.nth(0).bounding_box()["y"] < weeks.nth(1).bounding_box()["y"], "one below the other"
    # What is taken back is gone at the next look.
    undone = subprocess.run([sys.executable, "-m", "recsys", "playlists", "undo"], cwd=folder, capture_output=True)
    assert undone.returncode == 0, undone.stderr
    page.reload()
    expect(weeks).to_have_count(1)
    assert said == []
    context.close()
    assert json.loads((folder / "var/playlists/publications.jsonl").read_text().splitlines()[-1])["action"] == "undo"

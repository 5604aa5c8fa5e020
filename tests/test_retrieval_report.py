"""The page of `recsys bench retrieval --report` in a real browser: whole without a network, in light and in dark."""

import json
import re
import subprocess
import sys

import pytest
from playwright.sync_api import expect
from typer.testing import CliRunner

from benchmarks import retrieval
from benchmarks.pareto import front
from benchmarks.retrieval_report import render_retrieval
from recsys.cli import app
from recsys.errors import RecsysError

PLOTS = ["Recall against time", "Memory against time, at recall@100 of 0.98"]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The command's page over two sets of vectors, and what it printed."""
    path = tmp_path_factory.mktemp("report") / "deeper/retrieval.html"
    command = ["bench", "retrieval", "--backend", "exact", "--backend", "voyager"]
    names = ["--vectors", "synthetic:2000x8", "--vectors", "synthetic:500x4"]
    with pytest.MonkeyPatch.context() as patch:
        # A page looks the same however often its figures were timed.
        for name, count in (("SINGLES", 50), ("BATCH", 100), ("ROUNDS", 4)):
            patch.setattr(retrieval, name, count)
        done = CliRunner().invoke(app, [*command, *names, "--report", str(path), "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    return path, json.loads(done.stdout)


@pytest.fixture
def opened(written, browsing):
    """Opens the page."""
    with browsing(written[0]) as open_report:
        yield open_report


def test_each_set_of_vectors_has_its_plots_and_both_tables(opened, written):
    page = opened()
    for document in written[1]:
        section = page.locator(f"section[id='{document['vectors']}']")
        expect(section.get_by_role("heading", name=document["vectors"])).to_be_visible()
        assert section.locator("figcaption").all_inner_texts() == PLOTS
        for place in range(len(PLOTS)):
            assert section.locator("figure svg").nth(place).bounding_box()["height"] > 80
        every, filtered = section.locator("table").all()
        assert every.locator("tbody tr").count() == len(document["rows"])
        assert filtered.locator("tbody tr").count() == len(document["filtered"]) == 5
        assert every.locator("tr.best").count() == len(front(document["rows"]))
        row = document["rows"][1]
        cells = every.locator("tbody tr").nth(1).locator("th, td").all_inner_texts()
        assert cells[:4] == [
            "voyager", "neighbours 16, search_width 100", f"{row['recall@10']:.4f}", f"{row['recall@100']:.4f}",
        ]  # fmt: skip


def test_on_a_phone_only_tables_scroll_sideways(opened):
    page = opened(viewport={"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert all(box["x"] + box["width"] <= 360 for box in (f.bounding_box() for f in page.locator("figure svg").all()))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_plots_are_drawn_in_the_colour_of_the_text(opened, scheme):
    page = opened(color_scheme=scheme)
    body, label = (
        page.evaluate(f"getComputedStyle(document.querySelector('{where}')).{what}")
        for where, what in (("body", "color"), ("figure svg text", "fill"))
    )
    assert body == label
    assert (next(int(number) for number in re.findall(r"\d+", body)) > 128) == (scheme == "dark")


def test_the_best_are_those_that_nothing_beats():
    rows = [{"recall@100": recall, "p50_ms": ms} for recall, ms in ((0.9, 1), (0.9, 2), (0.8, 2), (0.99, 5), (0.95, 6))]
    assert front(rows) == [rows[0], rows[3]]


def test_where_nothing_reaches_enough_the_page_says_so(written):
    (document, _) = written[1]
    poor = {**document, "rows": [{**row, "recall@100": 0.5} for row in document["rows"]]}
    page = render_retrieval([poor])
    assert "Nothing but exact search reaches a recall of 0.98." in page
    assert render_retrieval([poor]) == page


def test_a_picture_of_several_and_a_page_that_cannot_be_written_are_one_sentence(written, tmp_path):
    from benchmarks.retrieval_report import write_retrieval_report

    with pytest.raises(RecsysError, match=r"cannot be written to .*; choose another --report"):
        write_retrieval_report(written[1], tmp_path)
    command = [sys.executable, "-m", "recsys", "bench", "retrieval", "--plot", "x.png"]
    names = ["--vectors", "synthetic:500x4", "--vectors", "synthetic:400x4"]
    done = subprocess.run([*command, *names], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1
    assert "--plot draws one set of vectors and 2 are given: --report takes them all" in " ".join(done.stderr.split())

"""The page of results in a real browser: whole without a network, readable on a phone, in light and in dark.

``RECSYS_SCREENSHOT=docs/images/report.png make test ARGS=tests/test_report.py`` renews the picture in the docs.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import expect

from benchmarks.models import compare
from benchmarks.report import render, write_report
from recsys.errors import RecsysError
from training.progress import Unwatched

PLOTS = [
    "Accuracy and its interval",
    "Accuracy against the time of a fit",
    "By how much the user had taken",
    "By how popular the item is",
    "By how much there is to learn from",
]


@pytest.fixture(scope="module")
def document(data_folder):
    """Two models measured, and a line as if somebody had published one."""
    environ = {**os.environ, "RECSYS_DATA": str(data_folder)}
    wanted = () if os.environ.get("RECSYS_SCREENSHOT") else ("als", "popular")
    return compare("ml-100k", wanted, Unwatched(), environ=environ)


@pytest.fixture
def opened(document, tmp_path, browsing):
    """Opens the report."""
    path = tmp_path / "report.html"
    write_report([document], path)
    with browsing(path) as open_report:
        yield open_report


def test_it_shows_plots_and_tables_of_what_was_measured(opened, document):
    page = opened()
    assert page.locator("figcaption").all_inner_texts() == PLOTS
    for place in range(len(PLOTS)):
        expect(page.locator("figure svg").nth(place)).to_be_visible()
        assert page.locator("figure svg").nth(place).bounding_box()["height"] > 80
    cells = page.locator("table").first.locator("tbody tr").first.locator("th, td").all_inner_texts()
    best = document["rows"][0]
    assert cells[:4] == [best["model"], best["kind"], f"{best['recall@20']:.4f}", f"{best['ndcg@20']:.4f}"]
    expect(page.get_by_role("heading", name="ml-100k")).to_be_visible()
    picture = os.environ.get("RECSYS_SCREENSHOT")
    if picture:
        page.screenshot(path=picture, clip={"x": 0, "y": 0, "width": 1280, "height": 1560}, full_page=True)


def test_on_a_phone_only_tables_scroll_sideways(opened):
    page = opened(viewport={"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    for box in (figure.bounding_box() for figure in page.locator("figure svg").all()):
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 360


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_plots_are_drawn_in_the_colour_of_the_text(opened, scheme):
    page = opened(color_scheme=scheme)
    body, label = (
        page.evaluate(f"getComputedStyle(document.querySelector('{where}')).{what}")
        for where, what in (("body", "color"), ("figure svg text", "fill"))
    )
    assert body == label
    light = next(int(number) for number in re.findall(r"\d+", body)) > 128
    assert light == (scheme == "dark")


def test_published_rows_failures_and_strange_names_are_shown_as_text(document):
    line = {"model": "<b>Paper</b>", "recall@20": 0.2, "ndcg@20": 0.32, "source": "Somebody & others (2020)"}
    page = render([{**document, "published": [line], "failed": {"late": "memory < wanted"}}])
    assert "&lt;b&gt;Paper&lt;/b&gt;" in page
    assert "<b>Paper" not in page
    assert "Somebody &amp; others (2020)" in page
    assert "memory &lt; wanted" in page
    assert not re.search(r'(?:src|href)="(?!#)', page.replace("xlink:href", "href"))


def test_the_same_results_give_the_same_page(document):
    assert render([document]) == render([document])


def test_a_report_that_cannot_be_written_is_one_sentence(document, tmp_path):
    with pytest.raises(RecsysError, match=r"cannot be written to .*; choose another --report"):
        write_report([document], tmp_path)


def test_the_missing_extra_is_named_before_anything_is_measured(tmp_path):
    code = "import sys; sys.modules['jinja2'] = None; sys.argv[1:] = ['evaluate', '--report', 'x.html']\n"
    done = subprocess.run(
        [sys.executable, "-c", code + "from recsys.cli import main; main()"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "pip install 'recsys-engine[report]'" in done.stderr.replace("\n", " ")
    assert not (Path(tmp_path) / "x.html").exists()

"""The trial page in a real browser, against a real server and a real release.

``RECSYS_SCREENSHOT=docs/images/page.png make test ARGS=tests/test_page.py`` renews the picture in the README.
"""

import os
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect, sync_playwright

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-quic",
    "--no-first-run",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def browser():
    assert Path(CHROMIUM).exists(), f"{CHROMIUM} is not there: install it (`apt-get install chromium`)"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def opened(browser, address):
    """Opens pages of the server; none may complain, or ask anybody but the server."""
    said, asked, contexts = [], [], []

    def open_page(state="", **options):
        contexts.append(browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options}))
        page = contexts[-1].new_page()
        page.on("console", lambda message: said.append(message.text) if message.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{address}/{state}")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert said == []
    assert {urlsplit(url).netloc for url in asked} == {urlsplit(address).netloc}


def titles(page, pane):
    return page.locator(f"#{pane}-body .item .title").all_inner_texts()


def test_a_user_is_picked_and_their_history_stands_beside_their_recommendations(opened):
    page = opened()
    page.locator("#suggestions button", has_text="655").click()
    expect(page.locator("#list-note")).to_have_text("for user 655")
    expect(page.locator("#list-body .item")).to_have_count(20)
    expect(page.locator("#list-body .badge")).to_have_text("personal")
    expect(page.locator("#list-body .latency")).to_contain_text("ms")
    expect(page.locator("#history-note")).to_have_text("newest 50 of 685")
    expect(page.locator("#history-body .item")).to_have_count(50)
    first = page.locator("#list-body .item").first
    expect(first.locator(".rank")).to_have_text("1")
    expect(first.locator(".label").first).to_be_visible()
    assert not set(titles(page, "history")) & set(titles(page, "list"))
    assert page.url.endswith("#user=655")


def test_an_id_that_nobody_bears_is_answered_from_the_ladder(opened):
    page = opened("#user=196")
    expect(page.locator("#list-body .badge")).to_have_text("personal")
    page.get_by_label("User id").fill("somebody new")
    page.get_by_role("button", name="Show").click()
    expect(page.locator("#list-body .badge")).to_have_text("popular")
    expect(page.locator("#history-note")).to_have_text("unknown user")
    expect(page.locator("#list-body .item")).to_have_count(20)


def test_similar_items_open_and_close(opened):
    page = opened("#user=405")
    page.locator("#list-body .title").first.click()
    name = titles(page, "list")[0]
    expect(page.locator("#similar")).to_be_visible()
    expect(page.locator("#similar-note")).to_contain_text(f"to {name}")
    expect(page.locator("#similar-body .item")).to_have_count(20)
    assert name not in titles(page, "similar")
    if picture := os.environ.get("RECSYS_SCREENSHOT"):
        page.wait_for_load_state("networkidle")
        page.screenshot(path=picture)
    page.keyboard.press("Escape")
    expect(page.locator("#similar")).to_be_hidden()


def test_an_anonymous_history_is_built_by_clicking(opened):
    page = opened()
    page.get_by_role("button", name="Anonymous visitor").click()
    expect(page.locator("#list-body .badge")).to_have_text("popular")
    for name in ("Star Wars", "Return of the Jedi"):
        page.get_by_label("Find items").fill(name)
        page.get_by_role("button", name=f"Add {name}", exact=True).first.click()
        expect(page.locator("#history-body .title", has_text=name)).to_have_count(1)
    expect(page.locator("#list-body .badge")).to_have_text("recent")
    expect(page.locator("#history-note")).to_have_text("2 items")
    expect(page.locator("#list-body .title", has_text="Empire Strikes Back")).to_have_count(1)
    assert not {"Star Wars", "Return of the Jedi"} & set(titles(page, "list"))
    page.locator("#history-body").get_by_role("button", name="Remove Star Wars").click()
    expect(page.locator("#history-note")).to_have_text("1 item")
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("#list-body .badge")).to_have_text("popular")


def test_the_address_says_what_is_shown_and_survives_a_reload(opened):
    page = opened("#anonymous=50,174")
    expect(page.locator("#history-note")).to_have_text("2 items")
    before = titles(page, "list")
    page.reload()
    expect(page.locator("#history-note")).to_have_text("2 items")
    expect(page.locator("#list-body .item")).to_have_count(20)
    assert titles(page, "list") == before


def test_the_keyboard_alone_walks_from_a_user_to_similar_items(opened):
    page = opened("#user=405")
    expect(page.locator("#list-body .item")).to_have_count(20)
    page.get_by_label("User id").focus()
    page.keyboard.press("Control+A")
    page.keyboard.type("13")
    page.keyboard.press("Enter")
    expect(page.locator("#list-note")).to_have_text("for user 13")
    for _ in range(200):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('#list-body .title')"):
            break
    # The outline is drawn round the whole row, by an element that covers it.
    outline = page.evaluate("getComputedStyle(document.activeElement, '::after').outlineStyle")
    assert outline == "solid", "where the keyboard is must be seen"
    page.keyboard.press("Enter")
    expect(page.locator("#similar-body .item")).to_have_count(20)
    page.keyboard.press("Escape")
    expect(page.locator("#similar")).to_be_hidden()
    assert page.evaluate("document.activeElement.matches('#list-body .title')")


@pytest.mark.parametrize("width", [390, 768, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_overflows_and_text_stands_out_in_every_size_and_scheme(opened, width, scheme):
    page = opened("#user=405&similar=50", viewport={"width": width, "height": 844}, color_scheme=scheme)
    expect(page.locator("#similar-body .item")).to_have_count(20)
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    show = page.get_by_role("button", name="Show").bounding_box()
    assert show["height"] < 60, "the button's word must stand on one line"
    lightness = "(c) => c.match(/[\\d.]+/g).slice(0, 3).reduce((a, b) => a + Number(b), 0) / 3"
    ink, paper = (
        page.evaluate(f"({lightness})(getComputedStyle(document.body).{name})") for name in ("color", "backgroundColor")
    )
    assert (ink < paper) == (scheme == "light")
    assert abs(ink - paper) > 125

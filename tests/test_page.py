"""The trial page in a real browser, against a real server and a real release.

``RECSYS_SCREENSHOT=docs/images/page.png make test ARGS=tests/test_page.py`` renews the picture in the README.
"""

import json
import os
import re
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect


@pytest.fixture
def opened(browser, address):
    """Opens pages of the server; none may complain, but of ``expected``, or ask anybody but the server."""
    said, asked, contexts, awaited = [], [], [], []

    def open_page(state="", *, expected=(), routes=None, **options):
        awaited.extend(f"status of {status} " for status in expected)
        contexts.append(browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options}))
        page = contexts[-1].new_page()
        page.on("console", lambda message: said.append(message.text) if message.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        for pattern, answer in (routes or {}).items():
            page.route(pattern, answer)
        page.goto(f"{address}/{state}")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert [text for text in said if not any(status in text for status in awaited)] == []
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
    expect(page.locator("#list-body .badge")).to_have_text("trending")
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
    expect(page.locator("#list-body .badge")).to_have_text("trending")
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
    expect(page.locator("#list-body .badge")).to_have_text("trending")


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
    expect(page.locator("#list-body .item")).to_have_count(20)
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    show = page.get_by_role("button", name="Show").bounding_box()
    assert show["height"] < 60, "the button's word must stand on one line"
    rungs = page.locator(".ladder li").evaluate_all("rungs => rungs.map(rung => rung.offsetHeight)")
    assert max(rungs) < 30, "so must the names of the levels"
    lightness = "(c) => c.match(/[\\d.]+/g).slice(0, 3).reduce((a, b) => a + Number(b), 0) / 3"
    ink, paper = (
        page.evaluate(f"({lightness})(getComputedStyle(document.body).{name})") for name in ("color", "backgroundColor")
    )
    assert (ink < paper) == (scheme == "light")
    assert abs(ink - paper) > 125


def test_history_similar_items_and_length_stand_in_an_address_that_can_be_gone_back_to(opened):
    page = opened("#anonymous=50,174&k=5&similar=181")
    expect(page.locator("#list-body .badge")).to_have_text("recent")
    expect(page.locator("#similar-body .item")).to_have_count(5)
    expect(page.locator("#similar-note")).to_have_text("to Return of the Jedi · item 181")
    assert titles(page, "history") == ["Star Wars", "Raiders of the Lost Ark"]
    page.get_by_label("Length of the lists").select_option("10")
    expect(page.locator("#list-body .item")).to_have_count(10)
    assert page.url.endswith("#anonymous=50,174&k=10&similar=181")
    page.go_back()
    expect(page.locator("#list-body .item")).to_have_count(5)


def test_an_id_may_hold_what_addresses_are_made_of(opened):
    page = opened("#user=196")
    page.get_by_label("User id").fill("a/b c?&#=,%")
    page.get_by_role("button", name="Show").click()
    expect(page.locator("#list-note")).to_have_text("for user a/b c?&#=,%")
    expect(page.locator("#history-note")).to_have_text("unknown user")
    page.reload()
    expect(page.locator("#list-note")).to_have_text("for user a/b c?&#=,%")


def test_ids_are_completed_and_items_are_found_by_id(opened):
    page = opened("#user=405")
    page.get_by_label("User id").fill("19")
    expect(page.locator("#users option[value='196']")).to_be_attached()
    offered = page.locator("#users option").evaluate_all("options => options.map(option => option.value)")
    assert all(user.startswith("19") for user in offered)
    page.get_by_role("button", name="Anonymous visitor").click()
    page.get_by_label("Find items").fill("1682")
    expect(page.locator("#found-body .item")).to_have_count(1)
    expect(page.locator("#found-body .item")).to_have_attribute("data-id", "1682")


def test_the_skip_link_leads_to_the_list_and_the_focus_stays_where_an_item_was_added(opened):
    page = opened("#anonymous=")
    expect(page.locator("#found-body .item")).to_have_count(12)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the recommendations")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#list")).to_be_focused()
    assert page.url.endswith("#anonymous=")
    page.locator("#found-body .toggle").first.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#list-body .badge")).to_have_text("recent")
    expect(page.get_by_role("status")).to_contain_text("20 recommendations for an anonymous visitor, level recent")
    # The item has left the list that it was added from; its neighbour has the focus now.
    expect(page.locator("#found-body .toggle").first).to_be_focused()


def test_a_problem_document_is_shown_in_words(opened):
    page = opened("#user=196&k=501", expected=[422])
    expect(page.locator("#list-body").get_by_role("alert")).to_contain_text(
        "query.k: Input should be less than or equal to 500, but it is 501"
    )
    page = opened("#user=196&similar=no-such-item", expected=[404])
    expect(page.locator("#similar-body").get_by_role("alert")).to_contain_text("does not know item 'no-such-item'")
    expect(page.locator("#list-body .item")).to_have_count(20)


def test_a_surface_is_chosen_and_stands_in_the_address(opened):
    page = opened("#user=405")
    expect(page.get_by_label("Surface")).to_have_value("home")
    expect(page.locator("#surface option")).to_have_text(["home", "popular", "trending"])
    expect(page.locator("#list-body .item")).to_have_count(20)
    before = titles(page, "list")
    page.get_by_label("Surface").select_option("trending")
    expect(page.locator("#list-note")).to_have_text("for user 405, on trending")
    expect(page.locator("#list-body .badge")).to_have_text("trending")
    expect(page.locator("#list-body .sources").first).to_contain_text("trending")
    assert titles(page, "list") != before
    assert page.url.endswith("#user=405&surface=trending")
    page.get_by_role("button", name=re.compile("^User 13,")).click()
    expect(page.locator("#list-note")).to_have_text("for user 13, on trending")
    page.go_back()
    page.go_back()
    expect(page.locator("#list-note")).to_have_text("for user 405")
    expect(page.get_by_label("Surface")).to_have_value("home")
    assert titles(page, "list") == before


def test_a_surface_that_there_is_not_is_said(opened):
    page = opened("#user=405&surface=emial", expected=[404])
    expect(page.locator("#list-body").get_by_role("alert")).to_contain_text(
        "unknown surface 'emial', choose one of home, popular, similar, trending"
    )
    page.get_by_label("Surface").select_option("home")
    expect(page.locator("#list-body .item")).to_have_count(20)


def test_each_item_says_which_of_the_history_put_it_there(opened):
    page = opened("#anonymous=50,174&k=5")
    expect(page.locator("#list-body .because")).to_have_count(5)
    for text in page.locator("#list-body .because").all_inner_texts():
        assert text.startswith("because of ")
        assert set(text.removeprefix("because of ").split(" · ")) <= {"Star Wars", "Raiders of the Lost Ark"}
    page = opened("#user=nobody")
    expect(page.locator("#list-body .item")).to_have_count(20)
    expect(page.locator("#list-body .because")).to_have_count(0)


def test_without_a_history_to_name_the_features_of_the_ranker_are(opened):
    def ranked(route):
        answer = route.fetch()
        content = answer.json()
        content["items"][0]["because"] = []
        content["items"][0]["features"] = [
            {"feature": "age", "about": "Days since somebody first took it", "share": -0.6},
            {"feature": "trend", "about": "The share <b>lately</b>", "share": 0.4},
        ]
        route.fulfill(response=answer, json=content)

    page = opened("#user=405&k=5", routes={"**/recommend?*": ranked})
    first = page.locator("#list-body .item").first.locator(".because")
    expect(first).to_have_text("raised by trend")
    expect(first).to_have_attribute("title", "The share <b>lately</b>")


def test_the_time_of_each_stage_is_the_servers_own(opened, address):
    page = opened("#user=405")
    expect(page.locator("#list-body .words")).to_contain_text("state")
    with page.expect_response("**/recommend?*") as answered:
        page.get_by_role("button", name="Show").click()
    told = answered.value.header_value("server-timing")
    stages = [part.strip().split(";dur=")[0] for part in told.split(",")]
    expect(page.locator("#list-body .spent span")).to_have_count(len(stages))
    words = page.locator("#list-body .words").text_content().removeprefix("milliseconds by stage: ")
    assert [part.split()[0] for part in words.split(" · ")] == stages


def test_a_broken_gateway_is_said_and_survived(opened):
    page = opened("#user=196", expected=[502])
    expect(page.locator("#list-body .item")).to_have_count(20)
    page.route("**/recommend?*", lambda route: route.fulfill(status=502, body="<h1>Bad Gateway</h1>"))
    page.get_by_role("button", name="Show").click()
    expect(page.locator("#list-body").get_by_role("alert")).to_contain_text("502")
    page.unroute_all()
    page.get_by_role("button", name="Show").click()
    expect(page.locator("#list-body .item")).to_have_count(20)


def test_a_degraded_answer_is_marked(opened):
    def degrade(route):
        answer = route.fetch()
        route.fulfill(response=answer, json={**answer.json(), "degraded": ["user-state"]})

    page = opened("#user=196", routes={"**/recommend?*": degrade})
    expect(page.locator("#list-body .warning")).to_have_text("Degraded. Answered without: user-state.")
    expect(page.locator("#list-body .item")).to_have_count(20)


def test_a_stale_answer_is_never_shown(opened):
    held = []

    def hold(route):
        held.append(route)

    page = opened("#user=196", routes={"**/recommend?user_id=405*": hold})
    expect(page.locator("#list-note")).to_have_text("for user 196")
    with page.expect_request("**/recommend?user_id=405*"):
        page.get_by_role("button", name=re.compile("^User 405,")).click()
    expect(page.get_by_label("User id")).to_have_value("405")
    page.get_by_role("button", name=re.compile("^User 13,")).click()
    expect(page.locator("#list-note")).to_have_text("for user 13")
    wanted = titles(page, "list")
    assert held
    for route in held:
        route.fulfill(body=json.dumps({"level": "popular", "items": [], "degraded": [], "release": "stale"}))
    page.wait_for_timeout(200)
    expect(page.locator("#list-note")).to_have_text("for user 13")
    assert titles(page, "list") == wanted


def test_any_catalogue_is_shown_and_only_ever_as_text(opened):
    script = "<img src=x onerror=alert(1)>"
    text = "A long abstract of a paper. " * 9

    def describe(route):
        wanted = re.findall(r"ids=([^&]+)", route.request.url)
        known = {"title": script, "artist": "<b>Somebody</b>", "tags": ["a<i>", "b"], "text": text}
        route.fulfill(json={"items": [{"item_id": wanted[0], **known}, {"item_id": wanted[1]}]})

    page = opened("#user=196&k=5", routes={"**/page/items?*": describe})
    rows = page.locator("#list-body .item")
    expect(rows.first.locator(".title")).to_have_text(script)
    assert rows.first.locator(".attributes > *").all_inner_texts() == ["<b>Somebody</b>", "a<i>", "b"]
    expect(rows.first.locator(".text")).to_have_text(text.strip())
    for place in range(1, 5):  # without a title, or not described at all
        expect(rows.nth(place).locator(".title")).to_have_text(rows.nth(place).get_attribute("data-id"))
    assert page.locator("main img").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")

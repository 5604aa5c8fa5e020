"""The trial page in a real browser: what a user likes or dismisses leaves the list before their eyes.

``RECSYS_SCREENSHOT_EVENTS=docs/images/page-events.png make test ARGS=tests/test_page_events.py`` renews the picture.
"""

import os

import httpx
import pytest
from playwright.sync_api import expect


@pytest.fixture(scope="module")
def own(copied, tmp_path_factory, configured, serve):
    """A server of its own: what is clicked is kept."""
    with serve(copied(tmp_path_factory.mktemp("clicked"), configured())) as (address, _):
        yield address


@pytest.fixture
def opened(browser, own):
    """Opens pages of the server; none may complain, but of ``expected``."""
    said, contexts, awaited = [], [], []

    def open_page(state, expected=(), **options):
        awaited.extend(f"status of {status} " for status in expected)
        contexts.append(browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options}))
        page = contexts[-1].new_page()
        page.on("console", lambda message: said.append(message.text) if message.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(f"{own}/{state}")
        expect(page.locator("#list-body .item")).to_have_count(20)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert [text for text in said if not any(status in text for status in awaited)] == []


def ids(page, pane="list"):
    return page.locator(f"#{pane}-body .item").evaluate_all("rows => rows.map((row) => row.dataset.id)")


def first(page):
    return page.locator("#list-body .item").first


def test_an_item_that_is_liked_leaves_the_list_and_others_come_in(opened):
    page = opened("#user=655")
    before = ids(page)
    name = first(page).locator(".title").inner_text()
    page.get_by_role("button", name=f"Like {name}", exact=True).click()
    expect(page.locator(f"#list-body [data-id='{before[0]}']")).to_have_count(0)
    expect(page.locator("#list-body .item")).to_have_count(20)
    expect(page.locator("#list-body .item[data-arrived]").first).to_be_visible()
    assert ids(page) != before[1:]
    assert set(ids(page)) - set(before), "something new came in"
    expect(page.locator("#history-body .item").first).to_have_attribute("data-id", before[0])
    expect(page.get_by_role("status")).to_contain_text(f"{name}: liked.")


def test_an_item_that_is_dismissed_is_gone_for_good(opened, own):
    page = opened("#user=405")
    before = ids(page)
    row = page.locator(f"#list-body [data-id='{before[3]}']")
    row.get_by_role("button", name="Dismiss").click()
    expect(row).to_have_count(0)
    expect(page.locator("#list-body .item")).to_have_count(20)
    page.reload()
    expect(page.locator("#list-body .item")).to_have_count(20)
    assert before[3] not in ids(page)
    answer = httpx.get(f"{own}/recommend", params={"user_id": "405", "k": 500}).json()
    assert before[3] not in [item["item_id"] for item in answer["items"]]


def test_somebody_new_is_known_after_one_click(opened):
    page = opened("#user=nobody+yet")
    expect(page.locator("#history-note")).to_have_text("unknown user")
    liked = ids(page)[0]
    first(page).get_by_role("button", name="Like").click()
    expect(page.locator("#list-body .badge")).to_have_text("recent")
    expect(page.locator("#history-note")).to_have_text("1 item")
    assert ids(page, "history") == [liked]
    if picture := os.environ.get("RECSYS_SCREENSHOT_EVENTS"):
        page.screenshot(path=picture)


def test_the_event_names_the_answer_that_showed_the_item(opened):
    page = opened("#user=13")
    with page.expect_request("**/events") as asked:
        page.locator("#list-body .item").nth(4).get_by_role("button", name="Dismiss").click()
    event = asked.value.post_data_json
    assert (event["user_id"], event["kind"], event["surface"], event["position"]) == ("13", "dismiss", "home", 5)
    assert len(event["request_id"]) == 16
    assert len(event["event_id"]) == 32


def test_what_could_not_be_kept_is_said_and_the_item_stays(opened):
    page = opened("#user=13", expected=[503])
    problem = {"title": "Service Unavailable", "status": 503, "detail": "this could not be kept: no log", "errors": []}
    page.route("**/events", lambda route: route.fulfill(status=503, json=problem))
    before = ids(page)
    first(page).get_by_role("button", name="Like").click()
    expect(page.locator("#list-body").get_by_role("alert")).to_contain_text("this could not be kept: no log")
    expect(first(page)).not_to_have_attribute("data-leaving", "")
    assert ids(page) == before


def test_the_keyboard_likes_one_item_after_the_other(opened):
    page = opened("#user=244")
    first(page).get_by_role("button", name="Like").focus()
    for _ in range(2):
        before = ids(page)
        page.keyboard.press("Enter")
        expect(page.locator(f"#list-body [data-id='{before[0]}']")).to_have_count(0)
        expect(first(page).get_by_role("button", name="Like")).to_be_focused()


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_the_buttons_fit_every_width(opened, width):
    page = opened("#user=22", viewport={"width": width, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    boxes = page.locator("#list-body .opinion").evaluate_all(
        "all => all.map((one) => one.getBoundingClientRect().right)"
    )
    assert len(boxes) == 40
    assert max(boxes) <= width

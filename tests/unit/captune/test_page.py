"""The page of `captune use` in a real Chromium: both answers as they stream, by keyboard, at a telephone's width and a desk's."""

import shutil
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.doubles.use_site import DOMAIN, TEXTS, FakeEngine, RunningServer, serving
from verification.experiments.picture import BROWSERS, QUIET

CHROMIUM = next((found for name in BROWSERS if (found := shutil.which(name))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        CHROMIUM is None,
        reason="page in a browser: no Chromium found; apt-get install chromium, or brew install --cask chromium",
    ),
]
SIZES = [(375, "light"), (375, "dark"), (1280, "light"), (1280, "dark")]
BOTH = "() => document.querySelectorAll('.facts')[0].textContent.length > 1 && document.querySelectorAll('.facts')[1].textContent.length > 1"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        started = play.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield started
        started.close()


@pytest.fixture
def site() -> Iterator[RunningServer]:
    with serving(FakeEngine()) as site:
        yield site


@pytest.fixture(params=SIZES, ids=[f"{width} {scheme}" for width, scheme in SIZES])
def page(request: pytest.FixtureRequest, browser: Any, site: RunningServer) -> Iterator[Any]:
    """The page, opened; whatever a test does with it, nothing may leave this machine and no script fail."""
    width, scheme = request.param
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    opened = context.new_page()
    asked, troubles = [], []
    opened.on("request", lambda one: asked.append(one.url))
    opened.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
    opened.on("pageerror", lambda error: troubles.append(str(error)))
    opened.goto(site.url)
    opened.wait_for_function("() => document.getElementById('known').options.length > 1")
    yield opened
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    assert [url for url in asked if not url.startswith((site.url, "data:"))] == []
    assert [text for text in troubles if "Failed to load resource" not in text] == []
    context.close()


def test_one_prompt_is_answered_by_both_and_its_facts_are_marked(page: Any, site: RunningServer) -> None:
    assert "a fake. $0.12 so far, 7 minutes left" in page.locator("#state").text_content()
    page.keyboard.press("Tab")
    page.keyboard.type("Its own prompt")
    page.select_option("#known", index=1)
    page.focus("#prompt")
    page.keyboard.press("Control+Enter")
    page.wait_for_function(BOTH)
    assert page.locator(".answer").all_text_contents() == [TEXTS["base"], TEXTS[DOMAIN]]
    assert page.locator("mark").all_text_contents() == ["codes"]
    assert page.locator(".facts").all_text_contents() == ["Key facts: 0 of 1", "Key facts: 1 of 1 (coding)"]
    (_, base), (_, tuned) = site.engine.asked
    assert {base.pop("model"), tuned.pop("model")} == {"base", DOMAIN} and base == tuned
    assert (base["prompt"], base["seed"], base["stream"]) == ("A gene is", 42, True)


@pytest.mark.parametrize("page", SIZES[:1], indirect=True)
def test_an_answer_of_another_model_is_not_shown_and_the_end_is_asked_twice(page: Any, site: RunningServer) -> None:
    site.engine.answers_as = {DOMAIN: "base"}
    page.fill("#prompt", "A gene is")
    page.keyboard.press("Control+Enter")
    page.wait_for_function(BOTH)
    assert page.locator(".answer").all_text_contents() == [TEXTS["base"], ""]
    assert "'base' answered" in page.locator("#tuned .error").text_content()
    page.focus("#end")
    for key in ("Enter", "Escape", "Enter"):
        page.keyboard.press(key)
    assert not site.engine.ended
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.getElementById('state').textContent.startsWith('Ended')")
    assert site.engine.ended and page.locator("#send").is_disabled()
    assert page.locator("#ended").text_content() == "The engine has ended."


@pytest.mark.parametrize("page", SIZES[:1], indirect=True)
def test_nothing_can_be_asked_while_answers_are_under_way_and_a_stop_frees_it(page: Any, site: RunningServer) -> None:
    site.engine.waits = threading.Event()
    page.fill("#prompt", "A gene is")
    page.keyboard.press("Control+Enter")
    page.wait_for_function("() => !document.getElementById('stop').disabled")
    page.evaluate("showState()")  # as it does every quarter of a minute
    assert page.locator("#send").is_disabled()
    page.click("#stop")
    page.wait_for_function("() => !document.getElementById('send').disabled")
    assert page.locator(".facts").all_text_contents() == ["Stopped.", "Stopped."]
    site.engine.waits.set()

"""Whom the page serves: by keyboard alone, by a screen reader, on a phone, in light and dark, and as an app."""

from collections.abc import Callable
from typing import Any
from urllib.parse import urljoin

import pytest
from axe_playwright_python.sync_playwright import Axe
from bad_input import CAT
from PIL import Image
from playwright.sync_api import FileChooser, TimeoutError

from browser.conftest import PHONE, WAIT_MS, WIDE, Visit
from browser.screenshot import SCREENSHOT, SHOWS, SIZE, shown
from narrator.ui.accessibility import ASSETS

pytestmark = pytest.mark.browser
Open = Callable[..., Visit]


def walk(seen: Visit, wanted: str, most: int = 40, key: str = "Tab") -> int:
    """Press Tab until the focus is inside `wanted`; how many presses it took."""
    for presses in range(1, most + 1):
        seen.page.keyboard.press(key)
        if seen.page.evaluate("(wanted) => !!document.activeElement.closest(wanted)", wanted):
            return presses
    raise AssertionError(f"{wanted} is not reached by {most} presses of {key}")


def choose_by_enter(seen: Visit) -> FileChooser:
    """The file chooser, by as few presses as it takes: a page that was opened this second may miss the first one."""
    for _ in range(10):
        try:
            with seen.page.expect_file_chooser(timeout=3000) as chooser:
                seen.page.keyboard.press("Enter")
        except TimeoutError:
            continue
        return chooser.value
    raise AssertionError("Enter opens no file chooser")


def test_by_keyboard_alone(visit: Open) -> None:
    """Skip link, picture by the file chooser, Describe, description, Speak: in this order, without a mouse."""
    seen = visit()
    assert walk(seen, ".skip") == 1
    seen.page.wait_for_function("document.activeElement.getBoundingClientRect().top >= 0", timeout=5000)  # it slides in
    seen.page.keyboard.press("Enter")
    assert walk(seen, "#picture button") == 1
    choose_by_enter(seen).set_files(CAT)
    seen.page.wait_for_selector("#picture img")
    assert walk(seen, "#describe") <= 6
    outline = seen.page.evaluate("getComputedStyle(document.activeElement).outlineWidth")
    assert float(outline.removesuffix("px")) >= 2
    seen.page.keyboard.press("Enter")
    seen.status("done")
    assert walk(seen, "#stop") == 1 and walk(seen, "#description") == 1 and walk(seen, "#speak") == 1
    seen.page.keyboard.press("Space")
    seen.page.wait_for_function("document.querySelector('#sound audio')?.currentTime > 0", timeout=WAIT_MS)
    for place in ("#copy", "#save-text", "#save-sound", "#sound", "#voice", "#speed", "#pitch", "#at-once", "#examples",
                  "#variant", "#settings"):
        walk(seen, place, most=10)
    seen.page.keyboard.press("Enter")
    seen.page.wait_for_selector("#set-seed input")
    assert walk(seen, "#set-max-new-tokens") == 1


def box(seen: Visit, selector: str) -> dict[str, float]:
    found: Any = seen.page.locator(selector).bounding_box()
    assert found
    return found


def test_picture_button_and_result_stand_above_the_fold(visit: Open) -> None:
    seen = visit(WIDE)
    seen.describe()
    for selector in ("#picture", "#describe", "#status", "#description", "#speak"):
        place = box(seen, selector)
        assert place["y"] >= 0 and place["y"] + place["height"] <= WIDE[1], selector


def test_on_a_phone_nothing_scrolls_sideways_and_the_result_follows_the_button(visit: Open) -> None:
    seen = visit(PHONE)
    seen.describe()
    assert seen.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    tops = [box(seen, selector)["y"] for selector in ("#picture", "#describe", "#description", "#examples", "#variant")]
    assert tops == sorted(tops)
    assert all(box(seen, f"#{name}")["height"] >= 40 for name in ("describe", "stop", "speak", "copy", "save-text"))


def violations(seen: Visit, state: str) -> list[str]:
    found = Axe().run(seen.page).response
    assert len(found["passes"]) > 15  # it did look
    return [f"{state}: {row['id']} {node['target']} {node['html'][:120]}"
            for row in found["violations"] for node in row["nodes"]]


@pytest.mark.parametrize(("size", "scheme"), [(WIDE, "light"), (PHONE, "dark")], ids=["wide-light", "phone-dark"])
def test_axe_finds_nothing_in_any_state(visit: Open, size: tuple[int, int], scheme: str) -> None:
    seen = visit(size, scheme)
    seen.page.wait_for_timeout(500)
    found = violations(seen, "before")
    seen.choose("The with-prompt")
    seen.page.wait_for_selector("#prompt textarea")
    found += violations(seen, "prompt")
    seen.page.click("#settings > button")
    seen.page.wait_for_selector("#set-seed input")
    found += violations(seen, "settings")
    found += described(seen)
    seen.page.fill("#description textarea", "")
    seen.page.click("#speak")
    seen.status("error")
    found += violations(seen, "error")
    seen.page.click("#voice input")
    seen.page.wait_for_timeout(600)  # it fades in
    found += violations(seen, "list open")
    assert found == []


@pytest.mark.parametrize(("size", "scheme"), [(WIDE, "dark"), (PHONE, "light")], ids=["wide-dark", "phone-light"])
def test_axe_finds_nothing_in_the_other_colours(visit: Open, size: tuple[int, int], scheme: str) -> None:
    seen = visit(size, scheme)
    seen.choose("The with-markup")
    assert described(seen) == []


def described(seen: Visit) -> list[str]:
    """What axe finds on a page with a picture, words, guesses and a sound."""
    seen.describe()
    seen.page.click("#speak")
    seen.page.wait_for_selector("#sound audio")
    return violations(seen, "described")


def test_the_page_tells_who_it_is(visit: Open) -> None:
    seen = visit()
    assert seen.page.title() == "Visual Narrator"
    assert seen.page.get_attribute("html", "lang") == "en"
    assert seen.page.locator("h1").count() == 1 and seen.page.locator("main").count() == 1
    icon = seen.page.request.get(urljoin(seen.page.url, "favicon.ico"))
    assert icon.headers["content-type"] == "image/svg+xml" and icon.body() == (ASSETS / "mark.svg").read_bytes()
    with Image.open(SCREENSHOT) as picture:  # of the README; screenshot.py takes it anew
        assert picture.size == SIZE and picture.info.get(SHOWS) == shown(seen.page)


def test_it_can_be_installed(visit: Open) -> None:
    """Chromium itself reads the manifest and its icons, and has no objection."""
    seen = visit()
    session = seen.page.context.new_cdp_session(seen.page)
    read: dict[str, Any] = session.send("Page.getAppManifest")
    assert read["errors"] == [] and '"short_name": "Narrator"' in read["data"]
    objections = [row["errorId"] for row in session.send("Page.getInstallabilityErrors")["installabilityErrors"]]
    assert [each for each in objections if each != "in-incognito"] == []


def test_status_is_announced_once_a_change(visit: Open) -> None:
    """The live region stays the same element, and a run changes its text a few times, not at each word."""
    seen = visit()
    seen.page.evaluate("""() => { window.heard = []; const line = document.querySelector("#status"); window.line = line;
        new MutationObserver(() => { const text = line.innerText.trim();
            if (text && text !== window.heard.at(-1)) window.heard.push(text); })
        .observe(line, {childList: true, subtree: true, characterData: true}); }""")
    seen.choose("The with-markup")
    text = seen.describe()
    heard = seen.page.evaluate("window.heard")
    assert len(heard) == len(set(heard)) <= 5
    assert text in seen.page.evaluate("document.querySelector('#status').textContent")
    assert seen.page.evaluate("window.line === document.querySelector('#status') && window.line.ariaLive === 'polite'")

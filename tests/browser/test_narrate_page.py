"""The Narrate tab in a real browser, as a person uses it: by mouse, by keyboard alone, on a phone."""

import re
import time
import urllib.request
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from serving import PICTURES

from browser.conftest import PHONE, WAIT_MS, WIDE, Visit

pytestmark = pytest.mark.browser
Open = Callable[..., Visit]
CAT = PICTURES / "cat.jpg"


def describe(seen: Visit, picture: Path = CAT) -> str:
    seen.give(picture)
    seen.page.click("#describe")
    assert re.match(r"✓\s*Described in \d+\.\d s\.", seen.status("done"))
    return seen.text()


def bundled(seen: Visit) -> bool:
    return "Photo captioner" in seen.page.input_value("#variant input")


def test_a_photograph_is_described_and_heard(visit: Open, tmp_path: Path) -> None:
    seen = visit()
    text = describe(seen)
    assert len(text.split()) >= 3 and text[0].isupper() and text.endswith(".")
    assert "sure of each word" in seen.page.inner_text("#sure")
    assert seen.page.locator("#sound audio").count() == 0  # nothing speaks unasked
    seen.page.click("#speak")
    seen.page.locator("#status", has_text="s long.").wait_for(timeout=WAIT_MS)
    seen.page.wait_for_function("document.querySelector('#sound audio')?.currentTime > 0.5", timeout=WAIT_MS)
    source = seen.page.get_attribute("#sound audio", "src") or ""
    with urllib.request.urlopen(source, timeout=60) as answer:
        (tmp_path / "heard.wav").write_bytes(answer.read())
    with wave.open(str(tmp_path / "heard.wav")) as sound:
        rate, frames = sound.getframerate(), sound.getnframes()
        samples = np.frombuffer(sound.readframes(frames), dtype=np.int16).astype(np.float64)
    words = len(text.split())
    assert rate == 22050 and float(np.sqrt((samples**2).mean())) > 300
    assert words * 0.15 < frames / rate < words * 0.9 + 1.5  # about 165 words a minute
    with seen.page.expect_download() as saved:
        seen.page.click("#save-sound")
    assert Path(saved.value.path()).read_bytes() == (tmp_path / "heard.wav").read_bytes()


def test_the_bundled_captioner_knows_a_cat(visit: Open) -> None:
    seen = visit()
    if not bundled(seen):
        pytest.skip("checkpoints/photo-captioner is not here")
    assert "cat" in describe(seen).lower()


def test_the_text_can_be_edited_copied_saved_and_is_what_is_spoken(visit: Open) -> None:
    seen = visit()
    describe(seen)
    mine = "My own words: <b>kept</b> as they are."
    seen.page.fill("#description textarea", mine)
    seen.page.click("#copy")
    assert seen.status("done") == "Copied."
    assert seen.page.evaluate("navigator.clipboard.readText()") == mine
    with seen.page.expect_download() as saved:
        seen.page.click("#save-text")
    assert saved.value.suggested_filename == "description.txt"
    assert Path(saved.value.path()).read_text(encoding="utf-8") == mine + "\n"


def test_speaking_by_itself_is_opted_into(visit: Open) -> None:
    seen = visit()
    seen.page.check("#at-once input")
    seen.page.fill("#speed input", "2")
    seen.give(CAT)
    seen.page.click("#describe")
    seen.page.wait_for_function("document.querySelector('#sound audio')?.currentTime > 0.2", timeout=WAIT_MS)
    assert seen.text()


def test_stop_in_the_middle_keeps_what_is_written_and_frees_the_model(visit: Open) -> None:
    seen = visit()
    seen.choose("The very-slow")
    seen.give(CAT)
    seen.page.click("#describe")
    seen.page.wait_for_function("/word5/.test(document.querySelector('#description textarea').value)", timeout=WAIT_MS)
    seen.page.click("#stop")
    assert "Stopped" in seen.status("stopped")
    kept = seen.text()
    assert "word5" in kept and "word39" not in kept
    time.sleep(1)
    assert seen.text() == kept
    seen.choose("The with-markup")  # the device is free again
    seen.page.click("#describe")
    seen.status("done")


def test_a_closed_page_frees_the_model(visit: Open) -> None:
    leaving = visit()
    leaving.choose("The very-slow")
    leaving.give(CAT)
    leaving.page.click("#describe")
    begun = "/word3/.test(document.querySelector('#description textarea').value)"
    leaving.page.wait_for_function(begun, timeout=WAIT_MS)
    leaving.page.close()
    seen = visit()
    seen.choose("The with-markup")
    seen.give(CAT)
    started = time.monotonic()
    seen.page.click("#describe")
    seen.status("done")
    assert time.monotonic() - started < 30


def test_markup_in_a_description_is_shown_not_run(visit: Open) -> None:
    seen = visit()
    seen.choose("The with-markup")
    text = describe(seen)
    assert "<img src=x onerror=alert(1)>" in text
    assert "<img src=x onerror=alert(1)>" in seen.page.inner_text("#sure")
    assert seen.page.locator("#sure img, #sure b, #status img, #status b").count() == 0
    assert seen.page.locator("#sure mark").count() >= 1


def test_the_prompt_is_there_only_where_a_variant_takes_one(visit: Open) -> None:
    seen = visit()
    assert not seen.page.is_visible("#prompt textarea")
    seen.choose("The with-prompt")
    seen.page.wait_for_selector("#prompt textarea")
    assert seen.page.input_value("#prompt textarea") == "What is in the picture?"
    seen.choose("The with-markup")
    seen.page.wait_for_selector("#prompt textarea", state="hidden")


BAD_FILES = [("letter.jpg", b"%PDF-1.7\n1 0 obj\n", "not a picture"), ("cut.jpg", None, "damaged or cut short"),
             ("empty.jpg", b"", "empty")]


@pytest.mark.parametrize(("name", "content", "sentence"), BAD_FILES, ids=[row[0] for row in BAD_FILES])
def test_a_bad_file_is_answered_at_once_and_nothing_is_lost(visit: Open, tmp_path: Path, name: str,
                                                            content: bytes | None, sentence: str) -> None:
    seen = visit()
    seen.choose("The with-markup")
    before = describe(seen)
    (tmp_path / name).write_bytes(CAT.read_bytes()[:9000] if content is None else content)
    seen.give(tmp_path / name)
    assert sentence in seen.status("error")
    assert seen.text() == before
    assert seen.page.locator("#picture img").count() == 0
    describe(seen)


def test_describe_without_a_picture_says_what_to_do(visit: Open) -> None:
    seen = visit()
    seen.page.click("#describe")
    assert "give it one first" in seen.status("error")
    seen.page.click("#speak")
    seen.page.wait_for_function("/no text/.test(document.querySelector('#status').innerText)")


def test_an_example_needs_two_presses(visit: Open) -> None:
    seen = visit()
    seen.choose("The with-markup")
    seen.page.click("#example-coffee-cup")
    seen.page.wait_for_selector("#picture img")
    seen.page.click("#describe")
    seen.status("done")


def walk(seen: Visit, wanted: str, most: int = 40, key: str = "Tab") -> int:
    """Press Tab until the focus is inside `wanted`; how many presses it took."""
    for presses in range(1, most + 1):
        seen.page.keyboard.press(key)
        if seen.page.evaluate("(wanted) => !!document.activeElement.closest(wanted)", wanted):
            return presses
    raise AssertionError(f"{wanted} is not reached by {most} presses of {key}")


def test_by_keyboard_alone(visit: Open) -> None:
    """Skip link, picture by the file chooser, Describe, description, Speak: in this order, without a mouse."""
    seen = visit()
    assert walk(seen, ".skip") == 1
    seen.page.wait_for_function("document.activeElement.getBoundingClientRect().top >= 0", timeout=5000)  # it slides in
    seen.page.keyboard.press("Enter")
    assert walk(seen, "#picture button") == 1
    with seen.page.expect_file_chooser() as chooser:
        seen.page.keyboard.press("Enter")
    chooser.value.set_files(CAT)
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
    describe(seen)
    for selector in ("#picture", "#describe", "#status", "#description", "#speak"):
        place = box(seen, selector)
        assert place["y"] >= 0 and place["y"] + place["height"] <= WIDE[1], selector


def test_on_a_phone_nothing_scrolls_sideways_and_the_result_follows_the_button(visit: Open) -> None:
    seen = visit(PHONE)
    describe(seen)
    assert seen.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    tops = [box(seen, selector)["y"] for selector in ("#picture", "#describe", "#description", "#examples", "#variant")]
    assert tops == sorted(tops)
    assert all(box(seen, f"#{name}")["height"] >= 40 for name in ("describe", "stop", "speak", "copy", "save-text"))


def violations(seen: Visit, state: str) -> list[str]:
    found = Axe().run(seen.page).response
    assert len(found["passes"]) > 15  # it did look
    return [f"{state}: {row['id']} {node['target']} {node['html'][:120]}"
            for row in found["violations"] for node in row["nodes"]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
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
    describe(seen)
    seen.page.click("#speak")
    seen.page.wait_for_selector("#sound audio")
    found += violations(seen, "described")
    seen.page.fill("#description textarea", "")
    seen.page.click("#speak")
    seen.status("error")
    found += violations(seen, "error")
    seen.page.click("#voice input")
    seen.page.wait_for_timeout(600)  # it fades in
    found += violations(seen, "list open")
    assert found == []


def test_the_page_tells_who_it_is(visit: Open) -> None:
    seen = visit()
    assert seen.page.title() == "Visual Narrator"
    assert seen.page.get_attribute("html", "lang") == "en"
    assert seen.page.locator("h1").count() == 1 and seen.page.locator("main").count() == 1


def test_what_is_left_out_of_the_list_is_said(visit: Open) -> None:
    seen = visit()
    seen.page.click("#settings > button")
    assert "is not valid YAML" in seen.page.locator("#left-out").inner_text()


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
    text = describe(seen)
    heard = seen.page.evaluate("window.heard")
    assert len(heard) == len(set(heard)) <= 5
    assert text in seen.page.evaluate("document.querySelector('#status').textContent")
    assert seen.page.evaluate("window.line === document.querySelector('#status') && window.line.ariaLive === 'polite'")

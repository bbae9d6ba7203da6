"""The Narrate tab in a real browser, as a person uses it: words, voice, Stop, bad files."""

import base64
import io
import time
import urllib.request
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
from bad_input import CAT, FILES, Odd
from PIL import Image, ImageOps
from serving import PICTURES, SLOW_STEP_S, Server
from speaking import LONG

from browser.conftest import WAIT_MS, Visit
from narrator.pictures import open_picture, picture_bytes
from narrator.speech.process import WORKER

pytestmark = pytest.mark.browser
Open = Callable[..., Visit]


def bundled(seen: Visit) -> bool:
    return "Photo captioner" in seen.page.input_value("#variant input")


def test_a_photograph_is_described_and_heard(visit: Open, tmp_path: Path) -> None:
    seen = visit()
    text = seen.describe()
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
    assert "cat" in seen.describe().lower()


def test_the_text_can_be_edited_copied_saved_and_is_what_is_spoken(visit: Open) -> None:
    seen = visit()
    seen.describe()
    mine = "My own words: <b>kept</b> as they are."
    seen.page.fill("#description textarea", mine)
    seen.page.click("#copy")
    seen.page.locator("#status .line", has_text="Copied.").wait_for(timeout=WAIT_MS)
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


def begin_slowly(seen: Visit) -> None:
    """Start a description of 40 s, and wait for its second word."""
    seen.choose("The very-slow")
    seen.give(CAT)
    seen.page.click("#describe")
    seen.page.wait_for_function("/word1/.test(document.querySelector('#description textarea').value)", timeout=WAIT_MS)


def test_stop_in_the_middle_keeps_what_is_written_and_frees_the_model(visit: Open) -> None:
    seen = visit()
    begin_slowly(seen)
    seen.page.click("#stop")
    assert "What was written so far is kept" in seen.status("stopped")
    kept = seen.text()
    assert "word1" in kept and "word39" not in kept
    seen.page.wait_for_timeout(2500 * SLOW_STEP_S)
    assert seen.text() == kept
    seen.choose("The with-markup")
    seen.page.click("#describe")
    seen.status("done")  # the device is free again
    seen.page.click("#stop")
    assert "nothing to stop" in seen.status("ready")


def test_a_closed_page_frees_the_model(visit: Open) -> None:
    seen, leaving = visit(), visit()
    seen.choose("The with-markup")
    seen.give(CAT)
    begin_slowly(leaving)
    leaving.page.close()
    started = time.monotonic()
    seen.page.click("#describe")
    seen.status("done")
    assert time.monotonic() - started < 20  # of the 38 s that it would have taken


def test_stop_ends_the_voice(visit: Open, server: Server) -> None:
    def voices() -> list[psutil.Process]:
        return [child for child in psutil.Process(server.pid).children() if str(WORKER) in child.cmdline()]

    seen = visit()
    seen.page.fill("#description textarea", LONG * 200)  # half a minute of work, two hours of speech
    seen.page.click("#speak")
    assert "Making the sound" in seen.status("busy")
    while not (speaking := voices()):
        seen.page.wait_for_timeout(20)
    seen.page.click("#stop")
    assert "Nothing is spoken" in seen.status("stopped")
    assert psutil.wait_procs(speaking, timeout=10)[1] == []
    assert seen.page.locator("#sound audio").count() == 0 and seen.text() == (LONG * 200)
    seen.page.fill("#description textarea", "Short words.")
    seen.page.click("#speak")
    assert "Speaking" in seen.status("done")


def test_markup_in_a_description_is_shown_not_run(visit: Open) -> None:
    seen = visit()
    seen.choose("The with-markup")
    text = seen.describe()
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


BAD_FILES = [odd for odd in FILES if odd.name in ("letter.jpg", "cut.jpg", "empty.jpg")]


@pytest.mark.parametrize("odd", BAD_FILES, ids=[odd.name for odd in BAD_FILES])
def test_a_bad_file_is_answered_at_once_and_nothing_is_lost(visit: Open, tmp_path: Path, odd: Odd) -> None:
    seen = visit()
    seen.choose("The with-markup")
    before = seen.describe()
    seen.give(odd.write(tmp_path))
    assert odd.says in seen.status("error")
    assert seen.text() == before
    assert seen.page.locator("#picture img").count() == 0
    seen.describe()


def test_describe_without_a_picture_loses_nothing_and_speaks_nothing(visit: Open) -> None:
    seen = visit()
    seen.page.fill("#description textarea", "My own words.")
    seen.page.check("#at-once input")
    seen.page.click("#describe")
    assert "give it one first" in seen.status("error")
    seen.page.wait_for_timeout(1500)  # a voice would have begun
    assert "give it one first" in seen.status("error") and seen.text() == "My own words."
    assert seen.page.locator("#sound audio").count() == 0
    seen.page.fill("#description textarea", "")
    seen.page.click("#speak")
    seen.page.wait_for_function("/no text/.test(document.querySelector('#status').innerText)")


def given(seen: Visit) -> Image.Image:
    """The picture that the page holds, once it says that it is ready."""
    seen.page.locator("#status", has_text="is ready").wait_for(timeout=WAIT_MS)
    return held(seen)


def held(seen: Visit) -> Image.Image:
    answer = seen.page.request.get(seen.page.get_attribute("#picture img[src]", "src") or "")
    return Image.open(io.BytesIO(answer.body())).convert("RGB")


def apart(one: Image.Image, other: Image.Image) -> float:
    """The mean difference of two pictures in levels, looked at in 64 x 48 cells."""
    cells = [np.asarray(picture.resize((64, 48)), dtype=np.float64) for picture in (one, other)]
    return float(np.abs(cells[0] - cells[1]).mean())


def test_the_camera_takes_what_it_sees(visit: Open) -> None:
    """By keyboard: refused in a sentence, then allowed; the picture is no mirror image, and the camera is let go."""
    seen = visit()
    seen.page.focus('#picture [aria-label="Take a picture with the camera"]')
    seen.page.keyboard.press("Enter")
    opening = seen.page.locator('[title="grant webcam access"] button:focus')
    opening.wait_for(timeout=WAIT_MS)
    seen.page.keyboard.press("Enter")
    assert "may not be used here" in seen.status("error")
    seen.page.context.grant_permissions(["camera"])
    seen.page.keyboard.press("Enter")
    seen.page.locator("#status", has_text="The camera is open").wait_for(timeout=WAIT_MS)
    seen.page.locator("#picture .photo-capture:focus").wait_for(timeout=WAIT_MS)
    seen.page.evaluate("window.camera = document.querySelector('#picture video').srcObject.getTracks()[0]")
    seen.page.keyboard.press("Enter")
    picture, cat = given(seen), Image.open(CAT).convert("RGB")
    assert picture.size == (640, 480) and 3 * apart(picture, cat) < apart(ImageOps.mirror(picture), cat)
    seen.page.locator("#describe:focus").wait_for(timeout=WAIT_MS)
    assert seen.page.evaluate("window.camera.readyState") == "ended"
    assert [each for each in seen.errors if "404" not in each and each != "Response"] == []
    seen.errors.clear()  # Gradio asks how an upload goes on that was never begun


COPY = """async (url) => {
    const blob = await (await fetch(url)).blob();
    await navigator.clipboard.write([new ClipboardItem({ [blob.type]: blob })]);
}"""


def test_a_picture_is_pasted_by_button_and_by_key(visit: Open) -> None:
    """Onto an empty place and onto a picture; words stay words; what cannot be pasted is said."""
    seen = visit()
    seen.choose("The with-markup")
    cup = open_picture(PICTURES / "coffee-cup.jpg")
    copied = base64.b64encode(picture_bytes(cup, "PNG")).decode()
    seen.page.evaluate(COPY, f"data:image/png;base64,{copied}")
    paste = '#picture [aria-label="Paste a picture"]'
    seen.page.click(paste)
    assert apart(given(seen), cup) == 0
    seen.give(CAT)
    seen.page.evaluate("document.activeElement.blur()")
    seen.page.keyboard.press("Control+v")
    seen.page.locator("#describe:focus").wait_for(timeout=WAIT_MS)
    seen.page.wait_for_function("(width) => document.querySelector('#picture img[src]')?.naturalWidth === width",
                                arg=cup.width, timeout=WAIT_MS)
    assert apart(given(seen), cup) == 0
    seen.page.keyboard.press("Enter")
    assert "Described in" in seen.status("done")
    seen.page.evaluate("navigator.clipboard.writeText(' and more')")
    seen.page.click(paste)
    assert "no picture on the clipboard" in seen.status("error")
    before = seen.text()
    seen.page.focus("#description textarea")
    seen.page.keyboard.press("Control+End")
    seen.page.keyboard.press("Control+v")
    assert seen.text() == before + " and more" and apart(held(seen), cup) == 0
    seen.page.context.clear_permissions()
    seen.page.click(paste)
    seen.page.locator("#status .error", has_text="Press Ctrl+V").wait_for(timeout=WAIT_MS)


def test_an_example_needs_two_presses(visit: Open) -> None:
    seen = visit()
    seen.choose("The with-markup")
    seen.page.click("#example-coffee-cup")
    seen.page.wait_for_selector("#picture img")
    seen.page.click("#describe")
    assert "Described in" in seen.status("done") and seen.text()


def test_what_is_left_out_of_the_list_is_said(visit: Open) -> None:
    seen = visit()
    seen.page.click("#settings > button")
    assert "is not valid YAML" in seen.page.locator("#left-out").inner_text()

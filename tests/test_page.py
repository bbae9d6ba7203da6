"""The page without a browser: handlers as plain functions, and the HTML that the page writes."""

import asyncio
import dataclasses
import os
import subprocess
import sys
import threading
import time
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from plumbing import write_checkpoint
from speaking import LONG, linux_only, wait_for_worker, workers

from narrator.families import FAMILIES
from narrator.records import Narration, NarratorError, Voice
from narrator.settings import GenerationSettings
from narrator.ui import accessibility, handlers, work
from narrator.uploads import KEPT_S, new_sound, uploaded_path

DEFAULTS = list(dataclasses.asdict(GenerationSettings()).values())


@pytest.fixture
def variants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of checkpoints with the variant "sayer", which the catalog reads."""
    monkeypatch.setitem(FAMILIES, "sayer", "plumbing:Sayer")
    monkeypatch.setenv("NARRATOR_CHECKPOINTS", str(tmp_path / "checkpoints"))
    write_checkpoint(tmp_path / "checkpoints", "sayer")
    return tmp_path / "checkpoints"


@pytest.fixture
def uploads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    (tmp_path / "uploads").mkdir()
    return tmp_path / "uploads"


def views(source: Any) -> list[handlers.View]:
    async def collect() -> list[handlers.View]:
        return [view async for view in source]
    return asyncio.run(collect())


def narration(text: str, uncertain: tuple[str, ...] = (), at: tuple[int, ...] = (),
              confidence: float | None = 0.5) -> Narration:
    return Narration(id="1", created="", image_sha256=None, variant_id="v", prompt="", settings={}, text=text, tokens=3,
                     first_token_s=0.1, total_s=0.2, confidence=confidence, uncertain=uncertain,
                     uncertain_at=at)


@pytest.fixture
def picture() -> Path:
    return accessibility.ASSETS / "pictures" / "cat.jpg"


def test_describing_ends_with_text_figures_and_a_spoken_status(variants: Path, picture: Path) -> None:
    shown = views(handlers.describe(str(picture), "sayer", "", DEFAULTS))
    assert shown[-1].text == "A dog runs on grass." and shown[-1].doing == handlers.DESCRIBED
    assert "runs" in (shown[-1].sure or "") and "A dog runs on grass." in (shown[-1].status or "")


def test_the_words_of_before_go_with_the_first_new_ones(variants: Path, picture: Path) -> None:
    """Loading may take a minute, and may fail: until a word is there, a person's own words stay, figures included."""
    write_checkpoint(variants, "steady", step_s=0.15)
    shown = views(handlers.describe(str(picture), "steady", "", DEFAULTS))
    texts = [view.text for view in shown]
    first = next(number for number, text in enumerate(texts) if text is not None)
    assert first > 0 and texts[first] and shown[first].sure == ""
    assert all(view.sure is None for number, view in enumerate(shown[:-1]) if number != first)
    assert all(view.doing == handlers.DESCRIBING for view in shown[:-1]) and len(texts) > 4


MENDED = [("nothing", None, "sayer", DEFAULTS, "give it one first"),
          ("no variant", "cat", None, DEFAULTS, "There is no variant"),
          ("an empty field", "cat", "sayer", [None, *DEFAULTS[1:]], "max_new_tokens"),
          ("out of range", "cat", "sayer", [40, 3, 9.0, *DEFAULTS[3:]], "temperature")]


@pytest.mark.parametrize(("given", "variant", "values", "sentence"), [row[1:] for row in MENDED],
                         ids=[row[0] for row in MENDED])
def test_what_a_person_can_mend_becomes_a_status_line(variants: Path, picture: Path, given: str | None, variant: Any,
                                                      values: list, sentence: str) -> None:
    shown = views(handlers.describe(given and str(picture), variant, "", values))
    assert "Problem" in (shown[-1].status or "") and sentence in (shown[-1].status or "")
    assert all(view.text is None and view.sure is None for view in shown)  # a person's own words stay
    assert shown[-1].doing == ""  # so that nothing speaks them unasked


def test_what_nobody_foresaw_is_said_and_raised(variants: Path, picture: Path) -> None:
    (variants / "sayer" / "config.json").write_text('{"words": [["a", "high"]], "step_s": 0}')
    seen: list[handlers.View] = []

    async def run() -> None:
        async for view in handlers.describe(str(picture), "sayer", "", DEFAULTS):
            seen.append(view)
    with pytest.raises(TypeError):
        asyncio.run(run())
    assert "unexpected" in (seen[-1].status or "") and seen[-1].doing == ""


def test_stop_says_what_it_stopped() -> None:
    assert "written so far is kept" in handlers.stopped(handlers.DESCRIBING)
    assert "Stopped" in handlers.stopped(handlers.SPEAKING) and "written" not in handlers.stopped(handlers.SPEAKING)
    for doing in ("", handlers.DESCRIBED):
        assert "nothing to stop" in handlers.stopped(doing) and "Stopped" not in handlers.stopped(doing)


def test_leaving_the_loop_stops_the_thread() -> None:
    steps, ended = [], threading.Event()

    def start(stop: threading.Event) -> Iterator[int]:
        try:
            for number in range(1000):
                steps.append(number)
                time.sleep(0.01)
                yield number
        finally:
            ended.set()

    async def leave() -> None:
        items = work.newest(start)
        async for number in items:
            if number > 3:
                break
        await items.aclose()  # type: ignore[attr-defined]
    asyncio.run(leave())
    assert ended.wait(5) and len(steps) < 500


def test_the_newest_item_alone_is_shown_and_the_last_is_never_lost() -> None:
    def start(stop: threading.Event) -> Iterator[int]:
        yield from range(100_000)

    async def collect() -> list[int]:
        return [item async for item in work.newest(start)]
    found = asyncio.run(collect())
    assert found[-1] == 99_999 and len(found) < 5_000 and found == sorted(found)


def test_an_error_comes_after_what_was_made_before_it() -> None:
    def start(stop: threading.Event) -> Iterator[str]:
        yield "before"
        raise NarratorError("broken")

    async def collect() -> None:
        async for item in work.newest(start):
            assert item == "before"
    with pytest.raises(NarratorError, match="broken"):
        asyncio.run(collect())


def test_whatever_was_written_is_escaped() -> None:
    evil = "<script>alert(1)</script>"
    sure = accessibility.how_sure(narration(evil, ("script",), (3,)))
    assert all("<script" not in text for text in (sure, accessibility.status(evil, "error", spoken=evil),
                                                  accessibility.left_out([evil])))
    assert "alert(1)&lt;/<mark>script" in sure and sure.count("<mark>") == 1


def test_guesses_are_marked_where_they_stand() -> None:
    html = accessibility.how_sure(narration("A cat on a mat.", ("a", "mat"), (3, 4), 0.71))
    assert "71% sure" in html and "2 words are guesses: “a”, “mat”" in html
    marked = html.split('class="guesses">')[1]
    assert marked.startswith("A cat on <mark>a<") and "<mark>mat<" in marked
    assert "(a guess)" in marked and marked.count("<mark>") == 2
    second = accessibility.how_sure(narration("The man and the man's dog and the man.", ("man",), (8,)))
    assert "the man&#x27;s dog and the <mark>man<" in second and second.count("<mark>") == 1
    assert "does not tell" in accessibility.how_sure(narration("x", confidence=None))
    assert "No word stands out" in accessibility.how_sure(narration("x", ()))


def test_a_picture_that_browsers_cannot_show_is_shown_as_one_that_they_can(tmp_path: Path, picture: Path) -> None:
    Image.new("CMYK", (40, 30), "red").save(tmp_path / "a.tif")
    shown, line = handlers.check_picture(str(tmp_path / "a.tif"))
    assert (shown.mode, shown.size) == ("RGB", (40, 30)) and "ready" in line
    assert "ready" in handlers.check_picture(str(picture))[1]


def test_speaking_makes_a_file_below_the_uploads(uploads: Path) -> None:
    shown = views(handlers.speak("Hello there.", None, 1.0, 50))
    assert shown[-1].path and shown[-1].path.is_relative_to(uploads)
    with wave.open(str(shown[-1].path)) as sound:
        assert sound.getnframes() > 10_000


@pytest.mark.parametrize(("text", "speed", "sentence"), [("", 1.0, "no text"), ("hi", None, "need a number")])
def test_what_cannot_be_spoken_is_said(uploads: Path, text: str, speed: Any, sentence: str) -> None:
    shown = views(handlers.speak(text, None, speed, 50))
    assert sentence in (shown[-1].status or "") and shown[-1].path is None and shown[-1].doing == ""
    assert list(uploads.glob("sounds/*")) == []


@linux_only
def test_leaving_ends_the_voice_and_leaves_no_file(uploads: Path) -> None:
    async def leave() -> None:
        async def speak() -> None:
            async for view in handlers.speak(LONG * 300, None, 1.0, 50):
                assert view.doing == handlers.SPEAKING and view.path is None
        speaking = asyncio.create_task(speak())
        await asyncio.to_thread(wait_for_worker)
        left.append(time.monotonic())
        speaking.cancel()
        await asyncio.gather(speaking, return_exceptions=True)
    left: list[float] = []
    asyncio.run(leave())  # waits for its threads, as a server does when it ends
    assert time.monotonic() - left[0] < 20  # the whole text takes 45 on an idle machine
    assert not workers() and list(uploads.glob("sounds/*")) == []


def test_a_full_or_locked_folder_for_sounds_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import gradio  # noqa: F401  # reads the variable for good when it is imported first

    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "file"))
    with pytest.raises(NarratorError, match="No sound can be saved"), new_sound():
        pass


def test_old_sounds_are_swept_away_and_new_ones_stay(uploads: Path) -> None:
    """Folders and all; and what another visitor's sweep took away between two looks disturbs nobody."""
    with new_sound() as old, new_sound() as empty, new_sound() as new:
        for path in (old, new):
            path.write_bytes(b"x")
    for folder in (old.parent, empty.parent):
        os.utime(folder, (time.time() - KEPT_S - 60,) * 2)
    (uploads / "sounds" / "0gone").symlink_to("nowhere")  # listed, and no longer there when looked at
    with new_sound() as newest:
        pass
    assert new.exists() and newest.parent.exists() and not old.parent.exists() and not empty.parent.exists()


def test_only_uploads_are_read(uploads: Path, tmp_path: Path) -> None:
    inside = uploads / "a" / "cat.jpg"
    inside.parent.mkdir()
    inside.write_bytes(b"x")
    assert uploaded_path(str(inside)) == uploaded_path({"path": str(inside)}) == inside.resolve()
    assert uploaded_path(None) is None and uploaded_path({"url": "x"}) is None
    outside = tmp_path / "secret"
    outside.write_text("s")
    (uploads / "link").symlink_to(outside)
    for bad in (str(outside), str(uploads / "link"), str(uploads / ".." / "secret"), str(uploads), "x\0y", ["x"], 5):
        with pytest.raises(NarratorError, match="not uploaded"):
            uploaded_path(bad)


VOICES = [Voice(id="de", name="German", languages=("de",)), Voice(id="us", name="American", languages=("en-US",)),
          Voice(id="gb", name="British", languages=("en-GB",))]


def test_the_first_voice_is_english_where_there_is_one() -> None:
    assert handlers.first_voice(VOICES) == "gb" and handlers.first_voice(VOICES[:2]) == "us"
    assert handlers.first_voice(VOICES[:1]) == "de" and handlers.first_voice([]) is None


def test_every_example_has_its_credit() -> None:
    credits = (accessibility.ASSETS / "CREDITS.md").read_text(encoding="utf-8")
    pictures = sorted((accessibility.ASSETS / "pictures").iterdir())
    assert len(pictures) >= 4 and all(f"`pictures/{path.name}`" in credits for path in pictures)


def test_an_idle_page_looks_seldom_into_its_queue() -> None:
    """Gradio's own fields: one of another name in a later release would be set and never read."""
    import gradio as gr
    from gradio.queueing import Queue

    from narrator.ui import build_page

    names = ("sleep_when_free", "progress_update_sleep_when_free")
    fresh = vars(Queue(False, 1, 1.0, 1, gr.Blocks()))
    assert all(vars(build_page()._queue)[name] >= 0.01 and name in fresh for name in names)


def test_a_page_without_voice_or_variant_says_so(variants: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole page is built without them; nothing to press is left that could not work."""
    from narrator.ui import build_page

    def silent() -> Any:
        raise NarratorError("No speech engine can run here: install pyttsx3.")
    monkeypatch.setattr(handlers, "speech_engine", silent)
    monkeypatch.setattr(handlers, "load_variants", dict)
    blocks = build_page().blocks.values()
    shown = " ".join(str(getattr(block, "value", "")) for block in blocks)
    assert "cannot speak yet" in shown and "install pyttsx3" in shown and "no model variant yet" in shown
    assert "speak" not in {getattr(block, "elem_id", None) for block in blocks}


def test_the_whole_page_is_built_before_torch(root: Path) -> None:
    """With every tab, in a fresh interpreter: people see the page while the model is still being loaded."""
    script = ("import sys; from narrator.ui import build_page; from trainer.tab import TITLE, train_tab; "
              "build_page([(TITLE, train_tab)]); print({'torch', 'transformers', 'datasets'} & set(sys.modules))")
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout.strip().splitlines()[-1:]) == (0, ["set()"]), done.stderr[-2000:]

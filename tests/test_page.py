"""The page without a browser: handlers as plain functions, the HTML that the page writes, the door of the server."""

import asyncio
import dataclasses
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

from narrator.families import FAMILIES
from narrator.records import Narration, NarratorError, Voice
from narrator.settings import GenerationSettings
from narrator.ui import accessibility, handlers, limits, work
from narrator.uploads import new_sound_path, uploaded_path

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


def narration(text: str, uncertain: tuple[str, ...] = (), confidence: float | None = 0.5) -> Narration:
    return Narration(id="1", created="", image_sha256=None, variant_id="v", prompt="", settings={}, text=text, tokens=3,
                     first_token_s=0.1, total_s=0.2, confidence=confidence, uncertain=uncertain)


@pytest.fixture
def picture() -> Path:
    return accessibility.ASSETS / "pictures" / "cat.jpg"


def test_describing_ends_with_text_figures_and_a_spoken_status(variants: Path, picture: Path) -> None:
    shown = views(handlers.describe(str(picture), "sayer", "", DEFAULTS))
    assert shown[0].text == "" and shown[0].sure == ""  # the last one's words go first
    assert shown[-1].text == "A dog runs on grass."
    assert "runs" in (shown[-1].sure or "") and "A dog runs on grass." in (shown[-1].status or "")


MENDED = [("nothing", None, "sayer", DEFAULTS, "give it one first"),
          ("an unknown variant", "cat", "sayr", DEFAULTS, "sayer"),
          ("no variant", "cat", None, DEFAULTS, "There is no variant"),
          ("an empty field", "cat", "sayer", [None, *DEFAULTS[1:]], "max_new_tokens"),
          ("out of range", "cat", "sayer", [40, 3, 9.0, *DEFAULTS[3:]], "temperature")]


@pytest.mark.parametrize(("given", "variant", "values", "sentence"), [row[1:] for row in MENDED],
                         ids=[row[0] for row in MENDED])
def test_what_a_person_can_mend_becomes_a_status_line(variants: Path, picture: Path, given: str | None, variant: Any,
                                                      values: list, sentence: str) -> None:
    shown = views(handlers.describe(given and str(picture), variant, "", values))
    assert "Problem" in (shown[-1].status or "") and sentence in (shown[-1].status or "")
    assert shown[-1].text is None  # what is written stays


def test_what_nobody_foresaw_is_said_and_raised(variants: Path, picture: Path) -> None:
    (variants / "sayer" / "config.json").write_text('{"words": [["a", "high"]], "step_s": 0}')
    seen: list[handlers.View] = []

    async def run() -> None:
        async for view in handlers.describe(str(picture), "sayer", "", DEFAULTS):
            seen.append(view)
    with pytest.raises(TypeError):
        asyncio.run(run())
    assert "unexpected" in (seen[-1].status or "")


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
    html = [accessibility.status(evil, "error", spoken=evil), accessibility.how_sure(narration(evil, ("script",))),
            accessibility.left_out([evil])]
    assert all("<script" not in text for text in html)
    assert accessibility.how_sure(narration(evil, ("script",))).count("<mark>script") == 1


def test_guesses_are_marked_as_whole_words_in_their_order() -> None:
    html = accessibility.how_sure(narration("A cat on a mat.", ("a", "mat"), 0.71))
    assert "71% sure" in html and "2 words are guesses: “a”, “mat”" in html
    marked = html.split('class="guesses">')[1]
    assert marked.startswith("A cat on <mark>a<") and "<mark>mat<" in marked
    assert "no colour" not in html and "(a guess)" in marked
    assert "does not tell" in accessibility.how_sure(narration("x", (), None))
    assert "No word stands out" in accessibility.how_sure(narration("x", ()))


def test_a_picture_that_is_none_is_taken_away_with_the_reason(tmp_path: Path, picture: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"%PDF-1.7")
    shown, line = handlers.check_picture(str(tmp_path / "a.jpg"))
    assert shown is None and "not a picture" in line
    Image.new("CMYK", (40, 30), "red").save(tmp_path / "a.tif")
    shown, line = handlers.check_picture(str(tmp_path / "a.tif"))  # browsers show no TIFF: a copy that they do
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
    assert sentence in (shown[-1].status or "") and shown[-1].path is None


def test_a_full_or_locked_folder_for_sounds_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "file"))
    with pytest.raises(NarratorError, match="No sound can be saved"):
        new_sound_path()


def test_old_sounds_are_swept_away_and_new_ones_stay(uploads: Path) -> None:
    import os

    old, new = new_sound_path(), new_sound_path()
    for path in (old, new):
        path.write_bytes(b"x")
    os.utime(old, (time.time() - 2 * 86400,) * 2)
    new_sound_path()
    assert new.exists() and not old.exists()


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


HOSTS = [("127.0.0.1:7860", True), ("localhost:7860", True), ("[::1]:7860", True), ("192.168.1.5:7860", True),
         ("evil.example", False), ("localhost.evil.example", False), ("", False), ("me.hf.space", False)]


@pytest.mark.parametrize(("host", "ours"), HOSTS)
def test_foreign_hosts_are_refused(host: str, ours: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SPACE_ID", "SPACE_HOST", "NARRATOR_HOSTS"):
        monkeypatch.delenv(name, raising=False)
    assert limits.host_is_ours(host) is ours


def test_more_hosts_are_ours_on_a_space_and_by_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NARRATOR_HOSTS", "narrator.lan, other.lan")
    assert limits.host_is_ours("other.lan:80") and not limits.host_is_ours("evil.example")
    monkeypatch.setenv("SPACE_ID", "a/b")
    assert limits.host_is_ours("a-b.hf.space") and not limits.host_is_ours("hf.space.evil.example")


def test_every_icon_of_the_manifest_has_the_size_it_says() -> None:
    icons = limits.manifest()["icons"]
    assert len(icons) == 3 and {row["purpose"] for row in icons} == {"any", "maskable"}
    for row in icons:
        with Image.open(accessibility.ASSETS / Path(row["src"]).name) as icon:
            assert f"{icon.width}x{icon.height}" == row["sizes"]


def test_every_example_has_its_credit() -> None:
    credits = (accessibility.ASSETS / "CREDITS.md").read_text(encoding="utf-8")
    pictures = sorted((accessibility.ASSETS / "pictures").iterdir())
    assert len(pictures) >= 4 and all(f"`pictures/{path.name}`" in credits for path in pictures)


def test_a_window_without_pywebview_is_told_in_a_sentence(root: Path) -> None:
    script = "import sys; sys.modules['webview'] = None; import app; sys.exit(app.main(['--window']))"
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2 and done.stderr.strip().count("\n") == 0 and "pip install" in done.stderr


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

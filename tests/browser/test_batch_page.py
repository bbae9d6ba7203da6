"""The Batch tab as a person uses it: upload, cancel, resume, edit, save; and the gallery, opened from a disk."""

from __future__ import annotations

import contextlib
import json
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from batching import environment, save_pictures
from playwright.sync_api import Browser, Page
from plumbing import write_checkpoint
from serving import Server, free_port, served

from browser.conftest import PHONE, WAIT_MS, WIDE, Visit

pytestmark = pytest.mark.browser
Open = Callable[..., Visit]


@contextlib.contextmanager
def serve(folder: Path, **more: str) -> Iterator[Server]:
    """A page over "teller" (at once) and "slow", with a history of its own."""
    takes = {"image": True, "text": True}
    write_checkpoint(folder / "checkpoints", "teller", family="teller", inputs=takes)
    write_checkpoint(folder / "checkpoints", "slow", family="teller", inputs=takes, step_s=0.1)
    with served(folder, free_port(), NARRATOR_CHECKPOINTS=str(folder / "checkpoints"),
                NARRATOR_HISTORY=str(folder / "history"), **environment(), **more) as server:
        yield server


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve(tmp_path_factory.mktemp("batches")) as server:
        yield server


@pytest.fixture(scope="module")
def address(running: Server) -> str:
    return running.address


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A zip with 22 pictures, one of them black, a cut one and a PDF; a picture and a text beside it."""
    folder = tmp_path_factory.mktemp("given")
    pictures = save_pictures(folder / "made", [0, *range(30, 51)])
    archive = folder / "trip.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for path in pictures:
            packed.write(path, f"day/{path.name}")
        packed.writestr("day/cut.png", pictures[1].read_bytes()[:150])
        packed.writestr("plan.pdf", b"%PDF-1.4")
    (folder / "notes.md").write_text("x")
    return [archive, pictures[-1], folder / "notes.md"]


def go(seen: Visit) -> Page:
    """The page, its Batch tab open."""
    seen.page.get_by_role("tab", name="Batch", exact=True).click()
    seen.page.wait_for_selector("#batch-status[role=status]")
    return seen.page


def says(page: Page, words: str) -> None:
    page.locator("#batch-status .line", has_text=words).wait_for(timeout=WAIT_MS)


def pick(page: Page, field: str, option: str) -> None:
    page.click(f"#{field} input")
    page.get_by_role("option", name=option).first.click()


def violations(page: Page, state: str) -> list[str]:
    found = Axe().run(page).response
    assert len(found["passes"]) > 12  # it did look
    sideways = page.evaluate("document.documentElement.scrollWidth > innerWidth")
    return [f"{state}: {row['id']} {node['target']} {node['html'][:160]}"
            for row in found["violations"] for node in row["nodes"]] + [f"{state}: sideways"] * sideways


def focused(page: Page, selector: str) -> None:
    page.wait_for_function("(wanted) => document.activeElement?.matches(wanted)", arg=selector, timeout=WAIT_MS)


def save(page: Page, kind: str) -> Path:
    pick(page, "batch-kind", kind)
    page.click("#batch-make")
    page.wait_for_selector("#batch-file", timeout=WAIT_MS)
    focused(page, "#batch-file, #batch-file *")
    with page.expect_download() as saved:
        page.keyboard.press("Enter")
    path = saved.value.path().with_name(saved.value.suggested_filename)
    saved.value.save_as(path)
    return path


def test_a_batch_with_bad_files_from_upload_to_download(visit: Open, running: Server, files: list[Path],
                                                        tmp_path: Path, chromium: Browser) -> None:
    """Preview, start, bad files by name, table and pages, edit and undo by keyboard, a retry, a reload, every kind of
    file, the gallery without a server; and what axe says on the way."""
    seen = visit(WIDE, "light")
    page = go(seen)
    found = violations(page, "empty")
    found += filled_in(page, files)
    page.click("#batch-start")
    says(page, "24 pictures by The teller is done: 24 pictures. 2 could not be described.")
    assert re.search(r"trip/day/picture-000\.png: .*too dark", page.inner_text("#batch-bad"))
    rows = page.locator("#batch-table tbody tr")
    assert rows.count() == 20 and "A field of brightness 50 for a test" in rows.first.inner_text()
    page.wait_for_function("""[...document.querySelectorAll('#batch-table img')].every(
        (picture) => { picture.loading = 'eager'; return picture.naturalWidth; })""")
    found += violations(page, "done")
    page.click("#batch-on")
    page.locator("#batch-table caption", has_text="Rows 21 to 24 of 24").wait_for()
    page.click("#batch-back")
    page.locator("#batch-table caption", has_text="Rows 1 to 20 of 24").wait_for()
    found += edited(page)
    page.click("#batch-table .batch-play")
    page.wait_for_function("document.querySelector('#batch-sound audio')?.currentTime > 0", timeout=WAIT_MS)
    (running.folder / "checkpoints" / "teller" / "mended").touch()
    page.click("#batch-retry")
    says(page, "24 pictures. 1 could not be described.")
    page.reload()
    page.wait_for_selector("#describe")
    page = go(seen)
    says(page, "24 pictures. 1 could not be described.")
    (tmp_path / "cut.png").write_bytes(files[1].read_bytes())
    page.set_input_files("#batch-better input[type=file]", tmp_path / "cut.png")  # a whole one, of the same name
    page.wait_for_function("!document.querySelector('#batch-bad').innerText.trim()", timeout=WAIT_MS)
    says(page, "is done: 24 pictures.")
    page.wait_for_selector("#batch-better", state="hidden")
    read_what_is_saved(page, tmp_path)
    assert found + of_the_gallery(chromium, tmp_path / "gallery" / "descriptions.html") == []


def filled_in(page: Page, files: list[Path]) -> list[str]:
    """What axe says of the form, once nothing was refused, files were looked through and all is chosen."""
    page.click("#batch-start")
    says(page, "no pictures yet")
    page.set_input_files("#batch-files input[type=file]", files)
    says(page, "24 pictures are ready. 1 of them cannot be opened. 2 files are left out.")
    assert page.locator("#batch-preview img").count() == 12
    told = page.inner_text("#batch-preview")
    assert re.search(r"trip/day/cut\.png: .*cut short", told) and "plan.pdf: It is no picture by its name." in told
    pick(page, "batch-variant", "The teller")
    page.fill("#batch-prompt textarea", "a test")
    page.check("#batch-speak input")
    page.wait_for_selector("#batch-voice input")
    return violations(page, "given")


def read_what_is_saved(page: Page, tmp_path: Path) -> None:
    with zipfile.ZipFile(save(page, "JSON lines")) as packed:  # a zip, for the sounds come along
        lines = [json.loads(line) for line in packed.read("descriptions.jsonl").decode().splitlines()]
        assert {line["audio"] for line in lines if line["audio"]} < set(packed.namelist())
    assert len(lines) == 24 and lines[0]["long"] == "A cat, put right." and all(
        line["audio"] for line in lines if not line["error"])
    with zipfile.ZipFile(save(page, "Gallery page")) as packed:
        packed.extractall(tmp_path / "gallery")


def edited(page: Page) -> list[str]:
    """Edit by keyboard: the focus goes to the texts and back to the row; undo; once more."""
    page.focus("#batch-table .batch-edit >> nth=0")
    page.keyboard.press("Enter")
    focused(page, "#batch-long textarea")
    assert page.input_value("#batch-long textarea") == "A field of brightness 50 for a test."
    page.fill("#batch-long textarea", " ")
    page.click("#batch-save")
    says(page, "long description is empty")
    found = violations(page, "editing")
    for _ in range(2):
        page.fill("#batch-long textarea", "A cat, put right.")
        page.focus("#batch-save")
        page.keyboard.press("Enter")
        says(page, "are kept. Undo takes them back.")
        focused(page, ".batch-edit[data-position='0']")
        page.locator("#batch-table tbody tr", has_text="A cat, put right.").wait_for()
        if page.input_value("#batch-kind input") != "CSV table":  # the first time
            page.click("#batch-undo")
            says(page, "Undone")
            page.locator("#batch-table tbody tr", has_text="brightness 50").first.wait_for()
            pick(page, "batch-kind", "CSV table")
            page.click("#batch-table .batch-edit >> nth=0")
            focused(page, "#batch-long textarea")
    return found


def of_the_gallery(chromium: Browser, path: Path) -> list[str]:
    """What axe finds on the gallery, opened from the disk without a network; its pictures and sounds are there."""
    found = []
    schemes: tuple[tuple[tuple[int, int], Literal["light", "dark"]], ...] = ((WIDE, "light"), (PHONE, "dark"))
    for size, scheme in schemes:
        context = chromium.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme,
                                       offline=True, bypass_csp=True)  # the page itself lets no script run
        page = context.new_page()
        page.goto(path.as_uri())
        assert page.locator("article").count() == 24 and page.locator("h1").count() == 1
        page.locator("img").last.scroll_into_view_if_needed()
        page.wait_for_function("[...document.images].every((i) => { i.loading = 'eager'; return i.naturalWidth; })")
        page.evaluate("document.querySelector('audio').play()")
        page.wait_for_function("document.querySelector('audio').currentTime > 0")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the pictures"
        page.wait_for_timeout(300)
        found += violations(page, f"gallery {scheme}")
        page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        found += violations(page, f"gallery {scheme}, opened")
        context.close()
    return found


HEARD = """() => { window.heard = []; new MutationObserver(() => {
    const text = document.querySelector("#batch-status").innerText.trim();
    if (text && text !== window.heard.at(-1)) window.heard.push(text); })
    .observe(document.querySelector("#batch-status"), {childList: true, subtree: true, characterData: true}); }"""


def test_cancel_and_resume_on_a_phone_in_the_dark(visit: Open, running: Server, files: list[Path]) -> None:
    """A batch that is cancelled by keyboard, stays so over a reload, goes on, is deleted after a question."""
    seen = visit(PHONE, "dark")
    page = go(seen)
    pick(page, "batch-variant", "The slow")
    page.set_input_files("#batch-files input[type=file]", files[:1])
    says(page, "23 pictures are ready")
    page.evaluate(HEARD)
    hold = running.folder / "checkpoints" / "slow" / "hold"
    hold.touch()
    page.click("#batch-start")
    page.wait_for_selector("#batch-facts progress[value]:not([value='0'])", timeout=WAIT_MS)
    found = violations(page, "running")
    page.focus("#batch-stop")
    page.keyboard.press("Enter")
    says(page, "stops after its next few pictures")
    hold.unlink()
    says(page, "is stopped at")
    page.wait_for_selector("#batch-resume")
    told = page.evaluate("window.heard")
    assert len(told) == len(set(told)) <= 7, told  # each once, and not at each picture
    found += violations(page, "stopped")
    page.reload()
    page.wait_for_selector("#describe")
    page = go(seen)
    says(page, "is stopped at")
    page.click("#batch-resume")
    says(page, "is done: 23 pictures.")
    found += violations(page, "done")
    found += deleted(page)
    assert found == []


def deleted(page: Page) -> list[str]:
    """What axe says of the question; then the batch is gone."""
    page.click("#batch-remove")
    page.wait_for_selector("#batch-question")
    focused(page, "#batch-keep")
    found = violations(page, "asked")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    says(page, "The batch is deleted.")
    return found


def test_visitors_of_a_shared_page_never_meet(chromium: Browser, tmp_path: Path, files: list[Path]) -> None:
    """Two browsers on a Space: one sees its batch after a reload and a restart of the server, the other none."""
    def enter(context: Any, address: str) -> Page:
        page = context.new_page()
        page.set_default_timeout(WAIT_MS)
        page.goto(address)
        page.wait_for_selector("#describe")
        page.get_by_role("tab", name="Batch", exact=True).click()
        page.wait_for_selector("#batch-status[role=status]")
        return page

    with serve(tmp_path, SPACE_ID="somebody/narrator") as server:
        ada, bob = chromium.new_context(), chromium.new_context()
        page = enter(ada, server.address)
        page.set_input_files("#batch-files input[type=file]", files[1])
        says(page, "1 picture is ready")
        page.click("#batch-start")
        says(page, "is done: 1 picture.")
        other = enter(bob, server.address)
        other.locator("#batch-none", has_text="No batch yet").wait_for(timeout=WAIT_MS)
        assert not other.is_visible("#batch-detail")
        page.close()
        page = enter(ada, server.address)
        says(page, "is done: 1 picture.")
        assert len(list((server.folder / "history" / "visitors").iterdir())) == 1
        ada.close()
        bob.close()

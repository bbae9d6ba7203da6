"""The History tab as a person uses it: what was narrated is there again, for its owner alone."""

import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from bad_input import CAT
from plumbing import write_checkpoint
from serving import PICTURES, Server, free_port, served

from browser.conftest import PHONE, WAIT_MS, WIDE, Visit
from narrator.corrections import Corrections
from narrator.keeping import Shelf
from narrator.pictures import open_picture
from narrator.votes import Vote, Votes

pytestmark = pytest.mark.browser
Open = Callable[..., Visit]
SAID = "A dog runs on grass."


def serve(folder: Path, **environment: str) -> Any:
    """A page over "sayer", which takes a prompt, with a history of its own."""
    write_checkpoint(folder / "checkpoints", "a-sayer", inputs={"image": True, "text": True}, default_prompt="what")
    return served(folder, free_port(), NARRATOR_CHECKPOINTS=str(folder / "checkpoints"), **environment)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve(tmp_path_factory.mktemp("history")) as server:
        yield server


@pytest.fixture(scope="module")
def address(running: Server) -> str:
    return running.address


def rows(server: Server) -> list[dict[str, Any]]:
    """What lies on the disk, the newest first."""
    kept = (server.folder / "history" / "narrations" / "rows").glob("[!.]*.json")
    return [json.loads(path.read_text()) for path in sorted(kept, reverse=True)]


def describe(seen: Visit, prompt: str, picture: Path = CAT) -> None:
    if "sayer" not in seen.page.input_value("#variant input"):
        seen.choose("The a-sayer")
    seen.page.wait_for_selector("#prompt textarea, #prompt input")
    seen.page.fill("#prompt :is(textarea, input)", prompt)
    seen.describe(picture)


def go(seen: Visit, tab: str) -> None:
    seen.page.get_by_role("tab", name=tab, exact=True).click()


def look(seen: Visit, words: str) -> None:
    """Go to the History tab; its list has been made anew, and holds the words."""
    with seen.page.expect_response(lambda answer: "/gradio_api/run/" in answer.url):
        go(seen, "History")
    shows(seen, words)


def shows(seen: Visit, words: str) -> None:
    seen.page.locator("#history-table", has_text=words).wait_for(timeout=WAIT_MS)


def says(seen: Visit, words: str) -> None:
    seen.page.locator("#history-status .line", has_text=words).wait_for(timeout=WAIT_MS)


def pick(seen: Visit, field: str, option: str) -> None:
    seen.page.click(f"#{field} input")
    seen.page.get_by_role("option", name=option).click()


def violations(seen: Visit, state: str) -> list[str]:
    found = Axe().run(seen.page).response
    assert len(found["passes"]) > 15  # it did look
    return [f"{state}: {row['id']} {node['target']} {node['html'][:120]}"
            for row in found["violations"] for node in row["nodes"]]


def test_describe_speak_find_play_open_again_export_delete(visit: Open, running: Server) -> None:
    seen = visit()
    look(seen, "No narration is kept yet")
    assert not seen.page.is_visible("#history-one") and not seen.page.is_visible("#history-all")
    go(seen, "Narrate")
    describe(seen, "which animal <b>?")
    seen.page.click("#speak")
    seen.page.wait_for_function("document.querySelector('#sound audio')?.currentTime > 0", timeout=WAIT_MS)
    seen.page.click("#settings > button")
    seen.page.fill("#set-seed input", "7")
    describe(seen, "what to drink", PICTURES / "coffee-cup.jpg")
    look(seen, "1 to 2 of 2")
    cells = seen.page.locator("#history-table tbody tr").nth(1).locator("td").all_inner_texts()
    assert SAID in cells[1] and "which animal <b>?" in cells[1] and "The a-sayer" in cells[2] and "Spoken" in cells[2]
    assert seen.page.get_attribute("#history-status", "role") == "status"
    seen.page.wait_for_function("[...document.querySelectorAll('#history-table img')].every((i) => i.naturalWidth)")
    assert [row["prompt"] for row in rows(running)] == ["what to drink", "which animal <b>?"]
    seen.page.click("#history-play")
    says(seen, "was not spoken")
    seen.page.fill("#history-words :is(textarea, input)", "ANIMAL grass")
    seen.page.keyboard.press("Enter")
    shows(seen, "1 to 1 of 1")
    seen.page.click("#history-play")
    seen.page.wait_for_function("document.querySelector('#history-sound audio')?.currentTime > 0", timeout=WAIT_MS)
    seen.page.fill("#history-words :is(textarea, input)", "")
    seen.page.click("#history-search")
    shows(seen, "1 to 2 of 2")
    opened_again(seen)
    look(seen, "1 to 2 of 2")
    exported(seen)
    deleted(seen, running)


def opened_again(seen: Visit) -> None:
    """The older of the two, while the fields of the Narrate tab hold what the newer one was asked."""
    pick(seen, "history-choice", "2: A dog")
    seen.page.click("#history-open")
    seen.page.locator("#status .line", has_text="Opened from the history").wait_for(timeout=WAIT_MS)
    seen.page.wait_for_function("document.activeElement.id === 'describe'", timeout=WAIT_MS)
    asked = "document.querySelector('#prompt textarea, #prompt input').value === 'which animal <b>?'"
    seen.page.wait_for_function(asked, timeout=WAIT_MS)
    assert seen.page.input_value("#set-seed input") == "0" and seen.text() == SAID
    assert seen.page.input_value("#variant input") == "The a-sayer"
    seen.page.wait_for_function("document.querySelector('#picture img')?.naturalWidth > 0", timeout=WAIT_MS)


def exported(seen: Visit) -> None:
    seen.page.click("#history-export")
    says(seen, "The zip with 2 narrations is ready")
    with seen.page.expect_download() as saved:
        seen.page.click("#history-zip")
    assert saved.value.suggested_filename == "narrations.zip"
    with zipfile.ZipFile(saved.value.path()) as archive:
        assert len(archive.namelist()) == 4 and archive.read("history/narrations.jsonl").count(b"\n") == 2


def deleted(seen: Visit, running: Server) -> None:
    """One, then all; the question is answered with no first."""
    seen.page.click("#history-delete")
    says(seen, "Deleted. 1 left.")
    shows(seen, "1 to 1 of 1")
    assert [row["prompt"] for row in rows(running)] == ["which animal <b>?"]
    seen.page.click("#history-clear")
    seen.page.wait_for_function("document.activeElement.id === 'history-no'")
    seen.page.keyboard.press("Enter")
    seen.page.wait_for_selector("#history-question", state="hidden")
    assert len(rows(running)) == 1
    seen.page.click("#history-clear")
    seen.page.click("#history-yes")
    says(seen, "All narrations are deleted.")
    shows(seen, "No narration is kept yet")
    seen.page.wait_for_function("document.activeElement.closest('#history-words')", timeout=WAIT_MS)
    assert not (running.folder / "history" / "narrations").exists()


def test_who_wants_nothing_kept_says_so_once_and_the_browser_remembers(visit: Open, running: Server) -> None:
    seen = visit()
    before = len(rows(running))
    go(seen, "History")
    seen.page.uncheck("#history-keep input")
    says(seen, "not kept from now on")
    seen.page.reload()
    seen.page.wait_for_selector("#describe")
    go(seen, "History")
    seen.page.wait_for_function("document.querySelector('#history-keep input')?.checked === false", timeout=WAIT_MS)
    go(seen, "Narrate")
    describe(seen, "a secret")
    look(seen, "narration" if not before else "1 to")
    assert "a secret" not in seen.page.inner_text("#history-table") and len(rows(running)) == before
    seen.page.check("#history-keep input")
    says(seen, "kept from now on")
    go(seen, "Narrate")
    describe(seen, "no secret")
    look(seen, "no secret")


@pytest.mark.parametrize(("size", "scheme"), [(WIDE, "light"), (PHONE, "dark")], ids=["wide-light", "phone-dark"])
def test_axe_finds_nothing_and_nothing_scrolls_sideways(visit: Open, running: Server, size: tuple[int, int],
                                                        scheme: str) -> None:
    """Votes are there, too, and are no narrations: nothing to open or to play."""
    votes = Votes(Shelf(running.folder / "history" / "votes"))
    votes.keep(Vote(variants=("a-sayer", "other"), texts=("A <i>dog</i>.", "A cat."), outcome="best", winner="other"))
    seen = visit(size, scheme)
    describe(seen, "what is there")
    seen.page.click("#speak")
    seen.page.wait_for_selector("#sound audio")
    look(seen, "what is there")
    found = violations(seen, "listed")
    seen.page.click("#history-play")
    seen.page.wait_for_selector("#history-sound audio")
    seen.page.click("#history-export")
    seen.page.wait_for_selector("#history-zip")
    seen.page.click("#history-clear")
    seen.page.wait_for_selector("#history-question")
    found += violations(seen, "asked")
    seen.page.click("#history-no")
    assert seen.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    pick(seen, "history-kind", "Votes")
    shows(seen, "Best: other")
    assert "A <i>dog</i>." in seen.page.inner_text("#history-table") and not seen.page.is_visible("#history-open")
    found += violations(seen, "votes")
    assert found == [] and seen.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    seen.page.click("#history-delete")
    says(seen, "Deleted.")
    assert votes.count() == 0


def test_visitors_of_a_shared_page_never_meet(chromium: Any, tmp_path: Path) -> None:
    """Two browsers on a Space: each finds its own narrations, after a reload too, and nothing of the other's."""
    with serve(tmp_path, SPACE_ID="somebody/narrator") as server:
        seen: list[Visit] = []
        for _ in range(2):
            context = chromium.new_context()
            context.set_default_timeout(WAIT_MS)
            seen.append(Visit(context.new_page(), [], []))
            seen[-1].page.goto(server.address)
            seen[-1].page.wait_for_selector("#describe")
        ada, bob = seen
        describe(ada, "asked by Ada")
        look(ada, "asked by Ada")
        ada.page.reload()
        ada.page.wait_for_selector("#describe")
        look(ada, "asked by Ada")
        hers, = (server.folder / "history" / "visitors").iterdir()
        Votes(Shelf(hers / "votes", shared=True)).keep(
            Vote(variants=("a-sayer", "other"), texts=("Her vote.", "A cat."), outcome="tie"))
        Corrections(Shelf(hers / "corrections", shared=True)).keep(
            open_picture(CAT), before="A dog.", after="Her correction.", variant="a-sayer")
        look(bob, "No narration is kept yet")
        for kind, own, none in (("Votes", "Her vote.", "No vote is kept yet"),
                                ("Corrections", "Her correction.", "No correction is kept yet")):
            pick(ada, "history-kind", kind)
            shows(ada, own)
            pick(bob, "history-kind", kind)
            shows(bob, none)
        pick(bob, "history-kind", "Narrations")
        shows(bob, "No narration is kept yet")
        go(bob, "Narrate")
        describe(bob, "asked by Bob")
        look(bob, "1 to 1 of 1")
        assert "Ada" not in bob.page.inner_text("#history-table")
        folders = list((server.folder / "history" / "visitors").iterdir())
        assert len(folders) == 2 and not (server.folder / "history" / "narrations").exists()
        for one in seen:
            one.page.context.close()

"""The Compare tab as a person uses it: side by side, blind from upload to leaderboard, by listening only, shared."""

import json
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from bad_input import CAT
from plumbing import write_checkpoint
from serving import Server, served

from browser.conftest import PHONE, WAIT_MS, WIDE, Visit

pytestmark = pytest.mark.browser
Open = Callable[..., Visit]
RED = [["a", 0.9], [" red", 0.8], [" dog", 0.8], [" <b>sits</b>", 0.7]]
SLOW = [[f" word{number}", 0.9] for number in range(40)]
TEXTS = {"The a-first": "A dog runs on grass.", "The b-second": "A red dog <b>sits</b>"}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("compare")
    write_checkpoint(folder / "checkpoints", "a-first")
    write_checkpoint(folder / "checkpoints", "b-second", words=RED)
    write_checkpoint(folder / "checkpoints", "c-slow", words=SLOW, step_s=1.0)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    with served(folder, port, NARRATOR_CHECKPOINTS=str(folder / "checkpoints"),
                NARRATOR_HISTORY=str(folder / "history")) as server:
        yield server


@pytest.fixture(scope="module")
def address(running: Server) -> str:
    return running.address


def enter(seen: Visit) -> Visit:
    seen.page.get_by_role("tab", name="Compare").click()
    seen.page.wait_for_selector("#compare-status[role=status]")
    return seen


def choose(seen: Visit, place: int, variant: str) -> None:
    seen.page.click(f"#compare-variant-{place} input")
    seen.page.get_by_role("option", name=variant, exact=True).click()
    seen.page.wait_for_selector("[role=option]", state="detached")  # the list fades out


def says(seen: Visit, words: str) -> None:
    seen.page.locator("#compare-status .line", has_text=re.compile(words)).wait_for(timeout=WAIT_MS)


def prepare(seen: Visit) -> None:
    """Two variants and a picture."""
    choose(seen, 1, "The a-first")
    choose(seen, 2, "The b-second")
    seen.page.set_input_files("#compare-picture input[type=file]", CAT)
    says(seen, "is ready")


def compare(seen: Visit) -> None:
    seen.page.click("#compare-run")
    says(seen, "2 descriptions are ready")


def open_up(seen: Visit, part: str, inside: str) -> None:
    seen.page.click(f"#compare-{part} > button")
    seen.page.wait_for_selector(inside)


def violations(seen: Visit, state: str) -> list[str]:
    found = Axe().run(seen.page).response
    assert len(found["passes"]) > 15  # it did look
    return [f"{state}: {row['id']} {node['target']} {node['html'][:120]}"
            for row in found["violations"] for node in row["nodes"]]


def titles(seen: Visit) -> list[str]:
    return seen.page.locator(".compared h2").all_inner_texts()


def test_side_by_side_heard_saved_and_opened_again(visit: Open, running: Server, tmp_path: Path) -> None:
    seen = enter(visit())
    prepare(seen)
    seen.page.fill("#compare-references textarea", "a red dog\na cat")
    open_up(seen, "settings", "#compare-set-seed input")
    seen.page.click("#compare-whose input")
    seen.page.get_by_role("option", name="Variant 2 alone").click()
    seen.page.fill("#compare-set-max-new-tokens input", "3")
    compare(seen)
    assert titles(seen) == ["1: The a-first", "2: The b-second"]
    assert seen.page.locator(".compared .said").all_inner_texts() == ["A dog runs on grass.", "A red dog."]
    assert seen.page.locator("#compare-2 mark").all_inner_texts() == ["red"]
    assert "Only here: runs, on, grass." in seen.page.inner_text("#compare-1")
    rows = {row.split("\t")[0]: row.split("\t")[1:] for row in
            seen.page.locator("#compare-figures tr").all_inner_texts()}
    assert rows["Length"] == ["5 words, 7 tokens", "3 words, 3 tokens"] and rows["BLEU-1"][1] == "1.000"
    assert rows["Settings"] == ["seed 0", "max new tokens 3, seed 0"] and rows["Time to first word"][0].endswith(" s")
    seen.page.click("#compare-speak-2")
    seen.page.wait_for_function("document.querySelector('#compare-sound audio')?.currentTime > 0", timeout=WAIT_MS)
    share(seen, running, tmp_path)
    stop(seen)
    seen.page.get_by_role("tab", name="History").click()  # what was told is there, its sound too
    spoken = seen.page.locator("#history-table tbody tr", has_text="Spoken")
    spoken.wait_for(timeout=WAIT_MS)
    assert "A red dog." in spoken.inner_text() and "The b-second" in spoken.inner_text()
    assert "A dog runs on grass." in seen.page.inner_text("#history-table")


def narrations(running: Server) -> int:
    """How many are on the disk."""
    return len(list((running.folder / "history" / "narrations" / "rows").glob("[!.]*.json")))


def pictured_page(seen: Visit) -> str:
    """The saved page, once it is the one with the picture."""
    for _ in range(100):
        with seen.page.expect_download() as saved:
            seen.page.click("#compare-html")
        assert saved.value.suggested_filename == "comparison.html"
        page = Path(saved.value.path()).read_text()
        if "data:image/png" in page:
            return page
        seen.page.wait_for_timeout(200)
    raise AssertionError("the saved page has no picture")


def share(seen: Visit, running: Server, tmp_path: Path) -> None:
    """Files with the picture, a link without; the link opens elsewhere and says the same again."""
    open_up(seen, "sharing", "#compare-pictured input")
    with seen.page.expect_download() as plain:
        seen.page.click("#compare-json")
    assert json.loads(Path(plain.value.path()).read_text())["picture"] is None
    seen.page.check("#compare-pictured input")
    page = pictured_page(seen)
    seen.page.uncheck("#compare-pictured input")
    seen.page.click("#compare-copy")
    says(seen, "The link is copied")
    link = seen.page.evaluate("navigator.clipboard.readText()")
    assert link.startswith(f"{running.address}#compare=") and len(link) < 2500
    field = "document.querySelector('#compare-link :is(textarea, input)')"
    seen.page.wait_for_function(f"(link) => {field}?.value === link", arg=link, timeout=WAIT_MS)
    other = Visit(seen.page.context.new_page(), [], [])
    other.page.set_content(page)
    assert violations(other, "file") == []
    other.page.goto(link)
    says(other, "This is a saved comparison.*Its picture was not saved with it")
    assert titles(other) == titles(seen) and other.page.input_value("#compare-variant-2 input") == "The b-second"
    other.page.set_input_files("#compare-picture input[type=file]", CAT)
    says(other, "is ready")
    compare(other)
    assert other.page.locator(".compared .said").all_inner_texts() == ["A dog runs on grass.", "A red dog."]
    other.page.close()


def stop(seen: Visit) -> None:
    choose(seen, 1, "The c-slow")
    seen.page.fill("#compare-set-max-new-tokens input", "40")
    seen.page.click("#compare-same")  # what the form shows becomes everybody's
    seen.page.locator("#compare-owners", has_text="the same settings").wait_for(timeout=WAIT_MS)
    seen.page.click("#compare-run")
    seen.page.locator("#compare-1", has_text="word2").wait_for(timeout=WAIT_MS)
    seen.page.click("#compare-stop")
    says(seen, "Stopped. What was written so far is kept.")
    assert "word2" in seen.page.inner_text("#compare-1") and "word39" not in seen.page.inner_text("#compare-1")
    assert "Stopped." in seen.page.inner_text("#compare-2")


def test_a_blind_vote_from_upload_to_leaderboard_by_keyboard(visit: Open, running: Server) -> None:
    seen = enter(visit(WIDE, "light"))
    found = violations(seen, "before")
    prepare(seen)
    before = narrations(running)
    seen.page.check("#compare-blind input")
    seen.page.wait_for_selector("#compare-listening input")
    seen.page.focus("#compare-run")
    seen.page.keyboard.press("Enter")
    says(seen, "2 descriptions are ready. Which is the best?")
    seen.page.wait_for_function("document.activeElement.id === 'compare-vote'", timeout=WAIT_MS)
    hidden = seen.page.inner_html("#compare-results") + seen.page.inner_html("#compare-figures")
    assert "The a-first" not in hidden and "The b-second" not in hidden and "Tokens per second" not in hidden
    assert titles(seen) == ["Description 1", "Description 2"] and not seen.page.is_visible("#compare-share")
    found += violations(seen, "to vote")
    texts = seen.page.locator(".compared .said").all_inner_texts()
    assert narrations(running) == before  # a list of them would give the names away
    seen.page.keyboard.press("2")
    says(seen, "You chose description 2: The")
    assert narrations(running) == before + 2
    seen.page.wait_for_function("document.activeElement.id === 'compare-results'", timeout=WAIT_MS)
    shown = [title.split(": ")[1] for title in titles(seen)]
    assert [TEXTS[name] for name in shown] == [text.removesuffix(".") if "sits" in text else text for text in texts]
    open_up(seen, "leaderboard", "#compare-board table")
    best = seen.page.locator("#compare-board tbody tr").first.inner_text().split("\t")
    assert best[1] == shown[1] and best[-4:] == ["1", "1", "0", "0"]
    found += violations(seen, "voted")
    with seen.page.expect_download() as saved:
        seen.page.click("#compare-votes-csv")
    assert shown[1].removeprefix("The ") in Path(saved.value.path()).read_text()
    assert len(list((running.folder / "history" / "votes").rglob("*.json"))) == 1
    seen.page.focus("#compare-undo")
    seen.page.keyboard.press("Enter")
    says(seen, "Your vote is taken back")
    seen.page.wait_for_function("document.activeElement.id === 'compare-results'", timeout=WAIT_MS)
    seen.page.locator("#compare-board", has_text="No vote yet").wait_for(timeout=WAIT_MS)
    assert found == []


def test_by_listening_only_on_a_phone_in_the_dark(visit: Open) -> None:
    seen = enter(visit(PHONE, "dark"))
    prepare(seen)
    seen.page.check("#compare-blind input")
    seen.page.check("#compare-listening input")
    compare(seen)
    says(seen, "Listen to each, then vote")
    seen.page.wait_for_selector("#compare-vote")
    whole = seen.page.content()
    assert "runs on grass" not in whole and "red dog" not in whole
    played: list[Any] = []
    for place in (1, 2):
        seen.page.click(f"#compare-speak-{place}")
        seen.page.wait_for_function("(before) => { const a = document.querySelector('#compare-sound audio');"
                                    " return a && a.currentTime > 0 && !before.includes(a.currentSrc); }", arg=played,
                                    timeout=WAIT_MS)
        played.append(seen.page.evaluate("document.querySelector('#compare-sound audio').currentSrc"))
    found = violations(seen, "listening")
    seen.page.focus("#compare-vote")
    seen.page.keyboard.press("t")
    says(seen, "You said: a tie")
    assert sorted(seen.page.locator(".compared .said").all_inner_texts())[0] == "A dog runs on grass."
    open_up(seen, "leaderboard", "#compare-board table")
    open_up(seen, "settings", "#compare-set-seed input")
    open_up(seen, "voices", "#compare-voice-1 input")
    assert seen.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert found + violations(seen, "all open") == []
    in_a_voice_of_its_own(seen, played)


def in_a_voice_of_its_own(seen: Visit, played: list[Any]) -> None:
    """The first text once more. played: where its sound was, and that of the second."""
    seen.page.click("#compare-voice-1 input")
    seen.page.get_by_role("option").nth(5).click()
    assert seen.page.input_value("#compare-voice-1 input") != seen.page.input_value("#compare-voice-2 input")
    seen.page.click("#compare-speak-1")
    seen.page.wait_for_function("(before) => { const a = document.querySelector('#compare-sound audio');"
                                " return a && a.currentTime > 0 && !before.includes(a.currentSrc); }", arg=played,
                                timeout=WAIT_MS)
    assert seen.page.evaluate("""async (before) => {
        const read = async (source) => new Uint8Array(await (await fetch(source)).arrayBuffer()).join();
        return await read(before) !== await read(document.querySelector('#compare-sound audio').currentSrc);
    }""", played[0])

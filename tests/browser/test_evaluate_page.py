"""The Evaluate tab in a real browser: from a zip to a report, cancelled and resumed on the way; a server that dies."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from serving import Server, served
from tiny_captioner import save_tiny_captioner

from browser.conftest import PHONE, WAIT_MS, Visit

pytestmark = pytest.mark.browser
Open = Callable[..., Visit]
ROWS = 60
TEXTS = ("A dog runs on grass.", "A man on a street.", "A cat <b>sits</b> on a sofa.")
STEPS = {"num-beams": "1", "max-new-tokens": "8"}


def environment(folder: Path) -> dict[str, str]:
    return {"NARRATOR_CHECKPOINTS": str(folder / "checkpoints"), "NARRATOR_EVALUATIONS": str(folder / "evaluations"),
            "NARRATOR_HISTORY": str(folder / "history"), "NARRATOR_DATA": str(folder / "data"), "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tiny captioners, and a zip of small pictures with texts."""
    folder = tmp_path_factory.mktemp("evaluate")
    for name in ("tiny-captioner", "tiny-second"):
        save_tiny_captioner(folder / "checkpoints" / name, name)
    second = folder / "checkpoints" / "tiny-second" / "variant.yaml"
    second.write_text(second.read_text().replace("Tiny captioner", "The second"))
    with zipfile.ZipFile(folder / "mine.zip", "w") as packed:
        rows = []
        for number in range(ROWS):
            Image.new("RGB", (24, 24), (4 * number, 90, 200 - number)).save(folder / "one.png")
            packed.write(folder / "one.png", f"images/{number}.png")
            rows.append({"image": f"images/{number}.png", "captions": [TEXTS[number % 3], "A thing."]})
        packed.writestr("captions.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(scope="module")
def running(home: Path) -> Iterator[Server]:
    with served(home, free_port(), **environment(home)) as server:
        yield server


@pytest.fixture(scope="module")
def address(running: Server) -> str:
    return running.address


class Evaluate:
    """The tab as a person uses it."""

    def __init__(self, page: Any) -> None:
        self.page = page
        if "evaluation=" not in page.url:
            page.get_by_role("tab", name="Evaluate").click()
        page.wait_for_selector("#evaluate-status[role=status]", timeout=WAIT_MS)
        page.wait_for_selector("#evaluate-leaderboard table", timeout=WAIT_MS)

    def says(self, words: str) -> str:
        line = self.page.locator("#evaluate-status .line")
        line.filter(has_text=words).wait_for(timeout=WAIT_MS)
        return str(line.inner_text())

    def give(self, home: Path) -> None:
        """The zip, both captioners, and settings that take a moment for each row."""
        self.page.set_input_files("#evaluate-upload input[type=file]", home / "mine.zip")
        self.says(f"{ROWS} pictures in mine.zip.")
        for name in ("Photo captioner", "Tiny captioner", "The second"):
            self.page.get_by_label(name, exact=True).set_checked(name != "Photo captioner")
        self.page.click("#evaluate-settings > button")
        for name, value in STEPS.items():
            self.page.fill(f"#evaluate-set-{name} input", value)

    def start(self) -> str:
        """The id of what is started."""
        self.page.click("#evaluate-start")
        self.page.wait_for_url("**evaluation=*", timeout=WAIT_MS)
        return str(self.page.url.partition("evaluation=")[2])

    def violations(self, state: str) -> list[str]:
        found = Axe().run(self.page).response
        assert len(found["passes"]) > 15  # it did look
        return [f"{state}: {row['id']} {node['target']} {node['html'][:120]}"
                for row in found["violations"] for node in row["nodes"]]

    def focused(self, selector: str) -> None:
        self.page.wait_for_function("(wanted) => document.activeElement.matches(wanted)", arg=selector, timeout=WAIT_MS)


def freeze(folder: Path) -> int:
    """Halt the process of an evaluation between two of its batches; its id. SIGCONT lets it go on."""
    end = time.monotonic() + WAIT_MS / 1000
    while time.monotonic() < end:
        if (folder / "results.jsonl").is_file():
            pid = int(json.loads((folder / "process.json").read_text())["pid"])
            os.kill(pid, signal.SIGSTOP)
            return pid
        time.sleep(0.005)
    pytest.fail("the evaluation has not begun: " + (folder / "log.txt").read_text()[-2000:])


def results(folder: Path) -> list[tuple[str, int]]:
    lines = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    return [(line["variant"], line["row"]) for line in lines]


def test_cancelled_resumed_and_read_to_the_end(visit: Open, running: Server, home: Path) -> None:
    seen = visit()
    tab, page = Evaluate(seen.page), seen.page
    assert "There are no evaluations yet" in page.inner_text("#evaluate-overview")
    page.click("#evaluate-start")
    tab.says("There is nothing to measure on yet")
    tab.give(home)
    found = tab.violations("form")
    folder = home / "evaluations" / tab.start()
    pid = freeze(folder)
    try:
        page.locator("#evaluate-facts", has_text="Running").wait_for(timeout=WAIT_MS)
        assert page.get_attribute("#evaluate-facts progress", "max") == str(2 * ROWS)
        page.click("#evaluate-stop")
        tab.says("keeps what is done")
        page.locator("#evaluate-facts", has_text="Cancelling").wait_for(timeout=WAIT_MS)
        found += tab.violations("running")
    finally:
        os.kill(pid, signal.SIGCONT)
    line, before = tab.says("was cancelled after"), results(folder)
    assert 0 < len(before) < 2 * ROWS and f"after {len(before)} of {2 * ROWS} descriptions" in line
    page.reload()
    tab = Evaluate(page)
    tab.says("was cancelled after")  # the page that is loaded anew watches it again
    found += tab.violations("cancelled")
    page.focus("#evaluate-resume")
    page.keyboard.press("Enter")
    tab.says("is done. Its report is below.")
    after = results(folder)
    assert after[:len(before)] == before and len(after) == len(set(after)) == 2 * ROWS  # nothing twice, nothing lost
    found += tab.violations("done")
    assert found == []
    read_report(page, folder)
    delete(tab, page, folder)


def delete(tab: Evaluate, page: Any, folder: Path) -> None:
    """By keyboard and with a question; then there is nothing left."""
    page.click("#evaluate-remove")
    tab.focused("#evaluate-keep")
    assert page.get_attribute("#evaluate-keep", "aria-describedby") == "evaluate-question"
    page.click("#evaluate-yes")
    tab.says("The evaluation is deleted.")
    page.locator("#evaluate-overview", has_text="There are no evaluations yet").wait_for(timeout=WAIT_MS)
    assert not folder.exists() and not page.is_visible("#evaluate-report")


def read_report(page: Any, folder: Path) -> None:
    """Words, formulas, rules, charts and tables; files; examples by variant, order and scene."""
    report = page.inner_text("#evaluate-report")
    assert "The second against Tiny captioner" in report and "Cannot tell" in report
    page.locator("#evaluate-report summary", has_text="CIDEr-D").click()
    assert page.get_by_text("Vedantam et al. 2015, CIDEr").is_visible()
    page.locator("#evaluate-report summary", has_text="How a row gets").click()
    assert page.get_by_text("animal, dog, puppy").is_visible()
    assert page.locator("#evaluate-report .bars").count() >= 4
    with page.expect_download() as saved:
        page.click("#evaluate-file-metrics")
    assert saved.value.suggested_filename == "metrics.json"
    assert Path(saved.value.path()).read_bytes() == (folder / "metrics.json").read_bytes()
    cards = page.locator("#evaluate-examples .cases > li")
    assert cards.count() == 6 and page.locator("#evaluate-examples b").count() == 0
    cards.first.scroll_into_view_if_needed()
    page.wait_for_function("document.querySelector('#evaluate-examples img').naturalWidth > 0")
    page.get_by_label("Best first").check()
    page.click("#evaluate-scene input")
    page.get_by_role("option", name="animals", exact=False).click()
    page.wait_for_function("""[...document.querySelectorAll('#evaluate-examples .quiet')].length > 0 &&
        [...document.querySelectorAll('#evaluate-examples .quiet')].every((p) => p.innerText.includes('animals'))""")
    page.focus("#evaluate-more")
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelectorAll('#evaluate-examples .cases > li').length > 6")
    page.wait_for_function("document.activeElement.matches('#evaluate-examples .cases > li')")


def test_it_outlives_its_server_and_is_seen_by_its_visitor_alone(chromium: Any, home: Path, tmp_path: Path) -> None:
    """A shared page: Ada's evaluation goes on while the server is killed, and the next one shows it to her alone."""
    port, places = free_port(), environment(tmp_path) | {"NARRATOR_CHECKPOINTS": str(home / "checkpoints"),
                                                         "SPACE_ID": "somebody/narrator"}
    contexts = [chromium.new_context(viewport={"width": PHONE[0], "height": PHONE[1]}, color_scheme="dark")
                for _ in range(2)]
    for context in contexts:
        context.set_default_timeout(WAIT_MS)
    ada, bob = (context.new_page() for context in contexts)
    with served(tmp_path, port, **places) as server:
        ada.goto(server.address)
        tab = Evaluate(ada)
        assert "A data set of this machine" not in ada.inner_text("#evaluate-source")
        tab.give(home)
        ada.click("#evaluate-start")
        tab.says("measures 200 rows at most")
        ada.fill("#evaluate-limit input", "40")
        run = tab.start()
        folder = next((tmp_path / "history" / "visitors").glob("*/evaluations")) / run
        pid = freeze(folder)
        ada.locator("#evaluate-facts", has_text="Running").wait_for()
    os.kill(pid, signal.SIGCONT)
    with served(tmp_path, port, **places) as server:
        ada.goto(f"{server.address}?evaluation={run}")
        tab = Evaluate(ada)
        tab.says("is done. Its report is below.")
        assert ada.locator("#evaluate-report .all-figures td").count() > 10
        ada.wait_for_timeout(500)
        assert tab.violations("done, phone, dark") == []
        assert not ada.evaluate("document.documentElement.scrollWidth > innerWidth")
        bob.goto(f"{server.address}?evaluation={run}")
        other = Evaluate(bob)
        bob.locator("#evaluate-overview", has_text="There are no evaluations yet").wait_for()
        assert not bob.is_visible("#evaluate-report") and other.violations("nothing, phone, dark") == []
        for context in contexts:
            context.close()

"""The Train tab in a real browser: a run as a screen reader hears it, what can be done with runs, and their states."""

from __future__ import annotations

import datetime
import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from serving import Server

from browser.conftest import PHONE, WAIT_MS, WIDE, Visit
from browser.training_page import LISTEN, STATES, Train, on_hold, one_waiting, write_states

pytestmark = pytest.mark.browser
Open = Callable[..., Visit]
HEARD = ("There is nothing to learn from yet", "Looking through the upload", r"The upload is ready\. 6 pictures",
         r"'epochs' must be between 0 and 1000", "Checking data and settings", r"This can run\.",
         r"is started\. It goes on when this page is closed\.",
         r"Step \d+ of 200\. CIDEr-D \d\.\d\d, (the first|best)")
# Of the accessibility tree: before, while it runs, and once it is trained.
FORM = ('heading "A new training" [level=2]', 'combobox "Start from"', 'radio "Upload pictures with texts" [checked]',
        'textbox "Name', 'spinbutton "Epochs', 'spinbutton "Seed"', 'button "Start training"', 'button "Check first"',
        'button "All settings', 'button "As YAML and as a command', 'button "On several GPUs or machines',
        'button "Earlier uploads')
RUNS = ('heading "Runs" [level=2]', 'combobox "Run"', 'button "Stop"', 'progressbar "Steps done"',
        'img "Loss while training"', 'img "CIDEr-D on held-out examples"', 'button "The curves as tables',
        'button "Log', 'region "All runs"')
TRAINED = ('combobox "Run"', 'button "Narrate with it"', 'button "Remove …"', 'heading "Report" [level=3]',
           'columnheader "Before"', 'columnheader "Tuned"', 'rowheader "CIDEr-D"', 'img "Held-out picture 1"',
           'button "Speak the words about picture 1"')
# Ticks are the only requests of a page that nobody touches: how many had begun when a step was first on the page.
COUNT_TICKS = """() => { window.ticks = 0; window.shown = {}; const send = window.fetch;
    window.fetch = (...given) => {
        if ((given[1]?.method || "").toUpperCase() === "POST") window.ticks += 1;
        return send(...given); };
    new MutationObserver(() => {
        const step = document.querySelector("#loss-words")?.textContent.match(/at step (\\d+); lowest/)?.[1];
        if (step && !(step in window.shown)) window.shown[step] = window.ticks; })
    .observe(document.querySelector("#train-curves"), {childList: true, subtree: true, characterData: true}); }"""


@pytest.fixture(scope="module")
def address(training: Server) -> str:
    return training.address


@pytest.fixture(scope="module")
def states(training: Server) -> Iterator[Path]:
    """The page's runs, a failed, a running and a finished one among them; the running one is this process, which none
    of the other tests' Stops may reach."""
    runs = write_states(training.folder)
    yield runs
    for name in STATES.values():
        shutil.rmtree(runs / name)


def in_order(wanted: tuple[str, ...], tree: str) -> None:
    """Each stands in the accessibility tree after the one before it."""
    at = 0
    for name in wanted:
        found = tree.find(name, at)
        assert found >= 0, f"{name} is not there, or not after what is before it:\n{tree}"
        at = found


def test_a_whole_run_as_a_screen_reader_hears_it(visit: Open, training: Server) -> None:
    """Form, check, start, milestones, a reload, the end; then the model that came of it describes."""
    train = Train(visit())
    page = train.page
    page.evaluate(LISTEN)
    in_order(FORM, page.locator("#train-new").aria_snapshot())
    page.click("#train-start")
    train.says("Upload a zip")
    page.set_input_files("#train-upload input[type=file]", training.folder / "mine.zip")
    train.says("6 pictures to learn from, 2 to measure on")
    train.tune_tiny("-1")
    page.click("#train-start")
    train.says("'epochs' must be between 0 and 1000")
    page.fill("#train-stages-epochs input", "200")
    page.click("#train-check")
    train.says("This can run.", 3 * WAIT_MS)  # three steps are tried
    assert 'heading "What the check found" [level=3]' in page.locator("#train-findings").aria_snapshot()
    assert page.locator("#train-findings .thumbs img").count() >= 4
    page.click("#train-start")
    page.wait_for_function("window.heard.some((line) => /Step .* of 200/.test(line))", timeout=WAIT_MS)
    heard = page.evaluate("window.heard")
    tree = page.locator("#train-runs").aria_snapshot()
    assert "run=tiny-captioner-tuned-" in page.url
    page.reload()
    train = Train(train.seen)
    heard.append(train.says("is trained: it is in the list of models on Narrate."))
    check_heard(heard)
    in_order(RUNS, tree)
    in_order(TRAINED, page.locator("#train-runs").aria_snapshot())
    assert page.get_attribute("#train-status", "aria-live") == "polite"
    assert page.locator("#train-curves .dot").count() > 2 and "Done" in page.inner_text("#train-overview")
    assert page.locator(".sample-row:visible").count() == 2 and "Before training" in page.inner_text("#train-sample-1")
    assert train.violations("trained") == []
    page.click("#train-narrate")
    page.wait_for_selector("#describe", state="visible")
    page.wait_for_function("document.querySelector('#variant input').value.includes('tuned')")
    assert train.seen.describe()


def check_heard(heard: list[str]) -> None:
    """Everything that matters, once and in its order; little else."""
    places = [next((at for at, line in enumerate(heard) if re.search(wanted, line)), -1) for wanted in HEARD]
    assert -1 not in places and places == sorted(places), heard
    assert len(heard) == len(set(heard)) <= len(HEARD) + 8, heard
    assert sum("It goes on when this page is closed" in line for line in heard) == 1


def test_two_windows_start_one_run_which_is_stopped_resumed_queued_and_removed(visit: Open) -> None:
    windows = [Train(visit()), Train(visit())]
    for train in windows:
        train.tune_tiny("900")
        train.learn_as_the_recipe_says()
    before = windows[0].page.locator("#train-overview tbody tr").count()
    windows[0].page.dblclick("#train-start")
    windows[1].page.click("#train-start")
    for train in windows:
        train.fact("Running")
    assert windows[0].page.url.split("run=")[1] == windows[1].page.url.split("run=")[1]
    train, page = windows[0], windows[0].page
    assert page.locator("#train-overview tbody tr").count() == before + 1
    page.fill("#train-seed input", "7")
    page.click("#train-start")  # another wish waits behind the first
    train.says("waits: number 1 in the queue")
    assert "Waiting, number 1" in page.inner_text("#train-overview")
    page.click("#train-stop")
    page.click("#train-remove")
    page.wait_for_function("document.activeElement.id === 'train-keep'")
    assert page.get_attribute("#train-keep", "aria-describedby") == "train-question"
    page.click("#train-yes")
    page.wait_for_selector("#train-stop")  # the first one is watched again
    assert "Stopped" not in page.inner_text("#train-overview")
    page.click("#train-stop")
    train.says("is stopped at step")
    page.click("#train-resume")
    train.fact("Running")
    page.click("#train-stop")
    train.says("is stopped at step")


def stop_an_upload(train: Train, folder: Path) -> None:
    """Pictures are left while they are looked through; nothing of them stays."""
    home = folder / "data" / "uploads"
    before = set(home.iterdir()) if home.exists() else set()
    with on_hold(folder):
        train.page.set_input_files("#train-upload input[type=file]", folder / "mine.zip")
        train.page.locator("#train-found", has_text="% unpacked.").wait_for()
        assert train.violations("an upload under way") == [] and not train.sideways()
        train.page.click("#train-upload-leave")
        train.says("The upload was stopped. Nothing of it is kept.")
        train.page.wait_for_selector("#train-upload-leave", state="hidden")
        deadline = time.monotonic() + 60
        while set(home.iterdir()) != before and time.monotonic() < deadline:
            time.sleep(0.05)
        assert set(home.iterdir()) == before


def write_for_several(train: Train) -> None:
    """The commands for two machines."""
    train.page.click("#train-several > button")
    train.page.fill("#train-several-machines input", "2")
    train.page.click("#train-several-write")
    train.says("2 commands are written")
    assert train.page.input_value("#train-several-command textarea").count("accelerate launch --config_file") == 2


def test_an_upload_is_stopped_or_deleted_and_the_command_for_several_machines_is_written(
        visit: Open, training: Server) -> None:
    train = Train(visit())
    page = train.page
    stop_an_upload(train, training.folder)
    with on_hold(training.folder):
        page.set_input_files("#train-upload input[type=file]", training.folder / "mine.zip")
        page.locator("#train-found", has_text="% unpacked.").wait_for()
        page.fill("#train-stages-epochs input", "7")
    train.says("The upload is ready")
    assert page.input_value("#train-stages-epochs input") == "7"
    page.reload()  # the form no longer holds it
    train = Train(train.seen)
    page.click("#train-uploads > button")
    page.wait_for_selector("#train-uploads-table td")
    kept = page.locator("#train-uploads-table tbody tr").count()
    page.click("#train-uploads-delete")
    page.wait_for_function("document.activeElement.id === 'train-uploads-keep'")
    assert page.get_attribute("#train-uploads-keep", "aria-describedby") == "train-uploads-question"
    page.keyboard.press("Enter")
    page.wait_for_selector("#train-uploads-yes", state="hidden")
    page.click("#train-uploads-delete")
    page.click("#train-uploads-yes")
    train.says("is deleted.")
    page.wait_for_function("document.activeElement?.matches('#train-uploads > button')", timeout=WAIT_MS)
    assert page.locator("#train-uploads-table tbody tr").count() == kept - 1
    page.click("#train-text > button")
    written = "document.querySelector('#train-yaml textarea')?.value"
    page.wait_for_function(f"{written}?.startsWith('# python -m trainer start my-captioner.yaml')")
    page.fill("#train-stages-epochs input", "7")  # what is shown follows what is set
    page.wait_for_function(f"{written}?.includes('epochs: 7')")
    with page.expect_download() as saved:
        page.click("#train-yaml-save")
    assert "epochs: 7" in saved.value.path().read_text()
    write_for_several(train)
    assert train.violations("several machines, earlier uploads") == [] and not train.sideways()


@pytest.mark.parametrize(("size", "scheme"), [(WIDE, "dark"), (PHONE, "light")], ids=["wide-dark", "phone-light"])
def test_axe_finds_nothing_in_any_state(visit: Open, states: Path, size: tuple[int, int], scheme: str) -> None:
    train = Train(visit(size, scheme))
    page, found = train.page, train.violations("form")
    for state, name in STATES.items():
        train.watch(name)
        if state == "failed":
            said = train.says("Problem: The disk is full")
            assert "MB are free there" in said and "the checkpoint of step 24 is whole. Free some space" in said
            for part in ("#train-all", "#train-text", "#train-several", "#train-uploads", "#train-log-part",
                         "#train-tables-part"):
                page.click(f"{part} > button")
            page.wait_for_selector("#train-tables td")
            page.wait_for_timeout(500)
        if state == "running":
            assert "GPU use" in page.inner_text("#train-facts") and "87 %" in page.inner_text("#train-facts")
        if state == "done":
            assert "0.200 (0.100 to 0.300)" in page.inner_text("#train-report")
        found += train.violations(state)
        assert not train.sideways(), state
        assert page.locator(".sample-row:visible").count() == 3
        assert "<b>" in page.inner_text("#train-sample-1")
        assert page.url.endswith(f"?run={name}")
    with one_waiting(states) as name:
        page.wait_for_function("document.querySelector('#train-overview').innerText.includes('Waiting, number 1')")
        train.watch(name)
        page.wait_for_selector("#train-earlier")
        found += train.violations("queued")
        assert not train.sideways()
    assert found == []


def test_an_event_is_shown_by_the_next_look_and_told_once_a_sample_is_spoken(visit: Open, states: Path) -> None:
    """Looks come every second: what is on the disk before one begins is on the page when it ends."""
    train = Train(visit(), STATES["running"])
    page = train.page
    page.locator("#loss-words", has_text="at step 30").wait_for(timeout=WAIT_MS)
    page.evaluate(LISTEN)
    page.evaluate(COUNT_TICKS)
    events = states / STATES["running"] / "events.jsonl"
    for step in range(31, 35):
        now = datetime.datetime.now(datetime.UTC).isoformat()
        write(events, {"event": "step", "time": now, "step": step, "total_steps": 60, "loss": 0.05})
        begun = page.evaluate("window.ticks")
        page.wait_for_function(f"'{step}' in window.shown", timeout=WAIT_MS)
        assert page.evaluate(f"window.shown[{step}]") <= begun + 1, "the first look that begins after it shows it"
    write(events, {"event": "evaluation", "step": 40, "score": 0.48, "scores": {}, "samples": [
        {"index": 0, "image": None, "prompt": "", "reference": "A cat.", "base": "a dog", "text": "a cat"}] * 2})
    train.says("Step 40 of 60. CIDEr-D 0.48, best so far.")
    begun = page.evaluate("window.ticks")
    page.wait_for_function(f"window.ticks > {begun + 2}", timeout=WAIT_MS)
    heard = page.evaluate("window.heard")
    assert len(heard) == len(set(heard)) <= 2 and "Step 40" in heard[-1]  # each once; four steps say nothing
    page.evaluate("Object.defineProperty(document, 'hidden', {value: true, configurable: true})")  # behind others
    page.wait_for_timeout(2000)  # for a look that is under way
    begun = page.evaluate("window.ticks")
    page.wait_for_timeout(3000)
    assert page.evaluate("window.ticks") == begun
    page.evaluate("delete document.hidden")
    page.wait_for_function(f"window.ticks > {begun}", timeout=WAIT_MS)
    assert page.get_attribute("#train-speak-2", "aria-label") == "Speak the words about picture 2"
    page.click("#train-speak-2")
    train.says("Speaking, ")
    page.wait_for_function("document.querySelector('#train-sound audio')?.currentTime > 0", timeout=WAIT_MS)


def write(events: Path, line: dict[str, object]) -> None:
    with events.open("a") as file:
        file.write(json.dumps(line) + "\n")


def test_by_keyboard_alone(visit: Open, states: Path) -> None:
    """From the tab's name through the form to the run's buttons and its table, in this order."""
    seen = visit()
    Train(seen, STATES["failed"])
    seen.page.wait_for_selector("#train-resume")
    seen.page.focus("[role=tab]:has-text('Train')")
    reached: list[str] = []
    for _ in range(50):
        seen.page.keyboard.press("Tab")
        found = seen.page.evaluate("document.activeElement.closest('[id^=train-]:not([id$=stage-row])')?.id || ''")
        reached += [found] if found and found not in reached else []
    wanted = ["train-start-from", "train-source", "train-upload", "train-name", "train-stages-epochs", "train-seed",
              "train-start", "train-check", "train-all", "train-text", "train-several", "train-uploads", "train-run",
              "train-resume", "train-remove", "train-log-part", "train-overview"]
    assert [name for name in reached if name in wanted] == wanted, reached

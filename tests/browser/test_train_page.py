"""The Train tab in a real browser: from a zip to a model that describes, through a reload; and all states of a run."""

from __future__ import annotations

import datetime
import json
import socket
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from serving import PICTURES, served
from tiny_captioner import save_tiny_captioner
from training import PRESET

from browser.conftest import PHONE, WAIT_MS, WIDE, Visit
from narrator.processes import record
from trainer.events import EventLog

pytestmark = pytest.mark.browser
Open = Callable[..., Visit]
CAPTIONS = ("A cat looks up.", "A cup of coffee.", "Old coins on a page.", "A rocket starts.", "A man with a camera.",
            "An astronaut smiles.", "A cat in the sun.", "A cup on a table.")
LISTEN = """() => { window.heard = []; const line = document.querySelector("#train-status");
    new MutationObserver(() => { const text = line.innerText.trim();
        if (text && text !== window.heard.at(-1)) window.heard.push(text); })
    .observe(line, {childList: true, subtree: true, characterData: true}); }"""
STATES = {"failed": "tiny-20260101T000000Z", "running": "tiny-20260102T000000Z", "done": "tiny-20260103T000000Z"}
NAMED = "document.querySelector('#train-name :is(input, textarea)').value === 'tiny-captioner-tuned'"
SEEN_S = 5.0  # from an event on the disk to the page; 1 s on an idle machine


def environment(folder: Path) -> dict[str, str]:
    return {"NARRATOR_CHECKPOINTS": str(folder / "checkpoints"), "NARRATOR_RUNS": str(folder / "runs"),
            "NARRATOR_DATA": str(folder / "data"), "NARRATOR_HISTORY": str(folder / "history"), "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints with a tiny captioner, a zip of eight small pictures with texts, and runs in three states."""
    folder = tmp_path_factory.mktemp("train")
    save_tiny_captioner(folder / "checkpoints" / "tiny-captioner")
    pictures = sorted(PICTURES.glob("*.jpg"))
    with zipfile.ZipFile(folder / "mine.zip", "w") as packed:
        for number, caption in enumerate(CAPTIONS):
            with Image.open(pictures[number % len(pictures)]) as picture:
                small = picture.convert("RGB").resize((64 + number, 48)).rotate(180 if number > 5 else 0)
            small.save(folder / f"p{number}.jpg")
            packed.write(folder / f"p{number}.jpg", f"p{number}.jpg")
            packed.writestr(f"p{number}.txt", caption + "\n")
    return folder


@pytest.fixture(scope="module")
def address(home: Path) -> Iterator[str]:
    """A page where nothing has run yet."""
    with served(home, free_port(), **environment(home)) as running:
        yield running.address


@pytest.fixture(scope="module")
def states(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """(address, runs) of a page with a failed, a running and a finished run, as their folders tell."""
    folder = tmp_path_factory.mktemp("states")
    for state, name in STATES.items():
        run = folder / "runs" / name
        run.mkdir(parents=True)
        (run / "config.yaml").write_text(yaml.safe_dump(PRESET))
        (run / "log.txt").write_text("tiny: step 30 of 60\n" * 60)
        with EventLog(run / "events.jsonl") as log:
            write_events(log, str(home / "p0.jpg"))
            if state == "failed":
                log.append("failed", message="There was not enough memory for a step. Lower the batch size (6).")
    record(folder / "runs" / STATES["running"] / "process.json")  # this process
    manifest = yaml.safe_load((home / "checkpoints" / "tiny-captioner" / "variant.yaml").read_text())
    (folder / "runs" / STATES["done"] / "variant.yaml").write_text(
        yaml.safe_dump(manifest | {"source": str(home / "checkpoints" / "tiny-captioner")}))
    places = environment(folder) | {"NARRATOR_CHECKPOINTS": str(home / "checkpoints")}
    with served(folder, free_port(), **places) as running:
        yield running.address, folder / "runs"


def write_events(log: EventLog, picture: str) -> None:
    log.append("started", device="cpu")
    log.append("stage", stage="tune", objective="caption", steps=60, total_steps=60)
    for step in range(1, 31):
        log.append("step", stage="tune", step=step, total_steps=60, loss=3.0 / step, learning_rate=1e-4,
                   examples_per_s=40.0, memory_bytes=10**9)
    score = {"a.jsonl": {"cider_d": {"value": 0.4, "low": 0.3, "high": 0.5}}}
    samples = [{"index": index, "image": picture, "prompt": "", "reference": "A cat.", "base": "a dog",
                "text": "a <b>cat</b>"} for index in range(3)]
    log.append("evaluation", stage="tune", step=30, score=0.4, scores=score, samples=samples)


class Train:
    """The tab as a person uses it."""

    def __init__(self, seen: Visit) -> None:
        self.seen, self.page = seen, seen.page
        if "run=" not in self.page.url:
            self.page.get_by_role("tab", name="Train").click()
        self.page.wait_for_selector("#train-status[role=status]")
        self.page.locator("#train-stages-epochs input").wait_for(timeout=WAIT_MS)

    def says(self, words: str, wait_ms: int = WAIT_MS) -> str:
        line = self.page.locator("#train-status .line")
        line.filter(has_text=words).wait_for(timeout=wait_ms)
        return line.inner_text()

    def violations(self, state: str) -> list[str]:
        found = Axe().run(self.page).response
        assert len(found["passes"]) > 15  # it did look
        return [f"{state}: {row['id']} {node['target']} {node['html'][:120]}"
                for row in found["violations"] for node in row["nodes"]]

    def sideways(self) -> bool:
        return bool(self.page.evaluate("document.documentElement.scrollWidth > innerWidth"))


def test_from_a_zip_to_a_model_that_describes(visit: Open, home: Path) -> None:
    train = Train(visit())
    page = train.page
    assert "no runs yet" in page.inner_text("#train-overview")
    page.click("#train-start")
    train.says("Upload a zip")
    page.set_input_files("#train-upload input[type=file]", home / "mine.zip")
    train.says("6 pictures to learn from, 2 to measure on")
    page.click("#train-start-from input")
    page.get_by_role("option", name="Tiny captioner, tuned on your pictures", exact=True).click()
    page.wait_for_function(NAMED)
    page.fill("#train-stages-epochs input", "-1")
    page.click("#train-start")
    train.says("'epochs' must be between 0 and 1000")
    page.fill("#train-stages-epochs input", "20")
    page.click("#train-check")
    train.says("This can run.", 3 * WAIT_MS)  # three steps are tried
    assert page.locator("#train-findings .thumbs img").count() >= 4
    page.evaluate(LISTEN)
    page.click("#train-start")
    page.wait_for_selector("#train-curves svg .curve", timeout=WAIT_MS)
    assert "run=tiny-captioner-tuned-" in page.url
    page.reload()
    train = Train(train.seen)
    train.says("is trained: it is in the list of models on Narrate.")
    assert "of 20" in page.inner_text("#train-facts") and "Done" in page.inner_text("#train-overview")
    assert page.locator("#train-curves .dot").count() > 3 and "Report" in page.inner_text("#train-report")
    assert page.locator(".sample-row:visible").count() == 2 and "Before training" in page.inner_text("#train-sample-1")
    assert train.violations("trained") == []
    page.click("#train-narrate")
    page.wait_for_selector("#describe", state="visible")
    page.wait_for_function("document.querySelector('#variant input').value.includes('tuned')")
    assert train.seen.describe()


def test_a_run_is_stopped_resumed_queued_moved_and_removed(visit: Open, home: Path) -> None:
    train = Train(visit())
    page = train.page
    page.set_input_files("#train-upload input[type=file]", home / "mine.zip")
    train.says("The upload is ready")
    page.click("#train-start-from input")
    page.get_by_role("option", name="Tiny captioner, tuned on your pictures", exact=True).click()
    page.wait_for_function(NAMED)
    page.fill("#train-stages-epochs input", "900")
    page.click("#train-start")
    page.locator("#train-facts", has_text="Running").wait_for(timeout=WAIT_MS)  # one that is done may be shown before
    page.click("#train-start")  # a second wish waits behind the first
    train.says("waits: number 1 in the queue")
    assert "Waiting, number 1" in page.inner_text("#train-overview")
    page.click("#train-stop")
    page.wait_for_selector("#train-remove")
    page.click("#train-remove")
    page.wait_for_function("document.activeElement.id === 'train-keep'")
    assert page.get_attribute("#train-keep", "aria-describedby") == "train-question"
    page.click("#train-yes")
    page.wait_for_selector("#train-stop")  # the first one is watched again
    assert "Stopped" not in page.inner_text("#train-overview")
    page.click("#train-stop")
    train.says("is stopped at step")
    page.click("#train-resume")
    page.locator("#train-facts", has_text="Running").wait_for(timeout=WAIT_MS)
    page.click("#train-stop")
    train.says("is stopped at step")


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_any_state(visit: Open, states: tuple[str, Path], size: tuple[int, int], scheme: str
                                        ) -> None:
    seen = visit(size, scheme)
    found = Train(seen).violations("form")
    for state, name in STATES.items():
        seen.page.goto(f"{states[0]}?run={name}")
        train = Train(seen)
        seen.page.locator("#run-title", has_text=f"2026-01-0{1 + list(STATES).index(state)}").wait_for(timeout=WAIT_MS)
        if state == "failed":
            assert "Lower the batch size" in train.says("Lower the batch size")
            for part in ("#train-all", "#train-text", "#train-log-part", "#train-tables-part"):
                seen.page.click(f"{part} > button")
            seen.page.wait_for_selector("#train-tables td")
            seen.page.wait_for_timeout(500)
        found += train.violations(state)
        assert not train.sideways(), state
        assert seen.page.locator(".sample-row:visible").count() == 3
        assert "<b>" in seen.page.inner_text("#train-sample-1")
    assert found == []


def test_an_event_is_on_the_page_within_a_moment_and_told_once(visit: Open, states: tuple[str, Path]) -> None:
    seen = visit()
    seen.page.goto(f"{states[0]}?run={STATES['running']}")
    train = Train(seen)
    seen.page.locator("#loss-words", has_text="at step 30").wait_for(timeout=WAIT_MS)
    seen.page.evaluate(LISTEN)
    events = states[1] / STATES["running"] / "events.jsonl"
    took = []
    for step in range(31, 36):
        now = datetime.datetime.now(datetime.UTC).isoformat()
        line: dict[str, Any] = {"event": "step", "time": now, "step": step, "total_steps": 60, "loss": 0.05}
        began = time.monotonic()
        with events.open("a") as file:
            file.write(json.dumps(line) + "\n")
        seen.page.locator("#loss-words", has_text=f"at step {step}").wait_for(timeout=WAIT_MS)
        took.append(time.monotonic() - began)
    assert sorted(took)[len(took) // 2] < SEEN_S, took
    with events.open("a") as file:
        file.write(json.dumps({"event": "evaluation", "step": 40, "score": 0.48, "scores": {}}) + "\n")
    train.says("Step 40 of 60. CIDEr-D 0.48, best so far.")
    seen.page.wait_for_timeout(2500)
    heard = seen.page.evaluate("window.heard")
    assert len(heard) == len(set(heard)) <= 2 and "Step 40" in heard[-1]  # each once; five steps say nothing


def test_a_sample_is_spoken(visit: Open, states: tuple[str, Path]) -> None:
    seen = visit()
    seen.page.goto(f"{states[0]}?run={STATES['done']}")
    train = Train(seen)
    seen.page.wait_for_selector("#train-speak-2")
    assert seen.page.get_attribute("#train-speak-2", "aria-label") == "Speak the words about picture 2"
    seen.page.click("#train-speak-2")
    train.says("Speaking, ")
    seen.page.wait_for_function("document.querySelector('#train-sound audio')?.currentTime > 0", timeout=WAIT_MS)


def test_by_keyboard_alone(visit: Open, states: tuple[str, Path]) -> None:
    """From the tab's name through the form to the run's buttons and its table, in this order."""
    seen = visit()
    seen.page.goto(f"{states[0]}?run={STATES['failed']}")
    Train(seen)
    seen.page.wait_for_selector("#train-resume")
    seen.page.focus("[role=tab]:has-text('Train')")
    reached: list[str] = []
    for _ in range(45):
        seen.page.keyboard.press("Tab")
        found = seen.page.evaluate("document.activeElement.closest('[id^=train-]:not([id$=stage-row])')?.id || ''")
        reached += [found] if found and found not in reached else []
    wanted = ["train-start-from", "train-source", "train-upload", "train-name", "train-stages-epochs", "train-seed",
              "train-start", "train-check", "train-all", "train-text", "train-run", "train-resume", "train-remove",
              "train-log-part", "train-overview"]
    assert [name for name in reached if name in wanted] == wanted, reached

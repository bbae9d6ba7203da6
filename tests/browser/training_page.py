"""The Train tab as a person uses it, and a page with something to train and something to look at."""

from __future__ import annotations

import contextlib
import json
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import yaml
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from serving import PICTURES, Server, free_port, served
from tiny_captioner import save_tiny_captioner
from training import PRESET

from browser.conftest import WAIT_MS, Visit
from narrator.processes import record
from trainer.claims import home
from trainer.events import EventLog
from trainer.failures import disk_sentence
from trainer.jobs import QUEUED
from trainer.queue import WORKER
from trainer.tab.views import title

CAPTIONS = ("A cat looks up.", "A cup of coffee.", "Old coins on a page.", "A rocket starts.", "A man with a camera.",
            "An astronaut smiles.", "A cat in the sun.", "A cup on a table.")
STATES = {"failed": "tiny-20260101T000000Z", "running": "tiny-20260102T000000Z", "done": "tiny-20260103T000000Z",
          "interrupted": "tiny-20260104T000000Z", "stopped": "tiny-20260105T000000Z"}
# What a screen reader hears of the status line, in order.
LISTEN = """() => { window.heard = []; const line = document.querySelector("#train-status");
    new MutationObserver(() => { const text = line.innerText.trim();
        if (text && text !== window.heard.at(-1)) window.heard.push(text); })
    .observe(line, {childList: true, subtree: true, characterData: true}); }"""
HOLD = "hold"  # a file: while it is there, an upload gets no further (see serve.py)
TUNED = "document.querySelector('#train-name :is(input, textarea)').value === 'tiny-captioner-tuned'"


@contextlib.contextmanager
def serve_training(folder: Path) -> Iterator[Server]:
    """A page over what `write_training` writes."""
    write_training(folder)
    with serve_again(folder, free_port()) as running:
        yield running


def serve_again(folder: Path, port: int) -> contextlib.AbstractContextManager[Server]:
    """A page over this folder as it stands."""
    places = {f"NARRATOR_{name.upper()}": str(folder / name) for name in ("checkpoints", "runs", "data", "history")}
    return served(folder, port, **places, HF_HUB_OFFLINE="1", OMP_NUM_THREADS="1", CUDA_VISIBLE_DEVICES="",
                  TEST_HOLD=str(folder / HOLD))


@contextlib.contextmanager
def on_hold(folder: Path) -> Iterator[None]:
    """No upload on the page over this folder gets further meanwhile."""
    (folder / HOLD).touch()
    try:
        yield
    finally:
        (folder / HOLD).unlink()


def write_training(folder: Path) -> None:
    """A tiny captioner, mine.zip (eight small pictures p0.jpg ... with texts), and the same pictures as the data set
    that the shipped recipe names."""
    save_tiny_captioner(folder / "checkpoints" / "tiny-captioner")
    named = folder / "data" / "my-pictures"
    named.mkdir(parents=True)
    pictures, rows = sorted(PICTURES.glob("*.jpg")), []
    with zipfile.ZipFile(folder / "mine.zip", "w") as packed:
        for number, caption in enumerate(CAPTIONS):
            path = folder / f"p{number}.jpg"
            with Image.open(pictures[number % len(pictures)]) as picture:
                picture.convert("RGB").resize((64 + number, 48)).rotate(180 if number > 5 else 0).save(path)
            packed.write(path, path.name)
            packed.writestr(f"p{number}.txt", caption + "\n")
            shutil.copy(path, named)
            rows.append({"image": path.name, "captions": [caption], "split": "dev" if number > 5 else "train"})
    (named / "captions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_states(folder: Path) -> Path:
    """The page's folder of runs, with one that a full disk has ended, one that runs, a finished one, one that broke
    off and one that was stopped, as their folders tell."""
    for state, name in STATES.items():
        run = folder / "runs" / name
        run.mkdir(parents=True)
        (run / "config.yaml").write_text(yaml.safe_dump(PRESET))
        (run / "log.txt").write_text("tiny: step 30 of 60\n" * 60)
        with EventLog(run / "events.jsonl") as log:
            _write_events(log, str(folder / "p0.jpg"))
            if state == "failed":
                log.append("failed", message=disk_sentence(run, 24))
            if state == "stopped":
                log.append("stopped", checkpoint=True)
    record(folder / "runs" / STATES["running"] / "process.json")  # this process
    made = folder / "checkpoints" / "tiny-captioner"
    manifest = yaml.safe_load((made / "variant.yaml").read_text()) | {"source": str(made)}
    (folder / "runs" / STATES["done"] / "variant.yaml").write_text(yaml.safe_dump(manifest))
    return folder / "runs"


@contextlib.contextmanager
def one_waiting(runs: Path) -> Iterator[str]:
    """The name of a run in the queue, which nobody begins: this process stands as the queue's worker."""
    name = "tiny-20260106T000000Z"
    shutil.copytree(runs / STATES["interrupted"], runs / name)
    (runs / name / "events.jsonl").unlink()
    record(home(runs) / WORKER)
    (runs / name / QUEUED).write_text(json.dumps({"place": 1.0, "since": 1.0}))
    try:
        yield name
    finally:
        shutil.rmtree(runs / name)
        (home(runs) / WORKER).unlink()


def _write_events(log: EventLog, picture: str) -> None:
    log.append("started", device="cpu")
    log.append("base", step=0, scores={"a.jsonl": {"cider_d": {"value": 0.2, "low": 0.1, "high": 0.3}}})
    log.append("stage", stage="tune", objective="caption", steps=60, total_steps=60)
    for step in range(1, 31):
        log.append("step", stage="tune", step=step, total_steps=60, loss=3.0 / step, learning_rate=1e-4,
                   examples_per_s=40.0, memory_bytes=10**9, gpu_bytes=2 * 10**9, gpu_percent=87)
    score = {"a.jsonl": {"cider_d": {"value": 0.4, "low": 0.3, "high": 0.5}}}
    samples = [{"index": index, "image": picture, "prompt": "", "reference": "A cat.", "base": "a dog",
                "text": "a <b>cat</b>"} for index in range(3)]
    log.append("evaluation", stage="tune", step=30, score=0.4, scores=score, samples=samples)


class Train:
    """The tab as a person uses it."""

    def __init__(self, seen: Visit, run: str = "") -> None:
        """Opens the tab. run: the one to watch, as a link to it asks for it; a page that did comes to it by itself."""
        self.seen, self.page = seen, seen.page
        if run:
            self.page.evaluate("(run) => history.replaceState(history.state, '', `?run=${run}`)", run)
        if run or "run=" not in self.page.url:
            with self.page.expect_response(lambda answer: "/run/" in answer.url):  # what is asked for comes at once
                self.page.get_by_role("tab", name="Train").click()
        self.page.wait_for_selector("#train-status[role=status]")
        self.page.locator("#train-stages-epochs input").wait_for(timeout=WAIT_MS)
        seen.settle()  # the form as it is filled, and the newest run

    def says(self, words: str, wait_ms: int = WAIT_MS) -> str:
        line = self.page.locator("#train-status .line")
        line.filter(has_text=words).wait_for(timeout=wait_ms)
        return line.inner_text()

    def tune_tiny(self, epochs: str) -> None:
        """Start from the tiny captioner, so many passes."""
        self.page.click("#train-start-from input")
        self.page.get_by_role("option", name="Tiny captioner, tuned on your pictures", exact=True).click()
        self.page.wait_for_function(TUNED)
        self.page.fill("#train-stages-epochs input", epochs)

    def learn_as_the_recipe_says(self) -> None:
        self.page.get_by_role("radio", name="As the recipe says").check()
        self.page.locator("#train-found", has_text="Data sets of the recipe").wait_for(timeout=WAIT_MS)

    def tab_to(self, selector: str) -> None:
        """Press Tab until the focus is there or in it; the page is gone round twice at most."""
        for _ in range(500):
            if self.page.evaluate("(selector) => Boolean(document.activeElement.closest(selector))", selector):
                return
            self.page.keyboard.press("Tab")
        raise AssertionError(f"Tab does not reach {selector}")

    def watch(self, run: str) -> None:
        """Choose a run of the list."""
        self.page.click("#train-run input")
        self.page.get_by_role("option", name=title(run)).click()
        self.page.locator("#run-title", has_text=title(run)).wait_for(timeout=WAIT_MS)

    def fact(self, words: str) -> None:
        self.page.locator("#train-facts", has_text=words).wait_for(timeout=WAIT_MS)

    def violations(self, state: str) -> list[str]:
        found = Axe().run(self.page).response
        assert len(found["passes"]) > 15  # it did look
        return [f"{state}: {row['id']} {node['target']} {node['html'][:120]}"
                for row in found["violations"] for node in row["nodes"]]

    def sideways(self) -> bool:
        return bool(self.page.evaluate("document.documentElement.scrollWidth > innerWidth"))

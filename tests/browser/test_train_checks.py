"""What is looked at before a run begins, in a real browser: by itself, on demand, and stopped; and a press that comes
before the opened tab knows how things stand."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from serving import Server
from training import PRESET

from browser.conftest import WAIT_MS, Visit
from browser.training_page import LISTEN, Train
from trainer.events import EventLog

pytestmark = pytest.mark.browser
Open = Callable[..., Visit]
LISTED = "my-pictures/captions.jsonl"
LEAKY: dict[str, Any] = {  # what is held out is learned from, too
    "name": "leaky", "recipe": "causal_lm", "width": 32, "layers": 1, "heads": 2, "vocabulary": 300, "max_tokens": 64,
    "license": "cc0-1.0", "data": [{"path": LISTED, "split": "train"}], "dev": [{"path": LISTED, "split": "train"}],
    "stages": [{"name": "tell", "objective": "answer", "epochs": 900, "batch_size": 1, "patience": 900}]}


@pytest.fixture(scope="module")
def address(training: Server) -> str:
    return training.address


@pytest.fixture
def stopped(training: Server) -> Iterator[str]:
    """A run that was stopped, the only one."""
    run = training.folder / "runs" / "tiny-20250101T000000Z"
    run.mkdir(parents=True)
    (run / "config.yaml").write_text(yaml.safe_dump(PRESET))
    with EventLog(run / "events.jsonl") as log:
        log.append("stopped", checkpoint=True)
    yield run.name
    shutil.rmtree(run)


def started(training: Server, name: str) -> list[Path]:
    return list((training.folder / "runs").glob(f"{name}-*"))


def use(train: Train, settings: dict[str, Any]) -> None:
    """Write these settings as YAML and press Use this YAML."""
    train.page.fill("#train-yaml textarea", yaml.safe_dump(settings))
    train.page.click("#train-yaml-use")


def test_a_start_looks_first_and_is_held_up_by_errors_alone(visit: Open, training: Server) -> None:
    train = Train(visit())
    page = train.page
    page.click("#train-text > button")
    page.wait_for_function("document.querySelector('#train-yaml textarea')?.value.startsWith('# python')")
    use(train, LEAKY | {"nam": "x"})
    train.says("The YAML: unknown setting 'nam'. Did you mean 'name'?")
    use(train, LEAKY | {"data": [{"path": "gone.jsonl"}]})
    train.says("The settings are those of the YAML.")
    page.evaluate(LISTEN)
    page.click("#train-start")
    train.says("Not started: one thing must be mended first. See what the check found.")
    assert "gone.jsonl" in page.inner_text("#train-findings .error")
    assert page.locator("#train-anyway").is_hidden(), "this could not even begin"
    use(train, LEAKY)
    train.says("The settings are those of the YAML.")
    page.dblclick("#train-start")
    train.says("Or press Start all the same, below it.")
    assert "held-out scenes are learned from too" in page.inner_text("#train-findings .error")
    assert started(training, "leaky") == [] and page.locator("#train-leave").is_hidden()
    assert train.violations("not started") == [] and not train.sideways()
    heard = page.evaluate("window.heard")
    assert sum("before the start" in line for line in heard) == 2 and len(heard) <= 6, heard
    page.focus("#train-anyway")
    page.keyboard.press("Enter")
    train.fact("Running")
    assert len(started(training, "leaky")) == 1 and page.locator("#train-anyway").is_hidden()
    page.wait_for_function("document.activeElement.id === 'train-start'")
    for button in ("#train-stop", "#train-remove", "#train-yes"):
        page.click(button)
    train.says("is removed")


def test_a_check_is_stopped_by_keyboard_and_leaves_no_process(visit: Open, training: Server) -> None:
    train = Train(visit())
    page = train.page
    train.learn_as_the_recipe_says()
    for first in ("check", "start"):
        page.focus(f"#train-{first}")
        page.keyboard.press("Enter")
        train.says("Checking data and settings")
        page.wait_for_selector("#train-leave")
        if first == "check":
            page.wait_for_function("document.activeElement.id === 'train-leave'")  # where Check was
            assert train.violations("checking") == []
        page.focus("#train-leave")
        page.keyboard.press("Enter")
        train.says("The check was stopped. Nothing was started.")
        page.wait_for_function(f"document.activeElement.id === 'train-{first}'")
        assert page.locator("#train-leave").is_hidden()
        assert not [child for child in psutil.Process(training.pid).children(recursive=True)
                    if child.status() != psutil.STATUS_ZOMBIE and "doctor" in child.cmdline()]
    assert page.inner_text("#train-findings").strip() == ""


def test_whoever_waits_for_checks_of_others_is_told_and_a_start_does_not(visit: Open) -> None:
    first, second, third = (Train(visit()) for _ in range(3))
    for train in (first, second, third):
        train.learn_as_the_recipe_says()
    for train in (first, second):
        train.page.click("#train-check")
    for train in (first, second):
        train.says("Checking data and settings; a minute or two")
    third.page.click("#train-check")
    assert "Waiting for another check to end" in third.says("Waiting for")
    third.page.click("#train-start")
    assert "before the start; keep this page open until the run is listed" in third.says("Checking data and settings")
    for train in (third, second, first):
        train.page.click("#train-leave")
        train.says("The check was stopped. Nothing was started.")


def test_what_a_press_says_is_not_overwritten_by_the_opening_look(visit: Open, stopped: str) -> None:
    """Whoever is quicker than the tab's first look at the runs hears the answer, and keeps it in sight."""
    seen = visit()
    page, held, freed = seen.page, list[Any](), False

    def hold(route: Any) -> None:
        if freed:
            route.fallback()
        else:
            held.append(route)

    page.route("**/run/**", hold)  # what the opened tab asks for: the form, and how the newest run stands
    page.get_by_role("tab", name="Train").click()
    page.click("#train-start")
    said = page.locator("#train-status .line", has_text="There is nothing to learn from yet")
    said.wait_for(timeout=WAIT_MS)
    freed = True
    for route in held:
        route.fallback()
    page.locator("#run-title").wait_for(timeout=WAIT_MS)  # the look has come
    page.locator("#train-resume").wait_for(timeout=WAIT_MS)
    page.wait_for_timeout(300)
    assert said.is_visible(), page.inner_text("#train-status")
    page.get_by_role("tab", name="Compare").click()
    page.get_by_role("tab", name="Train").click()  # nobody has pressed anything since
    page.locator("#train-status .line", has_text="stopped").wait_for(timeout=WAIT_MS)

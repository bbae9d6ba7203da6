"""The Train tab without a mouse: a run from its form to its removal."""

from collections.abc import Callable

import pytest
from serving import Server

from browser.conftest import WAIT_MS, Visit
from browser.training_page import TUNED, Train

pytestmark = pytest.mark.browser
Open = Callable[..., Visit]


@pytest.fixture(scope="module")
def address(training: Server) -> str:
    return training.address


def press_until(train: Train, key: str, there: Callable[[], bool]) -> None:
    """Press a key, as slowly as a person, until it is so; forty times at most."""
    for _ in range(40):
        if there():
            return
        train.page.keyboard.press(key)
        train.page.wait_for_timeout(150)  # the page draws what a key did
    raise AssertionError(f"{key} does not lead there")


def write(train: Train, setting: str, number: str) -> None:
    train.tab_to(f"#train-stages-{setting} input[type=number]")
    train.page.keyboard.press("Control+A")
    train.page.keyboard.type(number)


def test_a_run_is_begun_stopped_resumed_and_removed_with_keys_alone(visit: Open) -> None:
    train = Train(visit())
    page, keys = train.page, train.page.keyboard
    page.focus("[role=tab]:has-text('Train')")
    train.tab_to("#train-start-from")
    wanted = page.locator("[role=option].active", has_text="Tiny captioner, tuned on your pictures")
    press_until(train, "ArrowDown", lambda: wanted.count() == 1)  # options come under the arrow one by one
    keys.press("Enter")
    page.wait_for_function(TUNED)
    train.tab_to("#train-source")
    press_until(train, "ArrowDown", page.get_by_role("radio", name="As the recipe says").is_checked)
    page.locator("#train-found", has_text="Data sets of the recipe").wait_for(timeout=WAIT_MS)
    write(train, "epochs", "1000")
    for part in ("#train-all", "#train-stages-part"):
        train.tab_to(f"{part} > button")
        press_until(train, "Enter", page.locator(f"{part} > .label-wrap.open").is_visible)
    write(train, "batch-size", "1")
    train.tab_to("#train-start")
    keys.press("Enter")
    train.fact("Running")
    train.tab_to("#train-stop")
    assert page.locator("[role=combobox][aria-expanded=true]").count() == 0  # no list that Tab has left is open
    keys.press("Space")
    train.says("is stopped at step")
    page.wait_for_function("document.activeElement.id === 'train-resume'")  # where Stop was
    keys.press("Enter")
    train.fact("Running")
    train.tab_to("#train-stop")
    keys.press("Enter")
    train.says("is stopped at step")
    train.tab_to("#train-remove")
    keys.press("Enter")
    page.wait_for_function("document.activeElement.id === 'train-keep'")
    train.tab_to("#train-yes")
    keys.press("Enter")
    train.says("is removed")

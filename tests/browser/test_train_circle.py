"""The whole circle: describe, correct what was wrong, learn from the corrections, and be better at them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from serving import Server

from browser.conftest import WAIT_MS, Visit
from browser.training_page import Train

pytestmark = pytest.mark.browser
Open = Callable[..., Visit]
THINGS = ("my cat", "my cup", "my old coins", "my rocket", "my camera", "my suit", "my cat asleep", "my empty cup")


@pytest.fixture(scope="module")
def address(training: Server) -> str:
    return training.address


def correct(seen: Visit, training: Server) -> None:
    """Describe eight pictures with the bundled captioner, and keep what a person writes instead."""
    for number, thing in enumerate(THINGS):
        seen.describe(training.folder / f"p{number}.jpg")
        seen.page.fill("#description textarea", f"On the kitchen table of our house: {thing}.")
        seen.page.click("#keep-correction")
        seen.page.locator("#status .line", has_text="Kept as a correction").wait_for(timeout=WAIT_MS)
        seen.page.wait_for_selector("#keep-correction", state="hidden")


def test_eight_corrections_and_twenty_steps_lower_the_loss_on_held_out_ones(visit: Open, training: Server) -> None:
    seen = visit()
    page = seen.page
    correct(seen, training)
    assert page.inner_text("#corrections > button").strip().startswith("Corrections (8)")
    train = Train(seen)
    page.get_by_role("radio", name="Corrections kept on Narrate").check()
    page.locator("#train-found", has_text="8 corrections").wait_for(timeout=WAIT_MS)
    page.fill("#train-name :is(input, textarea)", "my-corrections")
    page.fill("#train-stages-epochs input", "20")  # all of them in a step
    page.click("#train-all > button")
    page.click("#train-stages-part > button")
    page.fill("#train-stages-evaluations input", "1")
    page.click("#train-start")
    train.says("is trained: it is in the list of models on Narrate.", 3 * WAIT_MS)
    assert "20 of 20" in page.inner_text("#train-facts")
    row = page.locator("#train-report tr", has_text="Loss of the captions")
    before, tuned = (float(cell.split(" (")[0]) for cell in row.locator("td").all_inner_texts())
    assert tuned < before - 0.2, (before, tuned)
    page.click("#train-narrate")
    page.wait_for_function("document.querySelector('#variant input').value.includes('My captioner')")
    assert seen.describe(training.folder / "p0.jpg")

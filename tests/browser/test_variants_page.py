"""Narrate with one variant after the other: what each asks for, and says that it waits for."""

from collections.abc import Callable

import pytest

from browser.conftest import WAIT_MS, Visit

pytestmark = pytest.mark.browser


def test_each_variant_says_what_it_waits_for(visit: Callable[..., Visit]) -> None:
    seen = visit()
    if "Photo captioner" not in seen.page.input_value("#variant input"):
        pytest.skip("checkpoints/photo-captioner is not here")
    ready = seen.page.locator("#status .line")
    seen.choose("Prompt narrator")
    ready.filter(has_text="Write a prompt, then press Describe.").wait_for(timeout=WAIT_MS)
    assert not seen.page.is_visible("#picture") and not seen.page.is_visible("#examples-part")
    seen.page.fill("#prompt textarea", "a red kite over a beach")
    seen.choose("Prompt narrator, vivid")
    ready.filter(has_text="Write a prompt").wait_for(timeout=WAIT_MS)
    assert seen.page.input_value("#prompt textarea") == "a red kite over a beach"  # what a person wrote stays
    seen.choose("Digit reader")
    ready.filter(has_text="Choose a picture, then press Describe.").wait_for(timeout=WAIT_MS)
    assert seen.page.is_visible("#examples-part")
    seen.page.click("#mode input")
    seen.page.get_by_role("option", name="Draw a 7", exact=True).click()
    seen.page.wait_for_selector("#examples-part", state="hidden")
    assert ready.inner_text().endswith("Press Describe.") and "picture" not in ready.inner_text()
    seen.choose("Photo captioner")
    seen.page.wait_for_selector("#examples-part")
    seen.describe()
    seen.choose("Digit reader")  # the picture stays
    ready.filter(has_text="Press Describe.").wait_for(timeout=WAIT_MS)
    assert "Choose" not in ready.inner_text()

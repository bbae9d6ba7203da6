"""A page in Chromium that may reach nothing but this machine; whatever it tries, and every console error, is kept."""

from __future__ import annotations

import collections
import dataclasses
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from bad_input import CAT
from playwright.sync_api import Browser, Page, sync_playwright
from serving import Server

from narrator.pictures import open_picture, picture_bytes

WIDE, PHONE = (1280, 800), (390, 844)
WAIT_MS = 120_000  # a second on an idle machine


@dataclasses.dataclass
class Visit:
    """A page and what happened on it."""

    page: Page
    off_machine: list[str]
    errors: list[str]
    asked: list[str] = dataclasses.field(default_factory=list)  # addresses of what the page asked for, and of what came
    came: list[str] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("requestfinished", lambda request: self.came.append(request.url))
        self.page.on("requestfailed", lambda request: self.came.append(request.url))

    def settle(self) -> None:
        """Wait until everything has come that the page asked for and that is answered at once."""
        calm = 0
        while calm < 3:
            self.page.wait_for_timeout(100)
            waits = collections.Counter(self.asked) - collections.Counter(self.came)
            calm = 0 if any("/run/" in url for url in waits) else calm + 1

    def status(self, kind: str) -> str:
        """The status line's words once it is of that kind (busy, done, stopped, error)."""
        line = self.page.locator(f"#status .line.{kind}")
        line.wait_for(timeout=WAIT_MS)
        return line.inner_text()

    def give(self, path: Path) -> None:
        """Choose a file as a person does; the page has looked at it when this returns."""
        if self.page.locator('#picture button[aria-label="Remove Image"]').count():
            self.page.click('#picture button[aria-label="Remove Image"]')
        self.page.set_input_files("#picture input[type=file]", path)
        answered = "/is ready|Problem/.test(document.querySelector('#status').innerText)"
        self.page.wait_for_function(answered, timeout=WAIT_MS)

    def choose(self, variant: str) -> None:
        """The page has asked for what the variant takes when this returns."""
        self.page.click("#variant input")
        self.page.get_by_role("option", name=variant, exact=True).click()
        self.settle()

    def describe(self, picture: Path = CAT) -> str:
        """The description of a picture."""
        self.give(picture)
        self.page.click("#describe")
        assert re.match(r"✓\s*Described in \d+\.\d s\.", self.status("done"))
        return self.text()

    def text(self) -> str:
        return self.page.input_value("#description textarea")


@pytest.fixture(scope="package")
def chromium(browser_path: str | None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Its camera looks at the cat. Ended with this folder's tests: while it runs, no other test could run an event loop
    of its own."""
    film = tmp_path_factory.mktemp("camera") / "cat.mjpeg"  # JPEG files, one after the other
    film.write_bytes(picture_bytes(open_picture(CAT).resize((640, 480)), "JPEG") * 30)
    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required", "--use-fake-device-for-media-stream",
                 f"--use-file-for-fake-video-capture={film}"]
        browser = playwright.chromium.launch(executable_path=browser_path, args=flags)
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def training(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A page with something to train (see training_page.py), one for all tests of the Train tab."""
    from browser.training_page import serve_training

    with serve_training(tmp_path_factory.mktemp("train")) as running:
        yield running


@pytest.fixture
def visit(chromium: Browser, address: str) -> Iterator[Callable[..., Visit]]:
    """`visit(size=, scheme=, at=)` opens the page; in the end it must have stayed on this machine, without errors."""
    opened: list[tuple[Any, Visit]] = []

    def open_page(size: tuple[int, int] = WIDE, scheme: Literal["light", "dark"] = "light", at: str = address) -> Visit:
        context = chromium.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme,
                                       permissions=["clipboard-read", "clipboard-write"])
        context.set_default_timeout(WAIT_MS)
        found = Visit(context.new_page(), [], [])

        def guard(route: Any) -> None:
            if route.request.url.startswith(("http://127.0.0.1:", "data:", "blob:")):
                route.continue_()
            else:
                found.off_machine.append(route.request.url)
                route.abort()
        context.route("**/*", guard)
        found.page.on("console", lambda message: found.errors.append(message.text) if message.type == "error" else None)
        found.page.on("pageerror", lambda error: found.errors.append(str(error)))
        found.page.on("dialog", lambda dialog: found.errors.append(f"dialog: {dialog.message}"))
        found.page.goto(at)
        found.page.wait_for_selector("#describe")
        found.page.wait_for_selector("#status[role=status]")
        opened.append((context, found))
        return found
    yield open_page
    for context, found in opened:
        context.close()
        assert found.off_machine == [] and found.errors == []

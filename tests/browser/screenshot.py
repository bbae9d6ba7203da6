"""Takes the picture of the page that the README shows: python tests/browser/screenshot.py

The real page with the shipped model, a cat described and its description being spoken. What can be read on its tabs and
buttons goes into the file; test_accessibility.py holds that against the page of today.
"""

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from PIL import Image, PngImagePlugin  # noqa: E402
from playwright.sync_api import sync_playwright  # noqa: E402
from serving import PICTURES, free_port, served  # noqa: E402

SCREENSHOT = ROOT / "assets" / "screenshot.png"
SIZE = (1280, 800)
SHOWS = "Shows"  # the file's text chunk (PNG specification, 11.3.4.3)


def shown(page: Any) -> str:
    """The names of the tabs and of the buttons of Narrate, in their order."""
    places = '[role="tab"], #doing button, #tools :is(button, a), #examples button'
    told: list[str] = page.locator(places).all_inner_texts()
    names = (" ".join(name.split()) for name in told)
    return " | ".join(dict.fromkeys(name for name in names if name))  # each once: Gradio has hidden copies of tabs


def take(address: str, path: Path) -> None:
    """Describe the cat, speak, and save what is on the screen."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"),
                                             args=["--no-sandbox", "--autoplay-policy=no-user-gesture-required"])
        page = browser.new_page(viewport={"width": SIZE[0], "height": SIZE[1]})
        page.goto(address)
        page.wait_for_selector("#status[role=status]")
        page.set_input_files("#picture input[type=file]", PICTURES / "cat.jpg")
        page.locator("#status", has_text="is ready").wait_for()
        page.click("#describe")
        page.locator("#status", has_text="Described in").wait_for(timeout=120_000)
        page.click("#speak")
        page.wait_for_function("document.querySelector('#sound audio')?.currentTime > 0", timeout=120_000)
        page.screenshot(path=path)
        told = PngImagePlugin.PngInfo()
        told.add_text(SHOWS, shown(page))
        browser.close()
    with Image.open(path) as picture:
        picture.convert("RGB").save(path, optimize=True, pnginfo=told)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, served(Path(folder), free_port()) as page_server:
        take(page_server.address, SCREENSHOT)

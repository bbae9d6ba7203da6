"""Corrections, modes and several pictures on the Narrate tab, as a person uses them."""

import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from axe_playwright_python.sync_playwright import Axe
from bad_input import CAT
from plumbing import write_checkpoint
from serving import PICTURES, Server, free_port, page_config, press, served, upload
from tiny_families import save_image_gpt, save_projector

from browser.conftest import PHONE, WAIT_MS, WIDE, Visit

pytestmark = pytest.mark.browser
Open = Callable[..., Visit]
MINE = "A cat looks at <b>you</b>."


def serve(folder: Path, **environment: str) -> Any:
    """A page over "sayer" (free text), "digits" (modes) and "two" (several pictures), with a history of its own."""
    checkpoints = folder / "checkpoints"
    write_checkpoint(checkpoints, "a-sayer")
    save_image_gpt(checkpoints / "digits")
    save_projector(checkpoints / "two")
    for name, more in (("digits", {"default_prompt": "classify"}), ("two", {"several": True})):
        manifest = checkpoints / name / "variant.yaml"
        manifest.write_text(yaml.safe_dump(yaml.safe_load(manifest.read_text()) | more))
    return served(folder, free_port(), NARRATOR_CHECKPOINTS=str(checkpoints), NARRATOR_HISTORY=str(folder / "history"),
                  **environment)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve(tmp_path_factory.mktemp("corrections")) as server:
        yield server


@pytest.fixture(scope="module")
def address(running: Server) -> str:
    return running.address


def kept(server: Server) -> list[dict[str, Any]]:
    """The rows of a data set that a training would read."""
    path = server.folder / "history" / "corrections" / "captions.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def correct(seen: Visit, text: str, picture: Path = CAT) -> None:
    """Describe, edit, keep."""
    if "sayer" not in seen.page.input_value("#variant input"):
        seen.choose("The a-sayer")
    seen.describe(picture)
    assert not seen.page.is_visible("#keep-correction")
    seen.page.fill("#description textarea", text)
    seen.page.click("#keep-correction")
    seen.page.locator("#status .line", has_text="Kept as a correction").wait_for(timeout=WAIT_MS)
    seen.page.wait_for_selector("#keep-correction", state="hidden")


def open_list(seen: Visit) -> None:
    if not seen.page.is_visible("#corrections-table"):
        seen.page.click("#corrections > button")
    seen.page.wait_for_selector("#corrections-table :is(table, p)")


def says(seen: Visit, words: str) -> None:
    seen.page.locator("#status .line", has_text=words).wait_for(timeout=WAIT_MS)


def violations(seen: Visit, state: str) -> list[str]:
    found = Axe().run(seen.page).response
    assert len(found["passes"]) > 15  # it did look
    return [f"{state}: {row['id']} {node['target']} {node['html'][:120]}"
            for row in found["violations"] for node in row["nodes"]]


def test_describe_edit_keep_list_export_delete(visit: Open, running: Server, tmp_path: Path) -> None:
    seen = visit()
    correct(seen, MINE)
    correct(seen, "A dark cup of coffee.", PICTURES / "coffee-cup.jpg")
    rows = kept(running)
    assert [row["captions"] for row in rows] == [[MINE], ["A dark cup of coffee."]]
    assert {(row["before"], row["variant"]) for row in rows} == {("A dog runs on grass.", "a-sayer")}
    assert sorted(row["split"] for row in rows) == ["dev", "train"]
    assert seen.page.inner_text("#corrections > button").strip().startswith("Corrections (2)")
    open_list(seen)
    cells = seen.page.locator("#corrections-table tbody tr").first.locator("td").all_inner_texts()
    assert cells[1:] == ["A dog runs on grass.", "A dark cup of coffee."]
    assert MINE in seen.page.inner_text("#corrections-table")
    assert seen.page.locator("#corrections-table td b").count() == 0
    seen.page.wait_for_function("[...document.querySelectorAll('#corrections-table img')].every((i) => i.naturalWidth)")
    assert seen.page.locator("#corrections-table img").count() == 2
    seen.page.click("#corrections-export")
    says(seen, "The zip with 2 corrections is ready")
    with seen.page.expect_download() as saved:
        seen.page.click("#corrections-zip")
    assert saved.value.suggested_filename == "corrections.zip"
    with zipfile.ZipFile(saved.value.path()) as archive:
        assert len(archive.namelist()) == 3 and archive.read("corrections/captions.jsonl").count(b"\n") == 2
    seen.page.click("#corrections-choice input")
    seen.page.get_by_role("option", name="2: A cat looks").click()
    seen.page.click("#corrections-delete")
    says(seen, "Deleted. You have 1 correction.")
    assert [row["captions"] for row in kept(running)] == [["A dark cup of coffee."]]
    seen.page.click("#corrections-clear")
    seen.page.wait_for_selector("#corrections-question")
    seen.page.wait_for_function("document.activeElement.id === 'corrections-no'")
    seen.page.keyboard.press("Enter")
    seen.page.wait_for_selector("#corrections-question", state="hidden")
    assert len(kept(running)) == 1
    seen.page.click("#corrections-clear")
    seen.page.click("#corrections-yes")
    says(seen, "All corrections are deleted.")
    seen.page.locator("#corrections-table", has_text="No correction is kept yet").wait_for(timeout=WAIT_MS)
    assert not (running.folder / "history" / "corrections").exists()


def test_by_keyboard_alone(visit: Open, running: Server) -> None:
    """Edit, Tab to the button, keep; the focus goes on to the list, which Enter opens."""
    seen = visit()
    seen.choose("The a-sayer")
    seen.describe()
    seen.page.focus("#description textarea")
    seen.page.keyboard.press("End")
    seen.page.keyboard.type(" Twice.")
    seen.page.wait_for_selector("#keep-correction")
    seen.page.keyboard.press("Tab")
    assert seen.page.evaluate("document.activeElement.id") == "keep-correction"
    seen.page.keyboard.press("Enter")
    says(seen, "Kept as a correction")
    seen.page.wait_for_function("document.activeElement?.matches('#corrections > button')", timeout=WAIT_MS)
    seen.page.keyboard.press("Enter")
    seen.page.wait_for_selector("#corrections-table table")
    assert kept(running)[-1]["captions"] == ["A dog runs on grass. Twice."]
    seen.page.fill("#description textarea", "A dog runs on grass.")  # as it was: nothing to keep
    seen.page.wait_for_selector("#keep-correction", state="hidden")


@pytest.mark.parametrize(("size", "scheme"), [(WIDE, "light"), (PHONE, "dark"), (WIDE, "dark"), (PHONE, "light")],
                         ids=["wide-light", "phone-dark", "wide-dark", "phone-light"])
def test_axe_finds_nothing(visit: Open, size: tuple[int, int], scheme: str) -> None:
    seen = visit(size, scheme)
    correct(seen, "A cat, put right by hand.")
    seen.page.fill("#description textarea", "Once more.")
    seen.page.wait_for_selector("#keep-correction")
    open_list(seen)
    found = violations(seen, "listed")
    seen.page.click("#corrections-export")
    seen.page.wait_for_selector("#corrections-zip")
    seen.page.click("#corrections-clear")
    seen.page.wait_for_selector("#corrections-question")
    found += violations(seen, "asked")
    assert seen.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    seen.page.click("#corrections-no")
    seen.choose("Tiny digits")
    seen.page.wait_for_selector("#mode input")
    seen.page.click("#describe")
    seen.page.wait_for_selector("#sure table")
    found += violations(seen, "classified")
    draw(seen, "Draw a 7")
    found += violations(seen, "drawn")
    seen.choose("Tiny two")
    seen.page.wait_for_selector("#more-pictures")
    found += violations(seen, "several, none yet")
    add_pictures(seen)
    seen.page.wait_for_timeout(500)
    found += violations(seen, "several")
    assert found == [] and seen.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def draw(seen: Visit, mode: str, says: str = "A 7, drawn. It reads as the digit") -> None:
    seen.page.click("#mode input")
    seen.page.get_by_role("option", name=mode, exact=True).click()
    seen.page.click("#describe")
    seen.page.wait_for_selector(f"#drawn img[alt^='{says}']", timeout=WAIT_MS)


def add_pictures(seen: Visit) -> None:
    seen.page.set_input_files("#more-pictures input[type=file]", [CAT, PICTURES / "coffee-cup.jpg"])
    seen.page.wait_for_function("document.querySelectorAll('#more-pictures img').length >= 2", timeout=WAIT_MS)


def test_modes_are_chosen_and_pictures_are_drawn(visit: Open) -> None:
    seen = visit()
    seen.choose("Tiny digits")
    seen.page.wait_for_selector("#mode input")
    assert seen.page.input_value("#mode input") == "Read the digit" and not seen.page.is_visible("#prompt textarea")
    seen.describe()
    rows = seen.page.locator("#sure table tbody tr")
    assert rows.count() == 3 and "%" in rows.first.inner_text() and not seen.page.is_visible("#drawn img")
    seen.page.fill("#description textarea", "The digit nine.")
    seen.page.wait_for_timeout(700)
    assert not seen.page.is_visible("#keep-correction")  # a class is no description to learn from
    draw(seen, "Draw a 7")
    assert not seen.page.is_visible("#picture")  # nothing to look at is asked for
    assert seen.text().startswith("A 7, drawn.")
    with seen.page.expect_download() as saved:
        seen.page.click("#drawn a")
    assert saved.value.suggested_filename == "drawn.png" and Path(saved.value.path()).read_bytes()[:4] == b"\x89PNG"
    draw(seen, "Draw the lower half anew", "The lower half, completed")
    assert seen.page.is_visible("#picture") and "lower half, completed" in seen.text()
    seen.choose("The a-sayer")
    seen.page.wait_for_selector("#mode input", state="hidden")
    seen.page.click("#describe")
    seen.page.wait_for_function("/A dog runs on grass/.test(document.querySelector('#description textarea').value)")
    seen.page.wait_for_selector("#drawn img", state="hidden")


def test_several_pictures_go_into_one_prompt(visit: Open) -> None:
    seen = visit()
    seen.choose("The a-sayer")
    seen.give(CAT)
    assert not seen.page.is_visible("#more-pictures")
    seen.choose("Tiny two")
    seen.page.wait_for_selector("#more-pictures")
    add_pictures(seen)
    seen.page.fill("#prompt textarea", "what is this")
    seen.page.click("#settings > button")
    seen.page.fill("#set-num-beams input", "1")
    seen.page.fill("#set-max-new-tokens input", "6")
    seen.page.click("#describe")
    seen.status("done")
    together = seen.text()
    assert together
    seen.page.fill("#description textarea", "Mine.")
    seen.page.wait_for_timeout(700)
    assert not seen.page.is_visible("#keep-correction")  # of several pictures, which one would it belong to?


def test_the_further_pictures_are_uploads_too(address: str) -> None:
    config = page_config(address)
    parts = {row["props"].get("elem_id"): row["id"] for row in config["components"]}
    values = {row["id"]: row["props"].get("value") for row in config["components"]}
    event = next(row for row in config["dependencies"] if parts["more-pictures"] in row["inputs"])
    cat = {"path": upload(address, "cat.jpg", CAT.read_bytes()), "meta": {"_type": "gradio.FileData"}}
    for path, fine in (("/etc/passwd", False), ("http://127.0.0.1:9/cat.jpg", False), (str(CAT), False), ("", True)):
        more = [{"image": {"path": path}, "caption": None}] if path else [{"image": cat, "caption": None}]
        given = {parts["picture"]: cat, parts["variant"]: "two", parts["more-pictures"]: more}
        done = press(address, event, [given.get(each, values[each]) for each in event["inputs"]])
        assert done["success"] is fine, done


def test_visitors_of_a_shared_page_never_meet(visit: Open, chromium: Any, tmp_path: Path) -> None:
    """Two browsers on a Space: each sees its own corrections, after a reload too, and nothing of the other's."""
    with serve(tmp_path, SPACE_ID="somebody/narrator") as server:
        def enter() -> Visit:
            context = chromium.new_context()
            context.set_default_timeout(WAIT_MS)
            seen = Visit(context.new_page(), [], [])
            seen.page.goto(server.address)
            seen.page.wait_for_selector("#describe")
            return seen

        ada, bob = enter(), enter()
        correct(ada, "Ada's cat.")
        for _ in range(2):
            open_list(ada)
            ada.page.locator("#corrections-table", has_text="Ada's cat.").wait_for()
            ada.page.reload()
            ada.page.locator("#corrections > button", has_text="Corrections (1)").wait_for()
        bob.page.reload()
        bob.page.wait_for_selector("#describe")
        open_list(bob)
        bob.page.locator("#corrections-table", has_text="No correction is kept yet").wait_for()
        for seen in (ada, bob):
            seen.page.context.close()
        assert len(list((server.folder / "history" / "visitors").iterdir())) == 1

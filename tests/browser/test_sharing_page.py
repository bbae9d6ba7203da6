""" "Adapters and sharing" in a real browser: an adapter is added, merged and exported; by keyboard, in all colours."""

import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from peft import LoraConfig, get_peft_model
from serving import free_port, page_config, press, served, upload
from tiny_families import save_causal

from browser.conftest import PHONE, WAIT_MS, WIDE, Visit
from narrator.families.causal_lm import load_model

pytestmark = pytest.mark.browser
Open = Callable[..., Visit]
LISTEN = """() => { window.heard = []; const line = document.querySelector("#models-status");
    new MutationObserver(() => { const text = line.innerText.trim();
        if (text && text !== window.heard.at(-1)) window.heard.push(text); })
    .observe(line, {childList: true, subtree: true, characterData: true}); }"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bases teller and other in `checkpoints`, and loud, an adapter of teller."""
    folder = tmp_path_factory.mktemp("sharing")
    save_causal(folder / "checkpoints" / "teller", "gpt2")
    save_causal(folder / "checkpoints" / "other", "llama")
    lora = LoraConfig(r=2, target_modules=["c_attn"], init_lora_weights=False, task_type="CAUSAL_LM",
                      fan_in_fan_out=True)
    model = get_peft_model(load_model(folder / "checkpoints" / "teller", "cpu"), lora)
    model.save_pretrained(folder / "loud", save_embedding_layers=False)
    return folder


@pytest.fixture(scope="module")
def address(home: Path) -> Iterator[str]:
    """A page of its own over them."""
    with served(home, free_port(), NARRATOR_CHECKPOINTS=str(home / "checkpoints"), HF_TOKEN="") as running:
        yield running.address


class Sharing:
    """The accordion as a person uses it."""

    def __init__(self, seen: Visit) -> None:
        self.seen, self.page = seen, seen.page
        self.page.get_by_role("tab", name="Models").click()
        self.page.wait_for_selector("table.models")
        self.page.click("#sharing > button")
        self.page.wait_for_selector("#adapter-add")

    def give(self, *paths: Path) -> None:
        self.page.set_input_files("#adapter-files input[type=file]", list(paths))
        self.page.locator("#adapter-files", has_text=paths[0].suffix).wait_for(timeout=WAIT_MS)

    def choose(self, field: str, title: str) -> None:
        self.page.click(f"#{field} input")
        self.page.get_by_role("option", name=title, exact=True).click()

    def says(self, words: str) -> str:
        line = self.page.locator("#models-status .line")
        line.and_(self.page.locator(".error")).or_(line.filter(has_text=words)).wait_for(timeout=WAIT_MS)
        assert words in line.inner_text()
        return line.inner_text()

    def violations(self, state: str) -> list[str]:
        found = Axe().run(self.page).response
        assert len(found["passes"]) > 10  # it did look
        return [f"{state}: {row['id']} {node['target']} {node['html'][:120]}"
                for row in found["violations"] for node in row["nodes"]]


def test_an_adapter_is_added_merged_exported_and_told_once(visit: Open, home: Path, tmp_path: Path) -> None:
    sharing = Sharing(visit())
    page = sharing.page
    page.evaluate(LISTEN)
    sharing.give(*[home / "loud" / name for name in ("adapter_config.json", "adapter_model.safetensors")])
    sharing.choose("adapter-base", "Tiny other")
    page.fill("#adapter-name input, #adapter-name textarea", "loud")
    page.click("#adapter-add")
    sharing.says("loud was trained on teller, not on Tiny other (other)")
    assert page.locator("#adapter-files", has_text=".safetensors").count() == 1  # nothing is lost
    sharing.choose("adapter-base", "Tiny teller")
    page.click("#adapter-add")
    page.wait_for_selector("#task-bar progress[aria-label='Adding loud to Tiny teller']")
    sharing.says("Tiny teller with loud is here.")
    page.locator("#model-title", has_text="Tiny teller with loud").wait_for(timeout=WAIT_MS)  # it is chosen
    page.locator("#sharing-about", has_text="Tiny teller with loud").wait_for(timeout=WAIT_MS)
    page.wait_for_selector("#task-bar progress", state="detached")

    page.fill("#merge-name input, #merge-name textarea", "whole")
    page.click("#merge")
    sharing.says("is here, as whole.")
    page.locator("#model-title", has_text="Tiny teller with loud, merged").wait_for(timeout=WAIT_MS)
    page.click("#export")
    sharing.says("whole.zip is ready")
    page.wait_for_selector("#export-save")
    with page.expect_download() as saved:
        page.click("#export-save")
    with zipfile.ZipFile(saved.value.path()) as archive:
        assert "whole/model.safetensors" in archive.namelist() and saved.value.suggested_filename == "whole.zip"
    heard = page.evaluate("window.heard")
    assert len(heard) == len(set(heard)) <= 9, heard

    assert "not set" in page.inner_text("#push-key")
    page.click("#push")
    sharing.says("HF_TOKEN")
    shutil.rmtree(home / "checkpoints" / "loud")
    shutil.rmtree(home / "checkpoints" / "whole")


def test_no_file_of_the_server_is_read(address: str, home: Path) -> None:
    """A crafted request that names one, with or without the mark that Gradio itself looks at, and a web address."""
    config = page_config(address)
    files = next(block for block in config["components"] if block["props"].get("elem_id") == "adapter-files")["id"]
    event = next(one for one in config["dependencies"] if files in one["inputs"] and len(one["inputs"]) == 4)
    for named in ("/etc/passwd", str(home / "loud" / "adapter_config.json"), "http://127.0.0.1:1/x"):
        for mark in ({}, {"meta": {"_type": "gradio.FileData"}}):
            given = [{"path": named, "orig_name": "adapter_config.json", **mark}]
            assert press(address, event, ["teller", given, "teller", "stolen"])["success"] is False
    assert not (home / "checkpoints" / "stolen").exists()
    own = {"path": upload(address, "notes.txt", b"hello"), "meta": {"_type": "gradio.FileData"}}
    assert press(address, event, ["teller", [own], "teller", "notes"])["success"] is True


def test_by_keyboard_alone(visit: Open) -> None:
    """From the accordion through all fields, in their order."""
    seen = visit()
    seen.page.get_by_role("tab", name="Models").click()
    seen.page.wait_for_selector("table.models")
    seen.page.focus("#sharing > button")
    seen.page.keyboard.press("Enter")
    seen.page.wait_for_selector("#adapter-add")
    reached: list[str] = []
    for _ in range(14):
        seen.page.keyboard.press("Tab")
        found = seen.page.evaluate("document.activeElement.closest('#sharing [id]:not([id^=component])')?.id || ''")
        name = seen.page.evaluate("(id) => document.getElementById(id)?.closest('[id^=adapter-],[id^=merge],[id^=push],"
                                  "[id=export]')?.id || ''", found)
        reached += [name] if name and name not in reached else []
    assert reached == ["adapter-files", "adapter-base", "adapter-name", "adapter-add", "merge-name", "merge", "export",
                       "push-repo", "push-private", "push"]


@pytest.mark.parametrize(("size", "scheme"), [(WIDE, "light"), (PHONE, "dark")], ids=["wide-light", "phone-dark"])
def test_axe_finds_nothing_and_nothing_scrolls_sideways(visit: Open, home: Path, size: tuple[int, int],
                                                        scheme: str) -> None:
    sharing = Sharing(visit(size, scheme))
    sharing.page.wait_for_timeout(500)
    found = sharing.violations("open")
    sharing.give(*[home / "loud" / name for name in ("adapter_config.json", "adapter_model.safetensors")])
    sharing.page.click("#adapter-add")
    sharing.says("Choose the base")
    said = sharing.page.locator("#sharing-said .line")  # the live region may be out of sight
    assert "Choose the base" in said.inner_text() and sharing.page.locator("#sharing-said[aria-live]").count() == 0
    found += sharing.violations("files")
    sharing.page.fill("#adapter-name input, #adapter-name textarea", "louder")
    sharing.choose("adapter-base", "Tiny teller")
    sharing.page.click("#adapter-add")
    sharing.page.wait_for_selector("#task-cancel")
    found += sharing.violations("at work")
    assert sharing.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert all(button.bounding_box()["height"] >= 40 for button in  # type: ignore[index]
               sharing.page.locator("#sharing-stage button[id], #task button").all() if button.is_visible())
    if sharing.page.locator("#task-cancel").is_visible():
        sharing.page.click("#task-cancel", timeout=5000)
    sharing.page.wait_for_selector("#task-bar progress", state="detached")
    shutil.rmtree(home / "checkpoints" / "louder", ignore_errors=True)
    assert found == []

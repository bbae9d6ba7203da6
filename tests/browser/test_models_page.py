"""The Models tab in a real browser: a download and its progress, loading, removing, by keyboard, in all colours."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from axe_playwright_python.sync_playwright import Axe
from plumbing import write_checkpoint
from serving import free_port, served
from small_hub import BIG, Repository, SmallHub, files, repository
from tiny_captioner import save_tiny_captioner

from browser.conftest import PHONE, WAIT_MS, WIDE, Visit
from narrator import catalog

pytestmark = pytest.mark.browser
Open = Callable[..., Visit]
LISTEN = """() => { window.heard = []; const line = document.querySelector("#models-status");
    new MutationObserver(() => { const text = line.innerText.trim();
        if (text && text !== window.heard.at(-1)) window.heard.push(text); })
    .observe(line, {childList: true, subtree: true, characterData: true}); }"""
PACE_S = 5  # the larger repository does not come to its end by itself


@pytest.fixture(scope="module")
def hub() -> Iterator[SmallHub]:
    with SmallHub() as small:
        yield small


@pytest.fixture(scope="module")
def address(hub: SmallHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A page of its own over the small hub: "large" to download slowly, "far" to load, "mine" to remove."""
    folder = tmp_path_factory.mktemp("models")
    save_tiny_captioner(folder / "tiny")
    hub.repositories["owner/far"] = repository(folder / "tiny")
    hub.repositories["owner/large"] = Repository(files(BIG), pace_s=PACE_S)
    shipped = yaml.safe_load(catalog.SHIPPED.read_text())
    shipped["variants"] = [{"id": name, "title": f"The {name}", "source": f"owner/{name}", "family": "encoder_decoder",
                            "inputs": {"image": True}} for name in ("far", "large")]
    (folder / "shipped.yaml").write_text(yaml.safe_dump(shipped))
    write_checkpoint(folder / "checkpoints", "mine")
    places = {"NARRATOR_CHECKPOINTS": str(folder / "checkpoints"), "TEST_SHIPPED": str(folder / "shipped.yaml"),
              "HF_ENDPOINT": hub.address, "HF_HUB_CACHE": str(folder / "cache"), "HF_HUB_OFFLINE": "0"}
    with served(folder, free_port(), **places) as running:
        yield running.address


class Models:
    """The tab as a person uses it."""

    def __init__(self, seen: Visit) -> None:
        self.seen, self.page = seen, seen.page
        self.page.get_by_role("tab", name="Models").click()
        self.page.wait_for_selector("#models-status[role=status]")
        self.page.wait_for_selector("table.models")

    def choose(self, title: str) -> None:
        self.page.click("#models-choice input")
        self.page.get_by_role("option", name=title, exact=True).click()
        self.page.locator("#model-title", has_text=title).wait_for(timeout=WAIT_MS)

    def press(self, name: str) -> None:
        self.page.click(f"#models-{name}")

    def says(self, words: str) -> None:
        line = self.page.locator("#models-status .line")
        line.and_(self.page.locator(".error")).or_(line.filter(has_text=words)).wait_for(timeout=WAIT_MS)
        assert words in line.inner_text()

    def under_way(self) -> None:
        bar = self.page.locator("#models-bar span", has_text=re.compile(r" of 6 MB \([1-9]"))  # the first piece is here
        bar.or_(self.page.locator("#models-status .error")).wait_for(timeout=WAIT_MS)
        assert bar.count() == 1, self.page.inner_text("#models-status")

    def state(self, title: str) -> str:
        return self.page.locator("table.models tr", has_text=title).locator("td").first.inner_text()

    def offers(self) -> list[str]:
        return [button.inner_text() for button in self.page.locator("#models-actions button").all()]

    def violations(self, state: str) -> list[str]:
        found = Axe().run(self.page).response
        assert len(found["passes"]) > 10  # it did look
        return [f"{state}: {row['id']} {node['target']} {node['html'][:120]}"
                for row in found["violations"] for node in row["nodes"]]


def test_a_model_is_downloaded_loaded_used_unloaded_and_removed(visit: Open) -> None:
    models = Models(visit())
    models.page.evaluate(LISTEN)
    models.choose("The far")
    assert models.state("The far") == "Can be downloaded" and models.offers() == ["Download"]
    models.press("pull")
    models.says("The far is here now.")
    models.page.wait_for_selector("#models-load")
    assert models.offers() == ["Load", "Remove …"]
    models.press("load")
    models.says("The far is loaded")
    models.page.wait_for_selector("#models-unload")
    assert models.state("The far") == "Loaded"

    models.page.get_by_role("tab", name="Narrate").click()
    models.seen.choose("The far")
    assert models.seen.describe()

    models.page.get_by_role("tab", name="Models").click()
    models.page.wait_for_selector("#models-unload")
    models.press("unload")
    models.says("The far is unloaded.")
    models.page.wait_for_selector("#models-load")
    models.press("remove")
    models.page.wait_for_function("document.activeElement.id === 'models-keep'")
    assert "downloaded again" in models.page.inner_text("#models-question")
    assert models.page.get_attribute("#models-keep", "aria-describedby") == "models-question"
    models.page.keyboard.press("Enter")
    models.page.wait_for_selector("#models-keep", state="hidden")
    assert models.state("The far") == "On this machine"
    models.press("remove")
    models.press("yes")
    models.says("The far is removed;")
    models.page.wait_for_selector("#models-pull")
    assert models.state("The far") == "Can be downloaded"
    heard = models.page.evaluate("window.heard")
    assert len(heard) == len(set(heard)) and "Loading" in " ".join(heard)


def test_a_download_is_seen_survives_a_reload_and_is_cancelled(visit: Open, hub: SmallHub) -> None:
    models = Models(visit())
    models.choose("The large")
    models.press("pull")
    models.under_way()
    assert models.page.get_attribute("#models-bar progress", "aria-label") == "Download of The large"
    assert models.offers() == ["Cancel download"] and models.state("The large") == "Downloading"
    models.page.reload()
    models.page.wait_for_selector("#describe")
    models = Models(models.seen)
    models.choose("The large")
    models.page.wait_for_selector("#models-bar progress")
    models.press("cancel")
    models.says("is kept: Download goes on from there")
    models.page.wait_for_selector("#models-pull")
    kept = hub.fetched("model.safetensors")
    hub.repositories["owner/large"].pace_s = 0
    models.press("pull")
    models.says("The large is here now.")
    hub.repositories["owner/large"].pace_s = PACE_S
    later = hub.fetched("model.safetensors")[len(kept):]
    assert len(later) == 1 and later[0].startswith("bytes=") and later[0] != "bytes=0-"
    models.press("remove")
    models.press("yes")
    models.says("The large is removed;")


def test_by_keyboard_alone(visit: Open) -> None:
    """From the tab's name to the choice, the action and the table, in this order."""
    seen = visit()
    seen.page.focus("[role=tab]:has-text('Narrate')")
    for _ in range(8):  # the rooms between them
        seen.page.keyboard.press("Tab")
        if seen.page.evaluate("document.activeElement.innerText.trim()") == "Models":
            break
    seen.page.keyboard.press("Enter")
    seen.page.wait_for_selector("table.models")
    reached: list[str] = []
    for _ in range(12):
        seen.page.keyboard.press("Tab")
        found = seen.page.evaluate("document.activeElement.closest('[id^=models-]')?.id || ''")
        reached += [found] if found and found not in reached else []
    wanted = ["models-choice", "models-load", "models-overview"]
    assert [name for name in reached if name in wanted] == wanted, reached


def test_only_what_may_be_removed_is_removed(visit: Open) -> None:
    models = Models(visit())
    models.choose("The mine")
    assert models.offers() == ["Load", "Remove …"]
    models.press("remove")
    models.page.wait_for_function("document.activeElement.id === 'models-keep'")
    assert "deleted for good" in models.page.inner_text("#models-question")
    models.page.click("#models-choice input")
    models.page.get_by_role("option", name="Photo captioner", exact=True).click()
    models.page.wait_for_selector("#models-keep", state="hidden")  # it was about another model
    models.page.locator("#model-title", has_text="Photo captioner").wait_for(timeout=WAIT_MS)
    assert models.offers() == ["Load"]
    assert "comes with this project" in models.page.inner_text("#models-details")
    assert "CIDEr-D" in models.page.inner_text("#models-details")


@pytest.mark.parametrize(("size", "scheme"), [(WIDE, "light"), (PHONE, "dark")], ids=["wide-light", "phone-dark"])
def test_axe_finds_nothing_and_nothing_scrolls_sideways(visit: Open, size: tuple[int, int], scheme: str,
                                                        tmp_path: Path) -> None:
    models = Models(visit(size, scheme))
    models.page.wait_for_timeout(500)
    found = models.violations("before")
    models.choose("The large")
    models.press("pull")
    models.under_way()
    found += models.violations("downloading")
    models.press("cancel")
    models.says("is kept")
    models.page.wait_for_selector("#models-remove")
    models.press("remove")
    models.page.wait_for_selector("#models-keep")
    found += models.violations("asking")
    assert models.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert all(button.bounding_box()["height"] >= 40 for button in  # type: ignore[index]
               models.page.locator("#models-actions button, #models-asking button").all())
    models.press("yes")
    models.says("is removed")
    assert found == []

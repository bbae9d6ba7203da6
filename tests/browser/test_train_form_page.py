"""What the left side of the Train tab can do besides a plain start, the order of the queue, and where it is turned
off."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from serving import Server, free_port, served
from training import PRESET

from browser.conftest import PHONE, WAIT_MS, Visit
from browser.training_page import CAPTIONS, Train
from narrator.processes import record
from trainer.claims import home
from trainer.jobs import QUEUED, waiting
from trainer.queue import WORKER

pytestmark = pytest.mark.browser
Open = Callable[..., Visit]


@pytest.fixture(scope="module")
def address(training: Server) -> str:
    return training.address


def load(train: Train, path: Path) -> None:
    """Press Load a file and choose this one."""
    with train.page.expect_file_chooser() as chooser:
        train.page.click("#train-yaml-file")
    chooser.value.set_files(path)


def test_settings_come_from_a_file_stages_and_data_sets_are_added_and_removed(visit: Open, tmp_path: Path) -> None:
    train = Train(visit())
    page = train.page
    page.click("#train-text > button")
    page.wait_for_function("document.querySelector('#train-yaml textarea')?.value.startsWith('# python')")
    (tmp_path / "mine.yaml").write_text(page.input_value("#train-yaml textarea").replace("epochs: 10", "epochs: 3"))
    (tmp_path / "bad.yaml").write_text("name: [")
    load(train, tmp_path / "bad.yaml")
    assert "bad.yaml cannot be read as YAML" in train.says("cannot be read as YAML")
    load(train, tmp_path / "mine.yaml")
    train.says("The settings are those of the file.")
    assert float(page.input_value("#train-stages-epochs input")) == 3
    for part in ("#train-all", "#train-stages-part", "#train-data-part"):
        page.click(f"{part} > button")
    page.click("#train-stages-add")
    shown = "document.querySelector('#train-stage input')?.value"
    page.wait_for_function(f"{shown} === '2. stage-1'")
    page.fill("#train-stages-epochs input", "2")
    page.fill("#train-stages-steps input", "40")
    page.wait_for_function("document.querySelector('#train-yaml textarea').value.includes('steps: 40')")
    page.click("#train-stages-remove")
    page.wait_for_function("!document.querySelector('#train-yaml textarea').value.includes('steps: 40')")
    page.click("#train-data-add")
    page.wait_for_function("document.querySelector('#train-data-row input')?.value.startsWith('2. ')")
    page.fill("#train-data-path :is(input, textarea)", "others/captions.jsonl")
    page.wait_for_function("document.querySelector('#train-yaml textarea').value.includes('others/captions.jsonl')")
    assert train.violations("two data sets") == [] and not train.sideways()
    page.click("#train-data-remove")
    page.wait_for_function("!document.querySelector('#train-yaml textarea').value.includes('others/captions.jsonl')")


def loose(folder: Path, training: Server) -> list[Path]:
    """Four pictures, and a text of the same name for each."""
    folder.mkdir()
    for number in range(4):
        shutil.copy(training.folder / f"p{number}.jpg", folder)
        (folder / f"p{number}.txt").write_text(CAPTIONS[number])
    return sorted(folder.iterdir())


def test_data_come_as_loose_files_or_from_the_hub(visit: Open, training: Server, tmp_path: Path) -> None:
    train = Train(visit(PHONE, "dark"))
    page = train.page
    page.set_input_files("#train-upload input[type=file]", loose(tmp_path / "loose", training))
    assert "3 pictures to learn from, 1 to measure on" in train.says("The upload is ready")
    assert train.violations("loose pictures") == [] and not train.sideways()
    page.get_by_role("radio", name="A data set of the Hugging Face Hub").check()
    page.fill("#train-hub-name :is(input, textarea)", "no name")
    page.click("#train-hub-use")
    train.says("A data set of the Hub is named owner/name")
    page.fill("#train-hub-name :is(input, textarea)", "owner/pictures")
    page.click("#train-hub-use")
    page.locator("#train-found", has_text="owner/pictures is fetched when it is checked").wait_for(timeout=WAIT_MS)
    assert train.violations("a data set of the Hub") == [] and not train.sideways()


@pytest.fixture
def two_waiting(training: Server) -> Iterator[tuple[str, str]]:
    """The names of two runs in the queue, in their order, which nobody begins: this process stands as its worker."""
    runs, names = training.folder / "runs", ("tiny-20250106T000000Z", "tiny-20250107T000000Z")
    for place, name in enumerate(names, start=1):
        (runs / name).mkdir(parents=True)
        (runs / name / "config.yaml").write_text(yaml.safe_dump(PRESET))
        (runs / name / QUEUED).write_text(json.dumps({"place": place, "since": place}))
    home(runs).mkdir(exist_ok=True)
    record(home(runs) / WORKER)
    yield names
    for name in names:
        shutil.rmtree(runs / name)
    (home(runs) / WORKER).unlink()


def test_a_waiting_run_goes_earlier_and_later(visit: Open, training: Server, two_waiting: tuple[str, str]) -> None:
    first, second = two_waiting
    train = Train(visit(), second)
    page, runs = train.page, training.folder / "runs"
    page.wait_for_selector("#train-earlier")
    page.focus("#train-earlier")
    page.keyboard.press("Enter")
    train.says("is number 1 in the queue")
    assert [folder.name for folder in waiting(runs)] == [second, first]
    page.focus("#train-later")
    page.keyboard.press("Enter")
    train.says("is number 2 in the queue")
    assert [folder.name for folder in waiting(runs)] == [first, second]
    assert "Waiting, number 2" in page.inner_text("#train-overview")


NO_TRAINING = {"NARRATOR_TRAINING": "off"}, "Training is turned off on this page."
ON_A_SPACE = {"NARRATOR_TRAINING": "on", "SPACE_ID": "anna/narrator"}, "This Space has no storage that lasts"


@pytest.mark.parametrize(("places", "says"), [NO_TRAINING, ON_A_SPACE], ids=["off", "space"])
def test_where_it_is_off_or_does_not_last_the_tab_says_so(visit: Open, training: Server, tmp_path: Path,
                                                          places: dict[str, str], says: str) -> None:
    folders = {f"NARRATOR_{name.upper()}": str(training.folder / name) for name in ("checkpoints", "data")}
    folders |= {f"NARRATOR_{name.upper()}": str(tmp_path / name) for name in ("runs", "history")}
    with served(tmp_path, free_port(), **folders, **places, HF_HUB_OFFLINE="1", OMP_NUM_THREADS="1") as server:
        page = visit(at=server.address).page
        page.get_by_role("tab", name="Train").click()
        page.get_by_text(says).wait_for(timeout=WAIT_MS)
        assert page.locator("#train-start").count() == (places["NARRATOR_TRAINING"] == "on")
        assert page.get_attribute("#train-status", "role") == "status"
        page.context.close()  # before its server

"""The accordion "Adapters and sharing" without a browser: real adapters, real processes, and who may do what."""

from __future__ import annotations

import shutil
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hub_uploads import KEY
from peft import LoraConfig, get_peft_model
from small_hub import SmallHub
from tiny_families import save_causal

from narrator import catalog
from narrator.catalog import find_variant
from narrator.families.causal_lm import load_model
from narrator.hub.tasks import Task, Tasks
from narrator.ui import build_page, models_sharing, models_sharing_handlers, models_sharing_view

handlers = models_sharing_handlers


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bases teller and other, and loud, an adapter of teller. Copy, do not change."""
    home = tmp_path_factory.mktemp("made")
    save_causal(home / "teller", "gpt2")
    save_causal(home / "other", "llama")
    lora = LoraConfig(r=2, target_modules=["c_attn"], init_lora_weights=False, task_type="CAUSAL_LM",
                      fan_in_fan_out=True)
    get_peft_model(load_model(home / "teller", "cpu"), lora).save_pretrained(home / "loud", save_embedding_layers=False)
    return home


@pytest.fixture
def own(small: SmallHub, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A catalog of the two bases, uploads of its own, and no task yet."""
    folder = tmp_path / "checkpoints"
    for name in ("teller", "other"):
        shutil.copytree(made / name, folder / name)
    (tmp_path / "shipped.yaml").write_text(yaml.safe_dump({"bundled": ["teller"], "variants": []}))
    monkeypatch.setattr(catalog, "SHIPPED", tmp_path / "shipped.yaml")
    monkeypatch.setattr(catalog, "CHECKPOINTS", tmp_path / "none")
    monkeypatch.setenv("NARRATOR_CHECKPOINTS", str(folder))
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    for name in ("NARRATOR_MANAGE", "SPACE_ID", "GRADIO_SERVER_NAME", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    tasks = Tasks()
    for module in (handlers, models_sharing):
        monkeypatch.setattr(module, "shared_tasks", lambda: tasks)
    yield folder
    tasks.cancel()


@pytest.fixture
def uploaded(made: Path, tmp_path: Path) -> list[str]:
    """The adapter's files as Gradio leaves them: each in a folder of its own."""
    paths = []
    for file in (made / "loud").iterdir():
        place = tmp_path / "uploads" / file.name.replace(".", "-") / file.name
        place.parent.mkdir(parents=True)
        shutil.copyfile(file, place)
        paths.append(str(place))
    return paths


def ended() -> Task:
    end = time.monotonic() + 240
    while (task := handlers.shared_tasks().latest()) is None or task.state == "running":
        assert time.monotonic() < end
        time.sleep(0.05)
    return task


def test_an_adapter_is_added_merged_exported_and_pushed(own: Path, uploaded: list[str], small: SmallHub,
                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    assert handlers.bases() == [("Tiny teller", "teller"), ("Tiny other", "other")]
    assert "Adding loud to Tiny teller" in handlers.add(uploaded, "teller", "loud")
    assert "has no adapter" in handlers.merge("teller", "")
    assert "is under way: wait for it, or cancel it" in handlers.export("teller")
    bar = models_sharing_view.bar(handlers.shared_tasks().latest())
    assert 'aria-label="Adding loud to Tiny teller"' in bar and "At work" in bar
    task = ended()
    assert (task.state, task.made) == ("done", "loud") and "is here" in handlers.told(task)
    assert find_variant("loud").adapter == str(own / "loud") and handlers.bases() == [
        ("Tiny teller", "teller"), ("Tiny other", "other")]

    assert "Merging" in handlers.merge("loud", "")
    assert ended().made == "loud-merged" and find_variant("loud-merged").adapter is None

    assert "Packing" in handlers.export("loud-merged")
    path = handlers.exported(ended())
    assert path is not None and "uploads" in path
    with zipfile.ZipFile(path) as archive:
        assert {"loud-merged/model.safetensors", "loud-merged/variant.yaml"} <= set(archive.namelist())

    assert "HF_TOKEN" in handlers.push("loud-merged", "anna/loud", True) and "not set" in models_sharing_view.key()
    monkeypatch.setenv("HF_TOKEN", KEY)
    assert "is used" in models_sharing_view.key() and "USER/NAME" in handlers.push("loud-merged", "", True)
    assert "Pushing" in handlers.push("loud-merged", " anna/loud ", True)
    task = ended()
    assert "Pushed: " in handlers.told(task) and small.repositories["anna/loud"].private, task
    assert handlers.exported(task) is None


def test_a_wrong_base_is_told_with_both_names_and_a_cancel_leaves_nothing(own: Path, uploaded: list[str]) -> None:
    assert "nothing to cancel" in handlers.cancel()
    handlers.add(uploaded, "other", "loud")
    said = handlers.told(ended())
    assert "Problem" in said and "loud was trained on teller, not on Tiny other (other)" in said
    handlers.add(uploaded, "teller", "loud")
    assert "Stopping" in handlers.cancel()
    task = ended()
    assert task.state == "stopped" and "Nothing is left of it" in handlers.told(task)
    assert sorted(path.name for path in own.iterdir()) == ["other", "teller"]


BAD: dict[str, tuple[Any, Any, Any, str]] = {
    "no files": (None, "teller", "x", "There are no files yet"), "no base": ("all", None, "x", "Choose the base"),
    "an unknown base": ("all", "../teller", "x", "There is no variant"),
    "no name": ("all", "teller", " ", "needs a name"), "a path as a name": ("all", "teller", "../x", "cannot be named"),
    "a name that is taken": ("all", "teller", "other", "already"),
    "a file of the server": (["/etc/passwd"], "teller", "x", "was not uploaded"),
    "a file of ours": ([str(Path(__file__))], "teller", "x", "was not uploaded")}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_added(own: Path, uploaded: list[str], name: str, tmp_path: Path) -> None:
    files, base, called, expected = BAD[name]
    assert expected in handlers.add(uploaded if files == "all" else files, base, called)
    assert handlers.shared_tasks().latest() is None


def test_a_zip_names_the_model(own: Path, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = tmp_path / "uploads" / "a" / "Very Loud.zip"
    packed.parent.mkdir(parents=True)
    with zipfile.ZipFile(packed, "w") as archive:
        for file in (made / "loud").iterdir():
            archive.write(file, f"loud/{file.name}")
    started: list[Any] = []
    monkeypatch.setattr(Tasks, "start", lambda self, *given: started.append(given))
    assert "Adding very-loud to Tiny teller" in handlers.add([str(packed)], "teller", "")
    (_, _, request, (scratch, _)) = started[0]
    assert (Path(request["folder"]) / "adapter_config.json").is_file()
    shutil.rmtree(scratch)
    packed.write_bytes(b"PK damaged")
    assert "damaged" in handlers.add([str(packed)], "teller", "again") and len(started) == 1


def test_visitors_of_a_shared_page_share_nothing(own: Path, uploaded: list[str],
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    def ids() -> set[str]:
        return {getattr(block, "elem_id", None) or "" for block in build_page().blocks.values()}

    sharing = {"sharing", "adapter-files", "adapter-add", "merge", "export", "push", "task-cancel"}
    assert sharing <= ids()
    monkeypatch.setenv("SPACE_ID", "somebody/space")
    monkeypatch.setenv("HF_TOKEN", KEY)
    assert not sharing & ids()
    for said in (handlers.add(uploaded, "teller", "loud"), handlers.merge("teller", "x"), handlers.export("teller"),
                 handlers.push("teller", "anna/x", True), handlers.cancel()):
        assert "cannot be downloaded, unloaded or removed here" in said
    assert handlers.shared_tasks().latest() is None


def test_what_is_written_is_escaped(own: Path) -> None:
    (own / "teller" / "variant.yaml").write_text((own / "teller" / "variant.yaml").read_text().replace(
        "Tiny teller", "<img src=x>"))
    html = models_sharing_view.about("teller") + models_sharing_view.bar(
        Task(number=1, does="export", title="Export of <img src=x>", done=5, total=10))
    assert "<img" not in html and "&lt;img" in html and "(50%)" in html and "no adapter to merge" in html
    assert "none yet" in models_sharing_view.about(None)

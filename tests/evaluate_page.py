"""Two tiny captioners, data and a finished evaluation, as the Evaluate tab meets them."""

from __future__ import annotations

import asyncio
import json
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tiny_captioner import save_tiny_captioner

from narrator import evaluation
from narrator.evaluation import Plan
from narrator.knobs import knobs
from narrator.settings import GenerationSettings
from narrator.ui import evaluate_data as data

PICTURES = Path(__file__).resolve().parents[1] / "assets" / "pictures"
TEXTS = ("A <b>cat</b> looks up.", "A man on a street.", "A dog runs on green grass.", "A cup on a table.")
USUAL = [field.default for field, _ in knobs(GenerationSettings).values()]
ADA, BOB = "a" * 43, "b" * 43  # two browsers' secrets


@pytest.fixture(name="home", scope="module")
def page_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Two tiny captioners, a data root with one set of two splits, and everything else below one folder."""
    folder = tmp_path_factory.mktemp("evaluate")
    for name in ("tiny-captioner", "tiny-second"):
        save_tiny_captioner(folder / "checkpoints" / name, name)
    write_set(folder / "data" / "mine", [{"split": "dev" if number < 2 else "train"} for number in range(4)])
    with pytest.MonkeyPatch.context() as patch:
        for name, place in (("CHECKPOINTS", "checkpoints"), ("EVALUATIONS", "evaluations"), ("HISTORY", "history"),
                            ("DATA", "data")):
            patch.setenv(f"NARRATOR_{name}", str(folder / place))
        patch.setenv("GRADIO_TEMP_DIR", str(folder / "uploads"))
        patch.setenv("HF_HUB_OFFLINE", "1")
        for name in ("SPACE_ID", "GRADIO_SERVER_NAME", "NARRATOR_KEEP_NOTHING"):
            patch.delenv(name, raising=False)
        yield folder


def write_set(folder: Path, more: Sequence[dict[str, Any]]) -> Path:
    """captions.jsonl over small pictures, a row for each of `more`, which is added to it."""
    (folder / "images").mkdir(parents=True)
    rows = []
    for number, fields in enumerate(more):
        Image.new("RGB", (32, 24), (60 * number, 90, 40)).save(folder / "images" / f"{number}.png")
        rows.append({"image": f"images/{number}.png", "captions": [TEXTS[number], "A thing."], **fields})
    (folder / "captions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "captions.jsonl"


@pytest.fixture(name="finished", scope="module")
def finished_one(home: Path) -> Path:
    """The folder of an evaluation of both captioners on four pictures that was carried out."""
    plan = Plan(variants=("tiny-captioner", "tiny-second"), data=home / "data" / "mine", data_name="my <set>",
                settings=GenerationSettings(num_beams=1, max_new_tokens=6))
    folder = evaluation.create(plan, evaluation.evaluations_folder())
    assert evaluation.run(folder) is not None
    return folder


@pytest.fixture(name="shared")
def shared_page(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page serves several people."""
    monkeypatch.setenv("SPACE_ID", "somebody/narrator")


def zipped(path: Path, **files: str | Path) -> str:
    """A zip of texts and files; "__" in a name stands for its last dot."""
    with zipfile.ZipFile(path, "w") as packed:
        for name, content in files.items():
            inside = name.replace("__", ".")
            packed.write(content, inside) if isinstance(content, Path) else packed.writestr(inside, content)
    return str(path)


def uploaded(*files: str) -> data.Given:
    return asyncio.run(data.from_upload(files))


CAT = PICTURES / "cat.jpg"
COCO = json.dumps({"images": [{"id": 1, "file_name": "cat.jpg"}],
                   "annotations": [{"id": 1, "image_id": 1, "caption": "A cat."}]})
KARPATHY = json.dumps({"images": [{"filename": "cat.jpg", "split": "test", "sentences": [{"raw": "A cat."}]}]})
JSONL = json.dumps({"image": "cat.jpg", "captions": ["A cat.", "The cat."]}) + "\n"
FORMATS: dict[str, dict[str, str | Path]] = {
    "sidecar": {"cat__txt": "A cat."}, "csv": {"table__csv": "image,caption\ncat.jpg,A cat.\n"},
    "jsonl": {"rows__jsonl": JSONL}, "coco": {"coco__json": COCO}, "karpathy": {"dataset__json": KARPATHY}}



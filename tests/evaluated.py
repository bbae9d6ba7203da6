"""Three variants that say what is known, a dozen pictures to measure them on, and what a test asks of a report."""

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from plumbing import Sayer, write_checkpoint

from narrator.engine import shared_engine
from narrator.evaluation import (
    Plan,
    Report,
)
from narrator.records import Piece, Score
from narrator.settings import GenerationSettings

WIDTHS = range(40, 52)
TRUE = ["A brown dog runs over the grass.", "Two boys play football in a park.", "A woman sits on a wooden bench.",
        "A red car drives down the street.", "A cat sleeps on a couch.", "A surfer rides a big wave."] * 2
SETTINGS = GenerationSettings(num_beams=1, max_new_tokens=8)


class Teller(Sayer):
    """Says what its config.json holds for the width of a picture: `words` is [[text, probability], ...]."""

    def batch(self, images: Sequence[Image.Image | None], prompts: Sequence[str], settings: Any) -> list[list[Piece]]:
        Sayer.batches.append(len(images))
        time.sleep(self.step_s)
        said = [self.words[(image.width if image is not None else 40) - WIDTHS.start] for image in images]
        return [[Piece(text=text, probability=probability, tokens=len(text.split()))] for text, probability in said]


@pytest.fixture(name="tellers")
def three_tellers(sayer: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Three variants: one says a reference, one something near it, one always the same."""
    from narrator.families import FAMILIES

    monkeypatch.setitem(FAMILIES, "teller", "evaluated:Teller")
    folder = tmp_path / "checkpoints"
    near = [text.replace("A ", "The ").replace("big ", "") for text in TRUE]
    for name, texts in (("right", TRUE), ("near", near), ("dull", ["A man and a zebra."] * len(TRUE))):
        write_checkpoint(folder, name, family="teller", license="Apache-2.0",
                         words=[[text, 0.5 + 0.04 * at] for at, text in enumerate(texts)])
    monkeypatch.setenv("NARRATOR_CHECKPOINTS", str(folder))
    shared_engine().close()
    yield folder
    shared_engine().close()


@pytest.fixture(name="data")
def dozen(tmp_path: Path) -> Path:
    """A dozen pictures, each as wide as no other, with two captions each; and one file that is no picture."""
    folder = tmp_path / "data"
    (folder / "images").mkdir(parents=True)
    rows = []
    for width, text in zip(WIDTHS, TRUE, strict=True):
        picture = Image.new("RGB", (width, 32), (width, 200, 90))
        picture.paste((250, 20, 20), (5, 5, 20, 20))
        picture.save(folder / "images" / f"{width}.png")
        captions = [text, "Something brown on the grass."]
        rows.append({"image": f"images/{width}.png", "captions": captions, "split": "dev"})
    (folder / "images" / "bad.png").write_bytes(b"no picture")
    rows.insert(3, {"image": "images/bad.png", "captions": ["Bad."], "split": "dev"})
    path = folder / "captions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + "not json\n")
    return path


def plan(data: Path, *variants: str, **more: Any) -> Plan:
    return Plan(**{"variants": variants or ("right", "near", "dull"), "data": data, "split": "dev", "batch_size": 4,
                   "java": False, "clip": False, **more})


def figures(report: Report) -> dict[str, dict[str, Score]]:
    return {one.variant: one.scores for one in report.variants}


def done(report: Report | None) -> Report:
    assert report is not None
    return report



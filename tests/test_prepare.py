"""`trainer prepare`: any format becomes a data set of one's own, limited and split by picture."""

import json
from pathlib import Path

import pytest
from PIL import Image

from narrator.readers.gathering import read_examples
from narrator.records import NarratorError
from trainer.__main__ import main
from trainer.prepare import prepare


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """COCO captions of 20 pictures, three captions each, and a picture that is damaged."""
    folder = tmp_path / "coco"
    folder.mkdir()
    for number in range(20):
        Image.new("RGB", (20, 20), (number * 10, 0, 0)).save(folder / f"{number}.jpg")
    (folder / "20.jpg").write_bytes(b"not a picture")
    (folder / "captions.json").write_text(json.dumps({
        "images": [{"id": number, "file_name": f"{number}.jpg"} for number in range(21)],
        "annotations": [{"id": number * 3 + part, "image_id": number, "caption": f"Caption {part} of {number}."}
                        for part in range(3) for number in range(21)]}))
    return folder / "captions.json"


def test_the_limit_counts_pictures_and_every_caption_of_them_comes_along(coco: Path, tmp_path: Path,
                                                                         capsys: pytest.CaptureFixture[str]) -> None:
    done: list[tuple[int, int]] = []
    made = prepare(coco, tmp_path / "own", limit=10, held_out=0.2, tell=lambda now, total: done.append((now, total)))
    assert (made.train, made.dev, made.captions) == (8, 2, 30) and done[-1] == (10, 10)
    assert "20.jpg" in capsys.readouterr().err  # the damaged one is named
    learned = read_examples(tmp_path / "own", split="train", strict=True, look=True)
    held = read_examples(tmp_path / "own", split="dev", strict=True, look=True)
    assert [len(learned), len(held)] == [8, 2]
    numbers = [{text.split()[-1] for text in example.texts} for example in [*learned, *held]]
    assert all(len(of_one) == 1 for of_one in numbers)  # captions stay with their picture
    chosen = {number for of_one in numbers for number in of_one}
    assert len(chosen) == 10 and chosen != {f"{number}." for number in range(10)}  # not the first ten of the file


def test_the_choice_depends_on_names_alone(coco: Path, tmp_path: Path) -> None:
    prepare(coco, tmp_path / "one", limit=6)
    moved = tmp_path / "elsewhere"
    coco.parent.rename(moved)
    prepare(moved / "captions.json", tmp_path / "two", limit=6)
    assert (tmp_path / "one" / "captions.jsonl").read_text() == (tmp_path / "two" / "captions.jsonl").read_text()


def test_what_cannot_be_prepared_is_refused(coco: Path, tmp_path: Path) -> None:
    with pytest.raises(NarratorError, match="holds something already"):
        prepare(coco, coco.parent)
    with pytest.raises(NarratorError, match="A limit of 1 pictures"):
        prepare(coco, tmp_path / "own", limit=1)
    with pytest.raises(NarratorError, match="a share between 0 and 1"):
        prepare(coco, tmp_path / "own", held_out=1.0)
    for number in range(1, 20):
        (coco.parent / f"{number}.jpg").unlink()
    with pytest.raises(NarratorError, match="1 pictures with captions, and two are needed"):
        prepare(coco, tmp_path / "own")
    assert not (tmp_path / "own").exists()


def test_from_the_command_line(coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prepare", str(coco), "--out", str(tmp_path / "own"), "--limit", "5"]) == 0
    assert "4 pictures to learn from, 1 to measure on, 15 captions." in capsys.readouterr().out

"""The reader of Karpathy's splits of Flickr8k and COCO."""

import json
from pathlib import Path
from typing import Any

import pytest
from captioned import picture, silent

from narrator.readers.gathering import read_examples
from narrator.records import Example, NarratorError


def image(name: str, *sentences: str, split: Any = "train", **more: Any) -> dict[str, Any]:
    return {"filename": name, "split": split, "imgid": 0, "sentids": [0],
            "sentences": [{"raw": text, "tokens": text.split(), "imgid": 0, "sentid": 0} for text in sentences], **more}


def written(folder: Path, images: Any, **options: Any) -> Path:
    path = folder / "dataset_flickr8k.json"
    path.write_text(json.dumps({"images": images, "dataset": "flickr8k"}, **options))
    return path


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("place", [".", "images", "Flicker8k_Dataset", "Images"])
def test_flickr8k(tmp_path: Path, place: str, indent: int | None) -> None:
    first, second = picture(tmp_path / place / "p.jpg"), picture(tmp_path / place / "q.jpg")
    path = written(tmp_path, [image("p.jpg", "one", "two  three"), image("q.jpg", "four", split="val")], indent=indent)
    assert read_examples(path, split=None, report=silent) == [
        Example(image=first, texts=("one", "two three")), Example(image=second, texts=("four",))]
    assert [example.image for example in read_examples(path, split="val", report=silent)] == [second]


def test_coco_and_restval(tmp_path: Path) -> None:
    first = picture(tmp_path / "val2014" / "p.jpg")
    second = picture(tmp_path / "train2014" / "p.jpg")  # the same name in another folder is another picture
    path = written(tmp_path, [image("p.jpg", "one", split="restval", filepath="val2014", cocoid=1),
                              image("p.jpg", "two", filepath="train2014", cocoid=2)])
    assert read_examples(path, split="train", report=silent) == [
        Example(image=first, texts=("one",)), Example(image=second, texts=("two",))]
    with pytest.raises(NarratorError, match=r"has no rows of split 'restval'; it has 'train' \(2 rows\)"):
        read_examples(path, split="restval", report=silent)


BAD: list[tuple[Any, str]] = [
    (5, "image 2: needs 'filename' and 'sentences'"),
    ({"filename": 5, "sentences": []}, "image 2: needs 'filename'"),
    ({"filename": "q.jpg"}, "image 2: 'sentences' must be a list, not nothing"),
    ({"filename": "q.jpg", "sentences": "one"}, "image 2: 'sentences' must be a list, not 'one'"),
    ({"filename": "q.jpg", "sentences": []}, "image 2: has no captions"),
    ({"filename": "q.jpg", "sentences": ["one"]}, "image 2: sentence 1 needs 'raw'"),
    ({"filename": "q.jpg", "sentences": [{"raw": 5}]}, "image 2: caption 1 must be a text, not a number"),
    ({"filename": "q.jpg", "sentences": [{"raw": " "}]}, "image 2: caption 1 is empty"),
    (image("q.jpg", "one", filepath=7), "'filepath' must be the name of a folder, not a number"),
    (image("q.jpg", "one", filepath="../.."), "escapes"),
    (image("q.jpg", "one", filepath="/etc"), "absolute path"),
    (image("z.jpg", "one"), "picture 'z.jpg' is not in"),
    (image("q.jpg", "one", split=["train"]), "'split' must be a text"),
    (image("p.jpg", "one", split="test"), "is in split 'test' here and in split 'train' at"),
]


@pytest.mark.parametrize(("bad", "reason"), BAD, ids=[row[1] for row in BAD])
def test_bad_entries(tmp_path: Path, bad: Any, reason: str) -> None:
    log: list[str] = []
    for name in ("p.jpg", "q.jpg", "r.jpg"):
        picture(tmp_path / name)
    path = written(tmp_path, [image("p.jpg", "one"), bad, image("r.jpg", "two")])
    found = read_examples(path, split=None, report=log.append)
    assert [example.texts for example in found] == [("one",), ("two",)]
    assert len(log) == 2 and reason in log[0] and "image 2" in log[0], log


def test_files_of_other_shapes(tmp_path: Path) -> None:
    path = tmp_path / "dataset_coco.json"
    nameless = {"images": [{"sentences": [{"raw": "x"}]}]}
    for content, reason in (({"images": []}, "needs the lists"), ({"images": {"sentences": 1}}, "needs the lists"),
                            (nameless, "Nothing in .* can be used: .*needs 'filename'")):
        path.write_text(json.dumps(content))
        with pytest.raises(NarratorError, match=reason):
            read_examples(path, split=None, report=silent)

"""The table, COCO and sidecar readers: what they find and what they refuse."""

import json
from pathlib import Path

import pytest
from captioned import picture, picture_set, silent

from narrator.readers.gathering import read_examples
from narrator.records import Example, NarratorError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return picture_set(tmp_path)


CSVS: list[tuple[str, bytes, dict[str, tuple[str, ...]], list[str]]] = [
    ("plain", b"image,caption\na.png,one\na.png,two\nimages/b.jpg,three\n",
     {"a.png": ("one", "two"), "b.jpg": ("three",)}, []),
    ("semicolon, BOM, CRLF", b"\xef\xbb\xbfImage;Caption\r\na.png;one, with comma\r\n",
     {"a.png": ("one, with comma",)}, []),
    ("tab, other order", b"caption\timage\none\ta.png\n", {"a.png": ("one",)}, []),
    ("quotes and line breaks", b'image,caption\na.png,"one, ""two""\nthree"\n', {"a.png": ('one, "two" three',)}, []),
    ("other names", b"file_name|extra|text\na.png|5|one\n", {"a.png": ("one",)}, []),
    ("empty lines", b"image,caption\n\n,\na.png,one\n", {"a.png": ("one",)}, []),
    ("stray comma", b"image,caption\na.png,one, two\na.png,three\n", {"a.png": ("three",)}, ["line 2: has 3 fields"]),
    ("short row", b"image,caption\na.png\na.png,three\n", {"a.png": ("three",)}, ["line 2: has 1 fields"]),
    ("empty caption", b"image,caption\na.png, \na.png,three\n", {"a.png": ("three",)},
     ["line 2: caption 1 is empty"]),
    ("latin-1", b"image,caption\na.png,B\xe4r\na.png,three\n", {"a.png": ("three",)},
     ["line 2: caption 1 is not valid"]),
    ("NUL", b"image,caption\na.png,\0\na.png,three\n", {"a.png": ("three",)}, ["line 2: caption 1 holds a NUL"]),
    ("10 MB", b"image,caption\na.png," + b"x" * 10_000_000 + b"\na.png,three\n", {"a.png": ("three",)},
     ["line 2: is not CSV (field larger than"]),
    ("open quote", b'image,caption\na.png,three\na.png,"' + b"no end\n" * 40_000, {"a.png": ("three",)},
     ["is not CSV"]),
    ("missing", b"image,caption\nz.png,one\na.png,three\n", {"a.png": ("three",)}, ["line 2: picture 'z.png'"]),
]


@pytest.mark.parametrize(("content", "expected", "faults"), [case[1:] for case in CSVS], ids=[case[0] for case in CSVS])
def test_csv(folder: Path, content: bytes, expected: dict[str, tuple[str, ...]], faults: list[str]) -> None:
    log: list[str] = []
    path = folder / "rows.csv"
    path.write_bytes(content)
    examples = read_examples(path, split=None, report=log.append)
    found = {example.image.name: example.texts for example in examples if example.image}
    assert found == expected
    for fault in faults:
        assert any(fault in line for line in log), log
    assert faults or len(log) == 1, log


def test_csv_splits_and_header(folder: Path) -> None:
    path = folder / "captions.txt"  # as Flickr8k's own table is called
    path.write_bytes(b"image,caption,split\na.png,one,train\nimages/b.jpg,two,dev\n")
    assert [example.texts for example in read_examples(path, split="dev", report=silent)] == [("two",)]
    path = folder / "rows.csv"
    for header in (b"a.png,one\n", b"", b"image;captoin\n", b"\0\0\n"):
        path.write_bytes(header)
        with pytest.raises(NarratorError, match="needs a first line with the column names image, caption"):
            read_examples(path, split=None, report=silent)


def coco(images: object, annotations: object) -> bytes:
    return json.dumps({"info": {}, "images": images, "annotations": annotations}).encode()


IMAGES = [{"id": 1, "file_name": "p.jpg"}, {"id": 2, "file_name": "q.jpg"}]
NOTES = [{"id": 9, "image_id": 1, "caption": "one"}, {"image_id": 2, "caption": "two"},
         {"image_id": 1, "caption": "three"}]
PLACES: list[tuple[str, str]] = [("annotations/c.json", "val2014"), ("c.json", "images"), ("c.json", "."),
                                 ("annotations/c.json", "train2017")]


@pytest.mark.parametrize(("file", "place"), PLACES)
@pytest.mark.parametrize("indent", [None, 2])
def test_coco_finds_its_pictures(tmp_path: Path, file: str, place: str, indent: int | None) -> None:
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"images": IMAGES, "annotations": NOTES}, indent=indent))
    first, second = picture(tmp_path / place / "p.jpg"), picture(tmp_path / place / "q.jpg")
    assert read_examples(path, split=None, report=silent) == [
        Example(image=first, texts=("one", "three")), Example(image=second, texts=("two",))]


def test_coco_pictures_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_bytes(coco(IMAGES[:1], NOTES))
    with pytest.raises(NarratorError, match=r"image 1: picture 'p.jpg' is not in"):
        read_examples(path, split=None, report=silent)
    kept = picture(tmp_path / "far" / "away" / "p.jpg")
    assert read_examples(path, split=None, report=silent, images=tmp_path / "far" / "away")[0].image == kept


BAD_COCO = [
    ([*IMAGES, 5], NOTES, "image 3: needs 'id' and 'file_name'"),
    ([*IMAGES, IMAGES[0]], NOTES, "image 3: has the same id as an earlier image (1)"),
    ([*IMAGES, {"id": 3, "file_name": "p.jpg"}], NOTES, "image 3: has no captions"),
    ([*IMAGES, {"id": 3, "file_name": "../../p.jpg"}], [*NOTES, {"image_id": 3, "caption": "x"}], "escapes"),
    (IMAGES, [*NOTES, {"image_id": [1], "caption": "x"}], "annotation 4: needs 'image_id' and 'caption'"),
    (IMAGES, [*NOTES, {"image_id": 77, "caption": "x"}], "annotation 4: belongs to image 77, which is not among"),
    (IMAGES, [*NOTES, {"image_id": 1, "caption": "  "}], "annotation 4: caption is empty"),
    (IMAGES, [*NOTES, {"image_id": 1, "caption": ["x"]}], "annotation 4: caption is empty or no text (a list)"),
]


@pytest.mark.parametrize(("images", "annotations", "reason"), BAD_COCO, ids=[case[2] for case in BAD_COCO])
def test_bad_coco_entries(tmp_path: Path, images: list, annotations: list, reason: str) -> None:
    log: list[str] = []
    path = tmp_path / "c.json"
    path.write_bytes(coco(images, annotations))
    picture(tmp_path / "images" / "p.jpg")
    picture(tmp_path / "images" / "q.jpg")
    examples = read_examples(path, split=None, report=log.append)
    assert [example.texts for example in examples] == [("one", "three"), ("two",)]
    assert len(log) == 2 and reason in log[0], log


def test_a_folder_with_sidecars(folder: Path) -> None:
    log: list[str] = []
    (folder / "a.txt").write_bytes(b"\xef\xbb\xbfone\r\n\r\n two \n")
    (folder / "images" / "b.txt").write_text("three")
    for name, sidecar in (("c.png", b""), ("d.png", b"\xe4"), ("e.png", b"x" * 2_000_000)):
        picture(folder / name).with_suffix(".txt").write_bytes(sidecar)
    picture(folder / "f.png")
    picture(folder / "g.png").with_suffix(".txt").symlink_to("/etc/hostname")
    (folder / ".hidden.png").write_bytes(b"")
    (folder / "h.png").symlink_to(folder.parent / "outside.png")
    (folder / "h.txt").write_text("h")
    assert read_examples(folder, split=None, report=log.append) == [
        Example(image=folder / "a.png", texts=("one", "two")),
        Example(image=folder / "images" / "b.jpg", texts=("three",))]
    reasons = ["c.png: has no captions", "d.png: d.txt is not UTF-8", "e.png: e.txt is longer than 1 MB",
               "f.png: has no captions: f.txt is not beside it", "g.png: has no captions", "leads outside"]
    assert len(log) == len(reasons) + 1
    assert all(reason in line for reason, line in zip(reasons, log, strict=False)), log
    assert [example.texts for example in read_examples(folder, split="images", report=silent)] == [("three",)]

"""What the trainer reads: every bad row by file, line and reason (the other formats: test_readers.py)."""

import json
import os
import time
from pathlib import Path

import pytest
from captioned import picture_set, silent

from narrator.readers.gathering import NAMED_BAD_ROWS, read_examples
from narrator.records import Example, NarratorError
from trainer.data import resolve_data_root


def row(**fields: object) -> bytes:
    return json.dumps(fields).encode() + b"\n"


def captions(*texts: str) -> dict[str, object]:
    return {"image": "a.png", "captions": list(texts)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return picture_set(tmp_path)


GOOD = row(image="images/b.jpg", captions=["good"])
BAD_LINES = [
    ("not JSON", b"{image: a.png}\n", "is not JSON"),
    ("a list", b"[1]\n", "must be a JSON object, not a list"),
    ("deep", b"[" * 200_000 + b"\n", "nested too deep"),
    ("deep in a row", b'{"image": "a.png", "captions": ' + b'{"a":' * 100_000 + b"\n", "nested too deep"),
    ("huge number", b'{"image": "a.png", "label": ' + b"9" * 5000 + b"}\n", "a number too long"),
    ("10 MB line", row(image="a.png", captions=["x" * 10_000_000]), "longer than 1 MB"),
    ("latin-1", '{"image": "a.png", "captions": ["Ein Bär"]}\n'.encode("latin-1"), "is not UTF-8"),
    ("NUL bytes", b"\0" * 64 + b"\n", "is not JSON"),
    ("NUL in caption", row(**captions("a \0 dog")), "caption 1 holds a NUL byte"),
    ("NUL in path", row(image="a\0.png", captions=["x"]), "is not a valid file name"),
    ("lone surrogate", b'{"image": "a.png", "captions": ["\\ud800"]}\n', "caption 1 is not valid Unicode"),
    ("surrogate in path", b'{"image": "\\udc80.png", "captions": ["x"]}\n', "is not a valid file name"),
    ("no captions", row(image="a.png"), "has no captions"),
    ("empty list", row(**captions()), "has no captions"),
    ("empty caption", row(**captions("fine", " \t ")), "caption 2 is empty"),
    ("captions a text", row(image="a.png", captions="a dog"), "must be a list of texts"),
    ("caption a number", row(image="a.png", captions=["a dog", 7]), "caption 2 must be a text, not a number"),
    ("caption null", row(image="a.png", caption=None), "caption 1 must be a text, not nothing"),
    ("image a number", row(image=5, captions=["x"]), "'image' must be the path of a picture, not a number"),
    ("image empty", row(image="", captions=["x"]), "'image' must be the path of a picture"),
    ("no image", row(img="a.png", captions=["x"]), "neither 'image' nor 'image_id'"),
    ("missing picture", row(image="c.png", captions=["x"]), "picture 'c.png' is not in"),
    ("a folder", row(image="images", captions=["x"]), "picture 'images' is not in"),
    ("name too long", row(image="n" * 5000, captions=["x"]), "is not in"),
    ("absolute", row(image="/etc/passwd", captions=["x"]), "is an absolute path"),
    ("drive", row(image="C:\\pictures\\a.png", captions=["x"]), "is an absolute path"),
    ("web", row(image="https://example.org/a.png", captions=["x"]), "is a web address"),
    ("escapes", row(image="../outside.png", captions=["x"]), "escapes the folder"),
    ("escapes late", row(image="images/../../outside.png", captions=["x"]), "escapes the folder"),
    ("escapes backwards", row(image="images\\..\\..\\outside.png", captions=["x"]), "escapes the folder"),
    ("link out", row(image="link.png", captions=["x"]), "leads outside"),
    ("linked folder", row(image="linked/outside.png", captions=["x"]), "leads outside"),
    ("dangling", row(image="dangling.png", captions=["x"]), "is not in"),
    ("a pipe", row(image="pipe.png", captions=["x"]), "is not in"),
    ("split a list", row(image="a.png", split=[1], captions=["x"]), "'split' must be a text, not a list"),
    ("label a text", row(image="a.png", label="cat", captions=["x"]), "'label' must be a whole number"),
    ("prompt a list", row(image="a.png", prompt=[], captions=["x"]), "'prompt' must be a text"),
    ("terminal codes", row(image="\x1b[2J.png", captions=["x"]), r"\x1b[2J.png"),
]


@pytest.mark.parametrize(("line", "reason"), [case[1:] for case in BAD_LINES], ids=[case[0] for case in BAD_LINES])
def test_a_bad_line_is_named_and_skipped(folder: Path, line: bytes, reason: str) -> None:
    (folder / "link.png").symlink_to(folder.parent / "outside.png")
    (folder / "linked").symlink_to(folder.parent)
    (folder / "dangling.png").symlink_to(folder / "nowhere.png")
    os.mkfifo(folder / "pipe.png")
    path = folder / "rows.jsonl"
    path.write_bytes(GOOD + line + GOOD.replace(b"good", b"after"))
    log: list[str] = []
    began = time.monotonic()
    examples = read_examples(path, split=None, report=log.append)
    assert examples == [Example(image=folder / "images" / "b.jpg", texts=("good", "after"))]
    assert len(log) == 2 and log[0].startswith(f"Skipped: {path}, line 2: ") and reason in log[0], log
    assert len(log[0]) < 400 and "\x1b" not in log[0] and "\0" not in log[0]
    assert log[1] == f"{path}: 1 examples with 2 captions; 1 bad row skipped."
    assert time.monotonic() - began < 5
    with pytest.raises(NarratorError, match=r"line 2: ") as refused:
        read_examples(path, split=None, strict=True, report=log.append)
    assert reason in str(refused.value)
    path.write_bytes(line)
    with pytest.raises(NarratorError, match=r"Nothing in .* can be used") as empty:
        read_examples(path, split=None, report=log.append)
    assert reason in str(empty.value)


def test_jsonl_takes_windows_files_blank_lines_and_single_captions(folder: Path) -> None:
    path = folder / "rows.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + row(**captions("  two   spaces\n here ")).replace(b"}\n", b"}\r\n") + b"\r\n\n"
                     + row(image="images\\b.jpg", caption="Größe 🎈", prompt="What is it?", label=3).rstrip())
    assert read_examples(path, split=None, report=silent) == [
        Example(image=folder / "a.png", texts=("two spaces here",)),
        Example(image=folder / "images" / "b.jpg", texts=("Größe 🎈",), prompt="What is it?", label=3)]


def test_jsonl_rows_of_text_alone(folder: Path) -> None:
    path = folder / "rows.jsonl"
    path.write_bytes(row(image_id=7, captions=["one", "two"]) + row(image_id=7, captions=["three"]))
    assert [example.texts for example in read_examples(path, split=None, report=silent)] == [("one", "two"), ("three",)]
    assert all(example.image is None for example in read_examples(path, split=None, report=silent))


def test_rows_of_the_same_picture_are_one_example_and_never_in_two_splits(folder: Path) -> None:
    path = folder / "rows.jsonl"
    path.write_bytes(row(image="a.png", split="train", caption="one")
                     + row(image="./a.png", split="train", caption="two")
                     + row(image="images/../a.png", split="dev", caption="leak")
                     + row(image="images/b.jpg", split="dev", caption="three"))
    for split, texts in (("train", ("one", "two")), ("dev", ("three",))):
        log: list[str] = []
        assert [example.texts for example in read_examples(path, split=split, report=log.append)] == [texts]
        assert "line 3: picture 'images/../a.png' is in split 'dev' here and in split 'train' at line 1" in log[0]
        assert f"of split {split}" in log[-1]


def test_questions_about_one_picture_stay_apart(folder: Path) -> None:
    path = folder / "rows.jsonl"
    path.write_bytes(row(image="a.png", prompt="Colour?", caption="red")
                     + row(image="a.png", prompt="Size?", caption="4"))
    assert [(example.prompt, example.texts) for example in read_examples(path, split=None, report=silent)] == [
        ("Colour?", ("red",)), ("Size?", ("4",))]


def test_many_bad_rows_are_counted_not_listed(folder: Path) -> None:
    path = folder / "rows.jsonl"
    path.write_bytes(GOOD + b"?\n" * 3000)
    log: list[str] = []
    read_examples(path, split=None, report=log.append)
    assert len(log) == NAMED_BAD_ROWS + 2
    assert f"{3000 - NAMED_BAD_ROWS:,} more bad rows" in log[-2] and "3,000 bad rows skipped" in log[-1]
    path.write_bytes(b"?\n" * 3000)
    with pytest.raises(NarratorError, match=r"line 1: .*; .*line 2: .*; .*line 3: .* and 2,997 more"):
        read_examples(path, split=None, report=log.append)


def test_bad_rows_of_other_splits_do_not_hide_the_reason(folder: Path) -> None:
    path = folder / "rows.jsonl"
    path.write_bytes(row(image="a.png", split="val", caption="x") * 2
                     + row(image="images/b.jpg", split="train", caption="y"))
    with pytest.raises(NarratorError, match=r"no rows of split 'dev'; it has 'train' \(1 rows\), 'val' \(2 rows\)"):
        read_examples(path, split="dev", report=silent)
    path.write_bytes(GOOD)
    with pytest.raises(NarratorError, match="does not say which split"):
        read_examples(path, split="dev", report=silent)


BAD_FILES: list[tuple[str, bytes, str]] = [
    ("c.json", b'{"images": 5, "annotations": []}', "needs the lists 'images' and 'annotations'"),
    ("c.json", b'{"images": [', "is not JSON"),
    ("c.json", b"[" * 200_000, "nested too deep"),
    ("c.json", b"[1, 2]", "none of the formats"),
    ("c.json", b"", "is not JSON"),
    ("c.jsonl", b"", "There is nothing in"),
    ("c.jsonl", b"\n\n", "There is nothing in"),
    ("c.jsonl", '{"image": "a.png"}'.encode("utf-16"), "is in UTF-16"),
    ("c.csv", "image,caption".encode("utf-16"), "is in UTF-16"),
    ("photo.jpg", b"\xff\xd8\xff\xe0\0\0", "none of the formats"),
    ("notes.txt", b"hello\n", "none of the formats"),
]


@pytest.mark.parametrize(("name", "content", "reason"), BAD_FILES, ids=[f"{case[0]} {case[2]}" for case in BAD_FILES])
def test_files_that_hold_no_data(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(NarratorError, match=reason):
        read_examples(tmp_path / name, split=None, report=silent)


def test_paths_that_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jsonl")
    for path in (tmp_path / "nowhere.jsonl", tmp_path / "pipe.jsonl"):
        with pytest.raises(NarratorError, match="There is no data at"):
            read_examples(path, split=None, report=silent)
    with pytest.raises(NarratorError, match="There is nothing in"):
        read_examples(tmp_path, split=None, report=silent)


def test_a_json_file_of_rows_is_read_by_its_content(folder: Path) -> None:
    (folder / "rows.json").write_bytes(GOOD + row(**captions("x")))
    assert len(read_examples(folder / "rows.json", split=None, report=silent)) == 2


def test_a_folder_with_a_list_is_read_by_the_list(folder: Path) -> None:
    (folder / "captions.jsonl").write_bytes(GOOD)
    (folder / "a.txt").write_text("not this")
    assert [example.texts for example in read_examples(folder, split=None, report=silent)] == [("good",)]


def test_the_default_report_goes_to_standard_error(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "rows.jsonl").write_bytes(GOOD + b"?\n")
    read_examples(folder / "rows.jsonl", split=None)
    captured = capsys.readouterr()
    assert captured.out == "" and "line 2" in captured.err and "1 bad row skipped" in captured.err


def test_the_data_root_comes_from_the_nearest_that_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NARRATOR_DATA", raising=False)
    with pytest.raises(NarratorError, match=r"data \(the default\) is not there\. The README says, under Data"):
        resolve_data_root(None)
    for name in ("data", "named", "flag"):
        (tmp_path / name).mkdir()
    assert resolve_data_root(None) == Path("data")
    monkeypatch.setenv("NARRATOR_DATA", str(tmp_path / "named"))
    assert resolve_data_root(None) == tmp_path / "named"
    assert resolve_data_root(str(tmp_path / "flag")) == tmp_path / "flag"
    with pytest.raises(NarratorError, match=r"nowhere \(--data-root\)"):
        resolve_data_root(str(tmp_path / "nowhere"))
    monkeypatch.setenv("NARRATOR_DATA", str(tmp_path / "gone"))
    with pytest.raises(NarratorError, match=r"gone \(NARRATOR_DATA\)"):
        resolve_data_root(None)


SETS: list[tuple[str, str | None, int, int]] = [
    ("flickr8k", "train", 6091, 30455), ("flickr8k", "dev", 1000, 5000), ("coco_sample", "train", 1818, 3123),
    ("coco_sample", "dev", 150, 751), ("coco_captions", None, 13040, 65226)]


@pytest.mark.data
@pytest.mark.parametrize(("name", "split", "pictures", "texts"), SETS)
def test_the_real_sets_have_no_bad_row(data_root: Path, name: str, split: str | None, pictures: int,
                                          texts: int) -> None:
    examples = read_examples(data_root / name, split=split, strict=True, report=silent)
    assert (len(examples), sum(len(example.texts) for example in examples)) == (pictures, texts)

"""Uploads: what is refused, with nothing left behind, and what is recognised."""

import io
import json
import os
import stat
import zipfile
from pathlib import Path
from typing import Any

import pytest
from captioned import picture
from PIL import Image

from narrator import unpacking
from narrator.archives import unpack
from narrator.readers.gathering import read_examples
from narrator.records import NarratorError
from trainer.archives import describe_upload


def png(colour: int = 200) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (4, 4), (colour, 10, 10)).save(out, "PNG")
    return out.getvalue()


def zipped(path: Path, **files: bytes) -> Path:
    """A zip of files; "__" in a name stands for "/", a last "_" for the dot before the suffix."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in files.items():
            stem, _, suffix = name.replace("__", "/").rpartition("_")
            packed.writestr(f"{stem}.{suffix}", content)
    return path


def one_entry(path: Path, name: str, content: bytes = b"x", mode: int = 0, **changes: Any) -> Path:
    """A zip of one entry with that name as it is, and an a.png before it."""
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("a.png", png())
        info = zipfile.ZipInfo("placeholder")
        info.filename, info.external_attr = name, mode << 16
        packed.writestr(info, content, **changes)
    return path


def locked(path: Path) -> Path:
    """The first entry's flags say that it is encrypted, in both headers."""
    zipped(path, a_png=png())
    data = bytearray(path.read_bytes())
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    return path


def lying(path: Path, says: int) -> Path:
    """A zip whose entry of 5,000 bytes says that it has `says`."""
    zipped(path, a_txt=b"x" * 5000)
    data = bytearray(path.read_bytes())
    for start, place in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = data.index(start) + place
        data[at:at + 4] = says.to_bytes(4, "little")
    path.write_bytes(data)
    return path


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


REFUSED: dict[str, tuple[Any, str]] = {
    "slip": (lambda path: one_entry(path, "../../evil.txt"), "leads outside"),
    "slip in the middle": (lambda path: one_entry(path, "a/../../evil.txt"), "leads outside"),
    "absolute": (lambda path: one_entry(path, "/etc/evil.txt"), "leads outside"),
    "backslashes": (lambda path: one_entry(path, "..\\evil.txt"), "leads outside"),
    "drive": (lambda path: one_entry(path, "C:/evil.txt"), "leads outside"),
    "control character": (lambda path: one_entry(path, "a\nb.txt"), "cannot be a file's"),
    "long name": (lambda path: one_entry(path, "x" * 300 + ".txt"), "cannot be a file's"),
    "deep": (lambda path: one_entry(path, "d/" * 30 + "a.txt"), "cannot be a file's"),
    "symbolic link": (lambda path: one_entry(path, "link.txt", b"/etc/passwd", stat.S_IFLNK | 0o777), "a link"),
    "device": (lambda path: one_entry(path, "pipe.txt", b"", stat.S_IFIFO | 0o600), "a link or a device"),
    "twice": (lambda path: one_entry(path, "A.png", png()), "twice"),
    "file as folder": (lambda path: one_entry(path, "a.png/b.png", png()), "cannot be unpacked"),
    "nested alone": (lambda path: zipped(path, inner_zip=b"PK"), "another archive"),
    "nothing of use": (lambda path: zipped(path, program_exe=b"MZ"), "no pictures and no tables"),
    "encrypted": (locked, "locked with a password"),
    "says less than there is": (lambda path: lying(path, 10), "is damaged"),
    "says more than there is": (lambda path: lying(path, 9000), "is damaged"),
    "says a bomb": (lambda path: lying(path, 600 * 2**20), "holds a file of 629 MB"),
    "cut short": (lambda path: written(path, zipped(path, a_png=png()).read_bytes()[:60]), "damaged zip"),
    "not an archive": (lambda path: written(path, b"hello"), "no zip archive"),
    "empty": (lambda path: written(path, b""), "no zip archive"),
    "7z": (lambda path: written(path, b"7z\xbc\xaf\x27\x1c" + bytes(99)), "a 7z archive"),
    "tar": (lambda path: written(path, bytes(257) + b"ustar" + bytes(300)), "a tar archive"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_archive_is_refused_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    make, expected = REFUSED[name]
    archive = make(tmp_path / "given.zip")
    home = tmp_path / "home"
    home.mkdir()
    with pytest.raises(NarratorError, match=expected) as raised:
        unpack(archive, home / "data")
    assert "given.zip" in str(raised.value) and "\n" not in str(raised.value)
    assert list(home.iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["given.zip", "home"]


@pytest.mark.parametrize(("limit", "value", "expected"), [
    ("FILES", 1, "holds 2 files, and 1 is the most"), ("TOTAL_BYTES", 100, "unpacks to"),
    ("SPARE_BYTES", 2**60, "are free")])
def test_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: int, expected: str) -> None:
    archive = zipped(tmp_path / "given.zip", a_png=png(), b_txt=b"x" * 200)
    monkeypatch.setattr(unpacking, limit, value)
    with pytest.raises(NarratorError, match=expected):
        unpack(archive, tmp_path / "data")
    assert [path.name for path in tmp_path.iterdir()] == ["given.zip"]


def test_what_is_taken_out(tmp_path: Path) -> None:
    """Pictures and tables; programs, archives and what systems leave in archives stay inside."""
    archive = zipped(tmp_path / "given.zip", set__a_png=png(), set__a_txt=b"one", set__inner_zip=b"PK",
                     set__run_sh=b"no")
    with zipfile.ZipFile(archive, "a") as packed:
        packed.writestr("__MACOSX/a.txt", b"no")
        packed.writestr("set/.DS_Store", b"no")
        packed.writestr("./", b"")
    told: list[tuple[int, int]] = []
    folder = unpack(archive, tmp_path / "data", lambda done, total: told.append((done, total)))
    assert folder == tmp_path / "data"
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*")) == ["set", "set/a.png", "set/a.txt"]
    assert (folder / "set" / "a.png").read_bytes() == png()
    assert told[-1] == (len(png()) + 3, len(png()) + 3)
    with pytest.raises(NarratorError, match="is there already"):
        unpack(archive, folder)


def test_an_unpacking_can_be_ended(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "given.zip", a_png=png())

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        unpack(archive, tmp_path / "data", stop)
    assert [path.name for path in tmp_path.iterdir()] == ["given.zip"]


COCO = json.dumps({"images": [{"id": 1, "file_name": "a.png"}], "annotations": [{"image_id": 1, "caption": "one"}]})
KARPATHY = json.dumps({"images": [{"filename": "a.png", "filepath": "val2014", "split": "val",
                                   "sentences": [{"raw": "one"}]}]})
LLAVA = json.dumps([{"image": "a.png", "conversations": [{"from": "human", "value": "<image>\nWhat?"},
                                                         {"from": "gpt", "value": "one"}]}])
ROW = json.dumps({"image": "pictures/a.png", "captions": ["one"], "split": "train"})
UPLOADS: dict[str, tuple[dict[str, bytes], str]] = {  # files as uploaded, and what they are
    "sidecars": ({"a.png": png(), "a.txt": b"one"}, "folder"),
    "csv": ({"a.png": png(), "rows.csv": b"image,caption\nsome/where/a.png,one\n"}, "csv"),
    "csv by another name": ({"a.png": png(), "captions.txt": b"image,caption\na.png,one\n"}, "csv"),
    "jsonl": ({"a.png": png(), "rows.jsonl": ROW.encode()}, "jsonl"),
    "jsonl by another name": ({"a.png": png(), "rows.json": ROW.encode()}, "jsonl"),
    "coco": ({"a.png": png(), "rows.json": COCO.encode()}, "coco"),
    "karpathy": ({"a.png": png(), "rows.json": KARPATHY.encode()}, "karpathy"),
    "llava": ({"a.png": png(), "rows.json": LLAVA.encode()}, "llava"),
}


def as_zip(path: Path, files: dict[str, bytes], folder: str = "") -> Path:
    with zipfile.ZipFile(path, "w") as packed:
        for name, content in files.items():
            packed.writestr(folder + name, content)
    return path


@pytest.mark.parametrize("way", ["files", "zip", "zip with a folder", "zip and a table"])
@pytest.mark.parametrize("name", UPLOADS)
def test_an_upload_is_recognised(tmp_path: Path, name: str, way: str) -> None:
    files, kind = UPLOADS[name]
    given = [written(tmp_path / file, content) for file, content in files.items()]
    if way == "zip and a table":
        given = [as_zip(tmp_path / "pictures.zip", {"a.png": png()}), given[1]]
    elif way != "files":
        given = [as_zip(tmp_path / "all.zip", files, "my data/" if way.endswith("folder") else "")]
    found = describe_upload(given, tmp_path / "data")
    assert (found["kind"], found["examples"], found["bad"]) == (kind, 1, 0)
    (example,) = read_examples(Path(found["path"]), split=None, report=lambda line: None)
    assert example.texts == ("one",) and example.image is not None and example.image.read_bytes() == png()
    assert Path(found["path"]).is_absolute() and Path(found["path"]).is_relative_to(tmp_path / "data")


def test_splits_texts_and_classes(tmp_path: Path) -> None:
    rows = b"image,caption,split\na.png,one,train\nb.png,two,dev\nb.png,three,dev\n"
    split = describe_upload([picture(tmp_path / "a.png"), picture(tmp_path / "b.png"),
                             written(tmp_path / "rows.csv", rows)], tmp_path / "one")
    assert split["splits"] == {"train": 1, "dev": 2}
    text = b'{"prompt": "Describe a dog", "caption": "one"}\n{"prompt": "", "caption": "two"}\n'
    alone = describe_upload([written(tmp_path / "rows.jsonl", text)], tmp_path / "two")
    assert (alone["kind"], alone["examples"], alone["bad"]) == ("text", 1, 1)
    classes = as_zip(tmp_path / "classes.zip", {"0/a.png": png(), "1/b.png": png(), "1/c.png": png()}, "digits/")
    found = describe_upload([classes], tmp_path / "three")
    assert (found["kind"], found["examples"], Path(found["path"]).name) == ("classes", 3, "digits")


USELESS: dict[str, tuple[dict[str, bytes], str]] = {
    "nothing": ({}, "no pictures and no captions"),
    "pictures alone": ({"a.png": png()}, "These pictures have no texts"),
    "a program": ({"a.exe": b"MZ"}, "neither a picture nor a table"),
    "two tables": ({"a.png": png(), "one.csv": b"image,caption\na.png,one\n", "two.csv": b"image,caption\na.png,two\n"},
                   r"several tables \(one.csv, two.csv\)"),
    "pictures missing": ({"rows.csv": b"image,caption\na.png,one\n"}, r"rows.csv, line 2: picture 'a.png' is not in"),
    "a table of something else": ({"a.png": png(), "rows.csv": b"name,price\nx,1\n"}, "rows.csv needs a first line"),
    "JSON of something else": ({"a.png": png(), "rows.json": b'{"a": 1}'}, "rows.json is not COCO captions"),
    "COCO without captions": ({"a.png": png(), "rows.json": COCO.replace("caption", "area").encode()},
                              "rows.json has no row with a text"),
    "two archives": ({"one.zip": b"PK", "two.zip": b"PK"}, "several archives"),
    "another archive": ({"one.7z": b"7z\xbc\xaf\x27\x1c"}, "a 7z archive"),
}


@pytest.mark.parametrize("name", USELESS)
def test_a_useless_upload_is_told_in_a_sentence(tmp_path: Path, name: str) -> None:
    files, expected = USELESS[name]
    given = [written(tmp_path / file, content) for file, content in files.items()]
    home = tmp_path / "home"
    home.mkdir()
    with pytest.raises(NarratorError, match=expected) as raised:
        describe_upload(given, home / "data")
    assert ".part" not in str(raised.value) and str(os.getpid()) not in str(raised.value).replace(str(tmp_path), "")
    assert list(home.iterdir()) == []


def test_a_link_among_the_files_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "a.txt").symlink_to("/etc/hostname")
    with pytest.raises(NarratorError, match="no file"):
        describe_upload([picture(tmp_path / "a.png"), tmp_path / "a.txt"], tmp_path / "data")

"""Corrections: kept whole or not at all, newest by picture, split by picture, private, read by a training."""

import json
import os
import resource
import threading
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from command_line import narrator, sentence
from PIL import Image

from narrator import corrections, keeping
from narrator.corrections import DATA, Corrections, corrections_of, split_of
from narrator.keeping import FORGOTTEN_S, sweep_visitors
from narrator.pictures import open_picture
from narrator.readers.gathering import read_examples
from narrator.records import NarratorError
from narrator.ui import correcting, visitors
from narrator.ui.handlers import Made


def picture(number: int, size: tuple[int, int] = (60, 40)) -> Image.Image:
    colours = np.random.default_rng(number).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    return Image.fromarray(colours).resize(size, Image.Resampling.BICUBIC)


def keep(mine: Corrections, number: int, after: str = "A cat sleeps.", prompt: str = "") -> corrections.Correction:
    return mine.keep(picture(number), before="A dog runs.", after=after, variant="photo-captioner", prompt=prompt)


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NARRATOR_HISTORY", str(tmp_path / "history"))
    return tmp_path / "history"


@pytest.fixture
def mine(history: Path) -> Corrections:
    return corrections_of()


def test_what_is_kept_is_listed_and_read_as_a_data_set(mine: Corrections) -> None:
    assert mine.all().corrections == () and mine.count() == 0 and not mine.folder.exists()
    made = [keep(mine, number, f"Picture  number {number}.") for number in range(3)]
    kept = mine.all()
    assert kept.problems == () and sorted(one.after for one in kept.corrections) == [
        "Picture number 0.", "Picture number 1.", "Picture number 2."]
    assert [one.time for one in kept.corrections] == sorted((one.time for one in made), reverse=True)
    assert {one.before for one in kept.corrections} == {"A dog runs."}
    rows = [json.loads(line) for line in (mine.folder / DATA).read_text().splitlines()]
    assert [set(row) for row in rows] == [{"image", "captions", "split", "before", "variant", "time"}] * 3
    examples = read_examples(mine.folder, split=None, strict=True, look=True)
    assert sorted(example.texts for example in examples) == [(f"Picture number {number}.",) for number in range(3)]
    both = [len(read_examples(mine.folder, split=split, strict=True)) for split in ("train", "dev")]
    assert sum(both) == 3 and min(both) >= 1


def test_the_newest_correction_of_a_picture_counts(mine: Corrections) -> None:
    first = keep(mine, 1)
    keep(mine, 2)
    again = keep(mine, 1, "Two cats sleep.")
    assert again.id == first.id and mine.count() == 2
    assert mine.all().corrections[0].after == "Two cats sleep."
    keep(mine, 1, "Red.", prompt="Which colour?")  # another question about the picture is another thing to learn
    rows = [json.loads(line) for line in (mine.folder / DATA).read_text().splitlines()]
    asked = [row for row in rows if row["image"] == f"pictures/{first.sha256}.jpg"]
    assert [row.get("prompt") for row in asked] == [None, "Which colour?"] and len({row["split"] for row in asked}) == 1
    assert len(list(mine.pictures.iterdir())) == 2


def test_nothing_but_the_pixels_is_kept(mine: Corrections, tmp_path: Path) -> None:
    """A camera writes where and when; large pictures are made smaller."""
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Some camera", 6
    picture(1, (3000, 1500)).save(tmp_path / "camera.jpg", exif=exif)
    made = mine.keep(open_picture(tmp_path / "camera.jpg"), before="", after="A blur.", variant="v")
    with Image.open(made.picture) as kept:
        assert kept.size == (1024, 2048) and not kept.getexif() and "exif" not in kept.info
    assert mine.folder.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(("after", "sentence"), [
    ("", "is empty"), (" \n ", "is empty"), ("A dog  runs.", "unchanged"), ("x" * 4001, "shorten it to 4,000"),
    ("a\0b", "NUL"), ("a \ud800", "not valid Unicode")])
def test_what_is_no_correction_is_refused(mine: Corrections, after: str, sentence: str) -> None:
    with pytest.raises(NarratorError, match=sentence):
        keep(mine, 1, after)
    assert not mine.folder.exists()


def test_the_split_goes_by_picture_and_stays() -> None:
    hashes = [f"{number * 2654435761 % 2**32:08x}" + "0" * 56 for number in range(1, 2001)]
    splits = split_of(hashes)
    held_out = sum(split == "dev" for split in splits.values()) / len(splits)
    assert 0.22 < held_out < 0.28
    assert all(split_of(hashes[:count])[hashes[0]] == splits[hashes[0]] for count in (20, 200, 1999))
    low, high = ["00" * 32, "01" * 32, "10" * 32], ["ff" * 32, "fe" * 32, "80" * 32]
    for some in (low, high, low[:2], high[:2]):
        assert sorted(set(split_of(some).values())) == ["dev", "train"]
    assert split_of(low) == {low[0]: "dev", low[1]: "dev", low[2]: "train"}
    assert split_of(high) == {high[0]: "train", high[1]: "train", high[2]: "dev"}
    assert set(split_of(hashes, 0.0).values()) == {"train"} and split_of([]) == {}


def test_one_is_deleted_and_all_are(mine: Corrections) -> None:
    made = [keep(mine, number) for number in range(3)]
    keep(mine, 0, "Grey.", prompt="Which colour?")
    mine.delete(made[0].id)
    assert made[0].picture.exists()  # the other question names it
    mine.delete(made[1].id)
    assert not made[1].picture.exists() and mine.count() == 2
    assert made[1].sha256 not in (mine.folder / DATA).read_text()
    for gone in (made[1].id, "../../x", ""):
        with pytest.raises(NarratorError, match="not there any more"):
            mine.delete(gone)
    mine.clear()
    mine.clear()
    assert not mine.folder.exists() and mine.all().corrections == ()


def test_a_damaged_row_is_left_out_with_a_word_and_stays(mine: Corrections) -> None:
    made = [keep(mine, number, f"Number {number}.") for number in range(4)]
    rows = [mine.rows / f"{one.id}.json" for one in made]
    rows[0].write_text('{"after": "half')
    rows[1].write_text('["a list"]')
    made[2].picture.unlink()
    kept = mine.all()
    assert [one.after for one in kept.corrections] == ["Number 3."] and len(kept.problems) == 3
    for part in (str(rows[0]), "is not JSON", str(rows[1]), "is damaged", f"{made[2].sha256}.jpg is missing"):
        assert any(part in problem for problem in kept.problems)
    keep(mine, 5)
    mine.delete(made[3].id)
    assert all(row.exists() for row in rows[:3]) and made[0].picture.exists()
    assert len(read_examples(mine.folder, split=None, strict=True, look=True)) == 1


def test_a_tampered_row_names_no_other_file(mine: Corrections, tmp_path: Path) -> None:
    made = keep(mine, 1)
    (tmp_path / "secret.jpg").write_bytes(made.picture.read_bytes())
    row = mine.rows / f"{made.id}.json"
    row.write_text(json.dumps({**json.loads(row.read_text()), "sha256": "../../../secret"}))
    assert mine.all().corrections == () and "is missing" in mine.all().problems[0]


def test_a_full_disk_is_a_sentence_and_nothing_is_lost(mine: Corrections) -> None:
    for number in range(6):
        keep(mine, number)
    before = {path: path.read_bytes() for path in mine.folder.rglob("*") if path.is_file()}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (900, limits[1]))  # writing beyond it fails, as on a full disk
    try:
        for refused in (lambda: keep(mine, 7), lambda: keep(mine, 0, "Changed."),
                        lambda: mine.delete(mine.all().corrections[0].id)):
            with pytest.raises(NarratorError, match=r"was not (kept|deleted) \(File too large\): free some space.*"):
                refused()
        with pytest.raises(NarratorError, match="Nothing was exported"):
            mine.export(mine.folder.parent / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {path: path.read_bytes() for path in mine.folder.rglob("*") if path.is_file()} == before
    assert sorted(path.name for path in mine.folder.parent.iterdir()) == ["corrections"]


def test_many_at_once_are_all_kept(mine: Corrections) -> None:
    threads = [threading.Thread(target=keep, args=(mine, number)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert mine.count() == 12 == len(read_examples(mine.folder, split=None, strict=True))


def test_an_export_is_a_whole_new_folder_or_none(mine: Corrections, tmp_path: Path) -> None:
    with pytest.raises(NarratorError, match="no corrections to export"):
        mine.export(tmp_path / "out")
    for number in range(4):
        keep(mine, number)
    (tmp_path / "out").mkdir()
    mine.export(tmp_path / "out", held_out=0.5)
    assert len(read_examples(tmp_path / "out", split=None, strict=True, look=True)) == 4
    with pytest.raises(NarratorError, match="is there already"):
        mine.export(tmp_path / "out")
    mine.pack(tmp_path / "a.zip")
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.testzip() is None and len(archive.namelist()) == 5
        archive.extractall(tmp_path / "unpacked")
    assert len(read_examples(tmp_path / "unpacked" / "corrections", split=None, strict=True, look=True)) == 4


def test_the_command_lists_and_exports(mine: Corrections, tmp_path: Path) -> None:
    assert "No correction is kept yet" in narrator("corrections").stdout
    assert "no corrections to export" in sentence(narrator("corrections", "--export", tmp_path / "out"))
    made = [keep(mine, number, f"Number {number}.") for number in range(2)]
    listed = [json.loads(line) for line in narrator("corrections", "--json").stdout.splitlines()]
    assert [row["after"] for row in listed] == ["Number 1.", "Number 0."]
    assert {row["split"] for row in listed} == {"train", "dev"} and listed[1]["picture"] == str(made[0].picture)
    assert "A dog runs. -> Number 0." in narrator("corrections").stdout
    done = narrator("corrections", "--export", tmp_path / "out")
    assert done.returncode == 0 and "2 corrections, 1 of 2 pictures held out" in done.stdout
    assert len(read_examples(tmp_path / "out", split="dev", strict=True)) == 1
    assert "is there already" in sentence(narrator("corrections", "--export", tmp_path / "out"))
    assert "between 0 and 0.9" in sentence(narrator("corrections", "--held-out", "nan"))
    (mine.rows / f"{made[0].id}.json").write_text("{")
    assert "Left out" in narrator("corrections").stderr


@pytest.fixture
def uploads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    return tmp_path / "uploads"


def made_of(folder: Path, number: int = 1) -> Made:
    path = folder / f"{number}.png"
    picture(number).save(path)
    return Made(path=str(path), variant="photo-captioner", prompt="", text="A dog runs.")


def test_the_page_keeps_lists_exports_and_deletes(history: Path, uploads: Path, tmp_path: Path) -> None:
    made = made_of(tmp_path)
    assert not correcting.is_edited(" A dog  runs.", made) and not correcting.is_edited("", made)
    assert not correcting.is_edited("A cat.", None) and correcting.is_edited("A cat.", made)
    assert correcting.listing("").choices == [] and "No correction is kept yet" in correcting.listing("").table
    line, kept = correcting.keep("A <b>cat</b>.", made, "")
    assert kept and "You have 1 correction." in line and correcting.title("") == "Corrections (1)"
    found = correcting.listing("")
    assert "A &lt;b&gt;cat&lt;/b&gt;." in found.table and "A dog runs." in found.table
    assert found.table.count("data:image/jpeg;base64,") == 1 and found.choices[0][0] == "1: A <b>cat</b>."
    line, path = correcting.export("")
    assert path is not None and path.is_relative_to(uploads) and "is ready" in line and zipfile.is_zipfile(path)
    assert "Delete 1 correction, pictures included?" in correcting.question("")
    assert "Deleted. You have no corrections." in correcting.delete(found.choices[0][1], "")
    for line in (correcting.delete(found.choices[0][1], ""), correcting.delete(None, ""), correcting.export("")[0]):
        assert "Problem" in line
    with pytest.raises(NarratorError, match="no correction to delete"):
        correcting.question("")
    assert "All corrections are deleted" in correcting.delete_all("")


def test_what_cannot_be_kept_is_said(history: Path, tmp_path: Path) -> None:
    made = made_of(tmp_path)
    for text, subject, says in (("A cat.", None, "describe a picture first"), ("A dog runs.", made, "unchanged")):
        line, kept = correcting.keep(text, subject, "")
        assert not kept and says in line
    Path(made.path).unlink()
    line, kept = correcting.keep("A cat.", made, "")
    assert not kept and "not here any more" in line and str(tmp_path) not in line
    assert not history.exists()


def test_visitors_of_a_shared_page_never_meet(history: Path, tmp_path: Path, uploads: Path,
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    assert visitors.visitor_of("") == ""  # a page for one person needs no secret
    monkeypatch.setenv("SPACE_ID", "somebody/narrator")
    made = made_of(tmp_path)
    ada, bob = visitors.visitor_of(""), visitors.visitor_of(None)
    assert ada != bob and len(ada) == 43 and visitors.visitor_of(ada) == ada
    assert correcting.keep("Ada's cat.", made, ada)[1] and correcting.keep("Bob's cat.", made, bob)[1]
    tables = [correcting.listing(one).table for one in (ada, bob, visitors.visitor_of("x"))]
    assert ["Ada&#x27;s" in table for table in tables] == [True, False, False]
    assert ["Bob&#x27;s" in table for table in tables] == [False, True, False]
    hers = correcting.listing(ada).choices[0][1]
    correcting.delete_all(bob)
    assert "Problem" in correcting.delete(hers, bob) and correcting.title(ada) == "Corrections (1)"
    for forged in ("", "../corrections", None, 7, ["x"], ada + "x"):
        line, kept = correcting.keep("Mine.", made, forged)
        assert not kept and "keeps nothing for this page" in line
        assert correcting.listing(forged).choices == [] and correcting.export(forged)[1] is None
    assert not any(ada in str(path) for path in history.rglob("*"))  # who sees the folder learns no secret
    assert not (history / "corrections").exists()
    monkeypatch.setattr(keeping, "MOST_OF_A_VISITOR", 1)
    assert "You have 1 corrections already" in correcting.keep("Another.", made_of(tmp_path, 2), ada)[0]


def test_what_visitors_left_is_swept_and_the_owner_is_not(history: Path) -> None:
    for owner in ("", "old visitor", "new visitor"):
        keep(corrections_of(owner), 1)
    for owner in ("", "old visitor"):
        os.utime(corrections_of(owner).rows, (time.time() - FORGOTTEN_S - 60,) * 2)
    sweep_visitors()
    assert [corrections_of(owner).count() for owner in ("", "old visitor", "new visitor")] == [1, 0, 1]

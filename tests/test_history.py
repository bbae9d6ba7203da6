"""The history: finished narrations with picture and sound, private, bounded, whole after a kill, listed at once."""

import dataclasses
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import ROOT
from kept import history_folder, own_history, small_sound  # noqa: F401  (fixtures)
from PIL import Image

from narrator import history as histories
from narrator import keeping
from narrator.history import History, history_of
from narrator.keeping import Shelf
from narrator.pictures import open_picture
from narrator.records import Narration, NarratorError
from narrator.settings import GenerationSettings


def made(number: int = 1, text: str = "", **more: Any) -> Narration:
    return dataclasses.replace(Narration(
        id=f"{number:032x}", created=f"2026-05-04T10:00:{number % 60:02d}.000+00:00", image_sha256="ab" * 32,
        variant_id="photo-captioner", prompt="", settings=dataclasses.asdict(GenerationSettings(seed=number)),
        text=text or f"Picture number {number}.", tokens=4, first_token_s=0.1, total_s=0.5, confidence=0.75,
        uncertain=("number",), uncertain_at=(1,), ranked=(("cat", 0.5), ("dog", 0.25))), **more)


def picture(number: int = 1, size: tuple[int, int] = (60, 40)) -> Image.Image:
    colours = np.random.default_rng(number).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    return Image.fromarray(colours).resize(size, Image.Resampling.BICUBIC)


def files(mine: History) -> list[str]:
    return sorted(path.relative_to(mine.folder).as_posix() for path in mine.folder.rglob("*") if path.is_file())


def test_what_is_filed_comes_back_whole_and_nothing_but_pixels_is_kept(mine: History, tmp_path: Path,
                                                                       sound: Path) -> None:
    assert mine.count() == 0 and mine.page(0, 20).rows == () and not mine.folder.exists()
    exif = Image.Exif()
    exif[0x010F] = "Some camera"
    picture(1, (3000, 1500)).save(tmp_path / "camera.jpg", exif=exif)
    first = mine.file(made(1), [open_picture(tmp_path / "camera.jpg"), picture(2)])
    second = mine.file(made(2, label="7", probability=0.5, confidence=None, image_sha256=None))
    mine.add_sound(first, sound)
    found = mine.page(0, 20)
    assert [entry.id for entry in found.rows] == [second, first] and found.total == 2 and found.problems == ()
    assert found.rows[1].narration == made(1) and found.rows[0].narration.label == "7"
    assert [path.name for path in found.rows[1].pictures] == [f"{first}-1.jpg", f"{first}-2.jpg"]
    with Image.open(found.rows[1].pictures[0]) as kept:
        assert kept.size == (1024, 512) and not kept.getexif() and kept.format == "JPEG"
    spoken = mine.find(first).sound
    assert spoken is not None and spoken.read_bytes() == sound.read_bytes()
    assert all(path.stat().st_mode & 0o077 == 0 for path in (mine.folder, mine.pictures, mine.sounds, mine.shelf.rows))


def test_search_finds_words_in_text_prompt_and_variant(mine: History) -> None:
    for number, prompt in enumerate(("", "Which colour?", "How many?"), start=1):
        mine.file(made(number, f"Straße {number} im Regen.", prompt=prompt))
    assert mine.page(0, 9, " STRASSE  colour ").rows[0].narration.prompt == "Which colour?"
    assert mine.page(0, 9, "captioner regen").total == 3 and mine.page(0, 9, "snow").rows == ()
    part = mine.page(1, 1, "regen")
    assert part.total == 3 and part.rows[0].narration.text == "Straße 2 im Regen." and mine.page(0, 9, "  ").total == 3


def test_one_is_deleted_with_all_that_is_its_own_and_all_are(mine: History, sound: Path) -> None:
    first, second = (mine.file(made(number), [picture(number)]) for number in (1, 2))
    mine.add_sound(first, sound)
    (mine.shelf.rows / f"{first}.json").write_text("{")
    mine.delete(first)  # a damaged one, too
    assert files(mine) == [f"pictures/{second}-1.jpg", f"rows/{second}.json"]
    for gone in (first, "../../x", "", "*", "\0"):
        for refused in (mine.delete, mine.find, lambda name: mine.add_sound(name, sound)):
            with pytest.raises(NarratorError, match="not there any more"):
                refused(gone)
    mine.clear()
    mine.clear()
    assert not mine.folder.exists()


def test_the_oldest_make_room_and_so_do_the_oldest_sounds(mine: History, sound: Path,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "MOST", 3)
    monkeypatch.setattr(histories, "SOUNDS", 1)
    names = [mine.file(made(number), [picture(number)]) for number in range(5)]
    for name in names[3:]:
        mine.add_sound(name, sound)
    assert [entry.id for entry in mine.page(0, 20).rows] == names[:1:-1]
    assert files(mine) == [*(f"pictures/{name}-1.jpg" for name in names[2:]), *(f"rows/{name}.json"
                           for name in names[2:]), f"sounds/{names[4]}.wav"]
    monkeypatch.setattr(histories, "MAX_SOUND", 10)
    mine.add_sound(names[2], sound)
    assert mine.find(names[2]).sound is None


def test_damaged_rows_are_named_and_name_no_other_file(mine: History, tmp_path: Path) -> None:
    names = [mine.file(made(number), [picture(number)]) for number in range(6)]
    rows = [mine.shelf.rows / f"{name}.json" for name in names]
    good = json.loads(rows[0].read_text())
    for row, text in zip(rows, ("{", "7", json.dumps({**good, "tokens": "many"}),
                                json.dumps({key: good[key] for key in good if key != "image_sha256"})), strict=False):
        row.write_text(text)
    rows[4].write_text(json.dumps({**good, "pictures": ["../../../etc/passwd", "x"], "more": 1}))
    found = mine.page(0, 20)
    assert [entry.id for entry in found.rows] == [names[5], names[4]] and found.total == 6
    assert len(found.problems) == 4 and all(any(str(row) in each for each in found.problems) for row in rows[:4])
    assert [path.name for path in found.rows[1].pictures] == [f"{names[4]}-1.jpg"]
    found.rows[0].pictures[0].unlink()
    assert mine.find(names[5]).pictures == ()


def test_many_are_listed_by_reading_only_what_is_shown(mine: History, monkeypatch: pytest.MonkeyPatch) -> None:
    row = json.dumps({**dataclasses.asdict(made()), "pictures": []})
    mine.shelf.rows.mkdir(parents=True)
    for number in range(2_000):
        (mine.shelf.rows / f"20260504T{number:012d}-00000000.json").write_text(row)
    read, load = [], Shelf.load

    def counted(self: Shelf, name: str, texts: Any) -> Any:
        read.append(name)
        return load(self, name, texts)
    monkeypatch.setattr(Shelf, "load", counted)
    started = time.process_time()
    found = mine.page(1_000, 20)
    took = time.process_time() - started
    assert len(read) == 20 and found.total == 2_000 and found.rows[0].id == "20260504T000000000999-00000000"
    assert took < 0.5
    assert mine.page(0, 20, "number 1").total == 2_000


def test_a_full_disk_is_a_sentence_and_nothing_is_lost(mine: History, sound: Path) -> None:
    name = mine.file(made(), [picture()])
    before = files(mine)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))  # writing beyond it fails, as on a full disk
    try:
        with pytest.raises(NarratorError, match=r"not kept in the history \(File too large\): free some space"):
            mine.file(made(2), [picture(2)])
        with pytest.raises(NarratorError, match="The sound was not kept"):
            mine.add_sound(name, sound)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert files(mine) == before


KILLED = """
import itertools
from PIL import Image
from test_history import made, picture
from narrator.history import history_of
for number in itertools.count(1):
    history_of().file(made(number), [picture(number, (400, 300))])
"""


def test_killed_while_writing_nothing_else_is_lost(mine: History) -> None:
    kept = mine.file(made(7, "Before all others."), [picture(7)])
    path = os.pathsep.join((str(ROOT), str(ROOT / "tests")))
    process = subprocess.Popen([sys.executable, "-c", KILLED], env={**os.environ, "PYTHONPATH": path})
    end = time.monotonic() + 120
    while mine.count() < 6 and process.poll() is None and time.monotonic() < end:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    found = mine.page(0, 10_000)
    assert found.problems == () and found.total >= 6 and found.rows[-1].id == kept
    for entry in found.rows:
        with Image.open(entry.pictures[0]) as there:
            there.load()
    assert mine.file(made(8)) and mine.count() == found.total + 1


def test_a_visitor_cannot_fill_the_disk(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "ROOM", 2**62)
    with pytest.raises(NarratorError, match="No space left on device"):
        history_of("a" * 43).file(made())
    assert history_of().file(made()) and not (folder / "visitors").exists()

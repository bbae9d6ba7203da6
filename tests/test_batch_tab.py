"""What the Batch tab does, without a page: looking through uploads, batches in processes of their own, texts, files."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio.utils
import pytest
from batch_waits import saved, waited
from batching import environment, save_pictures, uploaded, zipped
from filelock import FileLock
from plumbing import write_checkpoint

from narrator.batch.edits import Edits
from narrator.batch.jobs import PROCESS, TURN, Batch, Batches, end
from narrator.batch.rows import page_of
from narrator.families import FAMILIES
from narrator.keeping import history_folder, keeps_nothing
from narrator.knobs import knobs
from narrator.processes import recorded
from narrator.records import NarratorError
from narrator.settings import GenerationSettings
from narrator.turns import Stopped
from narrator.ui import batch_handlers as batches
from narrator.ui import batch_view as views
from narrator.ui.batch_given import Given, gather, looked_through, preview

SETTINGS = [field.default for field, _ in knobs(GenerationSettings).values()]
ASKED: dict[str, Any] = {"variant": "teller", "prompt": " what \n is it? ", "audience": "both", "format": "csv",
                         "speak": False, "voice": None}
SECRETS = ["a" * 43, "b" * 43]


@pytest.fixture(scope="module", autouse=True)
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A history, a folder of uploads and variants of this module's own."""
    folder = tmp_path_factory.mktemp("batches")
    takes = {"image": True, "text": True}
    write_checkpoint(folder / "checkpoints", "teller", family="teller", inputs=takes, default_prompt="say it")
    write_checkpoint(folder / "checkpoints", "slow", family="teller", step_s=0.15, inputs=takes)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"NARRATOR_HISTORY": str(folder / "history"), "GRADIO_TEMP_DIR": str(folder / "uploads"),
                            "NARRATOR_CHECKPOINTS": str(folder / "checkpoints"), **environment()}.items():
            patch.setenv(name, value)
        patch.delenv("SPACE_ID", raising=False)
        patch.delenv("GRADIO_SERVER_NAME", raising=False)
        patch.setitem(FAMILIES, "teller", "batching:Teller")
        (folder / "uploads").mkdir()
        yield folder
        for row in (folder / "history").rglob(PROCESS):
            end(row.parent)


def found(*files: str) -> Given:
    return gather(files, threading.Event(), lambda sentence: None)


@pytest.fixture(scope="module")
def given(place: Path) -> Given:
    """A zip of pictures, among them a black one, a cut one and twice the same, with other files; and a picture."""
    pictures = [path.read_bytes() for path in save_pictures(place / "made", [0, *range(10, 34)])]
    inside = {f"trip/{number:02d}.png": data for number, data in enumerate(pictures)}
    inside |= {"trip/cut.png": pictures[3][:200], "trip/again.png": pictures[3], "notes.pdf": b"%PDF-1.4",
               "<b>.txt": b"x", "__MACOSX/x.png": b""}
    return found(zipped("holiday.zip", inside), uploaded("cat & dog.png", pictures[5]))


@pytest.fixture(scope="module")
def done(given: Given) -> Batch:
    """Described by a process of its own, which has waited for its turn."""
    history_folder().mkdir(exist_ok=True)
    with FileLock(history_folder() / TURN):
        line, batch_id = batches.start("", given, ASKED, SETTINGS)
        assert batch_id, line
        while "another batch" not in waited(Batches(), batch_id, {"waiting"}).says:
            time.sleep(0.05)
        assert "waiting for another batch to end" in str(batches.look("", batch_id, 1).status)
    return waited(Batches(), batch_id, {"done", "failed", "interrupted"})


def test_an_upload_is_looked_through_and_its_problems_are_named(given: Given) -> None:
    assert (given.count, given.looked) == (28, 28)
    assert sorted(name for name, _ in given.left_out) == ["<b>.txt", "notes.pdf"]
    assert [name for name, _ in given.bad] == ["holiday/trip/cut.png"] and "cut short" in given.bad[0][1]
    html = preview(given)
    assert "28 pictures are ready. 1 of them cannot be opened. 2 files are left out." in html
    assert html.count("<img") == 12 and "&lt;b&gt;.txt" in html and "<b>" not in html


def test_what_cannot_be_used_is_said_and_nothing_stays(place: Path) -> None:
    folder = Path(gradio.utils.get_upload_folder()) / "data"
    before = set(folder.iterdir()) if folder.exists() else set()
    outside = place / "outside.png"
    outside.write_bytes(b"x")
    for files, reason in (([uploaded("a.zip", b"no zip")], "no zip archive"), ([], "no pictures yet"),
                          ([uploaded("a.txt", b"x")], "no picture among these"),
                          ([zipped("b.zip", {"../../x.png": b"x"})], "leads outside"),
                          ([str(outside)], "not uploaded"), (["http://127.0.0.1/x.png"], "not uploaded")):
        with pytest.raises(NarratorError, match=reason):
            found(*files)
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        gather([uploaded("cat.png", b"x")], stop, lambda sentence: None)
    assert set(folder.iterdir()) == before
    twice = found(uploaded("cat.png", b"x"), uploaded("cat.png", b"y"), uploaded("b.zip", b"z"))
    assert twice.count == 2 and [name for name, _ in twice.bad] == ["cat (2).png", "cat.png"]
    assert [name for name, _ in twice.left_out] == ["b.zip"]


def test_looking_through_is_told_and_can_be_left(place: Path) -> None:
    async def go() -> list[Any]:
        path = save_pictures(place / "told", [7])[0]
        return [one async for one in looked_through([uploaded("cat.png", path.read_bytes())])]
    told = asyncio.run(go())
    assert told[0] == "Looking through the files …" and isinstance(told[-1], Given)


def test_a_batch_describes_all_it_can_and_names_the_rest(done: Batch) -> None:
    assert (done.state, done.done, done.failed, done.duplicates, done.total) == ("done", 28, 2, 2, 28)
    rows = page_of(done, 0, 100).rows
    assert [row.path for row in rows] == sorted(row.path for row in rows) and len(rows) == 28
    bad = {row.path: row.error for row in rows if row.error}
    assert list(bad) == ["holiday/trip/00.png", "holiday/trip/cut.png"]
    assert "too dark" in str(bad["holiday/trip/00.png"]) and "cut short" in str(bad["holiday/trip/cut.png"])
    same = next(row for row in rows if row.path == "holiday/trip/again.png")
    assert same.duplicate_of == "holiday/trip/03.png" or same.long == next(
        row.long for row in rows if row.path == "holiday/trip/03.png")
    assert rows[0].path == "cat & dog.png" and rows[0].prompt == "what is it?"
    assert rows[0].alt == "A field of brightness 14 for what is it?" and rows[0].long.startswith("A field of")


def test_the_page_shows_it_by_pages_and_only_what_has_changed(done: Batch) -> None:
    look = batches.look("", done.id, 1, {})
    assert look.pages == (1, 2) and look.actions == {"remove", "retry"} and not look.live and look.undo is False
    assert look.table is not None and look.table.count('class="batch-edit"') == 20 and "<img" in look.table
    assert "Rows 1 to 20 of 28" in look.table and "cat &amp; dog.png" in look.table
    assert "Not described (2)" in str(look.bad) and "28 pictures. 2 could not be described." in str(look.status)
    again = batches.look("", done.id, 1, look.seen)
    assert (again.status, again.table, again.facts, again.bad, again.actions) == (None,) * 5
    second = batches.look("", done.id, 9, look.seen)
    assert second.pages == (2, 2) and "Rows 21 to 28" in str(second.table)
    assert batches.newest("") == done.id and (views.title(done), done.id) in (look.choices or [])
    gone = batches.look("", "../../etc", 1, {})
    assert gone.actions == set() and "not there any more" in str(gone.status)


def test_texts_are_edited_and_undone(done: Batch) -> None:
    """Refusals keep what was there; of a row without a text a person can write one; undo goes back one by one."""
    before = batches.texts_of("", done.id, 0)
    for alt, long, reason in (("", "x", "is empty"), ("x" * 126, "x", "126 characters"), ("x", "y" * 4001, "4,001")):
        line, kept = batches.save("", done.id, 0, alt, long)
        assert not kept and reason in line
    assert batches.texts_of("", done.id, 0) == before and "nothing to undo" not in before[0]
    assert "no change to undo" in batches.undo("", done.id)
    assert batches.save("", done.id, 0, "A <b>cat</b>.", "A cat\nand a dog.")[1]
    bad = next(row.position for row in page_of(done, 0, 100).rows if row.error)
    assert batches.save("", done.id, bad, "Night.", "A night without stars.")[1]
    look = batches.look("", done.id, 1)
    assert look.undo and "A &lt;b&gt;cat&lt;/b&gt;." in str(look.table) and "A cat and a dog." in str(look.table)
    assert "A night without stars." in str(look.table)
    assert "Undone" in batches.undo("", done.id) and "Undone" in batches.undo("", done.id)
    assert batches.texts_of("", done.id, 0) == before and not Edits(done.folder).all()
    assert "This row is not there" in batches.save("", done.id, 4711, "A.", "B.")[0]


def test_every_format_can_be_saved_with_the_texts_as_they_are_now(done: Batch) -> None:
    assert batches.save("", done.id, 0, "A cat.", "A cat and a dog.")[1]
    lines = [json.loads(line) for line in saved(done, "jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(lines) == 28 and (lines[0]["image"], lines[0]["long"]) == ("cat & dog.png", "A cat and a dog.")
    table = list(csv.DictReader(io.StringIO(saved(done, "csv").read_text(encoding="utf-8"))))
    assert [row["image"] for row in table] == [line["image"] for line in lines] and table[0]["alt"] == "A cat."
    coco = json.loads(saved(done, "coco").read_text(encoding="utf-8"))
    assert (len(coco["images"]), len(coco["annotations"]), len(coco["errors"])) == (28, 26, 2)
    with zipfile.ZipFile(saved(done, "sidecar")) as packed:
        assert packed.read("descriptions/cat & dog.txt") == b"A cat and a dog.\n" and len(packed.namelist()) == 26
    with zipfile.ZipFile(saved(done, "html")) as packed:
        page = packed.read("descriptions.html").decode()
        assert "A cat and a dog." in page and len([name for name in packed.namelist() if name.endswith(".jpg")]) == 25
    with zipfile.ZipFile(saved(done, "zip")) as packed:
        names = packed.namelist()
        assert {"descriptions.jsonl", "descriptions.csv", "descriptions.json", "descriptions.html",
                "pictures/holiday/trip/03.png", "pictures/holiday/trip/cut.png"} <= set(names)
    assert not list(done.folder.glob(".export-*"))
    batches.undo("", done.id)
    with pytest.raises(NarratorError, match="Choose a format"):
        saved(done, "../x")


def test_what_failed_can_be_tried_again(given: Given, done: Batch, place: Path) -> None:
    mended = place / "checkpoints" / "teller" / "mended"
    mended.touch()
    try:
        assert "Trying 2 again." in batches.retry("", done.id)
        now = waited(Batches(), done.id, {"done", "failed", "interrupted"})
    finally:
        mended.unlink()
    assert (now.state, now.done, now.failed) == ("done", 28, 1)
    rows = page_of(now, 0, 100).rows
    assert [row.path for row in rows] == sorted({row.path for row in rows}) and len(rows) == 28
    assert [row.path for row in rows if row.error] == ["holiday/trip/cut.png"]


def test_a_better_file_takes_the_place_of_a_bad_one(done: Batch, place: Path) -> None:
    """By its name; the upload itself stays as it was, and every other row too."""
    before = {row.path: row.sha256 for row in page_of(done, 0, 100).rows}
    good = save_pictures(place / "better", [77])[0].read_bytes()
    line = batches.replace("", done.id, found(uploaded("else.png", good)))
    assert "None of these files is called like" in line and page_of(done, 0, 100).total == 28
    line = batches.replace("", done.id, found(uploaded("cut.png", good), uploaded("else.png", good)))
    assert "1 replaced." in line and "left out: else.png." in line
    now = waited(Batches(), done.id, {"done", "failed", "interrupted"})
    after = {row.path: row.sha256 for row in page_of(now, 0, 100).rows}
    assert (now.state, now.done, now.failed) == ("done", 28, 0) and list(after) == list(before)
    assert [path for path in after if after[path] != before[path]] == ["holiday/trip/cut.png"]
    assert "nothing to try again" in batches.retry("", done.id)
    assert "None of these" in batches.replace("", done.id, found(uploaded("cut.png", good)))


def test_killed_cancelled_and_gone_on_with_no_row_is_lost_or_doubled(place: Path) -> None:
    """SIGKILL leaves what is there; Stop too; resumed, each picture has one row. Deleted, nothing is left."""
    pictures = {path.name: path.read_bytes() for path in save_pictures(place / "many", range(100, 160))}
    hold = place / "checkpoints" / "slow" / "hold"
    hold.touch()
    mine = Batches()
    _, batch_id = batches.start("", found(zipped("many.zip", pictures)), ASKED | {"variant": "slow"}, SETTINGS)
    running = waited(mine, batch_id, {"running"}, rows=1)
    assert "under way already" in batches.resume("", batch_id)
    pid, _ = recorded(running.folder / PROCESS)
    assert pid is not None
    os.kill(pid, 9)
    broken = waited(mine, batch_id, {"interrupted"})
    assert "broke off" in views.standing(broken)
    there = page_of(broken, 0, 1).total
    assert "goes on" in batches.resume("", batch_id)
    waited(mine, batch_id, {"running"}, rows=there + 1)
    assert "stops after" in batches.stop("", batch_id)
    hold.unlink()
    stopped = waited(mine, batch_id, {"stopped"})
    assert there < page_of(stopped, 0, 1).total < 60
    assert {"resume", "remove"} <= (batches.look("", batch_id, 1).actions or set())
    batches.resume("", batch_id)
    now = waited(mine, batch_id, {"done", "failed"})
    assert now.state == "done" and now.done == 60
    assert sorted(row.path for row in page_of(now, 0, 100).rows) == sorted(pictures)
    assert "deleted" in batches.remove("", batch_id)
    assert batch_id not in [one.id for one in mine.all()] and not (mine.shelf.folder / "work" / batch_id).exists()


def test_visitors_never_meet_and_have_limits(given: Given, done: Batch, place: Path,
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPACE_ID", "somebody/narrator")
    ada, bob = SECRETS
    assert "keeps nothing for this page" in batches.start("", given, ASKED, SETTINGS)[0]
    _, batch_id = batches.start(ada, given, ASKED, SETTINGS)
    assert [value for _, value in batches.look(ada, batch_id, 1).choices or []] == [batch_id]
    assert batches.newest(bob) is None and batches.look(bob, batch_id, 1).table == ""
    for act in (batches.stop, batches.resume, batches.retry, batches.remove, batches.undo):
        assert "not there any more" in act(bob, batch_id)
        assert "not there any more" in act(ada, done.id)
    with pytest.raises(NarratorError, match="not there any more"):
        saved(Batches(ada).get(batch_id), "csv", bob)
    monkeypatch.setattr("narrator.batch.jobs.MOST_OF_A_VISITOR", 1)
    assert "1 batches already" in batches.start(ada, given, ASKED, SETTINGS)[0]
    row = Batches(ada).shelf.rows / f"{batch_id}.json"
    os.utime(row, (0, 0))
    _, other = batches.start(ada, given, ASKED, SETTINGS)  # what is too old has gone
    assert other and [one.id for one in Batches(ada).all()] == [other]
    batches.remove(ada, other)
    assert ada not in "".join(path.as_posix() for path in place.rglob("*"))


def test_refusals_keep_nothing(given: Given, monkeypatch: pytest.MonkeyPatch) -> None:
    before = len(Batches().all())
    refused = ((ASKED | {"variant": "nobody"}, SETTINGS, "nobody"),
               (ASKED | {"format": "exe"}, SETTINGS, "Choose which"), (ASKED, [None, *SETTINGS[1:]], "max_new_tokens"))
    for asked, settings, reason in refused:
        line, batch_id = batches.start("", given, asked, settings)
        assert not batch_id and reason in line, line
    assert "no pictures yet" in batches.start("", None, ASKED, SETTINGS)[0]
    monkeypatch.setenv("NARRATOR_KEEP_NOTHING", "1")
    assert keeps_nothing() and "keeps nothing" in batches.start("", given, ASKED, SETTINGS)[0]
    monkeypatch.delenv("NARRATOR_KEEP_NOTHING")
    assert len(Batches().all()) == before and len(list((Batches().shelf.folder / "work").iterdir())) == before

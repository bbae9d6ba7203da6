"""Pictures by the hundred: where they come from, a row each whatever is wrong with them, stopped and gone on with."""

import dataclasses
import json
import shutil
import sqlite3
import threading
import zipfile
from pathlib import Path

import pytest
from batching import save_pictures
from counted import Counted, plan, rows_of

import narrator.batch.running
from narrator.batch import BatchPlan, Item, Progress, discard, resumable, rows_so_far, run
from narrator.batch.plan import Report
from narrator.batch.sizing import FIRST, MOST, Sizes
from narrator.batch.sources import glob_names
from narrator.engine import Engine
from narrator.records import NarratorError
from narrator.settings import GenerationSettings


def test_each_picture_has_a_row(teller: Engine, tmp_path: Path) -> None:
    """Good, bad, the same twice, almost empty, in folders; hidden files and other kinds are not looked at."""
    save_pictures(tmp_path / "trip", [10, 20, 0])
    (tmp_path / "trip" / "sub").mkdir()
    shutil.copy(tmp_path / "trip" / "picture-010.png", tmp_path / "trip" / "sub" / "again.png")
    (tmp_path / "trip" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 and no more")
    (tmp_path / "trip" / ".hidden.png").write_bytes(b"")
    (tmp_path / "trip" / "notes.doc").write_bytes(b"")
    heard: list[Progress] = []
    report = run(plan("trip", batch_size=2), heard.append, engine=teller)
    rows = rows_of(Path("descriptions.jsonl"))
    assert report == Report(out=Path("descriptions.jsonl"), done=5, failed=2, duplicates=1, skipped=0,
                            seconds=report.seconds)
    assert [row["image"] for row in rows] == ["broken.jpg", "picture-000.png", "picture-010.png", "picture-020.png",
                                              "sub/again.png"]
    assert "damaged" in rows[0]["error"] and rows[0]["text"] == "" and rows[0]["sha256"] is None
    assert "ValueError: it is too dark" in rows[1]["error"] and rows[1]["sha256"] and rows[1]["width"] == 64
    assert rows[2]["text"] == "The image shows a field of brightness 10."
    assert rows[2]["long"] == rows[2]["alt"] + "." * (not rows[2]["alt"].endswith(".")) == "A field of brightness 10."
    assert rows[2]["confidence"] == 0.9 and rows[2]["error"] is rows[2]["duplicate_of"] is None
    assert rows[4]["duplicate_of"] == "picture-010.png" and rows[4]["text"] == rows[2]["text"]
    assert rows[4]["sha256"] == rows[2]["sha256"] and rows[4]["seconds"] == 0
    assert sum(Counted.batches) == 2, "the dark one fails, the twin is not asked about"
    assert heard[-1].done == heard[-1].total == 5 and heard[-1].status == "Writing descriptions.jsonl …"
    assert sorted(row.path for one in heard for row in one.rows) == [row["image"] for row in rows]
    assert not (tmp_path / "descriptions.jsonl.part").exists()
    run(plan("trip", dedupe=False, out=Path("all.jsonl")), engine=teller)
    assert [row["duplicate_of"] for row in rows_of(Path("all.jsonl"))] == [None] * 5


def test_sources(teller: Engine, tmp_path: Path) -> None:
    """Globs, zips, lists and JSON lines, together and alone; what is wrong in a list is a row that says so."""
    paths = save_pictures(tmp_path / "a" / "b", range(1, 5))
    assert sorted(glob_names("a/**/*.png")) == sorted(glob_names("a/b/*")) == [
        f"a/b/picture-00{number}.png" for number in range(1, 5)]
    assert list(glob_names(f"{tmp_path}/*/b/*-00[23].png")) and not list(glob_names("b/*.png"))
    assert sorted(glob_names("**/picture-001.png")) == ["a/b/picture-001.png"]
    with zipfile.ZipFile("z.zip", "w") as packed:
        packed.write(paths[0], "in/one.png")
    Path("list.txt").write_text(f"a/b/picture-002.png\n\n{paths[2]}\nhttps://example.org/x.png\nmissing.png\n")
    lines = [{"image": "a/b/picture-001.png", "prompt": "a poster"}, {"image": "a/b/picture-001.png"}, {"picture": 1},
             {"image": "a/b/picture-001.png", "prompt": "a poster"}]
    Path("ask.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + "{")
    run(plan("z.zip", "list.txt", "ask.jsonl", paths[3], out=Path("o.jsonl")), engine=teller)
    rows = {row["image"] if row["prompt"] == "" else row["prompt"]: row for row in rows_of(Path("o.jsonl"))}
    assert list(rows)[:6] == ["z/in/one.png", "a/b/picture-002.png", str(paths[2]), "https://example.org/x.png",
                              "missing.png", "a poster"]
    assert rows["a poster"]["long"] == "A field of brightness 1 for a poster."
    assert rows["a/b/picture-001.png"]["duplicate_of"] == "z/in/one.png"
    assert "web address" in rows["https://example.org/x.png"]["error"]
    assert "There is no file" in rows["missing.png"]["error"]
    assert "'image'" in rows["ask.jsonl, line 3"]["error"] and "not JSON" in rows["ask.jsonl, line 5"]["error"]
    assert len(rows) == 10 and rows[str(paths[3])]["long"] == "A field of brightness 4."
    run(plan("list.txt", out=Path("w.jsonl"), within=tmp_path / "elsewhere"), engine=teller)
    assert ["outside" in row["error"] for row in rows_of(Path("w.jsonl"))] == [True, True, False, True]
    for source, reason in (("nothing", "There is no nothing"), ("*.gif", "holds no pictures"),
                           ("checkpoints", "holds no pictures")):
        with pytest.raises(NarratorError, match=reason):
            run(plan(source, out=Path("x.jsonl")), engine=teller)
        discard(plan(out=Path("x.jsonl")))


def test_stopped_and_gone_on_with(teller: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(narrator.batch.running, "FLUSH_S", 0.0)
    save_pictures(tmp_path / "trip", range(1, 41))
    asked = plan("trip", out=Path("o.jsonl"), batch_size=4)
    stop = threading.Event()

    def heard(progress: Progress) -> None:
        if progress.rows:
            stop.set()

    report = run(asked, heard, stop, teller)
    assert report.stopped and 0 < report.done < 40 and not asked.place.exists() and resumable(asked)
    assert len(list(rows_so_far(asked))) == report.done
    with pytest.raises(NarratorError, match="go on with --resume"):
        run(asked, engine=teller)
    with pytest.raises(NarratorError, match="was begun with prompt '', not 'Why'"):
        run(dataclasses.replace(asked, resume=True, prompt="Why"), engine=teller)
    with pytest.raises(NarratorError, match="was begun with existing 'refuse', not 'skip'"):
        run(dataclasses.replace(asked, resume=True, existing="skip"), engine=teller)
    other = GenerationSettings(num_beams=1)
    with pytest.raises(NarratorError, match="begun with settings num_beams 3, not num_beams 1"):
        run(dataclasses.replace(asked, resume=True, settings=other), engine=teller)
    leave_as_shard(asked.home)
    save_pictures(tmp_path / "trip", [0, 99])  # the folder has changed meanwhile
    (tmp_path / "checkpoints" / "teller" / "mended").touch()
    before = sum(Counted.batches)
    last = run(dataclasses.replace(asked, resume=True), engine=teller)
    assert last.done == 42 and sum(Counted.batches) - before == 42 - report.done
    names = [row["image"] for row in rows_of(asked.place)]
    assert sorted(names) == [f"picture-{number:03d}.png" for number in (*range(41), 99)]
    assert not asked.home.exists()


def test_a_mended_file_takes_the_place_of_a_bad_one(teller: Engine, tmp_path: Path,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed is asked about again where its file is another one when the batch goes on: in a folder, a zip, a
    list. What is as bad as before is not, and nothing has two rows."""
    monkeypatch.setattr(narrator.batch.running, "FLUSH_S", 0.0)
    good = save_pictures(tmp_path / "trip", range(0, 9))
    data = good[8].read_bytes()
    for name in ("bad.png", "still-bad.png"):
        (tmp_path / "trip" / name).write_bytes(b"no picture")

    def pack(inside: bytes) -> None:
        with zipfile.ZipFile("z.zip", "w") as packed:
            packed.writestr("in.png", inside)

    pack(b"no picture either")
    Path("list.txt").write_text("late.png\nhttps://example.org/x.png\n")
    asked = plan("z.zip", "list.txt", "trip", out=Path("o.jsonl"), batch_size=4, dedupe=False)
    stop = threading.Event()
    report = run(asked, lambda progress: stop.set() if progress.done > 5 else None, stop, teller)
    failed = {row.path for row in rows_so_far(asked) if row.error}
    assert report.stopped and {"z/in.png", "late.png", "trip/bad.png", "trip/picture-000.png"} <= failed
    (tmp_path / "trip" / "bad.png").write_bytes(data)
    (tmp_path / "late.png").write_bytes(data)
    pack(data)
    Path("list.txt").write_text("late.png\nlate.png\n")
    last = run(dataclasses.replace(asked, resume=True), engine=teller)
    rows = {row["image"]: row["error"] for row in rows_of(asked.place)}
    assert len(rows) == last.done == 13 and last.failed == 2
    assert {name for name, error in rows.items() if error} == {"trip/still-bad.png", "trip/picture-000.png"}


def test_sources_of_one_name(teller: Engine, tmp_path: Path) -> None:
    """Two folders, zips or lists that are called the same lose no picture to one another."""
    for number in (1, 2):
        home = tmp_path / f"{number}"
        path = save_pictures(home / "trip", [number])[0].rename(home / "trip" / "a.png")
        (home / "list.txt").write_text("trip/a.png\n")
        with zipfile.ZipFile(home / "z.zip", "w") as packed:
            packed.write(path, "a.png")
    run(plan("1/trip", "2/trip", "1/z.zip", "2/z.zip", "1/list.txt", "2/list.txt", dedupe=False), engine=teller)
    assert {row["image"]: row["long"][-2:-1] for row in rows_of(Path("descriptions.jsonl"))} == {
        "trip/a.png": "1", "trip (2)/a.png": "2", "z/a.png": "1", "z (2)/a.png": "2", "1/trip/a.png": "1",
        "2/trip/a.png": "2"}


def leave_as_shard(home: Path) -> None:
    """As when the second of several processes had described all so far, and they were killed."""
    shutil.copy(home / "rows.sqlite", home / "shard-1.sqlite")
    table = sqlite3.connect(home / "rows.sqlite")
    with table:
        table.execute("DELETE FROM rows")
    table.close()


def test_one_batch_at_a_time(teller: Engine, tmp_path: Path) -> None:
    save_pictures(tmp_path / "trip", [1])
    inner: list[str] = []

    def heard(progress: Progress) -> None:
        if progress.rows:
            with pytest.raises(NarratorError) as refused:
                run(plan("trip", resume=True), engine=teller)
            inner.append(str(refused.value))

    run(plan("trip"), heard, engine=teller)
    assert inner and inner[0].startswith("Another batch is writing descriptions.jsonl now")
    (tmp_path / "o.jsonl.part").mkdir()
    (tmp_path / "o.jsonl.part" / "mine.txt").touch()
    with pytest.raises(NarratorError, match="is in the way"):
        run(plan("trip", out=Path("o.jsonl"), existing="overwrite"), engine=teller)
    assert (tmp_path / "o.jsonl.part" / "mine.txt").exists()


def test_a_model_that_fails_on_everything_ends_it(teller: Engine, tmp_path: Path) -> None:
    """With no row for those it failed on: they are asked about again, once it is mended."""
    folder = tmp_path / "trip"
    for number in range(40):
        save_pictures(folder, [0])[0].rename(folder / f"dark-{number:02d}.png")
    asked = plan("trip", dedupe=False, out=Path("o.jsonl"))
    with pytest.raises(NarratorError, match=r"failed on 32 pictures one after another .* --resume"):
        run(asked, engine=teller)
    assert list(rows_so_far(asked)) == []
    (tmp_path / "checkpoints" / "teller" / "mended").touch()
    assert run(dataclasses.replace(asked, resume=True), engine=teller).done == 40
    assert not any(row["error"] for row in rows_of(asked.place))


def test_batches_shrink_when_memory_runs_out(teller: Engine, tmp_path: Path) -> None:
    save_pictures(tmp_path / "trip", range(1, 60))
    Counted.room = 5
    report = run(plan("trip"), engine=teller)
    assert (report.done, report.failed) == (59, 0)
    assert max(Counted.batches) <= 5 and sum(Counted.batches) == 59 and len(Counted.batches) < 30


def test_a_million_twins_do_not_wait(teller: Engine, tmp_path: Path) -> None:
    """Duplicates of a picture in a batch that is never full are filed all the same."""
    path = str(save_pictures(tmp_path / "trip", [9])[0])
    most = 0

    def heard(progress: Progress) -> None:
        nonlocal most
        most = max(most, len(progress.rows))

    names = BatchPlan(variant="teller", items=lambda: (Item(name=f"{number}", file=path) for number in range(700)))
    report = run(names, heard, engine=teller)
    assert (report.done, report.duplicates, Counted.batches) == (700, 699, [1]) and most < 400


def test_sizes() -> None:
    """They double while time and memory allow, by what was measured."""
    roomy = Sizes(lambda: 10**12)
    for size in (FIRST, 2 * FIRST, 4 * FIRST):
        assert roomy.size() == size
        roomy.took(size, size * 0.01, 0)
    assert roomy.size() == MOST
    slower = Sizes(lambda: 10**12)
    slower.took(FIRST, FIRST * 0.01, 0)
    slower.took(2 * FIRST, 2 * FIRST * 0.02, 0)
    assert slower.size() == FIRST, "twice as many took longer each"
    slower.took(FIRST, FIRST * 0.001, 0)
    assert slower.size() == FIRST
    tight = Sizes(lambda: 20 * 2**20)
    tight.took(FIRST, 0.1, FIRST * 2**20)
    assert tight.size() == 10, "half of 20 MiB at 1 MiB a picture"
    tight.ran_out(10)
    assert tight.size() == 5
    slow = Sizes(lambda: 10**12)
    slow.took(FIRST, 40.0, 0)
    assert slow.size() == 2, "nobody waits a minute for a stop"
    assert Sizes(lambda: 10**12, fixed=100).size() == 100

"""The files that a batch makes: formats, results that are there already, sounds, a million rows; and the command."""

import csv
import dataclasses
import json
import shutil
import threading
import tracemalloc
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest
from batching import save_pictures
from command_line import narrator, sentence
from counted import Counted, plan, rows_of

from narrator.batch import BatchPlan, Item, Progress, Row, row_json, run, running
from narrator.batch.sources import _names, folder_names
from narrator.batch.writers import write_coco, write_csv, write_jsonl
from narrator.engine import Engine
from narrator.narrate import narrate
from narrator.records import NarratorError
from narrator.settings import GenerationSettings


def test_formats(teller: Engine, tmp_path: Path) -> None:
    save_pictures(tmp_path / "trip", [7, 8])
    (tmp_path / "trip" / "bad.png").write_bytes(b"no picture")
    run(plan("trip", out=Path("o.csv"), format="csv"), engine=teller)
    with Path("o.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["image"] for row in table] == ["bad.png", "picture-007.png", "picture-008.png"]
    assert table[0]["error"] and table[0]["text"] == table[1]["error"] == "" and table[1]["width"] == "64"
    run(plan("trip", out=Path("o.json"), format="coco", audience="alt"), engine=teller)
    coco = json.loads(Path("o.json").read_text())
    assert [image["file_name"] for image in coco["images"]] == ["bad.png", "picture-007.png", "picture-008.png"]
    assert [(entry["image_id"], entry["caption"].rstrip(".")) for entry in coco["annotations"]] == [
        (2, "A field of brightness 7"), (3, "A field of brightness 8")]
    assert [entry["image_id"] for entry in coco["errors"]] == [1]
    shutil.copy("trip/picture-008.png", "trip/picture-007.jpg")
    (tmp_path / "trip" / "picture-008.txt").write_text("mine")
    report = run(plan("trip", format="sidecar"), engine=teller)
    assert report.skipped == 1 and (tmp_path / "trip" / "picture-008.txt").read_text() == "mine"
    assert (tmp_path / "trip" / "picture-007.png.txt").read_text() == "A field of brightness 7.\n"
    assert (tmp_path / "trip" / "picture-007.jpg.txt").read_text() == "A field of brightness 8.\n"
    run(plan("trip", format="sidecar", existing="overwrite"), engine=teller)
    assert (tmp_path / "trip" / "picture-008.txt").read_text() == "A field of brightness 8.\n"
    run(plan("trip", format="sidecar", out=Path("texts")), engine=teller)
    assert sorted(path.name for path in Path("texts").iterdir()) == [
        "picture-007.jpg.txt", "picture-007.png.txt", "picture-008.txt"]
    run(plan("trip", format="html", out=Path("g.html")), engine=teller)
    page = Path("g.html").read_text()
    assert "A field of brightness 7." in page and "bad.png" in page


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_a_result_that_is_there(teller: Engine, tmp_path: Path, kind: str) -> None:
    """It is refused, added to, or written anew; of what is skipped, those that failed are asked about again."""
    save_pictures(tmp_path / "trip", [0, 1])
    asked = plan("trip", out=Path(f"o.{kind}"), format=kind)

    def found() -> list[tuple[str, bool]]:
        if kind == "csv":
            with asked.place.open(newline="") as file:
                return [(row["image"], bool(row["error"])) for row in csv.DictReader(file)]
        return [(row["image"], bool(row["error"])) for row in rows_of(asked.place)]

    run(asked, engine=teller)
    assert found() == [("picture-000.png", True), ("picture-001.png", False)]
    before = asked.place.read_bytes()
    with pytest.raises(NarratorError, match="is there already"):
        run(asked, engine=teller)
    assert asked.place.read_bytes() == before and not asked.home.exists()
    save_pictures(tmp_path / "trip", [2])
    (tmp_path / "checkpoints" / "teller" / "mended").touch()
    report = run(dataclasses.replace(asked, existing="skip"), engine=teller)
    assert (report.done, report.skipped) == (2, 1)
    assert found() == [("picture-001.png", False), ("picture-000.png", False), ("picture-002.png", False)]
    assert run(dataclasses.replace(asked, resume=True), engine=teller).done == 0, "it is finished"
    run(dataclasses.replace(asked, existing="append"), engine=teller)
    assert len(found()) == 6
    (tmp_path / "trip" / "picture-002.png").write_bytes(b"no picture")
    run(dataclasses.replace(asked, existing="append"), engine=teller)
    assert [name for name, failed in found() if failed] == ["picture-002.png"] and len(found()) == 9
    save_pictures(tmp_path / "trip", [2])
    run(dataclasses.replace(asked, existing="append"), engine=teller)
    assert not any(failed for _, failed in found()) and len(found()) == 11, "the row without a text gave way"
    run(dataclasses.replace(asked, existing="overwrite"), engine=teller)
    assert [name for name, _ in found()] == [f"picture-00{number}.png" for number in range(3)]
    asked.place.write_text("this is,something\nelse,entirely\n")
    with pytest.raises(NarratorError, match="no result of a batch"):
        run(dataclasses.replace(asked, existing="append"), engine=teller)
    with pytest.raises(NarratorError, match="cannot be added"):
        run(plan("trip", format="coco", existing="append"), engine=teller)


def test_names_are_never_listed(teller: Engine, tmp_path: Path) -> None:
    """Of thousands of names few are alive at a time; sorting and writing them takes no memory of Python's."""
    alive = most = 0

    def gone() -> None:
        nonlocal alive
        alive -= 1

    def names() -> Iterator[Item]:
        nonlocal alive, most
        for number in range(3000):
            item = Item(name=f"{number}.png", file=str(tmp_path / f"{number}.png"))
            alive, most = alive + 1, max(most, alive + 1)
            weakref.finalize(item, gone)
            yield item

    report = run(BatchPlan(variant="teller", items=names), engine=teller)
    assert report.done == report.failed == 3000 and 1 <= most < 200
    row = Row(position=0, path="a.png", file="/a.png", text="A dog.", long="A dog.", alt="A dog")
    tracemalloc.start()
    walk = _names((f"{number % 7}/{number}.png" for number in range(20_000)), tmp_path)
    assert walk.total == sum(1 for _ in walk.items()) == 20_000

    class Many:
        def __iter__(self) -> Iterator[Row]:
            return (dataclasses.replace(row, position=number) for number in range(2000))

    for write in (write_jsonl, write_csv, write_coco):
        write(Many(), tmp_path / "many", plan())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20, f"{peak:,} bytes"
    assert len(list(folder_names(tmp_path / "checkpoints"))) == 0


def test_spoken(teller: Engine, tmp_path: Path) -> None:
    """A sound for each text, once; beside the result, or beside the texts."""
    save_pictures(tmp_path / "trip", [7])
    shutil.copy("trip/picture-007.png", "trip/twin.png")
    run(plan("trip", out=Path("o.jsonl"), speak=True), engine=teller)
    sounds = [row["audio"] for row in rows_of(Path("o.jsonl"))]
    assert len(set(sounds)) == 1 and sounds[0].startswith("o-sounds/")
    assert (tmp_path / sounds[0]).read_bytes()[:4] == b"RIFF"
    run(plan("trip", format="sidecar", out=Path("texts"), speak=True), engine=teller)
    assert sorted(path.name for path in Path("texts").iterdir()) == [
        "picture-007.txt", "picture-007.wav", "twin.txt", "twin.wav"]


def test_command(tiny_checkpoints: Path, root: Path, tmp_path: Path) -> None:
    """The real code from end to end, saying what it says of each picture alone."""
    shutil.copytree(root / "assets" / "pictures", tmp_path / "trip")
    (tmp_path / "trip" / "bad.jpg").write_bytes(b"no picture")
    flags = ("--variant", "tiny-captioner", "--num-beams", "2", "--max-new-tokens", "6")
    done = narrator("batch", "trip", *flags, "--out", "o.csv", "--json", checkpoints=tiny_checkpoints, folder=tmp_path)
    assert done.returncode == 1, done.stderr
    told = json.loads(done.stdout)
    assert (told["done"], told["failed"], told["stopped"]) == (7, 1, False)
    assert "narrator: bad.jpg: This file is not a picture" in done.stderr and "7 of 7, 0 s left" in done.stderr
    finished = narrator("batch", "trip", *flags, "--out", "o.csv", "--resume", checkpoints=tiny_checkpoints,
                        folder=tmp_path)
    assert finished.stdout == "o.csv is finished already: nothing to do.\n"
    assert "1 has no text: mend the files, then run it again with --skip-existing" in finished.stderr
    with (tmp_path / "o.csv").open(newline="") as file:
        rows = {row["image"]: row for row in csv.DictReader(file)}
    settings, engine = GenerationSettings(num_beams=2, max_new_tokens=6), Engine(tiny_checkpoints, device="cpu")
    for path in sorted((root / "assets" / "pictures").glob("*.jpg")):
        alone = list(narrate("tiny-captioner", path, settings=settings, engine=engine))[-1].narration
        assert alone is not None and rows[path.name]["text"] == alone.text
        assert rows[path.name]["sha256"] == alone.image_sha256
    again = narrator("batch", "trip", *flags, "--out", "o.csv", checkpoints=tiny_checkpoints, folder=tmp_path)
    assert sentence(again).startswith("o.csv is there already: choose --overwrite")
    moded = narrator("batch", "trip", "--mode", "draw", *flags, checkpoints=tiny_checkpoints, folder=tmp_path)
    assert sentence(moded) == "Tiny captioner has no modes: leave --mode out."
    whole = narrator("batch", "trip/cat.jpg", "--variant", "tiny-captioner", checkpoints=tiny_checkpoints,
                     folder=tmp_path)
    assert whole.returncode == 0 and whole.stdout.startswith("descriptions.jsonl: 1 row, in ")
    assert set(rows_of(tmp_path / "descriptions.jsonl")[0]) == set(
        row_json(Row(position=0, path="", file=""))) >= {"image", "sha256", "text", "alt", "long", "error"}


def test_benchmark(tiny_checkpoints: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    """It runs, and compares what says the same. Its figures are nobody's test."""
    from benchmarks.batch import main

    monkeypatch.setenv("NARRATOR_CHECKPOINTS", str(tiny_checkpoints))
    few = ["--counts", "6", "20", "--single", "6", "--repeats", "1"]
    assert main(["--variant", "tiny-captioner", *few, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert [batch["count"] for batch in figures["batches"]] == [6, 20]
    assert figures["ratio"] == figures["one_ms"] / figures["batches"][1]["each_ms"] > 0
    assert figures["flat"] == figures["batches"][1]["each_ms"] / figures["batches"][0]["each_ms"] > 0


def test_a_benchmark_that_is_cut_short(teller: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was done until then is told, with its figures."""
    from argparse import Namespace

    import benchmarks.batch as bench

    save_pictures(tmp_path / "trip", [1, 2, 3])
    stop = threading.Event()
    monkeypatch.setattr(Counted, "stream", lambda self, image, prompt, settings: (
        piece for piece in self.batch([image], [prompt], settings)[0]))
    monkeypatch.setattr(bench, "TOLD_S", 0.0)
    monkeypatch.setattr(running, "FLUSH_S", 0.0)
    told = bench._Seen.__call__

    def heard(seen: bench._Seen, progress: Progress) -> None:
        told(seen, progress)
        if seen.count == 5000 and progress.done:
            stop.set()

    monkeypatch.setattr(bench._Seen, "__call__", heard)
    options = Namespace(variant="teller", pictures=tmp_path / "trip", counts=[6, 5000, 9000], single=3, repeats=1)
    figures = bench.measure(options, teller, GenerationSettings(), stop)
    assert [batch["asked"] for batch in figures["batches"]] == [6, 5000]
    assert 0 < figures["batches"][1]["count"] < 5000 and figures["batches"][1]["each_ms"] > 0
    assert "(stopped on the way to 5,000)" in bench.table(figures)

"""Votes: kept whole or not at all, private to their owner, listed, exported for spreadsheets and programs."""

import csv
import dataclasses
import io
import json
import resource
import threading
import zipfile
from pathlib import Path
from typing import Any

import pytest

from narrator import keeping
from narrator.metrics.ranking import ranking
from narrator.records import NarratorError
from narrator.votes import Vote, Votes, as_csv, as_jsonl, votes_of

GOOD = Vote(variants=("one", "two", "three"), texts=("A dog.", "=A cat, \"black\".", "Ein Hund läuft.\nSchnell."),
            outcome="best", winner="two", listening=True, prompt="What is it?", sha256="ab" * 32,
            settings=({"num_beams": 3}, {"num_beams": 1}, {"seed": 7}))


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NARRATOR_HISTORY", str(tmp_path / "history"))
    return tmp_path / "history"


@pytest.fixture
def mine(history: Path) -> Votes:
    return votes_of()


def test_what_is_kept_comes_back_the_newest_first(mine: Votes) -> None:
    assert mine.count() == 0 and mine.all().votes == () and not mine.folder.exists()
    kept = [mine.keep(dataclasses.replace(GOOD, prompt=f"Number {number}", listening=number == 1))
            for number in range(3)]
    assert len({one.id for one in kept}) == 3 and all(one.time.endswith("+00:00") for one in kept)
    assert mine.all().votes == tuple(reversed(kept)) and mine.all().problems == ()
    found = mine.page(0, 2)
    assert found.rows == (kept[2], kept[1]) and found.total == 3 and mine.page(2, 2).rows == (kept[0],)
    assert mine.page(0, 5, "NUMBER cat 1").rows == (kept[1],) and mine.page(0, 5, "elephant").total == 0
    assert ranking(mine.all().votes).groups[0][0].variant == "two"
    mine.delete(kept[1].id)
    assert mine.all().votes == (kept[2], kept[0])
    for gone in (kept[1].id, "../../x", "", "\0"):
        with pytest.raises(NarratorError, match="not there any more"):
            mine.delete(gone)
    mine.clear()
    mine.clear()
    assert not mine.folder.exists()


@pytest.mark.parametrize(("change", "sentence"), [
    ({"variants": ("one",), "texts": ("a",), "settings": ()}, "2 to 4 different"),
    ({"variants": ("one", "two", "one")}, "2 to 4 different"),
    ({"variants": tuple("abcde"), "texts": tuple("abcde"), "settings": ()}, "2 to 4 different"),
    ({"texts": ("a", "b")}, "a text"), ({"settings": ({},)}, "a text"), ({"settings": (1, 2, 3)}, "names with values"),
    ({"outcome": "good"}, "best, tie, all bad"), ({"winner": "four"}, "one of the variants"),
    ({"outcome": "tie"}, "only the best"), ({"winner": None}, "one of the variants"),
    ({"texts": ("a", "b", "x" * 20_001)}, "20,000 characters")])
def test_what_is_no_vote_is_refused(mine: Votes, change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(NarratorError, match=f"The vote was not kept: .*{sentence}"):
        mine.keep(dataclasses.replace(GOOD, **change))
    assert not mine.folder.exists()


def test_damaged_files_are_named_and_left_out(mine: Votes) -> None:
    kept = [mine.keep(GOOD) for _ in range(6)]
    rows = [mine.shelf.rows / f"{one.id}.json" for one in kept]
    good = json.loads(rows[0].read_text())
    for path, text in zip(rows, ('{"half', "[1]", json.dumps({**good, "outcome": "good"}), "\xff",
                                 json.dumps({**good, "variants": [["a"], {"b": 1}, 3]})), strict=False):
        path.write_text(text, encoding="latin-1")
    found = mine.all()
    assert [one.id for one in found.votes] == [kept[5].id] and len(found.problems) == 5
    assert all(any(str(path) in problem for problem in found.problems) for path in rows[:5])
    mine.delete(kept[0].id)  # a damaged one can be deleted
    assert mine.count() == 5


def test_the_export_says_all_and_no_spreadsheet_computes_it(mine: Votes, tmp_path: Path) -> None:
    with pytest.raises(NarratorError, match="no votes to export"):
        mine.pack(tmp_path / "none.zip")
    kept = [mine.keep(GOOD), mine.keep(Vote(variants=("a", "b"), texts=("x", "y"), outcome="all bad"))]
    rows = list(csv.DictReader(io.StringIO(as_csv(kept))))
    assert [row["outcome"] for row in rows] == ["best", "all bad"] and rows[0]["listening"] == "True"
    assert rows[0]["text_2"] == "'=A cat, \"black\"." and rows[0]["text_3"] == GOOD.texts[2]
    assert json.loads(rows[0]["settings_3"]) == {"seed": 7} and rows[0]["variant_4"] == "" == rows[1]["settings_1"]
    lines = [json.loads(line) for line in as_jsonl(kept).splitlines()]
    assert lines[0]["texts"] == list(GOOD.texts) and lines[0]["winner"] == "two" and lines[1]["winner"] is None
    assert set(lines[0]) == {field.name for field in dataclasses.fields(Vote)}
    mine.pack(tmp_path / "votes.zip")
    with zipfile.ZipFile(tmp_path / "votes.zip") as archive:
        assert archive.read("votes/votes.jsonl").decode() == as_jsonl(mine.all().votes)
        assert archive.read("votes/votes.csv").decode() == as_csv(mine.all().votes)


def test_a_full_disk_a_limit_and_a_server_that_keeps_nothing_are_sentences(mine: Votes,
                                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    first = mine.keep(GOOD)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))  # writing beyond it fails, as on a full disk
    try:
        with pytest.raises(NarratorError, match=r"The vote was not kept \(File too large\): free some space"):
            mine.keep(GOOD)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    monkeypatch.setattr(keeping, "MOST", 1)
    with pytest.raises(NarratorError, match="You have 1 votes already: export them"):
        mine.keep(GOOD)
    monkeypatch.setenv("NARRATOR_KEEP_NOTHING", "1")
    with pytest.raises(NarratorError, match="keeps nothing"):
        mine.keep(GOOD)
    assert [path.name for path in mine.shelf.rows.iterdir()] == [f"{first.id}.json"]


def test_owners_never_meet_and_many_at_once_are_all_kept(history: Path) -> None:
    ada, bob = votes_of("a" * 43), votes_of("b" * 43)
    hers = ada.keep(GOOD)
    with pytest.raises(NarratorError, match="not there"):
        bob.delete(hers.id)
    assert bob.count() == 0 == votes_of().count() and ada.count() == 1
    assert not any("a" * 43 in str(path) for path in history.rglob("*"))
    assert ada.folder.stat().st_mode & 0o077 == 0
    threads = [threading.Thread(target=bob.keep, args=(GOOD,)) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert bob.count() == 12

"""The History tab without a browser: what is filed, listed, searched, opened again and exported, and for whom."""

import asyncio
import dataclasses
import json
import os
import re
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
from command_line import ROOT, narrator, sentence
from kept import history_folder, own_history, small_sound  # noqa: F401  (fixtures)
from plumbing import write_checkpoint
from test_history import made, picture

from narrator import keeping
from narrator.families import FAMILIES
from narrator.history import History, history_of
from narrator.keeping import FORGOTTEN_S, sweep_visitors
from narrator.narrate import narrate
from narrator.pictures import open_picture
from narrator.records import NarratorError
from narrator.settings import GenerationSettings
from narrator.ui import filing, handlers, history_handlers, reopening, visitors
from narrator.ui.filing import ALL, NOTHING
from narrator.ui.narrate_tab import describing
from narrator.votes import Vote, votes_of

CAT = ROOT / "assets" / "pictures" / "cat.jpg"


@pytest.fixture
def sayer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The id of a variant that says "A dog runs on grass."."""
    monkeypatch.setitem(FAMILIES, "sayer", "plumbing:Sayer")
    monkeypatch.setenv("NARRATOR_CHECKPOINTS", str(tmp_path / "checkpoints"))
    write_checkpoint(tmp_path / "checkpoints", "sayer", inputs={"image": True, "text": True}, several=True)
    return "sayer"


def test_visitors_never_meet_are_bounded_and_are_forgotten(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPACE_ID", "somebody/narrator")
    ada, bob, old = (visitors.visitor_of(None) for _ in range(3))
    hers = history_of(ada).file(made(1, "Ada's cat."), [picture()])
    history_of(bob).file(made(2, "Bob's <b>cat</b>."))
    history_of(old).file(made(3))
    tables = [history_handlers.listing("narrations", "", 0, one).table for one in (ada, bob, visitors.visitor_of("x"))]
    assert ["Ada&#x27;s" in table for table in tables] == [True, False, False]
    assert ["Bob&#x27;s &lt;b&gt;" in table for table in tables] == [False, True, False]
    assert all("Problem" in line for line in (history_handlers.delete("narrations", hers, bob),
                                              history_handlers.sound(hers, bob)[0]))
    with pytest.raises(NarratorError, match="not there"):
        history_handlers.find(hers, bob)
    history_handlers.delete_all("narrations", bob)
    assert history_of(ada).count() == 1 and history_of(bob).count() == 0 and history_of().count() == 0
    for forged in ("", "../narrations", None, 7, ["x"], ada + "x"):
        assert "keeps nothing for this page" in history_handlers.listing("narrations", "", 0, forged).table
        assert asyncio.run(filing.file(made(), [], forged, ALL)) == ("", "")  # a description is no error for that
    assert not any(ada in str(path) for path in folder.rglob("*")) and not (folder / "narrations").exists()
    monkeypatch.setattr(keeping, "MOST_OF_A_VISITOR", 2)
    for number in range(4):
        history_of(ada).file(made(number))
    assert history_of(ada).count() == 2
    os.utime(history_of(old).shelf.rows, (time.time() - FORGOTTEN_S - 60,) * 2)
    votes_of(bob).keep(Vote(variants=("a", "b"), texts=("x", "y"), outcome="tie"))
    sweep_visitors()
    assert [history_of(one).count() for one in (ada, old)] == [2, 0] and votes_of(bob).count() == 1


async def described(*given: Any, **changed: Any) -> list[list[Any]]:
    settings = dataclasses.asdict(dataclasses.replace(GenerationSettings(), **changed))
    return [update async for update in describing(*given, *settings.values())]


def test_a_finished_narration_is_filed_spoken_and_opened_again(mine: History, sayer: str, sound: Path) -> None:
    updates = asyncio.run(described(str(CAT), sayer, [], None, "what is it", "", ALL, num_beams=2, seed=5))
    filed = updates[-1][-1]
    assert filed and all("value" not in update for update in updates[-1][:-1])  # what is typed meanwhile stays
    entry = mine.find(filed)
    assert entry.narration.text == "A dog runs on grass." and entry.narration.settings["seed"] == 5
    for text, there in (("Another text.", False), (" A dog runs  on grass.", True)):
        assert asyncio.run(filing.add_sound(filed, text, sound, "", ALL)) == ""
        assert (mine.find(filed).sound is not None) is there
    line, path = history_handlers.sound(filed, "")
    assert "Playing" in line and path is not None and "uploads" in str(path) and path.read_bytes() == sound.read_bytes()
    shown = reopening.opened(mine.find(filed))
    assert shown.variant == sayer and shown.given["prompt"]["value"] == "what is it" and shown.settings[-1] == 5
    assert "uploads" in shown.pictures[0] and Path(shown.pictures[0]).is_file() and "Opened" in shown.status
    assert shown.made == handlers.Made(path=shown.pictures[0], variant=sayer, prompt="what is it",
                                       text=entry.narration.text)
    gone = dataclasses.replace(entry, narration=made(1, variant_id="gone", settings={"num_beams": 99, "novel": 1}))
    shown = reopening.opened(gone)
    assert "gone is not here any more" in shown.status and shown.variant is None and shown.made is None
    assert shown.settings == list(vars(GenerationSettings()).values())


def test_what_is_not_wanted_or_not_finished_is_not_kept(mine: History, sayer: str,
                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    assert asyncio.run(described(str(CAT), sayer, [], None, "", "", NOTHING))[-1][-1] == ""
    assert asyncio.run(described(None, "no-such", [], None, "", "", ALL))[-1][-1] == ""
    monkeypatch.setenv("NARRATOR_KEEP_NOTHING", "1")
    assert asyncio.run(described(str(CAT), sayer, [], None, "", "", ALL))[-1][-1] == ""
    assert mine.count() == 0 and not mine.folder.exists() and not filing.wants(ALL)
    assert "keeps nothing" in history_handlers.keeping(True)
    monkeypatch.setenv("NARRATOR_KEEP_NOTHING", "0")
    assert filing.wants(ALL) and filing.wants(None) and filing.wants([]) and not filing.wants(NOTHING)
    mine.folder.parent.mkdir()
    mine.folder.write_text("in the way")
    line = asyncio.run(described(str(CAT), sayer, [], None, "", "", ALL))[-1][0]
    assert "Described in" in line and "not kept in the history" in line and "Problem" in line


def test_several_pictures_are_kept_and_opened_together(mine: History, sayer: str) -> None:
    other = ROOT / "assets" / "pictures" / "coffee-cup.jpg"
    narration = list(narrate(sayer, [CAT]))[-1].narration
    assert narration is not None
    entry = mine.find(mine.file(narration, [open_picture(CAT), open_picture(other)]))
    shown = reopening.opened(entry)
    assert len(entry.pictures) == 2 == len(shown.pictures) and shown.given["more"]["visible"] and shown.made is None


def test_the_tab_lists_searches_pages_and_deletes_each_kind(mine: History, tmp_path: Path,
                                                            monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_handlers, "SHOWN", 2)
    for kind in ("narrations", "votes", "corrections", "nonsense", None):
        empty = history_handlers.listing(kind, "", 0, "")
        assert "is kept yet" in empty.table and not empty.any and empty.choices == ()
        with pytest.raises(NarratorError, match="nothing to delete"):
            history_handlers.question(kind, "")
    names = [mine.file(made(number), [picture(number)]) for number in range(3)]
    page = history_handlers.listing("narrations", "", 0, "")
    assert [one[1] for one in page.choices] == names[:0:-1] and page.older and not page.newer
    assert "1 to 2 of 3" in page.table
    assert page.table.count("data:image/jpeg;base64,") == 2
    last = history_handlers.listing("narrations", "", 2, "")
    assert [one for one in last.choices] == [("3: Picture number 0.", names[0])] and last.newer and not last.older
    found = history_handlers.listing("narrations", "number 1", 0, "")
    assert [one[1] for one in found.choices] == [names[1]] and "Nothing of 3" in history_handlers.listing(
        "narrations", "<i>", 0, "").table
    assert "Deleted. 2 left." in history_handlers.delete("narrations", names[0], "")
    assert history_handlers.listing("narrations", "", 2, "").start == 0  # that page is empty now
    for kind, chosen in (("narrations", names[0]), ("votes", None), ("corrections", "x")):
        assert "Problem" in history_handlers.delete(kind, chosen, "")
    vote = votes_of().keep(Vote(variants=("photo-captioner", "b"), texts=("<b>x", "y"), outcome="best", winner="b"))
    table = history_handlers.listing("votes", "", 0, "").table
    assert "Best: b" in table and "&lt;b&gt;x" in table and "Delete 1 vote," in history_handlers.question("votes", "")
    packed = {"narrations": {"history/narrations.jsonl", *(f"history/pictures/{name}-1.jpg" for name in names[1:])},
              "votes": {"votes/votes.csv", "votes/votes.jsonl"}}
    for kind, inside in packed.items():
        line, path = asyncio.run(last_of(history_handlers.export(kind, "")))
        assert "is ready" in line and path is not None and path.name == f"{kind}.zip"
        with zipfile.ZipFile(path) as archive:
            assert archive.testzip() is None and set(archive.namelist()) == inside
    assert "Deleted" in history_handlers.delete("votes", vote.id, "")
    assert "Problem" in asyncio.run(last_of(history_handlers.export("votes", "")))[0]
    assert "All narrations are deleted" in history_handlers.delete_all("narrations", "") and mine.count() == 0


async def last_of(source: Any) -> Any:
    return [item async for item in source][-1]


def test_the_command_lists_searches_exports_and_deletes(mine: History, tmp_path: Path) -> None:
    assert "None of the narrations is kept yet" in narrator("history").stdout
    assert "no narrations to export" in sentence(narrator("history", "--export", tmp_path / "a.zip"))
    names = [mine.file(made(number), [picture(number)]) for number in range(3)]
    listed = [json.loads(line) for line in narrator("history", "--json").stdout.splitlines()]
    assert [row["entry"] for row in listed] == names[::-1] and listed[0]["text"] == "Picture number 2."
    assert Path(listed[0]["pictures"][0]).is_file() and listed[0]["audio"] is None
    plain = narrator("history", "--search", "NUMBER 1").stdout
    assert plain.splitlines() == [f"{names[1]}  2026-05-04 10:00  photo-captioner: Picture number 1."]
    assert "the 1 newest of 3" in narrator("history", "--limit", "1").stdout
    assert f"{tmp_path / 'a.zip'}: 3 narrations." in narrator("history", "--export", tmp_path / "a.zip").stdout
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        rows = [json.loads(line) for line in archive.read("history/narrations.jsonl").splitlines()]
        names_in = archive.namelist()
        assert len(names_in) == 4 and all(f"history/{row['pictures'][0]}" in names_in for row in rows)
    assert "is there already" in sentence(narrator("history", "--export", tmp_path / "a.zip"))
    assert "There is no folder" in sentence(narrator("history", "--export", tmp_path / "x" / "a.zip"))
    assert narrator("history", "--delete", names[0]).stdout == "Deleted. 2 narrations left.\n"
    assert "not there any more" in sentence(narrator("history", "--delete", names[0]))
    assert "add --yes" in sentence(narrator("history", "--delete-all"))
    votes_of().keep(Vote(variants=("a", "b"), texts=("x", "y"), outcome="best", winner="b"))
    assert re.search(r"a, b: best b$", narrator("history", "--kind", "votes").stdout.strip())
    assert json.loads(narrator("history", "--kind", "votes", "--json").stdout)["outcome"] == "best"
    assert "Deleted 2 narrations." in narrator("history", "--delete-all", "--yes").stdout and mine.count() == 0

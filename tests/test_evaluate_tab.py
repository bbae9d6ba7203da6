"""The Evaluate tab without a browser: what can be measured on, what is refused, how it stands, what a report says."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import filelock
import pytest
from evaluate_page import ADA, BOB, CAT, FORMATS, JSONL, USUAL, finished_one, page_home, shared_page, uploaded, zipped  # noqa: F401  (fixtures)

from narrator import evaluation
from narrator.corrections import corrections_of
from narrator.evaluation import Plan
from narrator.evaluation.child import TURN, launch
from narrator.keeping import sweep_visitors
from narrator.knobs import knobs
from narrator.pictures import open_picture
from narrator.records import NarratorError
from narrator.settings import GenerationSettings
from narrator.ui import evaluate_data as data
from narrator.ui import evaluate_handlers as handlers


@pytest.mark.parametrize("kind", FORMATS)
def test_an_upload_of_any_format_can_be_measured_on(home: Path, tmp_path: Path, kind: str) -> None:
    given = uploaded(zipped(tmp_path / "mine.zip", cat__jpg=CAT, **FORMATS[kind]))
    assert given.says == "1 picture in mine.zip." and given.keep and given.splits[0] == ("All, 1", "")
    assert given.path.is_relative_to(home / "uploads")


REFUSED: dict[str, tuple[dict[str, str | Path], str]] = {
    "no texts": ({"cat__jpg": CAT}, "no texts"), "no pictures": ({"a__csv": "image,caption\nx.jpg,A cat.\n"}, "x.jpg"),
    "classes": ({"0/a__jpg": CAT, "1/b__jpg": CAT}, "classes and no texts"),
    "a path elsewhere": ({"a__jsonl": JSONL.replace("cat.jpg", str(CAT))}, "absolute path"),
    "nothing": ({"readme__md": "x"}, "no pictures and no tables")}


@pytest.mark.parametrize("case", REFUSED)
def test_an_upload_that_cannot_be_used_is_told_in_a_sentence_and_leaves_nothing(home: Path, tmp_path: Path, case: str
                                                                               ) -> None:
    files, says = REFUSED[case]
    before = set((home / "uploads").glob("data/*"))
    with pytest.raises(NarratorError, match=says) as told:
        uploaded(zipped(tmp_path / "bad.zip", **files))
    assert str(home) not in str(told.value) and set((home / "uploads").glob("data/*")) == before


def test_data_sets_of_the_machine_are_offered_to_its_owner_alone(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert data.data_sets() == ["mine/captions.jsonl"] and len(data.kinds()) == 3
    given = data.from_set("mine/captions.jsonl")
    assert given.splits == (("dev, 2", "dev"), ("All, 4", ""), ("train, 2", "train")) and not given.keep
    for name in ("../mine/captions.jsonl", "/etc/passwd", "mine", None):
        with pytest.raises(NarratorError, match="not in the list"):
            data.from_set(name)
    monkeypatch.setenv("SPACE_ID", "somebody/narrator")
    assert [kind for _, kind in data.kinds()] == [data.UPLOAD, data.CORRECTIONS]
    with pytest.raises(NarratorError, match="not in the list"):
        data.from_set("mine/captions.jsonl")


def test_corrections_are_the_visitors_own(shared: None) -> None:
    with pytest.raises(NarratorError, match="No correction has been kept yet"):
        data.from_corrections(ADA)
    corrections_of(ADA).keep(open_picture(CAT), before="A dog.", after="A cat.", variant="tiny-captioner")
    assert data.from_corrections(ADA).says == "1 picture in my corrections."
    with pytest.raises(NarratorError, match="No correction has been kept yet"):
        data.from_corrections(BOB)
    with pytest.raises(NarratorError, match="keeps nothing for this page"):
        data.from_corrections("")


def begin(given: data.Given | None, variants: Sequence[str] = ("tiny-captioner",), split: str | None = "",
          limit: float | None = 0, visitor: str = "", **settings: Any) -> tuple[str, str | None]:
    values = [settings.get(name, default) for name, default in zip(knobs(GenerationSettings), USUAL, strict=True)]
    return handlers.begin(variants, given, (split, limit), values, visitor)


def test_what_cannot_begin_is_told_and_makes_nothing(home: Path) -> None:
    given = data.from_set("mine/captions.jsonl")
    before = evaluation.list_evaluations(evaluation.evaluations_folder())
    for (line, run), says in (
            (begin(given, ()), "Choose at least one variant"), (begin(None), "nothing to measure on yet"),
            (begin(given, split="test"), "not in the data"), (begin(given, limit=1.5), "whole number"),
            (begin(given, limit=-1), "whole number"), (begin(given, ("no-such",)), "no-such"),
            (begin(given, num_beams=0), "num_beams"), (begin(given, temperature=None), "temperature")):
        assert run is None and 'class="line error"' in line and says in line, line
    assert evaluation.list_evaluations(evaluation.evaluations_folder()) == before


def test_a_visitor_cannot_take_all_of_the_machine(home: Path, shared: None, monkeypatch: pytest.MonkeyPatch,
                                                  tmp_path: Path) -> None:
    given = uploaded(zipped(tmp_path / "mine.zip", cat__jpg=CAT, cat__txt="A cat."))
    root = handlers.root_of(ADA)
    plan = Plan(variants=("tiny-captioner",), data=given.path)
    assert "serves several people, and measures 200 rows" in begin(given, visitor=ADA)[0]
    evaluation.create(plan, root, keep=True)
    monkeypatch.setattr(handlers, "OF_A_VISITOR", 1)
    assert "1 evaluations already" in begin(given, limit=5, visitor=ADA)[0]
    assert "keeps nothing for this page" in begin(given, limit=5, visitor="")[0]
    monkeypatch.setenv("NARRATOR_KEEP_NOTHING", "1")
    assert "keeps nothing (NARRATOR_KEEP_NOTHING)" in begin(given, limit=5, visitor=ADA)[0]


def test_what_a_visitor_has_measured_lately_outlives_older_corrections(home: Path, shared: None) -> None:
    root = handlers.root_of(BOB)
    old = root.parent / "corrections" / "rows"
    for place in (old, root):
        place.mkdir(parents=True)
    os.utime(old, (0, 0))
    sweep_visitors()
    assert root.is_dir()
    os.utime(root, (0, 0))
    sweep_visitors()
    assert not root.exists()


def test_one_waits_its_turn_leaves_the_queue_and_is_deleted(home: Path) -> None:
    """A real process that waits for another; cancelled before its turn it describes nothing."""
    plan = Plan(variants=("tiny-captioner",), data=home / "data" / "mine")
    folder = evaluation.create(plan, evaluation.evaluations_folder())
    assert handlers.look(folder.name, "").actions == {"resume", "remove"}  # made, and never begun
    with filelock.FileLock(evaluation.evaluations_folder() / TURN):
        launch(folder)
        assert evaluation.state_of(folder).state == "queued"
        look = handlers.look(folder.name, "")
        assert look.actions == {"stop"} and look.live and "waits until the one before it" in (look.status or "")
        assert "Cancel it first" in handlers.remove(folder.name, "") and folder.exists()
        assert 'class="line busy"' in handlers.stop(folder.name, "")
        end = time.monotonic() + 120
        while evaluation.state_of(folder).state == "queued" and time.monotonic() < end:
            time.sleep(0.1)
    look = handlers.look(folder.name, "", look.seen)
    assert look.actions == {"resume", "remove"} and "was cancelled after 0 of 4 descriptions" in (look.status or "")
    assert "Delete" in handlers.question(folder.name, "")
    assert "is deleted" in handlers.remove(folder.name, "") and not folder.exists()



"""The Evaluate tab without a browser: what can be measured on, what is refused, how it stands, what a report says."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import re
import time
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import filelock
import pytest
from PIL import Image
from tiny_captioner import save_tiny_captioner

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
from narrator.ui import evaluate_report, evaluate_view
from narrator.ui.choosing import offered

PICTURES = Path(__file__).resolve().parents[1] / "assets" / "pictures"
TEXTS = ("A <b>cat</b> looks up.", "A man on a street.", "A dog runs on green grass.", "A cup on a table.")
USUAL = [field.default for field, _ in knobs(GenerationSettings).values()]
ADA, BOB = "a" * 43, "b" * 43  # two browsers' secrets


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Two tiny captioners, a data root with one set of two splits, and everything else below one folder."""
    folder = tmp_path_factory.mktemp("evaluate")
    for name in ("tiny-captioner", "tiny-second"):
        save_tiny_captioner(folder / "checkpoints" / name, name)
    write_set(folder / "data" / "mine", [{"split": "dev" if number < 2 else "train"} for number in range(4)])
    with pytest.MonkeyPatch.context() as patch:
        for name, place in (("CHECKPOINTS", "checkpoints"), ("EVALUATIONS", "evaluations"), ("HISTORY", "history"),
                            ("DATA", "data")):
            patch.setenv(f"NARRATOR_{name}", str(folder / place))
        patch.setenv("GRADIO_TEMP_DIR", str(folder / "uploads"))
        patch.setenv("HF_HUB_OFFLINE", "1")
        for name in ("SPACE_ID", "GRADIO_SERVER_NAME", "NARRATOR_KEEP_NOTHING"):
            patch.delenv(name, raising=False)
        yield folder


def write_set(folder: Path, more: Sequence[dict[str, Any]]) -> Path:
    """captions.jsonl over small pictures, a row for each of `more`, which is added to it."""
    (folder / "images").mkdir(parents=True)
    rows = []
    for number, fields in enumerate(more):
        Image.new("RGB", (32, 24), (60 * number, 90, 40)).save(folder / "images" / f"{number}.png")
        rows.append({"image": f"images/{number}.png", "captions": [TEXTS[number], "A thing."], **fields})
    (folder / "captions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "captions.jsonl"


@pytest.fixture(scope="module")
def finished(home: Path) -> Path:
    """The folder of an evaluation of both captioners on four pictures that was carried out."""
    plan = Plan(variants=("tiny-captioner", "tiny-second"), data=home / "data" / "mine", data_name="my <set>",
                settings=GenerationSettings(num_beams=1, max_new_tokens=6))
    folder = evaluation.create(plan, evaluation.evaluations_folder())
    assert evaluation.run(folder) is not None
    return folder


@pytest.fixture
def shared(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page serves several people."""
    monkeypatch.setenv("SPACE_ID", "somebody/narrator")


def zipped(path: Path, **files: str | Path) -> str:
    """A zip of texts and files; "__" in a name stands for its last dot."""
    with zipfile.ZipFile(path, "w") as packed:
        for name, content in files.items():
            inside = name.replace("__", ".")
            packed.write(content, inside) if isinstance(content, Path) else packed.writestr(inside, content)
    return str(path)


def uploaded(*files: str) -> data.Given:
    return asyncio.run(data.from_upload(files))


CAT = PICTURES / "cat.jpg"
COCO = json.dumps({"images": [{"id": 1, "file_name": "cat.jpg"}],
                   "annotations": [{"id": 1, "image_id": 1, "caption": "A cat."}]})
KARPATHY = json.dumps({"images": [{"filename": "cat.jpg", "split": "test", "sentences": [{"raw": "A cat."}]}]})
JSONL = json.dumps({"image": "cat.jpg", "captions": ["A cat.", "The cat."]}) + "\n"
FORMATS: dict[str, dict[str, str | Path]] = {
    "sidecar": {"cat__txt": "A cat."}, "csv": {"table__csv": "image,caption\ncat.jpg,A cat.\n"},
    "jsonl": {"rows__jsonl": JSONL}, "coco": {"coco__json": COCO}, "karpathy": {"dataset__json": KARPATHY}}


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


def test_a_look_shows_what_changed_and_nothing_else(finished: Path) -> None:
    look = handlers.look(finished.name, "")
    assert look.actions == {"card", "remove"} and not look.live
    assert "is done. Its report is below." in (look.status or "")
    assert look.choices and look.choices[0][1] == finished.name
    assert [Path(path).name for path in look.files or []] == list(handlers.FILES)
    assert all(Path(path).read_bytes() == (finished / Path(path).name).read_bytes() for path in look.files or [])
    again = handlers.look(finished.name, "", look.seen)
    assert {part for part in vars(again) if getattr(again, part) is not None} == {"seen", "live"}
    gone = handlers.look("no-such", "")
    assert gone.report == "" and gone.facts == "" and gone.actions == set()


@pytest.mark.parametrize("name", ["../evaluations", ".", "..", "", None, "/etc", ".turn", "no-such"])
def test_only_evaluations_of_the_list_are_opened(finished: Path, name: str | None) -> None:
    for act in (handlers.stop, handlers.resume, handlers.remove):
        assert "not there any more" in act(name, "")
    assert handlers.examples(name, "tiny-captioner", "", "worst", 6, "")[1] is False
    with pytest.raises(NarratorError, match="not there any more"):
        handlers.question(name, "")


def test_what_is_a_visitors_is_not_anothers(finished: Path, shared: None) -> None:
    assert "my <set>" not in str(handlers.look(finished.name, BOB).choices)
    assert "not there any more" in handlers.remove(finished.name, BOB) and finished.exists()
    assert handlers.newest(BOB) is None and handlers.root_of(ADA) != handlers.root_of(BOB)
    assert "keeps nothing for this page" in handlers.look(finished.name, "").status  # type: ignore[operator]


def test_the_report_tells_each_figure_with_its_interval_formula_and_source(finished: Path) -> None:
    made = evaluation.load_report(finished)
    html = evaluate_report.report(made)
    names = {name for one in made.variants for name in (*one.scores, *one.measured)}
    assert {"cider_d", "bleu_4", "seconds_per_row"} <= names
    for name in names:
        known = evaluation.figure(name)
        row = re.search(rf"<summary>{re.escape(known.title)}.*?</tr>", html)
        assert row and known.source in row[0].replace("&#x27;", "'") and "Formula" in row[0], name
        score = made.variants[0].scores.get(name) or made.variants[0].measured[name]
        assert evaluation.shown(name, score) in row[0]
    assert "my &lt;set&gt;" in html and "<set>" not in html
    assert html.count("<svg") == html.count("</svg>") > 4


def test_two_are_compared_in_words_and_the_same_two_cannot_be_told_apart(finished: Path) -> None:
    """The second captioner has the weights of the first."""
    made = evaluation.load_report(finished)
    html = evaluate_report.report(made)
    pair = html[html.index('<section class="pair">'):]
    assert "<dt>Cannot tell</dt>" in pair and "CIDEr-D" in pair
    told = {row.metric for row in made.comparisons if row.metric in made.variants[0].scores}
    assert told and "<dt>Better</dt>" not in pair.split("<details>")[0].replace("Tokens", "")
    assert "Choose two or more" in evaluate_report.report(dataclasses.replace(made, variants=made.variants[:1]))


def test_scenes_have_their_rules_and_every_chart_its_table(finished: Path) -> None:
    made = evaluation.load_report(finished)
    bins = tuple(evaluation.Bin(low=at / 4, high=at / 4 + 0.25, n=2, confidence=at / 4 + 0.1, found=at / 5)
                 for at in range(4))
    told = tuple(dataclasses.replace(one, calibration=bins) for one in made.variants)
    html = evaluate_report.report(dataclasses.replace(made, variants=told))
    assert set(made.scenes) >= {"animals"} and "How a row gets its type of scene" in html
    assert "<td>animal, dog, puppy" in html  # the rules themselves
    for caption in ("Share of successes by type of scene", "Every figure with its 95 % interval", "Calibration of"):
        assert caption in html
    assert html.count('class="plot"') == html.count("<caption>Calibration of") > 0
    titles = re.findall(r'<figure class="chart".*?<h3 id="([\w-]+)-title">', html)
    assert len(titles) == len(set(titles)) >= 4
    assert all(f'id="{title}-words"' in html for title in titles)


def test_examples_are_ordered_filtered_and_escaped(finished: Path) -> None:
    def rows(**choice: Any) -> list[str]:
        asked = {"variant": "tiny-captioner", "scene": "", "order": "worst", "count": 6, **choice}
        html, _ = handlers.examples(finished.name, asked["variant"], asked["scene"], asked["order"], asked["count"], "")
        assert "<b>" not in html
        return re.findall(r"<dt>People wrote</dt><dd>(.*?)</dd>", html)

    assert len(rows()) == 4 and "A &lt;b&gt;cat&lt;/b&gt; looks up. / A thing." in rows()
    known = evaluation.load_rows(finished)
    scores = {row.references[0]: row.scores["tiny-captioner"]["cider_d"] for row in known}
    found = [scores[text.split(" / ")[0].replace("&lt;", "<").replace("&gt;", ">")] for text in rows(order="best")]
    assert found == sorted(found, reverse=True)
    scene = next(row.scene for row in known)
    assert len(rows(scene=scene)) == sum(row.scene == scene for row in known)
    html, more = handlers.examples(finished.name, "tiny-captioner", "", "worst", 2, "")
    assert html.count("<li>") == 2 and more and html.count('src="data:image/jpeg') == 2
    assert handlers.examples(finished.name, "another", "", "worst", 2, "") == ("", False)


def test_figures_are_put_into_the_cards_by_whom_it_concerns(finished: Path, home: Path, monkeypatch: pytest.MonkeyPatch
                                                            ) -> None:
    card = home / "checkpoints" / "tiny-captioner" / "metrics.json"
    monkeypatch.setenv("NARRATOR_MANAGE", "0")
    assert "NARRATOR_MANAGE=1" in handlers.to_cards(finished.name, "") and not card.exists()
    assert handlers.look(finished.name, "").actions == {"remove"}
    monkeypatch.delenv("NARRATOR_MANAGE")
    assert "The figures stand with Tiny captioner" in handlers.to_cards(finished.name, "")
    assert "cider_d" in json.loads(card.read_text())["scores"]["my <set>"]


def test_the_leaderboard_has_every_variant(finished: Path) -> None:
    html = handlers.leaderboard("")
    for variant in offered():
        assert variant.title in html
    assert "Measured on my &lt;set&gt; (4 rows)" in html and "Not measured yet" in html
    assert "CIDEr-D" in html and "Licence" in html and "Apache-2.0" in html


def test_a_damaged_evaluation_is_told_and_can_be_deleted(home: Path) -> None:
    folder = evaluation.evaluations_folder() / "damaged"
    folder.mkdir(parents=True)
    (folder / "plan.json").write_text("{")
    found = next(one for one in evaluation.list_evaluations(folder.parent) if one.id == "damaged")
    assert "Failed" in evaluate_view.overview([found]) and "is damaged" in evaluate_view.facts(found)
    assert "is deleted" in handlers.remove("damaged", "") and not folder.exists()


def test_there_is_something_to_do_where_there_is_nothing() -> None:
    assert "press Start" in evaluate_view.overview([]) and "tab Models" in evaluate_view.leaderboard([])

"""The Evaluate tab without a browser: what it shows of evaluations, and who sees them."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
from evaluate_page import ADA, BOB, finished_one, page_home, shared_page  # noqa: F401  (fixtures)

from narrator import evaluation
from narrator.records import NarratorError, Score
from narrator.ui import evaluate_examples, evaluate_report, evaluate_view
from narrator.ui import evaluate_handlers as handlers
from narrator.ui.choosing import offered


def test_a_look_shows_what_changed_and_nothing_else(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handlers, "LIST_S", 3600.0)  # however slow this machine is
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
    assert evaluate_examples.examples(name, "tiny-captioner", "", "worst", 6, "")[1] is False
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
    assert "1,000 resamples of the rows" in html and "my &lt;set&gt;" in html and "<set>" not in html
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
    bins = tuple(evaluation.Bin(low=at / 4, high=at / 4 + 0.25, n=2, confidence=at / 4 + 0.1,
                                found=Score(value=at / 5, low=0.0, high=1.0))
                 for at in range(4))
    told = tuple(dataclasses.replace(one, calibration=bins) for one in made.variants)
    html = evaluate_report.report(dataclasses.replace(made, variants=told))
    assert set(made.scenes) >= {"animals"} and "How a row gets its type of scene" in html
    assert "<td>animal, dog, puppy" in html  # the rules themselves
    for caption in ("Share of successes by type of scene", "Every figure with its 95 % interval", "Calibration of"):
        assert caption in html
    assert "<td>20% (0% to 100%)</td>" in html
    assert html.count('class="plot"') == html.count("<caption>Calibration of") > 0
    titles = re.findall(r'<figure class="chart".*?<h3 id="([\w-]+)-title">', html)
    assert len(titles) == len(set(titles)) >= 4
    assert all(f'id="{title}-words"' in html for title in titles)


def test_examples_are_ordered_filtered_and_escaped(finished: Path) -> None:
    def rows(**choice: Any) -> list[str]:
        asked = {"variant": "tiny-captioner", "scene": "", "order": "worst", "count": 6, **choice}
        html, _ = evaluate_examples.examples(finished.name, asked["variant"], asked["scene"], asked["order"],
                                              asked["count"], "")
        assert "<b>" not in html
        return re.findall(r"<dt>People wrote</dt><dd>(.*?)</dd>", html)

    assert len(rows()) == 4 and "A &lt;b&gt;cat&lt;/b&gt; looks up. / A thing." in rows()
    known = evaluation.load_rows(finished)
    scores = {row.references[0]: row.scores["tiny-captioner"]["cider_d"] for row in known}
    found = [scores[text.split(" / ")[0].replace("&lt;", "<").replace("&gt;", ">")] for text in rows(order="best")]
    assert found == sorted(found, reverse=True)
    scene = next(row.scene for row in known)
    assert len(rows(scene=scene)) == sum(row.scene == scene for row in known)
    html, more = evaluate_examples.examples(finished.name, "tiny-captioner", "", "worst", 2, "")
    assert html.count("<li>") == 2 and more and html.count('src="data:image/jpeg') == 2
    assert evaluate_examples.examples(finished.name, "another", "", "worst", 2, "") == ("", False)


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
    html = evaluate_examples.leaderboard("")
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
    look = handlers.look("damaged", "")
    assert look.actions == {"resume", "remove"} and "is damaged" in (look.status or "")
    assert "Delete damaged" in handlers.question("damaged", "")
    assert "is deleted" in handlers.remove("damaged", "") and not folder.exists()


def test_there_is_something_to_do_where_there_is_nothing() -> None:
    assert "press Start" in evaluate_view.overview([]) and "tab Models" in evaluate_view.leaderboard([])

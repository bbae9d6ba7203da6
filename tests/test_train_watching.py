"""What the Train tab shows of a run: from events to curves, words, tables and milestones, without a browser."""

from __future__ import annotations

import argparse
import datetime
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image
from training import PRESET

from narrator.records import NarratorError
from trainer.commands.common import add_preset
from trainer.events import EventLog
from trainer.tab import charts, places, runs, runs_part, series, views
from trainer.tab.watching import Watch, watch

START = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
RUN = "tiny-20260101T000000Z"


def at(second: float) -> str:
    return (START + datetime.timedelta(seconds=second)).isoformat(timespec="milliseconds")


def step(number: int, total: int = 1000, loss: float | None = None) -> dict[str, Any]:
    return {"event": "step", "time": at(number), "stage": "tune", "step": number, "total_steps": total,
            "loss": 5.0 - number / total if loss is None else loss, "learning_rate": 1e-4, "examples_per_s": 41.25,
            "memory_bytes": 1_300_000_000}


def evaluation(number: int, score: float, picture: str | None = None, text: str = "a cat") -> dict[str, Any]:
    return {"event": "evaluation", "time": at(number), "stage": "tune", "step": number, "score": score,
            "scores": {"a.jsonl": {"cider_d": {"value": score, "low": score, "high": score}}},
            "samples": [{"index": 0, "image": picture, "prompt": "", "reference": "a <b>cat</b>", "base": "a dog",
                         "text": text}]}


BEGUN: list[dict[str, Any]] = [
    {"event": "started", "time": at(0)},
    {"event": "stage", "time": at(0), "stage": "tune", "steps": 1000, "total_steps": 1000}]


def write(folder: Path, events: list[dict[str, Any]]) -> None:
    with (folder / "events.jsonl").open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(event) + "\n" for event in events)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a run that nothing runs, among the runs of the page."""
    for name in ("NARRATOR_TRAINING", "SPACE_ID", "GRADIO_SERVER_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NARRATOR_RUNS", str(tmp_path / "runs"))
    folder = tmp_path / "runs" / RUN
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(PRESET))
    watch.cache_clear()
    return folder


@pytest.mark.parametrize("count", [1, 499, 500, 501, 12_345])
def test_a_curve_has_at_most_500_points_and_keeps_its_mean(count: int) -> None:
    line = series.Series()
    for number in range(1, count + 1):
        line.add(number, float(number))
    points = line.points()
    assert len(points) <= series.MOST and (count < 501 or len(points) > series.MOST // 2)
    assert [x for x, _ in points] == sorted(x for x, _ in points) and all(x == y for x, y in points)
    assert line.newest == (count, float(count)) and line.lowest == (1, 1.0) and line.highest == (count, float(count))


def test_after_a_resume_the_later_line_counts() -> None:
    line = series.Series()
    for number in range(1, 11):
        line.add(number, 1.0 if number < 9 else 0.1)
    line.add(8, 3.0)
    assert line.points() == [(float(number), 1.0) for number in range(1, 8)] + [(8.0, 3.0)]
    assert line.newest == (8, 3.0) and line.lowest == (1, 1.0) and line.highest == (8, 3.0)


def test_a_chart_has_a_name_words_and_a_table() -> None:
    line = series.Series()
    for number in range(1, 61):
        line.add(number, 6.0 / number)
    chart = charts.Chart(name="loss", title="Loss <now>", series=line, total=100, lower_is_better=True)
    drawn = charts.drawing(chart)
    assert 'role="img" aria-labelledby="loss-title" aria-describedby="loss-words"' in drawn
    assert "Loss &lt;now&gt;" in drawn and charts.words(chart) == "6 at step 1, 0.1 at step 60; lowest 0.1 at step 60."
    curve = re.search(r'class="curve" d="M([^"]+)"', drawn)
    assert curve is not None
    xs = [float(pair.split()[0]) for pair in curve[1].split("L")]
    assert len(xs) == 60 and xs[-1] == pytest.approx(600) and xs == sorted(xs)  # 60 of 100 steps, 1,000 wide
    rows = re.findall(r"<tr><td>([\d,]+)</td>", charts.table(chart))
    assert len(rows) == charts.ROWS and (rows[0], rows[-1]) == ("1", "60")
    empty = charts.Chart(name="x", title="x", series=series.Series(), total=0, lower_is_better=True)
    assert "Nothing to draw yet." in charts.drawing(empty) and charts.table(empty) == ""


def test_events_become_figures_and_milestones_as_they_come(run: Path) -> None:
    seen = Watch(run)
    write(run, [*BEGUN, *(step(number) for number in range(1, 101)), evaluation(100, 0.4)])
    seen.look()
    assert (seen.step, seen.total, seen.stage, seen.metric) == (100, 1000, "tune", "CIDEr-D")
    assert seen.steps_per_s() == pytest.approx(1.0) and seen.left_s() == pytest.approx(900)
    write(run, [step(101), evaluation(200, 0.48), evaluation(300, 0.44)])
    before = seen.version
    assert seen.look().version == before + 3
    assert seen.milestones[-3:] == ["Step 100 of 1,000. CIDEr-D 0.40, the first evaluation.",
                                    "Step 200 of 1,000. CIDEr-D 0.48, best so far.",
                                    "Step 300 of 1,000. CIDEr-D 0.44, best 0.48 at step 200."]
    assert seen.look().version == before + 3 and seen.samples[0].base == "a dog" and seen.sampled_at == 300
    with (run / "events.jsonl").open("a") as file:
        file.write('{"event": "step", "st')
    assert seen.look().version == before + 3  # a torn line waits for its end
    (run / "events.jsonl").write_text(json.dumps(step(1)) + "\n")
    assert seen.look().step == 1 and len(seen.loss.points()) == 1  # the file was replaced


def test_a_loss_that_decides_is_better_when_it_is_less(run: Path) -> None:
    answers = [{"event": "evaluation", "step": number, "score": -loss,
                "scores": {"a": {"loss_answer": {"value": loss}}}} for number, loss in ((10, 3.0), (20, 2.0))]
    write(run, [*BEGUN, *answers])
    seen = Watch(run).look()
    assert seen.lower_is_better and seen.score.newest == (20, 2.0)
    assert seen.milestones[-1] == "Step 20 of 1,000. Loss of the answer 2.00, best so far."


def test_the_event_says_what_is_measured_and_a_new_metric_begins_a_new_curve(run: Path) -> None:
    said = {"metric": "CIDEr-D", "higher_is_better": True}
    loss = {"metric": "loss of the answer", "higher_is_better": False}
    write(run, [*BEGUN, evaluation(0, 0.0) | {"score": None, "scores": {}}, evaluation(10, 0.3) | said | {"value": 0.3},
                evaluation(20, -2.5) | loss | {"value": 2.5}])
    seen = Watch(run).look()
    assert seen.milestones[-2:] == ["Step 10 of 1,000. CIDEr-D 0.30, the first evaluation.",
                                    "Step 20 of 1,000. Loss of the answer 2.50, the first evaluation."]
    assert seen.score.points() == [(20.0, 2.5)] and seen.lower_is_better and seen.evaluations == 3


def test_a_look_shows_what_changed_and_nothing_else(run: Path, tmp_path: Path) -> None:
    Image.new("RGB", (600, 400), (200, 20, 20)).save(tmp_path / "red.png")
    write(run, [*BEGUN, step(1), evaluation(100, 0.4, str(tmp_path / "red.png"), "<i>a cat</i>")])
    first = runs.look(RUN)
    assert first.actions == {"resume", "remove"} and "broke off at step 1" in str(first.status)
    assert first.choices == [("tiny, 2026-01-01 00:00 (broken off)", RUN)] and first.samples is not None
    assert "data:image/jpeg;base64," in first.samples[0] and "&lt;i&gt;a cat" in first.samples[0]
    assert "a &lt;b&gt;cat" in first.samples[0] and "Before training" in first.samples[0]
    again = runs.look(RUN, first.seen)
    assert all(getattr(again, name) is None for name in ("status", "facts", "curves", "tables", "samples", "log",
                                                         "overview", "choices", "actions", "report"))
    write(run, [step(101)])
    later = runs.look(RUN, again.seen)
    assert later.curves and later.facts and later.samples is None and later.tables is None and later.status is None
    assert later.log is None  # it has said nothing
    (run / "log.txt").write_text("tiny: step 101 of 1,000\n")
    said = runs.look(RUN, later.seen | {"tabled": later.seen["tabled"] - runs.TABLES_S})
    assert "step 101 of" in str(said.log) and said.curves is said.tables is None
    write(run, [step(102)])
    later = runs.look(RUN, said.seen)
    assert "<td>102</td>" in str(later.tables) and later.log is None and later.samples is None  # the table keeps up
    write(run, [evaluation(200, 0.5)])
    told = runs.look(RUN, later.seen)
    assert "CIDEr-D 0.50, best so far" in str(told.status) and told.samples and told.tables
    assert runs.look(RUN, told.seen).status is None  # told once


ENDS = [("failed", "Not enough memory: lower the batch size.", {"resume", "remove"}, "Not enough memory"),
        ("stopped", "", {"resume", "remove"}, "is stopped at step 7. Resume goes on"),
        (None, "", {"resume", "remove"}, "broke off at step 7")]


@pytest.mark.parametrize(("event", "message", "actions", "says"), ENDS, ids=[str(row[0]) for row in ENDS])
def test_how_a_run_stands_is_told_and_what_can_be_done(run: Path, event: str | None, message: str, actions: set[str],
                                                       says: str) -> None:
    write(run, [*BEGUN, step(7)])
    if event is not None:
        with EventLog(run / "events.jsonl") as log:
            log.append(event, message=message)
    look = runs.look(RUN)
    assert look.actions == actions and says in str(look.status) and not look.live


def test_a_finished_run_leads_to_its_variant(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = tmp_path / "checkpoints" / "tiny"
    made.mkdir(parents=True)
    manifest = {"id": "tiny", "title": "Tiny <one>", "family": "encoder_decoder", "source": ".",
                "inputs": {"image": True, "text": False}}
    (made / "variant.yaml").write_text(yaml.safe_dump(manifest))
    score = {"value": 0.5, "low": 0.25, "high": 0.75}
    (made / "metrics.json").write_text(json.dumps({"scores": {"uploads/x/captions.jsonl": {"cider_d": score}}}))
    monkeypatch.setenv("NARRATOR_CHECKPOINTS", str(made.parent))
    write(run, [*BEGUN, step(1000), {"event": "done", "variant": "tiny"}])
    (run / "variant.yaml").write_text(yaml.safe_dump(manifest | {"source": str(made)}))
    look = runs.look(RUN)
    assert look.actions == {"narrate", "remove"} and runs.made_by(RUN) == "tiny"
    assert "Tiny &lt;one&gt; is trained" in str(look.status)
    assert "the held-out pictures of the upload" in str(look.report) and "0.500 (0.250 to 0.750)" in str(look.report)
    (made / "variant.yaml").unlink()
    assert runs.made_by(RUN) is None and runs.look(RUN).actions == {"remove"}


@pytest.mark.parametrize("name", [None, "", "..", f"../runs/{RUN}", "/etc", "gone-20260101T000000Z"])
def test_only_runs_of_the_list_are_opened(run: Path, name: str | None) -> None:
    with pytest.raises(NarratorError, match="not there any more"):
        runs.folder_of(name)
    look = runs.look(name)
    assert look.facts == "" and look.actions == set()
    for line in (runs.stop(name), runs.resume(name), runs.remove(name), runs.move(name, 1)):
        assert "Problem" in line


def test_a_page_where_training_is_off_changes_no_run(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NARRATOR_TRAINING", "off")
    for line in (runs.stop(RUN), runs.resume(RUN), runs.remove(RUN)):
        assert places.OFF.split(".")[0] in line
    assert run.is_dir()
    monkeypatch.setenv("NARRATOR_TRAINING", "on")
    assert "is removed" in runs.remove(RUN) and not run.exists()


def test_findings_are_told_by_level_and_escaped() -> None:
    told = {"findings": [{"level": "ok", "what": "Fine."},
                         {"level": "error", "what": "Bad <row>.", "remedy": "Mend it.", "file": "a.csv", "line": 3}],
            "samples": [{"image": None, "texts": ["a <b>"]}], "memory_bytes": 2 * 10**9, "seconds": 90, "stages": []}
    html = views.findings(told)
    assert html.index("Problem: ") < html.index("Good: ") and "Bad &lt;row&gt;. (a.csv, line 3)" in html
    assert "about 2 min, 2.0 GB of memory" in html and "a &lt;b&gt;" in html


def test_names_are_for_people() -> None:
    assert views.title("my-captioner-20261121T153938Z-2") == "my-captioner, 2026-11-21 15:39 (2)"


def test_a_run_is_looked_at_every_second() -> None:
    assert runs_part.pause_s(runs.Look(seen={}, running=True, live=True)) <= 1.0
    assert runs_part.pause_s(runs.Look(seen={}, live=True)) <= 2.0


def test_commands_mean_the_folders_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NARRATOR_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("NARRATOR_CHECKPOINTS", str(tmp_path / "models"))
    parser = argparse.ArgumentParser()
    add_preset(parser)
    options = parser.parse_args(["preset.yaml"])
    assert (options.runs, options.checkpoints) == (places.runs_folder(), places.variants_folder())

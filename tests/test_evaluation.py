"""Evaluations: folders that are carried out, stopped, killed and resumed, and what their reports say."""

import csv
import json
import threading
from pathlib import Path
from typing import Any

import pytest
from evaluated import TRUE, done, dozen, figures, plan, three_tellers  # noqa: F401  (fixtures)
from plumbing import Sayer

from narrator.evaluate import evaluate
from narrator.evaluation import (
    Plan,
    Report,
    ask_to_stop,
    compare,
    create,
    examples,
    figure,
    load_report,
    load_rows,
    look_at,
    run,
    state_of,
)
from narrator.evaluation.folder import whole_lines
from narrator.evaluation.scoring import THRESHOLDS
from narrator.records import NarratorError


def test_from_plan_to_report(tellers: Path, data: Path, tmp_path: Path) -> None:
    """One evaluation of three variants: states and progress, then all that the report holds."""
    looked = look_at(data, "dev")
    assert (looked.rows, looked.what, looked.splits, looked.bad_rows) == (13, "pictures", {"dev": 13}, 1)
    folder = create(plan(data), tmp_path / "evaluations")
    assert (state_of(folder).state, state_of(folder).total) == ("new", 39)
    seen: list[tuple[int, int, str]] = []
    report = done(run(folder, lambda now, total: seen.append((now, total, state_of(folder).state))))
    assert [step[:2] for step in seen] == [(now, 39) for now in (4, 8, 12, 13, 17, 21, 25, 26, 30, 34, 38, 39)]
    assert {step[2] for step in seen} == {"running", "scoring"}
    assert (state_of(folder).state, state_of(folder).done) == ("done", 39)
    assert report == load_report(folder) and (report.n_rows, report.bad_rows) == (13, 1)
    check_figures(report, data)
    check_comparisons(report, folder)
    check_success(report)
    check_rows_and_files(folder)
    assert str(tmp_path) not in (folder / "report.md").read_text()


def check_figures(report: Report, data: Path) -> None:
    right, near, dull = (figures(report)[name] for name in ("right", "near", "dull"))
    assert [(one.n, one.left_out, one.license) for one in report.variants] == [(12, 1, "Apache-2.0")] * 3
    assert [right[name].value for name in ("bleu_4", "rouge_2", "words_found")] == pytest.approx([1, 1, 1])
    assert right["hallucination_i"].value == 0 and dull["hallucination_s"].value == 1  # no zebra anywhere
    assert right["cider_d"].value > near["cider_d"].value > dull["cider_d"].value
    assert dull["vocabulary"].value == 4 and dull["distinct_1"].value == pytest.approx(4 / 60)
    assert near["confidence"].value == pytest.approx(0.72)
    plainly = evaluate("near", data, split="dev").scores
    assert {name: near[name] for name in plainly} == plainly  # the same as without a folder
    for one in report.variants:
        assert {"tokens_per_second", "seconds_per_row", "memory"} == set(one.measured)
        assert all(score.low <= score.value <= score.high for score in (*one.scores.values(), *one.measured.values()))


def check_comparisons(report: Report, folder: Path) -> None:
    verdicts = {(one.first, one.second, one.metric): one.verdict for one in report.comparisons}
    assert verdicts["right", "dull", "cider_d"] == verdicts["right", "dull", "hallucination_s"] == "worse"
    assert verdicts["right", "dull", "repetition"] == "cannot tell"
    assert {one.metric for one in compare(folder, "near", "right")} == {name for *_, name in verdicts}
    assert ("right", "dull", "adjective_precision") not in verdicts  # dull has no adjective
    assert not any(figure(one.metric).higher_is_better is None for one in report.comparisons)


def check_success(report: Report) -> None:
    best, worst = report.variants[0].success["all"], report.variants[2].success["all"]
    assert (best.n, best.share.value, worst.share.value) == (12, 1.0, 0.0)
    assert best.chance is not None and best.chance.value < 0.5 and best.chance.low <= best.chance.high < 1
    assert best.people is not None and best.people.value == 0.0 < best.people.high  # of twelve, with Wilson's interval
    assert set(report.scenes) >= {"sport", "animals"} and report.thresholds == THRESHOLDS
    assert sum(part.n for part in report.variants[1].calibration) == 12
    assert "meteor" in report.said and "clip_score" in report.said


def check_rows_and_files(folder: Path) -> None:
    rows = load_rows(folder)
    assert [row.where for row in rows][:2] == ["captions.jsonl, line 1", "captions.jsonl, line 2"]
    assert "not a picture" in rows[3].errors["dull"] and rows[0].hallucinated["dull"] == ("man", "zebra")
    assert [row.row for row in examples(rows, "near", "words_found", worst=False, n=2)] == [0, 1]
    picked = examples(rows, "dull", "confidence", scene="animals", worst=True)
    assert picked and {row.scene for row in picked} == {"animals"}
    table = list(csv.DictReader((folder / "scores.csv").open(encoding="utf-8")))
    assert len(table) == 39 and table[0]["text"] == TRUE[0] and float(table[0]["words_found"]) == 1
    text = (folder / "report.md").read_text()
    for part in ("CIDEr-D", "Vedantam", "cannot tell", "Success by type of scene", "| sport | 1 |", "By chance",
                 "Efron 1979"):
        assert part in text, part


def test_stopped_killed_torn_and_resumed_it_ends_the_same(tellers: Path, data: Path, tmp_path: Path) -> None:
    root = tmp_path / "evaluations"
    whole = figures(done(run(create(plan(data), root))))
    folder = create(plan(data), root)
    stop = threading.Event()
    assert run(folder, lambda now, total: stop.set() if now >= 17 else None, stop) is None
    state = state_of(folder)
    assert (state.state, state.done, state.total) == ("stopped", 17, 39) and "resume" in state.message
    with pytest.raises(NarratorError, match="no report yet"):
        load_report(folder)
    results = folder / "results.jsonl"
    lines = results.read_bytes().splitlines(keepends=True)
    results.write_bytes(b"".join(lines[:14]) + lines[14][:30])  # as a power cut would leave it, within a batch
    assert state_of(folder).done == 14
    assert run(folder, lambda now, total: ask_to_stop(folder) if now == 25 else None) is None  # as another process may
    Sayer.batches.clear()
    again = done(run(folder))
    assert figures(again) == whole and Sayer.batches == [1, 3, 4, 4, 1]  # near's last row, then dull's good ones
    keys = [(line["variant"], line["row"]) for line in whole_lines(results)]
    assert len(keys) == len(set(keys)) == 39 and results.read_bytes().endswith(b"}\n")
    Sayer.batches.clear()
    assert run(folder) == again and not Sayer.batches  # what is done is not done again


def test_ctrl_c_leaves_it_resumable_and_rows_that_all_fail_are_told(tellers: Path, data: Path, tmp_path: Path) -> None:
    folder = create(plan(data, "dull"), tmp_path / "evaluations")

    def pressed(now: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(folder, pressed)
    assert (state_of(folder).state, state_of(folder).done) == ("stopped", 4)
    assert done(run(folder)).variants[0].n == 12
    for picture in (data.parent / "images").glob("*.png"):
        picture.write_bytes(b"no picture")
    empty = create(plan(data, "dull"), tmp_path / "evaluations")
    with pytest.raises(NarratorError, match=r"Not one of 13 rows could be used; the first: .*not a picture"):
        run(empty)
    assert state_of(empty).state == "failed"


def test_two_runs_give_the_same_files(tellers: Path, data: Path, tmp_path: Path) -> None:
    made = []
    for _ in range(2):
        folder = create(plan(data, "near", limit=6), tmp_path / "evaluations")
        run(folder)
        values = json.loads((folder / "metrics.json").read_text())
        for one in values["variants"].values():
            del one["measured"]  # seconds and bytes
        made.append((values, (folder / "scores.csv").read_text(), (folder / "rows.jsonl").read_text()))
    assert made[0] == made[1]
    other = figures(done(run(create(plan(data, "near", limit=6, seed=1), tmp_path / "evaluations"))))
    score, first = other["near"]["cider_d"], made[0][0]["variants"]["near"]["scores"]["cider_d"]
    assert score.value == first["value"] and score.low != first["low"]


def test_a_variant_that_cannot_run_is_named_and_the_others_go_on(tellers: Path, data: Path, tmp_path: Path) -> None:
    (tellers / "near" / "model-00001-of-00002.safetensors").write_bytes(b"damaged")
    folder = create(plan(data), tmp_path / "evaluations")
    report = done(run(folder))
    assert [one.variant for one in report.variants] == ["right", "dull"] and "are damaged" in report.problems["near"]
    assert {(one.first, one.second) for one in report.comparisons} == {("right", "dull")}
    assert (state_of(folder).done, state_of(folder).total) == (26, 26)
    alone = create(plan(data, "near"), tmp_path / "evaluations")
    with pytest.raises(NarratorError, match="are damaged"):
        run(alone)
    assert state_of(alone).state == "failed" and "are damaged" in state_of(alone).message


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"variants": ()}, "at least one model"), ({"variants": ("dull", "dull")}, "named twice"),
    ({"variants": tuple(f"v{n}" for n in range(13))}, "12 at most"), ({"variants": ("dul",)}, "Did you mean 'dull'"),
    ({"split": "test"}, "no row of split 'test'; it has: dev"), ({"data": Path("nowhere")}, "There is no data at"),
    ({"limit": 0}, "must be 1 or more"),
]


@pytest.mark.parametrize(("change", "reason"), REFUSED, ids=[case[1] for case in REFUSED])
def test_a_plan_that_cannot_be_carried_out_is_refused(tellers: Path, data: Path, tmp_path: Path,
                                                      change: dict[str, Any], reason: str) -> None:
    with pytest.raises(NarratorError, match=reason):
        create(Plan(**{"variants": ("dull",), "data": data, **change}), tmp_path / "e")
    assert not (tmp_path / "e").exists() or not list((tmp_path / "e").iterdir())



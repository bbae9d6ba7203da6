"""Evaluations: folders that are carried out, stopped, killed and resumed, and what their reports say."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from command_line import ROOT, environment, narrator, sentence
from PIL import Image
from plumbing import Sayer, write_checkpoint
from tiny_families import save_causal, save_image_gpt

from narrator.engine import shared_engine
from narrator.evaluate import evaluate
from narrator.evaluation import (
    FIGURES,
    GROUPS,
    Evaluation,
    Plan,
    Report,
    ask_to_stop,
    compare,
    create,
    evaluations_folder,
    examples,
    figure,
    leaderboard,
    list_evaluations,
    load_report,
    load_rows,
    look_at,
    remove,
    run,
    shown,
    state_of,
    to_card,
)
from narrator.evaluation.folder import append, whole_lines
from narrator.evaluation.making import answers
from narrator.evaluation.scoring import THRESHOLDS
from narrator.hub.cards import card_of, measured
from narrator.records import NarratorError, Piece, Score
from narrator.settings import GenerationSettings

WIDTHS = range(40, 52)
TRUE = ["A brown dog runs over the grass.", "Two boys play football in a park.", "A woman sits on a wooden bench.",
        "A red car drives down the street.", "A cat sleeps on a couch.", "A surfer rides a big wave."] * 2
SETTINGS = GenerationSettings(num_beams=1, max_new_tokens=8)


class Teller(Sayer):
    """Says what its config.json holds for the width of a picture: `words` is [[text, probability], ...]."""

    def batch(self, images: Sequence[Image.Image | None], prompts: Sequence[str], settings: Any) -> list[list[Piece]]:
        Sayer.batches.append(len(images))
        time.sleep(self.step_s)
        said = [self.words[(image.width if image is not None else 40) - WIDTHS.start] for image in images]
        return [[Piece(text=text, probability=probability, tokens=len(text.split()))] for text, probability in said]


@pytest.fixture
def tellers(sayer: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Three variants: one says a reference, one something near it, one always the same."""
    from narrator.families import FAMILIES

    monkeypatch.setitem(FAMILIES, "teller", "test_evaluation:Teller")
    folder = tmp_path / "checkpoints"
    near = [text.replace("A ", "The ").replace("big ", "") for text in TRUE]
    for name, texts in (("right", TRUE), ("near", near), ("dull", ["A man and a zebra."] * len(TRUE))):
        write_checkpoint(folder, name, family="teller", license="Apache-2.0",
                         words=[[text, 0.5 + 0.04 * at] for at, text in enumerate(texts)])
    monkeypatch.setenv("NARRATOR_CHECKPOINTS", str(folder))
    shared_engine().close()
    yield folder
    shared_engine().close()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A dozen pictures, each as wide as no other, with two captions each; and one file that is no picture."""
    folder = tmp_path / "data"
    (folder / "images").mkdir(parents=True)
    rows = []
    for width, text in zip(WIDTHS, TRUE, strict=True):
        picture = Image.new("RGB", (width, 32), (width, 200, 90))
        picture.paste((250, 20, 20), (5, 5, 20, 20))
        picture.save(folder / "images" / f"{width}.png")
        captions = [text, "Something brown on the grass."]
        rows.append({"image": f"images/{width}.png", "captions": captions, "split": "dev"})
    (folder / "images" / "bad.png").write_bytes(b"no picture")
    rows.insert(3, {"image": "images/bad.png", "captions": ["Bad."], "split": "dev"})
    path = folder / "captions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + "not json\n")
    return path


def plan(data: Path, *variants: str, **more: Any) -> Plan:
    return Plan(**{"variants": variants or ("right", "near", "dull"), "data": data, "split": "dev", "batch_size": 4,
                   "java": False, "clip": False, **more})


def figures(report: Report) -> dict[str, dict[str, Score]]:
    return {one.variant: one.scores for one in report.variants}


def done(report: Report | None) -> Report:
    assert report is not None
    return report


def test_from_plan_to_report(tellers: Path, data: Path, tmp_path: Path) -> None:
    """One evaluation of three variants: states, progress, figures, comparisons, success, rows, files."""
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

    verdicts = {(one.first, one.second, one.metric): one.verdict for one in report.comparisons}
    assert verdicts["right", "dull", "cider_d"] == verdicts["right", "dull", "hallucination_s"] == "worse"
    assert verdicts["right", "dull", "repetition"] == "cannot tell"
    assert {one.metric for one in compare(folder, "near", "right")} == {name for *_, name in verdicts}
    assert ("right", "dull", "adjective_precision") not in verdicts  # dull has no adjective
    assert not any(figure(one.metric).higher_is_better is None for one in report.comparisons)

    best, worst = report.variants[0].success["all"], report.variants[2].success["all"]
    assert (best.n, best.share.value, worst.share.value) == (12, 1.0, 0.0) and best.people == 0.0
    assert best.chance is not None and best.chance < 0.5
    assert set(report.scenes) >= {"sport", "animals"} and report.thresholds == THRESHOLDS
    assert sum(part.n for part in report.variants[1].calibration) == 12
    assert "meteor" in report.said and "clip_score" in report.said

    rows = load_rows(folder)
    assert [row.where for row in rows][:2] == ["captions.jsonl, line 1", "captions.jsonl, line 2"]
    assert "not a picture" in rows[3].errors["dull"] and rows[0].hallucinated["dull"] == ("man", "zebra")
    assert [row.row for row in examples(rows, "near", "words_found", worst=False, n=2)] == [0, 1]
    picked = examples(rows, "dull", "confidence", scene="animals", worst=True)
    assert picked and {row.scene for row in picked} == {"animals"}
    table = list(csv.DictReader((folder / "scores.csv").open(encoding="utf-8")))
    assert len(table) == 39 and table[0]["text"] == TRUE[0] and float(table[0]["words_found"]) == 1
    text = (folder / "report.md").read_text()
    for part in ("CIDEr-D", "Vedantam", "cannot tell", "Success by type of scene", "| sport | 1 |", "By chance"):
        assert part in text, part
    assert str(tmp_path) not in text


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


def test_formats_and_who_may_read_what(tellers: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
                                       ) -> None:
    """COCO, Karpathy, CSV and folders; a stranger's pictures only from below their own folder, and kept."""
    home = data.parent
    names = [f"{width}.png" for width in WIDTHS][:3]
    coco = {"images": [{"id": at, "file_name": name} for at, name in enumerate(names)],
            "annotations": [{"image_id": at, "caption": TRUE[at]} for at in range(3)]}
    (home / "coco.json").write_text(json.dumps(coco))
    split = {"images": [{"filename": name, "split": "val", "sentences": [{"raw": TRUE[at]}]}
                        for at, name in enumerate(names)]}
    (home / "karpathy.json").write_text(json.dumps(split))
    (home / "table.csv").write_text("image,caption\n" + "".join(f"images/{name},{TRUE[at]}\n"
                                                              for at, name in enumerate(names)))
    for at, name in enumerate(names):
        (home / "images" / name).with_suffix(".txt").write_text(TRUE[at])
    found = []
    for name, part in (("coco.json", None), ("karpathy.json", "val"), ("table.csv", None), ("images", None)):
        found.append(figures(done(run(create(plan(home / name, "near", split=part), tmp_path / "e"))))["near"])
    assert found[0] == found[1] == found[2] == found[3]

    outside = tmp_path / "secret.png"
    Image.new("RGB", (40, 30), "red").save(outside)
    rows = [{"image": "../secret.png", "captions": ["a"]}, {"image": str(outside), "captions": ["a"]},
            {"image": "images/40.png", "captions": [TRUE[0]]}]
    (home / "theirs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert look_at(home / "theirs.jsonl").rows == 3  # one's own
    looked = look_at(home / "theirs.jsonl", inside=True)
    assert looked.rows == 1 and looked.bad_rows == 2 and "secret" in looked.bad[0]
    kept = create(plan(home / "theirs.jsonl", "right", split=None), tmp_path / "e", keep=True)
    shutil.rmtree(home)  # an upload that is gone
    assert done(run(kept)).variants[0].n == 1 and load_rows(kept)[0].image == kept / "pictures" / "000000.png"

    monkeypatch.setenv("NARRATOR_HISTORY", str(tmp_path / "history"))
    monkeypatch.setenv("NARRATOR_EVALUATIONS", str(tmp_path / "mine"))
    assert evaluations_folder() == tmp_path / "mine"
    one, other = evaluations_folder("a" * 43), evaluations_folder("b" * 43)
    assert one != other and one.is_relative_to(tmp_path / "history") and "a" * 43 not in str(one)


def test_prompts_and_classes_have_the_figures_that_evaluate_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch
                                                                  ) -> None:
    """Real (tiny, random) models; resumed in the middle."""
    save_causal(tmp_path / "c" / "talker", "gpt2")
    save_image_gpt(tmp_path / "c" / "digits")
    monkeypatch.setenv("NARRATOR_CHECKPOINTS", str(tmp_path / "c"))
    prompts = [{"prompt": f"the {word}", "references": [f"A {word} runs.", "the cat sits"], "answer": f"A {word} runs."}
               for word in ("dog", "cat", "man", "boy", "red")]
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in prompts))
    for number in range(6):
        picture = Image.new("L", (8, 8), 0)
        picture.paste(200, (number, 1, number + 2, 7))
        picture.save(tmp_path / f"{number}.png")
    (tmp_path / "digits.jsonl").write_text("".join(
        json.dumps({"image": f"{number}.png", "label": number}) + "\n" for number in range(6)))
    for name, data, settings in (("talker", "prompts", SETTINGS), ("digits", "digits", GenerationSettings())):
        expected = evaluate(name, tmp_path / f"{data}.jsonl", settings=settings).scores
        folder = create(Plan(variants=(name,), data=tmp_path / f"{data}.jsonl", settings=settings, batch_size=2,
                             java=False, clip=False), tmp_path / "e")
        stop = threading.Event()
        assert run(folder, lambda now, total, stop=stop: stop.set(), stop) is None  # type: ignore[misc]
        found = figures(done(run(folder)))[name]
        assert expected.keys() - found.keys() <= {"shuffled_accuracy"}
        for metric in expected.keys() & found.keys():
            assert found[metric].value == pytest.approx(expected[metric].value, rel=1e-4), metric
    assert "accuracy" in found and load_rows(folder)[0].label == 0


def test_leaderboard_and_card(tellers: Path, data: Path, tmp_path: Path) -> None:
    root = tmp_path / "evaluations"
    assert {one.evaluation for one in leaderboard(root)} == {""}
    report = done(run(create(plan(data, "dull", "right"), root)))
    votes = {"near": (Score(value=0.7, low=0.5, high=0.8), 9)}
    board = leaderboard(root, votes)
    assert [one.variant for one in board][:2] == ["right", "dull"] and board[0].data == "data/captions.jsonl, dev"
    near = next(one for one in board if one.variant == "near")
    assert near.votes == 9 and near.rating == votes["near"][0] and not near.evaluation
    assert board[0].scores["cider_d"] == figures(report)["right"]["cider_d"] and board[0].memory is not None
    assert board[0].license == "Apache-2.0" and board[0].seconds_per_row is not None
    newer = done(run(create(plan(data, "right"), root)))
    assert next(one for one in leaderboard(root) if one.variant == "right").evaluation == newer.folder.name

    (tellers / "right" / "metrics.json").write_text(json.dumps({"stages": [1], "scores": {"other": {}}}))
    folder = to_card(report, "right")
    kept = json.loads((folder / "metrics.json").read_text())
    assert kept["stages"] == [1] and set(kept["scores"]) == {"other", "data/captions.jsonl, dev"}
    assert measured(folder)["data/captions.jsonl, dev"]["cider_d"]["value"] == pytest.approx(
        figures(report)["right"]["cider_d"].value)
    from narrator.catalog import find_variant

    card = card_of(find_variant("right"), folder)
    assert "model-index" in card and "type: hallucination_i" in card
    with pytest.raises(NarratorError, match="not in this report"):
        to_card(report, "near")


def test_damaged_folders_are_told_and_removed(tellers: Path, data: Path, tmp_path: Path) -> None:
    root = tmp_path / "evaluations"
    assert list_evaluations(root) == []
    folder = create(plan(data, "dull"), root)
    append(folder / "results.jsonl", [{"variant": "dull", "row": 0, "text": "A.", "seconds": 1, "batch": 0}])
    assert state_of(folder).state == "interrupted" and set(answers(folder)["dull"]) == {0}
    (folder / "plan.json").write_text("{")
    broken: Evaluation = list_evaluations(root)[0]
    assert broken.state == "failed" and "damaged" in broken.message
    with pytest.raises(NarratorError, match="damaged"):
        run(folder)
    remove(folder)
    assert not folder.exists()
    with pytest.raises(NarratorError, match="not an evaluation"):
        remove(folder)
    with pytest.raises(NarratorError, match="not an evaluation"):
        state_of(folder)


def test_every_figure_says_what_it_is() -> None:
    assert len(FIGURES) > 30
    for one in (*FIGURES.values(), figure("accuracy_colour"), figure("majority_place"), figure("top_3_accuracy")):
        assert one.title and one.formula and one.source and one.group in GROUPS, one
    assert shown("words", Score(value=8.94, low=8, high=9)) == "8.9 (8.0 to 9.0)"


def test_command(tellers: Path, data: Path, tmp_path: Path) -> None:
    """Several variants into a folder; the same folder again is refused, --resume shows the report."""
    out, common = tmp_path / "out", ("--split", "dev", "--no-java", "--no-clip", "--json")
    made = narrator("evaluate", "--variant", "near", "--variant", "dull", "--data", data, *common, "--out", out,
                    checkpoints=tellers)
    assert made.returncode == 0, made.stderr
    answer = json.loads(made.stdout)
    assert set(answer["variants"]) == {"near", "dull"} and answer["n"] == 13
    assert {one["verdict"] for one in answer["comparisons"]} <= {"better", "worse", "cannot tell"}
    again = narrator("evaluate", "--variant", "near", "--data", data, *common, "--out", out, checkpoints=tellers)
    assert "go on with it (--resume)" in sentence(again)
    resumed = narrator("evaluate", "--out", out, "--resume", "--to-card", checkpoints=tellers)
    assert resumed.returncode == 0 and "## Compared" in resumed.stdout
    assert measured(tellers / "near")
    assert "is not an evaluation" in sentence(narrator("evaluate", "--out", tmp_path, "--resume"))
    assert "Say which evaluation" in sentence(narrator("evaluate", "--resume"))


def test_killed_and_resumed_by_command(tiny_checkpoints: Path, tmp_path: Path) -> None:
    """SIGKILL of a real process in the middle; then the same figures as without, and no row twice."""
    for width in WIDTHS:
        picture = Image.new("RGB", (width, 40), (width * 4, 200, 90))
        picture.paste((250, 20, width), (width % 7, 5, 20, 20))
        picture.save(tmp_path / f"{width}.png")
    data = tmp_path / "captions.jsonl"
    rows = [{"image": f"{width}.png", "prompt": "", "captions": [TRUE[at % 6]]} for at, width in enumerate(WIDTHS)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = ("--variant", "tiny-captioner", "--data", data, "--batch-size", 1, "--max-new-tokens", 8, "--no-java",
             "--no-clip", "--json")
    out = tmp_path / "out"
    command = [sys.executable, "-m", "narrator", "evaluate", *map(str, given), "--out", str(out)]
    with subprocess.Popen(command, cwd=ROOT, env=environment(tiny_checkpoints), stdout=subprocess.DEVNULL) as process:
        results = out / "results.jsonl"
        until = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < until:
            if results.exists() and results.read_bytes().count(b"\n") >= 3:
                break
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL)
    before = state_of(out)
    assert before.state in ("interrupted", "done") and before.done >= 3
    resumed = narrator("evaluate", "--out", out, "--resume", "--json", checkpoints=tiny_checkpoints)
    fresh = narrator("evaluate", *given, "--out", tmp_path / "fresh", checkpoints=tiny_checkpoints)
    assert resumed.returncode == fresh.returncode == 0, resumed.stderr + fresh.stderr
    one, other = (json.loads(made.stdout)["variants"]["tiny-captioner"]["scores"] for made in (resumed, fresh))
    assert one == other
    rows_done = [line["row"] for line in whole_lines(results)]
    assert sorted(rows_done) == list(range(12))

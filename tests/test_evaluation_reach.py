"""Evaluations of every format and kind of variant, their leaderboard, and the command."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from command_line import ROOT, environment, narrator, sentence
from evaluated import SETTINGS, TRUE, WIDTHS, done, dozen, figures, plan, three_tellers  # noqa: F401  (fixtures)
from PIL import Image
from tiny_families import save_causal, save_image_gpt

from narrator.evaluate import evaluate
from narrator.evaluation import (
    FIGURES,
    GROUPS,
    Evaluation,
    Plan,
    create,
    evaluations_folder,
    figure,
    leaderboard,
    list_evaluations,
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
from narrator.hub.cards import card_of, measured
from narrator.records import NarratorError, Score
from narrator.settings import GenerationSettings


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

"""evaluate(): rows of a JSONL file, measured with real (tiny, random) models; and the command around it."""

import dataclasses
import json
import logging
import math
import shutil
from pathlib import Path

import pytest
from command_line import narrator, process, sentence
from PIL import Image
from tiny_families import save_causal

from narrator.evaluate import evaluate, rows_of
from narrator.held_out import CAPTIONS, CLASSES, PROMPTS, QUESTIONS, read_held_out
from narrator.metrics.scores import caption_scores
from narrator.narrate import describe_many
from narrator.records import Narration, NarratorError
from narrator.settings import GenerationSettings

VARIANT = "tiny-captioner"
FAST = GenerationSettings(num_beams=1, max_new_tokens=8)


@pytest.fixture(autouse=True)
def checkpoints(tiny_checkpoints: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NARRATOR_CHECKPOINTS", str(tiny_checkpoints))
    return tiny_checkpoints


def picture(path: Path, seed: int) -> None:
    """A small picture with something on it: stripes of two colours."""
    path.parent.mkdir(exist_ok=True)
    image = Image.new("RGB", (64, 48), (40 * seed % 256, 200, 90))
    for x in range(seed % 7, 64, 9):
        image.paste((255 - 30 * seed % 256, 20, 30 * seed % 256), (x, 0, x + 4, 48))
    image.save(path)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Six rows, of which two are dev; pictures beside the file."""
    rows = []
    for number in range(6):
        picture(tmp_path / "images" / f"{number}.png", number)
        rows.append({"image": f"images/{number}.png", "split": "dev" if number > 3 else "train",
                     "captions": [f"a dog runs in street {number}", "the red cat sits"]})
    path = tmp_path / "captions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_scores_are_those_of_the_descriptions(data: Path) -> None:
    seen: list[tuple[int, int]] = []
    report = evaluate(VARIANT, data, settings=FAST, batch_size=4, progress=lambda *step: seen.append(step))
    rows = rows_of(data)
    described = describe_many(VARIANT, [row.image for row in rows], settings=FAST)
    texts = {row.line: made.text for row, made in zip(rows, described, strict=True) if isinstance(made, Narration)}
    assert len(texts) == 6
    assert report.scores == caption_scores({row.line: row.texts for row in rows}, texts)
    assert (report.variant_id, report.data, report.n) == (VARIANT, str(data), 6) and report.seconds > 0
    assert seen == [(done, 6) for done in range(1, 7)]


def test_split_and_limit(data: Path) -> None:
    assert evaluate(VARIANT, data, split="dev", settings=FAST).n == 2
    assert evaluate(VARIANT, data, limit=3, settings=FAST).n == 3
    assert evaluate(VARIANT, data, split="train", limit=100, settings=FAST).n == 4
    assert [row.line for row in rows_of(data, "dev")] == [5, 6]


BAD_ROWS = [("{not json", "not JSON"), ("[1, 2]", "must be a JSON object"), ('{"captions": ["a"]}', "neither 'image'"),
            ('{"image": 5, "captions": ["a"]}', "path of a picture"), ('{"image": "images/0.png"}', "has no captions"),
            ('{"image": "images/0.png", "captions": []}', "has no captions"),
            ('{"image": "images/0.png", "captions": "a dog"}', "'captions' must be"),
            ('{"image": "images/0.png", "captions": [null]}', "caption 1 must be a text"),
            ('{"image": "images/0.png", "captions": ["a"], "split": 5}', "'split' must be"),
            ('{"image": "images/0.png", "references": ["red"], "kind": "colour"}', "what is asked?"),
            ('{"image": "images/0.png", "label": "seven"}', "'label' must be a whole number"),
            ('{"label": 7, "prompt": "read"}', "has no 'image'"),
            ('{"image_id": 5, "captions": ["a"]}', "no 'image' and no prompt"),
            ('{"prompt": "a dog", "references": ["a"], "max_tokens": 1}', "'max_tokens' must be"),
            ('{"image": "images/none.png", "captions": ["a"]}', "There is no file"),
            ('{"image": "captions.jsonl", "captions": ["a"]}', "not a picture"),
            ('{"image": "images", "captions": ["a"]}', "is a folder")]


def test_bad_rows_and_pictures_are_named_and_left_out(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    clean = evaluate(VARIANT, data, settings=FAST)
    with data.open("a") as file:
        file.write("\n" + "".join(row + "\n" for row, _ in BAD_ROWS))  # an empty line is no row
    with caplog.at_level(logging.WARNING, "narrator.evaluate"):
        report = evaluate(VARIANT, data, settings=FAST)
    assert (report.n, report.scores) == (6, clean.scores)
    messages = [record.getMessage() for record in caplog.records]
    for line, (_, reason) in enumerate(BAD_ROWS, start=8):
        assert any(f"line {line}: " in message and reason in message for message in messages), (line, reason, messages)
    assert "3 of 9 pictures are left out" in messages[-1]


def test_rows_of_one_picture_are_one_and_questions_stay_apart(data: Path) -> None:
    rows = [{"image": "images/0.png", "caption": "one"}, {"image": "images/0.png", "references": ["two", "three"]},
            {"image": "images/0.png", "prompt": "What?", "kind": "place", "references": ["here"]},
            {"image": "images/0.png", "prompt": "What?", "kind": "place", "references": ["there"]},
            {"image": "images/0.png", "label": 7},
            {"image": "images/0.png", "captions": ["beside a class"], "label": 7},
            {"prompt": "a dog", "references": ["A dog runs."], "answer": "A dog  runs.", "max_tokens": 64}]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found, bad, splits = read_held_out(data)
    assert [(row.task, row.texts) for row in found] == [
        (CAPTIONS, ("one", "two", "three", "beside a class")), (QUESTIONS, ("here",)), (QUESTIONS, ("there",)),
        (CLASSES, ("7",)), (PROMPTS, ("A dog runs.",))]
    assert not bad and splits == [""] * 7
    assert (found[-1].answer, found[-1].max_tokens) == ("A dog runs.", 64)
    again = [row.written(None if row.image is None else "images/0.png", "x") for row in found]
    data.write_text("".join(json.dumps(row) + "\n" for row in again))
    assert [dataclasses.replace(row, line=0) for row in read_held_out(data)[0]] == [
        dataclasses.replace(row, line=0) for row in found]


@pytest.fixture(scope="module")
def both(tiny_checkpoints: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The captioner, and a language model that sees no pictures."""
    folder = tmp_path_factory.mktemp("both")
    shutil.copytree(tiny_checkpoints / VARIANT, folder / VARIANT)
    save_causal(folder / "talker", "gpt2")
    return folder


PROMPT_ROWS = [{"prompt": f"the {word}", "references": [f"A {word} runs.", "the cat sits"], "answer": f"A {word} runs."}
               for word in ("dog", "cat", "man")]


def test_prompts_are_measured_with_what_their_rows_hold(both: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                        caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("NARRATOR_CHECKPOINTS", str(both))
    path = tmp_path / "prompts.jsonl"
    found = {}
    for name, change in (("whole", {"max_tokens": 24}), ("answers", {}), ("said", {"answer": None})):
        path.write_text("".join(json.dumps({**row, **change}) + "\n" for row in PROMPT_ROWS))
        found[name] = evaluate("talker", path, settings=FAST).scores
    assert found["whole"].keys() - found["answers"].keys() == {"loss_everything"}
    assert found["answers"].keys() - found["said"].keys() == {"loss_answer", "perplexity"}
    assert {"distinct_1", "distinct_2", "adjective_density", "cider_d"} <= found["said"].keys()
    score = found["answers"]["loss_answer"]
    assert score.low < score.value < score.high and not score.higher_is_better
    assert score.value == pytest.approx(found["whole"]["loss_answer"].value, rel=1e-5)
    assert found["whole"]["perplexity"].value == pytest.approx(math.exp(score.value), rel=1e-5)


REFUSED = [
    (VARIANT, PROMPT_ROWS, "takes no prompts, and"),
    ("talker", [{"image": "images/0.png", "captions": ["a"]}], "sees no pictures, and"),
    (VARIANT, [{"image": "images/0.png", "label": 7}], "tells no classes"),
    (VARIANT, [{"image": "images/0.png", "label": 7}, {"image": "images/0.png", "captions": ["a"]}], "mixes rows"),
    (VARIANT, [{"image": "images/0.png", "prompt": "?", "kind": "a", "references": ["a"]}], "takes no prompts, and"),
    ("talker", [{"prompt": "the dog " * 999, "references": ["a"]}], "not one of 1 prompts could be used"),
]


@pytest.mark.parametrize(("variant", "rows", "reason"), REFUSED, ids=[case[2] for case in REFUSED])
def test_what_a_variant_cannot_be_asked_is_refused(both: Path, data: Path, monkeypatch: pytest.MonkeyPatch,
                                                   variant: str, rows: list, reason: str) -> None:
    monkeypatch.setenv("NARRATOR_CHECKPOINTS", str(both))
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(NarratorError, match=reason):
        evaluate(variant, data)


def test_classes_take_no_settings(data: Path) -> None:
    data.write_text('{"image": "images/0.png", "label": 7}\n')
    with pytest.raises(NarratorError, match="leave these out"):
        evaluate(VARIANT, data, settings=FAST)


def test_many_bad_rows_are_counted_not_listed(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    data.write_text(data.read_text() + "?\n" * 500)
    with caplog.at_level(logging.WARNING, "narrator.evaluate"):
        assert len(rows_of(data)) == 6
    assert len(caplog.records) == 21 and "480 more rows are left out" in caplog.records[-1].getMessage()


def test_nothing_left_is_an_error(data: Path, tmp_path: Path) -> None:
    with pytest.raises(NarratorError, match=r"no row of split 'test'; it has: train \(4\), dev \(2\)"):
        evaluate(VARIANT, data, split="test", settings=FAST)
    empty = tmp_path / "empty.jsonl"
    empty.write_text("{}\n")
    with pytest.raises(NarratorError, match="no usable row"):
        evaluate(VARIANT, empty, settings=FAST)
    empty.write_text('{"image": "gone.png", "captions": ["a"]}\n')
    with pytest.raises(NarratorError, match="not one of 1 pictures"):
        evaluate(VARIANT, empty, settings=FAST)
    with pytest.raises(NarratorError, match="cannot be read"):
        evaluate(VARIANT, tmp_path / "none.jsonl", settings=FAST)
    with pytest.raises(NarratorError, match="no usable row"):
        evaluate(VARIANT, data.parent / "images" / "0.png", settings=FAST)
    with pytest.raises(NarratorError, match="is a folder"):
        evaluate(VARIANT, data.parent, settings=FAST)


def test_unknown_variant_is_an_error(data: Path) -> None:
    with pytest.raises(NarratorError, match="Did you mean 'tiny-captioner'"):
        evaluate("tiny-captoner", data, settings=FAST)


def test_command(data: Path, checkpoints: Path) -> None:
    """The same numbers as the function, one JSON object, progress and bad rows on stderr."""
    with data.open("a") as file:
        file.write("nonsense\n")
    done = process("evaluate", "--variant", VARIANT, "--data", data, "--num-beams", 1, "--max-new-tokens", 8, "--json",
                   checkpoints=checkpoints)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert set(answer) == {"variant", "data", "n", "scores", "seconds"}
    assert (answer["variant"], answer["data"], answer["n"]) == (VARIANT, str(data), 6)
    report = evaluate(VARIANT, data, settings=FAST)
    for name, score in report.scores.items():
        expected = {"value": score.value, "low": score.low, "high": score.high}
        assert answer["scores"][name] == pytest.approx(expected), name
    assert set(answer["scores"]) == {"bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l", "cider_d"}
    assert "6/6 pictures" in done.stderr and "line 7: is not JSON" in done.stderr


def test_command_for_people(data: Path, checkpoints: Path) -> None:
    done = narrator("evaluate", "--variant", VARIANT, "--data", data, "--split", "dev", "--limit", 1, "--num-beams", 2,
                    checkpoints=checkpoints)
    assert done.returncode == 0 and f"{VARIANT} on 1 pictures" in done.stdout and "cider_d" in done.stdout


@pytest.mark.parametrize(("change", "message"), [
    (["--variant", "tiny-captoner"], "Did you mean 'tiny-captioner'?"),
    (["--split", "tset"], "no row of split 'tset'"),
    (["--num-beams", "0"], "'num_beams' must be between 1 and 10"),
    (["--data", "none.jsonl"], "none.jsonl cannot be read"),
])
def test_command_refuses_in_one_sentence(data: Path, checkpoints: Path, change: list[str], message: str) -> None:
    done = narrator("evaluate", "--variant", VARIANT, "--data", data, *change, checkpoints=checkpoints)
    assert message in sentence(done)


def test_command_takes_no_limit_of_zero(data: Path) -> None:
    done = narrator("evaluate", "--data", data, "--limit", "0")
    assert done.returncode == 2 and "must be 1 or more" in done.stderr

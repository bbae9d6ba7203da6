"""`narrator score` on COCO-format files: values, warnings, refusals."""

import json
from pathlib import Path
from typing import Any

import pytest
from command_line import narrator, process, sentence

from narrator.metrics.scores import caption_scores

TEXTS = {1: ["a brown dog runs on green grass", "the dog runs"], 2: ["two cats sleep on a red sofa"],
         3: ["a man rides a bike", "A man on a bicycle."]}
REFERENCES = {"info": {}, "images": [{"id": key} for key in TEXTS],
              "annotations": [{"image_id": key, "caption": text} for key, texts in TEXTS.items() for text in texts]}
RESULTS: list[dict[str, Any]] = [
    {"image_id": 1, "caption": "A dog runs on grass."}, {"image_id": 2, "caption": "a cat on a red sofa"},
    {"image_id": 3, "caption": "a man rides a horse"}]


def write(folder: Path, references: Any = REFERENCES, results: Any = RESULTS) -> list[object]:
    """The two files, and the arguments that name them; text is written as it is."""
    for name, values in (("references.json", references), ("results.json", results)):
        (folder / name).write_text(values if isinstance(values, str) else json.dumps(values), encoding="utf-8")
    return ["score", "--references", folder / "references.json", "--candidates", folder / "results.json"]


def test_json_holds_the_scores(tmp_path: Path) -> None:
    done = process(*write(tmp_path), "--json")
    assert (done.returncode, done.stderr) == (0, "")
    answer = json.loads(done.stdout)
    assert done.stdout.count("\n") == 1
    assert set(answer) == {"references", "candidates", "n", "scores", "seconds"} and answer["n"] == 3
    expected = caption_scores(TEXTS, {row["image_id"]: row["caption"] for row in RESULTS})
    assert answer["scores"] == {name: {"value": score.value, "low": score.low, "high": score.high}
                                for name, score in expected.items()}


def test_table_for_people(tmp_path: Path) -> None:
    done = narrator(*write(tmp_path))
    assert done.returncode == 0
    for name in ("bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l", "cider_d"):
        assert f"\n{name}" in done.stdout
    assert "on 3 pictures" in done.stdout and "95 % interval" in done.stdout


def test_first_of_several_candidates_counts_and_a_warning_tells(tmp_path: Path) -> None:
    further = [{"image_id": key, "caption": text} for key, text in ((1, "nonsense"), (1, "more"), (2, "x"))]
    once = json.loads(narrator(*write(tmp_path), "--json").stdout)
    done = narrator(*write(tmp_path, results=[*RESULTS, *further]), "--json")
    assert json.loads(done.stdout)["scores"] == once["scores"]
    assert done.stderr == "narrator: 3 candidates left out: only the first of a picture counts (1, 2).\n"


def test_pictures_without_the_other_half_are_told(tmp_path: Path) -> None:
    results = [*RESULTS[1:], {"image_id": 77, "caption": "a bird"}]
    images = {**REFERENCES, "images": [*REFERENCES["images"], {"id": 9}]}
    done = narrator(*write(tmp_path, images, [*results, {"image_id": 9, "caption": "a fish"}]), "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["n"] == 2
    assert "2 pictures with a candidate but no reference, not counted (77, 9)." in done.stderr
    assert "1 picture of the references without a candidate, not counted (1)." in done.stderr


def test_ids_may_be_texts_and_files_may_start_with_a_mark(tmp_path: Path) -> None:
    rows = [{"image_id": "a.jpg", "caption": "ein Hund läuft"}, {"image_id": "b", "caption": "x y"}]
    done = narrator(*write(tmp_path, "\ufeff" + json.dumps({"annotations": rows}), rows[:1]), "--json")
    assert json.loads(done.stdout)["scores"]["bleu_1"]["value"] == pytest.approx(1)


REFUSED = {
    "swapped": (RESULTS, REFERENCES, "belongs to --candidates"),
    "results not a list": (REFERENCES, {"annotations": []}, "must be a list of"),
    "not JSON": ('{"annotations": [', RESULTS, "is not JSON (line 1"),
    "empty file": ("", RESULTS, "is not JSON"),
    "too deep": ("[" * 100_000, RESULTS, "nested too deeply"),
    "images not a list": ({**REFERENCES, "images": 3}, RESULTS, '"images" must be a list'),
    "no image_id": ({"annotations": [{"caption": "a"}]}, RESULTS, "annotation 1: 'image_id' must be"),
    "image_id a list": (REFERENCES, [{"image_id": [1], "caption": "a"}], "result 1: 'image_id' must be"),
    "row not an object": (REFERENCES, [RESULTS[0], 5], "result 2: 'image_id' must be"),
    "caption not a text": (REFERENCES, [{"image_id": 1, "caption": None}], "result 1: 'caption' must be a text"),
    "nothing in common": (REFERENCES, [], "No picture has both"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_file_gets_one_sentence(tmp_path: Path, name: str) -> None:
    references, results, message = REFUSED[name]
    done = narrator(*write(tmp_path, references, results))
    if name == "nothing in common":  # the lonely references are told before
        assert done.returncode == 2 and done.stderr.splitlines()[-1].startswith("narrator: No picture has both")
        assert "Traceback" not in done.stderr
    else:
        assert message in sentence(done)


def test_a_file_that_cannot_be_read_gets_one_sentence(tmp_path: Path) -> None:
    arguments = write(tmp_path)
    assert "No such file" in sentence(narrator(*arguments[:-1], tmp_path / "none.json"))
    assert "Is a directory" in sentence(narrator(*arguments[:-1], tmp_path))
    (tmp_path / "latin.json").write_bytes(b'[{"image_id": 1, "caption": "caf\xe9"}]')
    assert "not UTF-8" in sentence(narrator(*arguments[:-1], tmp_path / "latin.json"))


def test_a_forgotten_file_is_a_usage_error(tmp_path: Path) -> None:
    done = narrator("score", "--references", tmp_path / "references.json")
    assert done.returncode == 2 and "--candidates" in done.stderr


def test_thousands_of_pictures_take_seconds(tmp_path: Path) -> None:
    """COCO's Karpathy test split has 5,000 pictures and 25,000 captions: what is linear stays so."""
    adjectives, things = ("red", "big", "old", "wet", "sad"), ("dog", "cat", "man", "cow", "car")
    places = ("road", "sofa", "grass", "bed", "table", "roof", "hill", "sand")
    texts = [f"a {one} {two} sits on the {three}" for one in adjectives for two in things for three in places]
    rows = [{"image_id": key, "caption": texts[key * 7 % len(texts)]} for key in range(2000)]
    several = [{"image_id": key, "caption": texts[key * n % len(texts)]} for key in range(2000) for n in range(5, 10)]
    done = narrator(*write(tmp_path, {"annotations": several}, rows), "--json")
    answer = json.loads(done.stdout)
    assert answer["n"] == 2000 and answer["seconds"] < 30 and 0 < answer["scores"]["cider_d"]["value"] < 10

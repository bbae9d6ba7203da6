"""The doctor's looks at data: each planted fault is found, by name and line, and nothing else is."""

import dataclasses
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from narrator.pictures import open_picture
from narrator.readers.rows import place_of
from trainer.config import Data, Stage, TrainingConfig
from trainer.preflight import findings as found_things
from trainer.preflight.balance import balance_findings
from trainer.preflight.bases import base_findings, licence_findings, licence_of
from trainer.preflight.findings import Finding, ordered
from trainer.preflight.leaks import picture_findings, scene_findings, text_findings
from trainer.preflight.lengths import length_findings
from trainer.preflight.pictures import alike, look_at, print_of, spread
from trainer.preflight.sets import read_sets
from trainer.preflight.sizes import disk_bytes, disk_finding, items_of, steps_of

Change = Callable[[Path], Any]


def scribble(seed: int, side: int = 48) -> Image.Image:
    """A picture like no other: coarse waves of colour."""
    coarse = np.random.default_rng(seed).integers(0, 255, (5, 5, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)


def silent(what: str, done: int, total: int) -> None:
    pass


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A sound set: 8 pictures to learn from, 4 held out, two captions each."""
    for number in range(12):
        scribble(number).save(tmp_path / f"{number}.png")
    write(tmp_path, [row(number) for number in range(12)])
    return tmp_path


def row(number: int, **changes: Any) -> dict[str, Any]:
    return {"image": f"{number}.png", "split": "dev" if number >= 8 else "train",
            "captions": [f"A scene of kind {number}.", f"the {number}th thing seen"], **changes}


def write(folder: Path, rows: list[Any], name: str = "captions.jsonl") -> None:
    lines = [line if isinstance(line, str) else json.dumps(line) for line in rows]
    (folder / name).write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def config_of(**changes: Any) -> TrainingConfig:
    base = TrainingConfig(name="mine", license="cc0-1.0", data=[Data(path="captions.jsonl", split="train")],
                          dev=[Data(path="captions.jsonl", split="dev")], stages=[Stage(name="learn")])
    return dataclasses.replace(base, **changes)


def looked(config: TrainingConfig, root: Path) -> list[Finding]:
    """What the looks at data find, without those that say that all is well."""
    sets, found = read_sets(config, root, silent)
    if config.recipe in ("encoder_decoder", "hub_vlm", "projector_lm"):
        paths = {item.example.image: None for one in sets for item in one.items if item.example.image is not None}
        found += picture_findings(sets, look_at([path for path in paths if path], silent))
    found += scene_findings(sets) if config.recipe == "causal_lm" else []
    found += [] if config.recipe == "image_gpt" else text_findings(sets) + length_findings(config, root, sets, silent)
    found += balance_findings(config, sets) + licence_findings(config, root)
    return [finding for finding in ordered(dict.fromkeys(found)) if finding.level != "ok"]


def test_sound_data_has_no_findings(data: Path) -> None:
    assert looked(config_of(), data) == []


def changed(number: int, **changes: Any) -> Change:
    """The row of that picture is another one; its line is number + 1."""
    return lambda folder: write(folder, [row(place, **(changes if place == number else {})) for place in range(12)])


def added(*more: Any) -> Change:
    """Rows after the twelve sound ones, so from line 13 on."""
    return lambda folder: write(folder, [*map(row, range(12)), *more])


def copied(source: int, target: str, split: str, change: Callable[[Image.Image], Image.Image]) -> Change:
    def plant(folder: Path) -> None:
        change(Image.open(folder / f"{source}.png")).save(folder / target)
        added({"image": target, "split": split, "captions": ["Something new."]})(folder)
    return plant


def damaged(folder: Path) -> None:
    (folder / "3.png").write_bytes((folder / "3.png").read_bytes()[:200])


def every_damaged(folder: Path) -> None:
    for picture in folder.glob("*.png"):
        picture.write_bytes(b"%PDF-1.4")


def smaller(picture: Image.Image) -> Image.Image:
    return ImageEnhance.Contrast(picture.resize((40, 40))).enhance(0.9)


FAULTS: dict[str, tuple[Change, str, str, int | None]] = {  # plants it; level, words and line of the one finding
    "no JSON": (added("{broken"), "warning", "line 13: is not JSON", 13),
    "missing picture": (changed(2, image="nowhere.png"), "warning", "picture 'nowhere.png' is not in", 3),
    "outside": (changed(2, image="../secret.png"), "warning", "escapes the folder", 3),
    "empty caption": (changed(2, captions=[" "]), "warning", "caption 1 is empty", 3),
    "damaged picture": (damaged, "warning", "picture '3.png': This PNG file is damaged", 4),
    "no picture at all": (lambda folder: (folder / "3.png").write_bytes(b"%PDF-1.4"), "warning",
                          "it starts with %PDF", 4),
    "empty file": (lambda folder: (folder / "captions.jsonl").write_bytes(b""), "error", "There is nothing in", None),
    "no file": (lambda folder: (folder / "captions.jsonl").unlink(), "error", "There is no data at", None),
    "of no format": (lambda folder: (folder / "captions.jsonl").write_text("hello\n"), "error", "can be used", None),
    "no dev split": (lambda folder: write(folder, [row(number, split="train") for number in range(12)]), "error",
                     "has no rows of split 'dev'", None),
    "same picture twice": (copied(1, "again.png", "train", lambda picture: picture), "warning",
                           "1 picture is there twice, pixel for pixel: 'again.png' and '1.png'", 13),
    "like another": (copied(1, "again.jpg", "train", smaller), "warning",
                     "1 pair of pictures looks the same: 'again.jpg' and '1.png'", 13),
    "learned and held out": (copied(1, "again.png", "dev", lambda picture: picture), "error",
                             "1 of 5 (20.0 %) held-out pictures are learned from too", 13),
    "held out like one learned": (
        copied(1, "again.jpg", "dev", smaller), "warning",
        "1 held-out picture looks like one that is learned from: 'again.jpg' and '1.png'", 13),
    "same words": (changed(9, captions=["a scene of KIND 3.", "fine"]), "warning",
                   "1 of 8 (12.5 %) held-out texts are learned word for word", 10),
    "too long": (changed(5, captions=["word " * 40, "fine"]), "warning", "the longest has 40 words", 6),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found_and_nothing_else(data: Path, name: str) -> None:
    plant, level, words, line = FAULTS[name]
    plant(data)
    (finding,) = looked(config_of(), data)
    assert (finding.level, finding.line) == (level, line) and words in finding.what, finding
    assert finding.remedy.endswith(".") and finding.what.endswith((".", "'", ")")), finding
    if line is not None:
        assert finding.file == str(data / "captions.jsonl")


def test_when_no_picture_can_be_opened(data: Path) -> None:
    every_damaged(data)
    first, *rest = looked(config_of(), data)
    assert (first.level, first.what) == ("error", "Not one of the pictures can be opened.")
    assert len(rest) == 12 and {finding.line for finding in rest} == set(range(1, 13))


def test_many_bad_rows_are_counted(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(found_things, "NAMED", 3)
    added(*["{broken"] * 10)(data)
    found = looked(config_of(), data)
    assert [finding.line for finding in found] == [13, 14, 15, None]
    assert "7 more rows" in found[-1].what


def test_texts_without_pictures_and_scenes_on_both_sides(data: Path) -> None:
    write(data, [{"image_id": number, "captions": ["one", "two"]} for number in range(3)], "texts.jsonl")
    (finding,) = [one for one in looked(config_of(data=[Data(path="texts.jsonl")]), data) if "image" in one.remedy]
    assert finding.level == "error" and "3 texts without a picture" in finding.what
    prompted = config_of(recipe="causal_lm", stages=[Stage(name="learn", objective="answer")], max_tokens=128,
                         vocabulary=400)
    assert looked(prompted, data) == []
    (finding,) = [one for one in looked(dataclasses.replace(prompted, dev=[Data(path="captions.jsonl")]), data)
                  if "scenes" in one.what]
    assert finding.level == "error" and "8 held-out scenes are learned from too" in finding.what and finding.line == 1


def test_a_set_named_on_both_sides_is_split_by_scene(data: Path) -> None:
    rows = [{"scene": f"s{number}", "captions": [f"one of {number}", f"two of {number}"]} for number in range(40)]
    write(data, rows, "texts.jsonl")
    config = config_of(recipe="causal_lm", data=[Data(path="texts.jsonl")], dev=[Data(path="texts.jsonl")],
                       held_out=0.25, max_tokens=128, vocabulary=400)
    assert looked(config, data) == []
    learned, held = read_sets(config, data, silent)[0]
    assert len(learned.items) + len(held.items) == 40 and 4 <= len(held.items) <= 16
    assert items_of(config, [learned, held], config.stages[0]) == 2 * len(learned.items)
    assert "Nothing of texts.jsonl is left for dev" in looked(dataclasses.replace(config, held_out=0.0), data)[0].what


def digits(folder: Path, counts: list[int]) -> TrainingConfig:
    labels = np.concatenate([np.full(count, label) for label, count in enumerate(counts)])
    np.savez(folder / "train.npz", images=np.zeros((len(labels), 8, 8), np.uint8), labels=labels)
    np.savez(folder / "dev.npz", images=np.zeros((len(labels), 8, 8), np.uint8), labels=labels)
    return config_of(recipe="image_gpt", data=[Data(path="", split="train")], dev=[Data(path="", split="dev")])


@pytest.mark.parametrize(("counts", "words"), [
    ([5] * 10, ""), ([5] * 9, "no picture of class 9"), ([100, *[9] * 9], "Class 0 has 100 pictures and class")])
def test_classes(tmp_path: Path, counts: list[int], words: str) -> None:
    found = looked(digits(tmp_path, counts), tmp_path)
    assert len(found) == bool(words) and all(words in finding.what for finding in found), found


@pytest.mark.parametrize(("answers", "words"), [
    ([f"{number} dogs" for number in range(24)], ""), (["yes"] * 20 + ["no"] * 4, "answers are 'yes'")])
def test_answers(data: Path, answers: list[str], words: str) -> None:
    asked = [{"image": f"{number % 8}.png", "split": "train", "prompt": f"Is it {number}?", "caption": answer}
             for number, answer in enumerate(answers)]
    added(*asked)(data)
    found = looked(config_of(), data)
    assert len(found) == bool(words) and all(words in finding.what for finding in found), found


def test_one_question_with_one_answer(data: Path) -> None:
    asked = [{"image": f"{number % 8}.png", "split": "train", "prompt": prompt, "caption": f"{answer}{number}"[:5]}
             for number in range(30) for prompt, answer in (("Is it red?", "never"), ("What is it?", "x"))]
    added(*asked)(data)
    (finding,) = looked(config_of(), data)
    assert "'Is it red?' is answered with 'never' in 30 of 30" in finding.what


def test_alike_survives_what_people_do_to_pictures_and_no_more() -> None:
    def jpeg(picture: Image.Image) -> Image.Image:
        out = io.BytesIO()
        picture.save(out, "JPEG", quality=60)
        return open_picture(out.getvalue())

    whole = [scribble(seed, 96) for seed in range(20)]
    ways = [jpeg, lambda picture: picture.resize((50, 70)), lambda picture: ImageEnhance.Contrast(picture).enhance(0.9)]
    for way in ways:
        prints = [print_of(picture) for picture in [*whole, *map(way, whole)]]
        assert alike(prints) == [(number, number + 20) for number in range(20)]
    plain = [print_of(Image.new("RGB", (32, 32), (shade, shade, shade))) for shade in (100, 101, 200)]
    assert alike(plain) == [] and alike([]) == []
    tinted = Image.merge("RGB", [whole[0].getchannel(channel) for channel in "BRG"])
    assert alike([print_of(whole[0].convert("L").convert("RGB")), print_of(tinted)]) == []


def test_looking_can_be_ended_and_is_spread(data: Path) -> None:
    def stop(what: str, done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        look_at(sorted(data.glob("*.png")), stop)
    paths = [Path(str(number)) for number in range(100)]
    assert spread(paths, 200) == paths and [int(path.name) for path in spread(paths, 4)] == [0, 33, 66, 99]


@pytest.mark.parametrize(("where", "place"), [
    ("a, b.jsonl, line 12", ("a, b.jsonl", 12)), ("c.json, image 3", ("c.json", None)), ("x/a.png", ("x/a.png", None)),
    ("l.json, entry 2, turn 4", ("l.json", None))])
def test_place(where: str, place: tuple[str, int | None]) -> None:
    assert place_of(where) == place


def test_licences(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (data / "mine").mkdir()
    (data / "mine" / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n# Mine\n", encoding="utf-8")
    assert licence_of("mine", data) == "cc-by-nc-4.0" and licence_of("elsewhere", data) == ""
    assert licence_of("microsoft/phi-2", data) == "mit"  # variants.yaml
    assert "nc" in licence_of("checkpoints/photo-captioner", data)
    (finding,) = looked(config_of(encoder="mine"), data)
    assert finding.level == "warning" and "mine bears cc-by-nc-4.0" in finding.what and "cc0-1.0" in finding.what
    assert looked(config_of(encoder="mine", license="cc-by-nc-4.0"), data) == []
    assert "not written down" in looked(config_of(encoder="elsewhere"), data)[0].what
    assert "would bear no licence" in looked(config_of(license=""), data)[0].what
    (missing,) = base_findings(config_of(encoder="elsewhere"), data)
    assert missing.level == "error" and "neither a folder below" in missing.what and "hf download" in missing.remedy


def test_steps_and_disk(data: Path) -> None:
    config = config_of(stages=[Stage(name="learn", epochs=3, batch_size=3, evaluations=3),
                               Stage(name="once", epochs=1, batch_size=4, evaluations=1, repeat=False)],
                       data=[Data(path="captions.jsonl", split="train", repeat=2)])
    sets, _ = read_sets(config, data, silent)
    assert steps_of(config, sets) == {"learn": 18, "once": 2}  # ceil(16 / 3) x 3; 8 / 4
    assert steps_of(config, []) == {"learn": None, "once": None}
    limited = dataclasses.replace(config, stages=[dataclasses.replace(stage, steps=7) for stage in config.stages])
    assert steps_of(limited, sets) == {"learn": 7, "once": 2}
    counts: dict[str, int | None] = {"learn": 8, "once": None}
    needed = disk_bytes(config, dict.fromkeys(counts, (4, 10)), counts, cache=5)
    # by hand, 10 parameters, 4 learn: weights 40, checkpoint 72; two and the best, one and the best, one more, bf16
    assert needed == (2 * 72 + 40) + (72 + 40) + 72 + 20 + 5
    assert disk_finding(1, data / "not" / "yet").level == "ok"
    assert disk_finding(2**70, data).level == "error" and "are free" in disk_finding(2**70, data).what


def test_a_wrong_root_or_hub_name_is_told(tmp_path: Path) -> None:
    found = read_sets(config_of(data=[Data(path="hub:no slash")]), tmp_path, silent)[1]
    assert [finding.level for finding in found] == ["error", "error"]
    assert "names no data set of the Hub" in found[0].what and "There is no data at" in found[1].what

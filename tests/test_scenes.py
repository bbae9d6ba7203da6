"""Scenes: their types, their keys, and a split that keeps each whole."""

import json
from pathlib import Path

import pytest
from PIL import Image

from narrator.records import NarratorError
from narrator.scene_types import SCENE_TYPES, rules, scene_type
from trainer.scenes import Scene, check_disjoint, read_scenes, split_scenes


def write(path: Path, rows: list[dict]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize(("text", "expected"), [
    ("A man on a surfboard rides a wave.", "sport"), ("Two dogs and a man on the grass.", "animals"),
    ("A woman and her child in a kitchen.", "indoor"), ("People wait for a bus in the street.", "urban"),
    ("Mountains behind a lake.", "nature"), ("Two women and three babies smile.", "people"),
    ("Puppies.", "animals"), ("Something.", "other"), ("", "other")])
def test_types(text, expected) -> None:
    assert scene_type([text]) == expected


def test_all_captions_of_a_scene_count_and_the_rules_are_printed(root) -> None:
    assert scene_type(["A man by the sea.", "A man with a dog.", "A dog on the beach", "A dog and a man"]) == "animals"
    assert all(f"| {name} |" in rules() for name in SCENE_TYPES)
    assert rules() in (root / "docs" / "scenes.md").read_text(encoding="utf-8")
    words = [word for words in SCENE_TYPES.values() for word in words.split()]
    assert len(words) == len(set(words)), "a word of two types"


def test_rows_of_text_are_read_with_their_scenes(tmp_path) -> None:
    path = write(tmp_path / "set" / "rows.jsonl", [
        {"scene": "market", "prompt": "Describe this image: a market", "caption": "A busy market."},
        {"scene": "market", "prompt": "Generate a caption: a market", "captions": ["A loud market.", "Fruit."]},
        {"image_id": 7, "captions": ["One.", "Two."]},
        {"prompt": "Describe this image: the old harbour", "caption": "Boats."},
        {"prompt": "What do you see in this picture: an old harbour", "caption": "Ships."},
        {"prompt": "Describe this image:", "captions": []}, {"scene": "x"}, {"image_id": 8, "captions": "no list"}])
    found = read_scenes(path, split=None)
    assert [scene.key for scene in found] == ["market", "market", "set/7", "old harbour", "old harbour"]
    assert found[1].texts == ("A loud market.", "Fruit.")
    assert found[0].prompt == "Describe this image: a market"
    with pytest.raises(NarratorError, match="line 6"):
        read_scenes(path, split=None, strict=True)
    with pytest.raises(NarratorError, match="no row of split 'dev'"):
        read_scenes(write(tmp_path / "a.jsonl", [{"scene": "a", "caption": "b"}]), split="dev")


def test_a_scene_in_two_splits_is_a_bad_row(tmp_path) -> None:
    path = write(tmp_path / "rows.jsonl", [{"scene": "a", "split": "train", "caption": "One."},
                                           {"scene": "a", "split": "dev", "caption": "Two."},
                                           {"scene": "b", "split": "dev", "caption": "Three."}])
    assert [scene.key for scene in read_scenes(path, split="dev")] == ["b"]
    with pytest.raises(NarratorError, match="'a' is in split 'dev' here and in split 'train'"):
        read_scenes(path, split="dev", strict=True)


def test_pictures_are_scenes_named_by_their_place_in_the_set(tmp_path) -> None:
    (tmp_path / "photos" / "images").mkdir(parents=True)
    Image.new("RGB", (4, 4)).save(tmp_path / "photos" / "images" / "a.png")
    path = write(tmp_path / "photos" / "captions.jsonl", [{"image": "images/a.png", "captions": ["One.", "Two."]}])
    assert read_scenes(path, split=None) == [Scene(key="photos/images/a.png", texts=("One.", "Two."))]


def rows(count: int, templates: int = 3) -> list[Scene]:
    return [Scene(key=f"scene {number}", texts=(f"Text {number} {template}",), prompt=f"Prompt {template}")
            for number in range(count) for template in range(templates)]


def test_a_split_keeps_scenes_whole_and_stays_the_same() -> None:
    kept, held = split_scenes(rows(400), 0.2)
    assert len(kept) + len(held) == 1200
    assert not {scene.key for scene in kept} & {scene.key for scene in held}
    assert 0.14 < len(held) / 1200 < 0.26
    check_disjoint(kept, held)
    more = {scene.key for scene in split_scenes(rows(500)[::-1], 0.2)[1]}
    assert {scene.key for scene in held} == {key for key in more if int(key.split()[1]) < 400}
    assert split_scenes(rows(20), 0.0)[1] == []


def test_what_another_set_teaches_is_not_held_out() -> None:
    held = split_scenes(rows(50), 0.5)[1]
    known = Scene(key="photos/x.png", texts=("TEXT" + held[0].texts[0][4:],))
    left = split_scenes(rows(50), 0.5, [known])[1]
    assert {scene.key for scene in held} - {scene.key for scene in left} == {held[0].key}


def test_a_leak_is_refused_by_name() -> None:
    with pytest.raises(NarratorError, match=r"The scene 'scene 1' and 1 more is both learned from and held out"):
        check_disjoint(rows(3), rows(5)[3:9:3] + rows(9)[18:])
    by_row = rows(10)  # the original's split: rows, after the templates
    with pytest.raises(NarratorError, match="Split by scene"):
        check_disjoint(by_row[::2], by_row[1::2])

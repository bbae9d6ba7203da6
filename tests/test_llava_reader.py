"""The reader of LLaVA-Instruct JSON: turns become examples, and whatever is damaged is named."""

import json
from pathlib import Path
from typing import Any

import pytest
from captioned import picture, silent

from narrator.readers import llava
from narrator.readers.gathering import read_examples
from narrator.records import Example, NarratorError


def turns(*values: str) -> list[dict[str, str]]:
    return [{"from": "gpt" if number % 2 else "human", "value": value} for number, value in enumerate(values)]


def entry(*values: str, image: str = "p.jpg", **more: Any) -> dict[str, Any]:
    return {"id": "000", "image": image, "conversations": turns(*values), **more}


def written(folder: Path, data: Any, name: str = "llava.json", **options: Any) -> Path:
    path = folder / name
    path.write_text(json.dumps(data, **options))
    picture(folder / "p.jpg")
    picture(folder / "q.jpg")
    return path


def test_dialogue() -> None:
    assert llava.dialogue([], "What is this?") == "What is this?"
    assert llava.dialogue([("What?", "A dog."), ("Where?", "Here.")], "Why?") == (
        "Question: What? Answer: A dog. Question: Where? Answer: Here. Question: Why?")


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("name", ["llava.json", "llava_instruct.txt"])
def test_an_example_for_each_answer(tmp_path: Path, indent: int | None, name: str) -> None:
    path = written(tmp_path, [entry("What is this?\n<image>", "A dog.", "Which\ncolour?", " Black  \n and white. "),
                              entry("<image>\nHow many?", "Two.", image="q.jpg")], name, indent=indent)
    assert read_examples(path, split=None, report=silent) == [
        Example(image=tmp_path / "p.jpg", texts=("A dog.",), prompt="What is this?"),
        Example(image=tmp_path / "p.jpg", texts=("Black and white.",),
                prompt="Question: What is this? Answer: A dog. Question: Which colour?"),
        Example(image=tmp_path / "q.jpg", texts=("Two.",), prompt="How many?")]


def test_one_example_for_a_picture_and_prompt(tmp_path: Path) -> None:
    path = written(tmp_path, [entry("<image>\nWhat?", "A dog."), entry("What?<image>", "A puppy."),
                              entry("Where?", "Here.")])
    found = read_examples(path, split=None, report=silent)
    assert [(example.prompt, example.texts) for example in found] == [("What?", ("A dog.", "A puppy.")),
                                                                       ("Where?", ("Here.",))]


def test_pictures_of_coco_text_alone_and_splits(tmp_path: Path) -> None:
    picture(tmp_path / "train2017" / "x.jpg")
    path = written(tmp_path, [entry("<image>What?", "A cat.", image="x.jpg", split="train"),
                              {"id": "t", "conversations": turns("Two and two?", "Four."), "split": "train"},
                              entry("What?", "A cow.", split="dev")])
    found = read_examples(path, split="train", report=silent)
    assert [(example.image, example.texts) for example in found] == [(tmp_path / "train2017" / "x.jpg", ("A cat.",)),
                                                                      (None, ("Four.",))]


GOOD = entry("What?", "A dog.")
BAD: list[tuple[Any, str]] = [
    (5, "entry 2: must be a JSON object, not a number"),
    ({"id": 1, "image": "p.jpg"}, "entry 2: needs 'conversations', a list of turns"),
    ({"image": "p.jpg", "conversations": []}, "entry 2: needs 'conversations', a list of turns"),
    ({"image": "p.jpg", "conversations": {"from": "human"}}, "entry 2: needs 'conversations'"),
    ({"image": "p.jpg", "conversations": ["hello", "you"]}, "turn 1: needs 'from' and a text 'value'"),
    ({"image": "p.jpg", "conversations": [{"from": "human", "value": 5}, {"from": "gpt", "value": "x"}]},
     "turn 1: needs 'from' and a text 'value'"),
    ({"image": "p.jpg", "conversations": [{"from": "system", "value": "s"}, *turns("q", "a")]},
     "turn 1: must be from 'human', not from 'system'"),
    ({"image": "p.jpg", "conversations": [{"from": "human", "value": "a"}, {"from": "human", "value": "b"}]},
     "turn 2: must be from 'gpt', not from 'human'"),
    ({"image": "p.jpg", "conversations": [{"from": ["gpt"], "value": "a"}, {"from": "gpt", "value": "b"}]},
     "turn 1: must be from 'human', not from a list"),
    (entry("<image>\n", "a"), "entry 2, turn 1: asks nothing"),
    (entry("Why?", "  "), "entry 2, turn 2: is empty"),
    (entry("Why?"), "entry 2, turn 1: has no answer after it"),
    (entry("Why?", "a\0b"), "holds a NUL"),
    (entry("Why?\0", "a"), "'prompt' holds a NUL"),
    (entry("Why?", "a\ud800"), "not valid Unicode"),
    (entry("Why?", "Because.", image="../p.jpg"), "escapes"),
    (entry("Why?", "Because.", image="/etc/passwd"), "absolute path"),
    (entry("Why?", "Because.", image="https://example.org/p.jpg"), "web address"),
    (entry("Why?", "Because.", image="z.jpg"), "picture 'z.jpg' is not in"),
    ({**entry("Why?", "Because."), "image": ["p.jpg", "q.jpg"]}, "must be the path of a picture, not a list"),
    ({"conversations": turns("<image>\nWhy?", "Because.")}, "speaks of <image> and names no picture"),
    ({"image": None, "conversations": turns("<image>\nWhy?", "Because.")}, "speaks of <image> and names no picture"),
    (entry("Why?", "Because.", split=5), "'split' must be a text"),
]


@pytest.mark.parametrize(("bad", "reason"), BAD, ids=[row[1] for row in BAD])
def test_bad_entries(tmp_path: Path, bad: Any, reason: str) -> None:
    log: list[str] = []
    path = written(tmp_path, [GOOD, bad, entry("Where?", "Here.", image="q.jpg")])
    found = read_examples(path, split=None, report=log.append)
    assert [example.texts for example in found] == [("A dog.",), ("Here.",)]
    assert len(log) == 2 and reason in log[0] and "entry 2" in log[0] and "\n" not in log[0], log
    with pytest.raises(NarratorError, match="Mend it"):
        read_examples(path, split=None, report=silent, strict=True)


def test_the_turns_before_a_fault_are_kept(tmp_path: Path) -> None:
    log: list[str] = []
    damaged = entry("What?", "A dog.", "Where?", "Here.", "Why?")
    found = read_examples(written(tmp_path, [damaged]), split=None, report=log.append)
    assert [example.texts for example in found] == [("A dog.",), ("Here.",)]
    assert "turn 5: has no answer after it" in log[0]


def test_a_conversation_without_end(tmp_path: Path) -> None:
    log: list[str] = []
    endless = entry(*["What?", "A dog."] * 5000)
    found = read_examples(written(tmp_path, [endless]), split=None, report=log.append)
    assert len(found) == llava.ANSWERS and "after the 64 answers" in log[0] and len(log) == 2


@pytest.mark.parametrize(("text", "reason"), [
    ('[{"id": 1, "conversations": ', "is not JSON"), ("[]", "none of the formats"), ("[1, 2]", "none of the formats"),
    ("[" * 100_000, "nested too deep"),
    ('[{"conversations": 5}]', "Nothing in .* can be used: .*needs 'conversations'"),
])
def test_damaged_files(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "llava.json"
    path.write_text(text)
    with pytest.raises(NarratorError, match=reason):
        read_examples(path, split=None, report=silent)

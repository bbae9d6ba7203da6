"""Questions made from captions: what each rule answers, the traps it stays out of, and the balance of the whole."""

import json
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from captioned import picture
from conftest import ROOT

from narrator.readers.gathering import read_examples
from narrator.records import Example
from trainer.questions import (
    KINDS,
    Companions,
    activity,
    asked_examples,
    colour,
    companions,
    counting,
    place,
    presence,
)
from trainer.questions.__main__ import main, word_lists
from trainer.questions.reading import Caption, read
from trainer.questions.things import THINGS
from trainer.questions.words import ing, plural, singular, third

Captions = list[Caption]


def captions(*texts: str) -> Captions:
    return [read(text) for text in texts]


def test_forms_of_words() -> None:
    for one, many in (("dog", "dogs"), ("woman", "women"), ("child", "children"), ("person", "people"),
                      ("bench", "benches"), ("puppy", "puppies"), ("bus", "buses"), ("sheep", "sheep"), ("toy", "toys"),
                      ("horse", "horses")):
        assert (plural(one), singular(many)) == (many, one)
    assert [ing(verb) for verb in ("run", "ride", "lie", "fly")] == ["running", "riding", "lying", "flying"]
    assert [third(verb) for verb in ("catch", "fly", "play", "ride")] == ["catches", "flies", "plays", "rides"]


def test_phrases() -> None:
    phrases = read("Two men in red shirts throw a small brown and white dog 's ball .").phrases
    assert [(phrase.noun, phrase.thing, phrase.number, phrase.plural) for phrase in phrases] == [
        ("man", "person", 2, True), ("shirt", "shirt", None, True), ("dog", "dog", 1, False),
        ("ball", "ball", None, False)]
    assert phrases[2].modifiers == ("small", "brown", "white")
    assert {phrase.noun for phrase in read("A dog house with a dog sled .").phrases} == {"house", "sled"}
    eating = read("A close up picture of a man eating a hot dog")
    assert [phrase.noun for phrase in eating.phrases] == ["man", "hot_dog"]
    for unreal in ("A painting of a dog .", "A child dressed as a dog .", "A toy dog .", "A man without a dog .",
                   "A man with no dog .", "A statue of a dog stands there ."):
        assert not any(phrase.real for phrase in read(unreal).phrases if phrase.thing == "dog"), unreal
    assert read("A picture of a dog on grass .").phrases[0].real  # the photograph itself


COLOURS: list[tuple[str, list[str], list[tuple[str, str]]]] = [
    ("two agree", ["A black and white dog runs .", "A white and black dog .", "A dog runs ."],
     [("dog", "black and white")]),
    ("one alone", ["A black dog runs .", "A dog .", "A dog runs ."], []),
    ("contradicted", ["A black dog .", "A black dog runs .", "A brown dog runs ."], []),
    ("a part", ["A brown and white dog .", "A brown and white dog runs .", "A brown dog ."],
     [("dog", "brown and white")]),
    ("divided", ["A brown and white dog .", "A brown dog runs .", "A brown dog .", "A brown and white dog ."], []),
    ("two of them", ["A black dog and a brown dog .", "A black dog and a brown dog play ."], []),
    ("another", ["A black dog bites another dog .", "A black dog bites ."], []),
    ("plural", ["Two black dogs .", "A black dog ."], []),
    ("spots", ["A white dog with brown spots .", "A white dog runs ."], []),
    ("shirt and dog", ["A man in a red shirt holding a black dog .", "A man in a red shirt holds a black dog ."],
     [("shirt", "red"), ("dog", "black")]),
    ("whose shirt", ["A man in a red shirt and a woman .", "A man in a red shirt with a woman ."], []),
    ("hot dog", ["A man eats a black hot dog .", "A man with a black hot dog ."], []),
    ("not of people", ["A black man in a white hat .", "A black man in a white hat stands ."], [("hat", "white")]),
    ("breed", ["A golden retriever runs .", "A golden retriever ."], []),
    ("pattern", ["A striped blue ball .", "A blue ball ."], []),
    ("no colours", ["A black and white photo of a brown dog .", "A brown dog ."], []),
    ("fruit", ["An orange and a ball .", "An orange and a ball ."], []),
    ("light brown", ["A light brown dog .", "A tan dog ."], [("dog", "tan")]),
    ("gray", ["A gray cat .", "A grey cat ."], [("cat", "grey")]),
    ("toy", ["A toy red car .", "A toy red car ."], []),
    ("single", ["A red train on a track."], [("train", "red")]),
    ("single, clothes", ["A man in a red shirt."], []),
]


@pytest.mark.parametrize(("texts", "expected"), [case[1:] for case in COLOURS], ids=[case[0] for case in COLOURS])
def test_colour(texts: list[str], expected: list[tuple[str, str]]) -> None:
    assert colour.answers(captions(*texts)) == expected


COUNTS: list[tuple[str, list[str], list[tuple[str, str]]]] = [
    ("two men and a dog", ["Two men and a dog .", "Two men with a dog .", "Two guys and a dog ."],
     [("man", "two"), ("dog", "one")]),
    ("sum", ["A man and a woman .", "Two people .", "A man with his wife ."], [("person", "two")]),
    ("couple", ["A couple kisses .", "Two people kiss .", "A man and a woman kiss ."], [("person", "two")]),
    ("a couple of", ["A couple of people walk .", "Two people walk .", "Two people .", "Two people walk ."], []),
    ("crowd", ["Two men before a crowd .", "Two men .", "Two men stand ."], []),
    ("somebody else", ["Two men and another person .", "Two men .", "Two men stand ."], []),
    ("contradicted", ["Two men .", "Two men .", "Three men ."], []),
    ("left out once", ["Two dogs .", "Two dogs run .", "Two dogs play .", "A dog runs ."], [("dog", "two")]),
    ("left out twice", ["Two dogs .", "Two dogs run .", "Two dogs play .", "A dog runs .", "A dog ."], []),
    ("a group of three", ["A group of three men .", "Three men .", "Three men sit ."], [("man", "three")]),
    ("one and another", ["One dog runs as another dog sits .", "Two dogs .", "One dog chases another dog ."],
     [("dog", "two")]),
    ("no number", ["Dogs run .", "Some dogs run ."], []),
    ("one of two", ["Two dogs run while one dog barks .", "Two dogs ."], [("dog", "two")]),
    ("in a compound", ["Two hot dogs .", "Two hot dogs on a plate ."], [("hot_dog", "two")]),
    ("a picture of a dog", ["A man holds a picture of a dog .", "A man holds a picture of a dog .",
                            "A picture of a dog ."], []),
    ("again", ["A man rides while the man smiles .", "A man rides .", "A man ."], [("person", "one")]),
    ("single", ["Three zebras in the grass."], [("zebra", "three")]),
    ("single, one", ["A zebra in the grass."], []),
]


@pytest.mark.parametrize(("texts", "expected"), [case[1:] for case in COUNTS], ids=[case[0] for case in COUNTS])
def test_count(texts: list[str], expected: list[tuple[str, str]]) -> None:
    alone = ("person", "one")  # beside what the case is about
    found = counting.answers(captions(*texts))
    assert [pair for pair in found if pair != alone] == [pair for pair in expected if pair != alone]
    assert alone not in expected or alone in found


def test_present_and_absent() -> None:
    here = captions("A puppy with a bike .", "A dog and a bike .", "A poodle .")
    assert presence.present(here) == {"dog", "bicycle"}
    assert not {"dog", "motorcycle", "bicycle"} & presence.absent(here)  # "bike" might be a motorcycle
    assert {"cat", "boat", "pizza"} <= presence.absent(here)
    assert presence.present(captions("A dog .", "A man .")) == set()  # one caption alone
    assert presence.present(captions("A statue of a dog .", "A dog statue .", "A dog .", "A dog .")) == {"statue"}
    assert presence.present(captions("A biker on a bike .", "A motorcycle and a bike .", "A bike .")) == set()
    assert presence.present(captions("Men play baseball .", "Men playing baseball .")) == {"person"}  # the game
    assert "ball" in presence.present(captions("A man throws a football .", "A man with a football ."))
    for hint, thing in (("An animal runs .", "dog"), ("A vehicle .", "truck"), ("A cyclist races .", "bicycle"),
                        ("A surfer .", "surfboard"), ("A snowy hill .", "snow"), ("A man plays soccer .", "ball"),
                        ("Someone 's hand .", "person"), ("A goalkeeper .", "person"), ("He jumps .", "person"),
                        ("A dog in a bed .", "bed"), ("Dogs .", "dog"), ("Some puppies .", "dog"),
                        ("A hot dog .", "dog")):
        assert thing not in presence.absent(captions(hint, "A thing .")), hint
    assert "person" in presence.absent(captions("A dog near the water .", "A dog at a river ."))
    assert "person" not in presence.absent(captions("A dog ."))  # one caption leaves people out too often


CAPTIONS = ["A dog runs on a beach .", "A man rides a bike on a street .", "A man with a dog and a bike .",
            "A dog and a ball .", "A cat on a couch .", "A dog and a cat on a couch .", "A boat and a dog .",
            "A man and a boat .", "A bus and a car .", "A horse and a dog in a field ."]


def pictures(count: int = 60) -> list[Example]:
    chance = random.Random(5)
    return [Example(image=Path(f"{number}.jpg"), texts=(*[chance.choice(CAPTIONS)] * 2, chance.choice(CAPTIONS)))
            for number in range(count)]


def test_balance_and_hard_negatives() -> None:
    examples = pictures()
    others = companions(examples)
    seen: Counter[str] = Counter()
    for example in examples:
        read_captions = captions(*example.texts)
        pairs = presence.answers(read_captions, others, random.Random(1))
        assert Counter(answer for _, answer in pairs)["yes"] == Counter(answer for _, answer in pairs)["no"]
        seen.update(answer for _, answer in pairs)
        words = " ".join(example.texts).lower().split()
        here = presence.present(read_captions) | ({"person"} if "man" in words else set())
        for thing, answer in pairs:
            if answer == "no" and thing != "person":
                assert not (THINGS[thing].names | THINGS[thing].hints) & set(words), (thing, words)
            if answer == "no":  # it comes with what is here in other pictures
                assert any(others.together[near][thing] >= presence.OFTEN for near in here)
    assert seen["yes"] == seen["no"] > 30


def test_nothing_is_asked_in_vain_that_never_comes_along() -> None:
    few = Companions.of([["A dog .", "A dog ."], ["A cat .", "A cat ."]] * 5)
    assert presence.answers(captions("A dog .", "A dog runs ."), few, random.Random(1)) == []


ACTIVITIES: list[tuple[str, list[str], list[tuple[str, str]]]] = [
    ("object", ["A man rides a bike .", "A man in a red shirt is riding a bicycle ."], [("man", "riding a bike")]),
    ("object of one", ["A man is playing soccer .", "A man plays in the park ."], []),
    ("alone", ["A dog runs in the snow .", "A brown dog is running .", "A dog ."], [("dog", "running")]),
    ("disagree", ["A dog runs .", "A dog is running .", "A dog jumps .", "A dog leaps ."], []),
    ("two who do", ["A man runs and a woman sits .", "A man runs .", "A man runs ."], []),
    ("posture and more", ["A man sits .", "A man sits on a bench .", "A man reads a book .", "A man reading a book ."],
     [("man", "reading a book")]),
    ("posture against motion", ["A man stands .", "A man stands .", "A man walks ."], []),
    ("who runs", ["A man with a dog running .", "A man with a dog running fast ."], []),
    ("many", ["Two dogs run .", "Two dogs are running .", "Dogs on grass ."], [("dogs", "running")]),
    ("one or many", ["Two dogs run .", "A dog runs ."], []),
    ("game", ["Two boys play soccer .", "Two boys playing soccer ."], [("boys", "playing soccer")]),
    ("wearing says nothing", ["A man wearing a hat .", "A man wears a hat ."], []),
    ("compound", ["A dog race .", "A dog race ."], []),
    ("breed as object", ["A woman walks a poodle .", "A woman is walking a dog ."], [("woman", "walking a dog")]),
    ("single", ["A man riding a wave on top of a surfboard."], [("man", "riding a wave")]),
]


@pytest.mark.parametrize(("texts", "expected"), [case[1:] for case in ACTIVITIES], ids=[case[0] for case in ACTIVITIES])
def test_activity(texts: list[str], expected: list[tuple[str, str]]) -> None:
    assert activity.answers(captions(*texts)) == expected


PLACES: list[tuple[str, list[str], list[str]]] = [
    ("two agree", ["A dog runs on the beach .", "A dog at a sandy beach .", "A dog in the sand ."], ["on a beach"]),
    ("one alone", ["A dog on the beach .", "A dog ."], []),
    ("contradicted", ["A man on the beach .", "A man on a beach .", "A man in a forest ."], []),
    ("kin", ["A dog in the snow .", "A dog in deep snow .", "A dog on a mountain ."], ["in the snow"]),
    ("a tie", ["A dog in a field .", "A dog on the grass ."], []),
    ("compound", ["A man on a beach chair .", "A man with a beach ball at a pool table ."], []),
    ("beside it", ["A man near the ocean .", "A man by the ocean .", "A man looking at the ocean ."], []),
    ("looked at", ["A man is looking across the water at a city .", "A man looks at a city ."], []),
    ("a square", ["A boy in the street .", "A boy in a street .", "A boy in a plaza .", "A boy in a plaza ."], []),
    ("wood", ["A house made in wood .", "A bench in wood ."], []),
    ("woods", ["A man in the woods .", "A man walks through the woods ."], ["in a forest"]),
    ("snow park", ["A man in a snow park .", "A man at a snow park ."], []),
    ("a tower", ["A tower in the sky .", "A tower high in the sky ."], []),
    ("a kite", ["A kite in the sky .", "A kite flies in the sky ."], ["in the sky"]),
    ("single", ["A man sitting in a kitchen."], ["in a kitchen"]),
    ("tennis", ["A man on a tennis court.", "A man plays on a tennis court."], ["on a tennis court"]),
]


@pytest.mark.parametrize(("texts", "expected"), [case[1:] for case in PLACES], ids=[case[0] for case in PLACES])
def test_place(texts: list[str], expected: list[str]) -> None:
    assert place.answers(captions(*texts)) == expected


def test_asked_examples_are_the_same_every_time_and_keep_their_pictures() -> None:
    examples = pictures()
    asked, kinds = asked_examples(examples)
    assert (asked, kinds) == asked_examples(examples)
    assert len(asked) == len(kinds) and set(kinds) <= set(KINDS) and {"presence", "activity", "place"} <= set(kinds)
    assert {example.image for example in asked} <= {example.image for example in examples}
    assert all(len(example.texts) == 1 and example.prompt.endswith("?") for example in asked)
    assert len({example.prompt.replace("dog", "cat") for example in asked}) > 10  # several phrasings
    # The companions are the training split's: a picture's questions do not change with the pictures beside it.
    others = companions(examples)
    assert asked_examples(examples[7:8], others)[0] == [row for row in asked if row.image == examples[7].image]


def test_the_same_in_every_process() -> None:
    """Sets have another order in each process; questions must not."""
    script = ("from pathlib import Path; from narrator.records import Example\n"
              "from trainer.questions import asked_examples\n"
              "texts = ('A man and a dog and a cat on a bike .', 'A boat and a bus .', 'A horse and a kite .')\n"
              "data = [Example(image=Path(f'{n}.jpg'), texts=(texts[n % 3],) * 3) for n in range(30)]\n"
              "data += [Example(image=Path(f'x{n}.jpg'), texts=(' '.join(texts),) * 3) for n in range(5)]\n"
              "print(asked_examples(data))")
    said = [subprocess.run([sys.executable, "-c", script], cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": seed},
                           capture_output=True, text=True, check=True).stdout for seed in ("1", "2")]
    assert said[0] == said[1] and "Is there" in said[0]


def test_the_page_prints_the_lists() -> None:
    assert word_lists() in (ROOT / "docs" / "questions.md").read_text(encoding="utf-8")


def test_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = []
    for number in range(20):
        picture(tmp_path / f"{number}.png")
        rows.append({"image": f"{number}.png", "captions": [CAPTIONS[number % 5]] * 3, "split": "train"})
    (tmp_path / "captions.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert main([str(tmp_path), "--split", "train"]) == 0
    table = capsys.readouterr().out
    assert "| presence |" in table and "| 50.0% |" in table
    assert main([]) == 2 and main([str(tmp_path / "none")]) == 2
    assert "There is no data at" in capsys.readouterr().err


def test_hostile_captions() -> None:
    for text in ("", " ", "\0", "?" * 1000, "dog " * 2000, "a a a a", "日本語 の 犬", "the of and", "'s", "orange and",
                 "and and", ", , black and", "black and", "a", "two two two dogs", "-", "---", "no", "couple"):
        example = Example(image=Path("x.jpg"), texts=(text, text))
        assert isinstance(asked_examples([example]), tuple)


def test_the_photographs(data_root: Path) -> None:
    examples = read_examples(data_root / "flickr8k", split="dev", report=lambda line: None)
    asked, kinds = asked_examples(examples)
    answers = Counter(example.texts[0] for example, kind in zip(asked, kinds, strict=True) if kind == "presence")
    assert answers["yes"] == answers["no"] > 500
    assert min(Counter(kinds)[kind] for kind in KINDS) > 100

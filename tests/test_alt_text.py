"""Alternative texts: short, whole, to the point, the same when made twice, whatever is put in."""

import random
import unicodedata

import pytest

from narrator.batch.alt_text import MOST, PREFIXES, alt_text, strip_prefix

STRIPPED = {
    "The image shows a dog on grass.": "A dog on grass.",
    "Describe this image: a dog": "A dog",
    "Describe the picture in one sentence. A red bus.": "A red bus.",
    "What is in this image? A red bus.": "A red bus.",
    "Sure! Here is a short description of the image: A red bus.": "A red bus.",
    "Here's the alt text: a red bus": "A red bus",
    "**Description:** A red bus.": "A red bus.",
    "Alt text: a red bus": "A red bus",
    "Image may contain: dog, grass": "Dog, grass",
    "In this picture, we can see two children.": "Two children.",
    "In the photo, two children play.": "Two children play.",
    "We can see a harbour.": "A harbour.",
    "This is a photo of the harbour.": "The harbour.",
    "This image is a photograph of a cat.": "A cat.",
    "a picture of a cat": "A cat",
    "An image of a photo of a cat": "A cat",
    "the photo depicts that a cat sleeps": "A cat sleeps",
    "Photos of boats": "Boats",
    "THE IMAGE SHOWS iPhone cases": "iPhone cases",
    "An image of …": "",
}
KEPT = ["A dog takes a photo of a cat.", "A photo album on a table.", "A picture hangs over the sofa.", "Text: STOP",
        "The picture shows up well against the wall.", "A black and white photo of a man.", "There are two dogs.",
        "Surely a dog.", "Ένα σκυλί στο γρασίδι.", "犬が草の上を走る。", "", "What is in the box?",
        "A painting of a lake."]


@pytest.mark.parametrize("text", STRIPPED)
def test_a_beginning_that_says_nothing_is_taken_off(text: str) -> None:
    assert strip_prefix(text) == STRIPPED[text]
    assert strip_prefix(STRIPPED[text]) == STRIPPED[text]


@pytest.mark.parametrize("text", KEPT)
def test_what_says_something_stays(text: str) -> None:
    assert strip_prefix(f" {text}\n") == text


def test_each_documented_phrase_is_one() -> None:
    for phrase, _ in PREFIXES:
        assert strip_prefix(f"{phrase} seven boats") == "Seven boats", phrase
        assert alt_text(f"{phrase} seven boats") == "Seven boats.", phrase


ALTS = {
    "a dog runs on grass": "A dog runs on grass.",
    "  The image shows\n a dog ,": "A dog.",
    "There are two dogs on a sofa": "Two dogs on a sofa.",
    "This is a cat.": "A cat.",
    "A black and white photo of a man in a hat": "A man in a hat.",
    "A close-up photograph of a bee": "A bee.",
    "Is it a dog?": "Is it a dog?",
    "“STOP” is written on a sign": "“STOP” is written on a sign.",
    "a sign says “stop.”": "A sign says “stop.”",
    "犬が草の上を走る": "犬が草の上を走る。",
    "ein Hund läuft": "Ein Hund läuft.",
    "🐕": "🐕.",
    "an image of": "", " \n": "", "...": "", "\x00": "",
}


@pytest.mark.parametrize("text", ALTS)
def test_an_alternative_text_is_short_and_whole(text: str) -> None:
    assert alt_text(text) == ALTS[text]


def test_whole_sentences_come_before_clauses_and_clauses_before_words() -> None:
    first = "A woman in a red coat walks two small dogs along a beach in the evening."
    assert alt_text(f"{first} Behind her the sun goes down over the sea, and a few people look at it.") == first
    assert alt_text("A woman in a red coat walks two small dogs along a beach in the evening, while behind her the sun "
                    "goes down over the sea and a few people look at it") == first
    long = ("A woman in a red coat walks two small dogs along a beach in the evening and behind her the sun goes down "
            "over the sea where people look")
    assert alt_text(long) == ("A woman in a red coat walks two small dogs along a beach in the evening and behind her "
                              "the sun goes down over the sea.")
    assert alt_text("A dog. " + long.replace("A woman", "It looks at a woman who")).startswith("A dog. It looks at a")
    saint = "A view from the top of a hill over the roofs of the old town and on to St. " + "Mary " * 20
    assert alt_text(saint).endswith("Mary.") and len(alt_text(saint)) > 110


@pytest.mark.parametrize("text", [
    "w" * 300, "é" * 300, "e\u0301" * 300, "👩\u200d👩\u200d👧" * 60, "x" + "🇫🇷" * 90, "\u0301" * 300, "the " * 90,
    "犬" * 300, "the image shows " * 40, "a photo of " * 40 + "a cat", "\ud83d half a sign " * 12,
    "A\u202edog\u202c " * 40])
def test_nothing_is_cut_in_two_and_nothing_is_too_long(text: str) -> None:
    made = alt_text(text)
    assert len(made) <= MOST and alt_text(made) == made
    made.encode()  # valid Unicode
    if text[0] in "e👩x":
        bare = made.rstrip("….").lower().removeprefix("x")
        unit = text.removeprefix("x")[:{"e": 2, "👩": 5, "x": 2}[text[0]]]
        assert bare == unit * (len(bare) // len(unit))


def test_any_text_gives_a_sound_one() -> None:
    """Of 3,000 heaps of words, signs and phrases each comes out short, finished, without its openings, and stable."""
    dice = random.Random(5)
    parts = [*(phrase for phrase, _ in PREFIXES), "a", "dog", "image", "of", "picture", "the", "shows", "Dr.",
             ",", ".", "!", ";", ":", "—", "and", "while", "\n", "\u200d", "é", "e\u0301", "🐕", "犬", "。", "\u202e",
             "“", "”", "extraordinarily", "black and white", "This is a", "there is"]
    said = 0
    for _ in range(3000):
        text = (" " if dice.random() < 0.8 else "").join(dice.choices(parts, k=dice.randrange(1, 60)))
        made = alt_text(text)
        assert len(made) <= MOST and alt_text(made) == made and strip_prefix(made) == made, text
        assert strip_prefix(strip_prefix(text)) == strip_prefix(text)
        assert not made or (not made[0].isspace() and unicodedata.category(made.rstrip("\"”’")[-1])[0] in "PS"), made
        said += bool(made)
    assert said > 2000


def test_a_million_characters_take_no_time() -> None:
    assert alt_text("the image shows " * 65_000) == ""
    assert len(alt_text("word " * 200_000)) <= MOST

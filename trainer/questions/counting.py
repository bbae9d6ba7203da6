"""How many people are there? -> "two"."""

from collections.abc import Sequence

from trainer.questions.reading import Caption, Phrase
from trainer.questions.things import COUNTED, CROWDS, PEOPLE, THINGS
from trainer.questions.words import NAMES, NUMBERS, singular

VAGUE = -1  # more than one, the caption does not say how many
UNSURE = -2  # the caption cannot be counted
RELATED = {"his", "her", "their"}


def answers(captions: Sequence[Caption]) -> list[tuple[str, str]]:
    """(noun in the singular, number word) for what at least two captions count alike and none counts higher."""
    found = []
    for thing in ("person", *sorted(COUNTED)):
        counts = [count for caption in captions if (count := count_of(caption, thing)) is not None]
        number = agreed(counts, len(captions), strict=thing == "person")
        if number:
            found.append((_noun(captions, thing, number), NAMES[number]))
    return found


def agreed(counts: list[int], captions: int, strict: bool) -> int:
    """The number that the counts of a picture's captions amount to, 0 where they do not.

    counts: one for each caption that speaks of the thing. strict: for people, whom captions often leave out.
    """
    if not counts or UNSURE in counts:
        return 0
    exact = [count for count in counts if count > 0]
    number = max(exact, default=0)
    if not number or number not in NAMES:
        return 0
    votes = exact.count(number)
    if captions == 1:
        return number if number > 1 else 0
    if number == 1:
        return 1 if votes == len(counts) >= (captions - 1 if strict else 3) else 0
    lower = len(exact) - votes
    return number if votes >= (3 if lower or strict else 2) and lower <= 1 else 0


def count_of(caption: Caption, thing: str) -> int | None:
    """How many of `thing` the caption counts; VAGUE, UNSURE, or None when it does not speak of it."""
    heads = [phrase for phrase in caption.phrases if phrase.thing == thing]
    if thing == "person":
        couple = _couple(caption)
        if _crowded(caption) or couple == UNSURE or (couple and any(phrase.number for phrase in heads)):
            return UNSURE
        if couple:
            return couple
    loose = _is_loose(caption, thing, heads)
    if not heads:
        return UNSURE if loose else None
    if loose or any(not phrase.real for phrase in heads):
        return UNSURE
    return _sum(caption, heads)


def _sum(caption: Caption, heads: list[Phrase]) -> int:
    """The number that the phrases of one thing add up to; VAGUE, UNSURE."""
    total, vague = 0, False
    seen: set[str] = set()
    largest = max((phrase.number or 0) for phrase in heads)
    for phrase in heads:
        if "other" in phrase.modifiers or phrase.determiner in ("each", "every", "no", "both"):
            return UNSURE
        if phrase.plural:
            if phrase.number is None:
                if phrase.determiner in ("the", "these", "those") and seen:
                    continue
                vague = True
            total += phrase.number or 0
        elif phrase.determiner in ("a", "an", "another", ""):
            if largest > 1 and seen:  # "two girls ... while a girl": one of them, or one more
                return UNSURE
            total += 0 if phrase.determiner == "" and phrase.noun in seen else 1
        elif phrase.determiner == "one":
            if largest > 1 and seen:
                continue
            if "other" in caption.lemmas:
                return UNSURE
            total += 1
        elif phrase.noun not in seen or (phrase.determiner in RELATED and phrase.thing == "person"):
            if largest > 1 and seen:
                return UNSURE
            total += 1
        seen.add(phrase.noun)
    return VAGUE if vague else total


def _couple(caption: Caption) -> int:
    """2 for "a couple", 0 without one, UNSURE for "a couple of" (which is said of three as well)."""
    tokens = caption.tokens
    if "couple" not in caption.lemmas:
        return 0
    place = next((place for place, token in enumerate(tokens) if singular(token) == "couple"), 0)
    if tokens[place] != "couple" or tokens[place + 1:place + 2] == ("of",):
        return UNSURE
    return 2 if any(phrase.noun == "couple" for phrase in caption.phrases) else UNSURE


def _crowded(caption: Caption) -> bool:
    """Whether a word stands for an unknown number of people; "a group of three men" is counted."""
    words = caption.lemmas & CROWDS
    if not words:
        return False
    tokens = caption.tokens
    return any(singular(token) in CROWDS and not (tokens[place + 1:place + 2] == ("of",) and tokens[place + 2:place + 3]
               and tokens[place + 2] in NUMBERS) for place, token in enumerate(tokens))


def _is_loose(caption: Caption, thing: str, heads: list[Phrase]) -> bool:
    """Whether words for the thing stand outside the phrases that were read, so that the sum may lack some."""
    names = PEOPLE if thing == "person" else THINGS[thing].names
    read = {phrase.end - 1 for phrase in heads}
    return any(singular(token) in names and place not in read for place, token in enumerate(caption.tokens))


def _noun(captions: Sequence[Caption], thing: str, number: int) -> str:
    """"man" where every person that a caption names is called so, else the general word."""
    if thing != "person":
        return thing
    nouns = {phrase.noun for caption in captions for phrase in caption.phrases if phrase.noun in PEOPLE}
    nouns |= {token for caption in captions for token in caption.lemmas & PEOPLE}
    nouns = {"man" if noun == "guy" else "child" if noun == "kid" else noun for noun in nouns} - {"person"}
    plain = len(nouns) == 1 and nouns <= {"man", "woman", "child", "girl", "boy"}
    return nouns.pop() if plain and number > 1 else "person"

"""What colour is the dog? -> "black and white"."""

from collections import Counter
from collections.abc import Sequence

from trainer.questions.reading import NAMED, Caption, Phrase
from trainer.questions.things import COLOURED, COLOURED_CLOTHES, COLOURED_OBJECTS, PEOPLE
from trainer.questions.words import COLOUR_ORDER, COLOURS, MARKINGS, PATTERNED, SHADES, singular

# A breed's name is no colour.
BREEDS = {("golden", "retriever"), ("golden", "retreiver"), ("golden", "labrador"), ("yellow", "labrador"),
          ("black", "labrador"), ("red", "hound"), ("blue", "hound"), ("brown", "bear")}
ANOTHER = {"another", "each", "every", "no", "one", "several"}
TOGETHER = {"couple", "crowd", "group"}
LIGHT_BROWN = {"light", "pale"}


def colours_of(phrase: Phrase) -> frozenset[str] | None:
    """The colours that the phrase gives its thing; None where it gives them in a way that is no plain answer."""
    found, words = [], phrase.modifiers
    if set(words) & PATTERNED:
        return None
    for place, word in enumerate(words):
        after = words[place + 1] if place + 1 < len(words) else phrase.noun
        if word in COLOURS and (word, after) in BREEDS:
            return None
        if "-" in word and set(word.split("-")) & set(COLOURS):
            parts = [COLOURS[part] for part in word.split("-") if part in COLOURS]
            if not set(word.split("-")) <= set(COLOURS) | {"and"}:
                return None
            found += parts
        elif word in COLOURS:
            brown = COLOURS[word] == "brown" and place > 0 and words[place - 1] in LIGHT_BROWN
            found.append("tan" if brown else COLOURS[word])
    return frozenset(found)


def name_of(colours: frozenset[str]) -> str:
    """"black and white", "black, brown and white": in one order, whatever the caption's."""
    ordered = sorted(colours, key=COLOUR_ORDER.index)
    return ordered[0] if len(ordered) == 1 else ", ".join(ordered[:-1]) + " and " + ordered[-1]


def answers(captions: Sequence[Caption]) -> list[tuple[str, str]]:
    """(noun, colours) for each thing that is there once and whose colours at least two captions agree on.

    A picture with a single caption needs that one alone, and gives no clothes.
    """
    if any(caption.grey for caption in captions):
        return []
    things: dict[str, list[tuple[int, Phrase]]] = {}
    for number, caption in enumerate(captions):
        for phrase in caption.phrases:
            name = _asked(phrase.noun)
            if name:
                things.setdefault(name, []).append((number, phrase))
    alone = _one_person(captions)
    found = []
    for name, heads in things.items():
        if name in COLOURED_CLOTHES and (not alone or len(captions) == 1):
            continue
        colour = _agreed(name, heads, captions)
        if colour:
            found.append((name, colour))
    return found


def _asked(noun: str) -> str:
    """What the question calls it, "" for what it does not ask about."""
    thing = NAMED.get(noun, noun)
    if thing in COLOURED:
        return thing
    return noun if noun in COLOURED_CLOTHES | COLOURED_OBJECTS else ""


def _agreed(name: str, heads: list[tuple[int, Phrase]], captions: Sequence[Caption]) -> str:
    """The colours that two captions give and none contradicts, "" where there are none."""
    if not _once(heads):
        return ""
    votes: Counter[frozenset[str]] = Counter()
    for _, phrase in heads:
        colours = colours_of(phrase)
        if colours is None or not phrase.real:
            return ""
        if colours:
            votes[colours] += 1
    if not votes:
        return ""
    best = max(votes, key=lambda colours: (votes[colours], len(colours), name_of(colours)))
    needed = 2 if len(captions) > 1 else 1
    others = [colours for colours in votes if colours != best]
    if votes[best] < needed or any(not other <= best or votes[other] >= votes[best] for other in others):
        return ""
    return "" if any(_marked(captions[number], phrase, best) for number, phrase in heads) else name_of(best)


def _once(heads: list[tuple[int, Phrase]]) -> bool:
    """Whether no caption speaks of two: no plural, no second "a", no "another", no "other"."""
    if any(phrase.plural or (phrase.number or 1) > 1 or phrase.determiner in ANOTHER
           or "other" in phrase.modifiers or "second" in phrase.modifiers for _, phrase in heads):
        return False
    opened = Counter(number for number, phrase in heads if phrase.determiner in ("a", "an", ""))
    return all(count < 2 for count in opened.values())


def _marked(caption: Caption, phrase: Phrase, colours: frozenset[str]) -> bool:
    """Whether "with brown spots" follows, or "and white" of another colour than these."""
    rest = caption.tokens[phrase.end:phrase.end + 8]
    if rest[:1] not in (("with",), ("that",), ("who",), ("whose",), ("which",), ("has",), ("is",), (",",), ("and",)):
        return False
    near = [COLOURS[word] for word in rest if word in COLOURS]
    spotted = any(singular(word) in MARKINGS for word in rest)
    stated = rest[:1] == ("is",) and len(rest) > 1 and (rest[1] in COLOURS or rest[1] in SHADES)
    return (spotted or stated) and any(colour not in colours for colour in near)


def _one_person(captions: Sequence[Caption]) -> bool:
    """Whether every caption speaks of one person at most, so that "the shirt" is clear."""
    for caption in captions:
        people = [phrase for phrase in caption.phrases if phrase.noun in PEOPLE | TOGETHER]
        if any(phrase.plural or phrase.noun in TOGETHER for phrase in people):
            return False
        if len([phrase for phrase in people if phrase.determiner not in ("the", "")]) > 1:
            return False
        if len({phrase.noun for phrase in people}) > 1:
            return False
        if caption.lemmas & {"another", "other", "others", "someone", "crowd"}:
            return False
    return True


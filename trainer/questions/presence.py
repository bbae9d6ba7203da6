"""Is there a dog in the picture? -> "yes", "no"; what is not there often comes with what is."""

from __future__ import annotations

import dataclasses
import math
import random
from collections import Counter
from collections.abc import Iterable, Sequence

from trainer.questions.reading import Caption, read, says_person
from trainer.questions.things import PEOPLE, THINGS
from trainer.questions.words import words

ASKED = (*sorted(THINGS), "person")
OFTEN = 2  # pictures in which a companion must have been seen beside something that is here
EACH = 2  # questions answered yes, and as many answered no, for one picture at most
PERSON_KEPT = 0.18  # most photographs have somebody: asked every time, the answer would be "yes" without a look
# Captions of people's doings leave these out too often for a "no" from one caption alone.
NOT_FROM_ONE = words("person car clock flag bed sink phone laptop ball balloon bench umbrella")


@dataclasses.dataclass(frozen=True)
class Companions:
    """How often things are seen, and seen together, in a set of pictures."""

    seen: Counter[str]  # thing -> pictures
    together: dict[str, Counter[str]]  # thing -> companion -> pictures

    @classmethod
    def of(cls, pictures: Iterable[Sequence[str]]) -> Companions:
        """From the captions of each picture."""
        seen: Counter[str] = Counter()
        together: dict[str, Counter[str]] = {}
        for texts in pictures:
            there = present([read(text) for text in texts])
            seen.update(there)
            for thing in there:
                together.setdefault(thing, Counter()).update(there - {thing})
        return cls(seen, together)

    def weights(self, here: set[str]) -> dict[str, float]:
        """Thing -> how much it would be expected beside what is here; only things seen beside it OFTEN enough.

        The share of pictures with a thing of `here` that have the companion too, the largest over `here`, times the
        square root of how often the companion is seen at all, so that no thing's answer is "no" for its rarity.
        """
        found: dict[str, float] = {}
        for thing in here:
            for companion, count in self.together.get(thing, Counter()).items():
                if count >= OFTEN and companion not in here:
                    share = count / self.seen[thing]
                    found[companion] = max(found.get(companion, 0.0), share * math.sqrt(self.seen[companion]))
        return found


def present(captions: Sequence[Caption]) -> set[str]:
    """What two captions (or the only one) say is there, beside nothing that makes it doubtful."""
    needed = 2 if len(captions) > 1 else 1
    votes: Counter[str] = Counter()
    for caption in captions:
        votes.update({phrase.thing for phrase in caption.phrases if phrase.real and phrase.thing in ASKED})
        if "snow" in caption.tokens and not caption.lemmas & {"snowless", "fake", "machine", "artificial"}:
            votes["snow"] += 1
    words = frozenset().union(*(caption.lemmas for caption in captions))
    unreal = {phrase.thing for caption in captions for phrase in caption.phrases if not phrase.real}
    return {thing for thing, count in votes.items()
            if count >= needed and thing not in unreal and not (thing in THINGS and THINGS[thing].doubts & words)}


def absent(captions: Sequence[Caption]) -> set[str]:
    """What no word of any caption speaks of: neither its name nor a synonym, hypernym, part or user of it."""
    words = frozenset().union(*(caption.lemmas for caption in captions))
    pieces = words | {piece for word in words for piece in word.replace("_", "-").split("-")}
    free = {name for name, thing in THINGS.items() if not (thing.names | thing.hints | thing.doubts) & pieces}
    if not any(says_person(caption) for caption in captions):
        free.add("person")
    return free - NOT_FROM_ONE if len(captions) == 1 else free


def answers(captions: Sequence[Caption], companions: Companions, chance: random.Random) -> list[tuple[str, str]]:
    """(thing, "yes" or "no"): as many of each, at most EACH."""
    there = present(captions)
    asked = there - ({"person"} if chance.random() > PERSON_KEPT else set())
    here = there | ({"person"} if any(caption.lemmas & PEOPLE for caption in captions) else set())
    free = absent(captions)
    weights = {thing: weight for thing, weight in sorted(companions.weights(here).items()) if thing in free}
    missing = draw(weights, EACH, chance)
    # A thing that is asked for in vain more rarely than it is there would be "yes" without a look at the picture.
    found = draw({thing: 1 / math.sqrt(1 + companions.seen[thing]) for thing in sorted(asked)}, EACH, chance)
    count = min(len(found), len(missing))
    return [(thing, "yes") for thing in found[:count]] + [(thing, "no") for thing in missing[:count]]


def draw(weights: dict[str, float], count: int, chance: random.Random) -> list[str]:
    """`count` different keys, each next one with a chance in proportion to its weight."""
    left, drawn = dict(weights), list[str]()
    while left and len(drawn) < count:
        names = list(left)
        drawn.append(chance.choices(names, [left[name] for name in names])[0])
        del left[drawn[-1]]
    return drawn

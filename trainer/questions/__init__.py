"""Questions and answers about a photograph, made by rules from its human captions.

docs/questions.md has the rules, what they were measured to get wrong, and the word lists.
"""

import dataclasses
import random
from collections.abc import Sequence

from narrator.records import Example
from trainer.questions import activity, colour, counting, place, presence
from trainer.questions.presence import Companions
from trainer.questions.reading import read
from trainer.questions.things import MASS
from trainer.questions.words import plural

__all__ = ["KINDS", "Asked", "Companions", "asked_examples", "companions", "questions"]

KINDS = ("colour", "count", "presence", "activity", "place")
PHRASINGS = {
    "colour": ("What colour is the {}?", "What color is the {}?", "What is the colour of the {}?",
               "Which colour is the {}?"),
    "colours": ("What colour are the {}?", "What color are the {}?", "What is the colour of the {}?",
                "Which colour are the {}?"),
    "count": ("How many {} are there?", "How many {} can you see?", "How many {} are in the picture?",
              "What is the number of {}?"),
    "presence": ("Is there {} in the picture?", "Can you see {}?", "Does the picture show {}?", "Is there {}?"),
    "activity": ("What is the {} doing?", "What is the {} in the picture doing?", "What is the {} doing here?"),
    "activities": ("What are the {} doing?", "What are the {} in the picture doing?", "What are the {} doing here?"),
    "place": ("Where is this?", "Where was this picture taken?", "Where does this take place?", "What place is this?"),
}
ONE_KEPT = 0.2  # of the counts that are "one", so that it is not the answer to nearly every question
PLURAL_CLOTHES = {"shorts", "pants", "trunks"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Asked:
    """A question with its answer. kind: one of KINDS. about: the noun asked about, "" for a place."""

    prompt: str
    answer: str
    kind: str
    about: str = ""


def companions(examples: Sequence[Example]) -> Companions:
    """What is seen together in the pictures of `examples`; hand in those of the training split alone."""
    return Companions.of(example.texts for example in examples)


def questions(example: Example, others: Companions) -> list[Asked]:
    """All questions that the captions of one picture can answer, the same ones on every run.

    others: what the absent things of the questions answered "no" are drawn from.
    """
    name = example.image.name if example.image is not None else "\n".join(example.texts)
    captions = [read(text) for text in example.texts]
    found = [_asked("colours" if noun in PLURAL_CLOTHES else "colour", answer, _plain(noun), name)
             for noun, answer in colour.answers(captions)]
    for noun, answer in counting.answers(captions):
        if answer != "one" or random.Random(f"{name} count {noun}").random() < ONE_KEPT:
            found.append(_asked("count", answer, plural(_plain(noun)), name))
    for noun, answer in presence.answers(captions, others, random.Random(f"{name} presence")):
        found.append(_asked("presence", answer, with_article(noun), name))
    for noun, answer in activity.answers(captions):
        found.append(_asked("activities" if activity.is_many(noun) else "activity", answer, _plain(noun), name))
    return found + [_asked("place", answer, "", name) for answer in place.answers(captions)]


def asked_examples(examples: Sequence[Example], others: Companions | None = None) -> tuple[list[Example], list[str]]:
    """Each question of each picture as an Example (image, the question as prompt, the answer as text), and their kinds.

    Pictures come in their order and no picture is added, so what was one split stays one. others: as in `questions`;
    the examples' own where it is left out.
    """
    if others is None:
        others = companions(examples)
    pairs = [(example, asked) for example in examples for asked in questions(example, others)]
    return ([Example(image=example.image, texts=(asked.answer,), prompt=asked.prompt) for example, asked in pairs],
            [asked.kind for _, asked in pairs])


def with_article(noun: str) -> str:
    """"a dog", "an umbrella", "any snow"."""
    plain = _plain(noun)
    if noun in MASS:
        return f"any {plain}"
    return ("an " if plain[0] in "aeiou" else "a ") + plain


def _plain(noun: str) -> str:
    return noun.replace("_", " ")


def _asked(form: str, answer: str, about: str, name: str) -> Asked:
    phrasing = random.Random(f"{name} {form} {about}").choice(PHRASINGS[form])
    kind = {"colours": "colour", "activities": "activity"}.get(form, form)
    return Asked(prompt=phrasing.format(about), answer=answer, kind=kind, about=about)

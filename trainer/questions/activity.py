"""What is the man doing? -> "riding a bike"."""

import dataclasses
from collections import Counter
from collections.abc import Sequence

from trainer.questions.reading import Caption, Phrase
from trainer.questions.things import ANIMALS, CLOTHES, CROWDS
from trainer.questions.words import (
    ALONE,
    ING,
    POSTURES,
    SAME_VERB,
    THIRD,
    VERBS,
    WITH_OBJECT,
    ing,
    plural,
    singular,
    words,
)

GAMES = words("""
    soccer football basketball baseball tennis hockey volleyball rugby cricket golf softball lacrosse polo
    ping-pong chess cards frisbee""")
BALLS = {"football", "basketball", "baseball", "volleyball", "frisbee"}
KEPT = words("canoe kayak tricycle unicycle")  # called by their own name, not "boat" and "bicycle"
INSTRUMENTS = words("guitar violin piano drum horn trumpet saxophone accordion flute instrument")
SAME_OBJECT = {"bicycle": "bike", "racquet": "racket", "infant": "baby", "toddler": "child", "kid": "child"}
UNCOUNTED = words("food ice_cream cotton_candy snow beer coffee wine soda juice milk grass paper teeth broccoli")
WORN = {("dressed", "in"), (",", "wearing"), ("and", "wearing")}
# Nobody does two of these at once: where the captions are divided, nothing is asked.
EXCLUSIVE = words("run walk stand sit lie swim climb crouch kneel fly jump hike jog")
MOTIONS = words("""
    run walk jump swim climb hike jog ride dive surf ski snowboard skateboard dance throw kick catch chase""")


@dataclasses.dataclass(frozen=True)
class Deed:
    """What one caption says that its subject does. object: "a bike", "" where none is read."""

    subject: Phrase
    verb: str
    object: str


def answers(captions: Sequence[Caption]) -> list[tuple[str, str]]:
    """At most one (subject as the question names it, what it is doing); two captions agree, or there is only one."""
    deeds = [deed for caption in captions if (deed := deed_of(caption)) is not None]
    if not deeds:
        return []
    kinds = {deed.subject.thing for deed in deeds}
    if len(kinds) > 1 or not _one_subject(captions, next(iter(kinds))):
        return []
    needed = 2 if len(captions) > 1 else 1
    verb = _agreed_verb(deeds, needed)
    if not verb:
        return []
    of_verb = [deed for deed in deeds if deed.verb == verb]
    objects = Counter(deed.object for deed in of_verb if deed.object)
    best = max(objects, key=lambda name: (objects[name], name), default="")
    if best and objects[best] >= needed:
        return [(_name(captions, of_verb), f"{ing(verb)} {best}")]
    alone = verb in ALONE and not (verb in WITH_OBJECT and objects)
    return [(_name(captions, of_verb), ing(verb))] if alone or (verb == "play" and not objects) else []


def _agreed_verb(deeds: Sequence[Deed], needed: int) -> str:
    """The verb with the most captions; a posture only where nothing else has `needed`; "" in a tie of others."""
    votes = Counter(deed.verb for deed in deeds)
    strong = {verb: count for verb, count in votes.items() if verb not in POSTURES} or dict(votes)
    if max(strong.values()) < needed:
        strong = dict(votes)
    top = max(strong.values())
    best = sorted(verb for verb, count in strong.items() if count == top)
    if top < needed or len(best) > 1:
        return ""
    against = EXCLUSIVE - {best[0]} if best[0] in EXCLUSIVE else frozenset()
    opposed = sum(votes[verb] for verb in against)
    return "" if opposed > top / 2 or (best[0] in POSTURES and set(votes) & MOTIONS) else best[0]


def deed_of(caption: Caption) -> Deed | None:
    """What the subject that opens the caption does, None where the caption is not of that plain form."""
    if not caption.phrases or caption.phrases[0].start != 0:
        return None
    subject = caption.phrases[0]
    if (subject.thing != "person" and subject.thing not in ANIMALS) or not subject.real:
        return None
    place = _after_subject(caption, subject)
    if place is None:
        return None
    tokens = caption.tokens
    if tokens[place:place + 1] and tokens[place] in ("is", "are"):
        place += 1
        verb = ING.get(tokens[place], "") if place < len(tokens) else ""
    elif place < len(tokens):
        token = tokens[place]
        verb = ING.get(token, "") or THIRD.get(token, "")
        if token in VERBS and subject.plural:
            verb = token
    else:
        verb = ""
    verb = SAME_VERB.get(verb, verb)
    if (verb not in ALONE and verb not in WITH_OBJECT) or (verb == "fly" and subject.thing == "person"):
        return None
    return Deed(subject, verb, _object(caption, place + 1, verb))


def _after_subject(caption: Caption, subject: Phrase) -> int | None:
    """Where the verb should stand: after the subject, and after what it wears."""
    place, tokens = subject.end, caption.tokens
    starts = {phrase.start: phrase for phrase in caption.phrases}
    while place < len(tokens) and tokens[place] in ("in", "with", "wearing", "and", ",", "dressed"):
        joined = tokens[place] == "and"
        step = place + (2 if tokens[place:place + 2] in WORN else 1)
        worn = starts.get(step)
        if worn is None or worn.noun not in CLOTHES or (joined and step == subject.end + 1):
            return None
        place = worn.end
    return place


def _object(caption: Caption, place: int, verb: str) -> str:
    """What is done with, from the phrase right after the verb: "a bike", "soccer", "the guitar"; "" for none."""
    if verb not in WITH_OBJECT:
        return ""
    phrase = next((phrase for phrase in caption.phrases if phrase.start == place), None)
    if phrase is None or (phrase.noun in CLOTHES and verb not in ("hold", "carry", "pull")) or not phrase.real:
        return ""
    if phrase.thing == "person" and verb not in ("hold", "carry", "push", "kiss", "hug", "chase"):
        return ""
    noun = phrase.noun if phrase.thing == "person" or phrase.noun in GAMES | KEPT else phrase.thing
    return dress(SAME_OBJECT.get(noun, noun), phrase.plural, verb)


def dress(noun: str, many: bool, verb: str) -> str:
    """The noun with its article, as it stands after the verb."""
    plain = noun.replace("_", " ")
    if (noun in GAMES and verb == "play") or noun in UNCOUNTED:
        return plain
    if noun in GAMES:
        return f"a {plain}" if noun in BALLS else ""
    if noun in INSTRUMENTS and verb == "play":
        return f"the {plain}"
    if many:
        return plural(plain)
    return ("an " if plain[0] in "aeiou" and not plain.startswith("uni") else "a ") + plain


def _one_subject(captions: Sequence[Caption], thing: str) -> bool:
    """Whether "the man" or "the dogs" says who is meant: every caption that names some names them once."""
    numbers = set()
    for caption in captions:
        heads = [phrase for phrase in caption.phrases if phrase.thing == thing]
        unnamed = caption.lemmas & (CROWDS - {"background", "herd", "pack", "group"})
        if (thing == "person" and unnamed) or caption.lemmas & {"another", "other", "others"}:
            return False
        if len([phrase for phrase in heads if phrase.determiner not in ("the", "his", "her")]) > 1 or len(
                {phrase.noun for phrase in heads}) > 1:
            return False
        numbers |= {phrase.plural for phrase in heads}
    return len(numbers) == 1


def _name(captions: Sequence[Caption], deeds: Sequence[Deed]) -> str:
    """What the question calls the subject: the word that most captions use; animals by their plain name."""
    subject = deeds[0].subject
    if subject.thing != "person":
        return subject.thing if not subject.plural else plural(subject.thing)
    nouns = Counter(phrase.noun for caption in captions for phrase in caption.phrases if phrase.thing == "person")
    noun = max(nouns, key=lambda name: (nouns[name], name))
    return plural(noun) if subject.plural else noun


def is_many(noun: str) -> bool:
    """Whether the name of a subject is a plural."""
    return singular(noun) != noun


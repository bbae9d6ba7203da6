"""What a picture shows, by the words of its references: a few types, assigned by rules that can be printed."""

from __future__ import annotations

from collections.abc import Sequence

from narrator.metrics.tokenize import ptb_tokens

OTHER = "other"
# Words in the singular; of equal counts the type that stands first wins. People stand in most pictures, whatever these
# show: their words count half.
SCENE_TYPES: dict[str, str] = {
    "sport": (
        "sport baseball basketball football soccer tennis golf hockey rugby volleyball frisbee ball bat racket "
        "racquet skateboard skateboarder skateboarding surf surfer surfing surfboard wave ski skier skiing "
        "snowboard snowboarder snowboarding player pitcher batter catcher umpire team game match goal race racer "
        "racing bicyclist cyclist biker climber climbing kayak kayaking wrestling boxing gymnast athlete trick "
        "ramp helmet uniform"),
    "animals": (
        "animal dog puppy cat kitten horse pony cow bull calf sheep lamb goat pig bird duck goose swan seagull "
        "pigeon parrot owl eagle chicken elephant giraffe zebra bear lion tiger monkey deer rabbit squirrel fish "
        "turtle herd flock paw tail"),
    "indoor": (
        "room kitchen bathroom bedroom office table desk chair couch sofa bed toilet sink mirror shelf cabinet "
        "stove oven refrigerator fridge counter laptop computer keyboard television tv lamp carpet floor plate "
        "bowl cup glass food pizza cake sandwich salad meal dinner restaurant classroom"),
    "urban": (
        "street city town road sidewalk building store shop market traffic car bus truck train taxi motorcycle "
        "station airport airplane plane bridge tower clock sign corner intersection parking skyline crosswalk "
        "bench fence"),
    "nature": (
        "mountain hill forest tree wood river lake ocean sea beach sand water snow field grass meadow flower rock "
        "cliff sky cloud sunset sunrise desert valley waterfall garden park leaf pond stream"),
    "people": (
        "person people man men woman women boy girl child children kid baby toddler lady guy gentleman crowd "
        "group family couple friend teenager adult"),
}
_HALF = "people"


def scene_type(texts: Sequence[str]) -> str:
    """The type of SCENE_TYPES with the most words in the texts, "other" where there is none."""
    words = [word for text in texts for word in ptb_tokens(text)]
    counts = {name: sum(word in known or _singular(word) in known for word in words) * (0.5 if name == _HALF else 1.0)
              for name, known in _KNOWN.items()}
    best = max(counts, key=lambda name: counts[name])  # the first of equals
    return best if counts[best] else OTHER


def rules() -> str:
    """The rules of `scene_type` as a table in Markdown."""
    rows = [f"| {name} | {'1/2' if name == _HALF else '1'} | {words.replace(' ', ', ')} |"
            for name, words in SCENE_TYPES.items()]
    return "\n".join(["| type | a word counts | words (and their plurals) |", "| --- | --- | --- |", *rows])


def _singular(word: str) -> str:
    for ending, instead in (("ies", "y"), ("ches", "ch"), ("shes", "sh"), ("sses", "ss"), ("xes", "x"), ("ves", "f"),
                            ("s", "")):
        if word.endswith(ending):
            return word[:-len(ending)] + instead
    return word


_KNOWN = {name: frozenset(words.split()) for name, words in SCENE_TYPES.items()}

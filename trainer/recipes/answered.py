"""How well a model answers questions about pictures: by kind of question, beside the commonest answer."""

import re
from collections import Counter
from collections.abc import Sequence

from narrator.families.projector_lm import ProjectorFamily
from narrator.metrics.classification import share
from narrator.metrics.scores import caption_scores
from narrator.pictures import open_picture
from narrator.records import Example, Score
from narrator.settings import GenerationSettings
from trainer.questions import KINDS, Companions, asked_examples
from trainer.recipes import Tell

BATCH = 32  # questions
QUICK = 600  # questions and pictures of an evaluation between steps
LONGEST = 12  # tokens of an answer


def answered_scores(family: ProjectorFamily, examples: Sequence[Example], others: Companions, *, beams: int,
                    intervals: bool, tell: Tell) -> dict[str, Score]:
    """accuracy: the mean over the kinds of question of the share answered as the captions do; accuracy_KIND, with a
    Wilson interval, and majority_KIND, the share that the commonest answer of these very questions would get; then
    caption scores of the descriptions. Without `intervals` a part of the questions and pictures is enough.

    others: what the things asked about in vain are drawn from (trainer.questions).
    """
    plain = [example for example in examples if not example.prompt]
    asked, kinds = asked_examples(plain, others)
    own = [example for example in examples if example.prompt]
    asked, kinds = [*asked, *own], [*kinds, *["given"] * len(own)]
    if not intervals:
        step = max(1, len(asked) // QUICK)
        asked, kinds, plain = asked[::step], kinds[::step], plain[:QUICK]
    total = len(asked) + len(plain)
    said = _say(family, asked, GenerationSettings(num_beams=1, max_new_tokens=LONGEST), 0, total, tell)
    scores = _accuracies(asked, kinds, said)
    if plain:
        described = _say(family, plain, GenerationSettings(num_beams=beams), len(asked), total, tell)
        references = {row: example.texts for row, example in enumerate(plain)}
        scores |= caption_scores(references, dict(enumerate(described)), intervals=intervals)
    return scores


def same(said: str, wanted: str) -> bool:
    """Whether two answers agree but for case, punctuation, articles and a preposition before them.

    >>> same("On the beach.", "a beach")
    True
    """
    return _bare(said) == _bare(wanted)


def _bare(text: str) -> str:
    words = re.findall(r"[a-z0-9]+", text.lower())
    while len(words) > 1 and words[0] in ("in", "on", "at", "a", "an", "the"):
        words = words[1:]
    return " ".join(words)


def _accuracies(asked: Sequence[Example], kinds: Sequence[str], said: Sequence[str]) -> dict[str, Score]:
    scores: dict[str, Score] = {}
    for kind in (*KINDS, "given"):
        rows = [row for row, of in enumerate(kinds) if of == kind]
        if rows:
            right = sum(any(same(said[row], text) for text in asked[row].texts) for row in rows)
            commonest = Counter(_bare(asked[row].texts[0]) for row in rows).most_common(1)[0][1]
            scores[f"accuracy_{kind}"] = share(right, len(rows))
            scores[f"majority_{kind}"] = share(commonest, len(rows))
    found = [score for name, score in scores.items() if name.startswith("accuracy_")]
    if not found:
        return scores
    value, low, high = (sum(getattr(score, part) for score in found) / len(found) for part in ("value", "low", "high"))
    return {"accuracy": Score(value=value, low=low, high=high), **scores}


def _say(family: ProjectorFamily, examples: Sequence[Example], settings: GenerationSettings, done: int, total: int,
         tell: Tell) -> list[str]:
    said: list[str] = []
    for start in range(0, len(examples), BATCH):
        part = examples[start:start + BATCH]
        pictures = [open_picture(example.image) for example in part if example.image is not None]  # all have one
        told = family.batch(pictures, [example.prompt for example in part], settings)
        said += ["".join(piece.text for piece in pieces).strip() for pieces in told]
        tell(done + len(said), total)
    return said

"""How well a model answers questions about pictures: by kind of question, beside the commonest answer."""

import dataclasses
from collections.abc import Sequence

from narrator.evaluate import ANSWER
from narrator.families.projector_lm import ProjectorFamily
from narrator.held_out import HeldOut
from narrator.metrics.questions import question_scores
from narrator.metrics.scores import caption_scores
from narrator.pictures import open_picture
from narrator.records import Example, Score
from narrator.settings import GenerationSettings
from narrator.wording import joined, tidy
from trainer.questions import Companions, asked_examples
from trainer.recipes import Tell

BATCH = 32  # questions
QUICK = 600  # questions and pictures of an evaluation between steps
GIVEN, SHORT = "given", 5  # the kind of questions that the data asks itself; words of the longest answer to one


def asked_rows(examples: Sequence[Example], others: Companions) -> list[HeldOut]:
    """The questions that the captions of the examples can answer, those that examples ask themselves, and the captions;
    a question without a kind wants an answer at length.

    others: what the things asked about in vain are drawn from (trainer.questions).
    """
    plain = [example for example in examples if not example.prompt]
    made, kinds = asked_examples(plain, others)
    own = [example for example in examples if example.prompt]
    asked = zip([*made, *own], [*kinds, *map(_kind, own)], strict=True)
    return [*(HeldOut(image=example.image, prompt=example.prompt, texts=example.texts, kind=kind)
              for example, kind in asked),
            *(HeldOut(image=example.image, texts=example.texts) for example in plain)]


def _kind(example: Example) -> str:
    """Of a question that the data asks itself: an answer at length is judged like a description, not as right or
    wrong."""
    return GIVEN if max(len(text.split()) for text in example.texts) <= SHORT else ""


def answered_scores(family: ProjectorFamily, rows: Sequence[HeldOut], *, beams: int, intervals: bool, tell: Tell
                    ) -> dict[str, Score]:
    """Of questions those of narrator.metrics.questions; caption scores of the descriptions. Without `intervals` a part
    of the questions and pictures is enough."""
    asked, plain = [row for row in rows if row.kind], [row for row in rows if not row.kind]
    if not intervals:
        asked, plain = asked[::max(1, len(asked) // QUICK)], plain[:QUICK]
    total = len(asked) + len(plain)
    scores: dict[str, Score] = {}
    if asked:
        said = _say(family, asked, dataclasses.replace(GenerationSettings(), **ANSWER), 0, total, tell)
        scores = question_scores([row.kind for row in asked], [row.texts for row in asked], said)
    if plain:
        described = _say(family, plain, GenerationSettings(num_beams=beams), len(asked), total, tell)
        references = {row: example.texts for row, example in enumerate(plain)}
        scores |= caption_scores(references, dict(enumerate(described)), intervals=intervals)
    return scores


def _say(family: ProjectorFamily, rows: Sequence[HeldOut], settings: GenerationSettings, done: int, total: int,
         tell: Tell) -> list[str]:
    said: list[str] = []
    for start in range(0, len(rows), BATCH):
        part = rows[start:start + BATCH]
        pictures = [open_picture(row.image) for row in part if row.image is not None]  # all have one
        said += [tidy(joined(pieces)) for pieces in family.batch(pictures, [row.prompt for row in part], settings)]
        tell(done + len(said), total)
    return said

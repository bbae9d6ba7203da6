"""Whether classes and answers are spread enough for a score to mean something."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from narrator.readers.digits import CLASSES
from trainer.config import TrainingConfig
from trainer.preflight.findings import Finding, quoted, share
from trainer.preflight.sets import DataSet

LOPSIDED = 10  # times as many of the commonest class as of the rarest
ONE_ANSWER = 0.8  # share of the commonest answer
ENOUGH = 20  # times that a question is asked


def balance_findings(config: TrainingConfig, sets: Sequence[DataSet]) -> list[Finding]:
    """Of what is learned from: classes that are missing or rare, questions that have one answer almost always."""
    items = [item for one in sets if one.side == "data" for item in one.items]
    labels = Counter(item.example.label for item in items if item.example.label is not None)
    answers = [(item.example.prompt, text.casefold()) for item in items if item.example.prompt
               for text in item.example.texts]
    found = _classes(labels, range(CLASSES) if config.recipe == "image_gpt" else sorted(labels)) if labels else []
    if config.recipe != "causal_lm":  # there a prompt is the beginning of a text
        found += _answers(answers)
    return found


def _classes(labels: Counter, expected: Sequence[int]) -> list[Finding]:
    missing = [label for label in expected if not labels[label]]
    if missing or len(labels) == 1:
        named = ", ".join(map(str, missing)) if missing else "any but " + str(next(iter(labels)))
        return [Finding(level="warning", what=f"There is no picture of class {named} to learn from.",
                        remedy="Add some; the model can never answer with a class that it has not seen.")]
    (common, most), (rare, least) = labels.most_common()[0], labels.most_common()[-1]
    if most < LOPSIDED * least:
        return []
    return [Finding(level="warning", what=f"Class {common} has {most:,} pictures and class {rare} {least:,}.",
                    remedy="Add pictures of the rare class, or take some of the common one away.")]


def _answers(answers: Sequence[tuple[str, str]]) -> list[Finding]:
    """All answers, else the first question that is asked often and has one answer almost always."""
    if len(answers) < ENOUGH:
        return []
    answer, count = Counter(text for _, text in answers).most_common(1)[0]
    remedy = "Add questions with other answers; else always saying this looks like knowing."
    if count > ONE_ANSWER * len(answers):
        return [Finding(level="warning", what=f"{share(count, len(answers))} answers are {quoted(answer)}.",
                        remedy=remedy)]
    asked: dict[str, Counter] = {}
    for prompt, text in answers:
        asked.setdefault(prompt, Counter())[text] += 1
    for prompt, said in asked.items():
        answer, count = said.most_common(1)[0]
        if said.total() >= ENOUGH and count > ONE_ANSWER * said.total():
            return [Finding(level="warning", what=f"{quoted(prompt)} is answered with {quoted(answer)} in "
                            f"{share(count, said.total())} cases.", remedy=remedy)]
    return []

"""How questions about pictures are answered: the share that is right, kind by kind, beside the commonest answer."""

import re
from collections import Counter
from collections.abc import Sequence

from narrator.metrics.classification import share
from narrator.records import NarratorError, Score


def same(said: str, wanted: str) -> bool:
    """Whether two answers agree but for case, punctuation, articles and a preposition before them.

    >>> same("On the beach.", "a beach")
    True
    """
    return _bare(said) == _bare(wanted)


def question_scores(kinds: Sequence[str], wanted: Sequence[Sequence[str]], said: Sequence[str]) -> dict[str, Score]:
    """accuracy: the mean over the kinds of accuracy_KIND, the share of a kind's answers that agree with one that is
    wanted; majority_KIND: the share that the commonest answer of these very questions would get (of several that are
    wanted the first counts). 95 % intervals: Wilson's of each share (narrator.metrics.classification), their ends
    averaged for the mean.

    All three have N entries, one a question. Raises NarratorError when there is none.
    """
    if not kinds:
        raise NarratorError("There is no question to score. Give at least one with its answer.")
    scores: dict[str, Score] = {}
    for kind in dict.fromkeys(kinds):
        rows = [row for row, of in enumerate(kinds) if of == kind]
        right = sum(any(same(said[row], text) for text in wanted[row]) for row in rows)
        commonest = Counter(_bare(wanted[row][0]) for row in rows).most_common(1)[0][1]
        scores[f"accuracy_{kind}"] = share(right, len(rows))
        scores[f"majority_{kind}"] = share(commonest, len(rows))
    found = [score for name, score in scores.items() if name.startswith("accuracy_")]
    value, low, high = (sum(getattr(score, part) for score in found) / len(found) for part in ("value", "low", "high"))
    return {"accuracy": Score(value=value, low=low, high=high), **scores}


def _bare(text: str) -> str:
    words = re.findall(r"[a-z0-9]+", text.lower())
    while len(words) > 1 and words[0] in ("in", "on", "at", "a", "an", "the"):
        words = words[1:]
    return " ".join(words)

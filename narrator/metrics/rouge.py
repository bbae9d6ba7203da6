"""ROUGE-2: how many pairs of words a text shares with what people wrote. Pure functions."""

import itertools
from collections import Counter
from collections.abc import Sequence

from narrator.metrics.tokenize import ptb_tokens


def rouge_2(text: str, references: Sequence[str]) -> float:
    """ROUGE-2 (Lin 2004, "ROUGE: a package for automatic evaluation of summaries") at its best reference, 0..1: with m
    the bigrams that text and reference share (each as often as both have it), P = m / the text's, R = m / the
    reference's, F = 2 P R / (P + R).

    >>> rouge_2("A dog runs fast.", ["A dog runs.", "The cat."])
    0.8
    """
    said = _bigrams(text)
    best = 0.0
    for reference in references:
        theirs = _bigrams(reference)
        both = said.total() + theirs.total()
        best = max(best, 2 * (said & theirs).total() / both if both else 0.0)
    return best


def _bigrams(text: str) -> Counter[tuple[str, str]]:
    words = ptb_tokens(text)
    return Counter(itertools.pairwise(words))

"""How far a metric agrees with people: Kendall's tau-c between its scores and their ratings. Pure functions.

tau_c (Stuart 1953, "The estimation and comparison of strengths of association in contingency tables"):
2 (P - Q) / (n^2 (m - 1) / m), with P the pairs that both order the same way, Q those that they order against one
another, n the values, and m the smaller number of different values of the two. From -1 to 1. As scipy's kendalltau with
variant "c", which the papers of the field use.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from narrator.metrics.rouge import rouge_2
from narrator.metrics.scores import METRICS, bleu_of, per_picture
from narrator.records import NarratorError


def tau_c(values: Sequence[float] | np.ndarray, ratings: Sequence[float] | np.ndarray) -> float:
    """Kendall's tau-c of N values and N ratings. Raises NarratorError where either has only one value.

    >>> tau_c([0.1, 0.5, 0.9], [1, 2, 4])
    1.0
    """
    x, y = np.asarray(values, dtype=np.float64), np.asarray(ratings, dtype=np.float64)
    if len(x) != len(y) or not len(x):
        raise NarratorError("Agreement needs as many ratings as scores, and at least one of each.")
    levels, x_levels = np.unique(y), len(np.unique(x))
    smaller = min(len(levels), x_levels)
    if smaller < 2:
        raise NarratorError("Agreement cannot be told: all ratings, or all scores, are the same.")
    groups = [np.sort(x[y == level]) for level in levels]  # ratings have few levels: pairs of levels, not of values
    surplus = 0
    for place, lower in enumerate(groups):
        for higher in groups[place + 1:]:
            under = np.searchsorted(lower, higher, side="left").sum()  # pairs in which the higher rating scores more
            over = (len(lower) - np.searchsorted(lower, higher, side="right")).sum()
            surplus += int(under) - int(over)
    return 2.0 * surplus / (len(x) ** 2 * (smaller - 1) / smaller)


def caption_values(references: Mapping[int, Sequence[str]], candidates: Mapping[int, str]) -> dict[str, np.ndarray]:
    """Each text's own bleu_1 to bleu_4, rouge_l, cider_d and rouge_2, (N,) in the order of `candidates`.

    The values of pycocoevalcap for one picture: BLEU of a single text against the reference closest in length.
    """
    parts = per_picture(references, candidates)
    found = dict(zip(METRICS, [*bleu_of(parts.bleu).T, parts.rouge_l, parts.cider_d], strict=True))
    return found | {"rouge_2": np.array([rouge_2(candidates[key], references[key]) for key in candidates])}

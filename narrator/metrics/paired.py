"""Two variants on the same pictures: is one better, or can that not be told? A paired bootstrap. Pure functions.

Koehn 2004, "Statistical significance tests for machine translation evaluation": pictures are drawn with replacement,
both variants are scored on each draw, and the difference is looked at, so that a picture that is hard for both counts
for neither. The interval holds the percentiles 2.5 and 97.5 of 1,000 draws. Where it lies on one side of 0 the second
variant is "better" or "worse", else one "cannot tell". Of twenty comparisons of equals, one will look different by
chance.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from narrator.metrics.scores import METRICS, PerPicture, corpus, resamples
from narrator.records import NarratorError, Score

BETTER, WORSE, CANNOT_TELL = "better", "worse", "cannot tell"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shares:
    """What each of N rows contributes to a variant's figures: `parts` to the caption scores, None where there are
    none; `sums`, by the figure's name, two (N,) arrays whose sums are divided by one another."""

    parts: PerPicture | None
    sums: Mapping[str, tuple[np.ndarray, np.ndarray]]

    def of(self, rows: np.ndarray) -> Shares:
        """The same of some rows, by their places."""
        parts = self.parts
        if parts is not None:
            parts = PerPicture(keys=tuple(parts.keys[row] for row in rows), bleu=parts.bleu[rows],
                               rouge_l=parts.rouge_l[rows], cider_d=parts.cider_d[rows])
        sums = {name: (above[rows], below[rows]) for name, (above, below) in self.sums.items()}
        return Shares(parts=parts, sums=sums)


def differences(first: Shares, second: Shares, *, seed: int = 0) -> dict[str, Score]:
    """Second minus first of each figure that both have, over the same rows in the same order; the same seed gives the
    same intervals. Raises NarratorError where there is no row."""
    names = [name for name in first.sums if name in second.sums]
    both = first.parts is not None and second.parts is not None
    n = _rows(first)
    if n == 0 or n != _rows(second):
        raise NarratorError("There is no row that both variants have answered: nothing can be compared.")
    whole = _difference(first, second, names, both, np.ones((1, n)))[0]
    drawn = np.concatenate([_difference(first, second, names, both, weights) for weights in resamples(n, seed)])
    columns = [*(METRICS if both else ()), *names]
    found = {}
    for column, name in enumerate(columns):
        known = drawn[np.isfinite(drawn[:, column]), column]  # a draw may hold nothing to divide by
        if len(known) and np.isfinite(whole[column]):
            low, high = np.percentile(known, [2.5, 97.5])
            found[name] = Score(value=float(whole[column]), low=float(low), high=float(high))
    return found


def verdict(difference: Score, higher_is_better: bool) -> str:
    """BETTER, WORSE or CANNOT_TELL: how the second stands to the first."""
    if difference.low <= 0 <= difference.high:
        return CANNOT_TELL
    return BETTER if (difference.value > 0) == higher_is_better else WORSE


def _rows(shares: Shares) -> int:
    if shares.parts is not None:
        return len(shares.parts.keys)
    return len(next(iter(shares.sums.values()))[0]) if shares.sums else 0


def _difference(first: Shares, second: Shares, names: list[str], both: bool, weights: np.ndarray) -> np.ndarray:
    """(R, N) how often each row counts -> (R, figures)."""
    return _figures(second, names, both, weights) - _figures(first, names, both, weights)


def _figures(shares: Shares, names: list[str], both: bool, weights: np.ndarray) -> np.ndarray:
    columns = []
    if both and shares.parts is not None:
        columns.append(corpus(shares.parts, weights))
    with np.errstate(divide="ignore", invalid="ignore"):
        for name in names:
            above, below = shares.sums[name]
            columns.append(((weights @ above) / (weights @ below))[:, None])
    return np.concatenate(columns, axis=1)

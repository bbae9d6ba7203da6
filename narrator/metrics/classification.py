"""How well classes are told: accuracy, top-k accuracy, loss, calibration, recall and confusion, with 95 % intervals.

- Shares (accuracy, top-k, recall): the interval of Wilson 1927, "Probable inference, the law of succession, and
  statistical inference": (p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n), z = 1.96.
- class_loss: mean of -log p(true class), in nats.
- calibration_error: expected calibration error (Guo et al. 2017, "On calibration of modern neural networks"), 15 equal
  bins of the top probability b: sum over bins of n_b / n * |accuracy_b - mean confidence_b|.
- macro_recall, macro_f1: means over the classes that occur of recall, hits / examples, and of F1, 2 hits / (examples +
  times told) (van Rijsbergen 1979, "Information retrieval"): a rare class counts as much as a common one.
- The intervals of all but shares: percentiles 2.5 and 97.5 of 1,000 resamples of the examples (Efron 1979).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from narrator.records import NarratorError, Score

if TYPE_CHECKING:
    from PIL.Image import Image

Z = 1.959963984540054  # of a two-sided 95 % interval of the normal distribution
BINS = 15
RESAMPLES = 1000
_CELL, _MARGIN = 34, 44  # pixels of the confusion picture


@dataclasses.dataclass(frozen=True, kw_only=True)
class Told:
    """What a model tells of N pictures of known classes.

    labels: (N,) true classes. chances: (N, C) probabilities of the classes. nats: (N,) mean negative log-likelihood of
    a picture's own tokens. exchanged: (N, C) as `chances`, each picture exchanged for that of another example.
    """

    labels: np.ndarray
    chances: np.ndarray
    nats: np.ndarray
    exchanged: np.ndarray


def share(hits: int, n: int, *, higher_is_better: bool = True) -> Score:
    """hits / n with Wilson's interval. Raises NarratorError when n is 0."""
    if n <= 0:
        raise NarratorError("There is nothing to score: give at least one example with its class.")
    p, spread = hits / n, Z * Z / n
    middle, half = p + spread / 2, Z * math.sqrt(p * (1 - p) / n + spread / n / 4)
    low, high = (middle - half) / (1 + spread), (middle + half) / (1 + spread)
    return Score(value=p, low=min(max(0.0, low), p), high=max(min(1.0, high), p), higher_is_better=higher_is_better)


def classification_scores(chances: np.ndarray, labels: np.ndarray, *, top: int = 3, intervals: bool = True,
                          seed: int = 0) -> dict[str, Score]:
    """`accuracy`, `macro_recall`, `macro_f1`, `top_<top>_accuracy`, `class_loss` and `calibration_error`.

    chances: (N, C) probabilities; labels: (N,) true classes. Without `intervals` low = high = value. Raises
    NarratorError when there is nothing to score or a label is no class.
    """
    _check(labels, chances.shape[1])
    order = np.argsort(-chances, axis=1, kind="stable")
    right = order[:, 0] == labels
    among = (order[:, :top] == labels[:, None]).any(axis=1)
    losses = -np.log(np.maximum(chances[np.arange(len(labels)), labels], 1e-12))
    confidence = chances.max(axis=1)
    scores = {"accuracy": share(int(right.sum()), len(labels)),
              **_macro(labels, order[:, 0], chances.shape[1], intervals, seed),
              f"top_{top}_accuracy": share(int(among.sum()), len(labels)),
              "class_loss": mean_score(losses, intervals=intervals, seed=seed),
              "calibration_error": bootstrapped(lambda rows: calibration_error(confidence[rows], right[rows]),
                                                len(labels), intervals, seed)}
    if intervals:
        return scores
    return {name: Score(value=score.value, low=score.value, high=score.value,
                        higher_is_better=score.higher_is_better) for name, score in scores.items()}


def told_scores(told: Told, *, intervals: bool = True) -> dict[str, Score]:
    """`classification_scores`; `lm_loss` (nats a picture token) and its `perplexity`; and `shuffled_accuracy`, the
    leakage test: accuracy with the pictures exchanged among the examples, which is chance where nothing but the picture
    tells the class."""
    scores = classification_scores(told.chances, told.labels, intervals=intervals)
    scores["lm_loss"] = mean = mean_score(told.nats, intervals=intervals)
    scores["perplexity"] = Score(value=math.exp(mean.value), low=math.exp(mean.low), high=math.exp(mean.high),
                                 higher_is_better=False)
    hits = int((told.exchanged.argmax(1) == told.labels).sum())
    return scores | {"shuffled_accuracy": share(hits, len(told.labels), higher_is_better=False)}


def mean_score(values: np.ndarray, *, intervals: bool = True, seed: int = 0, higher_is_better: bool = False) -> Score:
    """Mean of (N,) values, one an example, with its bootstrap interval."""
    return bootstrapped(lambda rows: float(values[rows].mean()), len(values), intervals, seed, higher_is_better)


def calibration_error(confidence: np.ndarray, right: np.ndarray) -> float:
    """Expected calibration error of N answers: their probability (0..1) and how right each was (0..1)."""
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gap = np.bincount(bins, weights=right.astype(float) - confidence, minlength=BINS)  # n_b (accuracy - confidence)
    return float(np.abs(gap).sum() / len(confidence))


def confusion(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """(C, C) counts: row the true class, column the one told."""
    _check(labels, classes)
    _check(predicted, classes)
    return np.bincount(labels * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def recalls(counts: np.ndarray) -> list[Score | None]:
    """Of each class the share that was told right; None where there was no example of it."""
    return [share(int(row[index]), int(row.sum())) if row.sum() else None for index, row in enumerate(counts)]


def confusion_table(counts: np.ndarray, names: Sequence[str]) -> str:
    """The counts in Markdown, with the recall of each class and its interval."""
    lines = [f"| true / told | {' | '.join(names)} | recall |", f"| --- |{' ---: |' * len(names)} --- |"]
    for name, row, recall in zip(names, counts, recalls(counts), strict=True):
        told = "" if recall is None else f"{recall.value:.3f} ({recall.low:.3f} to {recall.high:.3f})"
        lines.append(f"| **{name}** | {' | '.join(str(count) if count else '' for count in row)} | {told} |")
    return "\n".join(lines) + "\n"


def confusion_picture(counts: np.ndarray, names: Sequence[str]) -> Image:
    """The counts as a picture: rows the true classes, columns those told, the darker the greater share of its row."""
    from PIL import Image, ImageDraw, ImageFont

    font, small = ImageFont.load_default(15), ImageFont.load_default(12)
    side = _MARGIN + _CELL * len(names)
    picture = Image.new("RGB", (side + 8, side + 8), "white")
    draw = ImageDraw.Draw(picture)
    draw.text((_MARGIN + _CELL * len(names) / 2, 10), "told", "black", font, anchor="mm")
    draw.text((4, _MARGIN / 2), "true", "black", font, anchor="lm")
    for index, name in enumerate(names):
        at = _MARGIN + _CELL * (index + 0.5)
        draw.text((at, _MARGIN - 12), name, "black", font, anchor="mm")
        draw.text((_MARGIN - 12, at), name, "black", font, anchor="mm")
    of_row = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    for (row, column), count in np.ndenumerate(counts):
        part = float(of_row[row, column]) ** 0.4  # the few mistakes are what one looks for: they are not to be white
        left, top = _MARGIN + _CELL * column, _MARGIN + _CELL * row
        fill = tuple(round(255 + (dark - 255) * part) for dark in (20, 60, 130))
        draw.rectangle((left, top, left + _CELL, top + _CELL), fill, "#bbbbbb")
        if count:
            draw.text((left + _CELL / 2, top + _CELL / 2), str(count), "white" if part > 0.55 else "black", small,
                      anchor="mm")
    return picture


def _macro(labels: np.ndarray, told: np.ndarray, classes: int, intervals: bool, seed: int) -> dict[str, Score]:
    def counts(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(C,) each: hits, examples, times told."""
        table = np.bincount(labels[rows] * classes + told[rows], minlength=classes * classes).reshape(classes, classes)
        return table.diagonal(), table.sum(1), table.sum(0)

    def recall(rows: np.ndarray) -> float:
        hits, examples, _ = counts(rows)
        return float((hits[examples > 0] / examples[examples > 0]).mean())

    def f1(rows: np.ndarray) -> float:
        hits, examples, named = counts(rows)
        both = examples + named
        return float((2 * hits[both > 0] / both[both > 0]).mean())

    return {"macro_recall": bootstrapped(recall, len(labels), intervals, seed, True),
            "macro_f1": bootstrapped(f1, len(labels), intervals, seed, True)}


def bootstrapped(figure: Callable[[np.ndarray], float], n: int, intervals: bool, seed: int,
                 higher_is_better: bool = False) -> Score:
    """`figure` of all n rows (it is given which rows: their indices), and its interval over resampled rows."""
    value = low = high = figure(np.arange(n))
    if intervals:
        random = np.random.default_rng(seed)
        found = [figure(random.integers(0, n, n)) for _ in range(RESAMPLES)]
        low, high = (float(end) for end in np.percentile(found, [2.5, 97.5]))
    return Score(value=value, low=low, high=high, higher_is_better=higher_is_better)


def _check(labels: np.ndarray, classes: int) -> None:
    if not len(labels):
        raise NarratorError("There is nothing to score: give at least one example with its class.")
    if labels.min() < 0 or labels.max() >= classes:
        raise NarratorError(f"A class is between 0 and {classes - 1}; {labels.min()} to {labels.max()} were given.")

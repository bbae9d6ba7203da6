"""The figures of one variant from its answers: nothing here runs a model but CLIPScore's."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from narrator.evaluation.clip import clip_scores
from narrator.evaluation.figures import figure
from narrator.evaluation.plan import Asked, scenes_of
from narrator.evaluation.report import Bin, Success
from narrator.held_out import CAPTIONS, CLASSES, PROMPTS, QUESTIONS
from narrator.metrics import java
from narrator.metrics.classification import bootstrapped, calibration_error, classification_scores, mean_score, share
from narrator.metrics.grounding import adjectives_found, words_found
from narrator.metrics.objects import hallucinated
from narrator.metrics.paired import Shares
from narrator.metrics.prompts import loss_scores
from narrator.metrics.questions import question_scores, same
from narrator.metrics.readability import reading_ease
from narrator.metrics.rouge import rouge_2
from narrator.metrics.scores import per_picture, scores_of
from narrator.metrics.text import distinct, perplexity, ratio, text_sums, vocabulary
from narrator.records import NarratorError, Score

THRESHOLDS = {"cider_d": 0.5, "words_found": 2 / 3}  # a text that reaches one of them passes
BINS = 10  # of the reliability chart
Line = Mapping[str, Any]
Sums = dict[str, tuple[np.ndarray, np.ndarray]]


@dataclasses.dataclass(kw_only=True)
class Scored:
    """What one variant's answers come to. shares: by task, the rows (their lines) and what each contributes. rows:
    line -> score -> value. objects: line -> objects that no reference names. said: why a figure is missing."""

    n: int = 0
    scores: dict[str, Score] = dataclasses.field(default_factory=dict)
    success: dict[str, Success] = dataclasses.field(default_factory=dict)
    calibration: tuple[Bin, ...] = ()
    shares: dict[str, tuple[list[int], Shares]] = dataclasses.field(default_factory=dict)
    rows: dict[int, dict[str, float]] = dataclasses.field(default_factory=dict)
    objects: dict[int, list[str]] = dataclasses.field(default_factory=dict)
    said: dict[str, str] = dataclasses.field(default_factory=dict)


def score(rows: Sequence[Asked], lines: Mapping[int, Line], *, seed: int, use_java: bool, clip: Any) -> Scored:
    """The figures of a variant's answers, line -> answer; failed rows are left out. clip: narrator.evaluation.clip.Clip
    or None."""
    scored = Scored()
    for task in (QUESTIONS, CAPTIONS, PROMPTS, CLASSES):
        part = [row for row in rows if row.task == task and row.line in lines and "error" not in lines[row.line]]
        if part:
            scored.n += len(part)
            told = [lines[row.line] for row in part]
            if task == CLASSES:
                _classes(scored, part, told, seed)
            elif task == QUESTIONS:
                _questions(scored, part, told, seed)
            else:
                _texts(scored, part, told, seed, use_java, clip)
    return scored


def speed(lines: Sequence[Line], seed: int) -> dict[str, Score]:
    """tokens_per_second, seconds_per_row and memory (GiB) of a variant's answers, resampled by batches: the rows of a
    batch share its time."""
    batches = sorted({line["batch"] for line in lines})
    place = {batch: number for number, batch in enumerate(batches)}
    sums = np.zeros((4, len(batches)))  # tokens, seconds, rows, GiB
    for line in lines:
        at = place[line["batch"]]
        sums[:3, at] += line.get("tokens", 0), line["seconds"], 1
        sums[3, at] = line["memory"] / 2**30
    tokens, seconds, count, memory = sums
    found = {"seconds_per_row": ratio(seconds, count, higher_is_better=False, seed=seed),
             "memory": mean_score(memory, seed=seed)}
    return {"tokens_per_second": ratio(tokens, seconds, seed=seed), **found} if seconds.sum() > 0 else found


def _texts(scored: Scored, rows: Sequence[Asked], told: Sequence[Line], seed: int, use_java: bool, clip: Any) -> None:
    """Captions and answers to prompts: all that can be told of a text and its references."""
    texts = {row.line: str(line["text"]) for row, line in zip(rows, told, strict=True)}
    references = {row.line: row.texts for row in rows}
    parts = per_picture(references, texts)
    sums = _sums(scored, rows, texts, told)
    if use_java:
        sums |= _by_java(scored, references, texts)
    if clip is not None and rows[0].task == CAPTIONS:
        sums["clip_score"] = _mean(clip_scores(clip, [row.image for row in rows], list(texts.values())))
    losses = [line["losses"] for line in told if "losses" in line]
    if losses:
        scored.scores |= loss_scores(np.array(losses))
        if len(losses) == len(told):
            sums["loss_answer"] = (np.array(losses)[:, 0], np.array(losses)[:, 1])
    scored.scores |= scores_of(parts, seed=seed)
    for name, (above, below) in sums.items():
        if below.sum() > 0:
            better = figure(name).higher_is_better is not False
            scored.scores.setdefault(name, ratio(above, below, higher_is_better=better, seed=seed))
        else:
            scored.said[name] = f"{figure(name).title}: no text holds anything that it counts."
    said = list(texts.values())
    scored.scores |= {"distinct_1": distinct(said, 1), "distinct_2": distinct(said, 2), "vocabulary": vocabulary(said)}
    for at, row in enumerate(rows):
        scored.rows[row.line] = {"cider_d": float(parts.cider_d[at]), "rouge_l": float(parts.rouge_l[at]), **{
            name: float(above[at] / below[at]) for name, (above, below) in sums.items() if below[at] > 0}}
    scored.shares[rows[0].task] = [row.line for row in rows], Shares(parts=parts, sums=sums)
    found = np.array([scored.rows[row.line].get("words_found", 0.0) for row in rows])
    _calibrate(scored, told, found, "confidence_error", seed)
    if rows[0].task == CAPTIONS:
        _succeed(scored, rows, texts, parts.cider_d, found)


def _sums(scored: Scored, rows: Sequence[Asked], texts: Mapping[int, str], told: Sequence[Line]) -> Sums:
    """What each text contributes to the figures that are quotients."""
    said, prompts = list(texts.values()), [row.prompt for row in rows]
    sums: Sums = {name: (np.array(above), np.array(below)) for name, (above, below) in text_sums(said, prompts).items()}
    sums["rouge_2"] = _mean([rouge_2(texts[row.line], row.texts) for row in rows])
    for name, count in (("words_found", words_found), ("adjective_precision", adjectives_found)):
        pairs = np.array([count(texts[row.line], row.texts, row.prompt) for row in rows], dtype=np.float64)  # (N, 2)
        sums[name] = (pairs[:, 0], pairs[:, 1])
    sums["reading_ease"] = _known([reading_ease(text) for text in said])
    sums["confidence"] = _known([line.get("confidence") for line in told])
    if rows[0].task == CAPTIONS:
        missing = [hallucinated(texts[row.line], row.texts) for row in rows]
        scored.objects |= {row.line: found for row, (found, _) in zip(rows, missing, strict=True)}
        sums["hallucination_i"] = (np.array([float(len(found)) for found, _ in missing]),
                                   np.array([float(named) for _, named in missing]))
        sums["hallucination_s"] = _mean([float(bool(found)) for found, _ in missing])
    return sums


def _by_java(scored: Scored, references: Mapping[int, Sequence[str]], texts: Mapping[int, str]) -> Sums:
    sums: Sums = {}
    scored.said |= java.missing()
    for name, compute in (("meteor", java.meteor), ("spice", java.spice)):
        if name not in scored.said:
            try:
                found = compute(references, texts)
            except NarratorError as error:
                scored.said[name] = str(error)
            else:
                sums[name] = _mean([found[line] for line in texts])
    return sums


def _succeed(scored: Scored, rows: Sequence[Asked], texts: Mapping[int, str], cider: np.ndarray,
             found: np.ndarray) -> None:
    """Success by type of scene, beside chance and beside people."""
    passed = _passes(cider, found)
    chance = people = None
    if len(rows) > 1:  # every text goes to the next picture
        others = dict(zip(texts, [*list(texts.values())[1:], next(iter(texts.values()))], strict=True))
        chance = _passing(others, {row.line: row.texts for row in rows})
    several = [row for row in rows if len(row.texts) > 1]
    if len(several) > 1:
        people = _passing({row.line: row.texts[0] for row in several}, {row.line: row.texts[1:] for row in several})
    for at, row in enumerate(rows):
        scored.rows[row.line]["success"] = float(passed[at])
    for scene in ("all", *scenes_of(rows)):
        part = [row.line for row in rows if scene in ("all", row.scene)]
        hits = sum(int(scored.rows[line]["success"]) for line in part)
        scored.success[scene] = Success(n=len(part), share=share(hits, len(part)), chance=_of(chance, part),
                                        people=_of(people, part))


def _passing(texts: Mapping[int, str], references: Mapping[int, Sequence[str]]) -> dict[int, float]:
    """Line -> whether its text passes, 0 or 1."""
    cider = per_picture(references, texts).cider_d
    found = [words_found(text, references[line]) for line, text in texts.items()]
    passed = _passes(cider, np.array([some / of if of else 0.0 for some, of in found]))
    return dict(zip(texts, passed.astype(float).tolist(), strict=True))


def _passes(cider: np.ndarray, found: np.ndarray) -> np.ndarray:
    reached: np.ndarray = (cider >= THRESHOLDS["cider_d"]) | (found >= THRESHOLDS["words_found"] - 1e-9)
    return reached


def _of(passed: Mapping[int, float] | None, lines: Sequence[int]) -> Score | None:
    known = [passed[line] for line in lines if line in passed] if passed is not None else []
    return share(int(sum(known)), len(known)) if known else None


def _questions(scored: Scored, rows: Sequence[Asked], told: Sequence[Line], seed: int) -> None:
    said = [str(line["text"]) for line in told]
    scored.scores |= question_scores([row.kind for row in rows], [row.texts for row in rows], said)
    right = np.array([float(any(same(text, wanted) for wanted in row.texts))
                      for row, text in zip(rows, said, strict=True)])
    kinds = {kind: np.array([float(row.kind == kind) for row in rows]) for kind in dict.fromkeys(r.kind for r in rows)}
    weights = sum(of / of.sum() for of in kinds.values())  # of several kinds, each counts as much
    sums: Sums = {f"accuracy_{kind}": (right * of, of) for kind, of in kinds.items()}
    _right(scored, rows, told, right, {"accuracy": (right * weights, np.asarray(weights)), **sums})
    _calibrate(scored, told, right, "calibration_error", seed)


def _classes(scored: Scored, rows: Sequence[Asked], told: Sequence[Line], seed: int) -> None:
    chances, labels = np.array([line["chances"] for line in told]), np.array([row.label for row in rows])
    nats = np.array([line["nats"] for line in told])
    scored.scores |= classification_scores(chances, labels, seed=seed)
    scored.scores["lm_loss"] = mean_score(nats, seed=seed)
    scored.scores["perplexity"] = perplexity(nats.tolist(), [1] * len(nats), seed=seed)
    right = (chances.argmax(1) == labels).astype(float)
    losses = -np.log(np.maximum(chances[np.arange(len(labels)), labels], 1e-12))
    _right(scored, rows, told, right, {"accuracy": (right, np.ones(len(right))), "class_loss": _mean(losses)})
    _calibrate(scored, told, right, "", seed)


def _right(scored: Scored, rows: Sequence[Asked], told: Sequence[Line], right: np.ndarray, sums: Sums) -> None:
    for at, row in enumerate(rows):
        scored.rows[row.line] = {"accuracy": float(right[at])}
        if told[at].get("confidence") is not None:
            scored.rows[row.line]["confidence"] = float(told[at]["confidence"])
    scored.shares[rows[0].task] = [row.line for row in rows], Shares(parts=None, sums=sums)


def _calibrate(scored: Scored, told: Sequence[Line], right: np.ndarray, name: str, seed: int) -> None:
    """The error of the confidence under `name`, "" for none, and the bins of the chart."""
    known = [at for at, line in enumerate(told) if line.get("confidence") is not None]
    if not known:
        scored.said[name or "confidence"] = "This model tells no confidence."
        return
    sure, found = np.array([float(told[at]["confidence"]) for at in known]), right[known]
    if name:
        scored.scores[name] = bootstrapped(lambda rows: calibration_error(sure[rows], found[rows]), len(known), True,
                                           seed)
    place = np.minimum((sure * BINS).astype(int), BINS - 1)
    scored.calibration = tuple(
        Bin(low=at / BINS, high=(at + 1) / BINS, n=int((place == at).sum()),
            confidence=float(sure[place == at].mean()), found=_binned(found[place == at], seed))
        for at in range(BINS) if (place == at).any())


def _binned(found: np.ndarray, seed: int) -> Score:
    """Mean of shares from 0 to 1 in a bin; one alone may be anywhere."""
    if len(found) > 1:
        return mean_score(found, seed=seed, higher_is_better=True)
    return Score(value=float(found[0]), low=0.0, high=1.0, higher_is_better=True)


def _mean(values: Sequence[float] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.asarray(values, dtype=np.float64), np.ones(len(values))


def _known(values: Sequence[float | None]) -> tuple[np.ndarray, np.ndarray]:
    """Mean of those that are known."""
    return (np.array([0.0 if value is None else value for value in values], dtype=np.float64),
            np.array([float(value is not None) for value in values]))

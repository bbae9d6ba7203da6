"""The report of an evaluation as its files hold it: figures, comparisons, and what each row got."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from narrator.evaluation.figures import figure
from narrator.evaluation.folder import whole_lines
from narrator.evaluation.plan import METRICS, RESULTS, SCORES, Plan, read_plan, read_rows
from narrator.records import NarratorError, Score

FEW = 6  # examples shown


@dataclasses.dataclass(frozen=True, kw_only=True)
class Success:
    """Rows of a type of scene (or "all") whose text passes. chance: the share that would pass with the text of another
    picture; people: the share of first references that pass against the others; None where there is too little."""

    n: int
    share: Score
    chance: Score | None
    people: Score | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bin:
    """Texts with a confidence between low and high: how many, its mean, and the mean share that proved right."""

    low: float
    high: float
    n: int
    confidence: float
    found: Score


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measured:
    """A variant's figures. scores: the same at every run; measured: speed and memory, which are not. left_out: rows
    that failed. calibration: bins that hold something."""

    variant: str
    title: str
    license: str
    n: int
    left_out: int
    scores: dict[str, Score]
    measured: dict[str, Score]
    success: dict[str, Success]
    calibration: tuple[Bin, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """Second minus first over the n rows that both answered; verdict: how the second stands to the first."""

    first: str
    second: str
    metric: str
    n: int
    difference: Score
    verdict: str  # narrator.metrics.paired: "better", "worse" or "cannot tell"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """What an evaluation found. said: why a figure is missing, by its name. problems: why a variant is. bad: the first
    rows of the data that could not be used, of `bad_rows`."""

    plan: Plan
    created: str
    what: str
    n_rows: int
    references: float  # of a row, on average
    variants: tuple[Measured, ...]
    comparisons: tuple[Comparison, ...]
    scenes: dict[str, int]
    thresholds: dict[str, float]
    said: dict[str, str]
    problems: dict[str, str]
    bad: list[str]
    bad_rows: int
    folder: Path = Path()

    def markdown(self) -> str:
        """The report for people, as report.md has it."""
        from narrator.evaluation.markdown import markdown

        return markdown(self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScoredRow:
    """A row with what each variant said and got. hallucinated: objects that no reference names."""

    row: int
    where: str
    image: Path | None
    prompt: str
    references: tuple[str, ...]
    scene: str
    label: int | None
    texts: dict[str, str]
    scores: dict[str, dict[str, float]]
    errors: dict[str, str]
    hallucinated: dict[str, tuple[str, ...]]


def load_report(folder: Path) -> Report:
    """The report of an evaluation that is done, else NarratorError."""
    plan, about = read_plan(Path(folder))
    try:
        values = json.loads((Path(folder) / METRICS).read_text(encoding="utf-8"))
        return Report(
            plan=plan, created=about["created"], what=about["what"], n_rows=about["rows"], bad=about["bad"],
            references=about["references"], bad_rows=about["bad_rows"], folder=Path(folder),
            variants=tuple(_measured(name, one) for name, one in values["variants"].items()),
            comparisons=tuple(Comparison(**{**one, "difference": Score(**one["difference"])})
                              for one in values["comparisons"]),
            scenes=values["scenes"], thresholds=values["thresholds"], said=values["said"], problems=values["problems"])
    except FileNotFoundError:
        raise NarratorError(f"The evaluation {Path(folder).name} has no report yet: run it to its end first.") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise NarratorError(f"{Path(folder) / METRICS} is damaged: delete it and resume the evaluation.") from None


def as_json(variants: Sequence[Measured], comparisons: Sequence[Comparison], more: Mapping[str, Any]) -> str:
    """What metrics.json holds."""
    each = {one.variant: {key: value for key, value in dataclasses.asdict(one).items() if key != "variant"}
            for one in variants}
    values = {**more, "variants": each, "comparisons": [dataclasses.asdict(one) for one in comparisons]}
    return json.dumps(values, indent=2, ensure_ascii=False) + "\n"


def load_rows(folder: Path) -> list[ScoredRow]:
    """Each row with its texts and scores, in the order of the data. Raises NarratorError where there is no report."""
    folder = Path(folder)
    load_report(folder)
    texts: dict[int, dict[str, str]] = {}
    errors: dict[int, dict[str, str]] = {}
    for line in whole_lines(folder / RESULTS):
        into, key = (errors, "error") if "error" in line else (texts, "text")
        into.setdefault(int(line["row"]), {})[str(line["variant"])] = str(line.get(key, ""))
    scores, objects = _csv(folder)
    return [ScoredRow(row=row.line, where=row.where, image=row.image if isinstance(row.image, Path) else None,
                      prompt=row.prompt, references=row.texts, scene=row.scene, label=row.label,
                      texts=texts.get(row.line, {}), errors=errors.get(row.line, {}),
                      scores=scores.get(row.line, {}), hallucinated=objects.get(row.line, {}))
            for row in read_rows(folder)]


def examples(rows: Sequence[ScoredRow], variant: str, metric: str = "cider_d", scene: str | None = None,
             n: int = FEW, worst: bool = True) -> list[ScoredRow]:
    """The n rows on which the variant is worst, or best, by a score of the rows; of one type of scene, or of all. Of
    equals the first of the data come first."""
    known = [row for row in rows if metric in row.scores.get(variant, {}) and scene in (None, "", "all", row.scene)]
    sign = 1 if worst == (figure(metric).higher_is_better is not False) else -1
    return sorted(known, key=lambda row: (sign * row.scores[variant][metric], row.row))[:n]


def _measured(name: str, values: dict[str, Any]) -> Measured:
    return Measured(**{
        **values, "variant": name, "scores": _scores(values["scores"]), "measured": _scores(values["measured"]),
        "success": {scene: Success(**{**one, **{name: one[name] and Score(**one[name])
                                                for name in ("share", "chance", "people")}})
                    for scene, one in values["success"].items()},
        "calibration": tuple(Bin(**{**one, "found": Score(**one["found"])}) for one in values["calibration"])})


def _scores(values: dict[str, Any]) -> dict[str, Score]:
    return {name: Score(**one) for name, one in values.items()}


def _csv(folder: Path) -> tuple[dict[int, dict[str, dict[str, float]]], dict[int, dict[str, tuple[str, ...]]]]:
    """(row -> variant -> score -> value, row -> variant -> objects that no reference names) of scores.csv."""
    scores: dict[int, dict[str, dict[str, float]]] = {}
    objects: dict[int, dict[str, tuple[str, ...]]] = {}
    try:
        with (folder / SCORES).open(encoding="utf-8", newline="") as file:
            for line in csv.DictReader(file):
                row, variant = int(line["row"]), line["variant"]
                found = {name: float(value) for name, value in line.items() if name not in TEXT_COLUMNS and value}
                scores.setdefault(row, {})[variant] = {name: value for name, value in found.items()
                                                       if math.isfinite(value)}
                if line["objects_in_no_reference"]:
                    objects.setdefault(row, {})[variant] = tuple(line["objects_in_no_reference"].split("; "))
    except (OSError, ValueError, KeyError, TypeError, csv.Error):
        raise NarratorError(f"{folder / SCORES} is damaged: delete {METRICS} beside it and resume the evaluation."
                            ) from None
    return scores, objects


TEXT_COLUMNS = ("row", "where", "picture", "scene", "variant", "text", "references", "error", "objects_in_no_reference")

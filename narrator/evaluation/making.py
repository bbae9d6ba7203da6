"""Makes the files of a report from the answers: scores.csv, report.md, and metrics.json last."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from narrator.catalog import load_variants
from narrator.evaluation.clip import MISSING, Clip, find_clip
from narrator.evaluation.figures import figure
from narrator.evaluation.folder import whole_lines
from narrator.evaluation.markdown import markdown
from narrator.evaluation.plan import METRICS, REPORT, RESULTS, SCORES, Asked, Plan, read_plan, read_rows, scenes_of
from narrator.evaluation.report import TEXT_COLUMNS, Comparison, Measured, Report, as_json
from narrator.evaluation.scoring import THRESHOLDS, Scored, score, speed
from narrator.files import write_together, write_whole
from narrator.held_out import CAPTIONS
from narrator.metrics.paired import differences, verdict
from narrator.records import NarratorError

Lines = dict[int, dict[str, Any]]  # row -> answer


def make_report(folder: Path, problems: Mapping[str, str], check: Callable[[], None]) -> None:
    """Score the answers and write the report's files. check: called between variants, may raise to end it. Raises
    NarratorError where no variant has an answer, and OSError where nothing can be written."""
    plan, about = read_plan(folder)
    rows = read_rows(folder)
    lines = answers(folder)
    said, clip = _clip(plan, rows)
    if not plan.java:
        said |= {"meteor": "METEOR was not asked for.", "spice": "SPICE was not asked for."}
    scored: dict[str, Scored] = {}
    problems = {**problems, **_useless(lines)}
    for name in plan.variants:
        if name in lines and name not in problems:
            check()
            scored[name] = score(rows, lines[name], seed=plan.seed, use_java=plan.java, clip=clip)
            said |= {key: sentence for key, sentence in scored[name].said.items() if key not in said}
    if not scored:
        raise NarratorError(next(iter(problems.values()), "There was nothing to measure."))
    variants = [_measured(name, one, lines[name], plan.seed) for name, one in scored.items()]
    comparisons = _comparisons(scored, plan.seed)
    more = {"data": plan.name, "n": len(rows), "seed": plan.seed, "scenes": scenes_of(rows), "thresholds": THRESHOLDS,
            "said": said, "problems": problems}
    report = Report(
        plan=plan, created=about["created"], what=about["what"], n_rows=len(rows), variants=tuple(variants),
        references=about["references"], comparisons=tuple(comparisons), scenes=scenes_of(rows), said=said,
        thresholds=THRESHOLDS, problems=problems, bad=about["bad"], bad_rows=about["bad_rows"], folder=folder)
    write_together({folder / SCORES: _table(rows, lines, scored).encode(),
                    folder / REPORT: markdown(report).encode()})
    check()
    write_whole(folder / METRICS, as_json(variants, comparisons, more))


def answers(folder: Path) -> dict[str, Lines]:
    """The answers so far: variant -> row -> line. Of a row that stands twice the first counts."""
    found: dict[str, Lines] = {}
    for line in whole_lines(folder / RESULTS):
        found.setdefault(str(line["variant"]), {}).setdefault(int(line["row"]), line)
    return found


def _useless(lines: Mapping[str, Lines]) -> dict[str, str]:
    """Variants that answered no row, and why the first failed."""
    return {name: f"Not one of {len(told):,} rows could be used; the first: {next(iter(told.values()))['error']}"
            for name, told in lines.items() if all("error" in line for line in told.values())}


def _clip(plan: Plan, rows: Sequence[Asked]) -> tuple[dict[str, str], Clip | None]:
    """(why CLIPScore is missing, the model for it)."""
    if not any(row.task == CAPTIONS for row in rows):
        return {}, None
    if not plan.clip:
        return {"clip_score": "CLIPScore was not asked for."}, None
    clip = find_clip()
    return ({} if clip is not None else {"clip_score": MISSING}), clip


def _measured(name: str, scored: Scored, lines: Lines, seed: int) -> Measured:
    variant = load_variants().get(name)
    good = [line for line in lines.values() if "error" not in line]
    return Measured(variant=name, title=variant.title if variant else name, license=variant.license if variant else "",
                    n=scored.n, left_out=len(lines) - len(good), scores=scored.scores,
                    measured=speed(good, seed) if good else {}, success=scored.success, calibration=scored.calibration)


def _comparisons(scored: Mapping[str, Scored], seed: int) -> list[Comparison]:
    """Each pair of variants, in the order of the plan, on the rows that both answered."""
    found = []
    for first, second in itertools.combinations(scored, 2):
        for task, (lines, shares) in scored[first].shares.items():
            others, their = scored[second].shares.get(task, ([], None))
            place = {line: at for at, line in enumerate(others)}
            both = [at for at, line in enumerate(lines) if line in place]
            if their is None or not both:
                continue
            changes = differences(shares.of(np.array(both)), their.of(np.array([place[lines[at]] for at in both])),
                                  seed=seed)
            for name, change in changes.items():
                better = figure(name).higher_is_better
                if better is not None:
                    found.append(Comparison(first=first, second=second, metric=name, n=len(both), difference=change,
                                            verdict=verdict(change, better)))
    return found


def _table(rows: Sequence[Asked], lines: Mapping[str, Lines], scored: Mapping[str, Scored]) -> str:
    """scores.csv: a line for each row of each variant."""
    names = list(dict.fromkeys(name for one in scored.values() for values in one.rows.values() for name in values))
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow([*TEXT_COLUMNS, *names])
    for variant, one in scored.items():
        for row in rows:
            line = lines[variant].get(row.line)
            if line is not None:
                values = one.rows.get(row.line, {})
                picture = Path(str(row.image)).name if row.image is not None else ""
                texts = [picture, row.scene, variant, line.get("text", ""), " | ".join(row.texts),
                         line.get("error", ""), "; ".join(one.objects.get(row.line, ()))]
                table.writerow([row.line, _safe(row.where), *map(_safe, texts),
                                *(repr(values[name]) if name in values else "" for name in names)])
    return out.getvalue()


def _safe(text: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text

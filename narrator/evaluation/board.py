"""The leaderboard: every model of the catalog with its newest figures, speed, memory, votes and licence; and what a
report gives to a model's card."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from narrator.catalog import bundled_ids, find_variant, load_variants, manifest_folder
from narrator.evaluation.folder import list_evaluations
from narrator.evaluation.report import Measured, Report, load_report
from narrator.hub.cards import keep_measured
from narrator.records import NarratorError, Score

SHOWN = ("cider_d", "meteor", "clip_score", "words_found", "adjective_precision", "hallucination_i", "confidence_error",
         "accuracy", "perplexity")
_RANKED = ("cider_d", "accuracy", "perplexity")  # the first that a variant has orders it among others on the same data


@dataclasses.dataclass(frozen=True, kw_only=True)
class Standing:
    """A variant on the leaderboard, once for each data set. evaluation: the id of the newest one, "" for none. rating:
    the chance to be preferred to an average one, from `votes` votes."""

    variant: str
    title: str
    license: str
    parameters: int
    bundled: bool
    evaluation: str
    data: str
    n: int
    scores: dict[str, Score]
    seconds_per_row: Score | None
    tokens_per_second: Score | None
    memory: Score | None
    rating: Score | None
    votes: int


def leaderboard(root: Path, votes: Mapping[str, tuple[Score, int]] | None = None) -> list[Standing]:
    """All variants of the catalog, by data set, in each the best first; those never measured last. Figures of different
    data do not compare. votes: variant -> (chance to be preferred to an average one, number of votes)."""
    newest: dict[tuple[str, str], tuple[Report, Measured]] = {}
    for one in list_evaluations(root):  # the newest first
        if one.state == "done":
            try:
                report = load_report(one.folder)
            except NarratorError:
                continue
            for measured in report.variants:
                newest.setdefault((measured.variant, _data(report)), (report, measured))
    bundled, found = bundled_ids(), []
    for variant in load_variants().values():
        rating, count = (votes or {}).get(variant.id, (None, 0))
        about: dict[str, Any] = {
            "variant": variant.id, "title": variant.title, "license": variant.license, "votes": count,
            "parameters": variant.parameters, "bundled": variant.id in bundled, "rating": rating}
        mine = [(data, *known) for (name, data), known in newest.items() if name == variant.id]
        found += [_standing(about, data, report, measured) for data, report, measured in mine]
        if not mine:
            found.append(Standing(**about, evaluation="", data="", n=0, scores={}, seconds_per_row=None,
                                  tokens_per_second=None, memory=None))
    return sorted(found, key=_place)


def to_card(report: Report, variant_id: str) -> Path:
    """Put a variant's figures into the metrics.json of its folder, from which its card and `model-index` are made; the
    file's other contents stay. Raises NarratorError where it has no folder here, or was not measured."""
    measured = next((one for one in report.variants if one.variant == variant_id), None)
    if measured is None:
        raise NarratorError(f"'{variant_id}' is not in this report.")
    variant = find_variant(variant_id)
    folder = Path(variant.adapter) if variant.adapter else manifest_folder(variant_id)
    if folder is None:
        raise NarratorError(f"{variant.title} has no folder of its own here, so it has no card to put scores into.")
    keep_measured(folder, _data(report), {name: {"value": score.value, "low": score.low, "high": score.high}
                                          for name, score in measured.scores.items()})
    return folder


def _data(report: Report) -> str:
    """What the figures are of, so that those of the same data stand together."""
    limit = f", first {report.plan.limit:,}" if report.plan.limit else ""
    return f"{report.plan.name}{f', {report.plan.split}' if report.plan.split else ''}{limit}"


def _standing(about: dict[str, Any], data: str, report: Report, measured: Measured) -> Standing:
    scores = {name: measured.scores[name] for name in SHOWN if name in measured.scores}
    return Standing(**about, evaluation=report.folder.name, data=data, n=measured.n, scores=scores,
                    seconds_per_row=measured.measured.get("seconds_per_row"),
                    tokens_per_second=measured.measured.get("tokens_per_second"),
                    memory=measured.measured.get("memory"))


def _place(one: Standing) -> tuple[bool, str, bool, float, str]:
    name = next((name for name in _RANKED if name in one.scores), None)
    value = one.scores[name].value if name else 0.0
    return not one.evaluation, one.data, name is None, value if name == "perplexity" else -value, one.title

"""Examples and the leaderboard of the Evaluate tab: plain functions on plain values."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from narrator import evaluation
from narrator.evaluation import ScoredRow
from narrator.records import NarratorError
from narrator.ui import evaluate_report, evaluate_view
from narrator.ui.evaluate_handlers import folder_of
from narrator.ui.visitors import owner

SHOWN, MOST_SHOWN = 6, 60  # examples at first, and at most


def examples(run_id: str | None, variant: str | None, scene: str | None, order: str | None, count: int,
             visitor: Any) -> tuple[str, bool]:
    """(the worst or best rows of a variant, whether there are more); a sentence where there are none to show."""
    try:
        folder = folder_of(run_id, visitor)
        made, rows = evaluation.load_report(folder), evaluation.load_rows(folder)
        if variant not in evaluate_report.titles(made):
            return "", False
        found = evaluation.examples(rows, variant, metric=_decides(rows, variant), scene=scene or None, n=count + 1,
                                    worst=order != "best")
    except NarratorError as error:
        return f'<p class="quiet">{escape(str(error))}</p>', False
    return (evaluate_view.examples(found[:count], variant, evaluate_report.titles(made)),
            len(found) > count and count < MOST_SHOWN)


def _decides(rows: Sequence[ScoredRow], variant: str) -> str:
    """The figure by which rows are ordered: CIDEr-D where rows have it, else the first that they have."""
    known = next((row.scores[variant] for row in rows if row.scores.get(variant)), {})
    return "cider_d" if "cider_d" in known else next(iter(known), "cider_d")


def leaderboard(visitor: Any) -> str:
    """All variants of the catalog with their newest figures, and this visitor's votes."""
    from narrator.metrics.ranking import ranking
    from narrator.votes import votes_of

    try:
        mine = owner(visitor)
        ranked = ranking(votes_of(mine).all().votes)
        votes = {one.variant: (one.chance, one.votes) for group in ranked.groups for one in group}
        return evaluate_view.leaderboard(evaluation.leaderboard(evaluation.evaluations_folder(mine), votes))
    except NarratorError as error:
        return f'<p class="quiet">{escape(str(error))}</p>'

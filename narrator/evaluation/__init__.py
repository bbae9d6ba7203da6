"""Evaluations: variants on the same data, as a job whose folder is the truth, with a report and a leaderboard.

`create` makes the folder, `run` (or narrator.evaluation.child, in a process of its own) carries it out and goes on
where it was left, `state_of` says how it stands, `load_report` and `load_rows` what it found.
"""

from pathlib import Path

from narrator.evaluation.board import Standing, leaderboard, to_card
from narrator.evaluation.figures import FIGURES, GROUPS, INTERVALS, Figure, figure, shown
from narrator.evaluation.folder import (
    Evaluation,
    ask_to_stop,
    evaluations_folder,
    list_evaluations,
    remove,
    state_of,
)
from narrator.evaluation.plan import Looked, Plan, create, look_at
from narrator.evaluation.report import (
    Bin,
    Comparison,
    Measured,
    Report,
    ScoredRow,
    Success,
    examples,
    load_report,
    load_rows,
)
from narrator.evaluation.running import run
from narrator.metrics.objects import word_list as object_words
from narrator.scene_types import rules as scene_rules

__all__ = ["FIGURES", "GROUPS", "INTERVALS", "Bin", "Comparison", "Evaluation", "Figure", "Looked", "Measured", "Plan",
           "Report", "ScoredRow", "Standing", "Success", "ask_to_stop", "compare", "create", "evaluations_folder",
           "examples", "figure", "leaderboard", "list_evaluations", "load_report", "load_rows", "look_at",
           "object_words", "remove", "run", "scene_rules", "shown", "state_of", "to_card"]


def compare(folder: Path, first: str, second: str) -> list[Comparison]:
    """The comparisons of two variants of a report; the second against the first, as they were planned."""
    found = load_report(folder).comparisons
    return [one for one in found if {one.first, one.second} == {first, second}]

"""What the base scores before it learns: on the same held-out examples, measured as the variant is in the end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from trainer import jobs, together
from trainer.evaluation import plain
from trainer.recipes import Scores
from trainer.run import Run

FILE = "base.json"  # in the run's folder: data set -> metric -> value, low, high


def measure(run: Run, model: Any) -> None:
    """Event `base`, at step 0, with the scores of the weights that the run begins with; measured once, however often
    the run is resumed. It chooses no weights and ends no stage. Random weights are not measured. Raises Stopped."""
    if not run.config.base:
        return
    scores = together.first(lambda: None if (run.folder / FILE).exists() else _measured(run, model.to(run.device)))
    if scores is not None:
        run.events.append("base", step=0, scores=scores)


def _measured(run: Run, model: Any) -> dict[str, Any]:
    with run.recipe.autocast():
        scores = plain(whole_scores(run, model, "base: dev"))
    jobs.write_whole(run.folder / FILE, json.dumps(scores) + "\n")
    return scores


def whole_scores(run: Run, model: Any, what: str) -> Scores:
    """All scores of the dev sets, with intervals: of the base, and of the saved variant. what: for progress."""
    tell = run.tell(what)
    scores: Scores = run.recipe.evaluate(model, run.dev, beams=run.config.eval_beams, intervals=True, tell=tell)
    losses: Scores = run.recipe.losses(model, run.dev, tell=tell)
    return {name: of_set | losses.get(name, {}) for name, of_set in scores.items()}


def known(folder: Path) -> dict[str, Any]:
    """The scores of the run's base; {} for one that began with random weights, or long ago."""
    try:
        found = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}

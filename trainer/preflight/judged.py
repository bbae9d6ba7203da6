"""Whether what is held out can be scored by what chooses the best weights."""

from __future__ import annotations

from collections.abc import Sequence

from trainer.config import TrainingConfig
from trainer.preflight.findings import Finding
from trainer.preflight.sets import DataSet

NEEDED = {"accuracy": "questions with short answers", "cider_d": "captions, or questions that are answered at length"}


def metric_findings(config: TrainingConfig, sets: Sequence[DataSet]) -> list[Finding]:
    """An error for each stage whose `metric` none of the held-out examples has: a run would fail of it at its first
    evaluation. Only of projector_lm: what the other recipes are judged by, every example has that they can read."""
    wanted = {stage.metric for stage in config.stages if stage.metric and stage.objective != "language"}
    if config.recipe != "projector_lm" or not wanted:
        return []
    from trainer.questions import companions
    from trainer.recipes.answered import asked_rows  # torch

    seen, held = ([[item.example for item in one.items if item.example.image is not None] for one in sets
                   if one.side == side] for side in ("data", "dev"))
    others = companions([example for examples in seen for example in examples if not example.prompt])
    kinds = [row.kind for examples in held for row in asked_rows(examples[:config.eval_limit], others)]
    if not kinds:  # nothing could be read, which is told already
        return []
    there = {"accuracy": any(kinds), "cider_d": not all(kinds)}
    return [Finding(level="error", what=f"Stage '{stage.name}' goes by '{stage.metric}', which nothing held out has.",
                    remedy=f"Hold out {NEEDED[stage.metric]}, choose another 'metric', or leave it empty.")
            for stage in config.stages if stage.metric in wanted and not there[stage.metric]]

"""A curriculum: what the model is worst at on dev is drawn more often until the next evaluation.

The weight of a type of scene is (its mean loss / the mean loss of all)^strength. Types with few dev examples keep the
weight 1: their loss is chance.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from trainer import together
from trainer.events import EventLog, read_events

EVENT = "curriculum"
FEWEST = 5  # dev examples of a type


def weights(losses: Mapping[str, Sequence[float]], strength: float) -> dict[str, float]:
    """Sampling weights of the types. losses: type -> the loss of each of its dev examples."""
    known = {name: values for name, values in losses.items() if len(values) >= FEWEST}
    count = sum(map(len, known.values()))
    mean = sum(map(sum, known.values())) / count if count else 0.0
    if mean <= 0:
        return {}
    return {name: round((sum(values) / len(values) / mean) ** strength, 4) for name, values in known.items()}


def note(folder: Path, found: Mapping[str, float], losses: Mapping[str, Sequence[float]]) -> None:
    """Write the weights, and the losses behind them, into the run's events; the first process of a run does."""
    if not together.is_first():
        return
    means = {name: round(sum(values) / len(values), 4) for name, values in losses.items()}
    with EventLog(folder / "events.jsonl") as log:
        log.append(EVENT, weights=dict(found), losses=means)


def noted(folder: Path, step: int) -> dict[str, float]:
    """The weights that the run had after this step of it, {} when there were none: a run that is resumed goes on with
    them. Those of later steps, which it made before it was killed, do not count."""
    kept: dict[str, float] = {}
    found: dict[str, float] = {}
    for event in read_events(folder / "events.jsonl")[0]:
        if event.get("event") == EVENT:
            found = event["weights"]
        elif event.get("event") == "evaluation" and event["step"] <= step:  # it follows the weights that it led to
            kept = found
    return dict(kept)

"""What a run has done so far, from its events.jsonl: read once for all who watch, from the byte where reading ended."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import functools
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from narrator.evaluation.figures import FIGURES
from trainer.events import FILE, read_events
from trainer.tab.series import Series

AT_ONCE = 1 << 22  # bytes read at one look: a long run is caught up with in pieces
RECENT = 50  # steps that the pace is taken from
DECIDES = ("cider_d", "accuracy", "loss_answer")  # the metric that chooses the best weights, by what is there
LOSSES = ("loss_answer",)  # of them, those where less is better; the event's score is their negative
TITLES = {**{name: known.title for name, known in FIGURES.items()},
          "loss_captions": "Loss of the captions (nats a word)"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sample:
    """A held-out example: its reference, the words of the weights that the run began with, and those of now."""

    image: str | None
    prompt: str
    reference: str
    base: str
    text: str


@dataclasses.dataclass
class Watch:
    """One run. `version` goes up with every event; everything else is what the page shows of it."""

    folder: Path
    version: int = 0
    offset: int = 0
    loss: Series = dataclasses.field(default_factory=Series)
    score: Series = dataclasses.field(default_factory=Series)
    metric: str = ""  # what `score` is, in words
    lower_is_better: bool = False
    step: int = 0
    total: int = 0
    stage: str = ""
    last: dict[str, Any] = dataclasses.field(default_factory=dict)  # the newest step event
    samples: list[Sample] = dataclasses.field(default_factory=list)
    sampled_at: int = 0  # the step of these samples
    evaluations: int = 0
    scores: dict[str, Any] = dataclasses.field(default_factory=dict)  # data set -> metric -> value, low, high; newest
    base_scores: dict[str, Any] = dataclasses.field(default_factory=dict)  # the same of the weights it began with
    ended: dict[str, Any] = dataclasses.field(default_factory=dict)  # the event done, failed or stopped, the newest
    milestones: list[str] = dataclasses.field(default_factory=list)
    pace: collections.deque = dataclasses.field(default_factory=lambda: collections.deque(maxlen=RECENT))
    guard: threading.Lock = dataclasses.field(default_factory=threading.Lock)

    def look(self) -> Watch:
        """Take in what came since the last look. Cheap while nothing did."""
        with self.guard:
            events, offset = read_events(self.folder / FILE, self.offset, AT_ONCE)
            if offset < self.offset:  # the file was replaced: begin anew
                self.__init__(self.folder, self.version + 1)  # type: ignore[misc]
            self.offset = offset
            for event in events:
                self._take(event)
        return self

    def steps_per_s(self) -> float:
        """Of the newest steps; 0 while it cannot be told."""
        if len(self.pace) < 2:
            return 0.0
        (first, began), (last, now) = self.pace[0], self.pace[-1]
        return (last - first) / (now - began) if now > began and last > first else 0.0

    def left_s(self) -> float | None:
        """Seconds that the run still needs, about; None while it cannot be told."""
        pace = self.steps_per_s()
        return (self.total - self.step) / pace if pace and self.total else None

    def _take(self, event: Mapping[str, Any]) -> None:
        self.version += 1
        if isinstance(event.get("total_steps"), int):
            self.total = event["total_steps"]
        take = {"started": self._started, "stage": self._stage, "step": self._step, "evaluation": self._evaluation,
                "stage_done": self._stage_done, "base": self._base, "done": self._end, "failed": self._end,
                "stopped": self._end}.get(str(event.get("event")))
        if take is not None:
            take(event)

    def _started(self, event: Mapping[str, Any]) -> None:
        self.pace.clear()
        if self.ended:
            self.milestones.append(f"Going on from step {self.step:,}.")
        self.ended = {}

    def _stage(self, event: Mapping[str, Any]) -> None:
        self.pace.clear()
        self.stage = str(event.get("stage", ""))
        self.milestones.append(f"Stage {self.stage} begins: {_whole(event.get('steps')):,} steps.")

    def _step(self, event: Mapping[str, Any]) -> None:
        self.step = _whole(event.get("step"))
        self.last = dict(event)
        if isinstance(event.get("loss"), (int, float)):
            self.loss.add(self.step, float(event["loss"]))
        seconds = _seconds(event.get("time"))
        if seconds is not None:
            if self.pace and self.step <= self.pace[-1][0]:
                self.pace.clear()
            self.pace.append((self.step, seconds))

    def _evaluation(self, event: Mapping[str, Any]) -> None:
        step = _whole(event.get("step"))
        self.evaluations += 1
        if isinstance(event.get("scores"), dict) and event["scores"]:
            self.scores = event["scores"]
        if isinstance(event.get("score"), (int, float)):
            self._measured(step, float(event["score"]), event)
        if isinstance(event.get("samples"), list):
            self.samples = [_sample(row) for row in event["samples"] if isinstance(row, dict)]
            self.sampled_at = step

    def _measured(self, step: int, score: float, event: Mapping[str, Any]) -> None:
        """One more value of the metric that chooses the best weights. A stage may have another one: a new curve."""
        metric, lower = self._metric(event)
        if (metric, lower) != (self.metric, self.lower_is_better):
            self.score = Series()
        self.metric, self.lower_is_better = metric, lower
        value = event["value"] if isinstance(event.get("value"), (int, float)) else abs(score) if lower else score
        before = self.score.lowest if lower else self.score.highest
        self.score.add(step, float(value))
        self.milestones.append(f"Step {step:,} of {self.total:,}. {metric} {value:.2f}, "
                               + self._standing(float(value), before))

    def _standing(self, value: float, before: tuple[int, float] | None) -> str:
        if before is None:
            return "the first evaluation."
        better = value < before[1] if self.lower_is_better else value > before[1]
        return "best so far." if better else f"best {before[1]:.2f} at step {before[0]:,}."

    def _metric(self, event: Mapping[str, Any]) -> tuple[str, bool]:
        """(its name, whether less is better): as the event says; of older runs, by the scores that there are."""
        if isinstance(event.get("metric"), str):
            name = event["metric"]
            return name[:1].upper() + name[1:], event.get("higher_is_better") is False
        there = {name for of_set in self.scores.values() if isinstance(of_set, dict) for name in of_set}
        known = next((name for name in DECIDES if name in there), "")
        return TITLES.get(known, known.replace("_", " ").capitalize()) or "Score", known in LOSSES

    def _stage_done(self, event: Mapping[str, Any]) -> None:
        if isinstance(event.get("scores"), dict) and event["scores"]:
            self.scores = event["scores"]

    def _base(self, event: Mapping[str, Any]) -> None:
        self.base_scores = event["scores"] if isinstance(event.get("scores"), dict) else {}
        self.evaluations += 1
        sets = [of_set for of_set in self.base_scores.values() if isinstance(of_set, dict)]
        known = next((name for name in DECIDES if sets and isinstance(sets[0].get(name), dict)), "")
        value = sets[0][known].get("value") if known else None
        if len(sets) == 1 and isinstance(value, (int, float)):  # of several sets no figure stands for all
            self.milestones.append(f"Before training: {TITLES.get(known, known)} {value:.2f}.")

    def _end(self, event: Mapping[str, Any]) -> None:
        self.ended = dict(event)
        if isinstance(event.get("scores"), dict):
            self.scores = event["scores"]


@functools.lru_cache(maxsize=16)
def watch(folder: Path) -> Watch:
    """The watch of a run's folder, one for everybody who looks at it."""
    return Watch(folder)


def _sample(row: Mapping[str, Any]) -> Sample:
    text = {name: str(row.get(name) or "") for name in ("prompt", "reference", "base", "text")}
    return Sample(image=row.get("image") if isinstance(row.get("image"), str) else None, **text)


def _whole(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _seconds(time: Any) -> float | None:
    try:
        return datetime.datetime.fromisoformat(str(time)).timestamp()
    except ValueError:
        return None

"""Before a training: what the configuration's model is, how much of it learns, what it takes, and what is wrong with
data, base and machine."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from narrator.records import NarratorError
from trainer.config import Stage, TrainingConfig
from trainer.preflight.balance import balance_findings
from trainer.preflight.bases import base_findings, licence_findings
from trainer.preflight.dry_run import Measured, measure
from trainer.preflight.findings import Finding, Tell, error_of, ordered
from trainer.preflight.judged import metric_findings
from trainer.preflight.leaks import picture_findings, scene_findings, text_findings
from trainer.preflight.lengths import length_findings
from trainer.preflight.pictures import look_at, spread
from trainer.preflight.sets import DataSet, read_sets
from trainer.preflight.sizes import disk_bytes, disk_finding, steps_of
from trainer.run import evaluations_of

_GIB = 2**30
_HELD = {"none": 4.0, "8bit": 1.0, "4bit": 0.6}  # bytes a frozen weight, its scales included
SAMPLES = 8
PICTURES, FEWER = 20_000, 2_000  # that are opened, and by a quick look; of more, so many evenly from first to last


@dataclasses.dataclass(frozen=True, kw_only=True)
class StageSize:
    """What a stage takes. steps: None where the data is not here. memory_gib: see `memory`. seconds: None where no dry
    run was made."""

    stage: str
    trainable: int
    total: int
    memory_gib: float
    steps: int | None
    seconds: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """findings: errors first. begins: whether the run could begin at all, though perhaps to no good end. samples:
    {"image": path or None, "texts", "prompt"}. memory_bytes: measured, else estimated; seconds: of the whole run, None
    where no dry run was made. stages is empty where the base is nowhere."""

    findings: list[Finding]
    begins: bool
    samples: list[dict[str, Any]]
    stages: list[StageSize]
    memory_bytes: int | None
    seconds: float | None
    disk_bytes: int | None


def check(config: TrainingConfig, root: Path, tell: Tell, *, quick: bool = False, runs: Path = Path("runs"),
          most_pictures: int | None = None) -> Report:
    """Everything that can be known before a start. quick: without the dry run, and by fewer pictures. runs: where the
    run would stand.

    `tell` hears of the progress, and may raise to end it: nothing is left of it then.
    """
    sets, findings = read_sets(config, root, tell)
    findings += base_findings(config, root)
    sound = not any(finding.level == "error" for finding in findings)
    if config.recipe in ("encoder_decoder", "projector_lm", "hub_vlm"):
        looked, some = _pictures(sets, tell, most_pictures or (FEWER if quick else PICTURES))
        findings, sound = findings + looked, sound and some
    if config.recipe == "causal_lm":
        findings += scene_findings(sets)
    if config.recipe != "image_gpt":
        findings += text_findings(sets) + length_findings(config, root, sets, tell)
    findings += metric_findings(config, sets) + balance_findings(config, sets) + licence_findings(config, root)
    try:
        stages = examine(config, root, steps_of(config, sets))
    except NarratorError as error:
        if str(error) not in {f"{finding.what} {finding.remedy}" for finding in findings}:
            findings.append(error_of(error))
        stages, sound = [], False
    measured = measure(config, root, tell, runs) if sound and not quick else Measured()
    if not sound and not quick:
        findings.append(Finding(level="ok", what="No dry run was made: the run could not begin.",
                                remedy="Mend the errors first."))
    findings += measured.findings
    disk = _disk(config, stages, sets, measured)
    if disk is not None:
        findings.append(disk_finding(disk, runs))
    return Report(findings=ordered(dict.fromkeys(findings)), begins=sound, samples=samples(sets),
                  stages=[_timed(one, measured) for one in stages], disk_bytes=disk,
                  memory_bytes=measured.memory or _estimate(stages), seconds=_seconds(config, stages, sets, measured))


def examine(config: TrainingConfig, root: Path, steps: Mapping[str, int | None]) -> list[StageSize]:
    """One for each stage, from a model without weights. Raises NarratorError when a base is nowhere."""
    from trainer.recipes import Recipe, recipe_class
    from trainer.recipes.skeletons import skeleton, tokens_in_a_row

    model, kind = skeleton(config, root), recipe_class(config.recipe)
    recipe: Recipe = object.__new__(kind)  # its groups need none of what a recipe reads
    total, found = _count(model), []
    for stage in config.stages:
        recipe.parameter_groups(model, stage)
        learning = _count(model, learning=True)
        found.append(StageSize(
            stage=stage.name, trainable=learning, total=total, steps=steps[stage.name],
            memory_gib=memory(config, stage, (learning, total), _shape(model, tokens_in_a_row(config))) / _GIB))
    return found


def memory(config: TrainingConfig, stage: Stage, parameters: tuple[int, int],
           shape: tuple[int, int, int, int]) -> float:
    """Bytes, about: the weights as they are held, 12 more for each that learns (gradient, AdamW's two moments), and the
    activations of a batch, s b h (34 + 5 a s / h) a layer at 16 bits (Korthikanti et al. 2022, arXiv:2205.05198); where
    they are recomputed, what goes into each layer, 2 s b h, and those of one.

    parameters: (trainable, all). shape: tokens s, width h, heads a, layers.
    """
    learning, total = parameters
    tokens, width, heads, layers = shape
    entering = 2 * tokens * stage.batch_size * width
    within = entering * (17 + 2.5 * heads * tokens / width)
    recomputed = config.recompute or config.quantize != "none"
    activations = entering * layers + within if recomputed else within * layers
    return learning * (4 + 12) + (total - learning) * _HELD[config.quantize] + activations


def samples(sets: Sequence[DataSet]) -> list[dict[str, Any]]:
    """A few examples of what is learned from, evenly from each set's first to its last."""
    learned = [one for one in sets if one.side == "data"]
    found = []
    for one in learned:
        each = max(1, SAMPLES // len(learned))
        step = max(1, len(one.items) // each)
        found += [item.example for item in one.items[::step][:each]]
    return [{"image": None if example.image is None else str(example.image), "texts": list(example.texts),
             "prompt": example.prompt} for example in found[:SAMPLES]]


def told(config: TrainingConfig, report: Report) -> str:
    """The report as lines for a terminal."""
    lines = [f"{config.name} ({config.recipe}):"]
    for one in report.stages:
        steps = "its data is not here" if one.steps is None else f"{one.steps:,} steps"
        lines.append(f"  {one.stage}: {one.trainable:,} of {one.total:,} parameters learn "
                     f"({100 * one.trainable / one.total:.2f} %), about {one.memory_gib:.1f} GiB of memory, {steps}")
    lines += map(line_of, report.findings)
    counted = {level: sum(finding.level == level for finding in report.findings) for level in ("error", "warning")}
    summary = ", ".join(f"{count} {level}{'s' * (count != 1)}" for level, count in counted.items())
    if report.seconds is not None:
        summary += f"; about {_span(report.seconds)}"
    return "\n".join([*lines, f"{summary}."])


def line_of(finding: Finding) -> str:
    """ "warning: What was found. What to do about it." """
    return f"{finding.level}: {finding.what} {finding.remedy}".rstrip()


def plain(report: Report) -> dict[str, Any]:
    """The report as JSON holds it."""
    return dataclasses.asdict(report)


def _pictures(sets: Sequence[DataSet], tell: Tell, most: int) -> tuple[list[Finding], bool]:
    """(findings, whether one of them can be opened)"""
    paths = list(dict.fromkeys(item.example.image for one in sets for item in one.items
                               if item.example.image is not None))
    looked = spread(paths, most)
    marks = look_at(looked, tell)
    found = picture_findings(sets, marks)
    if len(looked) < len(paths):
        found.append(Finding(level="ok", what=f"{len(looked):,} of {len(paths):,} pictures were opened.",
                             remedy="A check on demand opens more; in a terminal `trainer doctor --pictures N`."))
    return found, not marks or not all(isinstance(mark, NarratorError) for mark in marks.values())


def _disk(config: TrainingConfig, stages: Sequence[StageSize], sets: Sequence[DataSet], measured: Measured
          ) -> int | None:
    if not stages:
        return None
    cache = max((each for _, each in measured.features.values()), default=0) * _shown(sets)
    return disk_bytes(config, {one.stage: (one.trainable, one.total) for one in stages},
                      {one.stage: one.steps for one in stages}, cache)


def _shown(sets: Sequence[DataSet]) -> int:
    """Different pictures that are learned from."""
    return len({item.example.image for one in sets if one.side == "data" for item in one.items} - {None})


def _timed(one: StageSize, measured: Measured) -> StageSize:
    if one.stage not in measured.steps or one.steps is None:
        return one
    return dataclasses.replace(one, seconds=round(measured.steps[one.stage] * one.steps, 3))


def _seconds(config: TrainingConfig, stages: Sequence[StageSize], sets: Sequence[DataSet], measured: Measured
             ) -> float | None:
    """Steps, features, and descriptions of the held-out examples: at each evaluation, and with beams by the base, at
    the end of a stage and of the run."""
    if measured.memory is None or any(one.steps is None for one in stages):
        return None
    held = sum(min(len(one.items), config.eval_limit or len(one.items)) for one in sets if one.side == "dev")
    total = (2 if config.base else 1) * config.eval_beams * held * measured.answer_s
    for stage, one in zip(config.stages, stages, strict=True):
        total += measured.steps[stage.name] * (one.steps or 0) + measured.features[stage.name][0] * _shown(sets)
        if stage.objective != "language":
            total += (evaluations_of(stage, one.steps or 0) + config.eval_beams) * held * measured.answer_s
    return round(total, 3)


def _estimate(stages: Sequence[StageSize]) -> int | None:
    return max((int(one.memory_gib * _GIB) for one in stages), default=None)


def _span(seconds: float) -> str:
    """ "40 seconds", "12 minutes", "3.5 hours" """
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def _count(model: Any, *, learning: bool = False) -> int:
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad or not learning)


def _shape(model: Any, tokens: int) -> tuple[int, int, int, int]:
    config = model.config.get_text_config(decoder=True)
    return tokens, config.hidden_size, config.num_attention_heads, config.num_hidden_layers

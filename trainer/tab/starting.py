"""Where a training can start: the shipped presets, and the models of this machine that can be tuned. And what a
visitor's settings may name."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from narrator.catalog import load_variants, manifest_folder
from narrator.hub import is_hub_id, local_folder
from narrator.records import NarratorError, Variant
from trainer.config import TrainingConfig, check_name
from trainer.tab.fields import Draft, from_yaml, lists

PRESETS = Path(__file__).resolve().parents[1] / "presets"
TUNE, ADAPT = "photo-captioner-tune", "blip-base-lora"  # the presets that a variant of that family is tuned by
TEMPLATES = {"encoder_decoder": TUNE, "hub_vlm": ADAPT}
DEFAULT = f"preset:{TUNE}"
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
BESIDE = re.compile(r"checkpoints/[a-z0-9]+([.-][a-z0-9]+)*")
OF_THE_HUB = re.compile(r"hub:[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(/[\w.-]+)?")
NAMES_A_PLACE = ("encoder", "decoder", "base")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Start:
    """One entry of the list "Start from": a preset, or a variant to be tuned by one."""

    id: str  # preset:NAME or variant:ID
    title: str


def starts() -> list[Start]:
    """What can be started from: the easy one first, then the models to tune, then the presets by name."""
    tuned = [Start(id=f"variant:{variant.id}", title=f"{variant.title}, tuned on your pictures")
             for variant in load_variants().values() if variant.id != "photo-captioner" and _can_be_tuned(variant)]
    presets = [Start(id=f"preset:{path.stem}", title=f"{_title(path)} (recipe {path.stem})")
               for path in sorted(PRESETS.glob("*.yaml")) if path.stem != TUNE]
    first = Start(id=DEFAULT, title="Photo captioner, tuned on your pictures (easy)")
    return [first, *tuned, *presets]


def start_from(start_id: str) -> Draft:
    """The draft of an entry. Raises NarratorError for one that is gone."""
    kind, _, name = start_id.partition(":")
    if kind == "preset" and (PRESETS / f"{name}.yaml") in set(PRESETS.glob("*.yaml")):
        return from_yaml(PRESETS / f"{name}.yaml", f"The preset {name}")
    variant = load_variants().get(name) if kind == "variant" else None
    if variant is None or not _can_be_tuned(variant):
        raise NarratorError("What you chose to start from is not here any more. Choose another one.")
    draft = from_yaml(PRESETS / f"{TEMPLATES[variant.family]}.yaml")
    draft.update(name=_free_name(variant), title=f"{variant.title}, tuned", base=_place(variant),
                 license=variant.license, provenance=f"{variant.title}, tuned on pictures of one's own.",
                 card=f"`{variant.id}`, trained further on pictures of its owner.")
    return draft


def summary(draft: Draft) -> str:
    """What this training does, in a sentence or two."""
    stages = ", ".join(f"{stage['name']} ({float(stage['epochs'] or 0):g}" + (
        f", {stage['steps']:,} steps at most" if stage.get("steps") else "") + ")" for stage in draft["stages"])
    begun = draft["base"] or draft["teacher"] or draft["encoder"]
    begins = f"Begins from {begun.removeprefix('checkpoints/')}." if begun else "Begins from random weights."
    several = len(draft["stages"]) > 1
    return f"{begins} Passes over the data{' by stage' if several else ''}: {stages or 'none'}."


def check_places(config: TrainingConfig, root: Path) -> None:
    """Raise NarratorError for a setting that names a file of this machine outside the data root.

    A visitor's settings decide which files the trainer opens: data sets only below `root`, models below it, among the
    checkpoints, or by their Hub id in the download cache.
    """
    for name, kind in lists().items():
        if "path" in {field.name for field in dataclasses.fields(kind)}:
            for row in getattr(config, name):
                if not OF_THE_HUB.fullmatch(row.path) and not _below(row.path, root):
                    raise NarratorError(f"'{name}' names {row.path!r}, which is not below the data folder. Upload the "
                                        "pictures, or name a data set of the data folder or of the Hub.")
    for name in NAMES_A_PLACE:
        place = getattr(config, name)
        if place and not (BESIDE.fullmatch(place) or _below(place, root) or HUB_ID.fullmatch(place)):
            raise NarratorError(f"'{name}' names {place!r}, which is neither checkpoints/ID of a model nor a Hub id. "
                                "Choose one of those.")
    if config.teacher:
        check_name(config.teacher.replace(".", "-"), "'teacher'")


def _title(preset: Path) -> str:
    """The line `title` of a shipped preset; reading all of them as YAML would hold up the page."""
    found = re.search(r"^title: (.+)$", preset.read_text(encoding="utf-8"), re.MULTILINE)
    return found[1].strip() if found else preset.stem


def _can_be_tuned(variant: Variant) -> bool:
    """Whether a shipped recipe can go on with its weights: a captioner that is here whole, no adapter on another."""
    return variant.family in TEMPLATES and variant.adapter is None and local_folder(variant) is not None


def _place(variant: Variant) -> str:
    """The setting `base` that finds it again."""
    if is_hub_id(variant.source):
        return variant.source
    folder = manifest_folder(variant.id)
    return f"checkpoints/{folder.name if folder else variant.id}"


def _free_name(variant: Variant) -> str:
    return f"{variant.id.replace('.', '-')}-tuned"


def _below(place: str, root: Path) -> bool:
    if Path(place).is_absolute() or ".." in Path(place).parts or "\0" in place or ":" in place:
        return False
    return (root / place).resolve().is_relative_to(root.resolve())

"""The data sets of a configuration as its recipe would read them, with where each example stands; and what is wrong
with them before any picture is opened."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from narrator.readers.digits import read_digits
from narrator.readers.gathering import read_found
from narrator.readers.rows import BadRow
from narrator.records import Example, NarratorError
from trainer.config import Data, TrainingConfig
from trainer.data import located
from trainer.preflight.findings import Finding, Tell, error_of, row_findings
from trainer.prepare import left_out
from trainer.scenes import Scene, picture_key, read_scenes, split_scenes, text_alone

Key = tuple[str, str | None, str, str]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Item:
    """An example, where it stands ("captions.jsonl, line 3"), and the scene that it belongs to."""

    example: Example
    where: str
    scene: str


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class DataSet:
    """What one source gives to one side. side: data (learned from), text (captions alone) or dev (held out)."""

    side: str
    source: Data
    items: list[Item]


def read_sets(config: TrainingConfig, root: Path, tell: Tell) -> tuple[list[DataSet], list[Finding]]:
    """Every source that can be read, each read once, and findings for the others and for rows of no use.

    As in the recipe causal_lm, a set that is named on both sides without a split is split by scene there.
    """
    read: dict[Key, list[Item]] = {}
    findings: list[Finding] = []
    named = [(side, source) for side in ("data", "text", "dev") for source in getattr(config, side)]
    for place, (side, source) in enumerate(named):
        tell("data sets", place, len(named))
        if _key(source) in read:
            continue
        bad: list[BadRow] = []
        where: Path | None = None
        try:
            where = located(source, root, lambda message: tell(message, 0, 0))
            read[_key(source)] = _items(config, side, source, where, bad)
        except NarratorError as error:
            findings.append(error_of(error, where))
            read[_key(source)] = []
        findings += row_findings(bad)
    sets = [DataSet(side=side, source=source, items=read[_key(source)][:source.limit]) for side, source in named]
    sets = [one for one in sets if one.items]
    if config.recipe == "causal_lm":
        sets = _split_by_scene(sets, config.held_out)
    return sets, findings + _wrong_kind(config, sets)


def _key(source: Data) -> Key:
    return source.path, source.split, source.image_column, source.text_column


def _items(config: TrainingConfig, side: str, source: Data, path: Path, bad: list[BadRow]) -> list[Item]:
    if config.recipe == "image_gpt":
        return [Item(example=example, where=str(example.image or f"{path}, picture {number}"), scene="")
                for number, example in enumerate(read_digits(path, source.split), start=1)]
    if config.recipe == "causal_lm" and text_alone(path):
        return [Item(example=Example(image=None, texts=scene.texts, prompt=scene.prompt), where=str(path),
                     scene=scene.key) for scene in read_scenes(path, split=source.split, bad=bad)]
    found = read_found(path, split=source.split)
    bad += found.bad
    folder = path if path.is_dir() else path.parent
    if side == "data":  # once, though what is held out lies there, too
        bad += left_out(folder)
    return [Item(example=example, where=where, scene=picture_key(example, folder))
            for example, where in zip(found.examples, found.wheres, strict=True)]


def _split_by_scene(sets: list[DataSet], share: float) -> list[DataSet]:
    """The sets as CausalLMRecipe splits them: those named on both sides without a split, by scene."""
    def scenes(one: DataSet) -> list[Scene]:
        return [Scene(key=item.scene, texts=item.example.texts, prompt=item.example.prompt) for item in one.items]

    both = {one.source.path for one in sets if one.side == "dev" and one.source.split is None}
    learned = [one for one in sets if one.side == "data"]
    held: dict[str, set[str]] = {}
    for one in learned:
        if one.source.split is None and one.source.path in both:
            others = [scene for other in learned if other is not one for scene in scenes(other)]
            held[one.source.path] = {scene.key for scene in split_scenes(scenes(one), share, others)[1]}
    found = []
    for one in sets:
        keys = held.get(one.source.path) if one.source.split is None else None
        if keys is not None:
            held_out = one.side == "dev"
            one = dataclasses.replace(one, items=[item for item in one.items if (item.scene in keys) == held_out])
        found.append(one)
    return found


def _wrong_kind(config: TrainingConfig, sets: list[DataSet]) -> list[Finding]:
    """Errors for texts where the recipe needs pictures, and for a side that nothing is left of."""
    found = []
    for one in sets:
        alone = sum(item.example.image is None for item in one.items)
        if not one.items:
            found.append(Finding(level="error", what=f"Nothing of {one.source.path} is left for "
                                 f"{'dev' if one.side == 'dev' else 'learning'}.", file=one.source.path,
                                 remedy="Raise or lower 'held_out', or name more data."))
        elif alone and one.side != "text" and config.recipe in ("encoder_decoder", "hub_vlm"):
            found.append(Finding(level="error", what=f"{one.source.path} holds {alone:,} texts without a picture, and "
                                 f"the recipe {config.recipe} learns from pictures.", file=one.source.path,
                                 remedy="Name the pictures in 'image', or list the file under 'text'."))
    return found

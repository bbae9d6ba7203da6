"""TrainingConfig: every setting of a training run, with its unit, range and meaning. Files are checked at the door."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from narrator.knobs import build, knob
from narrator.records import NarratorError

OBJECTIVES = ("language", "caption", "self_critical")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Data:
    """A data set: a file or folder, relative to the data root."""

    path: str
    split: str | None = None
    repeat: int = knob(1, unit="times", low=1, high=100, says="How often each picture is seen in an epoch.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stage:
    """One part of a training run, with its own objective and schedule. The best weights of a stage start the next."""

    name: str
    objective: str = knob("caption", choices=OBJECTIVES, says=(
        "language: captions alone, words of one standing in for the picture of another; "
        "caption: cross-entropy on pictures; self_critical: sampled captions rewarded by CIDEr-D (SCST)."))
    train_encoder: bool = knob(
        False, says="Whether the picture encoder learns too; if not, its features are computed once.")
    repeat: bool = knob(
        True, says="Whether sets are repeated as `data` says; if not, each picture is seen once an epoch.")
    epochs: float = knob(1.0, unit="passes over the data", low=0.0, high=1000, says="How long the stage lasts.")
    batch_size: int = knob(48, unit="pictures", low=1, high=4096,
                           says="Pictures in a step, each with all its captions.")
    learning_rate: float = knob(4e-4, unit="per step", low=1e-8, high=0.1, says="Peak step size of the decoder.")
    encoder_learning_rate: float = knob(1e-4, unit="per step", low=0.0, high=0.1, says="Peak step size of the encoder.")
    warmup: float = knob(0.05, unit="share of the steps", low=0.0, high=1.0, says="Steps in which the step size rises.")
    weight_decay: float = knob(0.01, low=0.0, high=1.0, says="AdamW's weight decay, on matrices only.")
    label_smoothing: float = knob(0.1, low=0.0, high=0.9, says="Share of the target spread over all words.")
    max_grad_norm: float = knob(1.0, low=0.001, high=1000, says="Gradients are clipped to this norm.")
    samples: int = knob(5, unit="captions a picture", low=2, high=64, says="Samples of the self-critical objective.")
    evaluations: int = knob(4, unit="times", low=1, high=1000,
                            says="Evaluations on dev (and checkpoints) in the stage.")
    patience: int = knob(3, unit="evaluations", low=1, high=1000, says="Stop after this many without a better one.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """A whole run. Paths are relative to the data root."""

    name: str = knob("", says="Id of the variant it makes: lower-case words joined by hyphens.")
    title: str = knob("", says="What the variant is called on the page.")
    recipe: str = knob("encoder_decoder", choices=("encoder_decoder",), says="What kind of model is trained.")
    license: str = knob("", says="Licence of the weights, as the data allow it.")
    provenance: str = knob("", says="One sentence: trained by whom, on what.")
    card: str = knob("", says="Markdown for the model card: data, licences, limits.")
    data: list[Data] = knob(list, says="Pictures with captions to learn from.")
    text: list[Data] = knob(list, says="Captions without pictures, for the language objective.")
    dev: list[Data] = knob(list, says="Held-out pictures: early stopping and reports.")
    encoder: str = knob("", says="Folder of the encoder that training starts from; empty for random weights.")
    width: int = knob(384, unit="channels", low=16, high=4096, says="Width of the decoder.")
    layers: int = knob(4, unit="layers", low=1, high=48, says="Depth of the decoder.")
    heads: int = knob(6, unit="heads", low=1, high=64, says="Attention heads; divides the width.")
    dropout: float = knob(0.1, low=0.0, high=0.9, says="Dropout in the decoder.")
    min_count: int = knob(4, unit="times", low=1, high=1000, says="Rarer words are left out of the vocabulary.")
    max_words: int = knob(24, unit="words", low=4, high=200, says="Longer captions are cut while training.")
    image_size: int = knob(224, unit="pixels", low=32, high=1024, says="Pictures are squashed to this square.")
    concepts: int = knob(12, unit="words", low=1, high=64,
                         says="Words that stand in for a picture in the language objective.")
    precision: str = knob("auto", choices=("auto", "bf16", "fp32"),
                          says="auto: bf16 where the processor or GPU has it.")
    eval_beams: int = knob(3, unit="beams", low=1, high=10, says="Beams of the report at the end of each stage.")
    eval_limit: int | None = knob(None, unit="pictures", low=1, says="Dev pictures of each set used; empty for all.")
    workers: int = knob(1, unit="processes", low=0, high=64, says="Processes that read and augment pictures.")
    seed: int = knob(1, low=0, high=2**31 - 1, says="Fixes data order, augmentation, initial weights and samples.")
    stages: list[Stage] = knob(list, says="The parts of the run, in order.")


def load_config(path: Path, changes: Sequence[str] = ()) -> TrainingConfig:
    """Read a preset or a run's config.yaml and apply `key=value` changes; stages by name: `stages.finetune.epochs=2`.

    Raises NarratorError naming the file and the setting.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NarratorError(f"There is no preset {path}. The shipped ones are in trainer/presets/.") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise NarratorError(f"{path} cannot be read as YAML: {reason}. Mend it and try again.") from None
    if not isinstance(values, dict):
        raise NarratorError(f"{path} holds no settings. Start from a preset in trainer/presets/.")
    for change in changes:
        _apply(values, change)
    return parse_config(values, str(path))


def parse_config(values: Mapping[str, Any], where: str) -> TrainingConfig:
    """A TrainingConfig from plain values; every unknown or bad setting is refused by name."""
    parts: dict[str, Any] = dict(values)
    kinds: dict[str, type] = {"data": Data, "text": Data, "dev": Data, "stages": Stage}
    for key, kind in kinds.items():
        rows = parts.get(key) or []
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise NarratorError(f"{where}: '{key}' must be a list of settings.")
        needed = "name" if kind is Stage else "path"
        for row in rows:
            if not row.get(needed):
                raise NarratorError(f"{where}: an entry of '{key}' has no '{needed}'.")
        parts[key] = [build(kind, row, f"{where}, {key} '{row[needed]}'") for row in rows]
    config: TrainingConfig = build(TrainingConfig, parts, where)
    _check(config, where)
    return config


def _check(config: TrainingConfig, where: str) -> None:
    check_name(config.name, f"{where}: 'name'")
    if config.width % config.heads:
        raise NarratorError(f"{where}: 'heads' ({config.heads}) must divide 'width' ({config.width}).")
    for key in ("data", "dev", "stages"):
        if not getattr(config, key):
            raise NarratorError(f"{where}: '{key}' is empty. Name at least one.")
    names = [stage.name for stage in config.stages]
    if len(set(names)) < len(names):
        raise NarratorError(f"{where}: two stages have the same name.")


def check_name(name: str, where: str) -> None:
    """Raise NarratorError unless `name` can be the id of a variant."""
    if not name or not all(part.isalnum() and part.isascii() and part == part.lower() for part in name.split("-")):
        raise NarratorError(f"{where} must be lower-case words joined by hyphens, not {name!r}.")


def _apply(values: dict[str, Any], change: str) -> None:
    """Set one `dotted.key=value` in nested dicts and lists (list items by name, path or number)."""
    key, equals, text = change.partition("=")
    if not equals:
        raise NarratorError(f"--set {change}: write it as key=value.")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise NarratorError(f"--set {change}: the value is not valid YAML.") from None
    target: Any = values
    rest = key.strip()
    while isinstance(target, list) or isinstance(target.get(rest.partition(".")[0]), (dict, list)):
        target, rest = _inside(target, rest, change)
        if not rest:
            raise NarratorError(f"--set {change}: {key} is a group of settings; name one of them: {key}.NAME=VALUE.")
    target[rest] = value


def _inside(target: Any, key: str, change: str) -> tuple[Any, str]:
    """The entry of a group that the key begins with, and the rest of the key. Paths in keys hold dots of their own."""
    if isinstance(target, dict):
        name, _, rest = key.partition(".")
        return target[name], rest
    for index, item in enumerate(target):
        for name in (str(index), item.get("name"), item.get("path")):
            if name and (key == name or key.startswith(f"{name}.")):
                return item, key[len(name) + 1:]
    known = ", ".join(str(item.get("name") or item.get("path")) for item in target)
    raise NarratorError(f"--set {change}: there is no entry '{key.partition('.')[0]}'. There are: {known}.")

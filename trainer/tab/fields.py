"""The form as data: every knob of a training as a field, and a draft of settings that fields show and change.

A draft is what `dataclasses.asdict` makes of a TrainingConfig. Lists (data sets, stages) are shown one row at a time:
`rows` says which, by the list's name.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import shlex
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from narrator.knobs import Knob, knobs
from narrator.records import NarratorError
from trainer.config import TrainingConfig, load_config, parse_config

FORM = "The form"
# The parts of a list's row that are no knobs: what the row is called, and where it comes from.
PLAIN = {"path": "A file or folder of pictures with texts, below the data root.",
         "split": "Only rows of this split, such as train or dev; empty for all.",
         "name": "What this stage is called: lower-case words joined by hyphens."}
Draft = dict[str, Any]
Rows = Mapping[str, int]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Field:
    """One setting of the form. key: "seed", "lora.r", "stages.epochs"; part: the list or group it belongs to, or ""."""

    key: str
    kind: type  # bool, int, float or str
    optional: bool  # may be empty, which means None
    default: Any
    knob: Knob

    @property
    def part(self) -> str:
        return self.key.rpartition(".")[0]

    @property
    def name(self) -> str:
        return self.key.rpartition(".")[2]

    def serves(self, recipe: str) -> bool:
        """Whether a training by this recipe takes notice of it."""
        part = fields_of(TrainingConfig)[self.part][1] if self.part else self.knob
        return not part.recipes or recipe in part.recipes


@functools.cache
def fields_of(kind: type) -> dict[str, tuple[dataclasses.Field, Knob]]:
    """All settings of a dataclass in order, those without a knob of their own included."""
    declared = knobs(kind)
    return {field.name: declared.get(field.name, (field, Knob(unit="", says=PLAIN.get(field.name, ""))))
            for field in dataclasses.fields(kind)}


@functools.cache
def lists() -> dict[str, type]:
    """The settings that are lists of groups: name -> what a row is."""
    return {name: typing.get_args(hint)[0] for name, hint in _hints(TrainingConfig).items()
            if typing.get_origin(hint) is list}


@functools.cache
def groups() -> dict[str, type]:
    """The settings that are one group, or None: name -> what it is."""
    kinds = {name: _without_none(hint)[0] for name, hint in _hints(TrainingConfig).items()}
    return {name: kind for name, kind in kinds.items() if isinstance(kind, type) and dataclasses.is_dataclass(kind)}


@functools.cache
def fields() -> dict[str, Field]:
    """Every setting of a training by its key; the key of a group alone ("lora") is whether there is one."""
    found: dict[str, Field] = {}
    for name, (_, declared) in fields_of(TrainingConfig).items():
        kind = lists().get(name) or groups().get(name)
        if name in groups():
            found[name] = Field(key=name, kind=bool, optional=False, default=False, knob=declared)
        rows = fields_of(kind).items() if kind else [(name, fields_of(TrainingConfig)[name])]
        owner, before = (kind, f"{name}.") if kind else (TrainingConfig, "")
        for inner, (field, meaning) in rows:
            base, optional = _without_none(_hints(owner)[inner])
            default = "" if field.default is dataclasses.MISSING else field.default
            found[before + inner] = Field(key=before + inner, kind=base, optional=optional, default=default,
                                          knob=meaning)
    return found


def draft_of(config: TrainingConfig) -> Draft:
    """The draft that stands for these settings."""
    return dataclasses.asdict(config)


def show(draft: Draft, rows: Rows) -> dict[str, Any]:
    """What each field shows: its key -> its value; of lists the chosen row, or the defaults where there is none."""
    return {key: _shown(draft, rows, field) for key, field in fields().items()}


def take(draft: Draft, rows: Rows, shown: Mapping[str, Any]) -> Draft:
    """A new draft with what the fields show now. Nothing is checked: `parse` does."""
    taken = copy.deepcopy(draft)
    for name, kind in groups().items():
        if name in shown:
            taken[name] = (taken[name] or copy.deepcopy(_defaults(kind))) if shown[name] else None
    for key, value in shown.items():
        field = fields()[key]
        if key in groups():
            continue
        if field.optional and value == "":
            value = None
        if not field.part:
            taken[key] = value
        elif field.part in groups():
            if taken[field.part] is not None:
                taken[field.part][field.name] = value
        elif rows.get(field.part, 0) < len(taken[field.part]):
            taken[field.part][rows.get(field.part, 0)][field.name] = value
    return taken


def add_row(draft: Draft, name: str) -> Draft:
    """With one more row at the list's end: like the one before it, so that little has to be changed."""
    changed = copy.deepcopy(draft)
    rows = changed[name]
    row = copy.deepcopy(rows[-1] if rows else _defaults(lists()[name]))
    if "name" in row:
        names = {other["name"] for other in rows}
        row["name"] = next(f"stage-{number}" for number in range(1, 1000) if f"stage-{number}" not in names)
    rows.append(row)
    return changed


def remove_row(draft: Draft, name: str, row: int) -> Draft:
    """Without that row."""
    changed = copy.deepcopy(draft)
    del changed[name][row:row + 1]
    return changed


def row_names(draft: Draft, name: str) -> list[str]:
    """What the rows of a list are called, to choose one."""
    return [f"{number}. {row.get('name') or row.get('path') or 'not named yet'}"
            for number, row in enumerate(draft[name], start=1)]


def settings(draft: Draft) -> dict[str, Any]:
    """What a preset would say: the settings that differ from their defaults and that the recipe takes notice of."""
    kept: dict[str, Any] = {}
    for name, (_, declared) in fields_of(TrainingConfig).items():
        value = draft[name]
        if declared.recipes and draft["recipe"] not in declared.recipes:
            continue
        if name in lists():
            value = [_differing(row, lists()[name]) for row in value]
        elif name in groups() and value is not None:
            kept[name] = _differing(value, groups()[name])
            continue
        if value != _defaults(TrainingConfig)[name] or name in ("name", "recipe"):
            kept[name] = value
    return kept


def parse(draft: Draft) -> TrainingConfig:
    """The settings, checked. Raises NarratorError that names the first one that is wrong."""
    return parse_config(settings(draft), FORM)


def to_yaml(draft: Draft) -> str:
    """The settings as a preset."""
    return yaml.dump(settings(draft), Dumper=_Lines, sort_keys=False, allow_unicode=True, width=110)


def from_yaml(path: Path, name: str = "") -> Draft:
    """The draft of a preset's file. name: what the file is called to the person. Raises NarratorError."""
    try:
        return draft_of(load_config(path))
    except NarratorError as error:
        raise NarratorError(str(error).replace(str(path), name or path.name)) from None


def command(draft: Draft, root: Path) -> str:
    """What does the same in a terminal, once the settings are saved beside it."""
    return shlex.join(["python", "-m", "trainer", "start", f"{draft['name'] or 'settings'}.yaml",
                       "--data-root", str(root)])


class _Lines(yaml.SafeDumper):
    """Texts of several lines as they are read, not as one long line."""

    def represent_text(self, text: str) -> yaml.ScalarNode:
        style = "|" if "\n" in text.strip() else None
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Lines.add_representer(str, _Lines.represent_text)


def _shown(draft: Draft, rows: Rows, field: Field) -> Any:
    if field.key in groups():
        return draft[field.key] is not None
    if not field.part:
        return draft[field.key]
    if field.part in groups():
        return (draft[field.part] or {}).get(field.name, field.default)
    found = draft[field.part]
    row = rows.get(field.part, 0)
    return found[row].get(field.name, field.default) if row < len(found) else field.default


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _without_none(hint: Any) -> tuple[Any, bool]:
    """(the type, whether None is allowed, too)"""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        rest = [part for part in typing.get_args(hint) if part is not type(None)]
        return rest[0], len(rest) < len(typing.get_args(hint))
    return hint, False


@functools.cache
def _defaults(kind: type) -> Any:
    """The defaults of a dataclass as a draft has them; "" for what has none."""
    return {field.name: _default(field) for field in dataclasses.fields(kind)}


def _default(field: dataclasses.Field) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return "" if field.default is dataclasses.MISSING else field.default


def _differing(row: Mapping[str, Any], kind: type) -> dict[str, Any]:
    """The settings of a group that differ from their defaults; those that have none always."""
    defaults = _defaults(kind)
    needed = {field.name for field in dataclasses.fields(kind) if field.default is dataclasses.MISSING}
    return {name: value for name, value in row.items() if name in needed or value != defaults[name]}

"""What an evaluation is to measure, and the folder that is made of it: the plan and the rows, whole or not at all.

evaluations/<id>/
  plan.json       the plan
  rows.jsonl      what is asked, row by row, with its references: data may change afterwards, an evaluation does not
  results.jsonl   what each variant answered, a line as soon as it is known (narrator.evaluation.running)
  metrics.json, report.md, scores.csv   written whole when all is answered; metrics.json last
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from narrator.catalog import find_variant
from narrator.evaluate import check_askable, counted
from narrator.files import write_whole
from narrator.held_out import CAPTIONS, HeldOut, read_held_out
from narrator.keeping import keeps_nothing
from narrator.knobs import build
from narrator.readers.gathering import LISTED, RECOGNISED, read_found
from narrator.readers.rows import Pictures
from narrator.records import NarratorError
from narrator.rows import BadRow
from narrator.scene_types import OTHER, scene_type
from narrator.settings import GenerationSettings

PLAN, ROWS, RESULTS = "plan.json", "rows.jsonl", "results.jsonl"
METRICS, REPORT, SCORES = "metrics.json", "report.md", "scores.csv"
MOST_VARIANTS = 12
NAMED_BAD = 20  # bad rows that are kept by name; the others are counted


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """What is measured on what. data_name: what people see of `data`, "" for its last two parts. seed: of the
    intervals. clip, java: whether to ask for what needs a CLIP model or Java."""

    variants: tuple[str, ...]
    data: Path
    data_name: str = ""
    split: str | None = None
    limit: int | None = None
    settings: GenerationSettings = dataclasses.field(default_factory=GenerationSettings)
    seed: int = 0
    batch_size: int = 16
    clip: bool = True
    java: bool = True

    @property
    def name(self) -> str:
        """What people see of the data."""
        return self.data_name or "/".join(self.data.parts[-2:])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Asked(HeldOut):
    """A row of an evaluation: `line` counts from 0. where: where it stands in its data. scene: of a picture with
    captions, by narrator.scene_types; "" else."""

    where: str = ""
    scene: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Looked:
    """What data hold: usable rows, what these are, rows of each split ("" for none), the first bad ones, how many."""

    rows: int
    what: str
    splits: dict[str, int]
    bad: list[str]
    bad_rows: int


def look_at(data: Path, split: str | None = None, *, inside: bool = False) -> Looked:
    """What a file or folder holds; no picture is opened. inside: pictures count only below the folder of the data, as
    for a stranger's. Raises NarratorError where nothing can be used."""
    rows, bad, splits = _read(Path(data), split, inside)
    return Looked(rows=len(rows), what=counted(rows), splits=splits, bad=bad[:NAMED_BAD], bad_rows=len(bad))


def create(plan: Plan, root: Path, *, name: str = "", keep: bool = False) -> Path:
    """A new folder below `root`, which appears whole; named by the time where it has no `name`.

    keep: the pictures are copied into it, and taken only from below the folder of the data. Raises NarratorError for a
    plan that cannot be carried out, and where the folder cannot be made.
    """
    _check(plan)
    if keeps_nothing() and not name:
        raise NarratorError("This server keeps nothing (NARRATOR_KEEP_NOTHING), and an evaluation is a folder: measure "
                            "elsewhere.")
    rows, bad, _ = _read(plan.data, plan.split, keep)
    rows = rows[:plan.limit]
    for variant_id in plan.variants:
        check_askable(find_variant(variant_id), plan.name, rows, plan.settings)
    part = root / f".{os.urandom(8).hex()}.part"
    try:
        part.mkdir(parents=True)
        if keep:
            rows = [_kept(row, part) for row in rows]
        values = {**_plain(plan), "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
                  "what": counted(rows), "rows": len(rows),
                  "references": sum(len(row.texts) for row in rows) / len(rows), "bad": bad[:NAMED_BAD],
                  "bad_rows": len(bad)}
        write_whole(part / PLAN, json.dumps(values, indent=2, ensure_ascii=False) + "\n")
        write_whole(part / ROWS, "".join(json.dumps(_written(row), ensure_ascii=False) + "\n" for row in rows))
        return _named(part, root, name)
    except OSError as error:
        raise NarratorError(f"No evaluation can be made in {root} ({error.strerror}). Check its permissions and the "
                            "space on the disk.") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)


def read_plan(folder: Path) -> tuple[Plan, dict[str, Any]]:
    """(the plan of a folder; created, what, rows, references, bad, bad_rows). Raises NarratorError where it is none."""
    try:
        values = json.loads((folder / PLAN).read_text(encoding="utf-8"))
        about = {key: kind(values.pop(key)) for key, kind in
                 (("created", str), ("what", str), ("rows", int), ("references", float), ("bad", list),
                  ("bad_rows", int))}
        settings = build(GenerationSettings, values.pop("settings"), str(folder / PLAN))
        plan = Plan(**{**values, "variants": tuple(values["variants"]), "data": Path(values["data"]),
                       "settings": settings})
    except FileNotFoundError:
        raise NarratorError(f"{folder} is not an evaluation: it has no {PLAN}.") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise NarratorError(f"{folder / PLAN} is damaged: delete the evaluation and begin a new one.") from None
    return plan, about


def read_rows(folder: Path) -> list[Asked]:
    """The rows of an evaluation. Raises NarratorError where they are not there or damaged."""
    try:
        with (folder / ROWS).open(encoding="utf-8") as file:
            return [_asked(json.loads(line), folder) for line in file]
    except (OSError, ValueError, KeyError, TypeError):
        raise NarratorError(f"{folder / ROWS} is damaged: delete the evaluation and begin a new one.") from None


def _check(plan: Plan) -> None:
    if not plan.variants:
        raise NarratorError("Choose at least one model to measure.")
    twice = [name for name, count in Counter(plan.variants).items() if count > 1]
    if twice:
        raise NarratorError(f"'{twice[0]}' is named twice: name each model once.")
    if len(plan.variants) > MOST_VARIANTS:
        raise NarratorError(f"These are {len(plan.variants)} models: measure {MOST_VARIANTS} at most at once.")
    if plan.batch_size < 1 or (plan.limit is not None and plan.limit < 1):
        raise NarratorError("Limit and batch size must be 1 or more.")


def _read(data: Path, split: str | None, inside: bool) -> tuple[list[HeldOut], list[str], dict[str, int]]:
    """(usable rows as Asked, a sentence for each other, rows of each split)."""
    listed = next((data / name for name in LISTED if (data / name).is_file()), data) if data.is_dir() else data
    if not listed.exists():
        raise NarratorError(f"There is no data at {data}. Name {RECOGNISED}.")
    if listed.suffix.lower() == ".jsonl":
        held, bad_rows, names = read_held_out(listed, split)
        splits, wheres = dict(Counter(names)), [f"{listed}, line {row.line}" for row in held]
    else:
        found = read_found(listed, split=split)
        held = [HeldOut(texts=one.texts, image=one.image, prompt=one.prompt, label=one.label)
                for one in found.examples]
        bad_rows, splits, wheres = found.bad, found.splits, found.wheres
    kept = list(_numbered(held, wheres, listed.parent, inside, bad_rows))
    bad = [str(one).replace(f"{listed.parent}{os.sep}", "") for one in bad_rows]
    if not kept:
        if split is not None and splits and split not in splits:
            known = ", ".join(f"{name or 'no split'} ({count:,})" for name, count in splits.items())
            raise NarratorError(f"{data.name} has no row of split '{split}'; it has: {known}.")
        first = f" ({bad[0]})" if bad else ""
        raise NarratorError(f"{data.name} has no usable row{first}. Each needs a picture with captions, or a prompt "
                            "with references.")
    return kept, bad, splits


def _numbered(rows: Sequence[HeldOut], wheres: Sequence[str], folder: Path, inside: bool, bad: list[BadRow]
              ) -> Iterator[HeldOut]:
    """The rows as Asked; one whose picture lies outside of the folder goes to `bad` where that counts."""
    pictures, number = Pictures([folder]), 0
    for row, where in zip(rows, wheres, strict=True):
        if inside and isinstance(row.image, Path):
            try:
                pictures.find(os.path.relpath(row.image, folder), where)
            except BadRow as one:
                bad.append(one)
                continue
        scene = scene_type(row.texts) if row.task == CAPTIONS else ""
        fields = {field.name: getattr(row, field.name) for field in dataclasses.fields(HeldOut)}
        image = row.image.absolute() if isinstance(row.image, Path) else None
        where = where.replace(f"{folder}{os.sep}", "")
        yield Asked(**{**fields, "line": number, "image": image}, where=where, scene=scene)
        number += 1


def _kept(row: HeldOut, part: Path) -> HeldOut:
    """The row with its picture copied into the folder."""
    if not isinstance(row.image, Path):
        return row
    name = f"{row.line:06}{row.image.suffix.lower()}"
    (part / "pictures").mkdir(exist_ok=True)
    shutil.copyfile(row.image, part / "pictures" / name)
    return dataclasses.replace(row, image=Path("pictures") / name)


def _written(row: HeldOut) -> dict[str, Any]:
    values = {field.name: getattr(row, field.name) for field in dataclasses.fields(row)}
    return {**values, "image": None if row.image is None else str(row.image), "texts": list(row.texts)}


def _asked(values: dict[str, Any], folder: Path) -> Asked:
    image = values["image"]
    return Asked(**{**values, "texts": tuple(values["texts"]), "image": None if image is None else folder / image})


def _plain(plan: Plan) -> dict[str, Any]:
    return {**dataclasses.asdict(plan), "variants": list(plan.variants), "data": str(plan.data.absolute()),
            "data_name": plan.name}


def _named(part: Path, root: Path, name: str) -> Path:
    """Give the folder its name, else the first free one of this second."""
    if name:
        target = root / name
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise NarratorError(f"{target} is there already: name another folder, or go on with it (--resume).")
        return part.rename(target)
    stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    for number in range(1, 1000):
        target = root / (stamp if number == 1 else f"{stamp}-{number}")
        if not target.exists():
            return part.rename(target)
    raise NarratorError(f"{root} already holds a thousand evaluations of this second. Wait a second and try again.")


def scenes_of(rows: Sequence[Asked]) -> dict[str, int]:
    """How many rows show each type of scene, the commonest first, "other" last."""
    counts = Counter(row.scene for row in rows if row.scene)
    return dict(sorted(counts.items(), key=lambda one: (one[0] == OTHER, -one[1], one[0])))

"""A preset's held-out examples as rows that `python -m narrator evaluate` reads: what the recipe itself scores."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from narrator.held_out import HeldOut
from narrator.records import NarratorError
from trainer import jobs
from trainer.config import Data, TrainingConfig
from trainer.recipes import recipe_class


def file_names(config: TrainingConfig) -> list[str]:
    """The file of each dev set, in their order: `flickr8k/captions.jsonl`, split dev -> `flickr8k-captions-dev.jsonl`.

    Two sets that would have the same file get numbers.
    """
    names: list[str] = []
    for source in config.dev:
        parts = [os.path.splitext(source.path)[0], source.split or ""]
        plain = re.sub(r"[^\w.]+", "-", " ".join(parts)).strip("-.") or "dev"
        number, name = 2, plain
        while name in names:
            name, number = f"{plain}-{number}", number + 1
        names.append(name)
    return [f"{name}.jsonl" for name in names]


def held_out(config: TrainingConfig, root: Path) -> Iterator[tuple[Data, list[HeldOut]]]:
    """Each dev set with its rows. No model is read or made, and nothing is written. Raises NarratorError for data that
    cannot be used."""
    recipe: Any = object.__new__(recipe_class(config.recipe))  # to read data it needs none of what it learns with
    recipe.config, recipe.root = config, root
    recipe.read_more(strict=False)
    for source in config.dev:
        yield source, recipe.held_out(recipe.read_dev(source, strict=False)[:config.eval_limit])


def write(config: TrainingConfig, root: Path, out: Path) -> Iterator[tuple[Path, int]]:
    """Write a file for each dev set into `out`, and yield it with how many rows it has. Pictures that are in no file of
    their own are written beside it. Raises NarratorError for data that cannot be used and for a folder that cannot be
    written."""
    for name, (source, rows) in zip(file_names(config), held_out(config, root), strict=True):
        path = out / name
        try:
            out.mkdir(parents=True, exist_ok=True)
            lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in _rows(rows, path, source.split or "dev")]
            jobs.write_whole(path, "".join(lines))
        except OSError as error:
            raise NarratorError(f"{path} cannot be written ({error.strerror}): name another folder with --out, or free "
                                "some space.") from None
        yield path, len(rows)


def _rows(rows: Sequence[HeldOut], path: Path, split: str) -> Iterator[dict[str, Any]]:
    beside = path.with_suffix("")  # of the pictures that are in an array
    for number, row in enumerate(rows, start=1):
        picture = row.image
        if isinstance(picture, Image.Image):
            picture = _saved(picture, beside / f"{number:05}.png")
        image = None
        if picture is not None:
            image = Path(os.path.relpath(os.path.realpath(picture), os.path.realpath(path.parent))).as_posix()
        yield {**row.written(image, f"{path.stem}-{number}"), "split": split}


def _saved(picture: Image.Image, path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    part = path.with_suffix(".part")
    picture.save(part, "PNG")
    part.replace(path)
    return path

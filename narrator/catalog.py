"""The catalog: narrator/variants.yaml and every checkpoints/*/variant.yaml, as Variants. Imports no torch.

The files are read anew at each call (a few kilobytes), so that a model that has just been trained is there at once.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import os
import re
from pathlib import Path
from typing import Any

import yaml

from narrator.families import check_family
from narrator.knobs import build, refuse_unknown
from narrator.records import Inputs, NarratorError, Variant

CHECKPOINTS = Path(__file__).resolve().parent.parent / "checkpoints"
SHIPPED = Path(__file__).resolve().parent / "variants.yaml"
MANIFEST = "variant.yaml"
_REQUIRED = tuple(field.name for field in dataclasses.fields(Variant) if field.default is dataclasses.MISSING)
_KEBAB = re.compile(r"[a-z0-9]+([.-][a-z0-9]+)*")


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Catalog:
    """variants by id, bundled ones first; a sentence for each file or folder that was left out, by its path."""

    variants: dict[str, Variant]
    problems: dict[Path, str]


def load_variants(checkpoints: Path | None = None) -> dict[str, Variant]:
    """All variants by id: the bundled first, then other checkpoints by name, then those of variants.yaml.

    `checkpoints`: a folder of checkpoint folders, instead of this project's own and those of the environment variable
    NARRATOR_CHECKPOINTS (one folder or several, separated as in PATH). What cannot be read is left out: see `problems`.
    """
    return _read(checkpoints).variants


def problems(checkpoints: Path | None = None) -> list[str]:
    """One sentence for each checkpoint folder or catalog entry that was left out, and why."""
    return list(_read(checkpoints).problems.values())


def find_variant(variant_id: str, checkpoints: Path | None = None) -> Variant:
    """The variant of that id, else NarratorError with the nearest one, or with what is wrong with its folder."""
    catalog = _read(checkpoints)
    if variant_id in catalog.variants:
        return catalog.variants[variant_id]
    for path, problem in catalog.problems.items():
        if path.name == variant_id:
            raise NarratorError(problem)
    close = difflib.get_close_matches(variant_id, catalog.variants, n=1)
    if close:
        hint = f"Did you mean '{close[0]}'?"
    elif catalog.variants:
        hint = f"Choose one of: {', '.join(catalog.variants)}."
    else:
        hint = "The catalog is empty: train one, or set NARRATOR_CHECKPOINTS to a folder of checkpoints."
    raise NarratorError(f"There is no variant '{variant_id}'. {hint}")


def default_variant(checkpoints: Path | None = None) -> Variant:
    """The first of the catalog that is a folder of this machine. Raises NarratorError when there is none."""
    for variant in load_variants(checkpoints).values():
        if Path(variant.source).is_absolute():
            return variant
    raise NarratorError("There is no variant yet: train one, or set NARRATOR_CHECKPOINTS to a folder of checkpoints.")


def checkpoint_folders(checkpoints: Path | None = None) -> list[Path]:
    """The folders whose subfolders are checkpoints."""
    if checkpoints is not None:
        return [Path(checkpoints)]
    added = os.environ.get("NARRATOR_CHECKPOINTS", "")
    return list(dict.fromkeys([CHECKPOINTS, *(Path(part).expanduser() for part in added.split(os.pathsep) if part)]))


def bundled_ids() -> list[str]:
    """Ids of the checkpoints that come with this project, the default first; [] where variants.yaml cannot be read."""
    return _read_shipped({}, {})


def manifest_folder(variant_id: str, checkpoints: Path | None = None) -> Path | None:
    """The checkpoint folder whose variant.yaml has that id; None for a variant of variants.yaml, or for none."""
    for parent in checkpoint_folders(checkpoints):
        for folder in _subfolders(parent, {}):
            with contextlib.suppress(NarratorError):
                if read_variant(folder / MANIFEST).id == variant_id:
                    return folder
    return None


def read_variant(manifest: Path) -> Variant:
    """One variant.yaml; `source` and `adapter` come back absolute. Raises NarratorError that names file and fault."""
    values = _yaml(manifest)
    if not isinstance(values, dict):
        raise NarratorError(f"{manifest}: must be a list of 'name: value' lines; write it again.")
    return _variant(values, manifest, manifest.parent)


def _read(checkpoints: Path | None) -> _Catalog:
    found: dict[str, Variant] = {}
    problems: dict[Path, str] = {}
    for parent in checkpoint_folders(checkpoints):
        for folder in _subfolders(parent, problems):
            try:
                _add(found, read_variant(folder / MANIFEST), folder)
            except NarratorError as error:
                problems[folder] = str(error)
    bundled = _read_shipped(found, problems)
    order = [name for name in bundled if name in found]
    order += [name for name in found if name not in bundled]
    return _Catalog(variants={name: found[name] for name in order}, problems=problems)


def _read_shipped(found: dict[str, Variant], problems: dict[Path, str]) -> list[str]:
    """Add the variants of variants.yaml to `found`; the ids of the bundled ones, in order."""
    try:
        shipped = _yaml(SHIPPED) or {}
        refuse_unknown(shipped, ("bundled", "variants"), str(SHIPPED))
    except NarratorError as error:
        problems[SHIPPED] = str(error)
        return []
    for number, values in enumerate(shipped.get("variants") or [], start=1):
        where = SHIPPED / f"variants {number}"
        try:
            _add(found, _variant(values, where, SHIPPED.parent), where)
        except NarratorError as error:
            problems[where] = str(error)
    return list(shipped.get("bundled") or [])


def _add(found: dict[str, Variant], variant: Variant, where: Path) -> None:
    if variant.id in found:
        raise NarratorError(f"{where}: another variant has the id '{variant.id}' already ({found[variant.id].source}); "
                            "change one of the two.")
    found[variant.id] = variant


def _subfolders(parent: Path, problems: dict[Path, str]) -> list[Path]:
    """Folders below `parent` by name; hidden ones are not checkpoints. A parent that is not there holds none."""
    try:
        return sorted(path for path in parent.iterdir() if path.is_dir() and not path.name.startswith((".", "_")))
    except FileNotFoundError:
        return []
    except OSError as error:
        problems[parent] = f"{parent}: cannot be listed ({error.strerror}); check its permissions."
        return []


def _yaml(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NarratorError(f"{path.parent}: has no {path.name}, so the checkpoint is not finished or not whole; "
                            "train it again or delete the folder.") from None
    except OSError as error:
        raise NarratorError(f"{path}: cannot be read ({error.strerror}); check its permissions.") from None
    except UnicodeDecodeError:
        raise NarratorError(f"{path}: is not text; restore it or delete its folder.") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" in line {mark.line + 1}" if mark else ""
        raise NarratorError(f"{path}: is not valid YAML{line}; correct it or delete its folder.") from None


def _variant(values: Any, where: Path, folder: Path) -> Variant:
    """A Variant from one mapping; `folder` is what its relative paths are relative to."""
    if not isinstance(values, dict):
        raise NarratorError(f"{where}: must be a list of 'name: value' lines, not {values!r}.")
    refuse_unknown(values, [field.name for field in dataclasses.fields(Variant)], str(where))
    values = {name: value for name, value in values.items() if value is not None}
    missing = [name for name in _REQUIRED if name not in values]
    if missing:
        raise NarratorError(f"{where}: '{missing[0]}' is missing; add it.")
    if not isinstance(values["inputs"], dict):
        raise NarratorError(f"{where}: 'inputs' must look like {{image: true, text: false}}.")
    for name in ("image", "text"):
        values["inputs"].setdefault(name, False)
    inputs = build(Inputs, values["inputs"], f"{where}: inputs")
    variant: Variant = build(Variant, {**values, "inputs": inputs}, str(where))
    _check(variant, where)
    return dataclasses.replace(variant, source=_resolve(variant.source, folder),
                               adapter=None if variant.adapter is None else str((folder / variant.adapter).resolve()))


def _check(variant: Variant, where: Path) -> None:
    if not _KEBAB.fullmatch(variant.id):
        raise NarratorError(f"{where}: id '{variant.id}' must be small letters, digits and hyphens.")
    check_family(variant.family, str(where))
    if not (variant.inputs.image or variant.inputs.text):
        raise NarratorError(f"{where}: 'inputs' must have image or text true, or both.")


def _resolve(source: str, folder: Path) -> str:
    """An absolute path for a folder; a Hub id (owner/name) and a web address stay as they are."""
    if source.startswith((".", "/", "~")) or (folder / source).is_dir():
        return str((folder / Path(source).expanduser()).resolve())
    return source

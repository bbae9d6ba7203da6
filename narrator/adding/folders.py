"""A folder as transformers saves it (config.json, safetensors, tokenizer, processor), copied into the catalog."""

from __future__ import annotations

import dataclasses
import json
import shutil
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from narrator.adapters.files import CONFIG as ADAPTER
from narrator.adapters.files import PICKLES
from narrator.adapters.placing import appearing, new_checkpoint, slug, write_manifest
from narrator.adding.fitting import check_fits
from narrator.adding.recognising import recognise, refuse_code
from narrator.catalog import MANIFEST, read_variant
from narrator.hub.cache import KINDS
from narrator.hub.cards import CARD, license_of
from narrator.hub.pulling import size
from narrator.records import NarratorError, Variant
from narrator.unpacking import SPARE_BYTES
from narrator.weights import check_checkpoint, counted

SETTINGS = ("config.json", "tokenizer_config.json", "preprocessor_config.json", "processor_config.json")


def add_folder(folder: Path, *, family: str | None = None, name: str | None = None, title: str | None = None
               ) -> Variant:
    """Copy a model's folder to checkpoints/<name>/, with a variant.yaml; the new variant.

    name: the folder's own, as ids are written, unless it is given. The folder stays as it is, and of it only settings,
    tokenizer, card and safetensors are taken. Raises NarratorError, and leaves nothing behind, for weights that are
    pickled, damaged or not whole, or named as none are taken here, an adapter in the folder, code of the model's own, a
    family that is another or none, a name that is taken or no name, and too small a disk.
    """
    folder = Path(folder).expanduser().absolute()
    if not folder.is_dir():
        raise NarratorError(f"{folder} is not a folder: give the folder that holds config.json and model.safetensors.")
    told = folder.name
    out = new_checkpoint(slug(told) if name is None else name)
    config = settings_of(folder, told)
    files = {path.name: path for path in sorted(folder.iterdir())
             if path.is_file() and any(fnmatch(path.name, kind) for kind in (*KINDS, CARD))}
    _refuse_adapters(folder, told)
    _refuse_pickles(folder, files, told)
    kind = recognise(config, told, files, family)
    variant = Variant(id=out.name, title=title or told, family=kind.family, source=str(folder), inputs=kind.inputs,
                      several=kind.several, default_prompt=kind.default_prompt, license=license_of(folder),
                      provenance="Added here from a folder; who trained it, and on what, its own card says, if any.")
    check_checkpoint(variant)
    _refuse_other_shards(folder, files, told)
    check_fits(kind.family, folder, told)  # before gigabytes are copied
    check_disk(sum(path.stat().st_size for path in files.values()), out, told)
    place(files, variant, out, told)
    return read_variant(out / MANIFEST)


def place(files: dict[str, Path], variant: Variant, out: Path, told: str) -> None:
    """Files and the manifest of a variant into a folder of the catalog, whole or not at all. The copy is checked, as
    it may lack what the folder has. Raises NarratorError where it is no whole model."""
    with appearing(out) as part:
        for name, path in files.items():
            shutil.copyfile(path, part / name)
        check_checkpoint(dataclasses.replace(variant, source=str(part)))
        parameters = check_fits(variant.family, part, told)
        write_manifest(part, dataclasses.replace(variant, source=".", parameters=parameters, dtype=counted(part)[1]))


def settings_of(folder: Path, told: str) -> dict[str, Any]:
    """config.json. Raises NarratorError where it is missing or damaged, or a setting beside it wants to run code."""
    if not (folder / "config.json").is_file():
        if (folder / ADAPTER).is_file():
            raise NarratorError(f"{told} is an adapter: add it to its base with `python -m narrator adapter add FOLDER "
                                "--base ID`.")
        raise NarratorError(f"{told} has no config.json, so it is no model of transformers: give the folder that "
                            "`save_pretrained` wrote.")
    config: dict[str, Any] = {}
    for name in SETTINGS:
        if not (folder / name).is_file():
            continue
        try:
            values = json.loads((folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            values = None
        if not isinstance(values, dict):
            raise NarratorError(f"{told} is damaged: its {name} cannot be read; get it again.")
        refuse_code(values, told, name)
        if name == "config.json":
            config = values
    return config


def _refuse_adapters(folder: Path, told: str) -> None:
    """An adapter is no part of what is copied, and transformers would want it beside the weights."""
    for path in (folder / ADAPTER, *sorted(folder.glob(f"*/{ADAPTER}"))):
        if path.is_file():
            raise NarratorError(f"{told} holds an adapter beside its weights ({path.relative_to(folder)}): put its "
                                f"{ADAPTER} and weights into a folder elsewhere, add the model alone, then the adapter "
                                "with `python -m narrator adapter add FOLDER --base ID`.")


def _refuse_other_shards(folder: Path, files: dict[str, Path], told: str) -> None:
    """An index, which has been checked, names files that are not taken."""
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return
    shards = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
    others = sorted(set(shards) - set(files))
    if others:
        raise NarratorError(f"{told} holds weights under a name that is not taken ({others[0]}): load it and save it "
                            "with `save_pretrained`, which writes model-00001-of-00002.safetensors, then try again.")


def _refuse_pickles(folder: Path, files: dict[str, Path], told: str) -> None:
    if any(fnmatch(name, "model*.safetensors") for name in files):
        return
    if any(path.suffix in PICKLES for path in folder.iterdir()):
        raise NarratorError(f"{told} holds its weights as a pickle, which can carry a program, so it is not opened: "
                            "load it where you trust it and save it with `save_pretrained`, which writes "
                            "model.safetensors, then try again.")
    raise NarratorError(f"{told} holds no weights: give the folder with model.safetensors, or with all its shards.")


def check_disk(needed: int, out: Path, told: str) -> None:
    """Raise NarratorError where the disk of `out` has no room for so many bytes and some to spare."""
    there = next(parent for parent in out.parents if parent.is_dir())
    free = shutil.disk_usage(there).free
    if needed + SPARE_BYTES > free:
        raise NarratorError(f"{told} needs {size(needed + SPARE_BYTES)} of free disk and there are {size(free)}: free "
                            "some space, or set NARRATOR_CHECKPOINTS to a folder on another disk.")

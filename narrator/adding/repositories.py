"""A repository of the Hub as an entry of one's own in the catalog: a folder with nothing but variant.yaml, whose model
`pull` downloads."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from pathlib import Path
from typing import Any

from narrator.adapters.placing import appearing, new_checkpoint, slug, write_manifest
from narrator.adding.recognising import recognise
from narrator.catalog import MANIFEST, load_variants, read_variant
from narrator.hub.cache import is_hub_id, local_folder
from narrator.hub.cards import license_of
from narrator.hub.pulling import look
from narrator.records import Inputs, NarratorError, Variant
from narrator.weights import BYTES, DTYPES, counted


def add_repository(repo: str, *, family: str | None = None, name: str | None = None, title: str | None = None
                   ) -> Variant:
    """Put `owner/name` into the catalog as checkpoints/<name>/variant.yaml; the new variant, not downloaded.

    Asks the hub what the repository holds, unless it is in the cache. Raises NarratorError where there is no such
    repository or no hub, it holds no safetensors, brings code of its own or belongs to no family here or another, and
    for a name that is taken or no name.
    """
    if not is_hub_id(repo):
        raise NarratorError(f"{repo!r} is neither a folder here nor a model of the Hub (owner/name): correct it.")
    for known in load_variants().values():
        if known.source == repo and known.adapter is None:
            raise NarratorError(f"{repo} is in the catalog already: `python -m narrator pull {known.id}` downloads it.")
    out = new_checkpoint(slug(repo.partition("/")[2]) if name is None else name)
    asked = Variant(id=out.name, title=title or repo.partition("/")[2], family=family or "", source=repo,
                    inputs=Inputs(image=False, text=False))
    here = local_folder(asked)
    found = look(asked) if here is None else _known(here)
    kind = recognise(found["config"], repo, found["files"], family)
    parameters, dtype = _figures(found)
    with appearing(out) as part:
        write_manifest(part, dataclasses.replace(
            asked, family=kind.family, inputs=kind.inputs, several=kind.several, default_prompt=kind.default_prompt,
            parameters=parameters, dtype=dtype, license=str(found["license"]),
            provenance=f"Added here from the Hub; who trained it, and on what, the page of {repo} says."))
    return read_variant(out / MANIFEST)


def _known(folder: Path) -> dict[str, Any]:
    """What `look` would find, of a snapshot in the cache."""
    parameters, dtype = counted(folder)
    return {"config": json.loads((folder / "config.json").read_text(encoding="utf-8")),
            "files": [path.name for path in folder.iterdir()], "license": license_of(folder),
            "parameters": {dtype: parameters}, "bytes": 0}


def _figures(found: dict[str, Any]) -> tuple[int, str]:
    """(parameters, dtype): as the hub has counted them, else by the size of the weights and what config.json says."""
    counts: Counter[str] = Counter()
    for name, count in found["parameters"].items():
        counts[DTYPES.get(name, name)] += int(count)
    if counts:
        return counts.total(), counts.most_common(1)[0][0]
    said = found["config"].get("dtype") or found["config"].get("torch_dtype")
    dtype = said if said in DTYPES.values() else "float32"
    return int(found["bytes"]) // BYTES[dtype], dtype

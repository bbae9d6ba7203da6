"""An adapter worked into a copy of its base's weights: one model, which needs no PEFT and no other folder."""

from __future__ import annotations

import dataclasses
import fnmatch
import shutil
from pathlib import Path
from typing import Any

from narrator.adapters.files import CONFIG
from narrator.adapters.placing import appearing, new_checkpoint, write_manifest
from narrator.catalog import MANIFEST, find_variant, read_variant
from narrator.hub import cards
from narrator.hub.cache import is_hub_id, resolve
from narrator.records import NarratorError, Variant
from narrator.weights import bytes_needed, check_checkpoint, free_bytes

SMALL, SHARD = 100_000_000, "9MB"  # parameters; the shards of a small model, as the trainer writes them
LARGE_SHARD = "2GB"
BESIDE = ("*.json", "*.txt", "*.model", "*.jinja")  # tokenizer, processor and their like
_OWN = ("config.json", "generation_config.json", "*.index.json", "metrics.json", CONFIG)


def merge_adapter(variant_id: str, out: str) -> Variant:
    """Write checkpoints/<out>/ with the variant's adapter merged into its base's weights (bf16); the new variant.

    Raises NarratorError for a variant without an adapter, files that are missing or damaged, too little memory, and a
    name that is taken.
    """
    variant = find_variant(variant_id)
    place = new_checkpoint(out)
    with appearing(place) as part:
        made = write_merged(variant, part, out)
        (part / cards.CARD).write_text(cards.merged_card(variant, made), encoding="utf-8")
        write_manifest(part, made)
    return read_variant(place / MANIFEST)


def write_merged(variant: Variant, folder: Path, name: str) -> Variant:
    """Weights and all that belongs to them, less card and manifest, into a folder; the variant that they are.

    Each weight becomes W + (alpha / r) B A (Hu et al. 2021, section 4.1), rounded to bf16 as the trainer's are.
    """
    if variant.adapter is None:
        raise NarratorError(f"{variant.title} has no adapter: there is nothing to merge.")
    whole = resolve(variant)
    check_checkpoint(whole)
    _check_memory(whole)
    base, adapter = Path(whole.source), Path(variant.adapter)
    _beside(base, folder)
    if (adapter / "tokenizer_config.json").is_file():
        _beside(adapter, folder)
    count = _write_weights(whole, folder)
    known = variant.source if is_hub_id(variant.source) else base.name
    return dataclasses.replace(
        variant, id=name, title=f"{variant.title}, merged", source=".", revision=None, adapter=None, parameters=count,
        dtype="bfloat16", provenance=f"{variant.provenance} Its adapter {variant.id} is merged into {known}.".strip())


def _check_memory(variant: Variant) -> None:
    needed, free = bytes_needed(variant)[0], free_bytes("cpu")
    if free < needed:
        raise NarratorError(f"Merging {variant.title} needs at least {needed / 2**30:.1f} GiB of memory and "
                            f"{free / 2**30:.1f} are free: unload other models or close other programs.")


def _beside(source: Path, folder: Path) -> None:
    """Copy what stands beside the weights."""
    for path in sorted(source.iterdir()):
        taken = any(fnmatch.fnmatch(path.name, kind) for kind in BESIDE)
        if taken and path.is_file() and not any(fnmatch.fnmatch(path.name, own) for own in _OWN):
            shutil.copyfile(path, folder / path.name)


def _write_weights(variant: Variant, folder: Path) -> int:
    """Merge and save; how many parameters the model has."""
    import torch
    from safetensors import SafetensorError

    from narrator.families.loading import quiet

    with quiet():
        model = _merged(variant)
        count = int(model.num_parameters())
        try:
            model.to(torch.bfloat16).save_pretrained(folder, max_shard_size=SHARD if count < SMALL else LARGE_SHARD)
        except (SafetensorError, RuntimeError) as error:  # how a full disk looks from there
            raise NarratorError(f"The merged weights cannot be written ({' '.join(str(error).split())[:200]}): free "
                                "some space, then try again.") from error
    return count


def _merged(variant: Variant) -> Any:
    """The model in memory, without any trace of PEFT."""
    from peft import PeftModel
    from safetensors import SafetensorError

    from narrator.families import family_class

    kind: Any = family_class(variant.family)
    try:
        # Whole weights, also of a base that is held in 8 or 4 bits to speak: that rounding would stay for ever.
        model = kind(dataclasses.replace(variant, dtype="bfloat16"), "cpu").model
        if isinstance(model, PeftModel):
            model = model.merge_and_unload()
        elif isinstance(getattr(model, "language", None), PeftModel):
            model.language = model.language.merge_and_unload()
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        said = " ".join(str(error).split())[:200]
        raise NarratorError(f"{variant.title} cannot be merged: its files do not fit together "
                            f"({type(error).__name__}: {said}); restore them, then try again.") from error
    return model

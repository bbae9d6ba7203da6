"""What a run begins from: whether it is here, and its licence beside the one that the variant would bear."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from narrator.catalog import MANIFEST, checkpoint_folders, load_variants, read_variant
from narrator.records import NarratorError
from trainer.config import TrainingConfig
from trainer.preflight.findings import Finding, error_of

_NOT_COMMERCIAL = re.compile(r"(^|[^a-z])(nc|non-?commercial|research)([^a-z]|$)", re.IGNORECASE)
_HEADER = re.compile(r"---\n(.*?)\n---\n", re.DOTALL)


def base_findings(config: TrainingConfig, root: Path) -> list[Finding]:
    """An error for each base that is not on this machine, and for weights that cannot be held quantised here."""
    import torch

    from narrator.families.causal_lm import check_quantised
    from trainer.recipes.bases import find_base

    found = []
    for base in _bases(config):
        try:
            find_base(base, root)
        except NarratorError as error:
            found.append(error_of(error))
    if config.quantize != "none":
        try:
            check_quantised(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
        except NarratorError as error:
            found.append(error_of(error))
    return found


def licence_findings(config: TrainingConfig, root: Path) -> list[Finding]:
    """A warning where a base's licence is not known, or does not go with the one that `license` gives the variant."""
    found = [_finding(base, licence_of(base, root), config.license) for base in _bases(config)]
    if not config.license:
        found.append(Finding(level="warning", what="The variant would bear no licence.",
                             remedy="Set 'license' to one that data and base allow."))
    return found


def licence_of(base: str, root: Path) -> str:
    """As variants.yaml, a checkpoint's variant.yaml or the model's own card says it; "" where nothing does."""
    if base.startswith("checkpoints/"):
        for parent in checkpoint_folders():
            try:
                return read_variant(parent / base.removeprefix("checkpoints/") / MANIFEST).license
            except NarratorError:  # not here, or told elsewhere
                continue
        return ""
    of_hub = next((variant.license for variant in load_variants().values() if variant.source == base), "")
    return of_hub or _of_card(root / base) or _of_card(_snapshot(base))


def _bases(config: TrainingConfig) -> list[str]:
    teacher = f"checkpoints/{config.teacher}" if config.teacher else ""
    return [base for base in dict.fromkeys((config.base, config.encoder, config.decoder, teacher)) if base]


def _of_card(folder: Path | None) -> str:
    """`license` of the header of a folder's README.md."""
    try:
        header = None if folder is None else _HEADER.match((folder / "README.md").read_text(encoding="utf-8"))
        values = yaml.safe_load(header[1]) if header else None
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return ""
    return str(values.get("license") or "") if isinstance(values, dict) else ""


def _snapshot(base: str) -> Path | None:
    """The folder of a Hub model's card in the download cache."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(base, "README.md")
    except HFValidationError:  # a path, not a Hub id
        return None
    return Path(found).parent if isinstance(found, str) else None


def _finding(base: str, licence: str, own: str) -> Finding:
    if not licence:
        return Finding(level="warning", what=f"The licence of {base} is not written down here.",
                       remedy="Read it where the model comes from, and set 'license' to one that it allows.")
    closed = _NOT_COMMERCIAL.search(licence) is not None
    if closed and own and own != "other" and not _NOT_COMMERCIAL.search(own):
        return Finding(level="warning", what=f"{base} bears {licence}, which does not allow commercial use, and the "
                       f"variant would bear {own}.", remedy="Set 'license' to one that the base allows.")
    return Finding(level="ok", what=f"{base} bears {licence}.")

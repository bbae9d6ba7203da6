"""An adapter that somebody trained elsewhere, put beside a base of the catalog once it is known to fit."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from narrator.adapters.files import CONFIG, WEIGHTS, place, read_adapter
from narrator.adapters.placing import appearing, new_checkpoint, write_manifest
from narrator.catalog import MANIFEST, find_variant, read_variant
from narrator.hub.cache import is_hub_id, resolve
from narrator.records import NarratorError, Variant
from narrator.weights import check_checkpoint

if TYPE_CHECKING:
    from peft import LoraConfig

TAKE_ADAPTERS = ("causal_lm", "hub_vlm", "projector_lm")  # those with `takes_adapter`; asking them imports torch
Shapes = dict[str, tuple[int, ...]]


def add_adapter(folder: Path, base_id: str, *, name: str) -> Variant:
    """Copy a PEFT folder to checkpoints/<name>/, as a variant on top of a base of the catalog; the new variant.

    The base has to be here. Its shapes are compared without loading any weights. Raises NarratorError that names both
    for an adapter of another base, and one sentence for an adapter that is damaged, pickled or no LoRA, for a base that
    takes none, and for a name that is taken.
    """
    out = new_checkpoint(name)
    base = _base(base_id)
    settings, shapes = read_adapter(folder, name)
    _check_name(base, str(settings.get("base_model_name_or_path") or ""), name)
    check_shapes(base, settings, shapes, name)
    known = find_variant(base_id)
    own = Path(base.source)
    sibling = own.parent == out.parent.resolve()
    source = known.source if is_hub_id(known.source) else f"../{own.name}" if sibling else str(own)
    settings["base_model_name_or_path"] = known.source if is_hub_id(known.source) else f"checkpoints/{own.name}"
    added = sum(math.prod(shape) for shape in shapes.values())
    with appearing(out) as part:
        place(folder, settings, part)
        write_manifest(part, dataclasses.replace(
            known, id=name, title=f"{known.title} with {name}", source=source, adapter=".", license="",
            parameters=known.parameters + added if known.parameters else 0,
            provenance=f"Added here as an adapter on {known.title}; who trained it, and on what, is not known here."))
    return read_variant(out / MANIFEST)


def _base(base_id: str) -> Variant:
    """The base with the folder of its files as its source."""
    base = find_variant(base_id)
    if base.family not in TAKE_ADAPTERS:
        raise NarratorError(f"{base.title} takes no adapters ({base.family}): choose a base of one of these kinds: "
                            f"{', '.join(TAKE_ADAPTERS)}.")
    if base.adapter is not None:
        raise NarratorError(f"{base.title} is an adapter on a base itself: choose that base, or merge the two first "
                            f"with `python -m narrator merge {base.id} --out NAME`.")
    base = resolve(base)
    check_checkpoint(base)
    return base


def _check_name(base: Variant, told: str, name: str) -> None:
    """Raise NarratorError where the adapter says that it was trained on another base."""
    from narrator.families.causal_lm import names_of

    said = _last(told)
    known = [*names_of(Path(base.source)), base.id]
    if said and said.lower() not in {one.lower() for one in known}:
        raise NarratorError(f"The adapter {name} was trained on {said}, not on {base.title} ({known[0]}): choose that "
                            "base, or, where only the name differs, correct 'base_model_name_or_path' in its "
                            f"{CONFIG}.")


def _last(told: str) -> str:
    return told.replace("\\", "/").rstrip("/").rpartition("/")[2]


def check_shapes(base: Variant, settings: dict[str, Any], shapes: Shapes, name: str) -> None:
    """Raise NarratorError where the adapter's tensors are not those that PEFT would put on this base."""
    wanted, own = _expected(base, _lora(settings, name), name, settings)
    strange = [key for key in shapes if key not in wanted and own.get(_bare(key)) != shapes[key]]
    other = [key for key in wanted if key in shapes and shapes[key] != wanted[key]]
    if other:
        key = other[0]
        raise _misfit(base, settings, name, f"{_bare(key)} has the shape {list(shapes[key])}, where this base needs "
                                            f"{list(wanted[key])}")
    if strange:
        raise _misfit(base, settings, name, f"this base has no layer for {_bare(strange[0])}")
    missing = [key for key in wanted if key not in shapes]
    if missing:
        raise NarratorError(f"The adapter {name} is not whole: its {WEIGHTS} lacks {len(missing)} tensors, such as "
                            f"{_bare(missing[0])}; get it again.")


def _lora(settings: dict[str, Any], name: str) -> LoraConfig:
    """The settings as PEFT takes them; those of a newer PEFT that it does not know are left out."""
    from peft import LoraConfig

    known = {field.name for field in dataclasses.fields(LoraConfig)}
    given = {key: value for key, value in settings.items() if key in known}
    try:
        # How the weights began does not matter for their shapes, and some beginnings need the base's own weights.
        fixed = {"init_lora_weights": False, "inference_mode": True, "base_model_name_or_path": None}
        return LoraConfig(**{**given, **fixed})
    except (TypeError, ValueError, AttributeError) as error:
        raise NarratorError(f"The adapter {name} is damaged: its {CONFIG} asks for something that PEFT does not know "
                            f"({' '.join(str(error).split())[:160]}); get it again.") from error


def _expected(base: Variant, lora: LoraConfig, name: str, settings: dict[str, Any]) -> tuple[Shapes, Shapes]:
    """(tensors that an adapter of these settings has on this base, the base's own), without any weights."""
    import torch
    from peft import get_peft_model, get_peft_model_state_dict

    from narrator.families.loading import quiet

    try:
        with quiet(), torch.device("meta"):
            model = _skeleton(base)
            own = {key: tuple(value.shape) for key, value in model.state_dict().items()}
            joined = get_peft_model(model, lora)
            tensors = get_peft_model_state_dict(joined, save_embedding_layers=False)
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError, OSError) as error:
        said = " ".join(str(error).split())
        if "arget modules" in said or "target_modules" in said:
            raise _misfit(base, settings, name, "this base has none of the layers that it changes") from error
        raise NarratorError(f"The adapter {name} cannot be put on {base.title} ({type(error).__name__}: {said[:160]}): "
                            "choose another base or adapter.") from error
    return {key: tuple(value.shape) for key, value in tensors.items()}, own


def _skeleton(base: Variant) -> Any:
    """The base's part that adapters go on, on the device that is set."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText

    if base.family == "projector_lm":
        from narrator.families.projector_model import ProjectorLM, ProjectorLMConfig

        return ProjectorLM(ProjectorLMConfig.from_pretrained(base.source, local_files_only=True)).language
    config = AutoConfig.from_pretrained(base.source, local_files_only=True, trust_remote_code=False)
    kind = AutoModelForCausalLM if base.family == "causal_lm" else AutoModelForImageTextToText
    return kind.from_config(config, trust_remote_code=False)


def _bare(key: str) -> str:
    return key.removeprefix("base_model.model.")


def _misfit(base: Variant, settings: dict[str, Any], name: str, why: str) -> NarratorError:
    told = _last(str(settings.get("base_model_name_or_path") or ""))
    return NarratorError(f"The adapter {name} does not fit {base.title} ({base.id}): {why}. Choose the base that it "
                         f"was trained on{f' ({told}, as it says)' if told else ''}.")

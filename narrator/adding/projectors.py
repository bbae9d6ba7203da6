"""The parts of a "CLIP + Phi-2" as its makers leave them, put together as one model of the family projector_lm.

Those who build such models save the projector alone, as the state of a Linear and of LLaVA's residual block, beside a
PEFT adapter; the picture encoder and the language model are the published ones. In LLaVA's block the norm stands before
the branch: x = norm(x), then x + mlp(x) (https://github.com/haotian-liu/LLaVA, SimpleResBlock).
"""

from __future__ import annotations

import dataclasses
import re
import shutil
from pathlib import Path
from typing import Any

from narrator.adapters.adding import check_shapes
from narrator.adapters.files import CONFIG, WEIGHTS, place, read_adapter
from narrator.adapters.placing import appearing, new_checkpoint, slug, write_manifest
from narrator.adding.fitting import WORDS, check_fits
from narrator.adding.folders import check_disk, settings_of
from narrator.catalog import MANIFEST, read_variant
from narrator.records import Inputs, NarratorError, Variant
from narrator.weights import counted

_BLOCK = re.compile(r"(?:^|\.)(pre_norm|proj\.[02])\.(weight|bias)$")
_OURS = {"pre_norm": "0", "proj.0": "1", "proj.2": "3"}  # our block is one sequence: norm, Linear, GELU, Linear
_TOKENIZER = (*WORDS, "merges.txt", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Parts:
    """Where the rest of the model is. vision, language: folders as transformers saves them. separator: the token
    between picture and text, by its number or its text; None where the projector's file holds a vector for it."""

    vision: Path
    language: Path
    separator: str | None = None


def add_projector(folder: Path, parts: Parts, *, name: str | None = None, title: str | None = None) -> Variant:
    """Put projector, picture encoder, language model and adapter into checkpoints/<name>/; the new variant.

    folder: holds the projector's tensors as safetensors, and may hold adapter_config.json and its weights, there or in
    a folder below. Raises NarratorError, and leaves nothing behind, for tensors that are no such projector or of other
    widths, an adapter that does not fit or several, too small a disk, and whatever `add_folder` refuses in the other
    two.
    """
    folder = Path(folder).expanduser().absolute()
    out = new_checkpoint(slug(folder.name) if name is None else name)
    for part in (parts.vision, parts.language):
        settings_of(Path(part).expanduser(), part.name)
    adapter = _adapter(folder)
    with appearing(out) as made:
        _put_together(_tensors(folder), parts, made, folder.name)
        parameters = check_fits("projector_lm", made, folder.name)
        variant = Variant(id=out.name, title=title or folder.name, family="projector_lm", source=str(made),
                          inputs=Inputs(image=True, text=True), several=True, default_prompt="Describe this picture.",
                          parameters=parameters, dtype=counted(made)[1],
                          provenance=f"Put together here from a projector, {parts.vision.name} and "
                                     f"{parts.language.name}; who trained it is not known here.")
        if adapter is not None:
            settings, shapes = read_adapter(adapter, folder.name)
            check_shapes(variant, settings, shapes, folder.name)
            (made / "adapter").mkdir()
            place(adapter, {**settings, "base_model_name_or_path": f"checkpoints/{out.name}"}, made / "adapter")
        write_manifest(made, dataclasses.replace(variant, source=".", adapter="adapter" if adapter else None))
    return read_variant(out / MANIFEST)


def _adapter(folder: Path) -> Path | None:
    """The folder of the adapter, there or below. Raises NarratorError where there are several."""
    found = sorted(folder.rglob(CONFIG))
    if len(found) > 1:
        named = ", ".join(str(path.relative_to(folder)) for path in found[:5])
        raise NarratorError(f"{folder.name} holds {len(found)} adapters ({named}{', ...' * (len(found) > 5)}), and one "
                            "belongs to a projector: leave that one in the folder and take the others out.")
    return found[0].parent if found else None


def _tensors(folder: Path) -> dict[str, Any]:
    """The projector's tensors, float32, under our names: linear.*, block.*, separator."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    found: dict[str, Any] = {}
    try:
        for path in sorted(folder.glob("*.safetensors")):
            found |= {} if path.name == WEIGHTS else load_file(path)
    except (OSError, SafetensorError) as error:
        raise NarratorError(f"{folder.name} is damaged: its projector cannot be read; get it again.") from error
    if not found:
        raise NarratorError(f"{folder.name} holds no projector as safetensors; a pickle (.pt, .pth) can carry a "
                            "program and is not opened: load it where you trust it and save its state with "
                            "safetensors.torch.save_file.")
    named: dict[str, Any] = {}
    for key, tensor in found.items():
        block = _BLOCK.search(key)
        ours = f"block.{_OURS[block[1]]}.{block[2]}" if block else f"linear.{key.rpartition('.')[2]}"
        if not block and "sep" in key.lower() and tensor.numel() == tensor.shape[-1:].numel():
            ours = "separator"
        if ours in named or (not block and ours not in ("separator", "linear.weight", "linear.bias")):
            raise NarratorError(f"{folder.name} holds {key}, which is no part of a projector here: a Linear, and where "
                                "there is one a block of pre_norm, proj.0 and proj.2.")
        named[ours] = tensor.float().flatten() if ours == "separator" else tensor.float()
    return named


def _put_together(tensors: dict[str, Any], parts: Parts, out: Path, name: str) -> None:
    """Write weights, tokenizer and picture settings of the whole model. Raises OSError where they cannot be
    written."""
    from safetensors import SafetensorError

    from narrator.families.loading import quiet

    language_folder = Path(parts.language).expanduser()
    try:
        with quiet():
            model, pictures = _loaded(tensors, parts, name)
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise NarratorError(f"{name} does not fit {parts.vision.name} and {parts.language.name}: "
                            f"{' '.join(str(error).split())[:240]}. Name those that it was trained with.") from error
    check_disk(sum(tensor.nbytes for tensor in (*model.parameters(), *model.buffers())), out, name)
    try:
        with quiet():
            pictures.save(out)
            model.save_pretrained(out, max_shard_size="2GB")
    except SafetensorError as error:  # as safetensors tells of a full disk
        raise OSError(str(error)) from error
    for path in language_folder.iterdir():
        if path.is_file() and any(path.match(kind) for kind in _TOKENIZER):
            shutil.copyfile(path, out / path.name)


def _loaded(tensors: dict[str, Any], parts: Parts, name: str) -> tuple[Any, Any]:
    """(the whole model, its picture settings)"""
    from transformers import AutoModelForCausalLM, CLIPVisionModel

    from narrator.families.causal_lm import load_tokenizer
    from narrator.families.encoder_decoder import PictureInput
    from narrator.families.loading import load_whole

    language_folder, vision_folder = Path(parts.language).expanduser(), Path(parts.vision).expanduser()
    vision = load_whole(CLIPVisionModel, vision_folder, dtype="auto")
    language = load_whole(AutoModelForCausalLM, language_folder, dtype="auto")
    tokenizer = load_tokenizer(language_folder)
    words = language.get_input_embeddings().weight
    separator = tensors.pop("separator", None)
    if separator is None:
        separator = words[_separator(parts, tokenizer, name)].detach().float()
    return _joined(vision, language, tensors, separator), PictureInput.load(vision_folder)


def _joined(vision: Any, language: Any, tensors: dict[str, Any], separator: Any) -> Any:
    """The whole model. Raises ValueError or RuntimeError where widths or names do not fit."""
    import torch

    from narrator.families.projector_model import Projector, joined

    width = language.get_input_embeddings().weight.shape[1]
    if separator.shape != (width,):
        raise ValueError(f"its separator is {len(separator)} wide, the language model {width}")
    kind = "normed" if any(key.startswith("block.") for key in tensors) else "linear"
    model = joined(vision, language, kind)
    model.projector = Projector(vision.config.hidden_size, width, kind)
    # Some matrices are trained without a bias.
    model.projector.load_state_dict({"linear.bias": torch.zeros(width), **tensors})
    model.separator = torch.nn.Parameter(separator.clone())
    return model


def _separator(parts: Parts, tokenizer: Any, name: str) -> int:
    """The id of the token that stands between picture and text."""
    if parts.separator is None:
        raise NarratorError(f"{name} holds no vector that separates picture and text: say with --separator which token "
                            "it was trained with, by its number or its text.")
    if parts.separator.isdecimal():
        ids = [int(parts.separator)]
    else:
        ids = tokenizer(parts.separator, add_special_tokens=False)["input_ids"]
    if len(ids) != 1 or not 0 <= ids[0] < len(tokenizer):
        raise NarratorError(f"{parts.separator!r} is {len(ids)} tokens or none of this language model: a separator is "
                            "one; give its number.")
    return int(ids[0])

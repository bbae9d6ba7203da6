"""CLIPScore: how well a text fits its picture, as a CLIP model sees it; where one is on this machine.

Hessel et al. 2021, "CLIPScore: a reference-free evaluation metric for image captioning": 2.5 * max(cos(v, t), 0), v
the model's vector of the picture and t that of "A photo depicts " + text. Compare only scores of the same model.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

from narrator.engine import shared_engine
from narrator.hub.cache import local_folder
from narrator.pictures import open_picture
from narrator.records import Inputs, NarratorError, Variant

MODELS = ("openai/clip-vit-base-patch32", "openai/clip-vit-base-patch16", "openai/clip-vit-large-patch14",
          "laion/CLIP-ViT-B-32-laion2B-s34B-b79K")
MISSING = (f"CLIPScore needs a CLIP model on this machine: get one with `hf download {MODELS[0]}`, or set "
           "NARRATOR_CLIP to the folder of one (with model.safetensors).")
WEIGHT, BEFORE = 2.5, "A photo depicts "
_AT_ONCE = 32  # pairs


@dataclasses.dataclass(frozen=True, kw_only=True)
class Clip:
    """A CLIP model of this machine."""

    name: str
    folder: Path


def find_clip() -> Clip | None:
    """The folder that NARRATOR_CLIP names, else the first of MODELS that is here as safetensors; None without one.
    Nothing is downloaded, no weight is read."""
    named = os.environ.get("NARRATOR_CLIP", "")
    if named:
        folder = Path(named).expanduser()
        return Clip(name=folder.name, folder=folder) if (folder / "model.safetensors").is_file() else None
    for name in MODELS:
        found = local_folder(Variant(id="clip", title="CLIP", family="hub_vlm", source=name,
                                     inputs=Inputs(image=True, text=True)))
        if found is not None:
            return Clip(name=name, folder=found)
    return None


def clip_scores(clip: Clip, images: Sequence[object], texts: Sequence[str]) -> list[float]:
    """CLIPScore of N pairs of picture (a path) and text. Raises NarratorError where the model cannot be used."""
    import torch
    from safetensors import SafetensorError
    from transformers import AutoImageProcessor, AutoTokenizer, CLIPModel

    device = shared_engine().device()
    try:
        model = CLIPModel.from_pretrained(clip.folder, local_files_only=True, use_safetensors=True).to(device).eval()
        look = AutoImageProcessor.from_pretrained(clip.folder, local_files_only=True)
        read = AutoTokenizer.from_pretrained(clip.folder, local_files_only=True)
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise NarratorError(f"The CLIP model {clip.name} cannot be loaded ({type(error).__name__}): get it "
                            "again.") from error
    found: list[float] = []
    with torch.inference_mode():
        for start in range(0, len(texts), _AT_ONCE):
            pictures = [open_picture(image) for image in images[start:start + _AT_ONCE]]  # type: ignore[arg-type]
            pixels = look(images=pictures, return_tensors="pt").to(device)
            longest = model.config.text_config.max_position_embeddings
            words = read([BEFORE + text for text in texts[start:start + _AT_ONCE]], return_tensors="pt", padding=True,
                         truncation=True, max_length=longest).to(device)
            told = model(pixel_values=pixels["pixel_values"], input_ids=words["input_ids"],
                         attention_mask=words["attention_mask"])
            cosine = (told.image_embeds * told.text_embeds).sum(-1)  # both of length 1
            found += (WEIGHT * cosine.clamp(min=0)).float().cpu().tolist()
    return found

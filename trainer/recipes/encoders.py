"""Picture encoders of our captioners: how they begin, and which part of them is computed once while they are frozen."""

import json
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from transformers import (
    AutoModel,
    CLIPVisionModel,
    PreTrainedModel,
    SiglipVisionModel,
    VisionEncoderDecoderModel,
    ViTConfig,
    ViTModel,
)

from narrator.families.loading import load_whole
from narrator.families.mobilenet_patches import MobileNetPatches, MobileNetPatchesConfig
from narrator.records import NarratorError
from trainer.config import TrainingConfig
from trainer.recipes.bases import find_base

_EYES: dict[str, Any] = {"clip": CLIPVisionModel, "clip_vision_model": CLIPVisionModel, "siglip": SiglipVisionModel}


def new_encoder(config: TrainingConfig, root: Path) -> nn.Module:
    """The encoder that training starts from: of `config.encoder`, or random weights of the kind `config.vision`."""
    if config.encoder:
        folder = find_base(config.encoder, root)
        if model_type(folder) == "mobilenet_v2":
            encoder: Any = MobileNetPatches.from_mobilenet(folder, config.width)
        else:
            encoder = vision_part(folder)
            drop_pooler(encoder)
        if isinstance(encoder, MobileNetPatches):
            encoder.config.mirrored = config.mirrored
        return cast(nn.Module, encoder)
    if config.vision == "vit":
        return ViTModel(ViTConfig(
            hidden_size=config.vision_width, num_hidden_layers=config.vision_layers,
            num_attention_heads=max(1, config.vision_width // 64), intermediate_size=4 * config.vision_width,
            image_size=config.image_size, patch_size=config.vision_patch), add_pooling_layer=False)
    return MobileNetPatches(MobileNetPatchesConfig(hidden_size=config.width, image_size=config.image_size,
                                                   mirrored=config.mirrored))


def trunk(model: VisionEncoderDecoderModel) -> nn.Module:
    """What learns at the encoder's own rate, or not at all while it is frozen."""
    encoder: nn.Module = model.encoder
    return encoder.trunk if isinstance(encoder, MobileNetPatches) else encoder


def features(model: VisionEncoderDecoderModel, pixels: torch.Tensor) -> torch.Tensor:
    """(B, 3, H, W) -> (B, P, channels): what the trunk gives."""
    if isinstance(model.encoder, MobileNetPatches):
        return model.encoder.features(pixels)
    hidden: torch.Tensor = model.encoder(pixel_values=pixels).last_hidden_state
    return hidden


def project(model: VisionEncoderDecoderModel, given: torch.Tensor) -> torch.Tensor:
    """(B, P, channels) of the trunk -> (B, P, width), what the decoder looks at."""
    if isinstance(model.encoder, MobileNetPatches):
        return model.encoder.project(given)
    projected: torch.Tensor = model.enc_to_dec_proj(given) if hasattr(model, "enc_to_dec_proj") else given
    return projected


def stand_in(model: VisionEncoderDecoderModel, words: torch.Tensor) -> torch.Tensor:
    """(B, concepts) word ids -> (B, concepts, width), on the scale of patches."""
    embedded: torch.Tensor = model.decoder.transformer.wte(words)
    if isinstance(model.encoder, MobileNetPatches):
        embedded = model.encoder.normalisation(embedded)
        return embedded
    return nn.functional.layer_norm(embedded, embedded.shape[-1:])


def vision_part(folder: Path) -> PreTrainedModel:
    """The picture encoder of a folder: a captioner's, CLIP's, or one by itself. NarratorError where it cannot be
    loaded."""
    kind = model_type(folder)
    try:
        if kind == "vision-encoder-decoder":
            eyes: PreTrainedModel = load_whole(VisionEncoderDecoderModel, folder, may_lack=("encoder.pooler.",)).encoder
        else:
            eyes = load_whole(_EYES.get(kind, AutoModel), folder, may_lack=("pooler.",))
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise NarratorError(f"The encoder {folder} cannot be loaded ({reason}). It must hold config.json and "
                            "safetensors of a picture encoder.") from error
    if isinstance(eyes, MobileNetPatches):
        eyes.config.mirrored = False  # whoever begins with it says whether the mirror image helps
    return eyes


def drop_pooler(encoder: PreTrainedModel) -> None:
    """A decoder looks at patches alone: the layer over a ViT's first token is nothing to learn, or to ship."""
    pooler = getattr(encoder, "pooler", None)
    if pooler is not None and list(pooler.parameters()):
        encoder.pooler = None


def model_type(folder: Path) -> str:
    """What config.json says the model is."""
    try:
        return str(json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type", ""))
    except (OSError, ValueError, AttributeError):
        raise NarratorError(f"{folder} has no readable config.json, so it is no encoder. Restore it, or name another "
                            "folder as 'encoder'.") from None

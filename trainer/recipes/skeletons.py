"""Models without weights (torch's meta device): what a preset would train, counted before anything is downloaded."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    GPT2Config,
    GPT2LMHeadModel,
    VisionEncoderDecoderModel,
)

from narrator.families.mobilenet_patches import MobileNetPatches, MobileNetPatchesConfig
from narrator.families.projector_model import ProjectorLM, ProjectorLMConfig
from narrator.records import NarratorError
from trainer.config import TrainingConfig
from trainer.recipes import hub_vlm
from trainer.recipes.bases import find_base
from trainer.recipes.decoders import own_decoder
from trainer.recipes.encoders import new_encoder
from trainer.recipes.lora import attach

ARCHITECTURES = Path(__file__).resolve().parent.parent / "presets" / "architectures.json"
WORDS = 5000  # a vocabulary that is yet to be made from the captions


def skeleton(config: TrainingConfig, root: Path) -> nn.Module:
    """The preset's model on the meta device, with its adapters. Raises NarratorError when a base is nowhere."""
    with torch.device("meta"):
        return {"encoder_decoder": _captioner, "causal_lm": _prompted, "projector_lm": _seeing,
                "image_gpt": _tokens, "hub_vlm": _whole}[config.recipe](config, root)


def tokens_in_a_row(config: TrainingConfig) -> int:
    """The longest sequence that the language part reads."""
    if config.recipe == "image_gpt":
        return (config.image_size // config.patch) ** 2 + 5
    if config.recipe == "projector_lm":
        return config.max_tokens + 50
    if config.recipe == "hub_vlm":
        return config.max_tokens + 1100  # a photograph in tiles; BLIP reads none as tokens
    return config.max_tokens if config.recipe == "causal_lm" else config.max_words + 1


def architecture(name: str, root: Path) -> Any:
    """The transformers configuration of a base: from its folder or the download cache, else from the shipped list."""
    shipped = json.loads(ARCHITECTURES.read_text(encoding="utf-8"))
    try:
        return AutoConfig.from_pretrained(find_base(name, root), local_files_only=True)
    except NarratorError:
        if name not in shipped:
            raise
    return AutoConfig.for_model(**shipped[name])


def _captioner(config: TrainingConfig, root: Path) -> nn.Module:
    if config.base:
        return VisionEncoderDecoderModel(config=architecture(config.base, root))
    if config.encoder and _kind(architecture(config.encoder, root)) == "mobilenet_v2":
        encoder: nn.Module = MobileNetPatches(MobileNetPatchesConfig(hidden_size=config.width))
    elif config.encoder:
        encoder = _eyes(config.encoder, root)
    else:
        encoder = new_encoder(config, root)
    if config.decoder:
        settings = architecture(config.decoder, root)
        settings.add_cross_attention = True
        decoder: nn.Module = AutoModelForCausalLM.from_config(settings)
    else:
        decoder = GPT2LMHeadModel(own_decoder(config, WORDS))
    return VisionEncoderDecoderModel(encoder=encoder, decoder=decoder)


def _prompted(config: TrainingConfig, root: Path) -> nn.Module:
    if not config.base:
        return GPT2LMHeadModel(GPT2Config(vocab_size=config.vocabulary, n_positions=config.max_tokens,
                                          n_embd=config.width, n_layer=config.layers, n_head=config.heads))
    model: nn.Module = AutoModelForCausalLM.from_config(architecture(config.base, root))
    return attach(model, config.lora) if config.lora is not None else model


def _seeing(config: TrainingConfig, root: Path) -> nn.Module:
    eyes = _eyes(config.encoder, root)
    settings = ProjectorLMConfig(vision_config=eyes.config.to_dict(),
                                 text_config=architecture(config.base, root).to_dict(), projector=config.projector)
    model = ProjectorLM(settings)
    if config.lora is not None and any(stage.train_language for stage in config.stages):
        model.language = attach(model.language, config.lora)
    return model


def _whole(config: TrainingConfig, root: Path) -> nn.Module:
    model: nn.Module = AutoModelForImageTextToText.from_config(architecture(config.base, root))
    eyes = any(stage.train_encoder for stage in config.stages)
    return hub_vlm.attach(model, config.lora, eyes=eyes) if config.lora is not None else model


def _tokens(config: TrainingConfig, root: Path) -> nn.Module:
    return GPT2LMHeadModel(GPT2Config(
        vocab_size=config.clusters + 16, n_positions=config.positions or tokens_in_a_row(config), n_embd=config.width,
        n_layer=config.layers, n_head=config.heads))


def _eyes(name: str, root: Path) -> Any:
    """The picture encoder alone, of a captioner or of CLIP too."""
    settings = architecture(name, root)
    if _kind(settings) == "vision-encoder-decoder":
        settings = settings.encoder
    elif _kind(settings) in ("clip", "siglip"):
        settings = settings.vision_config
    return AutoModel.from_config(settings)


def _kind(settings: Any) -> str:
    return str(settings.model_type)

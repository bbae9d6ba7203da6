"""Checkpoints of the other families, of a few thousand random weights. Vision-language models: tests/tiny_models.py."""

from __future__ import annotations

import json
from pathlib import Path

from tiny_models import SIZE, decoder, keep_talking, small, vision, word_tokenizer, write_manifest


def save_causal(folder: Path, name: str) -> None:
    """A language model: "gpt2", "opt", "phi", "qwen2" or "llama"."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    tokenizer = word_tokenizer()
    sizes = decoder(tokenizer)
    if name == "gpt2":
        sizes = {**sizes, "n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 64}
        sizes = {key: value for key, value in sizes.items() if key not in {**small(), "max_position_embeddings": 0}}
    elif name == "opt":
        sizes |= {"ffn_dim": 32, "word_embed_proj_dim": 16, "init_std": 0.5}
    torch.manual_seed(7)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(name, **sizes))
    keep_talking(model)
    folder.mkdir(parents=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    write_manifest(folder, "causal_lm", image=False, parameters=model.num_parameters())


def save_image_gpt(folder: Path) -> None:
    """Pictures of 8 x 8 pixels as 16 tokens of 12 clusters."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    from narrator.families.picture_tokens import Codebook

    torch.manual_seed(7)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=12 + 16, n_positions=21, n_embd=16, n_layer=1, n_head=2,
                                       bos_token_id=2, eos_token_id=5, pad_token_id=0, initializer_range=0.5))
    features = 3 * 2 * 2 + 2
    codebook = Codebook(torch.rand(12, features), torch.zeros(features), torch.ones(features), size=8, patch=2)
    folder.mkdir(parents=True)
    model.save_pretrained(folder)
    codebook.save(folder)
    write_manifest(folder, "image_gpt", image=True, parameters=model.num_parameters())


def save_projector(folder: Path) -> None:
    """CLIP's picture encoder in front of Phi."""
    import torch

    from narrator.families.encoder_decoder import PictureInput
    from narrator.families.projector_model import ProjectorLM, ProjectorLMConfig

    tokenizer = word_tokenizer()
    torch.manual_seed(7)
    model = ProjectorLM(ProjectorLMConfig(
        vision_config={"model_type": "clip_vision_model", **vision(initializer_factor=20.0), "projection_dim": 16},
        text_config={"model_type": "phi", **decoder(tokenizer)}, projector="residual"))
    model.begin_projector(model.get_input_embeddings().weight)
    keep_talking(model)
    folder.mkdir(parents=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    pictures = PictureInput(SIZE, [0.5] * 3, [0.5] * 3)
    (folder / "preprocessor_config.json").write_text(json.dumps(pictures.to_dict()))
    write_manifest(folder, "projector_lm", image=True, parameters=model.num_parameters())


def save_remote(folder: Path, source: str) -> None:
    """A variant whose model is behind a server."""
    folder.mkdir(parents=True)
    write_manifest(folder, "remote", image=True, parameters=0, source=source)

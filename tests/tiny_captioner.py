"""A picture captioner of a few thousand random weights, saved as a checkpoint: the real code, loaded at once."""

import json
from pathlib import Path

import yaml

WORDS = ("a", "the", "dog", "cat", "man", "woman", "bird", "runs", "sits", "on", "in", "grass", "sofa", "street", "red",
         "green")
SIZE = 32  # pixels


def save_tiny_captioner(folder: Path, variant_id: str = "tiny-captioner") -> None:
    """Write weights, tokenizer and variant.yaml into `folder`; the same ones every time."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import (
        GPT2Config,
        GPT2LMHeadModel,
        PreTrainedTokenizerFast,
        VisionEncoderDecoderModel,
        ViTConfig,
        ViTModel,
    )

    from narrator.families.encoder_decoder import PictureInput

    torch.manual_seed(7)
    special = ["<pad>", "<s>", "</s>", "<unk>"]
    vocabulary = {word: index for index, word in enumerate([*special, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>",
                                   unk_token="<unk>")
    encoder = ViTModel(ViTConfig(image_size=SIZE, patch_size=8, hidden_size=16, num_hidden_layers=1,
                                 num_attention_heads=2, intermediate_size=32), add_pooling_layer=False)
    decoder = GPT2LMHeadModel(GPT2Config(vocab_size=len(vocabulary), n_positions=64, n_embd=16, n_layer=2, n_head=2,
                                         add_cross_attention=True, is_decoder=True, pad_token_id=0, bos_token_id=1,
                                         eos_token_id=2, initializer_range=0.5))
    model = VisionEncoderDecoderModel(encoder=encoder, decoder=decoder)
    model.config.pad_token_id, model.config.decoder_start_token_id, model.config.eos_token_id = 0, 1, 2
    folder.mkdir(parents=True)
    model.save_pretrained(folder)
    fast.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PictureInput(SIZE, [0.5] * 3, [0.5] * 3).to_dict()))
    (folder / "variant.yaml").write_text(yaml.safe_dump({
        "id": variant_id, "title": "Tiny captioner", "family": "encoder_decoder", "source": ".",
        "inputs": {"image": True, "text": False}, "parameters": model.num_parameters(), "license": "Apache-2.0",
        "provenance": "Random weights."}))

"""Vision-language models of a few thousand random weights, saved as checkpoints: the real architectures with their real
processors.

Every function writes weights, tokenizer, processor and variant.yaml into a folder, the same ones every time. Nothing is
fetched: vocabularies are made here.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from tiny_captioner import WORDS

SIZE = 32  # pixels
PATCH = 8
CHAT = ("{% for message in messages %}<s>{{ message['role'] }} : {% for part in message['content'] %}"
        "{% if part['type'] == 'image' %}IMAGE{% else %}{{ part['text'] }}{% endif %}{% endfor %}"
        "{% endfor %}{% if add_generation_prompt %} assistant :{% endif %}")
ASKED = ("describe", "this", "picture", "what", "is", "user", "assistant", ":", "'", "-", "s", ".", "?")


def word_tokenizer(*special: str, **named: str) -> Any:
    """A word a token: <pad> <s> </s> <unk> are 0 to 3. special: further special tokens; named: as `image_token`."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: index for index, word in enumerate(["<pad>", "<s>", "</s>", "<unk>", *WORDS, *ASKED])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    more: dict[str, Any] = {"extra_special_tokens": named} if named else {}
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>",
                                   unk_token="<unk>", **more)
    fast.add_tokens(list(special), special_tokens=True)
    return fast


def bert_tokenizer() -> Any:
    """WordPiece as BLIP and GIT have it: [PAD] [UNK] [CLS] [SEP] [MASK] are 0 to 4, [DEC] is 5."""
    from transformers import BertTokenizer

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", *WORDS, *ASKED, "##s", "##ing"]
    return BertTokenizer(vocab={word: index for index, word in enumerate(words)})


def save_blip(folder: Path) -> None:
    from transformers import BlipConfig, BlipForConditionalGeneration, BlipImageProcessorPil, BlipProcessor

    tokenizer = bert_tokenizer()
    config = BlipConfig(
        text_config={**small(initializer_range=0.5), "vocab_size": len(tokenizer), "bos_token_id": 5,
                     "sep_token_id": 3, "pad_token_id": 0, "eos_token_id": 3, "max_position_embeddings": 64},
        vision_config=vision(initializer_range=0.5), projection_dim=16, image_text_hidden_size=16)
    pictures = BlipImageProcessorPil(size={"height": SIZE, "width": SIZE})
    _save(folder, BlipForConditionalGeneration, config, BlipProcessor(pictures, tokenizer))


def save_blip2(folder: Path, *, t5: bool = False) -> None:
    """With OPT as its language model, or with T5, which is an encoder-decoder."""
    from transformers import (
        Blip2Config,
        Blip2ForConditionalGeneration,
        Blip2Processor,
        BlipImageProcessorPil,
        OPTConfig,
        T5Config,
    )

    processor = Blip2Processor(BlipImageProcessorPil(size={"height": SIZE, "width": SIZE}), word_tokenizer(),
                               num_query_tokens=4)
    tokens = {"vocab_size": len(processor.tokenizer), "pad_token_id": 0, "eos_token_id": 2}
    if t5:
        language: Any = T5Config(d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2, decoder_start_token_id=0,
                                 initializer_factor=1.0, tie_word_embeddings=False, **tokens)
    else:
        language = OPTConfig(hidden_size=16, word_embed_proj_dim=16, ffn_dim=32, num_hidden_layers=1,
                             num_attention_heads=2, max_position_embeddings=64, init_std=0.5, bos_token_id=1, **tokens)
    config = Blip2Config(
        text_config=language.to_dict(), vision_config=vision(initializer_range=0.5),
        qformer_config={**small(initializer_range=0.5), "encoder_hidden_size": 16, "vocab_size": 8},
        num_query_tokens=4, image_token_index=processor.tokenizer.convert_tokens_to_ids("<image>"))
    _save(folder, Blip2ForConditionalGeneration, config, processor)


def save_git(folder: Path) -> None:
    from transformers import GitConfig, GitForCausalLM, GitProcessor

    tokenizer = bert_tokenizer()
    config = GitConfig(vision_config=vision(initializer_range=0.5), vocab_size=len(tokenizer), bos_token_id=2,
                       eos_token_id=3, pad_token_id=0, max_position_embeddings=64, **small(initializer_range=0.5))
    _save(folder, GitForCausalLM, config, GitProcessor(_clip_pictures(), tokenizer))


def save_idefics3(folder: Path) -> None:
    from transformers import Idefics3Config, Idefics3ForConditionalGeneration, Idefics3ImageProcessorPil

    _save_idefics(folder, Idefics3Config, Idefics3ForConditionalGeneration, Idefics3ImageProcessorPil)


def save_smolvlm(folder: Path) -> None:
    from transformers import SmolVLMConfig, SmolVLMForConditionalGeneration, SmolVLMImageProcessorPil

    _save_idefics(folder, SmolVLMConfig, SmolVLMForConditionalGeneration, SmolVLMImageProcessorPil)
    described = json.loads((folder / "processor_config.json").read_text())
    described["processor_class"] = "SmolVLMProcessor"  # as on the hub: it would want a package for videos
    (folder / "processor_config.json").write_text(json.dumps(described))


def save_qwen(folder: Path) -> None:
    from transformers import (
        Qwen2_5_VLConfig,
        Qwen2_5_VLForConditionalGeneration,
        Qwen2_5_VLProcessor,
        Qwen2VLImageProcessorPil,
    )

    from narrator.families.hub_vlm import pictures_only

    tokenizer = word_tokenizer("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
    ids = tokenizer.convert_tokens_to_ids
    config = Qwen2_5_VLConfig(
        text_config={**decoder(tokenizer), "rope_parameters": {"rope_type": "default", "mrope_section": [2, 1, 1]}},
        vision_config={"depth": 2, "hidden_size": 16, "intermediate_size": 32, "num_heads": 2, "patch_size": PATCH,
                       "spatial_merge_size": 2, "temporal_patch_size": 2, "window_size": 32, "out_hidden_size": 16,
                       "fullatt_block_indexes": [1], "initializer_range": 0.5},
        image_token_id=ids("<|image_pad|>"), video_token_id=ids("<|video_pad|>"),
        vision_start_token_id=ids("<|vision_start|>"), vision_end_token_id=ids("<|vision_end|>"))
    pictures = Qwen2VLImageProcessorPil(patch_size=PATCH, merge_size=2, temporal_patch_size=2,
                                        size={"shortest_edge": 32 * 32, "longest_edge": 64 * 64})
    template = CHAT.replace("IMAGE", "<|vision_start|><|image_pad|><|vision_end|>")
    processor = pictures_only(Qwen2_5_VLProcessor)(pictures, tokenizer, chat_template=template)
    _save(folder, Qwen2_5_VLForConditionalGeneration, config, processor)


def save_qwen3(folder: Path) -> None:
    """Like save_qwen, with pictures fed into the language model's first layers as well ("deepstack")."""
    from transformers import Qwen2VLImageProcessorPil, Qwen3VLConfig, Qwen3VLForConditionalGeneration, Qwen3VLProcessor

    from narrator.families.hub_vlm import pictures_only

    tokenizer = word_tokenizer("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
    ids = tokenizer.convert_tokens_to_ids
    config = Qwen3VLConfig(
        text_config={**decoder(tokenizer), "head_dim": 8, "num_hidden_layers": 2,
                     "rope_parameters": {"rope_type": "default", "mrope_section": [2, 1, 1]}},
        vision_config={"depth": 2, "hidden_size": 16, "intermediate_size": 32, "num_heads": 2, "patch_size": PATCH,
                       "spatial_merge_size": 2, "temporal_patch_size": 2, "out_hidden_size": 16,
                       "num_position_embeddings": 64, "deepstack_visual_indexes": [0], "initializer_range": 0.5},
        image_token_id=ids("<|image_pad|>"), video_token_id=ids("<|video_pad|>"),
        vision_start_token_id=ids("<|vision_start|>"), vision_end_token_id=ids("<|vision_end|>"))
    pictures = Qwen2VLImageProcessorPil(patch_size=PATCH, merge_size=2, temporal_patch_size=2,
                                        size={"shortest_edge": 32 * 32, "longest_edge": 64 * 64})
    template = CHAT.replace("IMAGE", "<|vision_start|><|image_pad|><|vision_end|>")
    processor = pictures_only(Qwen3VLProcessor)(pictures, tokenizer, chat_template=template)
    _save(folder, Qwen3VLForConditionalGeneration, config, processor)


def save_llava(folder: Path) -> None:
    from transformers import LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor

    tokenizer = word_tokenizer("<image>")
    config = LlavaConfig(
        text_config={"model_type": "llama", **decoder(tokenizer)},
        vision_config={"model_type": "clip_vision_model", **vision(initializer_factor=20.0), "projection_dim": 16},
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"), vision_feature_layer=-1)
    processor = LlavaProcessor(_clip_pictures(), tokenizer, patch_size=PATCH,
                               vision_feature_select_strategy="default", num_additional_image_tokens=1,
                               chat_template=CHAT.replace("IMAGE", "<image>\n"))
    _save(folder, LlavaForConditionalGeneration, config, processor)


def save_paligemma(folder: Path, *, text: str = "gemma") -> None:
    """text: "gemma", or "gemma2" for PaliGemma 2."""
    from transformers import PaliGemmaConfig, PaliGemmaForConditionalGeneration, PaliGemmaProcessor
    from transformers import SiglipImageProcessorPil as Pictures

    pictures = Pictures(size={"height": SIZE, "width": SIZE})
    pictures.image_seq_length = (SIZE // PATCH) ** 2
    processor = PaliGemmaProcessor(pictures, word_tokenizer())
    tokenizer = processor.tokenizer
    config = PaliGemmaConfig(
        text_config={"model_type": text, "head_dim": 8, **decoder(tokenizer)},
        vision_config={"model_type": "siglip_vision_model", **vision(), "vision_use_head": False},
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"), projection_dim=16, hidden_size=16)
    _save(folder, PaliGemmaForConditionalGeneration, config, processor)


def save_florence2(folder: Path) -> None:
    from transformers import Florence2Config, Florence2ForConditionalGeneration, Florence2Processor

    tokenizer = word_tokenizer(image_token="<image>")
    pictures = _clip_pictures()
    pictures.image_seq_length = 1 + 1  # the one cell that is left of 32 pixels, and the mean of all
    config = Florence2Config(
        text_config={"model_type": "bart", "vocab_size": len(tokenizer), "d_model": 16, "encoder_layers": 1,
                     "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2,
                     "encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "max_position_embeddings": 64, "init_std": 0.5,
                     "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 2,
                     "forced_eos_token_id": None},
        vision_config={"depths": [1, 1, 1, 1], "embed_dim": [8, 8, 16, 16], "num_heads": [2] * 4, "num_groups": [2] * 4,
                       "window_size": 4, "projection_dim": 16, "drop_path_rate": 0.0, "initializer_range": 0.5},
        image_token_id=tokenizer.image_token_id)
    _save(folder, Florence2ForConditionalGeneration, config, Florence2Processor(pictures, tokenizer))


def _save_idefics(folder: Path, config_kind: Any, model_kind: Any, pictures_kind: Any) -> None:
    from transformers import Idefics3Processor

    tokenizer = word_tokenizer("<fake_token_around_image>", "<image>", "<end_of_utterance>", "<global-img>")
    longest = {"longest_edge": SIZE}
    pictures = pictures_kind(size=longest, max_image_size=longest, do_image_splitting=False)
    processor = Idefics3Processor(pictures, tokenizer, image_seq_len=(SIZE // PATCH) ** 2 // 4,
                                  chat_template=CHAT.replace("IMAGE", "<image>"))
    config = config_kind(
        text_config={"model_type": "llama", **decoder(tokenizer)}, vision_config=vision(initializer_range=0.5),
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"), scale_factor=2, pad_token_id=0)
    _save(folder, model_kind, config, processor)


def small(**more: Any) -> dict[str, Any]:
    """The sizes that most architectures name alike."""
    return {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, **more}


def vision(**more: Any) -> dict[str, Any]:
    """A picture encoder of 16 patches."""
    return {**small(), "image_size": SIZE, "patch_size": PATCH, **more}


def decoder(tokenizer: Any) -> dict[str, Any]:
    """A language model over the words of `word_tokenizer`."""
    return {**small(initializer_range=0.5), "num_key_value_heads": 2, "vocab_size": len(tokenizer),
            "max_position_embeddings": 256, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}


def _clip_pictures() -> Any:
    from transformers import CLIPImageProcessorPil

    square = {"height": SIZE, "width": SIZE}
    return CLIPImageProcessorPil(size=square, crop_size=square, do_center_crop=False)


def _save(folder: Path, kind: Any, config: Any, processor: Any) -> None:
    import torch

    torch.manual_seed(7)
    model = kind(config)
    keep_talking(model)
    folder.mkdir(parents=True)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    write_manifest(folder, "hub_vlm", image=True, parameters=model.num_parameters())


def keep_talking(model: Any, special: int = 6) -> None:
    """Make the first tokens of the vocabulary, its end among them, no likelier than the average: random weights would
    end many an answer before it has begun."""
    import torch

    with torch.no_grad():
        for part in model.modules():
            said = part.get_output_embeddings() if hasattr(part, "get_output_embeddings") else None
            if said is not None:
                said.weight[:special] = 0.0


def write_manifest(folder: Path, family: str, *, image: bool, parameters: int, source: str = ".") -> None:
    """variant.yaml, the folder's name as id."""
    (folder / "variant.yaml").write_text(yaml.safe_dump({
        "id": folder.name, "title": f"Tiny {folder.name}", "family": family, "source": source,
        "inputs": {"image": image, "text": True}, "parameters": parameters, "license": "Apache-2.0",
        "provenance": "Random weights."}))


VISION_LANGUAGE: dict[str, Callable[[Path], None]] = {
    "blip": save_blip, "blip2-opt": save_blip2, "blip2-t5": functools.partial(save_blip2, t5=True), "git": save_git,
    "idefics3": save_idefics3, "smolvlm": save_smolvlm, "qwen2.5-vl": save_qwen, "qwen3-vl": save_qwen3,
    "llava": save_llava, "paligemma": save_paligemma,
    "paligemma2": functools.partial(save_paligemma, text="gemma2"), "florence2": save_florence2,
}

"""How many parameters the catalog says that models of the Hub have, counted from their published sizes, without
weights."""

from collections.abc import Callable
from typing import Any

import pytest

from narrator.catalog import find_variant


def qwen3_vl() -> Any:
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    text = {"hidden_size": 2048, "intermediate_size": 6144, "num_hidden_layers": 28, "num_attention_heads": 16,
            "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151936, "tie_word_embeddings": True}
    vision = {"depth": 24, "hidden_size": 1024, "intermediate_size": 4096, "num_heads": 16, "out_hidden_size": 2048,
              "num_position_embeddings": 2304, "patch_size": 16, "deepstack_visual_indexes": [5, 11, 17]}
    config = Qwen3VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=True)
    return Qwen3VLForConditionalGeneration(config)


def llava() -> Any:
    from transformers import LlavaConfig, LlavaForConditionalGeneration

    text = {"model_type": "llama", "vocab_size": 32064, "hidden_size": 4096, "intermediate_size": 11008,
            "num_hidden_layers": 32, "num_attention_heads": 32}
    vision = {"model_type": "clip_vision_model", "hidden_size": 1024, "image_size": 336, "intermediate_size": 4096,
              "num_attention_heads": 16, "num_hidden_layers": 24, "patch_size": 14}
    return LlavaForConditionalGeneration(LlavaConfig(text_config=text, vision_config=vision))


def paligemma2() -> Any:
    from transformers import PaliGemmaConfig, PaliGemmaForConditionalGeneration

    text = {"model_type": "gemma2", "hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 26,
            "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "vocab_size": 257216}
    vision = {"model_type": "siglip_vision_model", "hidden_size": 1152, "intermediate_size": 4304, "patch_size": 14,
              "num_attention_heads": 16, "num_hidden_layers": 27, "image_size": 224, "vision_use_head": False}
    return PaliGemmaForConditionalGeneration(PaliGemmaConfig(text_config=text, vision_config=vision,
                                                             projection_dim=2304, hidden_size=2304))


@pytest.mark.parametrize(("variant_id", "made"), [("qwen3-vl-2b", qwen3_vl), ("llava-1.5-7b", llava),
                                                  ("paligemma2-3b", paligemma2)])
def test_the_catalog_counts_right(variant_id: str, made: Callable[[], Any]) -> None:
    import torch

    with torch.device("meta"):
        model = made()
    model.tie_weights()
    assert find_variant(variant_id).parameters == model.num_parameters()

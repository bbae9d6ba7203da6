"""A language model that reads pictures: patches of a picture encoder -> projector -> in front of the text.

Importing this module registers the architecture with transformers. The layout is LLaVA's (Liu et al. 2023, "Visual
instruction tuning", arXiv:2304.08485): [patches][separator] for each picture, then the text.
"""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from huggingface_hub.dataclasses import strict
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

import narrator.families.mobilenet_patches  # noqa: F401  (registers the encoder of our own checkpoints)

_WITH_CLASS_TOKEN = ("clip_vision_model", "vit", "deit", "siglip2_vision_model")


@strict
class ProjectorLMConfig(PreTrainedConfig):
    """Settings of encoder and language model; `projector`: linear, or linear with a residual block after it, or with
    LLaVA's, which adds to what it has normed."""

    model_type = "projector_lm"
    sub_configs = {"vision_config": AutoConfig, "text_config": AutoConfig}

    vision_config: dict | PreTrainedConfig | None = None
    text_config: dict | PreTrainedConfig | None = None
    projector: Literal["linear", "residual", "normed"] = "linear"

    def __post_init__(self, **kwargs: Any) -> None:
        for name in ("vision_config", "text_config"):
            given = getattr(self, name)
            if isinstance(given, dict):
                setattr(self, name, AutoConfig.for_model(**given))
        super().__post_init__(**kwargs)


class Projector(nn.Module):
    """(..., vision width) -> (..., text width)"""

    def __init__(self, vision: int, text: int, kind: str) -> None:
        super().__init__()
        self.linear = nn.Linear(vision, text)
        self.block = None
        self.kind = kind
        if kind != "linear":
            self.block = nn.Sequential(nn.LayerNorm(text), nn.Linear(text, text), nn.GELU(), nn.Linear(text, text))

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """Each patch as a word of the language model."""
        projected: torch.Tensor = self.linear(patches)
        if self.block is None:
            return projected
        branch: torch.Tensor = self.block(projected)
        return branch + (self.block[0](projected) if self.kind == "normed" else projected)


class ProjectorLM(PreTrainedModel):
    """Encoder, projector and language model in one."""

    config: ProjectorLMConfig
    base_model_prefix = "model"
    main_input_name = "pixel_values"
    supports_gradient_checkpointing = True

    def __init__(self, config: ProjectorLMConfig) -> None:
        super().__init__(config)
        assert isinstance(config.vision_config, PreTrainedConfig) and isinstance(config.text_config, PreTrainedConfig)
        self.vision = AutoModel.from_config(config.vision_config)
        self.language = AutoModelForCausalLM.from_config(config.text_config)
        width = config.text_config.hidden_size
        self.projector = Projector(config.vision_config.hidden_size, width, config.projector)
        self.separator = nn.Parameter(torch.zeros(width))
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """The words of the language model."""
        found: nn.Module = self.language.get_input_embeddings()
        return found

    def begin_projector(self, words: torch.Tensor) -> None:
        """A new projector, on the scale of the (V, text width) embeddings that it stands beside."""
        vision, text = self.projector.linear.in_features, self.projector.linear.out_features
        self.projector = Projector(vision, text, self.config.projector)
        scale = words.detach().float().std().item()
        nn.init.normal_(self.projector.linear.weight, std=scale / vision ** 0.5)
        nn.init.zeros_(self.projector.linear.bias)
        self.separator = nn.Parameter(torch.randn(text) * scale)

    def patches(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) -> (B, P, vision width): what the encoder sees, without its class token."""
        seen: torch.Tensor = self.vision(pixel_values=pixel_values).last_hidden_state
        return seen[:, 1:] if self.vision.config.model_type in _WITH_CLASS_TOKEN else seen

    def in_front(self, patches: torch.Tensor) -> torch.Tensor:
        """(N, P, vision width), the pictures of one prompt -> (N * (P + 1), text width): each with its separator."""
        projected = self.projector(patches)  # (N, P, text width)
        ends = self.separator.to(projected.dtype).expand(len(projected), 1, -1)
        return torch.cat([projected, ends], dim=1).flatten(0, 1)

    def assemble(self, pictures: Sequence[torch.Tensor], texts: Sequence[torch.Tensor]
                 ) -> tuple[torch.Tensor, torch.Tensor]:
        """Pictures (each `in_front`) and token ids (each (T,)) -> embeddings (B, L, width) and mask (B, L), padded on
        the left, to go on from."""
        words = self.get_input_embeddings()
        rows = [torch.cat([picture, words(text).to(picture.dtype)])
                for picture, text in zip(pictures, texts, strict=True)]
        ones = [torch.ones(len(row), dtype=torch.long, device=row.device) for row in rows]
        return (pad_sequence(rows, batch_first=True, padding_side="left"),
                pad_sequence(ones, batch_first=True, padding_side="left"))

    def forward(self, inputs_embeds: torch.Tensor, attention_mask: torch.Tensor, **more: Any) -> Any:
        """What `assemble` gave -> the language model's output."""
        return self.language(inputs_embeds=inputs_embeds, attention_mask=attention_mask, **more)


AutoConfig.register(ProjectorLMConfig.model_type, ProjectorLMConfig)
AutoModel.register(ProjectorLMConfig, ProjectorLM)


def joined(vision: Any, language: Any, projector: str) -> ProjectorLM:
    """Encoder and language model taken over as they are, and a projector of this kind, which has yet to begin (on the
    meta device). The configuration holds no path of this machine, and of a quantised base that of whole weights."""
    seen, said = (part.config.to_dict() | {"_name_or_path": ""} for part in (vision, language))
    said.pop("quantization_config", None)
    with torch.device("meta"):  # the two large parts are not made twice
        model = ProjectorLM(ProjectorLMConfig(vision_config=seen, text_config=said, projector=projector))
    model.vision, model.language = vision, language
    return model

"""A small picture encoder for captioning: MobileNetV2's convolutions, each patch projected to the decoder's width.

Importing this module registers the architecture with transformers, so that
`VisionEncoderDecoderModel.from_pretrained` can load it.
"""

import copy
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.dataclasses import strict
from torch import nn
from transformers import AutoConfig, AutoModel, MobileNetV2Config, MobileNetV2Model, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

_STRIDE = 32  # picture pixels per patch side
_NOT_COPIED = ("_name_or_path", "architectures", "id2label", "label2id", "model_type", "transformers_version", "dtype")


@strict
class MobileNetPatchesConfig(MobileNetV2Config):
    """MobileNetV2's settings; `hidden_size`, the width of the patches given out; `mirrored`: whether those of the
    picture's mirror image follow them."""

    model_type = "mobilenet_v2_patches"
    hidden_size: int = 384
    mirrored: bool = False


class MobileNetPatches(PreTrainedModel):
    """Picture -> patches. The batch normalisations are folded into the convolutions (exact for a frozen normalisation):
    a training step of the encoder takes two thirds of the time."""

    config: MobileNetPatchesConfig
    base_model_prefix = "encoder"
    main_input_name = "pixel_values"

    def __init__(self, config: MobileNetPatchesConfig) -> None:
        super().__init__(config)
        self.trunk = MobileNetV2Model(config, add_pooling_layer=False)
        _streamline(self.trunk)
        channels = self.trunk.conv_1x1.convolution.out_channels
        patches = (int(config.image_size) // _STRIDE) ** 2
        self.projection = nn.Linear(channels, config.hidden_size)
        self.position = nn.Parameter(torch.zeros(patches, config.hidden_size))
        self.normalisation = nn.LayerNorm(config.hidden_size)
        self.post_init()

    def features(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) in -1..1 -> (B, P, channels), P = H * W / 32 / 32, row by row."""
        pixel_values = pixel_values.contiguous(memory_format=torch.channels_last)
        return self.trunk(pixel_values).last_hidden_state.flatten(2).transpose(1, 2)

    def project(self, features: torch.Tensor) -> torch.Tensor:
        """(B, P, channels) -> (B, P, hidden_size)"""
        return self.normalisation(self.projection(features) + self.position)

    def forward(self, pixel_values: torch.Tensor, return_dict: bool | None = None, **_: Any) -> Any:
        """(B, 3, H, W) -> last_hidden_state (B, P, hidden_size), or (B, 2 P, hidden_size) where `mirrored`"""
        hidden = self.project(self.features(pixel_values))
        if self.config.mirrored:
            hidden = torch.cat([hidden, self.project(self.features(pixel_values.flip(-1)))], dim=1)
        return (hidden,) if return_dict is False else BaseModelOutput(last_hidden_state=hidden)

    @classmethod
    def from_mobilenet(cls, folder: Path, hidden_size: int) -> "MobileNetPatches":
        """A new encoder whose trunk computes what the MobileNetV2 in `folder` computes; the projection is random."""
        original = MobileNetV2Model.from_pretrained(folder, add_pooling_layer=False).eval()
        settings = {name: value for name, value in original.config.to_dict().items() if name not in _NOT_COPIED}
        encoder = cls(MobileNetPatchesConfig(**settings, hidden_size=hidden_size))
        for mine, theirs in zip(_convolution_layers(encoder.trunk), _convolution_layers(original), strict=True):
            folded = nn.utils.fuse_conv_bn_eval(theirs.convolution, theirs.normalization)
            mine.convolution.load_state_dict(folded.state_dict())
        return encoder


def _convolution_layers(model: nn.Module) -> list[Any]:
    return [module for module in model.modules() if hasattr(module, "convolution") and hasattr(module, "normalization")]


def _streamline(trunk: nn.Module) -> None:
    """Leave out the normalisations, and copies that change nothing: a fifth of the time."""
    for layer in _convolution_layers(trunk):
        convolution = layer.convolution
        convolution.bias = nn.Parameter(torch.zeros(convolution.out_channels))
        layer.normalization = None
        if isinstance(layer.activation, nn.ReLU6):
            layer.activation = nn.ReLU6(inplace=True)
        if layer.config.tf_padding and convolution.stride == (1, 1):  # TensorFlow pads both sides alike: so can we
            layer.config = copy.copy(layer.config)
            layer.config.tf_padding = False
            convolution.padding = tuple((size - 1) // 2 * dilation for size, dilation
                                        in zip(convolution.kernel_size, convolution.dilation, strict=True))


AutoConfig.register(MobileNetPatchesConfig.model_type, MobileNetPatchesConfig)
AutoModel.register(MobileNetPatchesConfig, MobileNetPatches)

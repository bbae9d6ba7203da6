"""Learning to see from a captioner that can: the student's patches are drawn to those of the teacher.

Feature distillation as in Romero et al. 2015, "FitNets: hints for thin deep nets", arXiv:1412.6550, at the place where
the decoder looks, so that the teacher's decoder can read the student's patches.
"""

import math
from pathlib import Path

import torch
from torch import nn
from transformers import PreTrainedTokenizerFast, VisionEncoderDecoderModel

from narrator.catalog import find_variant
from narrator.records import NarratorError
from trainer.recipes.encoders import features, project


class Teacher:
    """A bundled captioner that is looked up to. Raises NarratorError when there is no such variant."""

    def __init__(self, variant_id: str, device: torch.device) -> None:
        variant = find_variant(variant_id)
        if variant.family != "encoder_decoder":
            raise NarratorError(f"{variant.title} cannot be the teacher: it is a {variant.family}, and an "
                                "encoder_decoder is needed. Name one as 'teacher'.")
        self.folder = Path(variant.source)
        self.model = VisionEncoderDecoderModel.from_pretrained(
            self.folder, local_files_only=True, use_safetensors=True, dtype=torch.float32, attn_implementation="eager")
        self.model.to(device).eval().requires_grad_(False)

    def tokenizer(self) -> PreTrainedTokenizerFast:
        """Its words, which the student takes over."""
        return PreTrainedTokenizerFast.from_pretrained(self.folder, local_files_only=True)

    def lend_decoder(self, student: nn.Module) -> None:
        """Copy the decoder into one of as many layers or fewer: its first layers, and its last."""
        own = self.model.decoder.state_dict()
        depth, wanted = self.model.decoder.config.n_layer, student.config.n_layer
        chosen = [round(index * (depth - 1) / max(1, wanted - 1)) for index in range(wanted)]
        lent = {}
        for name in student.state_dict():
            parts = name.split(".")
            if parts[:2] == ["transformer", "h"]:
                parts[2] = str(chosen[int(parts[2])])
            lent[name] = own[".".join(parts)]
        student.load_state_dict(lent)

    @torch.no_grad()
    def patches(self, pixels: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) -> (B, P, width)"""
        return project(self.model, features(self.model, pixels))


def distillation_loss(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Mean over patches of 1 minus the cosine, plus the smooth L1 distance; both are on the teacher's own scale.

    student: (B, S, width), teacher: (B, P, width): squares of patches, with or without a class token before them. The
    student's finer square is averaged down to the teacher's.
    """
    wanted = _square(teacher.float())
    matched = nn.functional.adaptive_avg_pool2d(_square(student.float()), wanted.shape[-1])
    wanted, matched = wanted.flatten(2).transpose(1, 2), matched.flatten(2).transpose(1, 2)  # (B, P, width)
    return (1 - nn.functional.cosine_similarity(matched, wanted, dim=-1)).mean() \
        + nn.functional.smooth_l1_loss(matched, wanted)


def _square(patches: torch.Tensor) -> torch.Tensor:
    """(B, P or 1 + P, width) -> (B, width, side, side)"""
    side = math.isqrt(patches.shape[1])
    return patches[:, patches.shape[1] - side * side:].transpose(1, 2).unflatten(2, (side, side))

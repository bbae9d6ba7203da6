"""The precision that a training computes in."""

from contextlib import AbstractContextManager

import torch


def autocast(precision: str, device: torch.device) -> AbstractContextManager:
    """bf16 where it is asked for ("bf16"), or where it is quick ("auto"): a processor that only emulates it is slower
    with it than without."""
    wanted = {"bf16": True, "fp32": False}.get(precision)
    if wanted is None:
        wanted = torch.cuda.is_bf16_supported() if device.type == "cuda" else _quick_bf16()
    return torch.autocast(device.type, torch.bfloat16, enabled=wanted)


def _quick_bf16() -> bool:
    """Whether the processor multiplies bf16 matrices in hardware."""
    return bool(torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
                and torch.cpu._is_avx512_bf16_supported())

"""Whether a folder's files are a model of a family: every tensor there and of the right shape, words and pictures read.

Nothing is computed: transformers lays the model out without memory ("meta") and compares names and shapes.
"""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from narrator.records import NarratorError
from narrator.weights import counted

WORDS = ("tokenizer.json", "vocab.json", "vocab.txt", "*.model")
_SHAPES = "ignore_mismatched_sizes"  # in what transformers says of tensors of other shapes


def check_fits(family: str, folder: Path, name: str) -> int:
    """How many parameters the folder's model has. Raises NarratorError in one sentence where it is no whole model of
    that family."""
    from safetensors import SafetensorError

    from narrator.families.loading import quiet

    try:
        with quiet():
            model = _CHECKS[family](folder)
            # Files may hold a tensor twice, and lack one that is never used.
            return min(int(model.num_parameters()), counted(folder)[0])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, ImportError,
            SafetensorError) as error:
        said = " ".join(str(error).split())[:200]
        if _SHAPES in said:
            said = "some of its tensors have other shapes than its config.json says"
        raise NarratorError(f"{name} cannot be used as {family}: {said}. Get the whole folder from where it came, then "
                            "try again.") from error


def _laid_out(kind: Any, folder: Path, may_lack: tuple[str, ...] = ()) -> Any:
    from narrator.families.loading import load_whole

    return load_whole(kind, folder, may_lack=may_lack, device_map="meta", dtype="auto")


def _check_words(folder: Path) -> None:
    """transformers makes up an empty vocabulary where there is none."""
    if not any(fnmatch(path.name, kind) for path in folder.iterdir() for kind in WORDS):
        raise ValueError("it has no tokenizer (tokenizer.json, vocab.json, vocab.txt or *.model)")


def _causal_lm(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    from narrator.families.causal_lm import load_tokenizer

    model = _laid_out(AutoModelForCausalLM, folder)
    _check_words(folder)
    if len(load_tokenizer(folder)) > model.get_input_embeddings().num_embeddings:
        raise ValueError("its tokenizer has more tokens than the model knows")
    return model


def _encoder_decoder(folder: Path) -> Any:
    from transformers import VisionEncoderDecoderModel

    return _seeing(VisionEncoderDecoderModel, folder, ("encoder.pooler.",))


def _seeing(kind: Any, folder: Path, may_lack: tuple[str, ...] = ()) -> Any:
    from narrator.families.causal_lm import load_tokenizer
    from narrator.families.encoder_decoder import PictureInput

    model = _laid_out(kind, folder, may_lack)
    _check_words(folder)
    load_tokenizer(folder)
    PictureInput.load(folder)
    return model


def _hub_vlm(folder: Path) -> Any:
    from transformers import AutoConfig, AutoModelForImageTextToText

    from narrator.families.hub_vlm import load_processor

    model = _laid_out(AutoModelForImageTextToText, folder)
    _check_words(folder)
    load_processor(folder, AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False))
    return model


def _projector_lm(folder: Path) -> Any:
    from narrator.families.projector_model import ProjectorLM

    return _seeing(ProjectorLM, folder)


def _image_gpt(folder: Path) -> Any:
    from transformers import GPT2LMHeadModel

    from narrator.families.image_gpt import ImageGpt
    from narrator.families.picture_tokens import Codebook

    model = _laid_out(GPT2LMHeadModel, folder)
    ImageGpt.around(model, Codebook.load(folder)).close()
    return model


_CHECKS: dict[str, Callable[[Path], Any]] = {
    "causal_lm": _causal_lm, "encoder_decoder": _encoder_decoder, "hub_vlm": _hub_vlm, "projector_lm": _projector_lm,
    "image_gpt": _image_gpt}

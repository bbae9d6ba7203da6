"""Which family a model belongs to, by its config.json alone; transformers' own tables say what is what."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

from narrator.records import Inputs, NarratorError

CODE = "auto_map"  # in any of a model's settings: a module of its own that is to be run
KINDS = {
    "causal_lm": "language models such as GPT-2, OPT, Phi, Qwen, Llama",
    "encoder_decoder": "VisionEncoderDecoder with GPT-2",
    "hub_vlm": "image-text-to-text models such as BLIP, Florence-2, LLaVA, PaliGemma, Qwen-VL",
    "projector_lm": "a picture encoder, a projector and a language model",
    "image_gpt": "GPT-2 over picture tokens",
}
_PROMPTED = "Describe this image: a dog"
_ASKED = "Describe this picture in one sentence."
_OWN_WORDS = {"florence2": "<CAPTION>", "paligemma": "caption en"}  # what these were trained to be asked
_CAPTIONERS = ("blip", "blip-2", "git", "pix2struct")  # they describe, and take no question
_ONE_PICTURE = (*_CAPTIONERS, "florence2", "instructblip", "kosmos-2")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Kind:
    """A family, and what a variant of it takes, as in records.Variant."""

    family: str
    inputs: Inputs
    several: bool = False
    default_prompt: str = ""


def recognise(config: Mapping[str, Any], name: str, files: Collection[str], wanted: str | None = None) -> Kind:
    """What a model is. files: the names of its files. wanted: the family that the person says.

    Raises NarratorError that names the families where it belongs to none or to another one, and for a model that brings
    code of its own.
    """
    refuse_code(config, name, "config.json")
    kind = str(config.get("model_type") or "")
    found = _family(kind, config, files)
    if found is None:
        named = [*_architectures(config), kind] if kind else ["model without a model_type in its config.json"]
        known = "; ".join(f"{family} ({says})" for family, says in KINDS.items())
        raise NarratorError(f"{name} is a {named[0]}, which no family here loads: take a model of one of these: "
                            f"{known}.")
    if wanted not in (None, found):
        raise NarratorError(f"{name} is a {kind}: it belongs to the family {found}, not to {wanted}: leave --family "
                            "out, or take another model.")
    return _as_variant(found, kind)


def refuse_code(settings: Mapping[str, Any], name: str, file: str) -> None:
    """Raise NarratorError where settings name a module that is to be run."""
    if settings.get(CODE):
        raise NarratorError(f"{name} wants to run code of its own ('{CODE}' in its {file}), and none is run here: take "
                            f"a version that transformers knows by itself; only where it does, take '{CODE}' out of "
                            "the file.")


def _architectures(config: Mapping[str, Any]) -> list[str]:
    found = config.get("architectures")
    return [str(one) for one in found] if isinstance(found, list) else []


def _family(kind: str, config: Mapping[str, Any], files: Collection[str]) -> str | None:
    from transformers.models.auto import modeling_auto as tables

    if kind == "vision-encoder-decoder":
        decoder = config.get("decoder")
        fits = isinstance(decoder, dict) and decoder.get("model_type") == "gpt2"
        return "encoder_decoder" if fits else None
    if kind == "projector_lm":
        return kind
    if kind == "gpt2" and "picture_tokens.json" in files:
        return "image_gpt"
    for family, table in (("hub_vlm", tables.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES),
                          ("causal_lm", tables.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)):
        known = table.get(kind, ())
        classes = {known} if isinstance(known, str) else set(known)
        if classes and (not _architectures(config) or classes & set(_architectures(config))):
            return family
    return None


def _as_variant(family: str, kind: str) -> Kind:
    if family == "causal_lm":
        return Kind(family=family, inputs=Inputs(image=False, text=True), default_prompt=_PROMPTED)
    if family == "image_gpt":
        return Kind(family=family, inputs=Inputs(image=True, text=True), default_prompt="classify")
    if family == "encoder_decoder" or kind in _CAPTIONERS:
        return Kind(family=family, inputs=Inputs(image=True, text=False))
    return Kind(family=family, inputs=Inputs(image=True, text=True), several=kind not in _ONE_PICTURE,
                default_prompt=_OWN_WORDS.get(kind, _ASKED))

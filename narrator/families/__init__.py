"""The table of model families: one file and one line each. Importing it imports none of them, and no torch."""

from __future__ import annotations

import difflib
import importlib
from typing import TYPE_CHECKING

from narrator.records import NarratorError

if TYPE_CHECKING:
    from narrator.records import Family

FAMILIES: dict[str, str] = {
    "encoder_decoder": "narrator.families.encoder_decoder:EncoderDecoder",
    "causal_lm": "narrator.families.causal_lm:CausalLM",
    "projector_lm": "narrator.families.projector_lm:ProjectorFamily",
    "image_gpt": "narrator.families.image_gpt:ImageGpt",
    "hub_vlm": "narrator.families.hub_vlm:HubVLM",
    "remote": "narrator.families.remote:Remote",
}


def check_family(name: str, where: str) -> None:
    """Raise NarratorError with the nearest name when there is no such family; `where` begins the message."""
    if name not in FAMILIES:
        close = difflib.get_close_matches(name, FAMILIES, n=1)
        hint = f"Did you mean '{close[0]}'?" if close else f"Known families: {', '.join(FAMILIES)}."
        raise NarratorError(f"{where}: unknown family '{name}'. {hint}")


def family_class(name: str) -> type[Family]:
    """The class of a family, imported now. Raises NarratorError with the nearest name when there is none."""
    check_family(name, "Models")
    module, _, attribute = FAMILIES[name].partition(":")
    found: type[Family] = getattr(importlib.import_module(module), attribute)
    return found

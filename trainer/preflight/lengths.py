"""Texts that the model would learn only the beginning of, by the recipe's own tokenizer and limits."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from narrator.metrics.tokenize import ptb_tokens
from narrator.readers.rows import place_of
from narrator.records import NarratorError
from trainer.config import TrainingConfig
from trainer.preflight.findings import Finding, Tell, quoted, share
from trainer.preflight.sets import DataSet, Item

TEXTS = 20_000  # looked at, evenly from first to last
CUT = 0.01  # share of texts from which on it is a warning
Count = Callable[[Item, str], int]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limit:
    """How long a text may be. setting: the one that says so."""

    count: Count
    most: int
    unit: str
    setting: str


def length_findings(config: TrainingConfig, root: Path, sets: Sequence[DataSet], tell: Tell) -> list[Finding]:
    """Of the texts to learn: the share that is cut, and the longest. Nothing where the base is not here: that is
    told elsewhere."""
    pairs = [(item, text) for one in sets if one.side != "dev" for item in one.items for text in item.example.texts]
    pairs = pairs[::max(1, len(pairs) // TEXTS)]
    try:
        limit = limit_of(config, root, [text for _, text in pairs]) if pairs else None
    except (NarratorError, OSError, ValueError):
        return []
    if limit is None:
        return []
    longest, most, cut = pairs[0], 0, 0
    for done, (item, text) in enumerate(pairs, start=1):
        count = limit.count(item, text)
        cut += count > limit.most
        if count > most:
            longest, most = (item, text), count
        tell("texts", done, len(pairs))
    return [_finding(limit, (cut, len(pairs)), longest, most)]


def limit_of(config: TrainingConfig, root: Path, texts: Sequence[str]) -> Limit | None:
    """The recipe's limit; None for a recipe without texts. texts: what a tokenizer that is yet to be made learns
    from. Raises what loading the base's tokenizer raises."""
    if config.recipe == "image_gpt":
        return None
    if config.recipe == "encoder_decoder":
        pieces = _pieces(config.base or config.decoder, root)
        return Limit(count=lambda item, text: len(pieces(text)), most=config.max_words, setting="max_words",
                     unit="words" if pieces is ptb_tokens else "tokens")
    return Limit(count=_asked(config, root, texts), most=config.max_tokens, unit="tokens", setting="max_tokens")


def _asked(config: TrainingConfig, root: Path, texts: Sequence[str]) -> Count:
    """Tokens of a prompt, an answer and its end; of hub_vlm the answer and its end alone. A prompt that is made anew
    for every caption counts as a short one."""
    from narrator.families.causal_lm import prompt_ids
    from trainer.recipes.pairs import PROMPTS, TEMPLATE, make_tokenizer, neat

    if config.base:
        tokenizer = _tokenizer(config.base, root)
    else:
        tokenizer = make_tokenizer([*map(neat, texts), *PROMPTS], config.vocabulary)
    if config.recipe == "hub_vlm":
        return lambda item, text: len(tokenizer(text, add_special_tokens=False)["input_ids"]) + 1
    if config.recipe == "causal_lm" and not tokenizer.chat_template:
        tokenizer.chat_template = TEMPLATE

    def count(item: Item, text: str) -> int:
        asked = prompt_ids(tokenizer, item.example.prompt or "Describe this image: a dog")
        said = tokenizer(text if item.example.prompt else neat(text), add_special_tokens=False)["input_ids"]
        return min(len(asked), config.max_tokens // 2) + len(said) + 1

    return count


def _pieces(base: str, root: Path) -> Callable[[str], list[str]]:
    """What a captioner's texts are cut into: words, unless its decoder has pieces of words."""
    if not base:
        return ptb_tokens
    from trainer.recipes.words import of_words

    tokenizer = _tokenizer(base, root)
    return ptb_tokens if of_words(tokenizer) else lambda text: list(tokenizer.tokenize(text.strip()))


def _tokenizer(base: str, root: Path) -> Any:
    from transformers import AutoTokenizer

    from trainer.recipes.bases import find_base

    return AutoTokenizer.from_pretrained(find_base(base, root), local_files_only=True, trust_remote_code=False)


def _finding(limit: Limit, cut: tuple[int, int], longest: tuple[Item, str], most: int) -> Finding:
    file, line = place_of(longest[0].where)
    told = f"the longest has {most:,} {limit.unit}, and '{limit.setting}' is {limit.most:,}: {quoted(longest[1])}."
    if cut[0] >= max(1.0, CUT * cut[1]):
        return Finding(level="warning", what=f"{share(*cut)} texts are cut; {told}", file=file, line=line,
                       remedy=f"Raise '{limit.setting}' to {most:,}, or shorten the texts.")
    if cut[0]:
        return Finding(level="ok", what=f"{share(*cut)} texts are cut; {told}", file=file, line=line)
    return Finding(level="ok", what=f"No text is cut; {told.split(':')[0]}.")

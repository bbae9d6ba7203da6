"""What a vision-language model of a hub learns from: a picture and a prompt as the family shows them, and the answer
after them."""

import random
from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from torch.utils.data import Dataset

from narrator.families.hub_vlm import HubVLM
from narrator.pictures import open_picture
from narrator.records import Example, NarratorError
from trainer.recipes.pairs import neat
from trainer.recipes.teacher import IGNORED

Item = dict[str, torch.Tensor]
# Rows beside the tokens, and what they hold where the answer stands: seen, of the text, and for PaliGemma read from
# left to right.
_BESIDE = {"attention_mask": 1, "mm_token_type_ids": 0, "token_type_ids": 1}


class Shown(Dataset):
    """Each picture with what is asked about it, and one of its texts at random as the answer."""

    def __init__(self, rows: Sequence[Example], reader: HubVLM, longest: int) -> None:
        """longest: tokens of an answer; the rest is cut."""
        self.rows, self.reader, self.longest = rows, reader, longest

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Item:
        example = self.rows[index]
        text = random.choice(example.texts)
        if not example.prompt:
            text = neat(text).rstrip(".") if self.reader.loose else neat(text)  # BLIP and GIT write no full stop
        assert example.image is not None  # texts without pictures were refused
        return encode(self.reader, open_picture(example.image), (example.prompt, text), self.longest)


def encode(reader: HubVLM, picture: Image.Image, pair: tuple[str, str], longest: int) -> Item:
    """What the model takes for one picture, and `labels` (1, T): the answer and its end, all before it IGNORED.

    pair: prompt and answer. A cut answer has no end, so that no wrong end is learned. Raises NarratorError when the
    prompt leaves no room for an answer.
    """
    item = reader.inputs([picture], pair[0])
    if reader.kind == "blip":  # as its `generate` begins: with a start of its own, and without the end of the prompt
        item |= {name: item[name][:, :-1].clone() for name in ("input_ids", "attention_mask")}
        item["input_ids"][:, 0] = reader.model.config.text_config.bos_token_id
    asked = item["input_ids"]
    positions = getattr(reader.model.config.get_text_config(decoder=True), "max_position_embeddings", None)
    room = longest if positions is None else min(longest, positions - asked.shape[1])
    if room < 1:
        raise NarratorError(f"Picture and prompt '{pair[0][:60]}' take {asked.shape[1]:,} tokens, and the model has "
                            f"room for {positions:,}: shorten the prompt.")
    said = torch.tensor([answer_tokens(reader, *pair)[:room]])
    item["labels"] = torch.cat([torch.full_like(asked, IGNORED), said], dim=1)
    item["input_ids"] = torch.cat([asked, said], dim=1)
    for name, value in _BESIDE.items():
        if name in item:
            item[name] = torch.cat([item[name], torch.full_like(said, value, dtype=item[name].dtype)], dim=1)
    return item


def answer_tokens(reader: HubVLM, prompt: str, answer: str) -> list[int]:
    """What the answer adds to the prompt, up to the token that ends it: of a chat model what its template writes after
    the prompt, of a captioner the caption."""
    tokenizer = reader.tokenizer
    for token in (*reader.places, *tokenizer.all_special_tokens):  # whoever writes one means the letters
        answer = answer.replace(token, f"{token[0]} {token[1:]}")
    before, added = "", answer
    if reader.processor.chat_template is not None:
        before = reader.written(1, prompt)
        added = _in_chat(reader.processor, answer, "" if before[-1:].isspace() else " ")
    start, whole = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in (before, before + added))
    if whole[:len(start)] == start:
        tokens = list(whole[len(start):])
    else:  # the border lies within a token
        tokens = list(tokenizer(added, add_special_tokens=False)["input_ids"])
    ends = reader.config.get("eos_token_id") or [reader.model.generation_config.eos_token_id]
    for place, token in enumerate(tokens):
        if token in ends:
            return tokens[:place + 1]
    return [*tokens, tokenizer.eos_token_id if tokenizer.eos_token_id in ends else ends[0]]


def collate(items: Sequence[Item], pad: int) -> Item:
    """Items as a batch, tokens padded on the right with `pad`. Pictures of fewer tiles than others get empty ones,
    which models of tiles leave out."""
    fill = {"input_ids": pad, "labels": IGNORED}
    return {name: _stacked([item[name] for item in items], fill.get(name, 0)) for name in items[0]}


def _in_chat(processor: Any, answer: str, gap: str) -> str:
    """What the chat template writes when the answer follows a prompt; where it begins the prompt otherwise then, the
    answer after `gap`."""
    turns = [{"role": role, "content": [{"type": "text", "text": text}]}
             for role, text in (("user", "?"), ("assistant", answer))]
    asked = processor.apply_chat_template(turns[:1], add_generation_prompt=True, tokenize=False)
    both: str = processor.apply_chat_template(turns, add_generation_prompt=False, tokenize=False)
    return both[len(asked):] if both.startswith(asked) else gap + answer


def _stacked(parts: Sequence[torch.Tensor], value: int) -> torch.Tensor:
    """Joined along the first dimension, the others as wide as the widest."""
    sizes = [max(sides) for sides in zip(*(part.shape[1:] for part in parts), strict=True)]
    joined = torch.full((sum(map(len, parts)), *sizes), value, dtype=parts[0].dtype)
    row = 0
    for part in parts:
        joined[(slice(row, row + len(part)), *(slice(side) for side in part.shape[1:]))] = part
        row += len(part)
    return joined

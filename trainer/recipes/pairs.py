"""Prompts and answers: made from the captions of pictures, or as rows of text give them, and as tokens to learn from.

From captions: a phrase of one caption is asked about, another caption of the same picture is the answer, so that what
the answer adds was really to be seen. Asked and answered anew at every turn.
"""

import functools
import random
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerFast

from narrator.families.causal_lm import pair_ids as encode
from narrator.metrics.text import adjectives, noun_phrases
from narrator.metrics.tokenize import ptb_tokens
from narrator.records import Example
from narrator.scene_types import scene_type
from trainer.recipes.teacher import IGNORED
from trainer.scenes import Scene

PAD, START, END = "<pad>", "<s>", "</s>"
# For tokenizers without one: the prompt, a line break, the answer. Saved with the tokenizer, so that whoever loads the
# model asks it as it was taught.
TEMPLATE = ("{% if bos_token %}{{ bos_token }}{% endif %}{% for message in messages %}{{ message['content'] }}"
            "{{ '\\n' if message['role'] == 'user' else eos_token }}{% endfor %}")
PROMPTS = ("Describe this image: {}", "What do you see in this picture: {}", "Generate a caption: {}", "{}")
_ARTICLES = ("a", "an", "the")
_SHORT = 5  # words: the adjectives of a shorter caption say little about how vivid it is
Item = dict[str, Any]
phrases = functools.cache(noun_phrases)


class Answers(Dataset):
    """Prompt and answer as tokens: each text of each scene is an answer once an epoch."""

    def __init__(self, scenes: Sequence[Scene], tokenizer: Any, longest: int, *, vivid: float = 1.0,
                 faithful: bool = False) -> None:
        """longest: tokens. vivid: only this share of the captions, those with the most adjectives a word, are
        answers. faithful: a caption is asked for by phrases whose words it holds, or not at all."""
        self.scenes, self.tokenizer, self.longest, self.faithful = scenes, tokenizer, longest, faithful
        self.items = [(row, text) for row, scene in enumerate(scenes) if answerable(scene)
                      for text in range(len(scene.texts))]
        if vivid < 1.0:
            self.items = _most_vivid(scenes, self.items, vivid)
        if faithful:
            self.items = [(row, text) for row, text in self.items if scenes[row].prompt or kept(scenes[row], text)]
        self.shares: list[float] | None = None  # cumulated, of each item, once types of scene differ in weight

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Item:
        if self.shares is not None:
            index = random.choices(range(len(self.items)), cum_weights=self.shares)[0]
        row, text = self.items[index]
        scene = self.scenes[row]
        prompt = ask(scene, text, random, faithful=self.faithful)
        ids, start = encode(self.tokenizer, prompt, answer(scene, text), self.longest)
        return {"ids": ids, "start": start}

    def weigh(self, weights: Mapping[str, float]) -> None:
        """Draw the items of a type of scene in proportion to its weight from now on (1 where none is given); without
        any weights all are drawn once an epoch."""
        if not weights:
            self.shares = None
            return
        self.shares = np.cumsum([weights.get(self.types[row], 1.0) for row, _ in self.items]).tolist()

    @functools.cached_property
    def types(self) -> list[str]:
        """The type of each scene."""
        return [scene_type(scene.texts) for scene in self.scenes]


def answerable(scene: Scene) -> bool:
    """Whether there is a prompt, or another caption to take one from."""
    return bool(scene.prompt) or len(scene.texts) > 1


def ask(scene: Scene, answered: int, draw: Any, *, faithful: bool = False) -> str:
    """The scene's own prompt, or a phrase of a caption other than the answered one, in one of PROMPTS.

    draw: the module `random` or a generator of it. faithful: one of `kept`.
    """
    if scene.prompt:
        return scene.prompt
    if faithful:
        found = kept(scene, answered)
        lengths = [len(phrase.split()) ** 2 for phrase in found]  # "a brown dog" asks for more than "a dog" does
        return str(draw.choice(PROMPTS)).format(draw.choices(found, lengths)[0])
    shown = draw.choice([text for place, text in enumerate(scene.texts) if place != answered])
    return _about(shown, draw)


def kept(scene: Scene, answered: int) -> list[str]:
    """The phrases of the other captions whose words, but for articles, the answered one holds too."""
    words = set(ptb_tokens(scene.texts[answered]))
    return [phrase for place, text in enumerate(scene.texts) if place != answered for phrase in phrases(text)
            if words.issuperset(word for word in phrase.split() if word not in _ARTICLES)]


def answer(scene: Scene, text: int) -> str:
    """The text as it is to be learned: captions as neat sentences, the rows of a person as they are."""
    return scene.texts[text] if scene.prompt else neat(scene.texts[text])


def held_out_pairs(scenes: Sequence[Scene]) -> list[Example]:
    """One prompt for each scene that has one, always the same; the other captions are the references."""
    found = []
    for scene in filter(answerable, scenes):
        draw = random.Random(scene.key)
        if scene.prompt:
            found.append(Example(image=None, prompt=scene.prompt, texts=scene.texts))
        else:
            shown = draw.randrange(len(scene.texts))
            others = tuple(neat(text) for place, text in enumerate(scene.texts) if place != shown)
            found.append(Example(image=None, prompt=_about(scene.texts[shown], draw), texts=others))
    return found


def neat(caption: str) -> str:
    """A caption as a sentence: "two dogs play ." -> "Two dogs play." """
    text = re.sub(r"\s+([.,;:!?%)']|n't\b)", r"\1", " ".join(caption.split())).strip(' "')
    text = text if text.endswith((".", "!", "?")) else text.rstrip(",;:") + "."
    return text[:1].upper() + (text[1:].lower() if text.isupper() else text[1:])


def collate(items: Sequence[Item], pad: int) -> dict[str, torch.Tensor]:
    """input_ids, attention_mask and labels, each (N, T), padded on the right to the longest. Labels are the answers
    and their ends alone: prompt and padding are IGNORED, also where padding is the same token as the end.
    """
    longest = max(len(item["ids"]) for item in items)
    ids = torch.full((len(items), longest), pad)
    mask, labels = torch.zeros_like(ids), torch.full_like(ids, IGNORED)
    for row, item in enumerate(items):
        tokens, start = torch.tensor(item["ids"]), item["start"]
        ids[row, :len(tokens)], mask[row, :len(tokens)] = tokens, 1
        labels[row, start:len(tokens)] = tokens[start:]
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def vividness(text: str) -> float:
    """Adjectives a word; 0 for very short texts."""
    found, words = adjectives(text)
    return found / words if words >= _SHORT else 0.0


def make_tokenizer(texts: Sequence[str], size: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer (Sennrich et al. 2016; bytes as in GPT-2) of at most `size` tokens: it can write
    anything."""
    plain = Tokenizer(models.BPE())
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    plain.decoder = decoders.ByteLevel()
    plain.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=size, special_tokens=[PAD, START, END], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    return PreTrainedTokenizerFast(tokenizer_object=plain, pad_token=PAD, bos_token=START, eos_token=END,
                                   chat_template=TEMPLATE, clean_up_tokenization_spaces=False)


def _about(caption: str, draw: Any) -> str:
    found = phrases(caption) or [" ".join(ptb_tokens(caption)[:4]) or caption]
    return str(draw.choice(PROMPTS)).format(draw.choice(found))


def _most_vivid(scenes: Sequence[Scene], items: Sequence[tuple[int, int]], share: float) -> list[tuple[int, int]]:
    """The share of the items whose answers are the most vivid; of equals, those that stand first."""
    kept = sorted(items, key=lambda item: vividness(scenes[item[0]].texts[item[1]]), reverse=True)
    return sorted(kept[:max(1, round(len(items) * share))])

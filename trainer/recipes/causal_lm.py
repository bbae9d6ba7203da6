"""Recipe for language models that answer a prompt with a description: from random weights, all weights of a base, or
adapters on it."""

import dataclasses
import inspect
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import GPT2Config, GPT2LMHeadModel

from narrator.families.causal_lm import ADAPTER, CausalLM, load_model, load_tokenizer, padding
from narrator.held_out import HeldOut
from narrator.records import Example, Inputs, NarratorError, Variant
from trainer.config import Data, Stage, TrainingConfig
from trainer.data import located
from trainer.recipes import Recipe, Scores, Sets, Tell, curriculum
from trainer.recipes.answers import score
from trainer.recipes.bases import base_source, find_base
from trainer.recipes.lora import attach, load_adapter, load_base, save_adapter, trainable
from trainer.recipes.optimising import adamw_groups, answer_loss, length_groups
from trainer.recipes.pairs import (
    PROMPTS,
    TEMPLATE,
    Answers,
    answerable,
    collate,
    held_out_pairs,
    make_tokenizer,
    neat,
    vividness,
)
from trainer.recipes.saving import save_weights
from trainer.recipes.teacher import IGNORED
from trainer.scenes import Scene, check_disjoint, read_scenes, split_scenes

ASKED = "Describe this image: a brown dog"  # shown to whoever tries the model first


class CausalLMRecipe(Recipe):
    """Builds model and data of each stage, computes the losses, judges the answers, saves the variant."""

    def __init__(self, config: TrainingConfig, root: Path, folder: Path, device: torch.device, *,
                 strict: bool = False) -> None:
        """Read the data and split it by scene. Raises NarratorError for a scene on both sides."""
        self.config, self.root, self.folder, self.device = config, root, folder, device
        _check(config)
        self.base = find_base(config.base, root) if config.base else None
        self.read_more(strict=strict)
        self.tokenizer = self._tokenizer()
        self.answers: Answers | None = None  # what is being learned from
        self._made: dict[tuple[bool, bool], Answers] = {}  # with and without repeats, faithful or not

    def prepare(self) -> tuple[Any, Callable[..., Any]]:
        """The model before its first step, and the collator."""
        model = self._start()
        if self.config.lora is not None:
            model = attach(model, self.config.lora)
        learning, total = trainable(model)
        print(f"{learning:,} of {total:,} parameters learn ({100 * learning / total:.2f} %).", file=sys.stderr)
        return model, self.collate

    def collate(self, items: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Items of `Answers` as a batch."""
        return collate(items, padding(self.tokenizer))

    def size(self, stage: Stage) -> int:
        """Answers in one pass over the stage's data."""
        return len(self._answers(stage))

    def load(self, folder: Path) -> Any:
        """The model as a stage left it."""
        if (folder / ADAPTER).is_file():
            return load_adapter(self._start(), folder)
        return load_model(folder, "cpu", dtype=torch.float32)

    def dataset(self, stage: Stage, model: Any, tell: Tell) -> Answers:
        """What the stage learns from."""
        self.answers = self._answers(stage)
        self.answers.shares = None
        return self.answers

    def go_on(self, step: int) -> None:
        """Weigh the answers as the last evaluation before or at this step did."""
        if self.config.curriculum and self.answers is not None:
            self.answers.weigh(curriculum.noted(self.folder, step))

    def parameter_groups(self, model: Any, stage: Stage) -> list[dict[str, Any]]:
        """AdamW's groups: no decay on vectors; what is frozen stays out."""
        return adamw_groups(model, stage)

    def loss(self, model: Any, batch: dict[str, torch.Tensor], stage: Stage) -> torch.Tensor:
        """Mean over the tokens of the answers and their ends, a scalar. Rows of like length are computed together, and
        only what foretells answers is turned into logits: padding and prompts would be half of the work."""
        lengths = batch["attention_mask"].sum(1).tolist()
        whole = model.get_base_model() if isinstance(model, PeftModel) else model
        keeps = "logits_to_keep" in inspect.signature(type(whole).forward).parameters
        total = torch.zeros((), device=batch["labels"].device)
        for rows in length_groups(lengths, self.device.type):
            length = lengths[rows[-1]]
            ids, mask, labels = (batch[name][rows, :length] for name in ("input_ids", "attention_mask", "labels"))
            kept = length - int((labels != IGNORED).any(0).nonzero()[0]) + 1 if keeps else length
            with self.autocast():
                logits = model(input_ids=ids, attention_mask=mask, use_cache=False,
                               **({"logits_to_keep": kept} if keeps else {})).logits
            total = total + answer_loss(logits[:, :-1], labels[:, length - kept + 1:], stage.label_smoothing,
                                        mean=False)
        return total / (batch["labels"][:, 1:] != IGNORED).sum()

    def read_dev(self, source: Data, *, strict: bool) -> list[Example]:
        """A prompt and its references for each held-out scene. Where `vivid` captions are learned, the reference with
        the most adjectives a word comes first: the one whose loss is measured."""
        found = held_out_pairs(self.held[source.path, source.split])
        if self.config.vivid == 1.0:
            return found
        return [dataclasses.replace(example, texts=tuple(sorted(example.texts, key=vividness, reverse=True)))
                for example in found]

    def read_more(self, *, strict: bool) -> None:
        """Read all data and split it by scene. Raises NarratorError for a scene on both sides."""
        self.learned: list[tuple[Data, list[Scene]]] = []
        self.held: dict[tuple[str, str | None], list[Scene]] = {}
        self._read(strict)

    def held_out(self, examples: Sequence[Example]) -> list[HeldOut]:
        """Prompts with their references, of which the first is the one whose loss is measured."""
        return [HeldOut(prompt=example.prompt, texts=example.texts, answer=example.texts[0],
                        max_tokens=self.config.max_tokens) for example in examples]

    def evaluate(self, model: Any, dev: Sets, *, beams: int, intervals: bool, tell: Tell) -> Scores:
        """Of each set: loss_answer and loss_everything (nats a token, the first reference), perplexity of the answer,
        scores of the texts that the model writes, and caption scores against all references.

        loss_everything counts prompt and padding up to `max_tokens` too, as those do who take the whole padded row as
        labels: for comparing with their figures, not to judge by. While a stage learns, the curriculum is set anew.
        """
        family = self.speaker(model)
        was_training = family.model.training
        family.model.eval()
        losses: dict[str, list[float]] = {}
        try:
            scores = {}
            for name, examples in dev.items():
                scores[name], found = score(family, self.held_out(examples), beams=beams, intervals=intervals,
                                            tell=tell)
                for kind, values in found.items():
                    losses.setdefault(kind, []).extend(values)
        finally:
            family.model.train(was_training)
        if self.config.curriculum and self.answers is not None and not intervals:
            weights = curriculum.weights(losses, self.config.curriculum)
            self.answers.weigh(weights)
            curriculum.note(self.folder, weights, losses)
        return scores

    def speaker(self, model: Any) -> CausalLM:
        """The model as a family."""
        return model if isinstance(model, CausalLM) else CausalLM.around(model, self.tokenizer)

    def overall(self, scores: Scores, dev: Sets) -> float:
        """The answers' loss, negated; the sets weighted by their prompts."""
        total = sum(map(len, dev.values()))
        return -sum(scores[name]["loss_answer"].value * len(examples) for name, examples in dev.items()) / total

    def save(self, model: Any, folder: Path) -> Variant:
        """Write weights in bf16, of adapters alone where only they learned, and the tokenizer; whoever calls writes
        the manifest, last."""
        folder.mkdir(parents=True, exist_ok=True)
        config, (_, total) = self.config, trainable(model)
        source, adapter = ".", None
        if isinstance(model, PeftModel):
            assert self.base is not None
            save_adapter(model, folder, config.base)
            source, adapter = base_source(config.base, self.base, folder), "."
        else:
            save_weights(model, folder)
        self.tokenizer.save_pretrained(folder)
        return Variant(id=config.name, title=config.title or config.name, family="causal_lm", source=source,
                       adapter=adapter, inputs=Inputs(image=False, text=True), default_prompt=ASKED, parameters=total,
                       dtype="nf4" if config.quantize == "4bit" else "bfloat16", license=config.license,
                       provenance=config.provenance)

    def saved(self, folder: Path, variant: Variant, device: torch.device) -> CausalLM:
        """The variant as the narrator loads it from disk."""
        source, adapter = (folder, None) if variant.adapter is None else (self.base, str(folder))
        return CausalLM(dataclasses.replace(variant, source=str(source), adapter=adapter), str(device))

    def forget(self) -> None:
        """Let go of what the stage learned from."""
        self.answers = None

    def _read(self, strict: bool) -> None:
        """Fill `learned` and `held`. A set that is named on both sides without a split is split by scene here."""
        def scenes(source: Data) -> list[Scene]:
            found = read_scenes(located(source, self.root), split=source.split, strict=strict)
            return found[:source.limit]

        named = {(source.path, source.split) for source in self.config.dev}
        self.learned = [(source, scenes(source)) for source in self.config.data]
        for place, (source, rows) in enumerate(self.learned):
            if source.split is None and (source.path, None) in named:
                others = [scene for other, found in self.learned if other is not source for scene in found]
                kept, held = split_scenes(rows, self.config.held_out, others)
                self.learned[place], self.held[source.path, None] = (source, kept), held
        for source in self.config.dev:
            if (source.path, source.split) not in self.held:
                self.held[source.path, source.split] = scenes(source)
        check_disjoint([scene for _, rows in self.learned for scene in rows],
                       [scene for rows in self.held.values() for scene in rows])
        for (path, _), rows in self.held.items():
            if not any(map(answerable, rows)):
                raise NarratorError(f"{path}: nothing of it can be held out for dev. Raise 'held_out', or name data "
                                    "with prompts or with several captions a picture.")
        if not any(answerable(scene) for _, rows in self.learned for scene in rows):
            raise NarratorError("There is nothing to learn: give rows with a 'prompt', or pictures with two captions "
                                "or more.")

    def _answers(self, stage: Stage) -> Answers:
        kind = stage.repeat, stage.faithful
        if kind not in self._made:
            rows = [scene for source, found in self.learned for scene in found * (source.repeat if stage.repeat else 1)]
            self._made[kind] = Answers(rows, self.tokenizer, self.config.max_tokens, vivid=self.config.vivid,
                                       faithful=stage.faithful)
            if stage.faithful and not self._made[kind].items:
                raise NarratorError(f"The stage '{stage.name}' has nothing to learn from: no caption holds the words "
                                    "of a prompt. Leave 'faithful' out.")
        return self._made[kind]

    def _start(self) -> Any:
        """The base, or random weights."""
        config, tokens = self.config, self.tokenizer
        if self.base is not None:
            return load_base(self.base, self.device, frozen=config.lora is not None, quantize=config.quantize)
        return GPT2LMHeadModel(GPT2Config(
            vocab_size=len(tokens), n_positions=config.max_tokens, n_embd=config.width, n_layer=config.layers,
            n_head=config.heads, activation_function="gelu_pytorch_tanh", embd_pdrop=config.dropout,
            resid_pdrop=config.dropout, attn_pdrop=0.0, bos_token_id=tokens.bos_token_id,
            eos_token_id=tokens.eos_token_id, pad_token_id=tokens.pad_token_id))

    def _tokenizer(self) -> Any:
        if self.base is not None:
            tokenizer = load_tokenizer(self.base)
        else:
            place = self.folder / "tokenizer"
            if not place.exists():
                texts = [neat(text) for _, rows in self.learned for scene in rows for text in scene.texts]
                part = place.with_name("tokenizer.part")
                make_tokenizer([*texts, *PROMPTS], self.config.vocabulary).save_pretrained(part)
                part.replace(place)
            tokenizer = load_tokenizer(place)
        if not tokenizer.chat_template:
            tokenizer.chat_template = TEMPLATE
        return tokenizer


def _check(config: TrainingConfig) -> None:
    for stage in config.stages:
        if stage.objective != "answer":
            raise NarratorError(f"The stage '{stage.name}' has the objective '{stage.objective}'; causal_lm knows one: "
                                "answer.")
    if config.lora is not None and not config.base:
        raise NarratorError("'lora' puts adapters on a trained model: name it as 'base'.")
    if config.quantize != "none" and config.lora is None:
        raise NarratorError("Quantised weights cannot learn: set 'lora', or 'quantize: none'.")

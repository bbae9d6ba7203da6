"""Recipe for captioners of the encoder_decoder family: our own small ones, from patches and words up."""

import dataclasses
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset
from transformers import GPT2LMHeadModel, PreTrainedTokenizerFast, VisionEncoderDecoderModel

from narrator.families.causal_lm import load_tokenizer
from narrator.families.encoder_decoder import EncoderDecoder, PictureInput
from narrator.metrics.tokenize import ptb_tokens
from narrator.readers.gathering import read_examples
from narrator.records import Example, Inputs, NarratorError, Variant
from trainer.config import Data, Stage, TrainingConfig
from trainer.data import located
from trainer.evaluation import evaluate, overall
from trainer.recipes import Recipe, Scores, Sets, Tell
from trainer.recipes.bases import find_base
from trainer.recipes.caption_loss import caption_loss
from trainer.recipes.captions import Features, Pictures, Words, cache_features, collate
from trainer.recipes.decoders import decoder_tokenizer, load_captioner, new_decoder
from trainer.recipes.distill import Teacher, distillation_loss
from trainer.recipes.encoders import features, new_encoder, project, stand_in, trunk
from trainer.recipes.optimising import adamw_groups
from trainer.recipes.saving import save_weights
from trainer.recipes.self_critical import Reward, self_critical_loss
from trainer.recipes.teacher import IGNORED, teacher_forced
from trainer.recipes.words import encode, extend_tokenizer, make_tokenizer, of_words

COMMON_WORDS = 60  # the most frequent words say nothing about a picture


class EncoderDecoderRecipe(Recipe):
    """Builds model and data of each stage, computes the losses, saves the variant."""

    def __init__(self, config: TrainingConfig, root: Path, folder: Path, device: torch.device, *,
                 strict: bool = False) -> None:
        self.config, self.root, self.folder, self.device = config, root, folder, device
        check_stages(config)
        self.base = find_base(config.base, root) if config.base else None
        self.examples = [example for source in config.data
                         for example in read_pictures(root, source, strict=strict) * source.repeat]
        self.groups = [list(example.texts) for source in config.text for example in
                       read_examples(located(source, root), split=source.split, strict=strict)[:source.limit]]
        self.teacher = Teacher(config.teacher, device) if config.teacher else None
        self.tokenizer = self._tokenizer()
        self.to_pixels = PictureInput.load(self.base) if self.base else \
            PictureInput(config.image_size, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
        self.captions = [self._encode(example.texts) for example in self.examples]
        self.reward: Reward | None = None

    collate = staticmethod(collate)

    def prepare(self) -> tuple[VisionEncoderDecoderModel, Callable[..., Any]]:
        """The model before its first step, and the collator."""
        config, tokens = self.config, self.tokenizer
        if self.base:
            return load_captioner(self.base, len(tokens)), collate
        model = VisionEncoderDecoderModel(encoder=new_encoder(config, self.root),
                                          decoder=new_decoder(config, tokens, self.root))
        model.config.decoder_start_token_id = tokens.bos_token_id
        model.config.pad_token_id, model.config.eos_token_id = tokens.pad_token_id, tokens.eos_token_id
        if self.teacher:
            self.teacher.lend_decoder(model.decoder)
        return model, collate

    def size(self, stage: Stage) -> int:
        """Items in one pass over the stage's data."""
        return len(self._learned(stage)[0]) + (len(self.groups) if stage.objective == "language" else 0)

    def load(self, folder: Path) -> VisionEncoderDecoderModel:
        """The model as a stage left it."""
        return load_captioner(folder, len(self.tokenizer))

    def dataset(self, stage: Stage, model: VisionEncoderDecoderModel, tell: Callable[[int, int], None]) -> Dataset:
        """What the stage learns from."""
        examples, captions = self._learned(stage)
        if stage.objective == "language":
            groups = [self._encode(group) for group in self.groups] + captions
            common = frozenset(range(4 + COMMON_WORDS))  # special tokens first, then words by frequency
            return Words(groups, self.config.concepts, common)
        if stage.objective == "self_critical":
            self.reward = Reward([example.texts for example in examples], self.tokenizer)
        if stage.train_encoder:
            return Pictures(examples, captions, self.to_pixels)
        unique = {example.image: example for example in examples}  # a repeated picture is encoded once
        place = {image: row for row, image in enumerate(unique)}
        path = self.folder / "cache" / f"{stage.name}.npy"
        path.parent.mkdir(exist_ok=True)
        views = cache_features(list(unique.values()), self.to_pixels, lambda pixels: self._features(model, pixels),
                               path, tell, count=stage.views)
        return Features(views, [place[example.image] for example in examples], captions)

    def read_dev(self, source: Data, *, strict: bool) -> list[Example]:
        """Held-out pictures with their captions."""
        return read_pictures(self.root, source, strict=strict)

    def evaluate(self, model: VisionEncoderDecoderModel | EncoderDecoder, dev: Sets, *, beams: int, intervals: bool,
                 tell: Tell) -> Scores:
        """Descriptions of the dev pictures, scored as captions."""
        return evaluate(self.speaker(model), dev, beams=beams, intervals=intervals, tell=tell)

    def losses(self, model: VisionEncoderDecoderModel | EncoderDecoder, dev: Sets, *, tell: Tell) -> Scores:
        """`loss_captions` of each set: nats a token of what people wrote, ends included."""
        family = self.speaker(model)
        return {name: {"loss_captions": caption_loss(family, examples, self._encode, tell)}
                for name, examples in dev.items()}

    def speaker(self, model: VisionEncoderDecoderModel | EncoderDecoder) -> EncoderDecoder:
        """The model as a family."""
        return model if isinstance(model, EncoderDecoder) else \
            EncoderDecoder.around(model, self.tokenizer, self.to_pixels)

    def weight(self, batch: dict[str, Any], stage: Stage) -> float:
        """Tokens of the captions; pictures where those are what is compared or sampled from."""
        if stage.objective in ("distill", "self_critical"):
            return float(len(batch["index"]))
        return super().weight(batch, stage)

    def overall(self, scores: Scores, dev: Sets) -> float:
        """CIDEr-D, the sets weighted by their pictures."""
        return overall(scores, dev)

    def saved(self, folder: Path, variant: Variant, device: torch.device) -> EncoderDecoder:
        """The variant as the narrator loads it from disk."""
        return EncoderDecoder(dataclasses.replace(variant, source=str(folder)), str(device))

    def forget(self) -> None:
        """Remove what a stage had cached."""
        shutil.rmtree(self.folder / "cache", ignore_errors=True)

    def parameter_groups(self, model: VisionEncoderDecoderModel, stage: Stage) -> list[dict[str, Any]]:
        """AdamW's groups: the trunk at its own rate or frozen; no decay on vectors."""
        slow = {id(parameter) for parameter in trunk(model).parameters()}
        for parameter in model.parameters():
            parameter.requires_grad_(stage.train_encoder or id(parameter) not in slow)
        names = {name for name, parameter in model.named_parameters() if id(parameter) in slow}
        return adamw_groups(model, stage, lambda name: stage.encoder_learning_rate if name in names
                            else stage.learning_rate)

    def loss(self, model: VisionEncoderDecoderModel, batch: dict[str, torch.Tensor], stage: Stage) -> torch.Tensor:
        """The stage's objective on one collated batch, a scalar."""
        with self.autocast():
            patches = self._patches(model, batch["input"], stage)  # (B, P, width)
            if stage.objective == "distill":
                assert self.teacher is not None
                return distillation_loss(patches, self.teacher.patches(batch["input"]))
            if stage.objective != "language":
                patches = thinned(patches, stage.patch_dropout)
            if stage.objective == "self_critical":
                assert self.reward is not None
                return self_critical_loss(model.decoder, patches, batch["index"].tolist(), self.reward,
                                          samples=stage.samples, longest=self.config.max_words)
            return self._cross_entropy(model.decoder, patches, batch, stage.label_smoothing)

    def save(self, model: VisionEncoderDecoderModel, folder: Path) -> Variant:
        """Write weights, tokenizer and preprocessing to `folder`; whoever calls writes the manifest, last."""
        folder.mkdir(parents=True, exist_ok=True)
        total = save_weights(model, folder, float8=self.config.float8)
        self.tokenizer.save_pretrained(folder)
        self.to_pixels.save(folder)
        config = self.config
        return Variant(id=config.name, title=config.title or config.name, family="encoder_decoder", source=".",
                       inputs=Inputs(image=True, text=False), dtype="bfloat16", license=config.license,
                       parameters=total, provenance=config.provenance)

    def _cross_entropy(self, decoder: GPT2LMHeadModel, patches: torch.Tensor, batch: dict[str, torch.Tensor],
                       smoothing: float) -> torch.Tensor:
        """Mean over the tokens of all captions, the ends included."""
        total = patches.new_zeros((), dtype=torch.float32)
        for _, wanted, logits in teacher_forced(decoder, patches, batch["picture"], batch["labels"]):
            total = total + nn.functional.cross_entropy(logits, wanted[wanted != IGNORED], label_smoothing=smoothing,
                                                        reduction="sum")
        return total / (batch["labels"] != IGNORED).sum()

    def _learned(self, stage: Stage) -> tuple[list[Example], list[list[list[int]]]]:
        """Pictures and encoded captions of the stage, with or without the repeats."""
        if stage.repeat:
            return self.examples, self.captions
        first = {example.image: row for row, example in reversed(list(enumerate(self.examples)))}
        rows = sorted(first.values())
        return [self.examples[row] for row in rows], [self.captions[row] for row in rows]

    def _patches(self, model: VisionEncoderDecoderModel, given: torch.Tensor, stage: Stage) -> torch.Tensor:
        if stage.objective == "language":  # (B, concepts): words where the patches would be
            return stand_in(model, given)
        return project(model, features(model, given) if stage.train_encoder else given)

    @torch.inference_mode()
    def _features(self, model: VisionEncoderDecoderModel, pixels: torch.Tensor) -> torch.Tensor:
        with self.autocast():
            return features(model, pixels.to(self.device))

    def _tokenizer(self) -> PreTrainedTokenizerFast:
        folder = self.folder / "tokenizer"
        if not folder.exists():
            captions = [text for example in self.examples for text in example.texts]
            captions += [text for group in self.groups for text in group]
            tokenizer = self._new_tokenizer(captions)
            part = folder.with_name("tokenizer.part")
            tokenizer.save_pretrained(part)
            part.replace(folder)
            return tokenizer
        return PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)

    def _new_tokenizer(self, captions: Sequence[str]) -> PreTrainedTokenizerFast:
        if self.base:
            known = load_tokenizer(self.base)
            return extend_tokenizer(known, captions, self.config.min_count) if of_words(known) else known
        if self.teacher:
            return self.teacher.tokenizer()
        if self.config.decoder:
            return decoder_tokenizer(self.config.decoder, self.root)
        return make_tokenizer(captions, self.config.min_count)

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        if not of_words(self.tokenizer):  # its own pieces of words, of the text as it was written
            return [encode(self.tokenizer, self.tokenizer.tokenize(text.strip()), self.config.max_words)
                    for text in texts]
        return [encode(self.tokenizer, ptb_tokens(text), self.config.max_words) for text in texts]


def thinned(patches: torch.Tensor, dropout: float) -> torch.Tensor:
    """(B, P, width) -> (B, Q, width): a random choice of the patches, the same of every picture, so that no description
    comes to hang on one of them (Liu et al. 2023, "PatchDropout", arXiv:2208.07220)."""
    kept = max(1, round((1 - dropout) * patches.shape[1]))
    return patches if kept == patches.shape[1] else patches[:, torch.randperm(patches.shape[1])[:kept]]


def check_stages(config: TrainingConfig) -> None:
    """Raise NarratorError for an objective that the other settings leave no room for."""
    for name in ("encoder", "decoder", "teacher"):
        if config.base and getattr(config, name):
            raise NarratorError("'base' is a whole captioner, with eyes and words of its own: "
                                f"leave '{name}' empty, or 'base'.")
    for stage in config.stages:
        if stage.objective == "distill" and not (config.teacher and stage.train_encoder):
            raise NarratorError(f"Stage '{stage.name}' learns from a teacher: name one as 'teacher', and set "
                                "train_encoder to true in the stage.")
        if config.decoder and stage.objective in ("language", "self_critical", "distill"):
            raise NarratorError(f"Stage '{stage.name}' works on whole words, and the decoder {config.decoder} has "
                                "pieces of words: take the objective caption, or leave 'decoder' empty.")
        if stage.objective not in ("language", "caption", "self_critical", "distill"):
            raise NarratorError(f"Stage '{stage.name}': the recipe encoder_decoder has no objective {stage.objective}. "
                                "It has language, caption, self_critical and distill.")


def read_pictures(root: Path, source: Data, *, strict: bool) -> list[Example]:
    """The source's pictures with their captions, each looked at. NarratorError when captions come without pictures."""
    examples = read_examples(located(source, root), split=source.split, strict=strict, look=True)[:source.limit]
    if any(example.image is None for example in examples):
        raise NarratorError(f"{source.path} holds captions without pictures. List it under 'text', not here.")
    return examples

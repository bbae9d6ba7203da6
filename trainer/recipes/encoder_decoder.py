"""Recipe for captioners of the encoder_decoder family: our own small ones, from patches and words up."""

import copy
import dataclasses
import json
import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast, VisionEncoderDecoderModel

from narrator.families.encoder_decoder import EncoderDecoder, PictureInput
from narrator.families.mobilenet_patches import MobileNetPatches, MobileNetPatchesConfig
from narrator.metrics.tokenize import ptb_tokens
from narrator.records import Example, Inputs, NarratorError, Variant
from trainer.config import Data, Stage, TrainingConfig
from trainer.data import read_examples
from trainer.recipes.captions import Features, Pictures, Words, cache_features, collate
from trainer.recipes.self_critical import Reward, self_critical_loss
from trainer.recipes.teacher import IGNORED, teacher_forced
from trainer.recipes.words import encode, make_tokenizer

COMMON_WORDS = 60  # the most frequent words say nothing about a picture
SHARD_SIZE = "9MB"


class EncoderDecoderRecipe:
    """Builds model and data of each stage, computes the losses, saves the variant."""

    def __init__(self, config: TrainingConfig, root: Path, folder: Path, device: torch.device, *,
                 strict: bool = False) -> None:
        self.config, self.root, self.folder, self.device = config, root, folder, device
        self.examples = [example for source in config.data
                         for example in read_pictures(root, source, strict=strict) * source.repeat]
        self.groups = [list(example.texts) for source in config.text
                       for example in read_examples(root / source.path, split=source.split, strict=strict)]
        self.tokenizer = self._tokenizer()
        self.to_pixels = PictureInput(config.image_size, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
        self.captions = [self._encode(example.texts) for example in self.examples]
        self.reward: Reward | None = None

    collate = staticmethod(collate)

    def prepare(self) -> tuple[VisionEncoderDecoderModel, Callable[..., Any]]:
        """The model before its first step, and the collator."""
        config, tokens = self.config, self.tokenizer
        if config.encoder:
            encoder = MobileNetPatches.from_mobilenet(self.root / config.encoder, config.width)
        else:
            encoder = MobileNetPatches(MobileNetPatchesConfig(hidden_size=config.width, image_size=config.image_size))
        decoder = GPT2LMHeadModel(GPT2Config(
            vocab_size=len(tokens), n_positions=config.max_words + 40, n_embd=config.width, n_layer=config.layers,
            n_head=config.heads, add_cross_attention=True, activation_function="gelu_pytorch_tanh",
            embd_pdrop=config.dropout, resid_pdrop=config.dropout, attn_pdrop=0.0, attn_implementation="eager",
            bos_token_id=tokens.bos_token_id, eos_token_id=tokens.eos_token_id, pad_token_id=tokens.pad_token_id))
        model = VisionEncoderDecoderModel(encoder=encoder, decoder=decoder)
        model.config.decoder_start_token_id = tokens.bos_token_id
        model.config.pad_token_id, model.config.eos_token_id = tokens.pad_token_id, tokens.eos_token_id
        return model, collate

    def size(self, stage: Stage) -> int:
        """Items in one pass over the stage's data."""
        return len(self._learned(stage)[0]) + (len(self.groups) if stage.objective == "language" else 0)

    def load(self, folder: Path) -> VisionEncoderDecoderModel:
        """The model as a stage left it."""
        return VisionEncoderDecoderModel.from_pretrained(folder, local_files_only=True, attn_implementation="eager")

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
                               path, tell)
        return Features(views, [place[example.image] for example in examples], captions)

    def family(self, model: VisionEncoderDecoderModel) -> EncoderDecoder:
        """The model as it will narrate, for evaluations."""
        return EncoderDecoder.around(model, self.tokenizer, self.to_pixels)

    def saved(self, folder: Path, variant: Variant, device: torch.device) -> EncoderDecoder:
        """The variant as the narrator loads it from disk."""
        return EncoderDecoder(dataclasses.replace(variant, source=str(folder)), str(device))

    def forget(self) -> None:
        """Remove what a stage had cached."""
        shutil.rmtree(self.folder / "cache", ignore_errors=True)

    def parameter_groups(self, model: VisionEncoderDecoderModel, stage: Stage) -> list[dict[str, Any]]:
        """AdamW's groups: the trunk at its own rate or frozen; no decay on vectors."""
        trunk = {id(parameter) for parameter in model.encoder.trunk.parameters()}
        groups: dict[tuple[float, float], list[nn.Parameter]] = {}
        for parameter in model.parameters():
            in_trunk = id(parameter) in trunk
            parameter.requires_grad_(stage.train_encoder or not in_trunk)
            if parameter.requires_grad:
                rate = stage.encoder_learning_rate if in_trunk else stage.learning_rate
                decay = stage.weight_decay if parameter.dim() > 1 else 0.0
                groups.setdefault((rate, decay), []).append(parameter)
        return [{"params": group, "lr": rate, "weight_decay": decay} for (rate, decay), group in groups.items()]

    def loss(self, model: VisionEncoderDecoderModel, batch: dict[str, torch.Tensor], stage: Stage) -> torch.Tensor:
        """The stage's objective on one collated batch, a scalar."""
        with self.autocast():
            patches = self._patches(model, batch["input"], stage)  # (B, P, width)
            if stage.objective == "self_critical":
                assert self.reward is not None
                return self_critical_loss(model.decoder, patches, batch["index"].tolist(), self.reward,
                                          samples=stage.samples, longest=self.config.max_words)
            return self._cross_entropy(model.decoder, patches, batch, stage.label_smoothing)

    def save(self, model: VisionEncoderDecoderModel, folder: Path) -> Variant:
        """Write weights in bf16, tokenizer and preprocessing to `folder`; whoever calls writes the manifest, last."""
        folder.mkdir(parents=True, exist_ok=True)
        small = copy.deepcopy(model).to(torch.bfloat16)
        small.save_pretrained(folder, max_shard_size=SHARD_SIZE)
        self.tokenizer.save_pretrained(folder)
        preprocessing = json.dumps(self.to_pixels.to_dict(), indent=2) + "\n"
        (folder / "preprocessor_config.json").write_text(preprocessing, encoding="utf-8")
        config = self.config
        return Variant(id=config.name, title=config.title or config.name, family="encoder_decoder", source=".",
                       inputs=Inputs(image=True, text=False), dtype="bfloat16", license=config.license,
                       parameters=sum(parameter.numel() for parameter in model.parameters()),
                       provenance=config.provenance)

    def autocast(self) -> AbstractContextManager:
        """bf16 where it is asked for, or where it is quick."""
        wanted = {"bf16": True, "fp32": False}.get(self.config.precision)
        if wanted is None:
            wanted = torch.cuda.is_bf16_supported() if self.device.type == "cuda" else _quick_bf16()
        return torch.autocast(self.device.type, torch.bfloat16, enabled=wanted)

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
            patches: torch.Tensor = model.encoder.normalisation(model.decoder.transformer.wte(given))
        elif stage.train_encoder:
            patches = model.encoder(pixel_values=given).last_hidden_state
        else:
            patches = model.encoder.project(given)
        return patches

    @torch.inference_mode()
    def _features(self, model: VisionEncoderDecoderModel, pixels: torch.Tensor) -> torch.Tensor:
        with self.autocast():
            features: torch.Tensor = model.encoder.features(pixels.to(self.device))
        return features

    def _tokenizer(self) -> PreTrainedTokenizerFast:
        folder = self.folder / "tokenizer"
        if not folder.exists():
            captions = [text for example in self.examples for text in example.texts]
            captions += [text for group in self.groups for text in group]
            tokenizer = make_tokenizer(captions, self.config.min_count)
            part = folder.with_name("tokenizer.part")
            tokenizer.save_pretrained(part)
            part.replace(folder)
            return tokenizer
        return PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        return [encode(self.tokenizer, ptb_tokens(text), self.config.max_words) for text in texts]


def read_pictures(root: Path, source: Data, *, strict: bool) -> list[Example]:
    """The source's pictures with their captions, each looked at. NarratorError when captions come without pictures."""
    examples = read_examples(root / source.path, split=source.split, strict=strict, look=True)
    if any(example.image is None for example in examples):
        raise NarratorError(f"{source.path} holds captions without pictures. List it under 'text', not here.")
    return examples


def _quick_bf16() -> bool:
    """Whether the processor multiplies bf16 matrices in hardware; without, autocast is slower than fp32."""
    return bool(torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
                and torch.cpu._is_avx512_bf16_supported())

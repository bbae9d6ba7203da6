"""Recipe for the image_gpt family: a GPT from scratch over picture tokens, with the class at the tail."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import Dataset
from transformers import GPT2Config, GPT2LMHeadModel

from narrator.families.image_gpt import ImageGpt
from narrator.families.picture_tokens import EOS, PAD, START, Codebook, Vocabulary, check_room, to_pixels
from narrator.held_out import HeldOut
from narrator.metrics import classification
from narrator.pictures import open_picture
from narrator.readers.digits import Digit, read_digits
from narrator.records import Example, Inputs, NarratorError, Score, Variant
from trainer.config import Data, Stage, TrainingConfig
from trainer.recipes import Recipe, Scores, Sets, Tell
from trainer.recipes.codebook import begin_embeddings, fit_codebook
from trainer.recipes.optimising import adamw_groups
from trainer.recipes.picture_losses import losses
from trainer.recipes.saving import save_weights

PLAIN = 0.2  # share of the training pictures that are shown as they are


class ImageGptRecipe(Recipe):
    """Builds codebook, model and sequences, computes the losses, judges the model and saves the variant."""

    def __init__(self, config: TrainingConfig, root: Path, folder: Path, device: torch.device, *,
                 strict: bool = False) -> None:
        self.config, self.root, self.folder, self.device = config, root, folder, device
        sources = [(read_digits(root / source.path, source.split), source.repeat) for source in config.data]
        self.repeats = [repeat for examples, repeat in sources for _ in examples]
        examples = [example for found, _ in sources for example in found]
        self.pixels = pixels_of(examples, config.image_size)  # (N, S, S) uint8
        self.labels = labels_of(examples)
        self.codebook = self._codebook()
        self.vocabulary = Vocabulary(clusters=config.clusters)
        check_room(self._positions(), self.codebook.count)
        self.confusions: dict[str, np.ndarray] = {}  # data set -> counts of the last evaluation

    def prepare(self) -> tuple[GPT2LMHeadModel, Callable[..., Any]]:
        """The model before its first step, and the collator."""
        config = self.config
        model = GPT2LMHeadModel(GPT2Config(
            vocab_size=self.vocabulary.size, n_positions=self._positions(), n_embd=config.width, n_layer=config.layers,
            n_head=config.heads, activation_function="gelu_pytorch_tanh", embd_pdrop=config.dropout,
            resid_pdrop=config.dropout, attn_pdrop=0.0, attn_implementation=self._attention(), bos_token_id=START,
            eos_token_id=EOS, pad_token_id=PAD))
        begin_embeddings(model, self.codebook)
        return model, self.collate

    def size(self, stage: Stage) -> int:
        """Pictures in one pass over the data."""
        return sum(self.repeats) if stage.repeat else len(self.repeats)

    def load(self, folder: Path) -> GPT2LMHeadModel:
        """The model as a stage left it."""
        return GPT2LMHeadModel.from_pretrained(folder, local_files_only=True, attn_implementation=self._attention())

    def dataset(self, stage: Stage, model: GPT2LMHeadModel, tell: Tell) -> Dataset:
        """What the stage learns from."""
        rows = [row for row, repeat in enumerate(self.repeats) for _ in range(repeat if stage.repeat else 1)]
        return Rows(self.pixels, self.labels, rows)

    def collate(self, items: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> dict[str, torch.Tensor]:
        """Pictures, moved and turned at random -> input_ids (B, n + 5), a share of them with the class first."""
        config = self.config
        pixels = torch.stack([item[0] for item in items]).float() / 255
        labels = torch.stack([item[1] for item in items])
        tokens = self.codebook.encode(augment(pixels, shift=config.shift, turn=config.turn, zoom=config.zoom))
        first = torch.rand(len(items)) < config.class_first_share
        ids = torch.where(first[:, None], self.vocabulary.class_first(tokens, labels),
                          self.vocabulary.sequence(tokens, labels))
        return {"input_ids": ids}

    def parameter_groups(self, model: GPT2LMHeadModel, stage: Stage) -> list[dict[str, Any]]:
        """AdamW's groups: no decay on vectors."""
        return adamw_groups(model, stage)

    def loss(self, model: GPT2LMHeadModel, batch: dict[str, torch.Tensor], stage: Stage) -> torch.Tensor:
        """lm_weight x picture loss + class_weight x class loss, a scalar."""
        with self.autocast():
            picture, told = losses(model, self.vocabulary, batch["input_ids"], smoothing=stage.label_smoothing)
        return self.config.lm_weight * picture + self.config.class_weight * told

    def read_dev(self, source: Data, *, strict: bool) -> list[Example]:
        """Held-out pictures with their classes."""
        return read_digits(self.root / source.path, source.split)

    def held_out(self, examples: Sequence[Example]) -> list[HeldOut]:
        """Pictures whose classes are to be told."""
        return [HeldOut(image=Image.fromarray(example.pixels) if isinstance(example, Digit) else example.image,
                        texts=example.texts, label=example.label) for example in examples]

    def evaluate(self, model: GPT2LMHeadModel | ImageGpt, dev: Sets, *, beams: int, intervals: bool,
                 tell: Tell) -> Scores:
        """`told_scores` of each set (narrator.metrics.classification). Beams have no meaning here."""
        family = self.speaker(model)
        was_training = family.model.training
        family.model.eval()
        try:
            return {name: self._scores(family, name, examples, intervals, tell) for name, examples in dev.items()}
        finally:
            family.model.train(was_training)

    def speaker(self, model: GPT2LMHeadModel | ImageGpt) -> ImageGpt:
        """The model as a family."""
        return model if isinstance(model, ImageGpt) else ImageGpt.around(model, self.codebook)

    def overall(self, scores: Scores, dev: Sets) -> float:
        """Accuracy, the sets weighted by their pictures."""
        total = sum(len(examples) for examples in dev.values())
        return sum(scores[name]["accuracy"].value * len(examples) for name, examples in dev.items()) / total

    def report(self, folder: Path) -> str:
        """What the last evaluation confused: writes confusion-<n>.png to `folder`, returns Markdown for the card."""
        parts = []
        names = [str(number) for number in range(self.vocabulary.classes)]
        for number, (data, counts) in enumerate(self.confusions.items(), start=1):
            classification.confusion_picture(counts, names).save(folder / f"confusion-{number}.png")
            parts.append(f"### What is taken for what: {data}\n\n![Confusion matrix](confusion-{number}.png)\n\n"
                         f"{classification.confusion_table(counts, names)}")
        return "\n".join(parts)

    def save(self, model: GPT2LMHeadModel, folder: Path) -> Variant:
        """Write weights in bf16 and the codebook to `folder`; whoever calls writes the manifest, last."""
        folder.mkdir(parents=True, exist_ok=True)
        total = save_weights(model, folder)
        self.codebook.save(folder)
        config = self.config
        return Variant(id=config.name, title=config.title or config.name, family="image_gpt", source=".",
                       inputs=Inputs(image=True, text=True), default_prompt="classify", dtype="bfloat16",
                       license=config.license, parameters=total, provenance=config.provenance)

    def saved(self, folder: Path, variant: Variant, device: torch.device) -> ImageGpt:
        """The variant as the narrator loads it from disk."""
        return ImageGpt(dataclasses.replace(variant, source=str(folder)), str(device))

    def _positions(self) -> int:
        return self.config.positions or self.codebook.count + 5

    def _attention(self) -> str:
        """On a processor the gradient of torch's fused attention takes longer than that of plain matrices."""
        return "eager" if self.device.type == "cpu" else "sdpa"

    def _codebook(self) -> Codebook:
        """Fitted once a run: a resumed one must read pictures as before."""
        home = self.folder / "codebook"
        if not home.exists():
            config, part = self.config, home.with_name("codebook.part")
            part.mkdir(parents=True, exist_ok=True)
            fit_codebook(self.pixels.float() / 255, patch=config.patch, clusters=config.clusters,
                         shares=(config.gradient_share, config.position_share), seed=config.seed).save(part)
            part.replace(home)
        return Codebook.load(home)

    def _scores(self, family: ImageGpt, name: str, examples: Sequence[Example], intervals: bool,
                tell: Tell) -> dict[str, Score]:
        told = family.judge(((open_picture(row.image), row.label) for row in self.held_out(examples)
                             if row.image is not None and row.label is not None), tell)  # all have both
        self.confusions[name] = classification.confusion(told.labels, told.chances.argmax(1), family.vocabulary.classes)
        return classification.told_scores(told, intervals=intervals)


class Rows(Dataset):
    """(pixels (S, S) uint8, label) of the rows of a training set."""

    def __init__(self, pixels: torch.Tensor, labels: torch.Tensor, rows: Sequence[int]) -> None:
        self.pixels, self.labels, self.rows = pixels, labels, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.pixels[self.rows[index]], self.labels[self.rows[index]]


def augment(pixels: torch.Tensor, *, shift: float, turn: float, zoom: float) -> torch.Tensor:
    """(B, S, S), each moved by up to `shift` pixels, turned by up to `turn` degrees, enlarged or reduced by up to the
    share `zoom`; a fifth of them left as they are. What comes in from outside is black."""
    count = len(pixels)
    moved = (torch.rand(count) >= PLAIN).float()

    def between(limit: float) -> torch.Tensor:
        return (torch.rand(count) * 2 - 1) * limit * moved

    angle, size = between(math.radians(turn)), 1 + between(zoom)
    across, down = (between(2 * shift / pixels.shape[-1]) for _ in range(2))  # half the side is 1
    cosine, sine = angle.cos() / size, angle.sin() / size
    matrices = torch.stack([torch.stack([cosine, sine, across], 1), torch.stack([-sine, cosine, down], 1)], 1)
    grid = nn.functional.affine_grid(matrices.to(pixels), [count, 1, *pixels.shape[1:]], align_corners=False)
    return nn.functional.grid_sample(pixels[:, None], grid, align_corners=False)[:, 0]


def pixels_of(examples: Sequence[Example], size: int) -> torch.Tensor:
    """(N, size, size) uint8 of examples; NarratorError for pictures of another size in an array."""
    arrays = []
    for example in examples:
        if isinstance(example, Digit):
            arrays.append(torch.from_numpy(np.array(example.pixels)))
        elif example.image is not None:
            arrays.append((to_pixels(open_picture(example.image), size) * 255).round().byte())
    found = {tuple(array.shape) for array in arrays}
    if found != {(size, size)}:
        side = sorted(found - {(size, size)})[0][0]
        raise NarratorError(f"The data hold pictures of {side} pixels: set 'image_size' to {side}, not {size}.")
    return torch.stack(arrays)


def labels_of(examples: Sequence[Example]) -> torch.Tensor:
    """(N,) the classes."""
    return torch.tensor([example.label for example in examples])

"""The table of recipes: what each makes, and how it is judged. Importing it imports none of them, and no torch."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from narrator.held_out import HeldOut
from narrator.records import Example, Score, Variant
from trainer.config import Data, Stage, TrainingConfig
from trainer.questions import KINDS

if TYPE_CHECKING:
    import torch

Scores = dict[str, dict[str, Score]]  # data set -> metric -> score
Sets = Mapping[str, Sequence[Example]]
Tell = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Kind:
    """One recipe, as the loop and the model card need to know it before it is imported."""

    where: str  # module:class
    task: str  # the Hub's name of what the model does
    shown: Mapping[str, str]  # metrics of cards and progress -> their titles, the one that decides first
    best_by: str  # what chooses the best weights of a stage, in words
    how: str  # what the scores are, for the card
    beams: bool = True  # whether the scores depend on them


_CAPTIONS = {"cider_d": "CIDEr-D", "bleu_4": "BLEU-4", "rouge_l": "ROUGE-L"}
RECIPES: dict[str, Kind] = {
    "encoder_decoder": Kind(
        where="trainer.recipes.encoder_decoder:EncoderDecoderRecipe", task="image-to-text", shown=_CAPTIONS,
        best_by="greedy CIDEr-D",
        how="Value (95 % bootstrap interval over the pictures), {beams} beams; narrator/metrics/scores.py gives the "
            "formulas."),
    "causal_lm": Kind(
        where="trainer.recipes.causal_lm:CausalLMRecipe", task="text-generation",
        shown={"loss_answer": "loss of the answer", "loss_everything": "loss, everything scored",
               "perplexity": "perplexity", "cider_d": "CIDEr-D", "distinct_1": "distinct-1", "distinct_2": "distinct-2",
               "adjective_density": "adjectives a word"},
        best_by="the loss of the answers",
        how="Value (95 % bootstrap interval over the scenes), {beams} beams, prompts left out; narrator/metrics "
            "(prompts.py, text.py) gives the formulas."),
    "projector_lm": Kind(
        where="trainer.recipes.projector_lm:ProjectorRecipe", task="visual-question-answering",
        shown={"accuracy": "accuracy", "cider_d": "CIDEr-D",
               **{f"{score}_{kind}": f"{kind}{always}" for kind in KINDS
                  for score, always in (("accuracy", ""), ("majority", ", always the commonest"))}},
        best_by="CIDEr-D in the stage of captions, accuracy in that of questions",
        how="Share of the questions answered as the captions do, by kind (95 % Wilson interval), beside what the "
            "commonest answer would get; captions with {beams} beams. docs/questions.md has the rules, "
            "narrator/metrics/questions.py the formulas."),
    "image_gpt": Kind(
        where="trainer.recipes.image_gpt:ImageGptRecipe", task="image-classification",
        shown={"accuracy": "accuracy", "top_3_accuracy": "top-3 accuracy", "class_loss": "class loss",
               "lm_loss": "loss a picture token", "shuffled_accuracy": "accuracy, tokens shuffled"},
        best_by="accuracy",
        how="Value (95 % interval: Wilson for shares, bootstrap for losses); narrator/metrics/classification.py gives "
            "the formulas.", beams=False),
    "hub_vlm": Kind(
        where="trainer.recipes.hub_vlm:HubVLMRecipe", task="image-text-to-text", shown=_CAPTIONS,
        best_by="greedy CIDEr-D",
        how="Value (95 % bootstrap interval over the pictures), {beams} beams; narrator/metrics/scores.py gives the "
            "formulas."),
}


def recipe_class(name: str) -> type[Any]:
    """The class of a recipe of the table, imported now: `(config, data root, run's folder, device, strict=...)`."""
    module, _, attribute = RECIPES[name].where.partition(":")
    found: type[Any] = getattr(importlib.import_module(module), attribute)
    return found


class Recipe(Protocol):
    """Builds model and data of each stage, computes the losses, judges the model and saves the variant."""

    config: TrainingConfig
    device: torch.device
    collate: Callable[..., Any]
    judged_by: str = ""  # the score that `overall` goes by; empty for the first of the table's `shown`

    def prepare(self) -> tuple[Any, Callable[..., Any]]:
        """The model before its first step, and the collator."""
        ...

    def size(self, stage: Stage) -> int:
        """Items in one pass over the stage's data."""
        ...

    def load(self, folder: Path) -> Any:
        """The model as a stage left it (`model.save_pretrained`)."""
        ...

    def kept(self, model: Any, name: str) -> bool:
        """Whether a checkpoint holds the weight of this name; `load` has the others from elsewhere."""
        return True

    def dataset(self, stage: Stage, model: Any, tell: Tell) -> Any:
        """What the stage learns from."""
        ...

    def go_on(self, step: int) -> None:
        """What `dataset` gave is drawn from as it was after this step of the run: the stage begins or goes on there."""
        return None

    def spare(self, model: Any) -> None:
        """Let the model recompute activations where the settings say so, or its weights are quantised to save memory;
        after `dataset`, which may add adapters."""
        if self.config.recompute or self.config.quantize != "none":
            model.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})

    def parameter_groups(self, model: Any, stage: Stage) -> list[dict[str, Any]]:
        """AdamW's groups; what is not to learn in this stage is frozen here."""
        ...

    def loss(self, model: Any, batch: dict[str, Any], stage: Stage) -> torch.Tensor:
        """The stage's objective on one collated batch, a scalar."""
        ...

    def autocast(self) -> AbstractContextManager:
        """The precision to compute in: bf16 where it is asked for, or where it is quick."""
        from trainer.recipes.precision import autocast  # torch

        return autocast(self.config.precision, self.device)

    def read_dev(self, source: Data, *, strict: bool) -> list[Example]:
        """Held-out examples of one data set."""
        ...

    def read_more(self, *, strict: bool) -> None:
        """Read what `read_dev` and `held_out` need to know of the data; a recipe that learns has read it already."""
        return None

    def held_out(self, examples: Sequence[Example]) -> list[HeldOut]:
        """What `evaluate` asks about the examples of a dev set, and what it scores the answers against."""
        return [HeldOut(image=example.image, prompt=example.prompt, texts=example.texts) for example in examples]

    def evaluate(self, model: Any, dev: Sets, *, beams: int, intervals: bool, tell: Tell) -> Scores:
        """The model as it stands, or what `saved` gave, on the dev sets; its training mode is put back."""
        ...

    def losses(self, model: Any, dev: Sets, *, tell: Tell) -> Scores:
        """More about the dev sets, for base and variant: how likely what people wrote is to the model. As `evaluate`
        takes it; {} where its scores hold that already."""
        return {}

    def overall(self, scores: Scores, dev: Sets) -> float:
        """One figure for early stopping and best-kept, higher is better."""
        ...

    def speaker(self, model: Any) -> Any:
        """The model as it stands, as a family of the narrator; what `saved` gave is one already."""
        ...

    def asked(self, examples: Sequence[Example]) -> list[Example]:
        """Held-out examples as they are shown at every evaluation: with what is asked, and the answer as text."""
        return list(examples)

    def weight(self, batch: dict[str, Any], stage: Stage) -> float:
        """What the mean of `loss` is taken over: labels that count, else rows. Where a batch is dealt out to several
        processes, their losses weigh by it."""
        if "labels" in batch:
            return float((batch["labels"] >= 0).sum())
        return float(len(next(iter(batch.values()))))

    def save(self, model: Any, folder: Path) -> Variant:
        """Write weights and what belongs to them; whoever calls writes the manifest, last."""
        ...

    def saved(self, folder: Path, variant: Variant, device: torch.device) -> Any:
        """The variant as the narrator loads it from disk."""
        ...

    def finish(self, model: Any) -> Any:
        """The model as its stage hands it on."""
        return model

    def report(self, folder: Path) -> str:
        """More for the card about the last evaluation, in Markdown; its pictures are written to `folder`."""
        return ""

    def forget(self) -> None:
        """Remove what a stage had cached."""
        return None

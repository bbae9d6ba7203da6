"""Recipe for language models that read pictures: a frozen picture encoder, a projector, a language model.

Two stages, as in LLaVA (Liu et al. 2023, arXiv:2304.08485): `caption` draws the projector alone to captions; `answer`
with `train_language` trains projector and language model (LoRA where `lora` is set) on questions and answers.
"""

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from safetensors.torch import load_file

from narrator.families.causal_lm import load_tokenizer
from narrator.families.encoder_decoder import PictureInput
from narrator.families.loading import load_whole
from narrator.families.projector_lm import DESCRIBE, ProjectorFamily
from narrator.families.projector_model import ProjectorLM, joined
from narrator.held_out import HeldOut
from narrator.readers.gathering import read_examples
from narrator.records import Example, Inputs, NarratorError, Variant
from trainer.config import Data, Stage, TrainingConfig
from trainer.data import located
from trainer.questions import Companions, companions, questions
from trainer.recipes import Recipe, Scores, Sets, Tell
from trainer.recipes.answered import answered_scores, asked_rows
from trainer.recipes.asked import Asking, Dialogues, collate
from trainer.recipes.bases import find_base
from trainer.recipes.branches import branched
from trainer.recipes.captions import cache_features
from trainer.recipes.encoders import vision_part
from trainer.recipes.lora import attach, load_base
from trainer.recipes.optimising import adamw_groups, answer_loss
from trainer.recipes.saving import check_whole, save_weights, stored


class ProjectorRecipe(Recipe):
    """Builds model and data of each stage, computes the losses, judges the answers, saves the variant."""

    collate = staticmethod(collate)

    def __init__(self, config: TrainingConfig, root: Path, folder: Path, device: torch.device, *,
                 strict: bool = False) -> None:
        """Read the data. Raises NarratorError for settings that do not go together."""
        self.config, self.root, self.folder, self.device = config, root, folder, device
        _check(config)
        self.base, self.eyes = find_base(config.base, root), find_base(config.encoder, root)
        self.tokenizer = load_tokenizer(self.base)
        self.to_pixels = _picture_input(self.eyes, config)
        self.read_more(strict=strict)
        self.judged_by = "accuracy"

    def prepare(self) -> tuple[ProjectorLM, Any]:
        """The model before its first step, and the collator."""
        return self._joined(self.config.quantize), collate

    def _joined(self, quantize: str) -> ProjectorLM:
        """Encoder and language model of the bases, and a projector that has learned nothing."""
        language = load_base(self.base, self.device, frozen=True, quantize=quantize)
        model = joined(vision_part(self.eyes), language, self.config.projector)
        model.begin_projector(language.get_input_embeddings().weight)
        return model

    def size(self, stage: Stage) -> int:
        """Pictures in one pass over the stage's data."""
        return len(self._asking(stage).rows)

    def load(self, folder: Path) -> ProjectorLM:
        """The model as a stage left it; its adapters are merged only where the stage is over, and a base that is held
        quantised is not in its checkpoints."""
        names = [name for path in folder.glob("*.safetensors") for name in stored(path)]
        adapted = any(".lora_" in name for name in names)
        based = any(name.startswith("language.") and ".lora_" not in name for name in names)
        model: ProjectorLM
        if based and not adapted:
            model = load_whole(ProjectorLM, folder)
            return model
        model = self._joined("none" if based else self.config.quantize)
        if adapted and self.config.lora is not None:
            model.language = attach(model.language, self.config.lora)
        state = {name: tensor for path in folder.glob("*.safetensors") for name, tensor in load_file(path).items()}
        check_whole(model, model.load_state_dict(state, strict=False), self.kept)
        return model

    def kept(self, model: ProjectorLM, name: str) -> bool:
        """Whether a checkpoint holds a weight: those of a quantised base, which stay what they are, it does not."""
        return not (name.startswith("language.") and ".lora_" not in name and _is_quantised(model))

    def dataset(self, stage: Stage, model: ProjectorLM, tell: Tell) -> Dialogues:
        """What the stage learns from: patches of the frozen encoder, computed once, and what is asked about them."""
        self.judged_by = "cider_d" if stage.objective == "caption" else "accuracy"
        if stage.train_language and self.config.lora is not None and not isinstance(model.language, PeftModel):
            model.language = attach(model.language, self.config.lora)
        asking = self._asking(stage)
        path = self.folder / "cache" / f"{stage.name}.npy"
        path.parent.mkdir(exist_ok=True)
        unique = list({example.image: example for example in self.examples}.values())
        views = cache_features(unique, self.to_pixels, lambda pixels: self._patches(model, pixels), path, tell)
        return Dialogues(views, {example.image: row for row, example in enumerate(unique)}, asking)

    def parameter_groups(self, model: ProjectorLM, stage: Stage) -> list[dict[str, Any]]:
        """AdamW's groups: projector and separator at `learning_rate`, the language model at
        `language_learning_rate`."""
        model.vision.requires_grad_(False)
        adapted = isinstance(model.language, PeftModel)
        for name, parameter in model.language.named_parameters():
            parameter.requires_grad_(stage.train_language and (not adapted or "lora_" in name))
        return adamw_groups(model, stage, lambda name: stage.language_learning_rate if name.startswith("language.")
                            else stage.learning_rate)

    def loss(self, model: ProjectorLM, batch: dict[str, Any], stage: Stage) -> torch.Tensor:
        """Mean over the tokens of the answers and their ends, a scalar."""
        texts: list[list[torch.Tensor]] = [[] for _ in batch["patches"]]
        starts: list[list[int]] = [[] for _ in batch["patches"]]
        for picture, ids, start in zip(batch["picture"], batch["ids"], batch["starts"], strict=True):
            texts[picture].append(ids)
            starts[picture].append(start)
        with self.autocast():
            rows = branched(model, batch["patches"], texts, starts)
            kept = rows.wanted.shape[1]  # over the picture no token is foretold
            logits = model(inputs_embeds=rows.embeddings, attention_mask=rows.mask, position_ids=rows.positions,
                           use_cache=False, logits_to_keep=kept).logits[:, -kept:]
        return answer_loss(logits, rows.wanted, stage.label_smoothing)

    def read_dev(self, source: Data, *, strict: bool) -> list[Example]:
        """Pictures with captions, or with questions and answers of their own; talk without a picture is left out."""
        found = read_examples(located(source, self.root), split=source.split, strict=strict, look=True)[:source.limit]
        found = [example for example in found if example.image is not None]
        if not found:
            raise NarratorError(f"{source.path} holds texts without pictures. Name data with pictures.")
        return found

    def read_more(self, *, strict: bool) -> None:
        """Read the training data: what its pictures show together is what questions that are answered "no" ask for."""
        self.examples = [example for source in self.config.data for example in self.read_dev(source, strict=strict)]
        self.companions: Companions = companions([example for example in self.examples if not example.prompt])

    def held_out(self, examples: Sequence[Example]) -> list[HeldOut]:
        """Questions by kind, made from the captions or the data's own, and the captions themselves."""
        return asked_rows(examples, self.companions)

    def evaluate(self, model: ProjectorLM | ProjectorFamily, dev: Sets, *, beams: int, intervals: bool,
                 tell: Tell) -> Scores:
        """Of each set: accuracy by kind of question beside that of the answer given most often, and caption scores."""
        family = self.speaker(model)
        was_training = family.model.training
        family.model.eval()
        try:
            return {name: answered_scores(family, self.held_out(examples), beams=beams, intervals=intervals, tell=tell)
                    for name, examples in dev.items()}
        finally:
            family.model.train(was_training)

    def speaker(self, model: ProjectorLM | ProjectorFamily) -> ProjectorFamily:
        """The model as a family."""
        return model if isinstance(model, ProjectorFamily) else \
            ProjectorFamily.around(model, self.tokenizer, self.to_pixels)

    def asked(self, examples: Sequence[Example]) -> list[Example]:
        """Every second one with a question that its captions answer, the others to be described."""
        shown = []
        for place, example in enumerate(examples):
            found = questions(example, self.companions) if place % 2 and not example.prompt else []
            if found:
                one = found[place % len(found)]
                example = dataclasses.replace(example, prompt=one.prompt, texts=(one.answer,))
            shown.append(example)
        return shown

    def weight(self, batch: dict[str, Any], stage: Stage) -> float:
        """Tokens of the answers and their ends."""
        return float(sum(len(ids) - start for ids, start in zip(batch["ids"], batch["starts"], strict=True)))

    def overall(self, scores: Scores, dev: Sets) -> float:
        """CIDEr-D while captions are learned, mean accuracy of the kinds of question after; weighted by pictures, over
        the sets that have it. Where none has, the other of the two counts."""
        if not any(self.judged_by in found for found in scores.values()):
            self.judged_by = "accuracy" if self.judged_by == "cider_d" else "cider_d"
        counts = {name: len(rows) for name, rows in dev.items() if self.judged_by in scores[name]}
        return sum(scores[name][self.judged_by].value * count for name, count in counts.items()) / sum(counts.values())

    def finish(self, model: ProjectorLM) -> ProjectorLM:
        """Adapters become part of the weights at the end of their stage; of a quantised base, of its whole weights."""
        if isinstance(model.language, PeftModel):
            if _is_quantised(model):
                assert self.config.lora is not None
                whole = attach(load_base(self.base, self.device, frozen=True), self.config.lora)
                whole.load_state_dict({name: tensor for name, tensor in model.language.state_dict().items()
                                       if "lora_" in name}, strict=False)
                model.language = whole
            model.language = model.language.merge_and_unload()
        return model

    def save(self, model: ProjectorLM, folder: Path) -> Variant:
        """Write weights in bf16, tokenizer and preprocessing; whoever calls writes the manifest, last."""
        folder.mkdir(parents=True, exist_ok=True)
        if _is_quantised(model):  # only the projector has learned
            model.language = load_base(self.base, self.device, frozen=True)
        config, total = self.config, save_weights(model, folder)
        self.tokenizer.save_pretrained(folder)
        self.to_pixels.save(folder)
        return Variant(id=config.name, title=config.title or config.name, family="projector_lm", source=".",
                       inputs=Inputs(image=True, text=True), several=True, default_prompt=DESCRIBE, dtype="bfloat16",
                       license=config.license, parameters=total, provenance=config.provenance)

    def saved(self, folder: Path, variant: Variant, device: torch.device) -> ProjectorFamily:
        """The variant as the narrator loads it from disk."""
        return ProjectorFamily(dataclasses.replace(variant, source=str(folder)), str(device))

    def forget(self) -> None:
        """Remove what a stage had cached."""
        shutil.rmtree(self.folder / "cache", ignore_errors=True)

    def _asking(self, stage: Stage) -> Asking:
        return Asking(self.examples, self.tokenizer, stage.objective, self.config.max_tokens, self.companions)

    @torch.inference_mode()
    def _patches(self, model: ProjectorLM, pixels: torch.Tensor) -> torch.Tensor:
        with self.autocast():
            return model.patches(pixels.to(self.device))


def _check(config: TrainingConfig) -> None:
    for name in ("base", "encoder"):
        if not getattr(config, name):
            raise NarratorError(f"The recipe projector_lm joins two trained models: name the {name} as '{name}'.")
    for stage in config.stages:
        if stage.objective not in ("caption", "answer"):
            raise NarratorError(f"The stage '{stage.name}' has the objective '{stage.objective}'; projector_lm knows "
                                "caption and answer.")
        if stage.train_language and config.quantize != "none" and config.lora is None:
            raise NarratorError("Quantised weights cannot learn: set 'lora', or 'quantize: none'.")


def _is_quantised(model: ProjectorLM) -> bool:
    return bool(getattr(model.language, "is_quantized", False))


def _picture_input(folder: Path, config: TrainingConfig) -> PictureInput:
    """The encoder's own size and scaling where its folder says them."""
    if (folder / "preprocessor_config.json").is_file():
        return PictureInput.load(folder)
    return PictureInput(config.image_size, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))

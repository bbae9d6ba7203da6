"""Recipe for vision-language models of a hub (BLIP, GIT, SmolVLM, Qwen-VL, LLaVA ...): adapters on a frozen base, or
all its weights, from pictures with captions or with questions and answers.

`caption` learns the descriptions alone; `answer` also what else the data asks about the pictures. Each picture is read
once a pass, with one of its texts at random.
"""

import dataclasses
import inspect
import itertools
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model, prepare_model_for_kbit_training
from safetensors import SafetensorError
from torch import nn
from transformers import (
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
    AutoConfig,
    AutoModelForImageTextToText,
)

from narrator.families.causal_lm import ADAPTER, check_quantised, padding, quantisation
from narrator.families.hub_vlm import HubVLM, load_processor
from narrator.families.loading import load_whole
from narrator.readers.gathering import read_examples
from narrator.records import Example, Inputs, NarratorError, Variant
from narrator.settings import GenerationSettings
from trainer.config import Data, Lora, Stage, TrainingConfig
from trainer.data import located
from trainer.evaluation import evaluate, overall
from trainer.recipes import Recipe, Scores, Sets, Tell
from trainer.recipes.bases import base_source, find_base
from trainer.recipes.lora import BITS, load_adapter, save_adapter, trainable
from trainer.recipes.optimising import adamw_groups, answer_loss
from trainer.recipes.saving import save_weights
from trainer.recipes.shown import Shown, collate
from trainer.recipes.teacher import IGNORED

TOGETHER = 8  # pictures that are described at once: large models read a thousand tokens of each
EYES = re.compile(r"(^|\.)(vision_tower|vision_model|vision_encoder|visual|image_tower|image_encoder)\.")


class HubVLMRecipe(Recipe):
    """Builds model and data of each stage, computes the losses, judges the answers, saves the variant."""

    def __init__(self, config: TrainingConfig, root: Path, folder: Path, device: torch.device, *,
                 strict: bool = False) -> None:
        """Read the data. Raises NarratorError for settings that do not go together and for a base of another kind."""
        self.config, self.root, self.folder, self.device = config, root, folder, device
        _check(config)
        self.base = find_base(config.base, root)
        self.processor = _processor(self.base)
        self.variant = Variant(id=config.name, title=config.title or config.name, family="hub_vlm",
                               source=str(self.base), inputs=Inputs(image=True, text=True))
        self.learned = [(source, self.read_dev(source, strict=strict)) for source in config.data]
        for stage in config.stages:
            if not self._rows(stage):
                raise NarratorError(f"The stage '{stage.name}' has nothing to learn from: the data holds questions "
                                    "alone. Set its objective to answer.")

    def prepare(self) -> tuple[Any, Callable[..., Any]]:
        """The model before its first step, and the collator."""
        model = self._start()
        if self.config.lora is not None:
            model = attach(model, self.config.lora, eyes=any(stage.train_encoder for stage in self.config.stages))
        learning, total = trainable(model)
        print(f"At most {learning:,} of {total:,} parameters learn ({100 * learning / total:.2f} %).", file=sys.stderr)
        return model, self.collate

    def collate(self, items: Sequence[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
        """Items of `Shown` as a batch."""
        return collate(items, padding(self.processor.tokenizer))

    def size(self, stage: Stage) -> int:
        """Pictures (with a question each, where there are questions) in one pass over the stage's data."""
        return len(self._rows(stage))

    def load(self, folder: Path) -> Any:
        """The model as a stage left it."""
        if (folder / ADAPTER).is_file():
            return load_adapter(self._start(), folder)
        return load_whole(AutoModelForImageTextToText, folder)

    def dataset(self, stage: Stage, model: Any, tell: Tell) -> Shown:
        """What the stage learns from. It prepares pictures without touching the weights, in other processes too."""
        whole = whole_of(model)
        described = SimpleNamespace(config=whole.config, generation_config=whole.generation_config,
                                    forward=whole.forward, device=torch.device("cpu"), dtype=torch.float32)
        reader = HubVLM.around(described, self.processor, self.variant)
        return Shown(self._rows(stage), reader, self.config.max_tokens)

    def parameter_groups(self, model: Any, stage: Stage) -> list[dict[str, Any]]:
        """AdamW's groups: the picture encoder at `encoder_learning_rate` where `train_encoder` says so, the rest at
        `learning_rate`; of a model with adapters these alone. No decay on vectors."""
        adapted = isinstance(model, PeftModel)
        for name, parameter in model.named_parameters():
            seeing = EYES.search(name) is not None
            learns = parameter.is_floating_point() and (stage.train_encoder or not seeing)
            parameter.requires_grad_(learns and (not adapted or "lora_" in name))
        return adamw_groups(model, stage, lambda name: stage.encoder_learning_rate if EYES.search(name)
                            else stage.learning_rate)

    def loss(self, model: Any, batch: dict[str, torch.Tensor], stage: Stage) -> torch.Tensor:
        """Mean over the tokens of the answers and their ends, a scalar."""
        whole, labels = whole_of(model), batch["labels"]
        inputs: dict[str, Any] = {name: value.to(whole.dtype) if value.is_floating_point() else value
                                  for name, value in batch.items() if name != "labels"}
        first = int((labels != IGNORED).any(0).nonzero()[0])  # place of the first token of an answer
        kept = labels.shape[1] - first + 1  # from the one before it: no logits of all the tokens of the pictures
        if "logits_to_keep" in inspect.signature(whole.forward).parameters:
            inputs["logits_to_keep"] = kept
        with self.autocast():
            logits = whole(**inputs).logits[:, -kept:-1]  # GIT's begin with those of its picture
        return answer_loss(logits, labels[:, first:], stage.label_smoothing)

    def read_dev(self, source: Data, *, strict: bool) -> list[Example]:
        """Pictures with captions, or with questions and answers."""
        found = read_examples(located(source, self.root), split=source.split, strict=strict, look=True)[:source.limit]
        if any(example.image is None for example in found):
            raise NarratorError(f"{source.path} holds texts without pictures. Name data with pictures.")
        return found

    def evaluate(self, model: Any, dev: Sets, *, beams: int, intervals: bool, tell: Tell) -> Scores:
        """Caption scores of what the model says of each set; of a picture with a question, of its answer."""
        family = self.speaker(model)
        return {name: evaluate(_Asked(family, examples), {name: examples}, beams=beams, intervals=intervals,
                               tell=tell)[name] for name, examples in dev.items()}

    def speaker(self, model: Any) -> HubVLM:
        """The model as a family."""
        return model if isinstance(model, HubVLM) else HubVLM.around(whole_of(model), self.processor, self.variant)

    def overall(self, scores: Scores, dev: Sets) -> float:
        """CIDEr-D, the sets weighted by their pictures."""
        return overall(scores, dev)

    def save(self, model: Any, folder: Path) -> Variant:
        """Write weights in bf16, of adapters alone where only they learned, and the processor; whoever calls writes
        the manifest, last."""
        folder.mkdir(parents=True, exist_ok=True)
        config, (_, total) = self.config, trainable(model)
        source, adapter = ".", None
        if isinstance(model, PeftModel):
            save_adapter(model, folder, config.base)
            source, adapter = base_source(config.base, self.base, folder), "."
        else:
            save_weights(model, folder)
        self.processor.save_pretrained(folder)
        return dataclasses.replace(self.variant, source=source, adapter=adapter, parameters=total, dtype="bfloat16",
                                   several=self.speaker(model).several, license=config.license,
                                   provenance=config.provenance)

    def saved(self, folder: Path, variant: Variant, device: torch.device) -> HubVLM:
        """The variant as the narrator loads it from disk."""
        source, adapter = (folder, None) if variant.adapter is None else (self.base, str(folder))
        return HubVLM(dataclasses.replace(variant, source=str(source), adapter=adapter), str(device))

    def _rows(self, stage: Stage) -> list[Example]:
        return [example for source, found in self.learned for example in found * (source.repeat if stage.repeat else 1)
                if stage.objective == "answer" or not example.prompt]

    def _start(self) -> Any:
        return load_base(self.base, self.device, frozen=self.config.lora is not None, quantize=self.config.quantize)


class _Asked:
    """A family that is asked what the examples ask, in their order: `evaluate` asks nothing. A few at once."""

    def __init__(self, family: HubVLM, examples: Sequence[Example]) -> None:
        self.family, self.model = family, family.model
        self.prompts = (example.prompt for example in examples)

    def batch(self, images: Sequence[Any], prompts: Sequence[str], settings: GenerationSettings) -> list[Any]:
        """As `HubVLM.batch`."""
        told: list[Any] = []
        for start in range(0, len(images), TOGETHER):
            part = images[start:start + TOGETHER]
            told += self.family.batch(part, list(itertools.islice(self.prompts, len(part))), settings)
        return told


def whole_of(model: Any) -> Any:
    """The model itself, whether or not adapters are worked into its layers."""
    return model.get_base_model() if isinstance(model, PeftModel) else model


def load_base(folder: Path, device: torch.device, *, frozen: bool, quantize: str = "none") -> Any:
    """The model to start from: float32 to train, on a GPU bf16 or quantised where it stays frozen. NarratorError where
    it cannot be loaded."""
    bits, more = BITS[quantize], {}
    if bits:
        check_quantised(device)
        more = {"device_map": {"": device}, "quantization_config": quantisation(bits)}
    dtype = torch.bfloat16 if frozen and device.type == "cuda" else torch.float32
    try:
        model = load_whole(AutoModelForImageTextToText, folder, dtype=dtype, **more)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise _unusable(folder, error) from error
    return prepare_model_for_kbit_training(model, use_gradient_checkpointing=False) if bits else model


def attach(model: Any, lora: Lora, *, eyes: bool) -> PeftModel:
    """The model with fresh adapters, all else frozen. eyes: layers of the picture encoder get them too. Raises
    NarratorError when it has no layer of the names."""
    heads = {id(part.get_output_embeddings()) for part in model.modules() if hasattr(part, "get_output_embeddings")}
    layers = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)
              and id(module) not in heads and (eyes or not EYES.search(name))]
    wanted = [name.strip() for name in lora.targets.split(",") if name.strip()]
    known = {name.rpartition(".")[2] for name in layers}
    for name in wanted:
        if name not in known:
            where = "" if eyes else " outside its picture encoder"
            raise NarratorError(f"lora.targets: this base has no layer '{name}'{where}. It has: "
                                f"{', '.join(sorted(known))}.")
    chosen = [name for name in layers if not wanted or name.rpartition(".")[2] in wanted]
    return get_peft_model(model, LoraConfig(r=lora.r, lora_alpha=lora.alpha, lora_dropout=lora.dropout,
                                            target_modules=chosen))


def _processor(folder: Path) -> Any:
    """The base's processor. NarratorError where it is no vision-language model, or of a kind not trained here."""
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        if type(config) not in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING:
            raise ValueError(f"config.json describes a {config.model_type}, which is no image-text-to-text model")
        if any(getattr(part, "is_encoder_decoder", False) for part in (config, config.get_text_config())):
            raise ValueError(f"a {config.model_type} with an encoder for its prompt is not trained here")
        return load_processor(folder, config)
    except (OSError, ValueError, KeyError) as error:
        raise _unusable(folder, error) from error


def _unusable(folder: Path, error: Exception) -> NarratorError:
    return NarratorError(f"The base {folder} cannot be used ({' '.join(str(error).split())[:200]}). It must hold "
                         "config.json, processor files and safetensors of a model such as BLIP, SmolVLM or Qwen-VL.")


def _check(config: TrainingConfig) -> None:
    if not config.base:
        raise NarratorError("The recipe hub_vlm goes on from a trained model: name it as 'base'.")
    for stage in config.stages:
        if stage.objective not in ("caption", "answer"):
            raise NarratorError(f"The stage '{stage.name}' has the objective '{stage.objective}'; hub_vlm knows "
                                "caption and answer.")
    if config.quantize != "none" and config.lora is None:
        raise NarratorError("Quantised weights cannot learn: set 'lora', or 'quantize: none'.")

"""TrainingConfig: every setting of a training run, with its unit, range and meaning. Files are checked at the door."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from narrator.knobs import build, knob, knobs
from narrator.records import NarratorError
from trainer.changes import apply

RECIPES = ("encoder_decoder", "causal_lm", "projector_lm", "image_gpt", "hub_vlm")
OBJECTIVES = ("language", "caption", "self_critical", "distill", "answer", "picture_tokens")
SCHEDULES = ("cosine", "linear", "constant")
METRICS = {  # of each recipe: the scores of an evaluation that can choose the best weights
    "encoder_decoder": ("cider_d", "bleu_4", "rouge_l"), "hub_vlm": ("cider_d", "bleu_4", "rouge_l"),
    "causal_lm": ("loss_answer", "loss_everything", "perplexity", "cider_d"), "projector_lm": ("accuracy", "cider_d"),
    "image_gpt": ("accuracy", "top_3_accuracy", "class_loss", "lm_loss")}
_CAPTIONER = ("encoder_decoder",)
_PROMPTED = ("causal_lm",)
_SEEING = ("encoder_decoder", "projector_lm")
_SPEAKING = ("causal_lm", "projector_lm", "hub_vlm")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Data:
    """A data set: a file or folder, relative to the data root, or one of the Hub as hub:owner/name (trainer.hub_data
    has the rules)."""

    path: str
    split: str | None = None
    repeat: int = knob(1, unit="times", low=1, high=100, says="How often each picture is seen in an epoch.")
    limit: int | None = knob(None, unit="pictures", low=1,
                             says="Only the first so many, each with all its captions; empty for all.")
    image_column: str = knob("", says="Column of pictures of a data set of the Hub; empty to find it.")
    text_column: str = knob("", says="Column of captions of a data set of the Hub; empty to find it.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stage:
    """One part of a training run, with its own objective and schedule. The best weights of a stage start the next."""

    name: str
    objective: str = knob("caption", choices=OBJECTIVES, says=(
        "language: captions alone, words of one standing in for the picture of another; "
        "caption: cross-entropy on pictures; self_critical: sampled captions rewarded by CIDEr-D (SCST); "
        "distill: the encoder learns to see what the teacher's sees; "
        "answer: cross-entropy on the answer to a prompt, its end included; "
        "picture_tokens: cross-entropy on the pieces of a picture and on its class."))
    train_encoder: bool = knob(
        False, says="Whether the picture encoder learns too; if not, its features are computed once.")
    repeat: bool = knob(
        True, says="Whether sets are repeated as `data` says; if not, each picture is seen once an epoch.")
    epochs: float = knob(1.0, unit="passes over the data", low=0.0, high=1000, says="How long the stage lasts.")
    steps: int | None = knob(None, unit="steps", low=1, high=100_000_000,
                             says="The stage ends after so many, if its passes take more; empty for all of these.")
    batch_size: int = knob(48, unit="pictures", low=1, high=4096,
                           says="Pictures in a step, each with all its captions.")
    learning_rate: float = knob(4e-4, unit="per step", low=1e-8, high=0.1, says="Peak step size of the decoder.")
    encoder_learning_rate: float = knob(1e-4, unit="per step", low=0.0, high=0.1, says="Peak step size of the encoder.")
    train_language: bool = knob(
        False, says="Whether the language model behind a projector learns too, by adapters where `lora` is set.")
    language_learning_rate: float = knob(2e-4, unit="per step", low=0.0, high=0.1,
                                         says="Peak step size of the language model behind a projector.")
    warmup: float = knob(0.05, unit="share of the steps", low=0.0, high=1.0, says="Steps in which the step size rises.")
    schedule: str = knob("cosine", choices=SCHEDULES,
                         says="How the step size falls after it has risen: in a half wave to 0, straight to 0, or not.")
    weight_decay: float = knob(0.01, low=0.0, high=1.0, says="AdamW's weight decay, on matrices only.")
    label_smoothing: float = knob(0.1, low=0.0, high=0.9, says="Share of the target spread over all words.")
    max_grad_norm: float = knob(1.0, low=0.001, high=1000, says="Gradients are clipped to this norm.")
    samples: int = knob(5, unit="captions a picture", low=2, high=64, says="Samples of the self-critical objective.")
    views: int = knob(2, unit="views", low=1, high=64,
                      says="Views of each picture whose features are kept while the encoder is frozen: as it is, "
                           "mirrored, further ones cropped and lit at random.")
    patch_dropout: float = knob(0.0, unit="share of the patches", low=0.0, high=0.9,
                                says="Patches of a picture that are left out at each step.")
    faithful: bool = knob(False, says=(
        "Whether a caption is asked for only by phrases of the others whose words it holds too, so that a narrator of "
        "prompts learns to keep to what it is asked about."))
    evaluations: int = knob(4, unit="times", low=1, high=1000,
                            says="Evaluations on dev (and checkpoints) in the stage.")
    evaluate_every: int | None = knob(None, unit="steps", low=1, high=100_000_000, says=(
        "Instead of `evaluations`: one (and a checkpoint) after each so many, and at the end; empty for those."))
    patience: int = knob(3, unit="evaluations", low=1, high=1000, says="Stop after this many without a better one.")
    metric: str = knob("", says=(
        "The score that chooses the best weights and stops early, such as cider_d; empty for the recipe's own. "
        + "; ".join(f"{recipe}: {', '.join(names)}" for recipe, names in METRICS.items()) + "."))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Lora:
    """Low-rank adapters (Hu et al. 2021) on a frozen base."""

    r: int = knob(16, unit="columns", low=1, high=1024, says="Rank of each adapter.")
    alpha: float = knob(32.0, low=0.01, high=4096, says="Its output is scaled by alpha / r.")
    dropout: float = knob(0.1, low=0.0, high=0.9, says="Dropout on what an adapter reads.")
    targets: str = knob("", says="Layers that get one, such as q_proj,v_proj; empty for all linear ones but the last.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """A whole run. Paths are relative to the data root."""

    name: str = knob("", says="Id of the variant it makes: lower-case words joined by hyphens.")
    title: str = knob("", says="What the variant is called on the page.")
    recipe: str = knob("encoder_decoder", choices=RECIPES, says="What kind of model is trained.")
    license: str = knob("", says="Licence of the weights, as the data allow it.")
    provenance: str = knob("", says="One sentence: trained by whom, on what.")
    card: str = knob("", says="Markdown for the model card: data, licences, limits.")
    data: list[Data] = knob(list, says="Pictures with captions to learn from.")
    text: list[Data] = knob(list, recipes=_CAPTIONER, says="Captions without pictures, for the language objective.")
    dev: list[Data] = knob(list, says="Held-out pictures: early stopping and reports.")
    encoder: str = knob("", recipes=_SEEING,
                        says="Picture encoder to start from: a folder below the data root, checkpoints/ID of a "
                             "variant, or a Hub id in the download cache; empty for random weights.")
    projector: str = knob("linear", choices=("linear", "residual"), recipes=("projector_lm",),
                          says="Between encoder and language model: a matrix, or one with a residual block after it.")
    vision: str = knob("mobilenet", choices=("mobilenet", "vit"), recipes=_CAPTIONER,
                       says="Kind of encoder that begins from random weights.")
    mirrored: bool = knob(False, recipes=_CAPTIONER,
                          says="Whether the decoder of a MobileNet captioner describes a picture from the patches of "
                               "it and of its mirror image: better, and slower. It learns from either.")
    vision_width: int = knob(256, unit="channels", low=64, high=2048, recipes=_CAPTIONER, says="Width of a new ViT.")
    vision_layers: int = knob(6, unit="layers", low=1, high=48, recipes=_CAPTIONER, says="Depth of a new ViT.")
    vision_patch: int = knob(16, unit="pixels", low=4, high=64, recipes=_CAPTIONER, says="Side of a new ViT's patch.")
    decoder: str = knob("", recipes=_CAPTIONER,
                        says="Language model that becomes the decoder: a folder below the data root or a Hub id in the "
                             "download cache; empty for one of words, of the width and depth below.")
    teacher: str = knob("", recipes=_CAPTIONER,
                        says="Variant whose eyes are learned from, and whose decoder and words are taken over.")
    width: int = knob(384, unit="channels", low=16, high=4096, says="Width of the decoder.")
    layers: int = knob(4, unit="layers", low=1, high=48, says="Depth of the decoder.")
    heads: int = knob(6, unit="heads", low=1, high=64, says="Attention heads; divides the width.")
    dropout: float = knob(0.1, low=0.0, high=0.9, says="Dropout in the decoder.")
    min_count: int = knob(4, unit="times", low=1, high=1000, recipes=_CAPTIONER,
                          says="Rarer words are left out of the vocabulary.")
    max_words: int = knob(24, unit="words", low=4, high=200, recipes=_CAPTIONER,
                          says="Longer captions are cut while training.")
    image_size: int = knob(224, unit="pixels", low=8, high=1024, says="Pictures are squashed to this square.")
    concepts: int = knob(12, unit="words", low=1, high=64, recipes=_CAPTIONER,
                         says="Words that stand in for a picture in the language objective.")
    float8: bool = knob(False, recipes=_CAPTIONER,
                        says="Whether the matrices of the decoder's feed-forward layers are saved in 8 bits in place "
                             "of 16: a smaller variant, a hair less exact.")
    # image_gpt
    clusters: int = knob(500, unit="tokens", low=2, high=4096, recipes=("image_gpt",),
                         says="Kinds of patches in the codebook that pictures are read with.")
    patch: int = knob(2, unit="pixels", low=1, high=32, recipes=("image_gpt",),
                      says="Side of the patch that one token stands for; divides the picture's.")
    gradient_share: float = knob(0.25, unit="of the variance", low=0.0, high=1.0, recipes=("image_gpt",),
                                 says="What a patch's gradients weigh when like patches are put together.")
    position_share: float = knob(0.01, unit="of the variance", low=0.0, high=1.0, recipes=("image_gpt",),
                                 says="What a patch's place weighs when like patches are put together.")
    positions: int = knob(0, unit="tokens", low=0, high=65536, recipes=("image_gpt",),
                          says="Longest sequence of the model; 0 for as long as a picture with its class.")
    lm_weight: float = knob(1.0, low=0.0, high=1000, recipes=("image_gpt",),
                            says="Weight of the loss on the pieces of the picture (their mean).")
    class_weight: float = knob(1.0, low=0.0, high=1000, recipes=("image_gpt",),
                               says="Weight of the loss on the class that stands after the picture.")
    class_first_share: float = knob(0.2, unit="of the pictures", low=0.0, high=1.0, recipes=("image_gpt",),
                                    says="Shown after their class, so that the model learns pictures of a class.")
    shift: float = knob(2.0, unit="pixels", low=0.0, high=64, recipes=("image_gpt",),
                        says="Pictures are moved by up to this while training.")
    turn: float = knob(10.0, unit="degrees", low=0.0, high=180, recipes=("image_gpt",),
                       says="Pictures are turned by up to this while training.")
    zoom: float = knob(0.1, unit="of the size", low=0.0, high=0.9, recipes=("image_gpt",),
                       says="Pictures are made larger or smaller by up to this while training.")
    # causal_lm
    base: str = knob("", recipes=(*_CAPTIONER, *_SPEAKING),
                     says="Trained model to start from (of language; encoder_decoder, hub_vlm: of pictures too): a "
                          "folder below the data root, checkpoints/ID of a variant, or a Hub id in the download cache; "
                          "empty for random weights.")
    lora: Lora | None = knob(None, recipes=_SPEAKING, says="Train adapters on a frozen base; empty trains all weights.")
    quantize: str = knob("none", choices=("none", "8bit", "4bit"), recipes=_SPEAKING,
                         says="How a frozen base is held; 8bit and 4bit need bitsandbytes.")
    recompute: bool = knob(False, recipes=_SPEAKING,
                           says="Whether activations are computed again on the way back in place of kept: less memory, "
                                "slower steps. Always so over 8-bit and 4-bit weights.")
    vocabulary: int = knob(6000, unit="tokens", low=300, high=65536, recipes=_PROMPTED,
                           says="Size of a new tokenizer, which goes with random weights.")
    max_tokens: int = knob(128, unit="tokens", low=16, high=8192, recipes=_SPEAKING,
                           says="Longer examples (hub_vlm: answers) are cut.")
    held_out: float = knob(0.15, unit="share of the scenes", low=0.0, high=0.9, recipes=_PROMPTED,
                           says="Kept for dev of a set that is named on both sides without a split.")
    vivid: float = knob(1.0, unit="share of the captions", low=0.01, high=1.0, recipes=_PROMPTED,
                        says="Only captions with the most adjectives a word are answers to learn.")
    curriculum: float = knob(0.0, low=0.0, high=8.0, recipes=_PROMPTED,
                             says="How much oftener weak types of scene are drawn after an evaluation; 0: all alike.")
    precision: str = knob("auto", choices=("auto", "bf16", "fp32"),
                          says="auto: bf16 where the processor or GPU has it.")
    eval_beams: int = knob(3, unit="beams", low=1, high=10, says="Beams of the report at the end of each stage.")
    eval_limit: int | None = knob(None, unit="pictures", low=1, says="Dev pictures of each set used; empty for all.")
    workers: int = knob(1, unit="processes", low=0, high=64, says="Processes that read and augment pictures.")
    seed: int = knob(1, low=0, high=2**31 - 1, says="Fixes data order, augmentation, initial weights and samples.")
    stages: list[Stage] = knob(list, says="The parts of the run, in order.")


def load_config(path: Path, changes: Sequence[str] = ()) -> TrainingConfig:
    """Read a preset or a run's config.yaml and apply `key=value` changes; stages by name: `stages.finetune.epochs=2`.

    Raises NarratorError naming the file and the setting.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NarratorError(f"There is no preset {path}. The shipped ones are in trainer/presets/.") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise NarratorError(f"{path} cannot be read as YAML: {reason}. Mend it and try again.") from None
    if not isinstance(values, dict):
        raise NarratorError(f"{path} holds no settings. Start from a preset in trainer/presets/.")
    for change in changes:
        apply(values, change)
    return parse_config(values, str(path))


def parse_config(values: Mapping[str, Any], where: str) -> TrainingConfig:
    """A TrainingConfig from plain values; every unknown or bad setting is refused by name."""
    parts: dict[str, Any] = dict(values)
    kinds: dict[str, type] = {"data": Data, "text": Data, "dev": Data, "stages": Stage}
    for key, kind in kinds.items():
        rows = parts.get(key) or []
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise NarratorError(f"{where}: '{key}' must be a list of settings.")
        needed = "name" if kind is Stage else "path"
        for row in rows:
            if not row.get(needed):
                raise NarratorError(f"{where}: an entry of '{key}' has no '{needed}'.")
        parts[key] = [build(kind, row, f"{where}, {key} '{row[needed]}'") for row in rows]
    if parts.get("lora") is not None:
        if not isinstance(parts["lora"], dict):
            raise NarratorError(f"{where}: 'lora' must be a group of settings, such as {{r: 16, alpha: 32}}.")
        parts["lora"] = build(Lora, parts["lora"], f"{where}, lora")
    config: TrainingConfig = build(TrainingConfig, parts, where)
    _check(config, where)
    _check_recipe(config, where)
    return config


def _check(config: TrainingConfig, where: str) -> None:
    check_name(config.name, f"{where}: 'name'")
    if config.width % config.heads:
        raise NarratorError(f"{where}: 'heads' ({config.heads}) must divide 'width' ({config.width}).")
    for key in ("data", "dev", "stages"):
        if not getattr(config, key):
            raise NarratorError(f"{where}: '{key}' is empty. Name at least one.")
    names = [stage.name for stage in config.stages]
    if len(set(names)) < len(names):
        raise NarratorError(f"{where}: two stages have the same name.")


def _check_recipe(config: TrainingConfig, where: str) -> None:
    """Refuse by name what was set and the recipe takes no notice of."""
    defaults = TrainingConfig()
    for name, (_, declared) in knobs(TrainingConfig).items():
        if declared.recipes and config.recipe not in declared.recipes \
                and getattr(config, name) != getattr(defaults, name):
            raise NarratorError(f"{where}: '{name}' is not a setting of the recipe {config.recipe}, only of "
                                f"{', '.join(declared.recipes)}. Leave it out.")
    for stage in config.stages:
        if stage.metric and stage.metric not in METRICS[config.recipe]:
            raise NarratorError(f"{where}, stages '{stage.name}': 'metric' must be one of "
                                f"{', '.join(METRICS[config.recipe])} with the recipe {config.recipe}, or empty for "
                                f"its own, not {stage.metric!r}.")


def check_name(name: str, where: str) -> None:
    """Raise NarratorError unless `name` can be the id of a variant."""
    if not name or not all(part.isalnum() and part.isascii() and part == part.lower() for part in name.split("-")):
        raise NarratorError(f"{where} must be lower-case words joined by hyphens, not {name!r}.")

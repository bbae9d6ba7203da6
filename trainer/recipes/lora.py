"""The language model that a training starts from, and low-rank adapters on it (PEFT)."""

from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict, prepare_model_for_kbit_training
from safetensors import SafetensorError
from safetensors.torch import save_file
from transformers.pytorch_utils import Conv1D

from narrator.families.causal_lm import ADAPTER_WEIGHTS, load_model
from narrator.records import NarratorError
from trainer.config import Lora
from trainer.recipes.saving import stored

BITS = {"none": None, "8bit": 8, "4bit": 4}


def load_base(folder: Path, device: torch.device, *, frozen: bool, quantize: str = "none") -> Any:
    """The model to start from: float32 to train, on a GPU bf16 or quantised where it stays frozen. NarratorError where
    it cannot be loaded."""
    bits = BITS[quantize]
    dtype = torch.bfloat16 if frozen and device.type == "cuda" else torch.float32
    try:
        model = load_model(folder, device if bits else "cpu", bits=bits, dtype=dtype)
    except (OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise NarratorError(f"The base {folder} cannot be loaded ({reason}). It must hold config.json, a tokenizer and "
                            "safetensors of a language model.") from error
    return prepare_model_for_kbit_training(model, use_gradient_checkpointing=False) if bits else model


def attach(model: Any, lora: Lora) -> PeftModel:
    """The model with fresh adapters, all else frozen. Raises NarratorError when it has no layer of the names."""
    targets = [name.strip() for name in lora.targets.split(",") if name.strip()] or "all-linear"
    turned = any(isinstance(module, Conv1D) for module in model.modules())  # GPT-2 keeps its matrices transposed
    settings = LoraConfig(r=lora.r, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=targets,
                          task_type="CAUSAL_LM", fan_in_fan_out=turned)
    layers = {name.rpartition(".")[2] for name, _ in model.named_modules()}
    unknown = [name for name in targets if name not in layers] if isinstance(targets, list) else []
    if unknown:
        known = {name.rpartition(".")[2] for name, module in model.named_modules()
                 if isinstance(module, (torch.nn.Linear, Conv1D))}
        raise NarratorError(f"lora.targets: this base has no layer '{unknown[0]}'. It has: {', '.join(sorted(known))}.")
    return get_peft_model(model, settings)


def trainable(model: Any) -> tuple[int, int]:
    """(parameters that learn, all parameters)."""
    if isinstance(model, PeftModel):
        learning, total = model.get_nb_trainable_parameters()
        return int(learning), int(total)
    counts = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    return sum(count for count, learns in counts if learns), sum(count for count, _ in counts)


def save_adapter(model: PeftModel, folder: Path, base: str) -> None:
    """Write the adapter alone, in bf16, with the name of its base and no path of this machine."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = get_peft_model_state_dict(model, save_embedding_layers=False)
    small = {name: tensor.detach().to("cpu", torch.bfloat16).contiguous() for name, tensor in tensors.items()}
    save_file(small, folder / ADAPTER_WEIGHTS, {"format": "pt"})
    settings = model.peft_config["default"]
    before = settings.base_model_name_or_path, settings.inference_mode
    settings.base_model_name_or_path, settings.inference_mode = base, True
    settings.save_pretrained(folder)
    settings.base_model_name_or_path, settings.inference_mode = before


def load_adapter(model: Any, folder: Path) -> PeftModel:
    """The model with the adapters of a checkpoint, ready to learn on. Raises NarratorError where they are not whole."""
    _stored(folder)
    joined = PeftModel.from_pretrained(model, folder, is_trainable=True, local_files_only=True)
    check_adapter(joined, folder)
    return joined


def check_adapter(model: PeftModel, folder: Path) -> None:
    """Raise NarratorError unless the folder of a checkpoint holds all the adapters of the model, and no others: PEFT
    would leave those that are missing as they are."""
    found = _stored(folder)
    wanted = {name: tuple(tensor.shape) for name, tensor
              in get_peft_model_state_dict(model, save_embedding_layers=False).items()}
    lost = sorted(name for name, shape in wanted.items() if found.get(name) != shape)
    # PEFT keeps a layer of the vocabulary beside the adapters that it bears, where `targets` names it.
    unknown = sorted(set(found) - set(get_peft_model_state_dict(model, save_embedding_layers=True)))
    if lost or unknown:
        raise _damaged(folder, f"{len(lost)} tensors are missing or of another shape and {len(unknown)} unknown, such "
                               f"as {[*lost, *unknown][0]}")


def _stored(folder: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of the adapters in a checkpoint, by name."""
    try:
        return stored(folder / ADAPTER_WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise _damaged(folder, f"{ADAPTER_WEIGHTS} is missing or cannot be read") from error


def _damaged(folder: Path, why: str) -> NarratorError:
    remedy = "Start the training anew." if folder.name == "best" else \
        "Remove it and resume: the run goes on from the checkpoint before it."
    return NarratorError(f"The adapters in {folder} are not whole: {why}. {remedy}")

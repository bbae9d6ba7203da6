"""Prompt -> description: any language model that transformers knows (GPT-2, OPT, Qwen, Llama, Phi), with or without an
adapter."""

import copy
import importlib.util
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

from narrator.families import generation
from narrator.families.answer_losses import Tell, losses
from narrator.families.loading import load_whole
from narrator.records import NarratorError, Piece, Variant
from narrator.settings import GenerationSettings

BITS = {"int8": 8, "nf4": 4}  # a variant's dtype -> how its weights are held
ADAPTER, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_LONGEST = 8192  # tokens of a row whose loss is asked for
_WIDE = 2 * 2**30  # bytes of weights up to which a processor computes in float32, the quicker and surer way there


class CausalLM:
    """The family of `prompt-narrator`, and of GPT-2, OPT, Qwen, Llama and Phi with and without LoRA adapters."""

    takes_adapter = True
    bare: Any = None  # the model without an adapter, where others may share its weights

    def __init__(self, variant: Variant, device: str) -> None:
        """Load the weights from the variant's folders. Raises NarratorError for an adapter of another base and for
        quantised weights without bitsandbytes; OSError, ValueError or RuntimeError when files are damaged."""
        self._begin(variant, load_model(Path(variant.source), device, bits=BITS.get(variant.dtype)))

    def shares(self, variant: Variant) -> bool:
        """Whether another variant of the same source can stand on the weights that are in memory."""
        return self.bare is not None and variant.dtype not in BITS and adds_only(variant)

    def beside(self, variant: Variant) -> "CausalLM":
        """The family of a variant that `shares` these weights: with its own adapter, or none. Raises as loading it
        does."""
        family = CausalLM.__new__(CausalLM)
        family._begin(variant, self.bare)
        return family

    def _begin(self, variant: Variant, bare: Any) -> None:
        base, told, model = Path(variant.source), Path(variant.source), bare
        if getattr(bare, "hf_quantizer", None) is None and adds_only(variant):
            self.bare = bare
        if variant.adapter is not None:
            adapter = Path(variant.adapter)
            model = put_on(bare if self.bare is None else twin(bare), base, adapter)
            told = adapter if (adapter / "tokenizer_config.json").is_file() else base
        self._hold(model.eval(), load_tokenizer(told))

    @classmethod
    def around(cls, model: Any, tokenizer: Any) -> "CausalLM":
        """The family over a model that is in memory already, as while it learns."""
        family = cls.__new__(cls)
        family._hold(model, tokenizer)
        return family

    def _hold(self, model: Any, tokenizer: Any) -> None:
        self.model, self.tokenizer, self.device = model, tokenizer, model.device
        ends = model.generation_config.eos_token_id
        ends = {*(ends if isinstance(ends, (list, tuple)) else [ends]), tokenizer.eos_token_id} - {None}
        self.config: dict[str, Any] = {"eos_token_id": sorted(ends) or None, "pad_token_id": padding(tokenizer)}
        special = {tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.unk_token_id} - {None}
        self.never = sorted(special - ends)

    def stream(self, image: Image.Image | None, prompt: str, settings: GenerationSettings) -> Iterator[Piece]:
        """Yield a piece a token; with beams, empty pieces while they search and the text at the end."""
        inputs = self._inputs([prompt_ids(self.tokenizer, prompt)])
        yield from generation.stream(self.model, inputs, settings, self.text, never=self.never, config=self.config)

    def batch(self, images: Sequence[Image.Image | None], prompts: Sequence[str],
              settings: GenerationSettings) -> list[list[Piece]]:
        """One list of pieces for each prompt."""
        rows = [prompt_ids(self.tokenizer, prompt) for prompt in prompts]
        if not rows:
            return []
        # Alone where a batch would say something else: samples have random numbers of their own, and a short prompt
        # has room for a longer answer than a long one.
        if settings.temperature > 0 or max(map(len, rows)) + settings.max_new_tokens > self._positions():
            alone = (self.stream(None, prompt, settings) for prompt in prompts)
            return [[piece for piece in pieces if piece.tokens] for pieces in alone]
        return generation.batch(self.model, self._inputs(rows), settings, self.text, never=self.never,
                                config=self.config)

    def answer_losses(self, pairs: Sequence[tuple[str, str]], longest: int | None = None,
                      tell: Tell = lambda done, total: None) -> np.ndarray:
        """(N, 4): what the model expects of answers that are known, from (prompt, answer): the nats and the tokens of
        each answer, its end included; then, with `longest`, of everything: prompt and padding up to it too. Longer rows
        are cut as `pair_ids` says, without `longest` where the model's positions end."""
        room = longest or min(self._positions(), _LONGEST)
        rows = [pair_ids(self.tokenizer, prompt, answer, room) for prompt, answer in pairs]
        return losses(self.model, rows, self.config["pad_token_id"], longest, tell)

    def close(self) -> None:
        """Let go of the weights; those that another variant shares stay for it."""
        del self.model
        self.bare = None

    def text(self, tokens: list[int]) -> str:
        """The answer that the tokens spell."""
        said: str = self.tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return said.lstrip()

    def _positions(self) -> int:
        return int(getattr(self.model.config, "max_position_embeddings", None) or 2**31)

    def _inputs(self, rows: Sequence[list[int]]) -> dict[str, torch.Tensor]:
        """Padded on the left, where nothing follows: (N, T) tokens and their mask."""
        longest, pad = max(map(len, rows)), self.config["pad_token_id"]
        ids = [[pad] * (longest - len(row)) + row for row in rows]
        mask = [[0] * (longest - len(row)) + [1] * len(row) for row in rows]
        return {"input_ids": torch.tensor(ids, device=self.device),
                "attention_mask": torch.tensor(mask, device=self.device)}


def prompt_ids(tokenizer: Any, prompt: str) -> list[int]:
    """The prompt as the model was taught to read it: in the tokenizer's chat template where it has one, else plain.

    What looks like a control token in the prompt is read as ordinary text. Raises NarratorError for an empty prompt.
    """
    if not prompt.strip():
        raise NarratorError("This model answers a prompt. Type one, such as: Describe this image: a brown dog.")
    if tokenizer.chat_template:
        said = [{"role": "user", "content": prompt.strip()}]
        return list(tokenizer.apply_chat_template(said, add_generation_prompt=True, return_dict=False,
                                                  sanitize_control_tokens=True))
    return list(tokenizer(prompt.strip(), split_special_tokens=True)["input_ids"])


def pair_ids(tokenizer: Any, prompt: str, answer: str, longest: int) -> tuple[list[int], int]:
    """(tokens, where the answer begins), the end included. A cut answer has no end, so that no wrong end is learned;
    of a long prompt the last half of `longest` is kept."""
    asked = prompt_ids(tokenizer, prompt)[-(longest // 2):]
    said = [*tokenizer(answer, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    return (asked + said)[:longest], len(asked)


def padding(tokenizer: Any) -> int:
    """The padding token, else the end: the mask tells padding from ends."""
    found = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    return int(found or 0)


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a folder; none of its code is run."""
    return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def load_model(folder: Path, device: str | torch.device, *, bits: int | None = None,
               dtype: torch.dtype | None = None) -> Any:
    """The language model of a folder on the device. bits: 8 or 4 to hold it quantised.

    dtype: None for the stored one on a GPU, and on a processor float32 where that is not too much. Raises NarratorError
    when quantised weights cannot be held here, ValueError when tensors are missing: transformers would fill them with
    random numbers.
    """
    device = torch.device(device)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if bits or (config.get("quantization_config") or {}).get("quant_method") == "bitsandbytes":
        check_quantised(device)
    if dtype is None:
        dtype = _dtype(folder, config, device)
    arguments: dict[str, Any] = {"dtype": dtype}
    if bits:
        arguments |= {"device_map": {"": device}, "quantization_config": quantisation(bits)}
    model = load_whole(AutoModelForCausalLM, folder, **arguments)
    return model if bits or config.get("quantization_config") else model.to(device)


def check_quantised(device: torch.device) -> None:
    """Raise NarratorError where 8-bit and 4-bit weights cannot be held."""
    if device.type not in ("cuda", "cpu"):
        raise NarratorError(f"8-bit and 4-bit weights cannot be held on {device.type}: take the model with its whole "
                            "weights, or a smaller one.")
    if importlib.util.find_spec("bitsandbytes") is None:
        raise NarratorError("8-bit and 4-bit weights need bitsandbytes: pip install bitsandbytes==0.50.2.")


def put_on(model: Any, base: Path, adapter: Path) -> Any:
    """The model with the adapter's weights on top. Raises NarratorError with both names when it is another's, and as
    `fitted` does."""
    check_base(base, adapter)
    return fitted(model, base, adapter)


def fitted(model: Any, base: Path, adapter: Path) -> Any:
    """The same, whatever the adapter says of its base, where only a part of that is the model. Raises NarratorError
    when the adapter fits no layer of it, ValueError when tensors of the adapter are missing."""
    from peft import PeftModel, get_peft_model_state_dict

    if not (adapter / ADAPTER_WEIGHTS).is_file():
        raise NarratorError(f"{adapter} holds no {ADAPTER_WEIGHTS}: restore the folder or train it again.")
    try:
        joined = PeftModel.from_pretrained(model, adapter, local_files_only=True)
    except (RuntimeError, ValueError) as error:
        if "size mismatch" not in str(error) and "Target modules" not in str(error):
            raise
        raise NarratorError(_wrong_base(base, adapter, f"the layers of {names_of(base)[0]} are others")) from error
    with safe_open(adapter / ADAPTER_WEIGHTS, framework="pt") as file:
        wanted = set(get_peft_model_state_dict(joined, save_embedding_layers=False))
        missing = wanted - set(file.keys())
    if missing == wanted:  # the same names of layers elsewhere: nothing of the adapter found its place
        raise NarratorError(_wrong_base(base, adapter, f"it fits no layer of {names_of(base)[0]}"))
    if missing:
        raise ValueError(f"{adapter} lacks {len(missing)} tensors, such as {min(missing)}")
    return joined


def twin(model: Any) -> Any:
    """The same model once more, on the very same parameters and buffers: layers that are put into the one are not in
    the other."""
    return copy.deepcopy(model, {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())})


def adds_only(variant: Variant) -> bool:
    """Whether the variant's adapter, if it has one, leaves its base as it is: LoRA's own matrices and nothing else.

    Not so with layers that were trained whole, and where LoRA begins by taking something out of the base's weights, as
    PiSSA (Meng et al. 2024) and OLoRA do.
    """
    if variant.adapter is None:
        return True
    adapter = Path(variant.adapter)
    if not (adapter / ADAPTER_WEIGHTS).is_file():  # `put_on` says so
        return False
    told = json.loads((adapter / ADAPTER).read_text(encoding="utf-8"))
    with safe_open(adapter / ADAPTER_WEIGHTS, framework="pt") as file:
        names = list(file.keys())
    return (all(".lora_" in name for name in names) and told.get("peft_type") == "LORA"
            and not told.get("modules_to_save") and told.get("init_lora_weights", True) in (True, False, "gaussian"))


def check_base(base: Path, adapter: Path) -> None:
    """Raise NarratorError with both names when the adapter says that it belongs to another base than this folder."""
    told = json.loads((adapter / ADAPTER).read_text(encoding="utf-8")).get("base_model_name_or_path")
    if told and names_of(Path(told))[0].lower() not in {name.lower() for name in names_of(base)}:
        raise NarratorError(_wrong_base(base, adapter, f"the adapter was trained on {names_of(Path(told))[0]}"))


def names_of(folder: Path) -> list[str]:
    """What a model's folder may be called: its own name, or the Hub's where it lies in the download cache; and what its
    files say."""
    kept = folder.parent.parent.name  # models--owner--name/snapshots/revision
    names = [kept.rpartition("--")[2] if folder.parent.name == "snapshots" else folder.name]
    if (folder / "config.json").is_file():
        said = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("_name_or_path")
        names += [Path(said).name] if said else []
    return names


def _wrong_base(base: Path, adapter: Path, reason: str) -> str:
    return (f"The adapter {adapter.name} does not belong on {names_of(base)[0]}: {reason}. Name the right base as "
            "'source', or take another adapter; where only the name differs, correct 'base_model_name_or_path' in "
            f"{adapter.name}/{ADAPTER}.")


def _dtype(folder: Path, config: dict[str, Any], device: torch.device) -> torch.dtype | str:
    if device.type != "cpu":
        return "auto"
    size = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    if size <= _WIDE:
        return torch.float32
    return torch.bfloat16 if "16" in str(config.get("dtype") or config.get("torch_dtype")) else "auto"


def quantisation(bits: int) -> BitsAndBytesConfig:
    """NF4 with double quantisation (Dettmers et al. 2023), or LLM.int8()."""
    if bits == 8:
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
                              bnb_4bit_compute_dtype=torch.bfloat16)

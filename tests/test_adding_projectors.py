"""CLIP + Phi-2 from its makers' parts: a projector with LLaVA's residual block, a separator token, a PEFT adapter. The
answers are those of the original's own computation."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from adding import GREEDY, empty_catalog, picture, refusal
from command_line import narrator, sentence
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from tiny_families import save_causal
from tiny_models import SIZE, vision, word_tokenizer
from torch import nn

from narrator.adding.projectors import Parts, add_projector
from narrator.catalog import load_variants
from narrator.engine import Engine
from narrator.hub import remove

WIDE = 24  # of the picture encoder; the language model is 16 wide


class SimpleResBlock(nn.Module):
    """LLaVA's: the norm is part of both branches."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pre_norm = nn.LayerNorm(channels)
        self.proj = nn.Sequential(nn.Linear(channels, channels), nn.GELU(), nn.Linear(channels, channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.pre_norm(x)
        return x + self.proj(x)


class Original(nn.Module):
    """What the makers save the state of."""

    def __init__(self, bias: bool = True) -> None:
        super().__init__()
        self.projection_layer = nn.Linear(WIDE, 16, bias=bias)
        self.resblock = SimpleResBlock(16)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where added models go: an empty catalog."""
    return empty_catalog(tmp_path, monkeypatch)


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """`clip`, `phi` and `parts`: the projector and, below it, an adapter."""
    from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel

    torch.manual_seed(2)
    square = {"height": SIZE, "width": SIZE}
    CLIPModel(CLIPConfig(vision_config=vision(initializer_factor=20.0, hidden_size=WIDE), projection_dim=16,
                         text_config={"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
                                      "intermediate_size": 16, "vocab_size": 50})).save_pretrained(tmp_path / "clip")
    CLIPImageProcessorPil(size=square, crop_size=square, do_center_crop=False).save_pretrained(tmp_path / "clip")
    save_causal(tmp_path / "phi", "phi")
    (tmp_path / "parts").mkdir()
    original = Original()
    nn.init.normal_(original.resblock.pre_norm.weight)
    save_file(original.state_dict(), tmp_path / "parts" / "projector.safetensors")
    adapted = get_peft_model(_language(tmp_path), LoraConfig(
        r=4, lora_alpha=16, target_modules=["q_proj", "k_proj", "v_proj", "fc1", "fc2"], task_type="CAUSAL_LM",
        init_lora_weights=False))
    adapted.save_pretrained(tmp_path / "parts" / "adapter")
    return tmp_path


def _language(made: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(made / "phi")


def expected(made: Path, asked: str, *, adapter: bool = True, bias: bool = True) -> str:
    """[patches][separator][question] through the makers' own modules and transformers' generate."""
    from transformers import CLIPImageProcessorPil, CLIPVisionModel

    original = Original(bias)
    original.load_state_dict(load_file(made / "parts" / "projector.safetensors"))
    language, tokenizer = _language(made), word_tokenizer()
    model = PeftModel.from_pretrained(language, made / "parts" / "adapter") if adapter else language
    pixels = CLIPImageProcessorPil.from_pretrained(made / "clip")(picture(), return_tensors="pt")["pixel_values"]
    with torch.inference_mode():
        patches = CLIPVisionModel.from_pretrained(made / "clip")(pixels).last_hidden_state[:, 1:]
        embed = language.get_input_embeddings()
        words = [embed(torch.tensor([tokenizer(text)["input_ids"]])) for text in ("picture", asked)]
        seen = original.resblock(original.projection_layer(patches))
        tokens = model.generate(inputs_embeds=torch.cat([seen, *words], dim=1), max_new_tokens=6, do_sample=False)
    said: str = tokenizer.decode(tokens[0], skip_special_tokens=True)
    return said


def told(variant_id: str, asked: str) -> str:
    with Engine(device="cpu").use(variant_id) as family:
        return "".join(piece.text for piece in family.stream(picture(), asked, GREEDY))


@pytest.mark.parametrize("asked", ["what is this", "describe the red dog"])
def test_it_answers_as_the_original_does(home: Path, made: Path, asked: str) -> None:
    done = narrator("add", made / "parts", "--family", "projector_lm", "--vision", made / "clip", "--language",
                    made / "phi", "--separator", "picture", "--id", "theirs", checkpoints=home)
    assert done.returncode == 0 and "is here as theirs (projector_lm)" in done.stdout, done
    for gone in ("clip", "phi"):
        shutil.copytree(made / gone, made / "kept" / gone)
        shutil.rmtree(made / gone)
    (made / "kept" / "parts").symlink_to(made / "parts")
    answer = told("theirs", asked)
    assert answer.strip() and answer.split() == expected(made / "kept", asked).split()
    assert answer.split() != expected(made / "kept", asked, adapter=False).split()
    assert remove("theirs") > 0 and not load_variants() and not list(home.iterdir())


def test_without_adapter_and_bias(home: Path, made: Path) -> None:
    shutil.rmtree(made / "parts" / "adapter")
    tensors = load_file(made / "parts" / "projector.safetensors")
    tensors.pop("projection_layer.bias")
    save_file(tensors, made / "parts" / "projector.safetensors")
    number = str(word_tokenizer()("picture")["input_ids"][0])
    variant = add_projector(made / "parts", Parts(vision=made / "clip", language=made / "phi", separator=number))
    assert variant.adapter is None and variant.several and variant.id == "parts"
    assert told("parts", "what is this").split() == expected(made, "what is this", adapter=False, bias=False).split()


def _change(made: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    path = made / "parts" / "projector.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "another width": (lambda at: _change(at, lambda t: t.update({"projection_layer.weight": torch.zeros(16, 7)})),
                      "does not fit clip and phi"),
    "a tensor less": (lambda at: _change(at, lambda t: t.pop("resblock.proj.2.bias")), "does not fit clip and phi"),
    "a tensor more": (lambda at: _change(at, lambda t: t.update({"head.scale": torch.zeros(3)})),
                      "holds head.scale, which is no part of a projector"),
    "a pickle": (lambda at: (at / "parts" / "projector.safetensors").rename(at / "parts" / "projector.pt"),
                 "holds no projector as safetensors; a pickle"),
    "a language model cut short": (lambda at: (at / "phi" / "model.safetensors").write_bytes(b"no"),
                                   "does not fit clip and phi"),
    "no language model": (lambda at: (at / "phi" / "config.json").unlink(), "phi has no config.json"),
    "an adapter cut short": (lambda at: (at / "parts" / "adapter" / "adapter_model.safetensors").write_bytes(b"no"),
                             "is damaged; get it again"),
    "two adapters": (lambda at: shutil.copytree(at / "parts" / "adapter", at / "parts" / "a-newer"),
                     "parts holds 2 adapters (a-newer/adapter_config.json, adapter/adapter_config.json), and one"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_does_not_fit_is_one_sentence_and_leaves_nothing(name: str, home: Path, made: Path) -> None:
    spoil, wanted = BAD[name]
    spoil(made)
    parts = Parts(vision=made / "clip", language=made / "phi", separator="picture")
    assert wanted in refusal(lambda: add_projector(made / "parts", parts))
    assert not home.exists() or not list(home.iterdir())


@pytest.mark.parametrize("full", [OSError(errno.ENOSPC, "No space left on device"),
                                  SafetensorError("I/O error: No space left on device (os error 28)")])
def test_a_full_disk_is_told_as_one(home: Path, made: Path, monkeypatch: pytest.MonkeyPatch, full: Exception) -> None:
    def save(*arguments: object, **settings: object) -> None:
        raise full

    parts = Parts(vision=made / "clip", language=made / "phi", separator="picture")
    with monkeypatch.context() as patched:
        patched.setattr("narrator.adding.folders.SPARE_BYTES", 2**62)
        assert "of free disk and there are" in refusal(lambda: add_projector(made / "parts", parts))
    monkeypatch.setattr("transformers.PreTrainedModel.save_pretrained", save)
    said = refusal(lambda: add_projector(made / "parts", parts))
    assert "cannot be written (" in said and "No space left on device" in said and "does not fit" not in said
    assert not list(home.iterdir())


def test_the_separator_and_both_parts_are_asked_for(home: Path, made: Path) -> None:
    bare = Parts(vision=made / "clip", language=made / "phi")
    assert "say with --separator which token" in refusal(lambda: add_projector(made / "parts", bare))
    two = Parts(vision=made / "clip", language=made / "phi", separator="red dog")
    assert "is 2 tokens or none" in refusal(lambda: add_projector(made / "parts", two))
    said = sentence(narrator("add", made / "parts", "--vision", made / "clip", checkpoints=home))
    assert "needs both --vision and --language" in said

"""Adapters over tiny random models: added to a base, merged into it, and what is refused. Real PEFT, real shapes."""

from __future__ import annotations

import json
import pickle
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from command_line import narrator, sentence
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from tiny_families import save_causal
from tiny_models import save_blip

from narrator import catalog
from narrator.adapters import TAKE_ADAPTERS, add_adapter, merge_adapter
from narrator.adapters.files import CONFIG, WEIGHTS
from narrator.adapters.placing import hidden, slug
from narrator.catalog import find_variant
from narrator.engine import Engine
from narrator.families import FAMILIES, family_class
from narrator.families.causal_lm import CausalLM, load_model
from narrator.hub import disk_bytes, local_folder, remove
from narrator.hub.cards import CARD, measured
from narrator.records import NarratorError, Variant
from narrator.settings import GenerationSettings

PROMPTS = ("a dog", "the red cat sits", "a man on the street", "two birds in the grass")
GREEDY = GenerationSettings(num_beams=1, max_new_tokens=8, no_repeat_ngram_size=0)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bases small-gpt2, small-llama and small-blip in `bases`, and loud, an adapter of small-gpt2. Copy, do not
    change."""
    home = tmp_path_factory.mktemp("made")
    for kind in ("gpt2", "llama"):
        save_causal(home / "bases" / f"small-{kind}", kind)
    save_blip(home / "bases" / "small-blip")
    save_adapter(home / "bases" / "small-gpt2", home / "loud", "somewhere/small-gpt2", "c_attn", "c_fc")
    return home


@pytest.fixture
def bases(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A catalog of the three bases alone."""
    folder = tmp_path / "checkpoints"
    shutil.copytree(made / "bases", folder)
    (tmp_path / "shipped.yaml").write_text("bundled: []\nvariants: []\n")
    monkeypatch.setattr(catalog, "SHIPPED", tmp_path / "shipped.yaml")
    monkeypatch.setattr(catalog, "CHECKPOINTS", tmp_path / "none")
    monkeypatch.setenv("NARRATOR_CHECKPOINTS", str(folder))
    return folder


@pytest.fixture
def loud(made: Path, tmp_path: Path) -> Path:
    """An adapter that changes small-gpt2 a lot; a copy."""
    return Path(shutil.copytree(made / "loud", tmp_path / "loud"))


def save_adapter(base: Path, folder: Path, told: str, *layers: str, **settings: Any) -> None:
    torch.manual_seed(5)
    turned = "gpt2" in base.name
    model = get_peft_model(load_model(base, "cpu"), LoraConfig(
        r=4, target_modules=list(layers), init_lora_weights=False, task_type="CAUSAL_LM", fan_in_fan_out=turned,
        **settings))
    model.peft_config["default"].base_model_name_or_path = told
    model.save_pretrained(folder, save_embedding_layers=False)


def answers(variant: Variant) -> list[str]:
    with_weights = CausalLM(variant, "cpu")
    return ["".join(piece.text for piece in with_weights.stream(None, prompt, GREEDY)) for prompt in PROMPTS]


def logits(variant: Variant) -> torch.Tensor:
    family = CausalLM(variant, "cpu")
    with torch.inference_mode():
        found: torch.Tensor = family.model(torch.arange(4, 16)[None]).logits
    return found


def refusal(act: Callable[[], object]) -> str:
    with pytest.raises(NarratorError) as refused:
        act()
    assert len(str(refused.value).splitlines()) == 1
    return str(refused.value)


def test_an_adapter_is_added_and_merged_and_says_the_same(bases: Path, loud: Path) -> None:
    base, added = find_variant("small-gpt2"), add_adapter(loud, "small-gpt2", name="loud")
    assert (added.id, added.source, added.adapter) == ("loud", str(bases / "small-gpt2"), str(bases / "loud"))
    assert yaml.safe_load((bases / "loud" / "variant.yaml").read_text())["source"] == "../small-gpt2"
    assert added.parameters == base.parameters + 4 * (16 + 48) + 4 * (16 + 64) and local_folder(added) is not None
    assert disk_bytes(added) < disk_bytes(base) and str(loud) not in (bases / "loud" / CONFIG).read_text()
    assert answers(added) != answers(base)

    (bases / "loud" / "metrics.json").write_text(json.dumps(
        {"scores": {"birds.jsonl": {"cider_d": {"value": 0.5, "low": 0.4, "high": 0.6}}}}))
    merged = merge_adapter("loud", "whole")
    assert (merged.id, merged.adapter, merged.source) == ("whole", None, str(bases / "whole"))
    assert merged.dtype == "bfloat16" and merged.parameters == base.parameters
    assert answers(merged) == answers(added)
    apart = (logits(added) - logits(base)).abs().mean()
    assert (logits(merged) - logits(added)).abs().mean() < 0.02 * apart  # bf16 keeps three figures
    stored = load_file(bases / "whole" / "model.safetensors")
    assert {value.dtype for value in stored.values()} == {torch.bfloat16}
    assert not [name for name in stored if "lora" in name]
    card = (bases / "whole" / CARD).read_text()
    assert "Base: small-gpt2" in card and "Adapter: loud, LoRA of rank 4" in card and "0.500 | 0.400 to 0.600" in card
    assert "model-index" not in card and measured(bases / "whole") == {}  # these weights have not been measured

    with pytest.raises(NarratorError, match="is built on Tiny small-gpt2: remove that one first"):
        remove("small-gpt2")
    assert remove("loud") > 0 and not (bases / "loud").exists() and (bases / "small-gpt2").is_dir()
    assert not [path for path in bases.iterdir() if path.name.startswith(".")]


def test_what_is_added_describes(bases: Path, loud: Path) -> None:
    """The door that the page and the commands use; memory is told before anything is loaded."""
    added = add_adapter(loud, "small-gpt2", name="loud")
    engine = Engine(device="cpu")
    with engine.use("loud") as family:
        assert "".join(piece.text for piece in family.stream(None, PROMPTS[0], GREEDY)) == answers(added)[0]
    engine.close()


def test_large_weights_are_cut_into_shards(bases: Path, loud: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_adapter(loud, "small-gpt2", name="loud")
    monkeypatch.setattr("narrator.adapters.merging.SHARD", "4KB")
    whole = merge_adapter("loud", "whole")
    shards = list((bases / "whole").glob("model-*-of-*.safetensors"))
    assert len(shards) > 1 and local_folder(whole) is not None and answers(whole) == answers(find_variant("loud"))


def test_a_picture_model_takes_one_too(bases: Path, made: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForImageTextToText

    model = AutoModelForImageTextToText.from_pretrained(bases / "small-blip")
    get_peft_model(model, LoraConfig(r=2, target_modules=["query", "value"], init_lora_weights=False)).save_pretrained(
        tmp_path / "sharp")
    added = add_adapter(tmp_path / "sharp", "small-blip", name="sharp")
    merged = merge_adapter("sharp", "sharp-whole")
    pixels = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    both = []
    for variant in (added, merged):
        family: Any = family_class("hub_vlm")(variant, "cpu")  # type: ignore[call-arg]
        with torch.inference_mode():
            both.append(family.model(pixel_values=pixels, input_ids=torch.arange(5, 9)[None]).logits.float())
    assert torch.allclose(both[0], both[1], atol=0.1)
    assert {path.name for path in (bases / "sharp-whole").iterdir()} - {CARD} == {
        path.name for path in (bases / "small-blip").iterdir()}


def test_an_adapter_of_another_base_is_refused_with_both_names(bases: Path, loud: Path, made: Path,
                                                               tmp_path: Path) -> None:
    told = refusal(lambda: add_adapter(loud, "small-llama", name="loud"))
    assert "loud was trained on small-gpt2, not on Tiny small-llama (small-llama)" in told
    liar = tmp_path / "liar"
    save_adapter(made / "bases" / "small-gpt2", liar, "", "c_attn")
    told = refusal(lambda: add_adapter(liar, "small-llama", name="liar"))
    assert "liar does not fit Tiny small-llama" in told and "none of the layers" in told
    for name, layers, expected in (("deep", ["c_attn"], "has no layer for transformer.h.1."),
                                   ("wide", ["c_attn"], "has the shape [4, 32], where this base needs [4, 16]")):
        other = tmp_path / "others" / "small-gpt2"
        shutil.rmtree(other.parent, ignore_errors=True)
        _save_gpt2(other, n_layer=2 if name == "deep" else 1, n_embd=32 if name == "wide" else 16)
        save_adapter(other, tmp_path / name, "small-gpt2", *layers)
        told = refusal(lambda name=name: add_adapter(tmp_path / name, "small-gpt2", name=name))  # type: ignore[misc]
        assert f"{name} does not fit Tiny small-gpt2" in told and expected in told, told
    assert sorted(path.name for path in bases.iterdir()) == ["small-blip", "small-gpt2", "small-llama"]


def _save_gpt2(folder: Path, **sizes: int) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    GPT2LMHeadModel(GPT2Config(vocab_size=64, n_head=2, n_positions=32, **sizes)).save_pretrained(folder)


def _rewrite(folder: Path, **changes: Any) -> None:
    settings = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps({**settings, **changes}))


def _lose(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    save_file(dict(list(tensors.items())[1:]), folder / WEIGHTS)


def _pickle(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    (folder / "adapter_model.bin").write_bytes(pickle.dumps({"a": 1}))


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut short": (lambda at: (at / WEIGHTS).write_bytes((at / WEIGHTS).read_bytes()[:-10]), "is damaged; get it again"),
    "garbage": (lambda at: (at / WEIGHTS).write_bytes(b"not weights at all"), "is damaged"),
    "a huge header": (lambda at: (at / WEIGHTS).write_bytes(struct.pack("<Q", 2**62) + b"{}"), "is damaged"),
    "pickled": (_pickle, "as a pickle, which can carry a program"),
    "a pickle in disguise": (lambda at: torch.save({"a": torch.zeros(2)}, at / WEIGHTS), "is a pickle under another"),
    "no weights": (lambda at: (at / WEIGHTS).unlink(), f"has no {WEIGHTS}"),
    "no settings": (lambda at: (at / CONFIG).unlink(), f"has no {CONFIG}"),
    "settings cut short": (lambda at: (at / CONFIG).write_text('{"peft_type"'), f"its {CONFIG} cannot be read"),
    "settings that are a list": (lambda at: (at / CONFIG).write_text("[]"), f"its {CONFIG} cannot be read"),
    "another kind": (lambda at: _rewrite(at, peft_type="IA3"), "only LoRA adapters"),
    "a rank that is none": (lambda at: _rewrite(at, r="four"), "cannot be put on|does not know"),
    "not whole": (_lose, "is not whole: its adapter_model.safetensors lacks 1 tensors"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_adapter_is_one_sentence_and_leaves_nothing(bases: Path, loud: Path, name: str) -> None:
    import re

    spoil, expected = BAD[name]
    spoil(loud)
    assert re.search(expected, refusal(lambda: add_adapter(loud, "small-gpt2", name="spoilt")))
    assert not (bases / "spoilt").exists() and not hidden(bases / "spoilt").exists()


def test_settings_cannot_import_what_they_name(bases: Path, loud: Path, tmp_path: Path,
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "evil.py").write_text("raise SystemExit('run')\n")
    monkeypatch.syspath_prepend(tmp_path)
    _rewrite(loud, megatron_config={"a": 1}, megatron_core="evil", a_setting_of_tomorrow=1,
             auto_mapping={"base_model_class": "Evil", "parent_library": "evil"})
    add_adapter(loud, "small-gpt2", name="loud")
    assert "evil" not in (bases / "loud" / CONFIG).read_text()


@pytest.mark.parametrize("name", ["", "Loud", "../loud", "a/b", ".loud", "a--b", "x" * 81, "small-gpt2"])
def test_names(bases: Path, loud: Path, name: str) -> None:
    told = refusal(lambda: add_adapter(loud, "small-gpt2", name=name))
    assert "cannot be named" in told or "There is a model 'small-gpt2' already" in told
    assert slug("My LoRA (2)") == "my-lora-2" and slug("../..") == ""


def test_what_takes_no_adapter_or_has_none(bases: Path, loud: Path, tmp_path: Path, sayer: None) -> None:
    from plumbing import write_checkpoint

    write_checkpoint(bases, "plain")
    assert "takes no adapters" in refusal(lambda: add_adapter(loud, "plain", name="loud"))
    assert "There is no variant 'small-gpt'" in refusal(lambda: add_adapter(loud, "small-gpt", name="loud"))
    assert "has no adapter: there is nothing to merge" in refusal(lambda: merge_adapter("small-gpt2", "whole"))
    add_adapter(loud, "small-gpt2", name="loud")
    assert "is an adapter on a base itself" in refusal(lambda: add_adapter(loud, "loud", name="louder"))
    assert "already" in refusal(lambda: merge_adapter("loud", "plain"))
    (bases / "small-gpt2" / "model.safetensors").write_bytes(b"0" * 100)
    assert "are damaged" in refusal(lambda: merge_adapter("loud", "whole"))
    assert not (bases / "whole").exists()


def test_the_list_of_families_is_true() -> None:
    assert len(FAMILIES) >= 6
    takes = [name for name in FAMILIES if getattr(family_class(name), "takes_adapter", False)]
    assert sorted(takes) == sorted(TAKE_ADAPTERS)


def test_by_command(bases: Path, loud: Path, tmp_path: Path) -> None:
    packed = shutil.make_archive(str(tmp_path / "Very Loud"), "zip", loud)
    done = narrator("adapter", "add", packed, "--base", "small-gpt2", checkpoints=bases)
    assert done.returncode == 0 and done.stdout.startswith("Tiny small-gpt2 with very-loud is here: "), done
    assert "not on Tiny small-llama" in sentence(narrator("adapter", "add", loud, "--base", "small-llama",
                                                          checkpoints=bases))
    done = narrator("merge", "very-loud", "--out", "whole", checkpoints=bases)
    assert done.returncode == 0 and done.stdout.startswith("Tiny small-gpt2 with very-loud, merged is here: "), done
    assert answers(find_variant("whole")) == answers(find_variant("very-loud"))
    assert "nothing to merge" in sentence(narrator("merge", "whole", "--out", "again", checkpoints=bases))

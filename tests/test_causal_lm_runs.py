"""Prompted language models from start to end: runs of all weights and of adapters, and the shipped presets."""


import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from prompted import PRESET, learn, prompted_data  # noqa: F401
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, OPTConfig

from narrator.catalog import load_variants
from narrator.engine import Engine
from narrator.records import NarratorError
from narrator.settings import GenerationSettings
from trainer import jobs
from trainer.card import PLACES
from trainer.config import Lora, TrainingConfig, load_config, parse_config
from trainer.events import read_events
from trainer.loop import run_job
from trainer.recipes.lora import attach, check_adapter, trainable


def run(preset: dict[str, Any], data: Path, home: Path) -> tuple[Path, Path]:
    """(the run's folder, the variant's) of a training from start to end, as `python -m trainer run` does it."""
    config = parse_config(preset, "test")
    folder = jobs.create_job(config.name, dataclasses.asdict(config), home / "runs")
    (folder / PLACES).write_text(json.dumps({"command": "python -m trainer run tiny.yaml"}))
    return folder, run_job(folder, load_config(folder / jobs.CONFIG), data, home / "checkpoints" / config.name)


@pytest.fixture(scope="module")
def runs(data, tmp_path_factory):
    """A home with a run of all weights, then one of an adapter on what it made: (home, its run, the adapter's)."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NARRATOR_CHECKPOINTS", str(home / "checkpoints"))
        first, _ = run({**PRESET, "curriculum": 1.0}, data, home)
        second, _ = run({**PRESET, "name": "tiny-vivid", "base": "checkpoints/tiny-prompt", "vivid": 0.5,
                         "lora": {"r": 4, "targets": "c_attn"}}, data, home)
        yield home, first, second


def test_runs_make_variants_that_narrate(runs) -> None:
    home, first, second = runs
    variants = load_variants(home / "checkpoints")
    assert set(variants) >= {"tiny-prompt", "tiny-vivid"}
    assert variants["tiny-vivid"].source == variants["tiny-prompt"].source == str(home / "checkpoints" / "tiny-prompt")
    engine = Engine(home / "checkpoints", device="cpu")
    for name in ("tiny-prompt", "tiny-vivid"):
        with engine.use(name) as family:
            assert list(family.stream(None, "Describe this image: a brown dog", GenerationSettings(num_beams=2)))
        card = (home / "checkpoints" / name / "README.md").read_text()
        assert "loss, everything scored" in card and str(home) not in card
        assert str(home) not in (home / "checkpoints" / name / "variant.yaml").read_text()
    engine.close()
    told = [event["event"] for event in read_events(first / "events.jsonl")[0]]
    assert told.count("curriculum") == told.count("evaluation") - 1 == 2, "one more at step 0"
    assert "curriculum" not in {event["event"] for event in read_events(second / "events.jsonl")[0]}


def test_a_run_of_adapters_goes_on_from_its_checkpoint(runs, data) -> None:
    home, _, second = runs
    stage = second / "stages" / "learn"
    checkpoints = sorted(stage.glob("checkpoint-*"), key=lambda path: int(path.name.partition("-")[2]))
    last = int(checkpoints[-1].name.partition("-")[2])
    assert len(checkpoints) == 2 and not list(stage.rglob("model*.safetensors"))
    for gone in (stage / "stage.json", stage / "ended.json", second / "variant.yaml"):
        gone.unlink()
    shutil.rmtree(stage / "best")
    shutil.rmtree(checkpoints[-1])  # as if it had been killed in its second half
    before = len(read_events(second / "events.jsonl")[0])
    out = run_job(second, load_config(second / jobs.CONFIG), data, home / "checkpoints" / "tiny-vivid")
    steps = [event["step"] for event in read_events(second / "events.jsonl")[0][before:] if event["event"] == "step"]
    assert steps == list(range(last // 2 + 1, last + 1))
    first, again = (load_file(folder / "adapter_model.safetensors")
                    for folder in (home / "checkpoints" / "tiny-vivid", out))
    assert out.name == "tiny-vivid-2" and set(first) == set(again)
    assert all(torch.allclose(first[name].float(), again[name].float(), atol=2e-2) for name in first)


def lose(weights: Path) -> None:
    """One tensor of an adapter less."""
    tensors = load_file(weights)
    tensors.pop(min(tensors))
    save_file(tensors, weights, {"format": "pt"})


def another(weights: Path) -> None:
    """One tensor that nobody knows."""
    save_file({**load_file(weights), "base_model.model.more": torch.zeros(2)}, weights, {"format": "pt"})


@pytest.mark.parametrize(("damage", "told"), [
    (lose, "1 tensors are missing .* and 0 unknown, such as .*lora_A"), (another, "and 1 unknown, such as .*more"),
    (Path.unlink, "adapter_model.safetensors is missing"),
], ids=["a tensor lost", "one too many", "no weights"])
@pytest.mark.parametrize("over", [True, False], ids=["its last", "half way"])
def test_adapters_that_are_not_whole_are_no_place_to_go_on_from(runs, data, tmp_path, damage, told, over) -> None:
    """PEFT would train on with fresh ones in their place, and the loss curve would not tell."""
    home, _, second = runs
    run = tmp_path / second.name
    shutil.copytree(second, run)
    stage = run / "stages" / "learn"
    for gone in (stage / "stage.json", stage / "ended.json", run / "variant.yaml"):
        gone.unlink(missing_ok=True)
    shutil.rmtree(stage / "best")
    first, last = sorted(stage.glob("checkpoint-*"), key=lambda path: int(path.name.partition("-")[2]))
    if not over:
        shutil.rmtree(last)
    for state in stage.glob("*/trainer_state.json"):  # the copy's own checkpoints
        state.write_text(state.read_text().replace(str(second), str(run)))
    for checkpoint in (first, last) if over else (first,):
        damage(checkpoint / "adapter_model.safetensors")
    with pytest.raises(NarratorError, match=f"not whole: .*{told}.*Remove it and resume"):
        run_job(run, load_config(run / jobs.CONFIG), data, home / "checkpoints" / "tiny-vivid")
    assert read_events(run / "events.jsonl")[0][-1]["event"] == "failed"


def test_adapters_on_the_vocabulary_are_whole_too(tmp_path) -> None:
    """PEFT keeps the layer itself beside them."""
    base = GPT2LMHeadModel(GPT2Config(n_layer=1, n_embd=16, n_head=2, vocab_size=40))
    model = attach(base, Lora(targets="c_attn,lm_head"))
    model.save_pretrained(tmp_path)
    assert any(".base_layer." in name for name in load_file(tmp_path / "adapter_model.safetensors"))
    check_adapter(model, tmp_path)
    another(tmp_path / "adapter_model.safetensors")
    with pytest.raises(NarratorError, match=r"1 unknown, such as .*more"):
        check_adapter(model, tmp_path)


def test_adapters_of_opt_2_7b_have_the_originals_size() -> None:
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(OPTConfig(
            hidden_size=2560, num_hidden_layers=32, ffn_dim=10240, num_attention_heads=32, word_embed_proj_dim=2560,
            vocab_size=50272, max_position_embeddings=2048))
    preset = load_config(Path(__file__).parents[1] / "trainer" / "presets" / "opt-2.7b-lora.yaml")
    assert preset.lora == Lora(r=16, alpha=32.0, dropout=0.1, targets="q_proj,v_proj,k_proj")
    learning, total = trainable(attach(model, preset.lora))
    assert learning == 7_864_320
    assert 100 * learning / total == pytest.approx(0.30, abs=0.005)
    with pytest.raises(NarratorError, match=r"no layer 'c_attn'.*q_proj"):
        attach(AutoModelForCausalLM.from_config(OPTConfig(
            hidden_size=16, num_hidden_layers=1, ffn_dim=16, num_attention_heads=2, word_embed_proj_dim=16,
            vocab_size=50)), Lora(targets="c_attn"))


@pytest.mark.parametrize("name", ["prompt-narrator", "prompt-narrator-vivid", "dialogpt-small", "gpt2", "gpt2-medium",
                                  "opt-2.7b-lora", "qwen2.5-3b-lora", "llama-3.2-3b-lora"])
def test_presets_are_whole(name, root) -> None:
    path = root / "trainer" / "presets" / f"{name}.yaml"
    config: TrainingConfig = load_config(path)
    assert config.recipe == "causal_lm" and all(stage.objective == "answer" for stage in config.stages)
    assert (config.lora is not None) == (name.endswith("-lora") or name == "prompt-narrator-vivid")
    assert config.license and config.provenance and config.card
    assert f"python -m trainer run trainer/presets/{name}.yaml" in path.read_text()

"""A base and its adapters side by side: one copy of the weights in memory, and each says what it says alone."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from tiny_families import save_causal

from narrator.comparing import Entrant, compare, figures
from narrator.engine import MARGIN_BYTES, Engine
from narrator.families.causal_lm import ADAPTER, ADAPTER_WEIGHTS, CausalLM, adds_only, load_model
from narrator.records import Inputs, Variant
from narrator.settings import GenerationSettings
from narrator.weights import adapter_bytes, bytes_needed

GREEDY = GenerationSettings(num_beams=1, max_new_tokens=8, no_repeat_ngram_size=0)
PROMPT = "describe this picture"


def save_adapter(base: Path, folder: Path, seed: int, **changes: Any) -> None:
    """A LoRA adapter that changes its base a lot, and the manifest of a variant with it."""
    torch.manual_seed(seed)
    lora = LoraConfig(**{"r": 4, "target_modules": ["q_proj", "v_proj"], "init_lora_weights": False,
                         "task_type": "CAUSAL_LM", **changes})
    model = get_peft_model(load_model(base, "cpu"), lora)
    model.peft_config["default"].base_model_name_or_path = base.name
    model.save_pretrained(folder, save_embedding_layers=False)
    manifest = yaml.safe_load((base / "variant.yaml").read_text())
    (folder / "variant.yaml").write_text(yaml.safe_dump({**manifest, "id": folder.name, "title": folder.name,
                                                         "source": f"../{base.name}", "adapter": "."}))


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ "base", a small Llama, and its adapters "loud" and "quiet"; "whole" has a layer of its own, too."""
    home = tmp_path_factory.mktemp("checkpoints")
    save_causal(home / "base", "llama")
    manifest = yaml.safe_load((home / "base" / "variant.yaml").read_text())
    (home / "base" / "variant.yaml").write_text(yaml.safe_dump({**manifest, "id": "base", "title": "base"}))
    for seed, name in enumerate(("loud", "quiet"), start=1):
        save_adapter(home / "base", home / name, seed)
    save_adapter(home / "base", home / "whole", 3, modules_to_save=["lm_head"])
    return home


def said(engine: Engine, name: str) -> list[tuple[str, float | None]]:
    with engine.use(name) as family:
        return [(piece.text, piece.probability) for piece in family.stream(None, PROMPT, GREEDY)]


@pytest.fixture(scope="module")
def alone(checkpoints: Path) -> dict[str, list[tuple[str, float | None]]]:
    """What each says, and how surely, in an engine of its own."""
    return {name: said(Engine(checkpoints, device="cpu"), name) for name in ("base", "loud", "quiet", "whole")}


def storages(engine: Engine, name: str) -> set[int]:
    with engine.use(name) as family:
        assert isinstance(family, CausalLM)
        return {tensor.untyped_storage().data_ptr() for tensor in family.model.parameters()}


@pytest.mark.parametrize("order", [("base", "loud", "quiet"), ("loud", "base", "quiet")], ids="-".join)
def test_one_copy_of_the_weights_and_nobody_says_anything_else(checkpoints: Path, alone: dict, order: tuple) -> None:
    engine = Engine(checkpoints, device="cpu")
    for _ in range(2):
        assert {name: said(engine, name) for name in order} == {name: alone[name] for name in order}
    base, loud, quiet = (storages(engine, name) for name in ("base", "loud", "quiet"))
    assert base < loud and base < quiet and loud & quiet == base  # an adapter's own matrices are all that is added
    sizes = {name: engine.memory(name) for name in order}
    assert set(sizes["base"][1]) == {"loud", "quiet"} and set(sizes["loud"][1]) == {"base", "quiet"}
    own = 2 * 2 * 4 * 16 * 4  # two layers' A and B of rank 4, 16 wide, as float32; keys and values are as wide
    assert sizes["loud"][0] == sizes["quiet"][0] and 0 < sizes["loud"][0] - sizes["base"][0] <= own
    engine.unload(order[0])
    assert said(engine, order[1]) == alone[order[1]] and engine.memory(order[0]) == (0, ())
    assert said(engine, order[0]) == alone[order[0]] and storages(engine, order[0]) & storages(engine, order[1]) == base


def test_a_base_and_its_adapter_side_by_side_tell_what_they_share(checkpoints: Path) -> None:
    engine = Engine(checkpoints, device="cpu")
    entrants = [Entrant(variant=name, settings=GREEDY) for name in ("base", "loud", "whole")]
    base, loud, whole = list(compare(entrants, prompt=PROMPT, engine=engine))[-1].comparison.results
    assert base.text.split() and base.text != loud.text and (base.shares, loud.shares) == (("loud",), ("base",))
    assert base.memory_bytes > 0 and whole.memory_bytes > 0 and whole.shares == ()
    memory = dict(figures([base, loud, whole]))["Memory of the weights"]
    assert memory[0].endswith("MB, shared with loud") and "shared" not in memory[2]


def test_an_adapter_that_would_change_its_base_is_loaded_by_itself(checkpoints: Path, alone: dict,
                                                                   tmp_path: Path) -> None:
    assert alone["whole"] != alone["base"] != alone["loud"]
    engine = Engine(checkpoints, device="cpu")
    for name in ("base", "whole", "loud"):
        assert said(engine, name) == alone[name]
    assert not storages(engine, "base") & storages(engine, "whole") and engine.memory("whole")[1] == ()
    variant = Variant(id="x", title="X", family="causal_lm", source=str(checkpoints / "base"),
                      inputs=Inputs(image=False, text=True), adapter=str(tmp_path))

    def write(change: Callable[[dict, dict], None]) -> None:
        told = json.loads((checkpoints / "loud" / ADAPTER).read_text())
        weights = load_file(checkpoints / "loud" / ADAPTER_WEIGHTS)
        change(told, weights)
        (tmp_path / ADAPTER).write_text(json.dumps(told))
        save_file(weights, tmp_path / ADAPTER_WEIGHTS)

    write(lambda told, weights: None)
    assert adds_only(variant)
    write(lambda told, weights: told.update(init_lora_weights="pissa"))  # takes its matrices out of the base's weights
    assert not adds_only(variant)
    write(lambda told, weights: weights.update({"base_model.model.lm_head.weight": torch.zeros(2, 2)}))
    assert not adds_only(variant)


def test_room_is_made_for_the_adapter_alone(checkpoints: Path) -> None:
    """With memory for the base and the adapter, but not for the base twice."""
    from narrator.catalog import find_variant

    base, loud = (find_variant(name, checkpoints) for name in ("base", "loud"))
    assert 0 < adapter_bytes(loud)[1] < bytes_needed(base)[1] < bytes_needed(loud)[1] and adapter_bytes(base) == (0, 0)
    free = [MARGIN_BYTES + bytes_needed(base)[1]]
    engine = Engine(checkpoints, device="cpu", free=lambda device: free[0])
    said(engine, "base")
    free[0] = MARGIN_BYTES + adapter_bytes(loud)[1]
    said(engine, "loud")
    assert engine.loaded() == ["base", "loud"]

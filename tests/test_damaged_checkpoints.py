"""Damaged checkpoints: each kind is told in a sentence that names the folder, and nothing stays half loaded."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from plumbing import Sayer, write_checkpoint

from narrator.engine import Engine
from narrator.records import NarratorError

pytestmark = pytest.mark.usefixtures("sayer")


def cut(name: str, keep: int) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        (folder / name).write_bytes((folder / name).read_bytes()[:keep])
    return apply


def write(name: str, data: bytes) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        (folder / name).write_bytes(data)
    return apply


def drop(pattern: str) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        for path in list(folder.glob(pattern)):
            path.unlink()
    return apply


def map_elsewhere(folder: Path) -> None:
    index = folder / "model.safetensors.index.json"
    values = json.loads(index.read_text())
    values["weight_map"]["third"] = "model-00001-of-00002.safetensors"
    index.write_text(json.dumps(values))


SHARD = "model-00002-of-00002.safetensors"
DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "header of garbage": (write(SHARD, b"\x07garbage" * 40), f"weights {SHARD} are damaged"),
    "header no JSON": (write(SHARD, (8).to_bytes(8, "little") + b"notjson!"), f"weights {SHARD} are damaged"),
    "empty shard": (write(SHARD, b""), f"weights {SHARD} are damaged"),
    "shard cut in its header": (cut(SHARD, 20), f"weights {SHARD} are damaged"),
    "shard cut in its data": (cut(SHARD, 500), f"weights {SHARD} are cut short"),
    "missing shard": (drop(SHARD), f"weights {SHARD} are missing"),
    "tensor missing in its shard": (map_elsewhere, "lacks 'third'"),
    "no weights": (drop("model*"), "holds no weights"),
    "index no JSON": (write("model.safetensors.index.json", b"{"), "model.safetensors.index.json is damaged"),
    "index empty": (write("model.safetensors.index.json", b"{}"), "lists no weights"),
    "missing config": (drop("config.json"), "config.json is missing"),
    "config no JSON": (write("config.json", b"{"), "config.json is damaged"),
    "config a list": (write("config.json", b"[]"), "config.json is damaged"),
    "config of something else": (write("config.json", b"{}"), "cannot be loaded .*'words'"),
    "missing manifest": (drop("variant.yaml"), "has no variant.yaml"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_told_in_a_sentence_and_nothing_stays_half_loaded(name: str, engine: Engine, tmp_path: Path) -> None:
    damage, expected = DAMAGE[name]
    whole = {path.name: path.read_bytes() for path in (tmp_path / "sayer").iterdir()}
    damage(tmp_path / "sayer")
    with pytest.raises(NarratorError, match=expected) as caught, engine.use("sayer"):
        pass
    message = str(caught.value)
    assert str(tmp_path / "sayer") in message and "\n" not in message and message.endswith(".")
    assert engine.loaded() == [] == Sayer.alive
    for file, data in whole.items():  # and once it is mended, it works
        (tmp_path / "sayer" / file).write_bytes(data)
    with engine.use("sayer"):
        assert engine.loaded() == ["sayer"]


def test_damaged_adapter(engine: Engine, tmp_path: Path) -> None:
    write_checkpoint(tmp_path, "adapted", adapter="lora")
    with pytest.raises(NarratorError, match=r"lora: its adapter_config\.json is missing"), engine.use("adapted"):
        pass


def test_an_adapter_is_not_left_out_in_silence(engine: Engine, tmp_path: Path) -> None:
    """The adapter is whole, and the family would describe without it."""
    from safetensors.numpy import save_file

    folder = write_checkpoint(tmp_path, "adapted", adapter="lora")
    (folder / "lora").mkdir()
    (folder / "lora" / "adapter_config.json").write_text("{}")
    save_file({"a": np.zeros(4, dtype=np.float16)}, folder / "lora" / "adapter_model.safetensors")
    with pytest.raises(NarratorError, match="this family cannot put an adapter on") as caught, engine.use("adapted"):
        pass
    assert str(folder / "lora") in str(caught.value) and "\n" not in str(caught.value)
    assert engine.loaded() == [] == Sayer.alive


def test_a_broken_variant_takes_nobody_else_out_of_memory(engine: Engine, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, "broken")
    with engine.use("sayer"):
        pass
    cut(SHARD, 500)(folder)
    with pytest.raises(NarratorError), engine.use("broken"):
        pass
    assert engine.loaded() == ["sayer"]
    engine.close()
    assert engine.loaded() == []


def change_weights(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        from safetensors.numpy import load_file, save_file

        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return apply


def change_json(name: str, **values: Any) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        (folder / name).write_text(json.dumps({**json.loads((folder / name).read_text()), **values}))
    return apply


LAYER = "decoder.transformer.h.0.mlp.c_fc.weight"
REAL_DAMAGE: dict[str, Callable[[Path], None]] = {
    "wrong shape": change_weights(lambda tensors: tensors.update({LAYER: tensors[LAYER][:, :5].copy()})),
    "missing tensor": change_weights(lambda tensors: tensors.pop(LAYER)),
    "shard cut": cut("model.safetensors", 3000),
    "another model's config": write("config.json", b'{"model_type": "bert"}'),
    "config value of a wrong type": change_json("config.json", encoder=7),
    "no tokenizer": drop("tokenizer*"),
    "tokenizer no JSON": write("tokenizer.json", b"{"),
    "tokenizer of something else": write("tokenizer.json", b"{}"),
    "no preprocessor": drop("preprocessor_config.json"),
    "preprocessor of something else": write("preprocessor_config.json", b"[]"),
}


@pytest.mark.parametrize("name", REAL_DAMAGE)
def test_a_damaged_captioner_is_told_in_a_sentence(name: str, tiny_checkpoints: Path, tmp_path: Path) -> None:
    folder = tmp_path / "tiny-captioner"
    shutil.copytree(tiny_checkpoints / "tiny-captioner", folder)
    REAL_DAMAGE[name](folder)
    engine = Engine(tmp_path, device="cpu")
    with pytest.raises(NarratorError) as caught, engine.use("tiny-captioner"):
        pass
    message = str(caught.value)
    assert str(folder) in message and "\n" not in message
    assert "restore the folder" in message and len(message) < 600, message
    assert engine.loaded() == []

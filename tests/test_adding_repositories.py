"""Repositories of the Hub in the catalog: entries of one's own, which `pull` downloads and `remove` takes out. The hub
is a small one of our own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
import yaml
from adding import GREEDY, empty_catalog, picture, plain, refusal
from command_line import narrator
from safetensors.torch import save_file
from small_hub import Repository, SmallHub, repository

from narrator.adding import add_repository
from narrator.catalog import find_variant, load_variants
from narrator.engine import Engine
from narrator.hub import local_folder, pull, remove
from narrator.records import Variant
from narrator.weights import counted, stored_bytes


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where added models go: an empty catalog."""
    return empty_catalog(tmp_path, monkeypatch)


def test_a_repository_is_an_entry_that_pull_downloads(home: Path, tmp_path: Path, small: SmallHub) -> None:
    folder = plain(tmp_path / "theirs", "vit-gpt2")
    small.repositories["someone/Vit.GPT2"] = repository(folder, told={
        "cardData": {"license": "apache-2.0"}, "safetensors": {"parameters": {"F32": 12_345}, "total": 12_345}})
    done = narrator("add", "someone/Vit.GPT2", checkpoints=home)
    assert done.returncode == 0 and "in the catalog as vit-gpt2 (encoder_decoder)" in done.stdout, done
    assert [path.name for path in (home / "vit-gpt2").iterdir()] == ["variant.yaml"]
    assert yaml.safe_load((home / "vit-gpt2" / "variant.yaml").read_text())["source"] == "someone/Vit.GPT2"
    added = find_variant("vit-gpt2")
    assert (added.parameters, added.dtype, added.license) == (12_345, "float32", "apache-2.0")
    assert not small.fetched("model.safetensors") and local_folder(added) is None
    assert "is in the catalog already: `python -m narrator pull vit-gpt2`" in refusal(
        lambda: add_repository("someone/Vit.GPT2", name="again"))
    assert "is not on this machine: download someone/Vit.GPT2" in refusal(
        lambda: Engine(device="cpu").use("vit-gpt2").__enter__())

    pull(added)
    with Engine(device="cpu").use("vit-gpt2") as family:
        assert [piece for piece in family.stream(picture(), "", GREEDY) if piece.text]
    done = narrator("remove", "vit-gpt2", "--yes", checkpoints=home)
    assert done.returncode == 0 and not load_variants() and not list(home.iterdir()), done
    assert local_folder(added) is None


@pytest.mark.parametrize(("counts", "parameters", "dtype"), [
    ({"I8": 100, "U8": 5, "F16": 50}, 155, "int8"), ({"F16": 400, "F8_E4M3": 600}, 1000, "float8")])
def test_formats_are_counted_by_what_they_are_here(home: Path, tmp_path: Path, small: SmallHub, parameters: int,
                                                   counts: dict[str, int], dtype: str) -> None:
    small.repositories["someone/gpt2"] = repository(plain(tmp_path / "theirs", "gpt2"), told={
        "safetensors": {"parameters": counts, "total": sum(counts.values())}})
    added = add_repository("someone/gpt2")
    assert (added.parameters, added.dtype) == (parameters, dtype)
    assert stored_bytes(added) == parameters  # a byte each


def test_float8_is_counted_from_headers(tmp_path: Path) -> None:
    matrix = torch.zeros(3, 5).to(torch.float8_e4m3fn)
    save_file({"matrix": matrix, "norm": torch.zeros(5)}, tmp_path / "model.safetensors")
    assert counted(tmp_path) == (20, "float8")


def test_an_entry_that_was_never_downloaded_is_removed(home: Path, tmp_path: Path, small: SmallHub) -> None:
    small.repositories["someone/gpt2"] = repository(plain(tmp_path / "theirs", "gpt2"))
    added = add_repository("someone/gpt2", name="theirs", title="Theirs", family="causal_lm")
    assert added.parameters > 1000 and added.dtype == "float32" and added.title == "Theirs"
    assert remove("theirs") == 0 and not load_variants()


def test_what_the_cache_holds_needs_no_hub(home: Path, tmp_path: Path, small: SmallHub) -> None:
    small.repositories["someone/gpt2"] = repository(plain(tmp_path / "theirs", "gpt2"))
    pull(add_repository("someone/gpt2"))
    shutil.rmtree(home / "gpt2")
    small.repositories.clear()
    assert answer_of(add_repository("someone/gpt2", name="again"))


def answer_of(variant: Variant) -> str:
    with Engine(device="cpu").use(variant.id) as family:
        return "".join(piece.text for piece in family.stream(None, "a dog", GREEDY))


def test_a_repository_is_refused_in_a_sentence(home: Path, tmp_path: Path, small: SmallHub) -> None:
    whole = repository(plain(tmp_path / "theirs", "gpt2"))
    code = {**whole.files, "config.json": b'{"model_type": "gpt2", "auto_map": {"AutoModel": "a.B"}}'}
    bert = {**whole.files, "config.json": b'{"model_type": "bert", "architectures": ["BertForMaskedLM"]}'}
    pickled = {name: content for name, content in whole.files.items() if not name.endswith(".safetensors")}
    for name, files, expected in (
            ("code", code, "wants to run code of its own"), ("bert", bert, "is a BertForMaskedLM, which no family"),
            ("pickled", {**pickled, "pytorch_model.bin": b"pickle"}, "holds no weights as safetensors"),
            ("list", {**whole.files, "config.json": b"[1]"}, "what answers is no hub"),
            ("bare", {"model.safetensors": whole.files["model.safetensors"]}, "has no config.json")):
        small.repositories[f"someone/{name}"] = Repository(files=files)
        assert expected in refusal(lambda name=name: add_repository(f"someone/{name}"))  # type: ignore[misc]
    small.repositories["someone/gated"] = Repository(files=whole.files, gated=True)
    assert "agreed to its terms" in refusal(lambda: add_repository("someone/gated"))
    assert "the hub knows no someone/else" in refusal(lambda: add_repository("someone/else"))
    small.repositories["someone/gpt2"] = whole
    told = refusal(lambda: add_repository("someone/gpt2", family="hub_vlm"))
    assert "belongs to the family causal_lm, not to" in told
    assert not home.exists() or not list(home.iterdir())

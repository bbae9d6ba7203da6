"""The catalog: what is read, in which order, and what a damaged entry leaves behind."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from narrator import catalog
from narrator.catalog import default_variant, find_variant, load_variants, problems
from narrator.families import FAMILIES, family_class
from narrator.hub import is_hub_id
from narrator.records import Inputs, NarratorError

GOOD: dict[str, Any] = {
    "id": "photo-captioner", "title": "Photo captioner", "family": "encoder_decoder", "source": ".",
    "inputs": {"image": True, "text": False}, "default_prompt": "", "parameters": 16000000, "dtype": "bfloat16",
    "license": "Apache-2.0", "provenance": "Trained here."}


def put(parent: Path, name: str, text: str | None = None, **changes: Any) -> Path:
    """A checkpoint folder with a variant.yaml: `text` as it is, else GOOD with its id = `name` and `changes`."""
    folder = parent / name
    folder.mkdir(parents=True)
    values = {**GOOD, "id": name, **changes}
    values = {key: value for key, value in values.items() if value is not ...}
    (folder / "variant.yaml").write_text(yaml.safe_dump(values) if text is None else text, encoding="utf-8")
    return folder

REAL = catalog.SHIPPED


@pytest.fixture(autouse=True)
def no_other_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The catalog of an empty house: nothing of this machine's checkpoints."""
    monkeypatch.delenv("NARRATOR_CHECKPOINTS", raising=False)
    monkeypatch.setattr(catalog, "CHECKPOINTS", tmp_path / "own")
    (tmp_path / "shipped.yaml").write_text("bundled: [photo-captioner]\nvariants: []\n", encoding="utf-8")
    monkeypatch.setattr(catalog, "SHIPPED", tmp_path / "shipped.yaml")


def test_a_checkpoint_becomes_a_variant(tmp_path: Path) -> None:
    folder = put(tmp_path / "own", "photo-captioner", adapter="lora")
    variant = load_variants()["photo-captioner"]
    assert variant.source == str(folder.resolve()) and variant.adapter == str(folder.resolve() / "lora")
    assert variant.inputs == Inputs(image=True, text=False)
    assert (variant.parameters, variant.dtype, variant.revision) == (16000000, "bfloat16", None)
    assert problems() == []


def test_bundled_first_then_by_name_then_added_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("zebra", "aardvark", "photo-captioner"):
        put(tmp_path / "own", name)
    put(tmp_path / "added", "badger")
    put(tmp_path / "more", "adder")
    monkeypatch.setenv("NARRATOR_CHECKPOINTS", f"{tmp_path / 'added'}:{tmp_path / 'more'}")
    assert list(load_variants()) == ["photo-captioner", "aardvark", "zebra", "badger", "adder"]
    assert default_variant().id == "photo-captioner"
    assert list(load_variants(tmp_path / "added")) == ["badger"]


def test_the_shipped_file_adds_hub_variants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = tmp_path / "variants.yaml"
    entries = [{**GOOD, "id": "hub-one", "source": "owner/name"}, {**GOOD, "id": "own-one"}, {**GOOD, "id": "Bad Id"}]
    shipped.write_text(yaml.safe_dump({"bundled": ["own-one"], "variants": entries}))
    monkeypatch.setattr(catalog, "SHIPPED", shipped)
    put(tmp_path / "own", "own-one", title="From the folder")
    put(tmp_path / "own", "an-early-one")
    assert list(load_variants()) == ["own-one", "an-early-one", "hub-one"]
    assert load_variants()["hub-one"].source == "owner/name"
    assert load_variants()["own-one"].title == "From the folder"
    assert len(problems()) == 2 and "already" in problems()[0] and "small letters" in problems()[1]


def test_a_model_that_has_just_been_trained_is_there_at_once(tmp_path: Path) -> None:
    assert load_variants() == {}
    put(tmp_path / "own", "new-one")
    assert list(load_variants()) == ["new-one"]


def test_the_real_catalog_is_whole(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shipped variants.yaml has no entry that cannot be read, and says what to know before a download."""
    monkeypatch.setattr(catalog, "SHIPPED", REAL)
    assert problems() == []
    far = [variant for variant in load_variants().values() if is_hub_id(variant.source)]
    assert len(far) >= 10 and all(one.parameters and one.license and one.provenance for one in far)


DAMAGED: dict[str, tuple[dict[str, Any], str]] = {
    "unknown key": ({"titel": "x"}, "unknown setting 'titel'. Did you mean 'title'?"),
    "missing key": ({"family": ...}, "'family' is missing"),
    "empty key": ({"title": None}, "'title' is missing"),
    "unknown family": ({"family": "encoder_decodr"},
                       "unknown family 'encoder_decodr'. Did you mean 'encoder_decoder'?"),
    "odd id": ({"id": "Photo Captioner"}, "small letters, digits and hyphens"),
    "inputs as text": ({"inputs": "image"}, "'inputs' must look like"),
    "inputs with an unknown key": ({"inputs": {"imag": True}}, "unknown setting 'imag'. Did you mean 'image'?"),
    "no inputs": ({"inputs": {"image": False, "text": False}}, "image or text true"),
    "a count that is none": ({"parameters": "many"}, "'parameters' must be a whole number"),
    "not yaml": ({"text": "id: [1, 2"}, "is not valid YAML in line 1"),
    "a list": ({"text": "- id"}, "must be a list of 'name: value' lines"),
    "empty": ({"text": ""}, "must be a list of 'name: value' lines"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_entry_is_left_out_and_told(name: str, tmp_path: Path) -> None:
    changes, expected = DAMAGED[name]
    put(tmp_path / "own", "broken", **changes)
    put(tmp_path / "own", "whole")
    assert list(load_variants()) == ["whole"]
    (problem,) = problems()
    assert expected in problem and "broken" in problem and "\n" not in problem
    with pytest.raises(NarratorError, match="broken"):
        find_variant("broken")


def test_folders_without_a_manifest_and_odd_bytes(tmp_path: Path) -> None:
    (tmp_path / "own" / "unfinished").mkdir(parents=True)
    (tmp_path / "own" / ".hidden").mkdir()
    (tmp_path / "own" / "readme.txt").write_text("no folder")
    (put(tmp_path / "own", "odd") / "variant.yaml").write_bytes(b"\xff\xfe\x00id")
    assert load_variants() == {}
    assert ["is not text" in problems()[0], "unfinished" in problems()[1]] == [True, True]


def test_an_unknown_variant_gets_the_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(NarratorError, match="catalog is empty"):
        find_variant("photo-captioner")
    with pytest.raises(NarratorError, match="no variant yet"):
        default_variant()
    put(tmp_path / "own", "photo-captioner")
    with pytest.raises(NarratorError, match=r"'photo-captoner'\. Did you mean 'photo-captioner'\?"):
        find_variant("photo-captoner")
    with pytest.raises(NarratorError, match="Choose one of: photo-captioner"):
        find_variant("gpt-9000")


def test_every_family_in_the_table_can_be_imported(root: Path) -> None:
    assert FAMILIES
    for name in FAMILIES:
        assert all(callable(getattr(family_class(name), method)) for method in ("stream", "batch", "close"))
    with pytest.raises(NarratorError, match=r"unknown family 'encoder-decoder'\. Did you mean 'encoder_decoder'\?"):
        family_class("encoder-decoder")


def test_the_catalog_loads_no_torch(root: Path) -> None:
    script = "import sys; from narrator.catalog import load_variants; load_variants(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "False"

"""The door for models that somebody else saved: folders and repositories become variants, or are refused in a
sentence. Tiny random weights of the real architectures, saved by transformers itself."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from adding import GREEDY, SAVED, empty_catalog, picture, plain, refusal
from command_line import narrator, sentence
from safetensors.torch import load_file, save_file

from narrator.adapters.placing import hidden
from narrator.adding import add_folder
from narrator.catalog import find_variant, load_variants, read_variant
from narrator.engine import Engine
from narrator.families import FAMILIES, family_class
from narrator.hub import remove
from narrator.records import Inputs, Variant
from narrator.settings import GenerationSettings

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # PaliGemma's processor


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where added models go: an empty catalog."""
    return empty_catalog(tmp_path, monkeypatch)


def answer(variant: Variant, prompt: str = "") -> str:
    family: Any = family_class(variant.family)(variant, "cpu")  # type: ignore[call-arg]
    image = picture() if variant.inputs.image else None
    return "".join(piece.text for piece in family.stream(image, prompt or variant.default_prompt, GREEDY))


@pytest.mark.parametrize("name", SAVED)
def test_every_kind_of_folder_is_recognised_and_speaks(name: str, home: Path, tmp_path: Path) -> None:
    family, save = SAVED[name]
    save(tmp_path / "theirs")
    known = read_variant(tmp_path / "theirs" / "variant.yaml")
    (tmp_path / "theirs" / "variant.yaml").unlink()
    before = sorted(path.name for path in (tmp_path / "theirs").iterdir())
    added = add_folder(tmp_path / "theirs", name="mine", title="Mine")
    assert (added.id, added.title, added.family, added.source) == ("mine", "Mine", family, str(home / "mine"))
    assert added.parameters == known.parameters and added.dtype == "float32"
    assert sorted(path.name for path in home.joinpath("mine").iterdir()) == sorted([*before, "variant.yaml"])
    assert sorted(path.name for path in (tmp_path / "theirs").iterdir()) == before
    shutil.rmtree(tmp_path / "theirs")
    assert answer(added) and find_variant("mine") == added
    assert remove("mine") > 0 and not load_variants() and not list(home.iterdir())


def test_every_family_with_weights_has_a_way_in() -> None:
    assert {family for family, _ in SAVED.values()} == set(FAMILIES) - {"remote"}


def test_what_is_added_is_a_variant_like_any_other(home: Path, tmp_path: Path) -> None:
    folder = plain(tmp_path / "My Captioner", "vit-gpt2")
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# Mine\n")
    (folder / "optimizer.pt").write_bytes(b"pickle")
    (folder / "modeling.py").write_text("raise SystemExit\n")
    done = narrator("add", folder, checkpoints=home)
    assert done.returncode == 0 and done.stdout.startswith("My Captioner is here as my-captioner (encoder_decoder): ")
    added = find_variant("my-captioner")
    assert added.license == "mit" and added.inputs == Inputs(image=True, text=False)
    assert not {"optimizer.pt", "modeling.py"} & {path.name for path in Path(added.source).iterdir()}
    picture().save(tmp_path / "it.png")
    done = narrator("describe", tmp_path / "it.png", "--variant", "my-captioner", "--json", checkpoints=home)
    assert done.returncode == 0 and json.loads(done.stdout)["text"]
    (tmp_path / "rows.jsonl").write_text(json.dumps({"image": "it.png", "captions": ["a dog runs", "a cat sits"]}))
    done = narrator("evaluate", "--variant", "my-captioner", "--data", tmp_path / "rows.jsonl", "--json",
                    checkpoints=home)
    assert done.returncode == 0 and "cider_d" in done.stdout, done
    assert "my-captioner" in narrator("variants", checkpoints=home).stdout
    assert "There is a model 'my-captioner' already" in sentence(narrator("add", folder, checkpoints=home))
    assert narrator("remove", "my-captioner", "--yes", checkpoints=home).returncode == 0
    assert not load_variants()


def _save_published(folder: Path) -> tuple[Any, Any, Any]:
    """ViT + GPT-2 as they are published: GPT-2's own tokenizer and settings, no padding of its own, ViT's processor."""
    from transformers import (
        GPT2Config,
        GPT2LMHeadModel,
        GPT2Tokenizer,
        VisionEncoderDecoderModel,
        ViTConfig,
        ViTImageProcessorPil,
        ViTModel,
    )
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    letters = {letter: index for index, letter in enumerate(bytes_to_unicode().values())}
    tokenizer = GPT2Tokenizer(vocab={**letters, "<|endoftext|>": 256}, merges=[])
    torch.manual_seed(3)
    encoder = ViTModel(ViTConfig(image_size=32, patch_size=8, hidden_size=24, num_hidden_layers=1,
                                 num_attention_heads=2, intermediate_size=32, initializer_range=0.5))
    decoder = GPT2LMHeadModel(GPT2Config(vocab_size=257, n_positions=64, n_embd=16, n_layer=2, n_head=2,
                                         add_cross_attention=True, bos_token_id=256, eos_token_id=256,
                                         initializer_range=0.5))
    model = VisionEncoderDecoderModel(encoder=encoder, decoder=decoder).eval()
    for settings in (model.config, model.generation_config):
        settings.decoder_start_token_id = settings.pad_token_id = settings.eos_token_id = 256
    pictures = ViTImageProcessorPil(size={"height": 32, "width": 32}, resample=3)
    for part in (model, tokenizer, pictures):
        part.save_pretrained(folder)
    return model, tokenizer, pictures


@pytest.mark.parametrize("beams", [1, 4])
def test_a_published_vit_gpt2_says_what_transformers_says(home: Path, tmp_path: Path, beams: int) -> None:
    model, tokenizer, pictures = _save_published(tmp_path / "vit-gpt2-image-captioning")
    assert json.loads((tmp_path / "vit-gpt2-image-captioning" / "config.json").read_text())["decoder"].get(
        "pad_token_id") is None
    add_folder(tmp_path / "vit-gpt2-image-captioning")
    settings = GenerationSettings(num_beams=beams, max_new_tokens=16, no_repeat_ngram_size=3)
    tokens = model.generate(pictures(picture(), return_tensors="pt")["pixel_values"], num_beams=beams, do_sample=False,
                            max_new_tokens=16, no_repeat_ngram_size=3, early_stopping=beams > 1)
    expected = tokenizer.decode(tokens[0], skip_special_tokens=True)
    with Engine(device="cpu").use("vit-gpt2-image-captioning") as family:
        told = "".join(piece.text for piece in family.stream(picture(), "", settings))
        (batch,) = family.batch([picture()], [""], settings)
    assert len(told) >= 8 and told == expected == "".join(piece.text for piece in batch)


def _rewrite(folder: Path, file: str = "config.json", **changes: Any) -> None:
    path = folder / file
    values = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps({**values, **changes}))


def _lose(folder: Path, *, reshape: bool = False) -> None:
    tensors = load_file(folder / "model.safetensors")
    name = "transformer.h.0.attn.c_attn.weight"
    tensors.pop(name)
    if reshape:
        tensors[name] = torch.zeros(3, 5)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def _pickle(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def _cut(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-10])


def _strip_words(folder: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()


def _adapt(folder: Path, below: str = ".") -> None:
    (folder / below).mkdir(exist_ok=True)
    (folder / below / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 2}')
    save_file({"some.lora_A.weight": torch.zeros(2, 16)}, folder / below / "adapter_model.safetensors")


def _split(folder: Path) -> None:
    """Two shards, the second under a name of its own."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = ("model-00001-of-00002.safetensors", "rest.safetensors")
    places = {key: names[place % 2] for place, key in enumerate(tensors)}
    for name in names:
        part = {key: tensor for key, tensor in tensors.items() if places[key] == name}
        save_file(part, folder / name, metadata={"format": "pt"})
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "an adapter beside": (_adapt, "theirs holds an adapter beside its weights (adapter_config.json): put"),
    "an adapter below": (lambda at: _adapt(at, "adapter"), "(adapter/adapter_config.json): put its adapter_config.json "
                         "and weights into a folder elsewhere, add the model alone, then the adapter with `python -m "
                         "narrator adapter add FOLDER --base ID`"),
    "a shard of another name": (_split, "under a name that is not taken (rest.safetensors)"),
    "a pickle": (_pickle, "holds its weights as a pickle, which can carry a program, so it is not opened"),
    "no weights": (lambda at: (at / "model.safetensors").unlink(), "holds no weights"),
    "cut short": (_cut, "its weights model.safetensors are cut short"),
    "a tensor less": (_lose, "lacks 1 tensors, such as transformer.h.0.attn.c_attn.weight"),
    "another shape": (lambda at: _lose(at, reshape=True), "other shapes than its config.json says"),
    "no settings": (lambda at: (at / "config.json").unlink(), "has no config.json, so it is no model of transformers"),
    "damaged settings": (lambda at: (at / "config.json").write_text("{"), "its config.json cannot be read"),
    "code": (lambda at: _rewrite(at, auto_map={"AutoModelForCausalLM": "evil.Evil"}), "wants to run code of its own"),
    "code beside": (lambda at: _rewrite(at, "tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.E", None]}),
                    "wants to run code of its own ('auto_map' in its tokenizer_config.json)"),
    "no family": (lambda at: _rewrite(at, model_type="bert", architectures=["BertForMaskedLM"]),
                  "is a BertForMaskedLM, which no family here loads: take a model of one of these: causal_lm ("),
    "no model_type": (lambda at: (at / "config.json").write_text("{}"), "without a model_type"),
    "no tokenizer": (_strip_words, "cannot be used as causal_lm: it has no tokenizer"),
    "another decoder": (lambda at: _rewrite(at, model_type="vision-encoder-decoder", architectures=[],
                                            decoder={"model_type": "trocr"}), "which no family here loads"),
    "an adapter": (lambda at: (at / "config.json").rename(at / "adapter_config.json"), "narrator adapter add FOLDER"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_folder_is_one_sentence_and_leaves_nothing(name: str, home: Path, tmp_path: Path) -> None:
    folder = plain(tmp_path / "theirs", "gpt2")
    spoil, expected = BAD[name]
    spoil(folder)
    assert expected in refusal(lambda: add_folder(folder))
    assert not home.exists() or not list(home.iterdir())


def test_other_refusals(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = plain(tmp_path / "theirs", "gpt2")
    told = refusal(lambda: add_folder(folder, family="hub_vlm"))
    assert "theirs is a gpt2: it belongs to the family causal_lm, not to hub_vlm" in told
    assert "cannot be named 'My Model'" in refusal(lambda: add_folder(folder, name="My Model"))
    assert "is not a folder" in refusal(lambda: add_folder(tmp_path / "nowhere"))
    said = sentence(narrator("add", tmp_path / "no", checkpoints=home))
    assert "neither a folder here nor a model of the Hub" in said
    monkeypatch.setattr("narrator.adding.folders.SPARE_BYTES", 2**62)
    assert "of free disk and there are" in refusal(lambda: add_folder(folder))
    monkeypatch.undo()


def test_a_copy_that_breaks_leaves_nothing(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, real = plain(tmp_path / "theirs", "gpt2"), shutil.copyfile

    def full(source: Path, target: Path) -> object:
        if Path(source).name == "tokenizer.json":
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(source, target)

    monkeypatch.setattr("narrator.adding.folders.shutil.copyfile", full)
    assert "No space left on device" in refusal(lambda: add_folder(folder))
    assert not (home / "theirs").exists() and not hidden(home / "theirs").exists() and not load_variants()


def test_what_only_the_copy_lacks_is_refused(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = plain(tmp_path / "theirs", "gpt2")
    monkeypatch.setattr("narrator.adding.folders.KINDS", ["config.json", "model.safetensors"])
    assert "theirs cannot be used as causal_lm: it has no tokenizer" in refusal(lambda: add_folder(folder))
    assert not list(home.iterdir())

"""Vision-language models of a hub: prompts, several pictures, adapters, number formats, and what is refused. Random
weights of the real architectures; tests/test_family_contract.py has what holds for every family."""

import itertools
import json
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny_models
import torch
from PIL import Image, ImageDraw
from safetensors.torch import load_file, save_file

from narrator.families.hub_vlm import HubVLM
from narrator.records import Inputs, NarratorError, Piece, Variant
from narrator.settings import GenerationSettings

GREEDY = GenerationSettings(num_beams=1, max_new_tokens=6, no_repeat_ngram_size=0)
ONE = ("blip", "blip2-opt", "blip2-t5", "git", "florence2")
SEVERAL = ("idefics3", "smolvlm", "qwen2.5-vl", "qwen3-vl", "llava", "paligemma", "paligemma2")
MEAN = "<image> <|image_pad|> <|video_pad|> <fake_token_around_image> <global-img> <|vision_start|> a dog"
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # PaliGemma's processor
Load = Callable[..., HubVLM]


def picture(colour: str = "navy", size: tuple[int, int] = (48, 40)) -> Image.Image:
    made = Image.new("RGB", size, colour)
    ImageDraw.Draw(made).ellipse((4, 6, 20, 30), fill="white")
    return made


def said(pieces: list[Piece]) -> str:
    return "".join(piece.text for piece in pieces)


def variant(folder: Path, **changes) -> Variant:
    return Variant(**{"id": "tiny", "title": "The tiny one", "family": "hub_vlm", "source": str(folder),
                      "inputs": Inputs(image=True, text=True), **changes})


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def folder_of(home: Path) -> Callable[[str], Path]:
    """The checkpoint of an architecture, written on first use. Read it, change only a copy."""
    def find(name: str) -> Path:
        if not (home / name).exists():
            tiny_models.VISION_LANGUAGE[name](home / name)
        return home / name
    return find


@pytest.fixture(scope="module")
def load(folder_of: Callable[[str], Path]) -> Load:
    known: dict[str, HubVLM] = {}

    def find(name: str) -> HubVLM:
        if name not in known:
            known[name] = HubVLM(variant(folder_of(name)), "cpu")
        return known[name]
    return find


@pytest.fixture
def copy(folder_of: Callable[[str], Path], tmp_path: Path) -> Callable[[str], Path]:
    """A copy of a checkpoint, to be spoilt."""
    return lambda name: Path(shutil.copytree(folder_of(name), tmp_path / name))


def test_every_architecture_is_here() -> None:
    assert sorted(ONE + SEVERAL) == sorted(tiny_models.VISION_LANGUAGE)


@pytest.mark.parametrize("name", ONE + SEVERAL)
def test_it_says_what_transformers_says(load: Load, name: str) -> None:
    """The model's own generate, called plainly; some give the prompt back before the answer."""
    family, prompt = load(name), "what is this"
    with torch.inference_mode():
        output = family.model.generate(**family.inputs([picture()], prompt), do_sample=False, num_beams=1,
                                       max_new_tokens=6, suppress_tokens=family.never)
    pieces = list(family.stream(picture(), prompt, GREEDY))
    assert len(pieces) == 6
    assert said(pieces) == family.text(output[0, -6:].tolist())


@pytest.mark.parametrize("name", ONE)
def test_a_second_picture_is_refused_by_name(load: Load, name: str) -> None:
    with pytest.raises(NarratorError, match="The tiny one takes one picture at a time, not 2: give it one"):
        list(load(name).stream_many([picture(), picture("red")], "what is this", GREEDY))


@pytest.mark.parametrize("name", SEVERAL)
def test_several_pictures_in_one_prompt(load: Load, name: str) -> None:
    family = load(name)
    chances = {tuple(piece.probability for piece in family.stream_many(images, "what is this", GREEDY))
               for images in ([picture()], [picture(), picture("red")], [picture("red"), picture()])}
    assert len(chances) == 3  # how many there are matters, and their order


@pytest.mark.parametrize("name", ONE + SEVERAL)
def test_whoever_writes_a_picture_token_means_the_letters(load: Load, name: str) -> None:
    """"Number of images does not match image tokens" cannot be brought about from outside."""
    family = load(name)
    assert list(family.stream(picture(), MEAN, GREEDY))
    if name in SEVERAL:
        assert list(family.stream_many([picture(), picture("red")], MEAN, GREEDY))
    ids = family.inputs([picture()], MEAN)["input_ids"]
    assert ids.tolist() != family.inputs([picture()], "a dog")["input_ids"].tolist()


def test_no_picture(load: Load) -> None:
    for call in (load("git").stream, lambda *request: iter(load("git").batch([None], ["what"], GREEDY))):
        with pytest.raises(NarratorError, match=r"This model describes pictures\. Add a picture first"):
            list(call(None, "what", GREEDY))


def test_what_is_asked(load: Load, folder_of: Callable[[str], Path]) -> None:
    assert load("llava").written(2, "what is this") == "<s>user : <image>\n<image>\nwhat is this assistant :"
    assert "Describe this picture in one sentence." in load("llava").written(1, "")
    assert load("paligemma").written(2, "what") == "<image><image>what"
    assert load("paligemma").written(1, "") == "<image>caption en"
    assert load("florence2").written(1, "") == "<CAPTION>"
    assert load("blip").written(1, "") == ""
    told = HubVLM(variant(folder_of("blip"), default_prompt="a picture of"), "cpu")
    assert told.written(1, "") == "a picture of" and told.written(1, "a dog") == "a dog"


def test_the_start_is_written_once(load: Load) -> None:
    family = load("llava")
    assert family.inputs([picture()], "what")["input_ids"][0].tolist().count(1) == 1  # <s>, by the chat template


def test_prompts_begin_as_the_model_learned_them(load: Load) -> None:
    """BLIP and GIT go on from [CLS] and the prompt, without the [SEP] that their tokenizer adds."""
    ids = load("git").inputs([picture()], "a dog")["input_ids"][0].tolist()
    assert load("git").tokenizer.convert_ids_to_tokens(ids) == ["[CLS]", "a", "dog"]
    assert load("git").inputs([picture()], "")["input_ids"].tolist() == [[2]]


def test_signs_stand_where_people_write_them(load: Load) -> None:
    words = load("blip").tokenizer.convert_tokens_to_ids(["a", "dog", "'", "s", "red", "-", "green", "street", "##s"])
    told = [load("blip").text(words[:count]) for count in range(1, len(words) + 1)]
    assert told[-1] == "a dog's red-green streets"
    assert all(longer.startswith(shorter) for shorter, longer in itertools.pairwise(told))


@pytest.mark.parametrize("name", ["blip", "smolvlm", "qwen2.5-vl"])
def test_an_adapter_is_worked_into_the_weights(folder_of: Callable[[str], Path], load: Load, tmp_path: Path,
                                               name: str) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForImageTextToText

    torch.manual_seed(1)
    base = AutoModelForImageTextToText.from_pretrained(folder_of(name)).eval()
    layers = ["query", "value"] if name == "blip" else ["q_proj", "v_proj"]
    adapted = get_peft_model(base, LoraConfig(r=2, target_modules=layers, init_lora_weights=False)).eval()
    adapted.save_pretrained(tmp_path)
    family = HubVLM(variant(folder_of(name), adapter=str(tmp_path)), "cpu")
    inputs = family.inputs([picture()], "what is this")
    with torch.inference_mode():
        logits = {key: model(**inputs).logits for key, model in
                  (("bare", load(name).model), ("adapted", adapted), ("family", family.model))}
    assert torch.allclose(logits["family"], logits["adapted"], atol=1e-4)
    assert not torch.allclose(logits["family"], logits["bare"], atol=1e-2)
    assert len(list(family.stream(picture(), "what is this", GREEDY))) == 6
    with pytest.raises(NarratorError, match=f"does not belong on git: .*{name}"):
        HubVLM(variant(folder_of("git"), adapter=str(tmp_path)), "cpu")


@pytest.mark.parametrize(("stored", "held"), [(torch.float16, torch.float32), (torch.bfloat16, torch.bfloat16)])
def test_number_formats(copy: Callable[[str], Path], stored: torch.dtype, held: torch.dtype) -> None:
    folder = copy("smolvlm")
    weights = load_file(folder / "model.safetensors")
    save_file({name: value.to(stored) for name, value in weights.items()}, folder / "model.safetensors",
              {"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    for part in (config, config["text_config"], config["vision_config"]):
        part["dtype"] = str(stored).removeprefix("torch.")
    (folder / "config.json").write_text(json.dumps(config))
    family = HubVLM(variant(folder), "cpu")
    assert {value.dtype for value in family.model.parameters()} == {held}
    assert len(list(family.stream(picture(), "what is this", GREEDY))) == 6


def test_pictures_that_cannot_be_taken(load: Load) -> None:
    with pytest.raises(NarratorError, match=r"The tiny one cannot take this picture with this prompt \(.*aspect ratio"):
        list(load("qwen2.5-vl").stream(picture(size=(3000, 8)), "what", GREEDY))
    with pytest.raises(NarratorError, match=r"cannot take this picture with this prompt \(Task token <CAPTION>"):
        list(load("florence2").stream(picture(), "<CAPTION> a dog", GREEDY))


def test_a_processor_that_counts_other_tokens(copy: Callable[[str], Path]) -> None:
    """It belongs to another model: told as that, for stream and batch, and not as a count of tokens."""
    folder = copy("llava")
    told = json.loads((folder / "processor_config.json").read_text())
    (folder / "processor_config.json").write_text(json.dumps({**told, "patch_size": 16}))
    family = HubVLM(variant(folder), "cpu")
    for call in (lambda: list(family.stream(picture(), "what", GREEDY)),
                 lambda: family.batch([picture()], ["what"], GREEDY)):
        with pytest.raises(NarratorError, match="its processor and its weights do not fit together"):
            call()
    (folder / "chat_template.jinja").write_text("no place for a picture")
    with pytest.raises(NarratorError, match="its processor and its weights do not fit together"):
        list(HubVLM(variant(folder), "cpu").stream(picture(), "what", GREEDY))


def test_damaged_and_foreign_folders(copy: Callable[[str], Path], folder_of: Callable[[str], Path]) -> None:
    folder = copy("blip")
    weights = load_file(folder / "model.safetensors")
    name = next(key for key in weights if "vision_model" in key and "weight" in key)
    save_file({key: value for key, value in weights.items() if key != name}, folder / "model.safetensors",
              {"format": "pt"})
    with pytest.raises(ValueError, match="it lacks 1 tensors, such as"):
        HubVLM(variant(folder), "cpu")
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    with pytest.raises(OSError, match="safetensors"):
        HubVLM(variant(folder), "cpu")
    (folder / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    with pytest.raises(ValueError, match="describes a gpt2, which is no image-text-to-text model"):
        HubVLM(variant(folder), "cpu")


def test_code_in_the_folder_is_never_run(copy: Callable[[str], Path]) -> None:
    folder = copy("blip")
    (folder / "evil.py").write_text("raise SystemExit('run')\nclass Evil: pass\n")
    config = json.loads((folder / "config.json").read_text())
    named = {"AutoConfig": "evil.Evil", "AutoModelForImageTextToText": "evil.Evil", "AutoProcessor": "evil.Evil"}
    (folder / "config.json").write_text(json.dumps({**config, "auto_map": named}))
    assert HubVLM(variant(folder), "cpu").kind == "blip"  # transformers' own code for it
    (folder / "config.json").write_text(json.dumps({**config, "auto_map": named, "model_type": "evil"}))
    with pytest.raises(ValueError, match=r"evil|custom code"):
        HubVLM(variant(folder), "cpu")


def test_nothing_is_fetched(folder_of: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    folders = [folder_of(name) for name in ONE + SEVERAL]

    opened: list[object] = []  # what is refused might be caught and passed over: it is counted, too

    def refuse(_: socket.socket, address: object) -> None:
        opened.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket.socket, "connect", refuse)
    for folder in folders:
        HubVLM(variant(folder), "cpu").close()
    assert opened == []

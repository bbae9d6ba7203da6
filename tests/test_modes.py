"""Beyond one text about one picture: classes, pictures that are drawn, several pictures at once, servers elsewhere."""

import base64
import dataclasses
import io
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from chat_server import ChatServer
from command_line import narrator, sentence
from PIL import Image, ImageDraw
from plumbing import Sayer, write_checkpoint
from tiny_captioner import save_tiny_captioner
from tiny_families import save_image_gpt, save_projector, save_remote

from narrator.catalog import load_variants
from narrator.engine import Engine
from narrator.families.image_gpt import ImageGpt
from narrator.families.modes import MODES, find_mode, modes_of
from narrator.narrate import MAX_PICTURES, Update, narrate
from narrator.pictures import picture_sha256
from narrator.records import Narration, NarratorError
from narrator.settings import GenerationSettings
from narrator.ui import accessibility, choosing, handlers

GREEDY = GenerationSettings(num_beams=1, max_new_tokens=6, no_repeat_ngram_size=0)
DIGITS, TWO, FAR = "digits", "two", "far"


def scene(number: int = 0) -> Image.Image:
    image = Image.new("RGB", (64, 64), "black")
    ImageDraw.Draw(image).ellipse((10 + 9 * number, 6, 40 + 9 * number, 58), outline="white", width=6)
    return image


@pytest.fixture(scope="module")
def server() -> Iterator[ChatServer]:
    with ChatServer() as running:
        yield running


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory, server: ChatServer) -> Path:
    """digits (image_gpt), two (projector_lm, takes several pictures), far (a server), tiny-captioner."""
    folder = tmp_path_factory.mktemp("modes")
    save_image_gpt(folder / DIGITS)
    save_projector(folder / TWO)
    save_remote(folder / FAR, server.source("says"))
    save_tiny_captioner(folder / "tiny-captioner")
    for name, more in ((TWO, {"several": True}), (FAR, {"several": True}), (DIGITS, {"default_prompt": "classify"})):
        manifest = folder / name / "variant.yaml"
        manifest.write_text(yaml.safe_dump(yaml.safe_load(manifest.read_text()) | more))
    return folder


@pytest.fixture(scope="module")
def loader(checkpoints: Path) -> Iterator[Engine]:
    engine = Engine(checkpoints, device="cpu")
    yield engine
    engine.close()


def asked(loader: Engine, variant: str, image: object, prompt: str = "",
          settings: GenerationSettings | None = None) -> tuple[list[Update], Narration]:
    updates = list(narrate(variant, image, prompt, settings, loader))  # type: ignore[arg-type]
    narration = updates[-1].narration
    assert narration is not None
    return updates, narration


def test_a_class_is_told_with_its_probability_and_the_next_ones(loader: Engine) -> None:
    _, done = asked(loader, DIGITS, scene())
    assert done.prompt == "classify" and len(done.ranked) == 3
    assert done.label == done.ranked[0][0] and done.probability == done.ranked[0][1]
    chances = [chance for _, chance in done.ranked]
    assert chances == sorted(chances, reverse=True) and 0 < sum(chances) <= 1
    assert f"The digit {done.label} " in done.text and all(name in done.text for name, _ in done.ranked)
    assert dataclasses.asdict(done)["label"] == done.label


def test_a_picture_is_shown_as_it_is_drawn(loader: Engine) -> None:
    for prompt, image in (("continue", scene()), ("generate 7", None), ("generate-7", b"%PDF is not looked at")):
        updates, done = asked(loader, DIGITS, image, prompt)
        drawn = [update.picture for update in updates if update.picture is not None]
        on_the_way = {picture.size for picture in drawn[:-1]}  # of a class: eight candidates across, four down
        assert len(drawn) >= 9 and drawn[-1].size == (8, 8)
        assert on_the_way - {(8, 8)} == (set() if prompt == "continue" else {(64, 32)})
        assert updates[-1].picture is not None and updates[-1].picture.tobytes() == drawn[-1].tobytes()
        assert done.label is not None and f"reads as the digit {done.label}" in done.text
        assert done.image_sha256 == (picture_sha256(scene()) if prompt == "continue" else None)


def test_next_tokens_are_a_table_without_a_class(loader: Engine) -> None:
    _, done = asked(loader, DIGITS, scene(), "next")
    assert done.label is None and done.probability is None and len(done.ranked) == 5
    assert all(name.startswith("Z_") for name, _ in done.ranked)
    html = accessibility.how_sure(done)
    assert html.count("<tr>") == 6 and "What could come next" in html and "sure of each word" not in html
    assert "Class" in accessibility.how_sure(asked(loader, DIGITS, scene())[1])


def test_every_mode_of_the_table_is_one_of_the_family(checkpoints: Path) -> None:
    variant = load_variants(checkpoints)[DIGITS]
    family = ImageGpt(variant, "cpu")
    found = [family.mode(mode.prompt) for mode in modes_of(variant)]
    assert len(found) == len(set(found)) == 13 and set(MODES) == {"image_gpt"}
    assert {name for name, _ in found} == {"classify", "continue", "generate", "next"}
    assert [mode.image for mode in modes_of(variant)] == [name != "generate" for name, _ in found]
    assert find_mode(variant, " Generate  7 ") == find_mode(variant, "generate-7") != find_mode(variant, "generate")
    assert modes_of(load_variants(checkpoints)[TWO]) == () == modes_of(None)


def test_modes_are_a_choice_on_the_page(checkpoints: Path) -> None:
    variants = load_variants(checkpoints)
    given = choosing.inputs_of(variants[DIGITS])
    assert given["mode"]["visible"] and given["mode"]["value"] == "classify" and not given["prompt"]["visible"]
    assert ("Draw a 7", "generate 7") in given["mode"]["choices"] and given["picture"]["visible"]
    given = choosing.inputs_of(variants[TWO])
    assert given["prompt"]["visible"] and given["more"]["visible"] and not given["mode"]["visible"]
    for one in (None, variants["tiny-captioner"]):
        given = choosing.inputs_of(one)
        assert [name for name, told in given.items() if told["visible"]] == ["picture"]


def test_a_drawn_picture_is_shown_with_words_and_can_be_saved(loader: Engine) -> None:
    updates, _ = asked(loader, DIGITS, None, "generate 3")
    html = accessibility.drawn(updates[-1].picture, '"><script>')
    assert "<script" not in html and "download=" in html and accessibility.drawn(None, "") == ""
    data = html.split('src="data:image/png;base64,')[1].partition('"')[0]
    with Image.open(io.BytesIO(base64.b64decode(data))) as shown:
        assert shown.size == (8, 8)


def test_several_pictures_make_one_description(loader: Engine, server: ChatServer) -> None:
    both = [scene(0), scene(2)]
    _, done = asked(loader, TWO, both, "what is this", GREEDY)
    alone = [asked(loader, TWO, [one], "what is this", GREEDY)[1] for one in both]
    assert done.text and done.image_sha256 not in {one.image_sha256 for one in alone}
    assert alone[0].image_sha256 == picture_sha256(both[0])
    chances = {one.confidence for one in (done, *alone)}
    assert len(chances) == 3  # what it says of both is what it says of none alone
    asked(loader, FAR, both, "what is this")
    assert [part["type"] for part in server.requests[-1]["body"]["messages"][0]["content"]] == [
        "image_url", "image_url", "text"]


def test_more_pictures_than_a_variant_takes_are_refused(loader: Engine) -> None:
    for variant, images, says in ((DIGITS, [scene()] * 2, "takes one picture at a time, not 2"),
                                  (TWO, [scene()] * (MAX_PICTURES + 1), "takes 8 at most"),
                                  (TWO, [scene(), b"%PDF"], "starts with %PDF")):
        with pytest.raises(NarratorError, match=says):
            list(narrate(variant, images, "what", GREEDY, loader))  # type: ignore[arg-type]
    huge = Image.new("RGB", (9000, 6000))
    with pytest.raises(NarratorError, match="100 million pixels together"):
        list(narrate(TWO, [huge, huge], "what", GREEDY, loader))


def test_a_family_that_takes_one_is_not_given_several(sayer: None, tmp_path: Path) -> None:
    write_checkpoint(tmp_path, several=True)
    with pytest.raises(NarratorError, match="take 'several' out"):
        list(narrate("sayer", [scene(0), scene(1)], engine=Engine(tmp_path, device="cpu")))
    assert Sayer.steps == 0


def test_a_server_elsewhere_waits_for_nobody_here(sayer: None, tmp_path: Path, server: ChatServer) -> None:
    """While a description holds this device, one that is computed elsewhere goes on, and holds nothing itself."""
    write_checkpoint(tmp_path)
    save_remote(tmp_path / FAR, server.source("says"))
    engine = Engine(tmp_path, device="cpu")
    told: list[str] = []

    def ask() -> None:
        told.extend(update.text for update in narrate(FAR, scene(), "what is this", engine=engine))

    with engine.use("sayer"):
        variant = load_variants(tmp_path)[FAR]
        assert engine.outlook(variant) == "Describing …"
        other = threading.Thread(target=ask)
        other.start()
        other.join(60)
        assert not other.is_alive() and told[-1]
    assert engine.loaded() == ["sayer"]
    with engine.use(FAR), engine.use(FAR), engine.use("sayer"):
        pass


def views_of(source: object) -> list[handlers.View]:
    import asyncio

    async def collect() -> list[handlers.View]:
        return [view async for view in source]  # type: ignore[attr-defined]
    return asyncio.run(collect())


def test_only_a_free_text_of_one_picture_can_be_corrected(checkpoints: Path, tmp_path: Path,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NARRATOR_CHECKPOINTS", str(checkpoints))
    for number in range(2):
        scene(number).save(tmp_path / f"{number}.png")
    one, two = (str(tmp_path / f"{number}.png") for number in range(2))
    values = list(dataclasses.asdict(dataclasses.replace(GREEDY, num_beams=1)).values())
    usual = list(dataclasses.asdict(GenerationSettings()).values())

    def last(variant: str, more: list[str], prompt: str, settings: list = values) -> handlers.View:
        return views_of(handlers.describe(one, variant, prompt, settings, more))[-1]

    free = last("tiny-captioner", [two], "left over from another variant")  # its second picture is out of sight
    assert free.made == handlers.Made(path=one, variant="tiny-captioner", prompt="", text=free.text or "")
    made = last(TWO, [], " what is this ").made
    assert made is not None and made.prompt == "what is this" and free.drawn == ""
    assert last(TWO, [two], "what is this").made is None
    drawn = last(DIGITS, [], "generate 3", usual)
    assert drawn.made is None and "<figure>" in (drawn.drawn or "") and (drawn.text or "?") in (drawn.drawn or "")
    assert "Class" in (drawn.sure or "")


def test_the_command_takes_modes_and_saves_what_is_drawn(checkpoints: Path, tmp_path: Path) -> None:
    scene().save(tmp_path / "a.png")
    done = narrator("describe", "--variant", DIGITS, "--json", tmp_path / "a.png", checkpoints=checkpoints)
    told = json.loads(done.stdout)
    assert told["label"] == told["ranked"][0]["name"] and told["probability"] == told["ranked"][0]["probability"]
    out = tmp_path / "seven.png"
    done = narrator("describe", "--variant", DIGITS, "--mode", "generate-7", "--out-image", out,
                    checkpoints=checkpoints)
    assert done.returncode == 0 and "A 7, drawn" in done.stdout
    with Image.open(out) as drawn:
        assert drawn.format == "PNG" and drawn.size == (8, 8)
    none = narrator("describe", "--variant", DIGITS, "--out-image", tmp_path / "none.png", tmp_path / "a.png",
                    checkpoints=checkpoints)
    assert none.returncode == 1 and "nothing was drawn" in none.stderr and not (tmp_path / "none.png").exists()


def test_the_command_puts_pictures_together(checkpoints: Path, tmp_path: Path) -> None:
    for number in range(2):
        scene(number).save(tmp_path / f"{number}.png")
    photos = [tmp_path / "0.png", tmp_path / "1.png"]
    few = ["--num-beams", 1, "--max-new-tokens", 4, "--prompt", "what is this"]
    done = narrator("describe", "--variant", TWO, "--together", "--json", *few, *photos, checkpoints=checkpoints)
    told = json.loads(done.stdout)
    assert done.returncode == 0 and told["images"] == [str(photo) for photo in photos] and told["text"]
    assert narrator("describe", "--variant", TWO, *few, *photos, checkpoints=checkpoints).stdout.count("\n") == 2


REFUSED = [
    (["--variant", "tiny-captioner", "--together"], "takes one picture at a time: leave --together out"),
    (["--variant", DIGITS, "--mode", "paint"], "It has: classify (Read the digit); "),
    (["--variant", TWO, "--mode", "classify"], "has no modes: leave --mode out"),
    (["--variant", DIGITS, "--mode", "next", "--prompt", "x"], "leave --prompt out"),
    (["--variant", DIGITS, "--speak", "."], "is a folder: name the file for the WAV"),
    (["--variant", DIGITS, "--out-image", "."], "is a folder: name the file for the picture"),
    (["--variant", DIGITS, "--out-image", "nowhere/a.png"], "There is no folder nowhere for the picture"),
    (["--variant", DIGITS, "--out-image", "a.pdf"], "a.pdf does not end like a picture"),
    (["--variant", DIGITS, "--out-image", "a.png"], "--out-image saves one picture"),
]


@pytest.mark.parametrize(("arguments", "says"), REFUSED, ids=[row[1][:30] for row in REFUSED])
def test_what_cannot_be_done_is_said_before_anything_runs(checkpoints: Path, tmp_path: Path, arguments: list[str],
                                                          says: str) -> None:
    """Nothing is described first: the files are not even there."""
    missing = [tmp_path / "a.jpg", tmp_path / "b.jpg"]
    assert says in sentence(narrator("describe", *arguments, *missing, checkpoints=checkpoints, folder=tmp_path))

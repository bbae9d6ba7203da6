"""One contract for every family of the table, on tiny random weights of real architectures. It counts what it swept."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny_families
import tiny_models
from chat_server import ChatServer
from PIL import Image, ImageDraw
from tiny_captioner import save_tiny_captioner

from narrator.catalog import MANIFEST, read_variant
from narrator.engine import Engine
from narrator.families import FAMILIES, family_class
from narrator.narrate import narrate
from narrator.records import NarratorError, Piece
from narrator.settings import GenerationSettings

# family -> architecture -> what writes its checkpoint
CASES: dict[str, dict[str, Callable[..., None]]] = {
    "encoder_decoder": {"vit-gpt2": save_tiny_captioner},
    "hub_vlm": tiny_models.VISION_LANGUAGE,
    "causal_lm": {name: functools.partial(tiny_families.save_causal, name=name)
                  for name in ("gpt2", "opt", "phi", "qwen2", "llama")},
    "projector_lm": {"clip-phi": tiny_families.save_projector},
    "image_gpt": {"gpt2": tiny_families.save_image_gpt},
    "remote": {"server": tiny_families.save_remote},
}
PROMPTS = {"image_gpt": ("continue", "generate 3", "classify")}
GREEDY = GenerationSettings(num_beams=1, max_new_tokens=6, no_repeat_ngram_size=0)
OTHER: dict[str, Any] = {"max_new_tokens": 3, "num_beams": 2, "temperature": 0.7, "top_p": 0.5, "top_k": 3,
                         "repetition_penalty": 1.5, "no_repeat_ngram_size": 2, "length_penalty": 2.0, "seed": 5}
SWEPT: dict[tuple[str, str], set[str]] = {}
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # PaliGemma's processor
LET_GO_S = 0.3  # between two steps, once a generation has been closed


def pictures() -> list[Image.Image]:
    """Three that differ, of different sizes."""
    found = []
    for number, colour in enumerate(("red", "navy", "olive")):
        picture = Image.new("RGB", (40 + 20 * number, 40), colour)
        ImageDraw.Draw(picture).ellipse((4, 6, 16 + 8 * number, 30), fill="white")
        found.append(picture)
    return found


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """A family over one architecture, and three requests that it takes."""

    name: str
    family: Any
    folder: Path
    requests: list[tuple[Image.Image | None, str]]
    server: ChatServer | None = None

    def say(self, settings: GenerationSettings, number: int = 0) -> list[Piece]:
        return list(self.family.stream(*self.requests[number], settings))

    @contextlib.contextmanager
    def steps(self, permits: int = 10**6) -> Iterator[Steps]:
        """Counts the steps of the model while the block lasts, and holds it up after so many."""
        if self.server is not None:
            yield Steps(lambda: self.server.sent, lambda: None)  # type: ignore[union-attr]
            return
        from transformers import GenerationMixin

        calls, gate = [0], threading.Semaphore(permits)

        def before(*_: Any) -> None:
            gate.acquire(timeout=30)
            calls[0] += 1

        speakers = [part for part in self.family.model.modules() if isinstance(part, GenerationMixin)]
        inner = [part for part in speakers
                 if not any(isinstance(below, GenerationMixin) for below in part.modules() if below is not part)]
        hooks = [part.register_forward_pre_hook(before) for part in inner]
        try:
            yield Steps(lambda: calls[0], gate.release)
        finally:
            for hook in hooks:
                hook.remove()


@dataclasses.dataclass(frozen=True)
class Steps:
    count: Callable[[], int]
    allow_one: Callable[[], None]


PARAMETERS = [(family, name) for family in FAMILIES for name in CASES.get(family, {})]


@pytest.fixture(scope="module", params=PARAMETERS, ids=["-".join(pair) for pair in PARAMETERS])
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    kind, name = request.param
    folder = tmp_path_factory.mktemp("contract") / name
    prompts = PROMPTS.get(kind, ("describe the red dog", "what is this", "what is this"))
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(ChatServer()) if kind == "remote" else None
        CASES[kind][name](folder, *([server.source("says")] if server else []))
        variant = read_variant(folder / MANIFEST)
        images = pictures() if variant.inputs.image else [None] * 3
        family = family_class(kind)(variant, "cpu")  # type: ignore[call-arg]
        yield Case(name="-".join(request.param), family=family, folder=folder, server=server,
                   requests=list(zip(images, prompts, strict=True)))
        family.close()
        shutil.rmtree(folder)


@pytest.fixture(autouse=True)
def counted(request: pytest.FixtureRequest) -> None:
    if "case" in request.fixturenames:
        SWEPT.setdefault(request.node.callspec.params["case"], set()).add(request.node.originalname)


def said(pieces: list[Piece]) -> str:
    return "".join(piece.text for piece in pieces)


def known(case: Case, settings: GenerationSettings) -> GenerationSettings:
    """The settings with those left alone that the family does not know."""
    default = GenerationSettings()
    unsupported = getattr(case.family, "unsupported", ())
    return dataclasses.replace(settings, **{name: getattr(default, name) for name in unsupported})


def test_it_streams_more_than_one_piece_with_probabilities(case: Case) -> None:
    for number in range(3):
        pieces = case.say(known(case, GREEDY), number)
        assert len(pieces) > 1 and said(pieces).strip()
        spoken = [piece.probability for piece in pieces if piece.tokens]
        assert spoken and all(value is not None and 0 <= value <= 1 for value in spoken)
    assert len({said(case.say(known(case, GREEDY), number)) for number in range(3)}) > 1  # it takes notice of its input


@pytest.mark.parametrize("beams", [1, 3])
def test_a_batch_says_the_same_as_one_by_one(case: Case, beams: int) -> None:
    settings = known(case, dataclasses.replace(GREEDY, num_beams=beams))
    alone = [[piece for piece in case.say(settings, number) if piece.text] for number in range(3)]
    together = case.family.batch(*zip(*case.requests, strict=True), settings)
    assert [said(pieces) for pieces in together] == [said(pieces) for pieces in alone]
    for row, single in zip(together, alone, strict=True):
        chances = [[piece.probability for piece in pieces if piece.text and piece.tokens] for pieces in (row, single)]
        assert chances[0] == pytest.approx(chances[1], abs=1e-4)


def test_the_same_seed_says_the_same(case: Case) -> None:
    lively = known(case, dataclasses.replace(GREEDY, temperature=1.0))
    told = [case.say(dataclasses.replace(lively, seed=seed)) for seed in (0, 1, 2, 3, 0)]
    assert said(told[0]) == said(told[4])
    assert len({tuple(piece.probability for piece in pieces) for pieces in told}) > 1
    batch = case.family.batch(*zip(*case.requests[:2], strict=True), lively)
    assert [said(pieces) for pieces in batch] == [said(told[0]), said(case.say(lively, 1))]


def test_a_draw_from_one_is_the_likeliest(case: Case) -> None:
    assert not {"temperature", "top_k"} & set(getattr(case.family, "unsupported", ()))
    drawn = known(case, dataclasses.replace(GREEDY, temperature=1.5, top_k=1))
    assert said(case.say(drawn)) == said(case.say(known(case, GREEDY)))


@pytest.mark.parametrize("beams", [1, 2])
def test_closing_ends_the_generation_within_a_step(case: Case, beams: int) -> None:
    settings = known(case, dataclasses.replace(GREEDY, num_beams=beams, max_new_tokens=12))
    with case.steps() as steps:
        before = steps.count()
        case.say(settings)
        whole = steps.count() - before
    if case.server is not None:
        case.server.pace_s = LET_GO_S
    with case.steps(permits=2) as steps:
        before = steps.count()
        stream = case.family.stream(*case.requests[0], settings)
        while steps.count() - before < 2:
            next(stream)
        left = threading.Thread(target=stream.close)
        left.start()
        for _ in range(whole):
            time.sleep(LET_GO_S)
            if not left.is_alive():
                break
            steps.allow_one()
        left.join(30)
        at_last = steps.count() - before
    assert not left.is_alive()
    assert 2 <= at_last <= 3 < whole
    assert case.server is None or case.server.gone.wait(10)
    if case.server is not None:
        case.server.pace_s = 0.0


def test_every_setting_is_known_or_refused_by_name(case: Case) -> None:
    assert set(OTHER) == {field.name for field in dataclasses.fields(GenerationSettings)}
    unsupported = getattr(case.family, "unsupported", ())
    assert set(unsupported) < set(OTHER)
    few = known(case, dataclasses.replace(GREEDY, max_new_tokens=3))
    for name in set(OTHER) - set(unsupported):
        pieces = case.say(dataclasses.replace(few, **{name: OTHER[name]}))
        assert "max_new_tokens" in unsupported or 1 <= sum(piece.tokens for piece in pieces) <= 3
    engine = Engine(case.folder.parent, device="cpu")
    image, prompt = case.requests[0]
    for name in unsupported:
        changed = dataclasses.replace(GenerationSettings(), **{name: OTHER[name]})
        with pytest.raises(NarratorError, match=f"does not know the setting {name}: leave it"):
            list(narrate(read_variant(case.folder / MANIFEST).id, image, prompt, changed, engine))
    engine.close()


def test_every_family_of_the_table_was_swept() -> None:
    """Alone it fails: it counts what the tests above have been through."""
    checks = {name for name, function in inspect.getmembers(sys.modules[__name__], inspect.isfunction)
              if name.startswith("test_") and "case" in inspect.signature(function).parameters}
    assert len(checks) == 6
    assert set(CASES) >= set(FAMILIES), f"no tiny model for {sorted(set(FAMILIES) - set(CASES))}"
    for pair in PARAMETERS:
        assert SWEPT.get(pair) == checks, f"{'-'.join(pair)} went through {len(SWEPT.get(pair, ()))} of {len(checks)}"
    assert {family for family, _ in SWEPT} == set(FAMILIES)

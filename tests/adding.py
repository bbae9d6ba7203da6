"""What the tests of `narrator add` share: folders as transformers leaves them, and an empty catalog."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import tiny_families
import tiny_models
from PIL import Image, ImageDraw
from tiny_captioner import save_tiny_captioner

from narrator import catalog
from narrator.records import NarratorError
from narrator.settings import GenerationSettings

GREEDY = GenerationSettings(num_beams=1, max_new_tokens=6, no_repeat_ngram_size=0)
SAVED: dict[str, tuple[str, Callable[[Path], None]]] = {
    "vit-gpt2": ("encoder_decoder", save_tiny_captioner), "clip-phi": ("projector_lm", tiny_families.save_projector),
    "picture-gpt": ("image_gpt", tiny_families.save_image_gpt),
    **{name: ("causal_lm", lambda folder, name=name: tiny_families.save_causal(folder, name))  # type: ignore[misc]
       for name in ("gpt2", "opt", "phi", "qwen2", "llama")},
    **{name: ("hub_vlm", save) for name, save in tiny_models.VISION_LANGUAGE.items()}}


def plain(folder: Path, name: str) -> Path:
    """A folder as transformers leaves it: nothing in it is ours."""
    SAVED[name][1](folder)
    (folder / "variant.yaml").unlink()
    return folder


def picture() -> Image.Image:
    made = Image.new("RGB", (48, 40), "navy")
    ImageDraw.Draw(made).ellipse((4, 6, 20, 30), fill="white")
    return made


def refusal(act: Callable[[], object]) -> str:
    with pytest.raises(NarratorError) as refused:
        act()
    assert len(str(refused.value).splitlines()) == 1
    return str(refused.value)


def empty_catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A catalog of nothing; the folder where added models go."""
    (tmp_path / "shipped.yaml").write_text("bundled: []\nvariants: []\n")
    monkeypatch.setattr(catalog, "SHIPPED", tmp_path / "shipped.yaml")
    monkeypatch.setattr(catalog, "CHECKPOINTS", tmp_path / "none")
    folder = tmp_path / "added"
    monkeypatch.setenv("NARRATOR_CHECKPOINTS", str(folder))
    return folder

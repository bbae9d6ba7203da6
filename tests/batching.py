"""For tests of batches on the page: a family that answers at any pace, in the page and in the process of a batch."""

from __future__ import annotations

import io
import os
import time
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from plumbing import Sayer

from narrator.records import Piece
from narrator.settings import GenerationSettings

TESTS = Path(__file__).resolve().parent
CHILD = TESTS / "batch_child"  # its sitecustomize.py makes the family below known in every process that starts with it


class Teller(Sayer):
    """Says of each picture how bright it is, `step_s` seconds a picture; it fails on a black one, while a file `mended`
    is not beside its weights, and says no more than a few while a file `hold` is."""

    def __init__(self, variant: Any, device: str) -> None:
        super().__init__(variant, device)
        self.folder, self.told = Path(variant.source), 0

    def batch(self, images: Sequence[Image.Image | None], prompts: Sequence[str],
              settings: GenerationSettings) -> list[list[Piece]]:
        time.sleep(self.step_s * len(images))
        while self.told > 5 and (self.folder / "hold").exists():
            time.sleep(0.05)
        said = [[Piece(text=self._said(image, prompt), probability=0.9)] for image, prompt in
                zip(images, prompts, strict=True)]
        self.told += len(said)
        return said

    def _said(self, image: Image.Image | None, prompt: str) -> str:
        assert image is not None
        red = image.convert("RGB").tobytes()[0]
        if red == 0 and not (self.folder / "mended").exists():
            raise ValueError("it is too dark")
        return f"The image shows a field of brightness {red}{' for ' + prompt if prompt else ''}"


def environment() -> dict[str, str]:
    """Variables for a page, so that it and its batches know the family "teller"."""
    return {"PYTHONPATH": os.pathsep.join(map(str, (CHILD, TESTS, TESTS.parent)))}


def save_pictures(folder: Path, reds: Iterable[int]) -> list[Path]:
    """A PNG for each: the first pixel is that red, the rest a pattern that looks like something."""
    folder.mkdir(parents=True, exist_ok=True)
    ramp = np.linspace(0, 255, 48)
    scene = np.stack([np.outer(ramp, np.ones(64)), np.outer(np.ones(48), np.linspace(0, 255, 64)),
                      np.hypot.outer(ramp - 90, np.linspace(-99, 99, 64)).clip(0, 255)], axis=2).astype(np.uint8)
    paths = []
    for red in reds:
        scene[0, 0] = (red, 1, 2)
        paths.append(folder / f"picture-{red:03d}.png")
        Image.fromarray(scene).save(paths[-1])
    return paths


def uploaded(name: str, data: bytes) -> str:
    """A file as the page gets it."""
    from gradio.utils import get_upload_folder

    path = Path(get_upload_folder()) / f"{time.monotonic_ns()}" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    return str(path)


def zipped(name: str, files: dict[str, bytes]) -> str:
    """The same for a zip of these."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        for inside, data in files.items():
            packed.writestr(inside, data)
    return uploaded(name, buffer.getvalue())

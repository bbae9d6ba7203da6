"""For tests of batches: a variant that computes nothing, and remembers the batches that it was handed."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from batching import Teller
from plumbing import write_checkpoint

from narrator.batch import BatchPlan
from narrator.engine import Engine
from narrator.settings import GenerationSettings


class Counted(Teller):
    """Remembers how many pictures each batch held, and has memory for `room` of them."""

    batches: list[int] = []
    room = 1000

    def batch(self, images: Sequence[Any], prompts: Sequence[str], settings: GenerationSettings) -> list:
        if len(images) > Counted.room:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
        said = super().batch(images, prompts, settings)
        Counted.batches.append(len(images))
        return said


@pytest.fixture
def teller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """A loader of one variant, "teller", which computes nothing; the working folder is the test's."""
    from narrator.families import FAMILIES

    monkeypatch.setitem(FAMILIES, "teller", "counted:Counted")
    monkeypatch.chdir(tmp_path)
    Counted.batches, Counted.room = [], 1000
    write_checkpoint(tmp_path / "checkpoints", "teller", family="teller", inputs={"image": True, "text": True},
                     default_prompt="")
    return Engine(tmp_path / "checkpoints", device="cpu")


def plan(*sources: object, **more: Any) -> BatchPlan:
    return BatchPlan(variant="teller", sources=tuple(map(str, sources)), **more)


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]

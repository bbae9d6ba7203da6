"""`trainer doctor`: what each preset would train, counted on models without weights."""

import json
from pathlib import Path

import pytest

from trainer.__main__ import main

PRESETS = Path(__file__).resolve().parent.parent / "trainer" / "presets"
# total: by the published architectures; learning: of the last stage; None where it begins from what a run makes.
KNOWN: dict[str, tuple[int | None, int | None]] = {
    "dialogpt-small": (124_439_808, 124_439_808), "gpt2": (124_439_808, 124_439_808),
    "gpt2-medium": (354_823_168, 354_823_168), "opt-2.7b-lora": (2_651_596_800, 7_864_320),
    "vit-gpt2-coco": (None, None), "clip-phi2": (None, None), "qwen2.5-3b-lora": (None, None),
    "llama-3.2-3b-lora": (None, None)}


def examined(preset: str, capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict]:
    assert main(["doctor", str(PRESETS / f"{preset}.yaml"), "--json", *arguments]) == 0
    found: list[dict] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.parametrize("preset", sorted(KNOWN))
def test_a_full_size_preset_is_built_without_its_weights(preset: str, capsys: pytest.CaptureFixture[str],
                                                         monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NARRATOR_DATA", str(tmp_path))  # no data either
    last = examined(preset, capsys)[-1]
    total, learning = KNOWN[preset]
    if total is not None and learning is not None:
        assert last["trainable"] == learning
        assert last["total"] == total + (learning if learning < total else 0)  # adapters come on top
    assert last["steps"] is None
    assert last["memory_gib"] > last["trainable"] * 16 / 2**30


def test_what_learns_differs_by_stage_and_quantised_weights_take_less(capsys: pytest.CaptureFixture[str],
                                                                      monkeypatch: pytest.MonkeyPatch,
                                                                      tmp_path: Path) -> None:
    monkeypatch.setenv("NARRATOR_DATA", str(tmp_path))
    align, instruct = examined("clip-phi2", capsys)
    # by hand: 768 x 2560 + 2560 of the matrix; norm and two matrices of the block; the separator
    assert align["trainable"] == 768 * 2560 + 2560 + 2 * 2560 + 2 * (2560 * 2560 + 2560) + 2560
    # LoRA r 64 on q, k, v (2560 -> 2560), fc1 (2560 -> 10240), fc2 (10240 -> 2560) of 32 layers: the original's 83.9 M
    adapters = 32 * 64 * (3 * (2560 + 2560) + 2 * (2560 + 10240))
    assert adapters == 83_886_080 and instruct["trainable"] == align["trainable"] + adapters
    whole = examined("clip-phi2", capsys, "--set", "quantize=none")[0]
    assert whole["memory_gib"] > align["memory_gib"] + 8


def test_every_preset_can_be_examined(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
                                      tmp_path: Path) -> None:
    """Or says in a sentence what it begins from that is not here yet."""
    monkeypatch.setenv("NARRATOR_DATA", str(tmp_path))
    presets = sorted(PRESETS.glob("*.yaml"))
    assert len(presets) >= 14
    for preset in presets:
        code = main(["doctor", str(preset)])
        said = capsys.readouterr()
        begun = code == 2 and "Train it first" in said.err
        assert begun or (code == 0 and "parameters learn" in said.out), (preset, said)

"""Presets and --set: what is refused, by name and in one sentence, before anything is made."""

import dataclasses
from pathlib import Path

import pytest
import yaml

from trainer.__main__ import main
from trainer.config import load_config

PRESET = """
name: tiny
data: [{path: rows.jsonl, split: train}]
dev: [{path: rows.jsonl, split: dev}]
width: 32
heads: 2
stages:
  - {name: words, objective: language}
  - {name: frozen, epochs: 2}
"""

REFUSED = [
    (["--set", "learning_rat=1"], "unknown setting 'learning_rat'"),
    (["--set", "widht=32"], "unknown setting 'widht'. Did you mean 'width'?"),
    (["--set", "stages.frozen.epoch=2"], "unknown setting 'epoch'. Did you mean 'epochs'?"),
    (["--set", "stages.frosen.epochs=2"], "there is no entry 'frosen'. There are: words, frozen."),
    (["--set", "width"], "write it as key=value"),
    (["--set", "width=[1"], "not valid YAML"),
    (["--set", "width=many"], "'width' must be a whole number"),
    (["--set", "width=1e9"], "'width' must be between 16 and 4096"),
    (["--set", "heads=5"], "'heads' (5) must divide 'width' (32)"),
    (["--set", "recipe=other"], "'recipe' must be one of"),
    (["--set", "stages=[]"], "stages is a group of settings; name one of them"),
    (["--set", "name=../up"], "'name' must be lower-case words"),
    (["--data-root", "/nowhere"], "The data folder /nowhere (--data-root) is not there"),
]


@pytest.mark.parametrize(("arguments", "reason"), REFUSED, ids=[case[1][:40] for case in REFUSED])
def test_a_setting_is_refused_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                      monkeypatch: pytest.MonkeyPatch, arguments: list[str], reason: str) -> None:
    """Before a folder is made."""
    (tmp_path / "tiny.yaml").write_text(PRESET, encoding="utf-8")
    monkeypatch.setenv("NARRATOR_DATA", str(tmp_path))
    assert main(["run", str(tmp_path / "tiny.yaml"), "--runs", str(tmp_path / "runs"), *arguments]) == 2
    said = capsys.readouterr().err
    assert reason in said and said.count("\n") == 1, said
    assert not (tmp_path / "runs").exists()


def test_the_preset_of_these_tests_is_sound(tmp_path: Path) -> None:
    """Or each refusal above could be for another reason."""
    (tmp_path / "tiny.yaml").write_text(PRESET, encoding="utf-8")
    config = load_config(tmp_path / "tiny.yaml", ["width=64", "stages.frozen.learning_rate=3e-4"])
    assert (config.width, config.stages[1].learning_rate, config.stages[0].objective) == (64, 3e-4, "language")
    (tmp_path / "again.yaml").write_text(yaml.safe_dump(dataclasses.asdict(config)), encoding="utf-8")
    assert load_config(tmp_path / "again.yaml") == config


BAD_PRESETS: list[tuple[str, bytes, str]] = [
    ("empty", b"", "holds no settings"),
    ("a list", b"- 1\n", "holds no settings"),
    ("not YAML", b"name: [tiny\n", "cannot be read as YAML"),
    ("a tab", b"name:\n\t- x\n", "cannot be read as YAML"),
    ("latin-1", b"name: B\xe4r\n", "cannot be read as YAML"),
    ("NUL", b"name: a\0b\n", "cannot be read as YAML"),
    ("code", b"name: !!python/object/apply:os.system ['true']\n", "cannot be read as YAML"),
    ("deep", b"name: " + b"[" * 20_000, "cannot be read as YAML"),
    ("number as a key", b"1: 2\n", "unknown setting"),
    ("unknown key", b"nam: tiny\n", "unknown setting 'nam'. Did you mean 'name'?"),
    ("stage without a name", b"name: tiny\nstages: [{epochs: 1}]\n", "an entry of 'stages' has no 'name'"),
    ("stages of text", b"name: tiny\nstages: [a, b]\n", "'stages' must be a list of settings"),
    ("no stages", b"name: tiny\ndata: [{path: a}]\ndev: [{path: a}]\nstages: []\n", "'stages' is empty"),
    ("dev a number", b"name: tiny\ndev: 5\n", "'dev' must be a list"),
    ("NaN", b"name: tiny\ndropout: .nan\n", "'dropout' must be between"),
    ("infinite", b"name: tiny\nwidth: .inf\n", "'width' must be"),
]


@pytest.mark.parametrize(("content", "reason"), [case[1:] for case in BAD_PRESETS],
                         ids=[case[0] for case in BAD_PRESETS])
def test_a_bad_preset_is_told_in_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes,
                                              reason: str) -> None:
    preset = tmp_path / "preset.yaml"
    preset.write_bytes(content)
    assert main(["run", str(preset), "--runs", str(tmp_path / "runs")]) == 2
    said = capsys.readouterr().err
    assert str(preset) in said and reason in said and said.count("\n") == 1, said
    assert not (tmp_path / "runs").exists()


def test_presets_and_runs_that_are_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(tmp_path / "gone.yaml")]) == 2 and "There is no preset" in capsys.readouterr().err
    assert main(["run", str(tmp_path)]) == 2 and "cannot be read" in capsys.readouterr().err
    assert main(["resume", str(tmp_path)]) == 2 and "There is no run" in capsys.readouterr().err
    assert main(["list", "--runs", str(tmp_path / "gone"), "--json"]) == 0 and capsys.readouterr().out == "[]\n"

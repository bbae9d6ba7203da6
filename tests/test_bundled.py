"""The models that come with the project: each is in the repository, has its card, and answers by command."""

import json
import re
import subprocess
from pathlib import Path

import pytest
from command_line import ROOT, narrator

from narrator.catalog import bundled_ids, load_variants
from narrator.engine import shared_engine
from trainer.__main__ import main

PHOTO = ROOT / "assets" / "pictures" / "cat.jpg"


@pytest.fixture(autouse=True)
def only_bundled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NARRATOR_CHECKPOINTS", raising=False)


@pytest.mark.parametrize("name", bundled_ids())
def test_it_is_here_whole_and_its_card_tells_its_scores(name: str) -> None:
    assert name in load_variants(), f"variants.yaml names {name}, and checkpoints/{name} is not here, or broken"
    folder = ROOT / "checkpoints" / name
    if (ROOT / ".git").exists():
        listed = subprocess.run(["git", "ls-files", "--", str(folder)], cwd=ROOT, capture_output=True, text=True,
                                check=True).stdout.split()
        here = {str(path.relative_to(ROOT)) for path in folder.iterdir()}
        assert here == set(listed), "a file of it is not in the repository: see .gitignore"
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert re.search(r"\d\.\d{3} \(\d\.\d{3} to \d\.\d{3}\)", card), "no score with its interval"
    for part in ("license:", "model-index:", "python -m trainer run trainer/presets/", "python -m narrator evaluate"):
        assert part in card, part


@pytest.mark.parametrize("name", bundled_ids())
def test_it_answers_by_command(name: str) -> None:
    inputs = load_variants()[name].inputs
    asked = [PHOTO] if inputs.image else ["--prompt", "a brown dog"]
    done = narrator("describe", "--variant", name, "--json", *asked)
    shared_engine().unload(name)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    (answer,) = map(json.loads, done.stdout.splitlines())
    assert answer["variant"] == name and re.search(r"\w", answer["text"])


def test_the_digit_reader_reads_96_in_100(data_root: Path, tmp_path: Path) -> None:
    """A quarter of the digits that it has not learned from."""
    assert main(["dev", str(ROOT / "trainer/presets/digit-reader.yaml"), "--data-root", str(data_root),
                 "--out", str(tmp_path / "dev")]) == 0
    (rows,) = (tmp_path / "dev").glob("*.jsonl")
    done = narrator("evaluate", "--variant", "digit-reader", "--data", rows, "--limit", "250", "--json")
    shared_engine().unload("digit-reader")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["scores"]["accuracy"]["value"] >= 0.96

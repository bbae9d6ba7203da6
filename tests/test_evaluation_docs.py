"""docs/evaluation.md is what its command writes: a sample of it is made again where the data are."""

from pathlib import Path

import pytest

from benchmarks.evaluation import SAMPLE, Held, document, evaluated, held_sets, sample
from narrator.catalog import bundled_ids, load_variants
from narrator.evaluation import load_rows
from narrator.evaluation.figures import FIGURES

DOC = Path(__file__).resolve().parents[1] / "docs" / "evaluation.md"


@pytest.fixture(autouse=True)
def bundled_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NARRATOR_CHECKPOINTS", raising=False)


def test_every_bundled_model_is_in_it() -> None:
    text = DOC.read_text(encoding="utf-8")
    known = load_variants()
    for name in bundled_ids():
        assert name not in known or f"| {name} |" in text or known[name].title in text, name
    assert "python benchmarks/evaluation.py" in text
    for part in ("CIDEr-D", "Hallucinated objects", "Calibration error of confidence", "By chance", "METEOR"):
        assert part in text, part
    named = [one.title for one in FIGURES.values() if f"| {one.title} | `" in text]
    assert len(named) >= 20  # with formula and source


@pytest.mark.parametrize("which", ["flickr8k", "coco_sample"])
def test_the_first_rows_are_made_again(data_root: Path, tmp_path: Path, which: str) -> None:
    held = next((one for one in held_sets(data_root) if one.name == which), None)
    if held is None:
        pytest.skip(f"needs {which}")
    report = next(evaluated(Held(title=held.title, variants=held.variants[:1], data=held.data), data_root, tmp_path,
                            SAMPLE, java=False))
    text = DOC.read_text(encoding="utf-8")
    rows = load_rows(report.folder)
    for line in sample(rows).splitlines()[2:]:
        assert line in text, line
    assert len(rows) == SAMPLE
    again = document([(held, report)], "python benchmarks/evaluation.py --limit 4")
    assert f"## {held.title}" in again and again.count("| best |") == 3

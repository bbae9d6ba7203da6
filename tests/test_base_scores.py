"""What the base scored before it learned, beside what came of it; and one variant of a run, however it is cut off."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from test_causal_lm_runs import run
from tiny_captioner import save_tiny_captioner
from training import PRESET

from narrator.catalog import load_variants
from narrator.families.encoder_decoder import EncoderDecoder
from narrator.metrics.tokenize import ptb_tokens
from narrator.pictures import open_picture
from narrator.readers.gathering import read_examples
from narrator.records import NarratorError
from trainer import before
from trainer.config import load_config, parse_config
from trainer.events import read_events
from trainer.jobs import CONFIG, MANIFEST, PLACES, create_job, job_state
from trainer.loop import run_job
from trainer.publishing import MARK
from trainer.recipes.words import encode
from trainer.tab import views
from trainer.tab.runs import final_scores
from trainer.tab.watching import Watch

STAGE = {"name": "tune", "epochs": 6, "batch_size": 6, "evaluations": 2, "learning_rate": 5e-3, "patience": 1}
TUNED: dict[str, Any] = {**PRESET, "name": "tuned", "base": "checkpoints/tiny-captioner", "text": [], "stages": [STAGE],
                         "min_count": 99, "eval_beams": 2}  # no word is new
DATA = "captions.jsonl"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where checkpoints/tiny-captioner is, and what is trained from it goes."""
    folder = tmp_path_factory.mktemp("base")
    save_tiny_captioner(folder / "checkpoints" / "tiny-captioner")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NARRATOR_CHECKPOINTS", str(folder / "checkpoints"))
        yield folder


@pytest.fixture(scope="module")
def tuned(tiny: Path, home: Path) -> tuple[Path, Path]:
    """(the run's folder, the variant's)."""
    return run(TUNED, tiny, home)


def by_transformers(family: Any, path: Path) -> float:
    """Mean over all tokens of transformers' own loss of each caption of the dev pictures."""
    nats, tokens = 0.0, 0
    for example in read_examples(path, split="dev"):
        assert example.image is not None
        pixels = family.pictures(open_picture(example.image))[None]
        for text in example.texts:
            labels = torch.tensor([encode(family.tokenizer, ptb_tokens(text), TUNED.get("max_words", 30))])
            with torch.inference_mode():
                loss = float(family.model(pixel_values=pixels, labels=labels).loss)
            nats, tokens = nats + loss * labels.numel(), tokens + labels.numel()
    return nats / tokens


def test_base_and_variant_are_measured_alike(tuned: tuple[Path, Path], tiny: Path, home: Path) -> None:
    folder, variant = tuned
    events = read_events(folder / "events.jsonl")[0]
    kinds = [event["event"] for event in events]
    assert kinds.count("base") == 1 and kinds.index("base") < kinds.index("stage")
    (told,) = (event for event in events if event["event"] == "base")
    metrics = json.loads((variant / "metrics.json").read_text())
    base, final = told["scores"][DATA], metrics["scores"][DATA]
    assert told["step"] == 0 and metrics["base"] == told["scores"] == before.known(folder)
    assert base.keys() == final.keys() >= {"cider_d", "bleu_4", "loss_captions"}
    assert final["loss_captions"]["value"] < base["loss_captions"]["value"], "it has learned"
    assert all(score["low"] <= score["value"] <= score["high"] for score in (*base.values(), *final.values()))
    for scores, name in ((base, "tiny-captioner"), (final, "tuned")):
        family = EncoderDecoder(load_variants(home / "checkpoints")[name], "cpu")
        assert scores["loss_captions"]["value"] == pytest.approx(by_transformers(family, tiny / DATA), abs=2e-3), name
    card = (variant / "README.md").read_text()
    assert f"| before training | {DATA} | {base['cider_d']['value']:.3f} (" in card


def test_the_base_is_no_evaluation_of_a_stage(tuned: tuple[Path, Path]) -> None:
    """It neither is the best nor uses up the patience: the first evaluation is compared with nothing."""
    begin, *later = (event for event in read_events(tuned[0] / "events.jsonl")[0] if event["event"] == "evaluation")
    assert begin["step"] == 0 and begin["score"] is None
    assert later[0]["best"] and later[0]["best_score"] == later[0]["score"]


def test_the_page_shows_base_and_tuned_beside_each_other(tuned: tuple[Path, Path]) -> None:
    seen = Watch(tuned[0]).look()
    value = seen.base_scores[DATA]["cider_d"]["value"]
    assert f"Before training: CIDEr-D {value:.2f}." in seen.milestones
    final = final_scores(job_state(tuned[0]))
    html = views.report("Tuned", final, seen.base_scores)
    cells = [views._interval(found[DATA]["loss_captions"]) for found in (seen.base_scores, final)]
    assert '<th scope="col">Before</th><th scope="col">Tuned</th>' in html
    assert f'Loss of the captions (nats a word)</th><td>{cells[0]}</td><td>{cells[1]}</td>' in html


def test_a_run_that_ends_as_its_variant_appears_makes_no_second_one(tiny: Path, home: Path) -> None:
    """A folder where the run's last file is to go ends it just there; resumed, it finds what it has made."""
    config = parse_config({**TUNED, "name": "once", "stages": [{**STAGE, "epochs": 1, "evaluations": 1}]}, "test")
    folder = create_job("once", dataclasses.asdict(config), home / "runs")
    (folder / PLACES).write_text(json.dumps({"command": "python -m trainer run tiny.yaml"}))
    (folder / MANIFEST).mkdir()
    out = home / "checkpoints" / "once"
    with pytest.raises(NarratorError, match="The run broke off"):
        run_job(folder, load_config(folder / CONFIG), tiny, out)
    assert (out / MANIFEST).is_file() and (folder / MARK).is_file() and job_state(folder).state == "failed"
    written = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    (folder / MANIFEST).rmdir()
    assert run_job(folder, load_config(folder / CONFIG), tiny, out) == out
    assert job_state(folder).state == "done" and not (folder / MARK).exists()
    assert not list(out.parent.glob("once-*")) and not list(out.parent.glob(".once*"))
    assert {path.name: path.stat().st_mtime_ns for path in out.iterdir()} == written
    again = create_job("once", dataclasses.asdict(config), home / "runs")  # another run finds the name taken
    (again / PLACES).write_text((folder / PLACES).read_text())
    (again / MARK).write_text(json.dumps({"folder": str(out), "written_ns": 1, "manifest": "id: once\n"}))
    assert run_job(again, load_config(again / CONFIG), tiny, out) == out.with_name("once-2")

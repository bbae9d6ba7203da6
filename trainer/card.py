"""The model card of a trained variant: data, licences, provenance, scores of every stage, and the command that made it."""

import json
from pathlib import Path

import yaml

from narrator.records import Variant
from trainer import jobs
from trainer.config import TrainingConfig


def write_card(run: Path, out: Path, config: TrainingConfig, variant: Variant) -> None:
    """Write metrics.json and README.md to `out` from what the run's folder tells."""
    stages = [json.loads((run / "stages" / stage.name / "stage.json").read_text(encoding="utf-8")) for stage in config.stages]
    jobs.write_whole(out / "metrics.json", json.dumps({"variant": variant.id, "stages": stages}, indent=2) + "\n")
    jobs.write_whole(out / "README.md", _card(config, variant, stages))


def _card(config: TrainingConfig, variant: Variant, stages: list[dict]) -> str:
    header = yaml.safe_dump({"license": variant.license, "pipeline_tag": "image-to-text", "library_name": "transformers"})
    return f"---\n{header}---\n# {variant.title}\n\n{variant.provenance}\n\n{_table(stages)}\n"


def _table(stages: list[dict]) -> str:
    rows = ["| stage | steps | data | CIDEr-D | BLEU-4 | ROUGE-L |", "| --- | --- | --- | --- | --- | --- |"]
    for stage in stages:
        for data, scores in stage["scores"].items():
            cells = [f"{scores[name]['value']:.3f} ({scores[name]['low']:.3f} to {scores[name]['high']:.3f})"
                     for name in ("cider_d", "bleu_4", "rouge_l")]
            rows.append(f"| {stage['name']} | {stage['steps']:,} | {data} | {' | '.join(cells)} |")
    return "\n".join(rows)

"""Writes docs/evaluation.md: the bundled models on the held-out data that they can be asked about.

    python benchmarks/evaluation.py [--data-root DATA] [--limit N] [--work FOLDER] [--out docs/evaluation.md]

Each set is an evaluation in FOLDER (default evaluations/docs), so that a run which was cut short goes on where it was;
delete FOLDER to begin anew. What is not there, a model or a data set, is left out.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import platform
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # so that it runs without an installation

from narrator.catalog import bundled_ids, load_variants
from narrator.commands.common import Bar, positive
from narrator.evaluation import Plan, Report, ScoredRow, create, evaluations_folder, examples, load_rows, run
from narrator.evaluation.markdown import explained, results
from narrator.evaluation.plan import PLAN
from narrator.records import Variant

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = 4  # rows of each set that stand in the report with their texts; a test makes them again
CAPTIONERS = ("encoder_decoder", "projector_lm", "hub_vlm")
PHOTOGRAPHS = (("Photographs of Flickr8k", "flickr8k/captions.jsonl"),
               ("Photographs of COCO", "coco_sample/captions.jsonl"))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Held:
    """One data set and the models that are measured on it. preset: whose held-out rows it is, "" for a file of the
    data root, `data`."""

    title: str
    variants: tuple[str, ...]
    data: str = ""
    preset: str = ""

    @property
    def name(self) -> str:
        """Of its folder."""
        return self.data.split("/")[0] or self.preset


def held_sets(data_root: Path) -> list[Held]:
    """The data sets that are here, each with the bundled models that can be asked about it."""
    known = load_variants()
    bundled: list[Variant] = [known[name] for name in bundled_ids() if name in known]
    captioners = tuple(one.id for one in bundled if one.family in CAPTIONERS)
    found = [Held(title=title, variants=captioners, data=data) for title, data in PHOTOGRAPHS
             if captioners and (data_root / data).is_file()]
    for one in bundled:
        asked = one.family not in CAPTIONERS or one.inputs.text  # else the photographs above are all it can be asked
        if asked and (ROOT / "trainer" / "presets" / f"{one.id}.yaml").is_file():
            found.append(Held(title=f"What {one.title} was not shown", variants=(one.id,), preset=one.id))
    return found


def planned(held: Held, data_root: Path, work: Path, limit: int | None) -> Iterator[tuple[str, Plan]]:
    """(name of the folder, plan) of a set; rows of a preset are written below `work` first."""
    if held.data:
        yield held.name, Plan(variants=held.variants, data=data_root / held.data, data_name=held.data, split="dev",
                              limit=limit)
        return
    from trainer.config import load_config
    from trainer.held_out import write

    config = load_config(ROOT / "trainer" / "presets" / f"{held.preset}.yaml", [])
    for path, _ in write(config, data_root, work / "rows" / held.preset):
        yield f"{held.name}-{path.stem}", Plan(variants=held.variants, data=path, data_name=path.name, limit=limit)


def evaluated(held: Held, data_root: Path, work: Path, limit: int | None, *, java: bool = True) -> Iterator[Report]:
    """The reports on a set, carried out or gone on with in folders below `work`. java: METEOR and SPICE too."""
    for name, plan in planned(held, data_root, work, limit):
        folder = work / (name if limit is None else f"{name}-{limit}")
        if not (folder / PLAN).is_file():
            create(dataclasses.replace(plan, java=java), work, name=folder.name)
        report = run(folder, Bar("rows"))
        if report is not None:
            yield report


def sample(rows: Sequence[ScoredRow]) -> str:
    """The first rows with what was said of them, as a table in Markdown; ROUGE-L (or right = 1) knows no other row."""
    lines = ["| row | asked | model | said | ROUGE-L or right |", "| --- | --- | --- | --- | --- |"]
    for row in rows[:SAMPLE]:
        asked = row.prompt or (row.image.name if row.image is not None else "")
        for variant, text in row.texts.items():
            scores = row.scores[variant]
            lines.append(f"| {row.where.rpartition(' ')[2]} | {_cell(asked)} | {variant} | {_cell(text)} | "
                         f"{scores.get('rouge_l', scores.get('accuracy', 0.0)):.3f} |")
    return "\n".join(lines)


def outliers(report: Report, rows: Sequence[ScoredRow]) -> str:
    """The best and the worst of each model by CIDEr-D, beside a reference; "" where there is none."""
    lines = []
    for one in report.variants:
        for worst in (False, True):
            for row in examples(rows, one.variant, n=3, worst=worst):
                lines.append(f"| {'worst' if worst else 'best'} | {one.variant} | {_cell(row.texts[one.variant])} | "
                             f"{_cell(row.references[0])} | {row.scores[one.variant]['cider_d']:.2f} |")
    head = ["| | model | said | a person said | CIDEr-D |", "| --- | --- | --- | --- | --- |"]
    return "\n".join([*head, *lines]) if lines else ""


def document(found: Sequence[tuple[Held, Report]], command: str) -> str:
    """docs/evaluation.md."""
    machine = f"{os.cpu_count()} cores ({platform.machine()}), Python {platform.python_version()}"
    parts = [
        "# The bundled models, measured",
        "Every figure with its 95 % interval, on pictures and prompts that the models were not trained on. Made by "
        f"this command on {machine}; it goes on where it was cut short:",
        f"```bash\n{command}\n```",
        "Speed and memory are of that machine and of what else it was doing. How the other figures are computed stands "
        "at the end. Dev data chose the best weights of each training stage, so take these figures as slightly "
        "flattered, and your own pictures as the judge.",
        "CIDEr-D weighs n-grams by how rare they are among the pictures measured, and the more references there are, "
        "the more words are found in them: only figures of the same pictures compare."]
    for held, report in found:
        first = f", the first {report.plan.limit:,}" if report.plan.limit else ""
        several = sum(one is held for one, _ in found) > 1
        title = f"{held.title}: {report.plan.name}" if several else held.title
        parts += [f"## {title}", f"{report.plan.name}{first}: {report.n_rows:,} {report.what}, "
                  f"{report.references:.1f} references each{_beams(report)}.", *results(report, 3)]
        rows = load_rows(report.folder)
        worst = outliers(report, rows)
        parts += ["### Best and worst", worst] if worst else []
        parts += ["### The first rows", sample(rows)]
    return "\n\n".join(part for part in (*parts, *explained([report for _, report in found], 2)) if part) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Evaluate and write; exit code 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", help="folder of the data sets (else NARRATOR_DATA, else data/)")
    parser.add_argument("--limit", type=positive, help="only the first N rows of each set")
    parser.add_argument("--work", type=Path, default=evaluations_folder() / "docs")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "evaluation.md")
    options = parser.parse_args(arguments)
    from trainer.data import resolve_data_root

    root = resolve_data_root(options.data_root)
    found = [(held, report) for held in held_sets(root)
             for report in evaluated(held, root, options.work, options.limit)]
    told = ["python", "benchmarks/evaluation.py", *(["--limit", str(options.limit)] if options.limit else [])]
    options.out.write_text(document(found, shlex.join(told)), encoding="utf-8")
    print(f"{options.out}: {', '.join(held.title for held, _ in found)}")
    return 0


def _beams(report: Report) -> str:
    """How texts were found; classes are not searched for."""
    told = any("accuracy" in one.scores for one in report.variants)
    return "" if told else f"; {report.plan.settings.num_beams} beams"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(main())

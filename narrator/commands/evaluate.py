"""`narrator evaluate`: measure variants on held-out rows: captions, prompts, questions or classes.

One variant on JSON lines is measured here and now. Several variants, other formats or --out make an evaluation: a
folder that Ctrl-C or a power cut leaves resumable, with a report (narrator.evaluation).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from narrator.commands.common import (
    Bar,
    add_settings,
    positive,
    print_json,
    print_scores,
    scores_json,
    settings_of,
    warn,
)
from narrator.records import NarratorError, Score
from narrator.settings import GenerationSettings

if TYPE_CHECKING:
    from narrator.evaluation import Report, Success

SAYS = "measure variants on photographs with captions, on prompts, questions or digits"


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--variant", metavar="ID", action="append",
                        help="the variant to measure (default: the first of the catalog); several for a comparison")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--data", metavar="FILE", type=Path,
                      help='JSON lines {"image": path beside the file, "captions": [...], "split": name}, or others, '
                           'with "prompt", "kind" or "label", as narrator/held_out.py says; COCO captions, '
                           "Karpathy's splits, CSV, or a folder of pictures with a .txt beside each")
    what.add_argument("--resume", action="store_true", help="go on with the evaluation in --out, or show its report")
    parser.add_argument("--split", metavar="S", help="only the rows of this split, such as dev")
    parser.add_argument("--limit", metavar="N", type=positive, help="only the first N of them")
    parser.add_argument("--batch-size", metavar="N", type=positive, default=16, help="rows at once (default 16)")
    parser.add_argument("--out", metavar="FOLDER", type=Path,
                        help="make the whole report there: report.md, metrics.json, scores.csv")
    parser.add_argument("--no-java", action="store_true", help="leave out METEOR and SPICE")
    parser.add_argument("--no-clip", action="store_true", help="leave out CLIPScore")
    parser.add_argument("--to-card", action="store_true",
                        help="put the figures into metrics.json beside the variants' weights, for their cards")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_settings(parser)


def run(arguments: argparse.Namespace) -> int:
    settings = settings_of(arguments)
    if arguments.resume:
        if arguments.out is None:
            raise NarratorError("Say which evaluation to resume: --out FOLDER --resume.")
        return _carry_out(arguments.out, arguments)
    plain = arguments.data.suffix.lower() == ".jsonl" and arguments.out is None and not arguments.to_card
    if plain and len(arguments.variant or ()) < 2:
        return _at_once(arguments, settings)
    return _carry_out(_planned(arguments, settings), arguments)


def _at_once(arguments: argparse.Namespace, settings: GenerationSettings) -> int:
    """One variant, without a folder."""
    from narrator.catalog import default_variant, find_variant
    from narrator.evaluate import counted, measure, rows_of

    variant = find_variant(arguments.variant[0]) if arguments.variant else default_variant()
    rows = rows_of(arguments.data, arguments.split, arguments.limit)
    what = counted(rows)
    report = measure(variant.id, arguments.data, rows, settings=settings, batch_size=arguments.batch_size,
                     progress=Bar("steps" if what == "prompts" else what))
    if arguments.json:
        print_json({"variant": report.variant_id, "data": report.data, "n": report.n,
                    "scores": scores_json(report.scores), "seconds": round(report.seconds, 3)})
    else:
        print(f"{report.variant_id} on {report.n} {what} of {report.data}, in {report.seconds:.0f} s")
        print_scores(report.scores)
    return 0


def _planned(arguments: argparse.Namespace, settings: GenerationSettings) -> Path:
    """A new evaluation in --out, else in a folder of its own among the others."""
    from narrator.catalog import default_variant
    from narrator.evaluation import Plan, create, evaluations_folder

    plan = Plan(variants=tuple(arguments.variant or [default_variant().id]), data=arguments.data, split=arguments.split,
                limit=arguments.limit, settings=settings, batch_size=arguments.batch_size, clip=not arguments.no_clip,
                java=not arguments.no_java)
    out = arguments.out.absolute() if arguments.out is not None else None
    return create(plan, evaluations_folder()) if out is None else create(plan, out.parent, name=out.name)


def _carry_out(folder: Path, arguments: argparse.Namespace) -> int:
    """Run the evaluation from where it stands, and print its report."""
    from narrator.evaluation import run as carry_out
    from narrator.evaluation import state_of, to_card

    before = state_of(folder).done
    try:
        report = carry_out(folder, Bar("rows", before=before))
    except KeyboardInterrupt:
        warn(f"what is done is kept: `narrator evaluate --out {folder} --resume` goes on.")
        raise
    if report is None:
        raise NarratorError(f"{folder} was stopped: `narrator evaluate --out {folder} --resume` goes on.")
    for one in report.variants if arguments.to_card else ():
        warn(f"the figures of {one.variant} are in {to_card(report, one.variant)}.")
    if arguments.json:
        print_json(_json(report))
    else:
        print(report.markdown())
        warn(f"the report is in {folder}.")
    return 0


def _json(report: Report) -> dict:
    return {"folder": str(report.folder), "data": report.plan.name, "n": report.n_rows,
            "variants": {one.variant: {"n": one.n, "left_out": one.left_out, "scores": scores_json(one.scores),
                                       "measured": scores_json(one.measured),
                                       "success": {scene: {"n": part.n, **scores_json(_shares(part))}
                                                   for scene, part in one.success.items()}}
                         for one in report.variants},
            "comparisons": [{"first": one.first, "second": one.second, "metric": one.metric, "n": one.n,
                             **scores_json({"difference": one.difference}), "verdict": one.verdict}
                            for one in report.comparisons],
            "said": report.said, "problems": report.problems}


def _shares(part: Success) -> dict[str, Score]:
    """Of a type of scene, with those of chance and of people where they are known."""
    found = {"share": part.share, "chance": part.chance, "people": part.people}
    return {name: score for name, score in found.items() if score is not None}

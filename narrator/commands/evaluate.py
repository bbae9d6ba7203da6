"""`narrator evaluate`: measure a variant on held-out rows: captions, prompts, questions or classes."""

from __future__ import annotations

import argparse
from pathlib import Path

from narrator.commands.common import (
    Bar,
    add_settings,
    positive,
    print_json,
    print_scores,
    scores_json,
    settings_of,
)

SAYS = "measure a variant on photographs with captions, on prompts, questions or digits"


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--variant", metavar="ID", help="the variant to measure (default: the first of the catalog)")
    parser.add_argument("--data", metavar="FILE.jsonl", type=Path, required=True,
                        help='rows {"image": path beside the file, "captions": [...], "split": name}, or others, with '
                             '"prompt", "kind" or "label", as narrator/held_out.py says')
    parser.add_argument("--split", metavar="S", help="only the rows of this split, such as dev")
    parser.add_argument("--limit", metavar="N", type=positive, help="only the first N of them")
    parser.add_argument("--batch-size", metavar="N", type=positive, default=16, help="rows at once (default 16)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_settings(parser)


def run(arguments: argparse.Namespace) -> int:
    settings = settings_of(arguments)
    from narrator.catalog import default_variant, find_variant
    from narrator.evaluate import counted, measure, rows_of

    variant = find_variant(arguments.variant) if arguments.variant else default_variant()
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

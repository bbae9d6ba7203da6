"""`narrator history`: what is kept on this machine, listed, searched, exported, deleted."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

from narrator.commands.common import Bar, is_terminal, positive, print_json, warn
from narrator.corrections import Correction
from narrator.history import KINDS, Entry, Store, as_row, packing, store_of
from narrator.records import NarratorError
from narrator.votes import Vote, as_jsonl

SAYS = "list, search, export or delete the narrations, votes and corrections kept on this machine"
LIMIT = 20


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--kind", choices=list(KINDS), default="narrations", help="of which kind (default narrations)")
    parser.add_argument("--search", metavar="WORDS", default="", help="only those that hold all these words")
    parser.add_argument("--limit", metavar="N", type=positive, default=LIMIT,
                        help=f"the N newest of them (default {LIMIT})")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")
    act = parser.add_mutually_exclusive_group()
    act.add_argument("--export", metavar="F.zip", type=Path, help="pack all of the kind into a new zip")
    act.add_argument("--delete", metavar="ID", help="delete one, by the id that the list begins with")
    act.add_argument("--delete-all", action="store_true", help="delete all of the kind; asks first")
    parser.add_argument("--yes", action="store_true", help="do not ask")


def run(arguments: argparse.Namespace) -> int:
    store = store_of(arguments.kind)
    if arguments.export:
        _export(store, arguments.kind, arguments.export)
    elif arguments.delete:
        store.delete(arguments.delete)
        print(f"Deleted. {store.count():,} {arguments.kind} left.")
    elif arguments.delete_all:
        _delete_all(store, arguments)
    else:
        _list(store, arguments)
    return 0


def _list(store: Store, arguments: argparse.Namespace) -> None:
    found = store.page(0, arguments.limit, arguments.search)
    for problem in found.problems:
        warn(f"Left out: {problem}")
    for one in found.rows:
        if arguments.json:
            print_json(_as_json(one))
        else:
            print(_as_line(one), flush=True)
    if arguments.json:
        return
    if not found.total:
        held = f" holds all of: {arguments.search}" if arguments.search else " is kept yet"
        print(f"None of the {arguments.kind}{held}.")
    elif found.total > len(found.rows):
        print(f"These are the {len(found.rows)} newest of {found.total:,}; --limit shows more.")


def _export(store: Store, kind: str, path: Path) -> None:
    if path.exists():
        raise NarratorError(f"{path} is there already: name a new file.")
    if not path.absolute().parent.is_dir():
        raise NarratorError(f"There is no folder {path.parent} for the zip: make it first.")
    part = path.with_name(f".{path.name}.part")
    try:
        bar = Bar(kind)
        for done, total in packing(store, part):
            bar(done, total)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    print(f"{path}: {total:,} {kind}.")


def _delete_all(store: Store, arguments: argparse.Namespace) -> None:
    count = store.count()
    if not count:
        raise NarratorError(f"There are no {arguments.kind} to delete.")
    if not arguments.yes:
        if not is_terminal(sys.stdin):
            raise NarratorError(f"This would delete {count:,} {arguments.kind} for good: add --yes.")
        if input(f"Delete {count:,} {arguments.kind} for good? [y/N] ").strip().lower() not in ("y", "yes"):
            raise NarratorError("Nothing was deleted.")
    store.clear()
    print(f"Deleted {count:,} {arguments.kind}.")


def _as_json(one: Entry | Vote | Correction) -> dict[str, Any]:
    if isinstance(one, Entry):
        return {**as_row(one), "pictures": list(map(str, one.pictures)), "audio": str(one.sound) if one.sound else None}
    if isinstance(one, Vote):
        vote: dict[str, Any] = json.loads(as_jsonl([one]))
        return vote
    return {**dataclasses.asdict(one), "picture": str(one.picture)}


def _as_line(one: Entry | Vote | Correction) -> str:
    if isinstance(one, Entry):
        made = one.narration
        return f"{one.id}  {_when(made.created)}  {made.variant_id}: {' '.join(made.text.split())}"
    if isinstance(one, Vote):
        return f"{one.id}  {_when(one.time)}  {', '.join(one.variants)}: {one.outcome} {one.winner or ''}".rstrip()
    return f"{one.id}  {_when(one.time)}  {one.variant}: {one.before} -> {one.after}"


def _when(time: str) -> str:
    return time[:16].replace("T", " ")

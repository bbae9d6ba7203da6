"""`narrator score`: score captions that anyone made, from files in COCO's format."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from narrator.commands.common import print_json, print_scores, scores_json, warn
from narrator.records import NarratorError

SAYS = "score captions in COCO's format against references"
Key = int | str


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--references", metavar="COCO.json", type=Path, required=True,
                        help='{"images": [{"id"}], "annotations": [{"image_id", "caption"}]}')
    parser.add_argument("--candidates", metavar="COCO_RESULTS.json", type=Path, required=True,
                        help='[{"image_id", "caption"}]; of several for a picture the first counts')
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    from narrator.metrics.scores import caption_scores

    started = time.perf_counter()
    references = read_references(arguments.references)
    candidates = read_candidates(arguments.candidates)
    both = _common(references, candidates)
    scores = caption_scores({key: references[key] for key in both}, {key: candidates[key] for key in both})
    if arguments.json:
        print_json({"references": str(arguments.references), "candidates": str(arguments.candidates), "n": len(both),
                    "scores": scores_json(scores), "seconds": round(time.perf_counter() - started, 3)})
    else:
        print(f"{arguments.candidates} on {len(both)} pictures of {arguments.references}")
        print_scores(scores)
    return 0


def read_references(path: Path) -> dict[Key, list[str]]:
    """Picture -> its captions, of a COCO captions file; a picture of its "images" without any has an empty list."""
    values = _json(path)
    if not isinstance(values, dict) or not isinstance(values.get("annotations"), list):
        raise NarratorError(f"{path}: must be an object with \"annotations\", as COCO's caption files are; a list of "
                            "results belongs to --candidates.")
    images = values.get("images", [])
    if not isinstance(images, list):
        raise NarratorError(f"{path}: \"images\" must be a list of objects with an id.")
    found: dict[Key, list[str]] = {_key(image, "id", f"{path}, image {number}"): []
                                   for number, image in enumerate(images, start=1)}
    for number, row in enumerate(values["annotations"], start=1):
        where = f"{path}, annotation {number}"
        found.setdefault(_key(row, "image_id", where), []).append(_caption(row, where))
    return found


def read_candidates(path: Path) -> dict[Key, str]:
    """Picture -> its first caption, of a COCO results file; a warning says how many further ones were left out."""
    values = _json(path)
    if not isinstance(values, list):
        raise NarratorError(f"{path}: must be a list of {{\"image_id\", \"caption\"}}, as COCO's result files are.")
    found: dict[Key, str] = {}
    further: list[Key] = []
    for number, row in enumerate(values, start=1):
        where = f"{path}, result {number}"
        key, caption = _key(row, "image_id", where), _caption(row, where)
        if key in found:
            further.append(key)
        found.setdefault(key, caption)
    if further:
        warn(f"{len(further)} candidate{_s(further)} left out: only the first of a picture counts ({_some(further)}).")
    return found


def _common(references: dict[Key, list[str]], candidates: dict[Key, str]) -> list[Key]:
    """The pictures that have both, in the references' order; the others are named on stderr."""
    bare = [key for key in candidates if not references.get(key)]
    if bare:
        warn(f"{len(bare)} picture{_s(bare)} with a candidate but no reference, not counted ({_some(bare)}).")
    lonely = [key for key, captions in references.items() if key not in candidates and captions]
    if lonely:
        warn(f"{len(lonely)} picture{_s(lonely)} of the references without a candidate, not counted ({_some(lonely)}).")
    both = [key for key, captions in references.items() if captions and key in candidates]
    if not both:
        raise NarratorError("No picture has both a reference and a candidate: check that the image ids are the same, "
                            "numbers as numbers, in both files.")
    return both


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise NarratorError(f"{path} cannot be read ({error.strerror}): check its name and permissions.") from None
    except UnicodeDecodeError:
        raise NarratorError(f"{path} is not UTF-8 text: give a JSON file.") from None
    except json.JSONDecodeError as error:
        raise NarratorError(f"{path} is not JSON (line {error.lineno}: {error.msg}): write it again.") from None
    except RecursionError:
        raise NarratorError(f"{path} is nested too deeply to be a COCO file.") from None


def _key(row: Any, name: str, where: str) -> Key:
    key = row.get(name) if isinstance(row, dict) else None
    if not isinstance(key, (int, str)) or isinstance(key, bool):
        raise NarratorError(f"{where}: '{name}' must be a whole number or a text.")
    return key


def _caption(row: dict[str, Any], where: str) -> str:
    caption = row.get("caption")
    if not isinstance(caption, str):
        raise NarratorError(f"{where}: 'caption' must be a text.")
    return caption


def _s(things: list[Key]) -> str:
    return "" if len(things) == 1 else "s"


def _some(keys: list[Key]) -> str:
    """The first few keys for a message."""
    names = [str(key) for key in dict.fromkeys(keys)]
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")

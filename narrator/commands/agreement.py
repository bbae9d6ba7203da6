"""`narrator agreement`: how far the metrics of captions agree with people's ratings, in the format of Flickr8k-Expert.

Hodosh, Young and Hockenmaier 2013, "Framing image description as a ranking task": ExpertAnnotations.txt has a line for
each picture and caption, `image.jpg<TAB>other.jpg#2<TAB>1<TAB>1<TAB>2`, three experts' ratings from 1 (does not
describe the picture) to 4 (describes it); Flickr8k.token.txt has the captions, `image.jpg#0<TAB>caption`. As in Hessel
et al. 2021 (CLIPScore, table 1 and appendix A): a picture's references are its own captions, a candidate that is one of
them is left out, every rating is a pair with the candidate's score, and tau-c is taken of all pairs. There BLEU-4 has
0.308, ROUGE-L 0.323 and CIDEr 0.439 (printed as 30.8, 32.3, 43.9).
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from narrator.commands.common import print_json, warn
from narrator.records import NarratorError
from narrator.rows import lines

SAYS = "Kendall's tau-c of caption metrics with people's ratings (Flickr8k-Expert)"
EXPERTS, LOW, HIGH = 3, 1, 4
_NAMED = 5  # damaged lines; the others are counted
_EXTRA = re.compile(r"(?<=\.jpg)\.\d+$")  # one picture of Flickr8k.token.txt is written x.jpg.1
Candidate = tuple[str, str, tuple[int, ...]]  # picture, the text, its ratings


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--ratings", metavar="ExpertAnnotations.txt", type=Path, required=True,
                        help="lines of picture, caption id and three ratings from 1 to 4, separated by tabs")
    parser.add_argument("--captions", metavar="Flickr8k.token.txt", type=Path, required=True,
                        help="lines of image.jpg#0, a tab and the caption")
    parser.add_argument("--java", action="store_true", help="METEOR and SPICE too, where Java has them")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    references, captions = read_captions(arguments.captions)
    candidates, own = read_ratings(arguments.ratings, references, captions)
    found = agreement(candidates, references, java=arguments.java)
    n = sum(len(ratings) for _, _, ratings in candidates)
    if arguments.json:
        print_json({"n": n, "tau_c": found})
        return 0
    print(f"{n:,} ratings of {len(candidates):,} candidates; {own:,} candidates are references of their own picture "
          "and are left out.")
    for name, value in found.items():
        print(f"{name:10}  tau-c {'     –' if value is None else f'{value:6.3f}'}")
    return 0


def agreement(candidates: list[Candidate], references: dict[str, list[str]], *, java: bool = False
              ) -> dict[str, float | None]:
    """Kendall's tau-c (-1..1) of each metric with the ratings, None of one that scores all candidates the same, as
    stderr says then. Raises NarratorError where there is no candidate, or all ratings are the same."""
    from narrator.metrics import java as by_java
    from narrator.metrics.agreement import caption_values, tau_c

    # One entry a rating, as the paper's authors have it: CIDEr-D counts its document frequencies over the entries.
    entries = [place for place, (_, _, ratings) in enumerate(candidates) for _ in ratings]
    ratings = [rating for _, _, given in candidates for rating in given]
    texts = {number: candidates[place][1] for number, place in enumerate(entries)}
    truths = {number: references[candidates[place][0]] for number, place in enumerate(entries)}
    scores = {name: values.tolist() for name, values in caption_values(truths, texts).items()}
    missing = by_java.missing() if java else {}
    for name, compute in (("meteor", by_java.meteor), ("spice", by_java.spice)) if java else ():
        if name in missing:
            warn(missing[name])
        else:
            values = compute({place: references[picture] for place, (picture, _, _) in enumerate(candidates)},
                             {place: text for place, (_, text, _) in enumerate(candidates)})
            scores[name] = [values[place] for place in entries]
    same = [name for name, values in scores.items() if len(set(values)) < 2]
    if same and len(set(ratings)) > 1:
        warn(f"{', '.join(same)}: the same for all candidates, so that its agreement cannot be told; give more "
             "candidates.")
        return {name: None if name in same else tau_c(values, ratings) for name, values in scores.items()}
    return {name: tau_c(values, ratings) for name, values in scores.items()}


def read_captions(path: Path) -> tuple[dict[str, list[str]], dict[str, str]]:
    """(picture -> its captions, caption id -> caption). Damaged lines are named on stderr and left out."""
    references: dict[str, list[str]] = {}
    captions: dict[str, str] = {}
    bad: list[str] = []
    for where, line in _texts(path, bad):
        name, _, caption = line.partition("\t")
        picture, mark, number = name.strip().rpartition("#")
        caption = " ".join(caption.split())
        if not picture or not mark or not number.isdigit() or not caption:
            bad.append(f"{where}: must be image.jpg#0, a tab and a caption")
        elif name.strip() in captions:
            bad.append(f"{where}: has the same id as an earlier caption ({name.strip()[:60]!a})")
        else:
            captions[name.strip()] = caption
            references.setdefault(_EXTRA.sub("", picture), []).append(caption)
    _tell(bad)
    if not captions:
        raise NarratorError(f"{path} has no caption: its lines must be image.jpg#0, a tab and the caption.")
    return references, captions


def read_ratings(path: Path, references: dict[str, list[str]], captions: dict[str, str]
                 ) -> tuple[list[Candidate], int]:
    """(the candidates with their ratings, how many were left out as references of their own picture). Damaged lines are
    named on stderr and left out."""
    found: list[Candidate] = []
    own = 0
    bad: list[str] = []
    for where, line in _texts(path, bad):
        cells = [cell.strip() for cell in line.split("\t")]
        picture = _EXTRA.sub("", cells[0])
        if len(cells) != 2 + EXPERTS:
            bad.append(f"{where}: has {len(cells)} columns, not picture, caption id and {EXPERTS} ratings")
        elif not all(re.fullmatch(rf"[{LOW}-{HIGH}](\.0*)?", cell) for cell in cells[2:]):
            bad.append(f"{where}: a rating must be {LOW}, 2, 3 or {HIGH}")
        elif picture not in references or cells[1] not in captions:
            bad.append(f"{where}: {cells[0 if picture not in references else 1][:60]!a} is not among the captions")
        elif captions[cells[1]] in references[picture]:
            own += 1
        else:
            found.append((picture, captions[cells[1]], tuple(int(float(cell)) for cell in cells[2:])))
    _tell(bad)
    if not found:
        raise NarratorError(f"{path} has no candidate to compare: its lines must be a picture, the id of a caption of "
                            f"another picture, and {EXPERTS} ratings from {LOW} to {HIGH}, separated by tabs.")
    return found, own


def _texts(path: Path, bad: list[str]):  # type: ignore[no-untyped-def]
    """("file, line n", the text) of each line that is not blank."""
    for number, line in lines(path):
        where = f"{path}, line {number}"
        try:
            text = (line or b"\xff").decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError:
            bad.append(f"{where}: is not UTF-8 text, or far too long")
            continue
        if text.strip():
            yield where, text


def _tell(bad: list[str]) -> None:
    for sentence in bad[:_NAMED]:
        warn(f"{sentence}; the line is left out.")
    if len(bad) > _NAMED:
        warn(f"{len(bad) - _NAMED:,} more damaged lines are left out.")

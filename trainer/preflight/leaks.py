"""The same thing twice: within what is learned from, and, worse, there and in what is held out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from narrator.readers.rows import BadRow, place_of
from narrator.records import NarratorError
from trainer.preflight.findings import Finding, quoted, row_findings, share
from trainer.preflight.pictures import Print, alike
from trainer.preflight.sets import DataSet, Item

LEAK_IS_ERROR = 0.05  # share of the held-out pictures that are learned from too: the scores would say little
SHARED_TEXTS = 0.05  # of held-out texts that are learned too; of Flickr8k's, people wrote 0.7 % word for word twice
REMEDY = "Take it out of one side, or split by picture."


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Picture:
    """A picture of the data: where it is first named, and on which sides."""

    path: Path
    where: str
    sides: frozenset[str]
    mark: Print


def picture_findings(sets: Sequence[DataSet], marks: Mapping[Path, Print | NarratorError]) -> list[Finding]:
    """Unreadable pictures by the row that names them, pictures on both sides, and pictures that are there twice."""
    first: dict[Path, str] = {}
    sides: dict[Path, set[str]] = {}
    for one in sets:
        for item in one.items:
            if item.example.image is not None:
                first.setdefault(item.example.image, item.where)
                sides.setdefault(item.example.image, set()).add(one.side)
    bad = [BadRow(first[path], f"picture {quoted(path.name)}: {str(mark).rstrip('.')}")
           for path, mark in marks.items() if isinstance(mark, NarratorError)]
    good = [_Picture(path=path, where=first[path], sides=frozenset(sides[path]), mark=mark)
            for path, mark in marks.items() if isinstance(mark, Print)]
    found = row_findings(bad, "picture", "Get it again, or take its row out; a run leaves it out.")
    if marks and not good:
        found.append(Finding(level="error", what="Not one of the pictures can be opened.",
                             remedy="Check that the files are JPEG, PNG, WebP, GIF, BMP or TIFF."))
    return found + _same(good) + _alike(good)


def _same(pictures: Sequence[_Picture]) -> list[Finding]:
    """By SHA-256 of the pixels, on both sides and on one."""
    by_pixels: dict[str, list[_Picture]] = {}
    for picture in pictures:
        by_pixels.setdefault(picture.mark.sha256, []).append(picture)
    held = sum("dev" in picture.sides for picture in pictures)
    leaks = [group for group in by_pixels.values() if frozenset(("data", "dev")) <= _sides(group)]
    twice = [group for group in by_pixels.values() if len(group) > 1 and group not in leaks]
    found = []
    if leaks:
        leaked = sum("dev" in picture.sides for group in leaks for picture in group)
        level = "error" if leaked >= LEAK_IS_ERROR * held else "warning"
        found.append(_about(level, f"{share(leaked, held)} held-out pictures are learned from too, so the scores would "
                            "be too good", *_two(leaks[0]), remedy=REMEDY))
    if twice:
        count = sum(map(len, twice)) - len(twice)
        found.append(_about("warning", f"{_many(count, 'picture is', 'pictures are')} there twice, pixel for pixel",
                            *_two(twice[0]), remedy="Put their captions into one row, or leave one out."))
    return found


def _alike(pictures: Sequence[_Picture]) -> list[Finding]:
    """By perceptual hash, on both sides and on one."""
    pairs = [(pictures[i], pictures[j]) for i, j in alike([picture.mark for picture in pictures])]
    leaks = [pair for pair in pairs if frozenset(("data", "dev")) <= _sides(pair)]
    twice = [pair for pair in pairs if pair not in leaks]
    found = []
    if leaks:
        held = len({picture.path for pair in leaks for picture in pair if "dev" in picture.sides})
        look = _many(held, "held-out picture looks", "held-out pictures look")
        found.append(_about("warning", f"{look} like one that is learned from", *leaks[0], remedy=REMEDY))
    if twice:
        look = _many(len(twice), "pair of pictures looks", "pairs of pictures look")
        found.append(_about("warning", f"{look} the same", *twice[0],
                            remedy="Leave one of each out, unless both are wanted."))
    return found


def scene_findings(sets: Sequence[DataSet]) -> list[Finding]:
    """Scenes on both sides, which the recipe causal_lm refuses to learn from."""
    learned = {item.scene for one in sets if one.side == "data" for item in one.items}
    both = [item for one in sets if one.side == "dev" for item in one.items if item.scene in learned]
    if not both:
        return []
    file, line = place_of(both[0].where)
    return [Finding(level="error", what=f"{len(both):,} held-out scenes are learned from too, such as "
                    f"{quoted(both[0].scene)}.", file=file, line=line,
                    remedy="Split by scene: name the file without a split on both sides ('held_out' is the share), or "
                           "mend its 'split'.")]


def text_findings(sets: Sequence[DataSet]) -> list[Finding]:
    """Held-out texts that are learned word for word; answers count with their questions."""
    learned = {_text(item, text) for one in sets if one.side != "dev" for item in one.items
               for text in item.example.texts}
    held = [(item, text) for one in sets if one.side == "dev" for item in one.items for text in item.example.texts
            if not (item.example.prompt and item.example.image is not None)]  # "yes" is said of many pictures
    both = [(item, text) for item, text in held if _text(item, text) in learned]
    if not both or len(both) < SHARED_TEXTS * len(held):
        return []
    item, text = both[0]
    file, line = place_of(item.where)
    return [Finding(level="warning", what=f"{share(len(both), len(held))} held-out texts are learned word for word, "
                    f"such as {quoted(text)}.", file=file, line=line,
                    remedy="Look whether they belong to the same pictures; if so, keep those on one side.")]


def _many(count: int, one: str, more: str) -> str:
    return f"{count:,} {one if count == 1 else more}"


def _text(item: Item, text: str) -> tuple[str, str]:
    return item.example.prompt.casefold(), text.casefold()


def _sides(pictures: Sequence[_Picture]) -> frozenset[str]:
    return frozenset().union(*(picture.sides for picture in pictures))


def _two(group: Sequence[_Picture]) -> tuple[_Picture, _Picture]:
    """A held-out picture of the group and another of it, which may be the same."""
    held = next((picture for picture in group if "dev" in picture.sides), group[0])
    return held, next((picture for picture in group if picture is not held), held)


def _about(level: str, what: str, one: _Picture, other: _Picture, *, remedy: str) -> Finding:
    """A finding about two pictures, at the row that is held out, or the later one."""
    at = one if "dev" in one.sides else other
    named = other if at is one else one
    file, line = place_of(at.where)
    pair = f"{quoted(at.path.name)} itself" if at is named else f"{quoted(at.path.name)} and {quoted(named.path.name)}"
    return Finding(level=level, what=f"{what}: {pair} ({named.where}).", remedy=remedy, file=file, line=line)

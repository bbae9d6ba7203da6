"""Reads pictures and captions from the files that people have, and names every row that it cannot use.

Pictures are found here, and opened where that is asked for.
"""

import dataclasses
import posixpath
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from narrator.pictures import open_picture
from narrator.readers import coco, jsonl, karpathy, llava, sidecar, table
from narrator.readers.rows import (
    BadRow,
    Pictures,
    Row,
    check_label,
    check_prompt,
    check_split,
    check_texts,
    lines,
    load_json,
    show,
)
from narrator.records import Example, NarratorError

LISTED = ("captions.jsonl", "captions.json", "captions.csv")  # looked for when a folder is named
NAMED_BAD_ROWS = 20  # the rest is counted: a terminal with 50,000 lines helps nobody
RECOGNISED = ("JSON lines, COCO captions JSON, Karpathy's splits, LLaVA-Instruct JSON, "
              "a CSV with the columns image and caption, or a folder of pictures with a .txt beside each")
Opened = tuple[str, Iterator[Row | BadRow], list[Path]]  # format, rows, folders in which their pictures may lie


@dataclasses.dataclass(frozen=True, kw_only=True)
class Found:
    """What a file or folder holds. wheres: of each example, where it stands. splits: rows by split, "" for none."""

    kind: str
    examples: list[Example]
    wheres: list[str]
    bad: list[BadRow]
    splits: dict[str, int]


def to_stderr(message: str) -> None:
    """Print to standard error, which leaves standard output to results."""
    print(message, file=sys.stderr, flush=True)


def read_examples(path: Path, *, split: str | None, strict: bool = False,
                  report: Callable[[str], None] = to_stderr, images: Path | None = None,
                  look: bool = False) -> list[Example]:
    """The examples of a file or folder, in its order, all captions of a picture in one example.

    split: only rows of this split (the field "split"; for a folder, the subfolder); None takes all.
    strict: the first bad row raises NarratorError; otherwise bad rows are reported and left out.
    images: where the pictures lie, when not where the format says.
    look: open every picture too, so that a damaged one is a bad row here and not an error in the middle of a training.
    Raises NarratorError when the file is of no known format or nothing in it can be used.
    """
    path = Path(path)
    return _gather(path, _Gathered(path, split, strict, report, look), images)[1].finish()


def read_found(path: Path, *, split: str | None = None, report: Callable[[str], None] = lambda message: None,
               look: bool = False) -> Found:
    """As `read_examples`, with what it leaves out and where everything stands."""
    path = Path(path)
    kind, gathered = _gather(path, _Gathered(path, split, False, report, look), None)
    return Found(kind=kind, examples=gathered.finish(), wheres=list(gathered.wheres.values()), bad=gathered.bad,
                 splits=dict(gathered.splits))


def open_rows(path: Path) -> Opened:
    """The format of a file or folder (folder, csv, jsonl, llava, karpathy or coco), told from its content, and its
    rows. Raises NarratorError where it has none of them."""
    if path.is_dir():
        for name in LISTED:
            if (path / name).is_file():
                return open_rows(path / name)
        return "folder", sidecar.read(path), [path]
    if not path.is_file():
        raise NarratorError(f"There is no data at {path}. Name {RECOGNISED}.")
    if path.suffix.lower() == ".jsonl":
        return "jsonl", jsonl.read(path), [path.parent]
    if path.suffix.lower() in (".csv", ".tsv"):
        return "csv", table.read(path), [path.parent]
    first = next(lines(path), (1, b""))[1]
    if table.columns(first):
        return "csv", table.read(path), [path.parent]
    if first is not None and _is_row(first):
        return "jsonl", jsonl.read(path), [path.parent]
    if path.suffix.lower() == ".json" or (first or b"{").lstrip().startswith((b"{", b"[")):
        data = coco.load(path)
        if llava.is_llava(data):
            return "llava", llava.read(path, data), coco.roots(path)
        if karpathy.is_karpathy(data):
            return "karpathy", karpathy.read(path, data), karpathy.roots(path)
        if isinstance(data, dict):
            return "coco", coco.read(path, data), coco.roots(path)
    raise NarratorError(f"{path} is none of the formats that can be read here. Name {RECOGNISED}.")


def _gather(path: Path, gathered: "_Gathered", images: Path | None) -> tuple[str, "_Gathered"]:
    """(format, all rows gathered)."""
    kind, rows, roots = open_rows(path)
    pictures = Pictures([Path(images)] if images is not None else roots)
    for row in rows:
        gathered.take(row, pictures)
    return kind, gathered


def _is_row(line: bytes) -> bool:
    try:
        row = load_json(line, "")
    except BadRow:
        return False
    return isinstance(row, dict) and "annotations" not in row and ("caption" in row or "captions" in row)


class _Gathered:
    """Collects rows into examples, and what was wrong with the others."""

    def __init__(self, path: Path, split: str | None, strict: bool, report: Callable[[str], None], look: bool) -> None:
        self.path, self.split, self.strict, self.report, self.look = path, split, strict, report, look
        self.examples: dict[tuple[object, str, int | None], Example] = {}
        self.wheres: dict[tuple[object, str, int | None], str] = {}
        self.bad: list[BadRow] = []
        self.splits: Counter[str] = Counter()
        self.split_of: dict[str, tuple[str | None, str]] = {}  # picture -> its split and where it was first named

    def take(self, row: Row | BadRow, pictures: Pictures) -> None:
        """Keep the row, or say why not."""
        try:
            if isinstance(row, BadRow):
                raise row
            self._keep(row, pictures)
        except BadRow as bad:
            if self.strict:
                raise NarratorError(f"{bad}. Mend it, or leave --strict out to skip such rows.") from None
            self.bad.append(bad)
            if len(self.bad) <= NAMED_BAD_ROWS:
                self.report(f"Skipped: {bad}.")

    def _keep(self, row: Row, pictures: Pictures) -> None:
        check_split(row)
        if isinstance(row.image, str):
            self._one_split(row)
        self.splits[row.split or ""] += 1
        if self.split is not None and row.split != self.split:
            return
        texts = check_texts(row.texts, row.where)
        prompt = check_prompt(row)
        check_label(row)
        image = None if row.image is None else pictures.find(row.image, row.where)
        key = (row.where if image is None else image, prompt, row.label)
        if self.look and image is not None and key not in self.examples:
            try:
                open_picture(image)
            except NarratorError as error:
                raise BadRow(row.where, f"picture {show(row.image)}: {str(error).rstrip('.')}") from None
        if key in self.examples:
            texts = self.examples[key].texts + texts
        self.examples[key] = Example(image=image, texts=texts, prompt=prompt, label=row.label)
        self.wheres.setdefault(key, row.where)

    def _one_split(self, row: Row) -> None:
        """A picture in two splits would let training see what it is measured on."""
        name = posixpath.normpath(row.image)
        split, where = self.split_of.setdefault(name, (row.split, row.where))
        if split != row.split:
            there = where.removeprefix(row.where.rpartition(", ")[0] + ", ")  # of the same file its line is enough
            raise BadRow(row.where, f"picture {show(row.image)} is in split {show(row.split or '')} here "
                                    f"and in split {show(split or '')} at {there}")

    def finish(self) -> list[Example]:
        """The examples, after a summary; NarratorError that says why when there are none."""
        if not self.examples:
            raise NarratorError(self._nothing())
        examples = list(self.examples.values())
        captions = sum(len(example.texts) for example in examples)
        named = f" of split {self.split}" if self.split is not None else ""
        more = len(self.bad) - NAMED_BAD_ROWS
        if more > 0:
            self.report(f"{more:,} more bad rows are not listed; --strict stops at the first.")
        self.report(f"{self.path}: {len(examples):,} examples{named} with {captions:,} captions; "
                    f"{len(self.bad):,} bad {'row' if len(self.bad) == 1 else 'rows'} skipped.")
        return examples

    def _nothing(self) -> str:
        if self.bad:
            more = f" ... and {len(self.bad) - 3:,} more" if len(self.bad) > 3 else ""
            first = "; ".join(map(str, self.bad[:3]))
            return f"Nothing in {self.path} can be used: {first}{more}. Mend these and try again."
        if not self.splits:
            return f"There is nothing in {self.path}. Name {RECOGNISED}."
        if set(self.splits) == {""}:
            return (f"{self.path} does not say which split its rows belong to, so there is no split "
                    f"'{self.split}'; add the field 'split' or read the file without one.")
        have = ", ".join(f"{show(name)} ({count:,} rows)" for name, count in sorted(self.splits.items())[:10])
        return f"{self.path} has no rows of split '{self.split}'; it has {have}. Name one of these."

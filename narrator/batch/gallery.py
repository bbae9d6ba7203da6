"""An accessible gallery of described pictures: plain HTML files that open from a disk, without a server or a script.

`out` is the first page. Further pages and the pictures, made small and without what a camera writes into a file, lie in
`<stem of out>-files/`; sounds lie where the rows say. Pages of PAGE pictures, made one after the other.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from narrator.files import write_whole
from narrator.pictures import open_picture, picture_bytes
from narrator.records import NarratorError

if TYPE_CHECKING:
    from narrator.batch.plan import BatchPlan, Row

PAGE = 100  # pictures
LONG_SIDE = 960  # pixels of a picture in the gallery
NAMED = 100  # of those that were not described, on the first page
NEARBY = 2  # pages before and after the current one that are linked
NO_PICTURE = "The picture is not where it was, so it is not shown."
NO_TEXT = "Not described"
_FRAME = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{safe}">
<meta name="color-scheme" content="light dark">
<title>{{title}}</title>
<style>{{style}}</style>
</head>
<body>
<a class="skip" href="#pictures">Skip to the pictures</a>
<header>
<h1>{{title}}</h1>
{{head}}
</header>
{{pages}}
<main id="pictures" tabindex="-1">
{{body}}
</main>
{{again}}
<footer><p>The descriptions were written by a model and may be wrong.</p></footer>
</body>
</html>
""".format(safe="script-src 'none'; object-src 'none'; base-uri 'none'; form-action 'none'; connect-src 'none'")
STYLE = Path(__file__).with_suffix(".css")


def write(rows: Iterable[Row], out: Path, plan: BatchPlan) -> None:
    """Write the gallery of `rows`, which are gone through twice and never held. `out`, the first page, comes last.

    Raises OSError when it cannot be written; a gallery that was there before keeps its first page then.
    """
    (files_folder(out) / "pictures").mkdir(parents=True, exist_ok=True)
    count, failed, named = _counted(rows)
    last = max(1, -(-count // PAGE))
    summary = _summary(count, failed, plan)
    first = _Page(out, 1, last)
    opening = first.written([], summary)
    for number, some in enumerate(_pages(rows), start=1):
        page = _Page(out, number, last)
        cards = [_card(row, page) for row in some]
        if number == 1:  # it appears when all that it leads to is there
            opening = page.written(cards, summary + _problems(named, failed, page))
        else:
            write_whole(page.file(number), page.written(cards, summary))
    write_whole(out, opening)
    for old in files_folder(out).glob("page-*.html"):
        if old.stem[5:].isdigit() and int(old.stem[5:]) > last:  # of a larger gallery that was here before
            old.unlink()


def files_folder(out: Path) -> Path:
    """Where everything but the first page and the sounds lies."""
    return out.with_name(f"{out.stem}-files")


@dataclasses.dataclass(frozen=True)
class _Page:
    """A page of the gallery at `out`, and what its links begin with."""

    out: Path
    number: int
    last: int

    def file(self, number: int) -> Path:
        return self.out if number == 1 else files_folder(self.out) / f"page-{number:05d}.html"

    def address(self, number: int, picture: int | None = None) -> str:
        """The address of a page, from this one; picture: of the place of a picture on it, from 1."""
        page = "" if number == self.number else self.to(self.file(number))
        return page if picture is None else f"{page}#picture-{picture}"

    def to(self, file: Path) -> str:
        """The address of a file beside `out` or below."""
        here = "" if self.number == 1 else "../"
        return here + quote(file.relative_to(self.out.parent).as_posix(), errors="surrogateescape")

    def written(self, cards: Sequence[str], head: str) -> str:
        """The page as HTML."""
        title = "Described pictures" + (f", page {self.number:,} of {self.last:,}" if self.last > 1 else "")
        items = "".join(f'<li id="picture-{place}">{card}</li>\n'
                        for place, card in enumerate(cards, start=(self.number - 1) * PAGE + 1))
        body = f'<ol class="gallery" role="list">\n{items}</ol>' if cards else "<p>There are no pictures.</p>"
        return _FRAME.format(title=title, style=STYLE.read_text(encoding="utf-8"), head=head, body=body,
                             pages=_nav(self, "Pages"), again=_nav(self, "Pages, once more"))


def _counted(rows: Iterable[Row]) -> tuple[int, int, list[tuple[int, str, str]]]:
    """How many rows there are, how many were not described, and (place, name, reason) of the first of those."""
    count = failed = 0
    named: list[tuple[int, str, str]] = []
    for row in rows:
        if row.error is not None:
            failed += 1
            if len(named) < NAMED:
                named.append((count, row.path, row.error))
        count += 1
    return count, failed, named


def _pages(rows: Iterable[Row]) -> Iterator[list[Row]]:
    each = iter(rows)
    while some := list(itertools.islice(each, PAGE)):
        yield some


def _nav(page: _Page, label: str) -> str:
    """Links to the pages around this one, "" where there is no other."""
    at, last = page.number, page.last
    if last == 1:
        return ""
    shown = sorted({1, last, *range(max(1, at - NEARBY), min(last, at + NEARBY) + 1)})
    items = [f'<a rel="prev" href="{page.address(at - 1)}">Previous</a>'] if at > 1 else []
    for before, number in zip([0, *shown], shown, strict=False):
        if number - before > 1:
            items.append('<span class="gap" aria-hidden="true">…</span>')
        said = f'<span class="unseen">Page </span>{number:,}'
        items.append(f'<span class="at" aria-current="page">{said}</span>' if number == at else
                     f'<a href="{page.address(number)}">{said}</a>')
    if at < last:
        items.append(f'<a rel="next" href="{page.address(at + 1)}">Next</a>')
    return f'<nav aria-label="{label}"><ul role="list">{"".join(f"<li>{item}</li>" for item in items)}</ul></nav>'


def _summary(count: int, failed: int, plan: BatchPlan) -> str:
    pictures = "1 picture" if count == 1 else f"{count:,} pictures"
    missing = f" {failed:,} of them could not be described." if failed else ""
    return f"<p>{pictures}, described by {_said(plan.variant)}.{missing}</p>"


def _problems(named: Sequence[tuple[int, str, str]], failed: int, page: _Page) -> str:
    """Which ones were not described, and why, with links to them."""
    if not named:
        return ""
    rows = "".join(f'<li><a href="{page.address(place // PAGE + 1, place + 1)}">{_said(name)}</a>: '
                   f"{_said(reason)}</li>" for place, name, reason in named)
    more = f"<p>{failed - len(named):,} more are on the pages.</p>" if failed > len(named) else ""
    return f"<details><summary>Not described: {failed:,}</summary><ul>{rows}</ul>{more}</details>"


def _card(row: Row, page: _Page) -> str:
    name, title = _said(row.path), f"name-{row.position}"
    parts = [f'<h2 id="{title}">{name}</h2>']
    if row.error is not None:
        parts += [_picture(row, page)] if row.sha256 else []
        parts.append(f'<p class="wrong"><strong>{NO_TEXT}:</strong> {_said(row.error)}</p>')
    else:
        parts += [_picture(row, page), f'<p class="long">{_said(row.long or row.text or NO_TEXT)}</p>']
    if row.duplicate_of is not None:
        parts.append(f"<p>The same picture as {_said(row.duplicate_of)}.</p>")
    if row.audio is not None:
        parts.append(f'<audio controls preload="none" src="{page.to(page.out.parent / row.audio)}" '
                     f'aria-label="Spoken description of {name}"></audio>')
    if row.error is None:
        parts.append(_facts(row, name))
    return f'<article aria-labelledby="{title}">{"".join(parts)}</article>'


def _picture(row: Row, page: _Page) -> str:
    small = _small(row, files_folder(page.out))
    if small is None:
        return f'<p class="wrong">{NO_PICTURE}</p>'
    size = f' width="{row.width}" height="{row.height}"' if row.width and row.height else ""
    return f'<img src="{page.to(small)}" alt="{_said(row.alt or NO_TEXT)}"{size} loading="lazy">'


def _small(row: Row, kept: Path) -> Path | None:
    """The file of a small copy of the picture in the folder `kept`, made once for all that have its pixels; None where
    the picture cannot be read any more."""
    name = row.sha256 or f"{row.position:064d}"
    small = kept / "pictures" / name[-2:] / f"{name[:32]}.jpg"
    if not small.exists():
        try:
            picture = open_picture(Path(row.file))
        except NarratorError:
            return None
        picture.thumbnail((LONG_SIDE, LONG_SIDE))
        small.parent.mkdir(exist_ok=True)
        part = small.with_suffix(".part")  # to wait for the disk at each of a million would take hours
        part.write_bytes(picture_bytes(picture, "JPEG"))
        part.replace(small)
    return small


def _facts(row: Row, name: str) -> str:
    facts = {"Alternative text": row.alt, "Prompt": row.prompt, "Model": row.variant,
             "Size": f"{row.width:,} x {row.height:,} pixels" if row.width else "",
             "Sure of each word": f"{row.confidence:.0%} on average" if row.confidence is not None else ""}
    rows = "".join(f"<div><dt>{title}</dt><dd>{_said(value)}</dd></div>" for title, value in facts.items() if value)
    return f'<details><summary>More<span class="unseen"> about {name}</span></summary><dl>{rows}</dl></details>'


def _said(text: str) -> str:
    """Text for HTML, with nothing in it that is no sign: names of files hold halves of signs and control characters."""
    return escape("".join(sign if sign.isprintable() else " " if sign.isspace() else "�" for sign in text))

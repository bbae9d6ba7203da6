"""What the History tab shows: one table for each kind. What people and models wrote is escaped."""

from __future__ import annotations

import dataclasses
from html import escape
from pathlib import Path

from narrator.ui.thumbnails import thumbnail

SIDE = 112  # pixels of a small picture
_SHORT = 60  # characters of a line in the list of what can be chosen


@dataclasses.dataclass(frozen=True, kw_only=True)
class Line:
    """Something that was kept. texts: (who or what, its words), of a narration one; by: who wrote it, or what came of
    it."""

    id: str
    time: str  # UTC, ISO 8601
    texts: tuple[tuple[str, str], ...]
    asked: str = ""
    by: str = ""
    picture: Path | None = None
    spoken: bool = False


def table(title: str, lines: tuple[Line, ...], start: int, total: int) -> str:
    """Lines from number `start` (0 is the newest) of `total`, as a table that scrolls by itself."""
    caption = f"{title}, the newest first: {span(len(lines), start, total)}"
    heads = "".join(f'<th scope="col">{name}</th>' for name in ("No.", "Picture", "Words", "By", "When (UTC)"))
    rows = "".join(_row(number, line) for number, line in enumerate(lines, start=start + 1))
    bare = "" if any(line.picture for line in lines) else " bare"
    return (f'<div class="scroll" role="region" aria-label="{escape(title)}" tabindex="0"><table class="history{bare}">'
            f"<caption>{escape(caption)}</caption><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>")


def span(count: int, start: int, total: int) -> str:
    """Which lines are shown."""
    return f"{start + 1:,} to {start + count:,} of {total:,}"


def short(number: int, line: Line) -> str:
    """A line in the list of what can be chosen."""
    text = " ".join(line.texts[0][1].split()) if line.texts else ""
    return f"{number}: {text if len(text) <= _SHORT else text[:_SHORT - 1] + '…'}"


def left_out(count: int) -> str:
    """That some files could not be read."""
    return "" if not count else (f"<p>{count} damaged file{' is' if count == 1 else 's are'} left out; "
                                 "<code>python -m narrator history</code> names what is wrong.</p>")


def _row(number: int, line: Line) -> str:
    picture = thumbnail(line.picture, f"Picture {number}", SIDE) if line.picture else ""
    asked = f'<span class="asked">Asked: {escape(line.asked)}</span>' if line.asked else ""
    words = "".join(f"<p>{f'<b>{escape(name)}:</b> ' if name else ''}{escape(text)}</p>" for name, text in line.texts)
    spoken = '<span class="asked">Spoken</span>' if line.spoken else ""
    when = line.time[:16].replace("T", " ")
    narrow = f'<span class="asked narrow">{escape(when)}</span>'  # on a phone, which has no column for it
    return (f'<tr><th scope="row">{number:,}</th><td>{picture or "none"}</td><td>{asked}{words}</td>'
            f'<td>{escape(line.by)}{spoken}{narrow}</td>'
            f'<td><time datetime="{escape(line.time)}">{escape(when)}</time></td></tr>')

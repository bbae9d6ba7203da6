"""HTML that the page writes itself: header, status line, marked words. What people and models wrote is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from narrator.narrate import word_spans
from narrator.records import Narration

ASSETS = Path(__file__).resolve().parents[2] / "assets"

_SIGNS = {"ready": "", "busy": "…", "done": "✓", "stopped": "■", "error": "!"}


def header() -> str:
    """Skip link, mark, name and one line that says what the page is for."""
    mark = (ASSETS / "mark.svg").read_text(encoding="utf-8").replace('role="img" aria-label="Visual Narrator"',
                                                                     'aria-hidden="true" focusable="false"')
    return (f'<a class="skip" href="#picture">Skip to the picture</a><div class="masthead">{mark}'
            "<div><h1>Visual Narrator</h1><p>Give it a picture: it writes what it sees, and reads it to you. "
            "Everything stays on this machine.</p></div></div>")


def status(text: str, kind: str = "ready", spoken: str = "") -> str:
    """The status line. `kind`: ready, busy, done, stopped or error; `spoken` is heard by a screen reader only."""
    word = '<strong class="problem">Problem: </strong>' if kind == "error" else ""
    unseen = f'<span class="unseen"> {escape(spoken)}</span>' if spoken else ""
    sign = f'<span class="sign" aria-hidden="true">{_SIGNS[kind]}</span>' if _SIGNS[kind] else ""
    return f'<p class="line {kind}">{sign}<span>{word}{escape(text)}{unseen}</span></p>'


def how_sure(narration: Narration | None) -> str:
    """What the variant was unsure of: a figure, a list, and the text with marks that do not need colour."""
    if narration is None:
        return ""
    head = '<section aria-labelledby="sure-title"><h2 id="sure-title">How sure</h2>'
    if narration.confidence is None:
        return f"{head}<p>This variant does not tell how sure it is of its words.</p></section>"
    average = f"{narration.confidence:.0%} sure of each word, on average (sure is not the same as right)."
    if not narration.uncertain:
        return f"{head}<p>{average} No word stands out as a guess.</p></section>"
    words = ", ".join(f"“{escape(word)}”" for word in narration.uncertain)
    count = len(narration.uncertain)
    noun = "word is a guess" if count == 1 else "words are guesses"
    return (f'{head}<p>{average} {count} {noun}: {words}.</p>'
            f'<p class="guesses">{_marked(narration.text, narration.uncertain_at)}</p></section>')


def left_out(problems: Sequence[str]) -> str:
    """Why some checkpoints are not in the list."""
    if not problems:
        return ""
    rows = "".join(f"<li>{escape(problem)}</li>" for problem in problems)
    title = '<h2 id="left-out-title" class="small">Left out of the list</h2>'
    return f'<section aria-labelledby="left-out-title">{title}<ul>{rows}</ul></section>'


def _marked(text: str, uncertain_at: Sequence[int]) -> str:
    """The text with its uncertain words, given by their places among its words, inside <mark>."""
    spans, parts, at = word_spans(text), [], 0
    for start, end in (spans[place] for place in uncertain_at if place < len(spans)):
        parts.append(escape(text[at:start]))
        parts.append(f'<mark>{escape(text[start:end])}<span class="unseen"> (a guess)</span>'
                     '<sup aria-hidden="true">?</sup></mark>')
        at = end
    return "".join(parts) + escape(text[at:])

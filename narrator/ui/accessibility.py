"""HTML that the page writes itself: header, status line, marked words. What people and models wrote is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from narrator.pictures import picture_url
from narrator.records import Narration
from narrator.wording import word_spans

if TYPE_CHECKING:
    from PIL.Image import Image

ASSETS = Path(__file__).resolve().parents[2] / "assets"

_SIGNS = {"ready": "", "busy": "…", "done": "✓", "stopped": "■", "error": "!"}


def header() -> str:
    """Skip link, mark, name and one line that says what the page is for."""
    mark = (ASSETS / "mark.svg").read_text(encoding="utf-8").replace('role="img" aria-label="Visual Narrator"',
                                                                     'aria-hidden="true" focusable="false"')
    return (f'<a class="skip" href="#give">Skip to the picture</a><div class="masthead">{mark}'
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
    if narration.ranked:
        return f"{head}{_ranked(narration)}</section>"
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


def _ranked(narration: Narration) -> str:
    """Classes, or the tokens that could come next, with their probabilities."""
    what = "Class" if narration.label is not None else "What could come next"
    rows = "".join(f'<tr><th scope="row">{escape(name)}</th><td>{chance:.1%}</td></tr>'
                   for name, chance in narration.ranked)
    return ('<table class="scores"><caption>The likeliest, as the model sees it</caption><thead><tr>'
            f'<th scope="col">{what}</th><th scope="col">Probability</th></tr></thead><tbody>{rows}</tbody></table>')


def drawn(picture: Image | None, says: str) -> str:
    """A picture that a variant drew, with a link that saves it; "" for none. says: what is on it."""
    if picture is None:
        return ""
    url = picture_url(picture)
    return (f'<figure><img src="{url}" alt="{escape(says)}"><figcaption><a download="drawn.png" href="{url}">'
            "Save the picture</a></figcaption></figure>")


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

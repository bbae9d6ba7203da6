"""A comparison as an HTML page of its own: one file, no script, nothing fetched, for every reader and screen."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from narrator.comparing.records import DONE, Comparison, Result, figures
from narrator.comparing.sharing import picture_data_url
from narrator.comparing.words import listed, only_here
from narrator.wording import word_spans

STYLE = """
:root { color-scheme: light dark; }
body { font: 1.1rem/1.5 system-ui, sans-serif; max-width: 70rem; margin: 0 auto; padding: 1rem; color: #182125;
  background: #f7f5f0; }
img { max-width: 100%; max-height: 26rem; border-radius: .5rem; }
.texts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 17rem), 1fr)); gap: 1rem; }
section { background: #fff; border: 1px solid #7b878b; border-radius: .6rem; padding: .2rem 1rem; }
h2 { font-size: 1.15rem; } .said { font-size: 1.25rem; overflow-wrap: anywhere; }
mark { background: none; color: inherit; font-weight: 700; text-decoration: underline 2px; text-underline-offset: 4px; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; margin: 1rem 0; }
caption { text-align: start; font-weight: 600; padding-bottom: .4rem; }
th, td { text-align: start; vertical-align: top; padding: .35rem 1rem .35rem 0; border-top: 1px solid #d9d6cd;
  font-weight: 400; } tbody th { font-weight: 600; }
:focus-visible { outline: 3px solid #0d4f5a; }
@media (prefers-color-scheme: dark) { body { color: #eef3f3; background: #10181b; } section { background: #19242a; }
  th, td { border-color: #35454c; } :focus-visible { outline-color: #8ad6df; } }
"""
UNDERLINED = "Underlined: words that no other text has."


def as_html(comparison: Comparison) -> str:
    """The page."""
    places = only_here([one.text for one in comparison.results])
    texts = "".join(_section(number, one, places[number - 1])
                    for number, one in enumerate(comparison.results, start=1))
    titles = [f"{number}: {one.title}" for number, one in enumerate(comparison.results, start=1)]
    note = f"<p>{UNDERLINED}</p>" if any(places) else ""
    return (f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Descriptions side by side</title>'
            f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head><body>'
            f"<main><h1>Descriptions side by side</h1><p>Made with Visual Narrator, {escape(comparison.created)}.</p>"
            f'{_asked(comparison)}<div class="texts">{texts}</div>{note}{figure_table(comparison.results, titles)}'
            f"{_settings(comparison.results, titles)}</main></body></html>\n")


def marked(text: str, places: Sequence[int]) -> str:
    """The text with the words at these places in <mark>."""
    spans, parts, at = word_spans(text), [], 0
    for start, end in (spans[place] for place in places if place < len(spans)):
        parts += [escape(text[at:start]), f"<mark>{escape(text[start:end])}</mark>"]
        at = end
    return "".join(parts) + escape(text[at:])


def only_words(text: str, places: Sequence[int]) -> str:
    """The marked words as a sentence, for whoever sees no marks."""
    words = listed(text, places)
    return f"Only here: {', '.join(words)}." if words else ""


def figure_table(results: Sequence[Result], titles: Sequence[str]) -> str:
    """The figures: a row each, a column for each text."""
    rows = [(escape(name), [escape(value) for value in values]) for name, values in figures(results)]
    return table("Figures", titles, rows) if any(one.state == DONE for one in results) else ""


def table(caption: str, titles: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]) -> str:
    """A table that scrolls by itself. Rows hold HTML."""
    head = "".join(f'<th scope="col">{escape(title)}</th>' for title in titles)
    body = "".join(f'<tr><th scope="row">{name}</th>{"".join(f"<td>{value}</td>" for value in values)}</tr>'
                   for name, values in rows)
    return (f'<div class="scroll" role="region" aria-label="{escape(caption)}" tabindex="0"><table class="scores">'
            f'<caption>{escape(caption)}</caption><thead><tr><td></td>{head}</tr></thead><tbody>{body}</tbody></table>'
            "</div>")


def _asked(comparison: Comparison) -> str:
    url = picture_data_url(comparison.picture)
    parts = [f'<p><img src="{url}" alt="The picture that is described"></p>' if url else ""]
    if comparison.prompt:
        parts.append(f"<p>Asked: {escape(comparison.prompt)}</p>")
    if comparison.references:
        rows = "".join(f"<li>{escape(text)}</li>" for text in comparison.references)
        parts.append(f"<p>What people wrote:</p><ul>{rows}</ul>")
    return "".join(parts)


def _section(number: int, one: Result, places: Sequence[int]) -> str:
    said = f'<p class="said">{marked(one.text, places)}</p>' if one.text else ""
    only = f"<p>{escape(only_words(one.text, places))}</p>" if only_words(one.text, places) else ""
    error = f"<p>Problem: {escape(one.error)}</p>" if one.error else ""
    return (f'<section aria-labelledby="title-{number}"><h2 id="title-{number}">{number}: {escape(one.title)}</h2>'
            f"{said}{only}{error}</section>")


def _settings(results: Sequence[Result], titles: Sequence[str]) -> str:
    rows = [(escape(name.replace("_", " ").capitalize()), [f"{one.settings.get(name):g}" for one in results])
            for name in results[0].settings]
    return table("Settings", titles, rows)

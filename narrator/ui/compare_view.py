"""The Compare tab's HTML: cards, figures, leaderboard. What people and models wrote is escaped."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from narrator.comparing import Comparison, Result, figures, only_here
from narrator.comparing.page import UNDERLINED, marked, only_words, table
from narrator.comparing.records import DONE, FAILED, RUNNING, STOPPED, changed_settings
from narrator.metrics.ranking import Ranking
from narrator.records import Score

_STATES = {"waiting": "Waits for its turn.", RUNNING: "Being described …", STOPPED: "Stopped.", DONE: "", FAILED: ""}
COLUMNS = ("Place", "Variant", "Preferred to an average one", "Strength", "Votes", "Best", "Tie", "All bad")
HOW = ("<p>Bradley-Terry strengths, from the choices of the best (Luce 1959; of two: Bradley and Terry 1952): the "
       "natural logarithm, 0 for an average variant. A tie, and all bad, count as shared choices. The 95 % intervals "
       "are profiles of the likelihood with one imagined tie for each variant (Heinze and Schemper 2002): few votes "
       "give wide ones. Where two intervals overlap widely, the votes cannot tell the two apart yet.</p>")


def cards(comparison: Comparison, *, blind: bool, listening: bool, ended: bool) -> list[str]:
    """A card for each result. blind: without names; listening: without texts; ended: whether all are written. Where
    names are hidden all cards are alike until then, so that nobody knows a variant by its speed."""
    numbered = list(enumerate(comparison.results, start=1))
    if blind and not ended:
        return blank(len(numbered), _STATES[RUNNING])
    places = only_here([one.text for one in comparison.results]) if ended else [()] * len(numbered)
    if blind:
        return [_blind_card(number, one, places[number - 1], hidden=listening) for number, one in numbered]
    return [_card(number, one, places[number - 1]) for number, one in numbered]


def blank(count: int, says: str) -> list[str]:
    """Cards without names and texts."""
    return [_framed(number, f"Description {number}", f'<p class="state">{escape(says)}</p>')
            for number in range(1, count + 1)]


def _card(number: int, one: Result, places: tuple[int, ...]) -> str:
    said = f'<p class="said">{marked(one.text, places)}</p>' if one.text else ""
    state = f'<p class="state">{_STATES[one.state]}</p>' if _STATES[one.state] and not one.text else ""
    error = f'<p class="failed"><strong>Problem: </strong>{escape(one.error)}</p>' if one.error else ""
    return _framed(number, f"{number}: {escape(one.title)}", f"{said}{state}{error}{_only(one, places)}")


def _blind_card(number: int, one: Result, places: tuple[int, ...], *, hidden: bool) -> str:
    if one.state == FAILED:
        body = '<p class="state">This one failed. Why is shown after the vote.</p>'
    elif hidden:
        body = '<p class="state">Ready.</p>'
    else:
        body = f'<p class="said">{marked(one.text, places)}</p>{_only(one, places)}'
    return _framed(number, f"Description {number}", body)


def _framed(number: int, title: str, body: str) -> str:
    name = f"compare-title-{number}"
    return f'<section class="compared" aria-labelledby="{name}"><h2 id="{name}">{title}</h2>{body}</section>'


def _only(one: Result, places: tuple[int, ...]) -> str:
    words = only_words(one.text, places)
    return f'<p class="only">{escape(words)}</p>' if words else ""


def figures_of(comparison: Comparison) -> str:
    """The figures as a table, once one is done."""
    results = comparison.results
    if not any(one.state == DONE for one in results):
        return ""
    titles = [f"{number}: {one.title}" for number, one in enumerate(results, start=1)]
    rows = [(escape(name), [escape(value) for value in values]) for name, values in figures(results)]
    rows.append(("Settings", [escape(changed_settings(one)) for one in results]))
    note = f'<p class="note">{UNDERLINED} Loading a variant is not part of its time.</p>'
    return table("Figures", titles, rows) + note


def leaderboard(found: Ranking, titles: Mapping[str, str]) -> str:
    """The table, a part for each group that votes connect. titles: of the variants that are known, by id."""
    if not found.groups:
        return ("<p>No vote yet. Choose Hide the names, press Compare, then say which description is the best.</p>")
    head = "".join(f'<th scope="col">{name}</th>' for name in COLUMNS)
    rows = "".join(_group(group, titles) for group in found.groups)
    note = f"<p>{escape(found.note)}</p>" if found.note else ""
    return ('<div class="scroll" role="region" aria-label="Leaderboard" tabindex="0"><table class="scores">'
            f"<caption>Leaderboard of {found.votes} vote{'' if found.votes == 1 else 's'}</caption>"
            f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>{note}{HOW}")


def _group(group: tuple, titles: Mapping[str, str]) -> str:
    rows = ""
    for place, one in enumerate(group, start=1):
        cells = [_interval(one.chance, ".0%"), _interval(one.strength, "+.2f"), str(one.votes), str(one.best),
                 str(one.ties), str(one.all_bad)]
        rows += (f'<tr><td>{place}</td><th scope="row">{escape(titles.get(one.variant, one.variant))}</th>'
                 + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>")
    return rows


def _interval(score: Score, form: str) -> str:
    return f"{score.value:{form}} ({score.low:{form}} to {score.high:{form}})"

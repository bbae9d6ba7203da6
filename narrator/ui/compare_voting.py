"""Blind votes on the Compare tab, and the leaderboard that comes of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from narrator.catalog import load_variants
from narrator.metrics.ranking import ranking
from narrator.records import NarratorError
from narrator.ui import compare_filing
from narrator.ui.accessibility import status
from narrator.ui.compare_handlers import SHOWN, Made, View, shown
from narrator.ui.compare_sharing import text_file
from narrator.ui.compare_view import leaderboard
from narrator.ui.filing import NOTHING
from narrator.ui.visitors import owner
from narrator.votes import Vote, Votes, as_csv, as_jsonl, votes_of

TIE, BAD, NONE = "tie", "all bad", "none"  # what else a person may say than the number of the best


def votes(visitor: Any) -> Votes:
    """The visitor's own. Raises NarratorError as `narrator.ui.visitors.owner` does."""
    return votes_of(owner(visitor))


def vote(choice: str, made: Made | None, visitor: Any, wanted: Any = NOTHING) -> View:
    """Names and figures after a vote. choice: the number of the best one, TIE, BAD, or NONE to see the names without a
    vote. One that cannot be kept is told of, and the names are shown all the same. Now that they are, the narrations
    are filed, if that is `wanted` (narrator.ui.filing)."""
    if made is None or not made.blind:
        return View(status=status("There is nothing to vote on: hide the names, then press Compare.", "error"))
    kept, kind = "", "done"
    if choice == NONE:
        said = "No vote. These are the names."
    else:
        try:
            kept = votes(visitor).keep(_ballot(choice, made)).id
            said = {TIE: "You said: a tie.", BAD: "You said: all bad."}.get(choice) or _chosen(choice, made)
        except NarratorError as error:
            said, kind = f"Your vote was not kept. {error}", "error"
    filed, problem = compare_filing.file_all(made.narrations, made.path, visitor, wanted)
    seen = dataclasses.replace(made, blind=False, listening=False, vote=kept, filed=filed)
    line = status(f"{said} {problem}".strip(), "error" if problem else kind, spoken=_names(made))
    return shown(seen, line, SHOWN)


def take_back(made: Made | None, visitor: Any) -> tuple[str, Made | None]:
    """(status line, the comparison without its vote)."""
    try:
        if made is None or not made.vote:
            raise NarratorError("There is no vote to take back.")
        votes(visitor).delete(made.vote)
    except NarratorError as error:
        return status(str(error), "error"), made
    return status("Your vote is taken back. It does not count any more.", "done"), dataclasses.replace(made, vote="")


def title(visitor: Any) -> str:
    """The heading, with how many votes there are."""
    try:
        count = votes(visitor).count()
    except NarratorError:
        count = 0
    return f"Leaderboard ({count} vote{'' if count == 1 else 's'})" if count else "Leaderboard"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Board:
    """The table, and files with all votes, () where there are none."""

    table: str
    files: tuple[Path, ...] = ()


def board(visitor: Any) -> Board:
    """The leaderboard of the visitor's votes, or the reason why there is none."""
    try:
        kept = votes(visitor).all()
        table = leaderboard(ranking(kept.votes), {name: one.title for name, one in load_variants().items()})
        texts = {"votes.csv": as_csv(kept.votes), "votes.jsonl": as_jsonl(kept.votes)} if kept.votes else {}
        files = tuple(text_file(name, text) for name, text in texts.items())
    except NarratorError as error:
        return Board(table=status(str(error), "error"))
    damaged = len(kept.problems)
    if damaged:
        table += f"<p>{damaged} damaged file{' is' if damaged == 1 else 's are'} left out.</p>"
    return Board(table=table, files=files)


def _ballot(choice: str, made: Made) -> Vote:
    """The vote about those that have a text. Raises NarratorError for a choice that is none of them."""
    readable = made.readable()
    results = [made.comparison.results[place] for place in readable]
    outcome, winner = choice, None
    if choice not in (TIE, BAD):
        place = int(choice) - 1 if choice.isdecimal() and choice.isascii() else -1
        if place not in readable:
            raise NarratorError("There is no such description: vote for one that is shown.")
        outcome, winner = "best", made.comparison.results[place].variant
    return Vote(variants=tuple(one.variant for one in results), texts=tuple(one.text for one in results),
                outcome=outcome, winner=winner, listening=made.listening, prompt=made.comparison.prompt,
                sha256=made.comparison.image_sha256 or "", settings=tuple(one.settings for one in results))


def _chosen(choice: str, made: Made) -> str:
    return f"You chose description {choice}: {made.comparison.results[int(choice) - 1].title}."


def _names(made: Made) -> str:
    return " ".join(f"{number}: {one.title}." for number, one in enumerate(made.comparison.results, start=1))

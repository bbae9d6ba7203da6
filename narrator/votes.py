"""Votes: what a person thought of several variants' descriptions of the same picture or prompt; kept, listed, exported.

narrator.metrics.ranking makes a leaderboard of them.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from narrator.keeping import CHANGING, Page, Shelf, holds, keeps_nothing, page, readable, shelf, stamp, written
from narrator.records import NarratorError

OUTCOMES = ("best", "tie", "all bad")
LEAST_SHOWN, MOST_SHOWN = 2, 4  # descriptions side by side
MAX_TEXT = 20_000  # characters of a description or a prompt
_TEXTS = ("outcome", "prompt", "sha256", "time")
_COLUMNS = ("id", "time", "outcome", "winner", "listening", "prompt", "sha256")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Vote:
    """What a person thought of 2 to 4 descriptions of the same picture or prompt."""

    variants: tuple[str, ...]  # ids, all different, in the order shown
    texts: tuple[str, ...]  # what each wrote, in the order of `variants`
    outcome: str  # one of OUTCOMES
    winner: str | None = None  # the id, where the outcome is "best"
    listening: bool = False  # whether the voter heard the descriptions and did not read them
    prompt: str = ""
    sha256: str = ""  # of the picture's RGB pixels; "" for none
    settings: tuple[dict[str, Any], ...] = ()  # of each, in the order of `variants`; () where nobody noted them
    id: str = ""  # given by `Votes.keep`
    time: str = ""  # UTC, ISO 8601; given by `Votes.keep`


@dataclasses.dataclass(frozen=True, kw_only=True)
class KeptVotes:
    """All votes of an owner, the newest first, and a sentence for each file that was left out."""

    votes: tuple[Vote, ...]
    problems: tuple[str, ...]


def votes_of(visitor: str = "") -> Votes:
    """The votes of whoever uses this machine alone (""), or of a visitor, known by a secret of their browser."""
    return Votes(shelf("votes", visitor))


class Votes:
    """The votes on a shelf."""

    def __init__(self, kept: Shelf) -> None:
        self.shelf, self.folder = kept, kept.folder

    def count(self) -> int:
        """How many there are, damaged ones included."""
        return self.shelf.count()

    def all(self) -> KeptVotes:
        """All that can be read. Nothing is changed."""
        found, problems = readable(self.shelf.names(), self._read)
        return KeptVotes(votes=tuple(found), problems=tuple(problems))

    def page(self, start: int, count: int, words: str = "") -> Page[Vote]:
        """Some, the newest first: of those that hold all the words, where there are any."""
        fits = (lambda one: holds(words, *one.texts, *one.variants, one.prompt, one.outcome)) if words.strip() else None
        return page(self.shelf.names(), self._read, start, count, fits)

    def keep(self, vote: Vote) -> Vote:
        """Keep a vote; it comes back with its id and time. Raises NarratorError for one that is none, for one too many
        and when it cannot be written; what was kept before stays as it was."""
        fault = _fault(vote)
        if fault:
            raise NarratorError(f"The vote was not kept: {fault}.")
        name, time = stamp()
        made = dataclasses.replace(vote, id=name, time=time)
        with CHANGING, written("The vote was not kept"):
            if not keeps_nothing() and self.count() >= self.shelf.most:
                raise NarratorError(f"You have {self.shelf.most:,} votes already: export them, then delete some.")
            self.shelf.put(name, _row(made))
        return made

    def delete(self, vote_id: str) -> None:
        """Delete one. Raises NarratorError where there is none of that id."""
        with CHANGING, written("The vote was not deleted"):
            self.shelf.place(vote_id).unlink()

    def clear(self) -> None:
        """Delete all, damaged ones included."""
        with CHANGING, written("The votes were not deleted"):
            self.shelf.clear()

    def pack(self, archive: Path) -> KeptVotes:
        """A zip at `archive` with votes.csv for a spreadsheet and votes.jsonl for programs. Raises NarratorError where
        there are none, and when it cannot be written."""
        kept = self.all()
        if not kept.votes:
            raise NarratorError(" ".join(["There are no votes to export.", *kept.problems]))
        with written("No zip was made", "free some space"), zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("votes/votes.csv", as_csv(kept.votes).encode(errors="replace"))
            file.writestr("votes/votes.jsonl", as_jsonl(kept.votes).encode(errors="replace"))
        return kept

    def _read(self, name: str) -> Vote:
        """One row. Raises NarratorError or BadRow when it is damaged."""
        values = self.shelf.load(name, _TEXTS)
        lists = [values.get(field) for field in ("variants", "texts", "settings")]
        if not all(isinstance(one, list) for one in lists) or not isinstance(values.get("listening"), bool):
            raise self.shelf.damaged(name)
        variants, texts, settings = (tuple(one or ()) for one in lists)
        vote = Vote(variants=variants, texts=texts, settings=settings, outcome=values["outcome"],
                    winner=values.get("winner"), listening=values["listening"], prompt=values["prompt"],
                    sha256=values["sha256"], time=values["time"], id=name)
        if _fault(vote):
            raise self.shelf.damaged(name)
        return vote


def as_jsonl(votes: Iterable[Vote]) -> str:
    """A JSON object a line, with every field of `Vote`."""
    return "".join(json.dumps({"id": vote.id, **_row(vote)}, ensure_ascii=False) + "\n" for vote in votes)


def as_csv(votes: Iterable[Vote]) -> str:
    """A row a vote; variants, texts and settings (as JSON) in columns of their own, `variant_1` to `settings_4`.

    What begins like a formula gets an apostrophe before it, since a spreadsheet would compute it.
    """
    places = range(MOST_SHOWN)
    several = [f"{name}_{place + 1}" for place in places for name in ("variant", "text", "settings")]
    file = io.StringIO()
    table = csv.writer(file, lineterminator="\n")
    table.writerow([*_COLUMNS, *several])
    for vote in votes:
        row = [getattr(vote, name) for name in _COLUMNS]
        for place in places:
            there = place < len(vote.variants)
            settings = json.dumps(vote.settings[place]) if there and vote.settings else ""
            row += [vote.variants[place], vote.texts[place], settings] if there else ["", "", ""]
        table.writerow([_cell(value) for value in row])
    return file.getvalue()


def _cell(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return f"'{value}" if value.startswith(_FORMULA) else value


def _row(vote: Vote) -> dict[str, Any]:
    return {field.name: getattr(vote, field.name) for field in dataclasses.fields(vote) if field.name != "id"}


def _fault(vote: Vote) -> str:
    """What is wrong with it, "" for nothing."""
    shown = len(vote.variants)
    if not LEAST_SHOWN <= shown <= MOST_SHOWN or len(set(map(str, vote.variants))) != shown:
        return f"it is about {LEAST_SHOWN} to {MOST_SHOWN} different variants"
    if len(vote.texts) != shown or len(vote.settings) not in (0, shown):
        return "it needs a text (and settings, if any) of each variant"
    texts = (*vote.variants, *vote.texts, vote.prompt)
    if not all(isinstance(text, str) and len(text) <= MAX_TEXT for text in texts):
        return f"its texts have {MAX_TEXT:,} characters at most"
    if not all(isinstance(one, dict) for one in vote.settings):
        return "the settings of a variant are names with values"
    if vote.outcome not in OUTCOMES:
        return f"its outcome is one of {', '.join(OUTCOMES)}"
    if vote.outcome == "best" and vote.winner not in vote.variants:
        return "the best is one of the variants shown"
    return "" if vote.outcome == "best" or vote.winner is None else "only the best has a winner"

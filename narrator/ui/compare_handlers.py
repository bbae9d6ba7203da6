"""What the Compare tab does: plain functions on plain values, which tests call without a page."""

from __future__ import annotations

import dataclasses
import random
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from narrator.comparing import MOST, Comparison, Entrant, Progress, Result
from narrator.comparing import compare as compared
from narrator.comparing.records import DONE
from narrator.knobs import knobs
from narrator.records import Narration, NarratorError
from narrator.settings import GenerationSettings
from narrator.ui import handlers
from narrator.ui.accessibility import status
from narrator.ui.compare_filing import Filing
from narrator.ui.compare_view import blank, cards, figures_of
from narrator.ui.filing import NOTHING
from narrator.ui.handlers import settings_from, unexpected
from narrator.ui.work import newest

READY = status("Choose two variants or more, give a picture or a prompt, then press Compare.")
RUNNING, VOTING, SHOWN = "running", "voting", "shown"  # stages of a comparison on the page
ALL = "all"  # whose settings a draft holds: everybody's, else "1" to "4"
Drafts = dict[str, list[Any]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Asked:
    """What the form holds. variants: ids, "" for none, by place."""

    path: str | None
    prompt: str
    references: str  # a line each
    variants: Sequence[str | None]
    drafts: Drafts  # the settings, in the form's order
    blind: bool = False
    listening: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Made:
    """A comparison on the page. It stays on the server: a browser learns no name before it has voted."""

    comparison: Comparison
    path: str | None = None  # of the picture
    blind: bool = False  # names and figures are hidden now
    listening: bool = False  # and the texts, too
    vote: str = ""  # the id of the vote that was given
    narrations: Mapping[int, Narration] = dataclasses.field(default_factory=dict)  # what is done, by place
    filed: Mapping[int, str] = dataclasses.field(default_factory=dict)  # the ids of those in the history

    def readable(self) -> list[int]:
        """The places of the results that have a text."""
        return [place for place, one in enumerate(self.comparison.results) if one.state == DONE and one.text]


@dataclasses.dataclass(frozen=True, kw_only=True)
class View:
    """What the page shows next; None leaves a part as it is. cards: HTML by place."""

    status: str | None = None
    cards: dict[int, str] | None = None
    figures: str | None = None
    made: Made | None = None
    stage: str | None = None


def shown(made: Made, line: str | None, stage: str | None = None) -> View:
    """All of a comparison as it stands."""
    return View(status=line, made=made, stage=stage, figures="" if made.blind else figures_of(made.comparison),
                cards=dict(enumerate(cards(made.comparison, blind=made.blind, listening=made.listening,
                                           ended=stage != RUNNING))))


async def compare(asked: Asked, visitor: Any = "", wanted: Any = NOTHING) -> AsyncGenerator[View, None]:
    """Views of a comparison as it grows. Errors become a status line; what was there before them stays. What is done is
    filed for the visitor, if it is `wanted` (narrator.ui.filing) and its name is not hidden."""
    last: View | None = None
    filing = Filing(asked.path, visitor, wanted)
    try:
        entrants = entrants_of(asked)

        def start(stop: threading.Event) -> Iterator[Progress]:
            return compared(entrants, Path(asked.path) if asked.path else None, asked.prompt or "",
                            references=(asked.references or "").splitlines(), stop=stop)

        async for progress in newest(start):
            made = Made(comparison=progress.comparison, path=asked.path, blind=asked.blind,
                        listening=asked.blind and asked.listening, narrations=progress.narrations)
            if progress.at is None:
                view = _ended(shuffled(made) if made.blind else made, progress)
                made = view.made or made
            else:
                view = shown(made, _line(made, progress), RUNNING)
            if not made.blind:
                made = dataclasses.replace(made, filed=filing.see(made.narrations))
                view = dataclasses.replace(view, made=made)
            yield _changes(last, view)
            last = view
        filed, problem = await filing.all()
        if filed or problem:
            line = status(f"{progress.status} {problem}", "error") if problem else None
            yield View(made=dataclasses.replace(made, filed=filed), status=line)
    except NarratorError as error:
        yield View(status=status(str(error), "error"))
    except Exception as error:  # the page must not say "Describing…" for ever; the error itself goes on
        yield View(status=unexpected(error))
        raise


def entrants_of(asked: Asked) -> list[Entrant]:
    """Who takes part. Raises NarratorError for settings out of range, and for a variant twice where names are
    hidden."""
    chosen = [(place, name) for place, name in enumerate(asked.variants, start=1) if name]
    found = [Entrant(variant=name, settings=settings_from(asked.drafts.get(str(place), asked.drafts[ALL])))
             for place, name in chosen]
    names = [name for _, name in chosen]
    if asked.blind and len(set(names)) < len(names):
        raise NarratorError("A blind vote is between different variants: choose each of them once.")
    return found


def shuffled(made: Made) -> Made:
    """The same in an order that nobody can know: not that in which they were written either, which their speed would
    give away."""
    results = made.comparison.results
    order = random.SystemRandom().sample(range(len(results)), len(results))
    return dataclasses.replace(
        made, comparison=dataclasses.replace(made.comparison, results=tuple(results[old] for old in order)),
        narrations={new: made.narrations[old] for new, old in enumerate(order) if old in made.narrations})


def _line(made: Made, progress: Progress) -> str:
    """The status line while result `progress.at` is written. Loading tells a name, which may be hidden."""
    assert progress.at is not None
    count = f"{progress.at + 1} of {len(made.comparison.results)}"
    if not made.blind:
        return status(f"{count}, {made.comparison.results[progress.at].title}: {progress.status}", "busy")
    waiting = progress.status.startswith("Waiting")
    return status(f"{count}: {progress.status if waiting else 'Describing …'}", "busy")


def _ended(made: Made, progress: Progress) -> View:
    readable = made.readable()
    if not made.blind:
        kind = "done" if readable else "error"
        spoken = " ".join(f"{place + 1}: {made.comparison.results[place].text}" for place in readable)
        return shown(made, status(progress.status, kind, spoken=spoken), SHOWN)
    if len(readable) < 2:
        open_now = dataclasses.replace(made, blind=False, listening=False)
        return shown(open_now, status(f"{progress.status} There is nothing to vote on.", "error"), SHOWN)
    how = "Listen to each, then vote." if made.listening else "Which is the best?"
    spoken = "" if made.listening else " ".join(f"{place + 1}: {made.comparison.results[place].text}"
                                                for place in readable)
    return shown(made, status(f"{len(readable)} descriptions are ready. {how}", "done", spoken=spoken), VOTING)


def _changes(before: View | None, after: View) -> View:
    """Only what is new: the page redraws, and a screen reader hears, no more than that."""
    if before is None:
        return after
    fresh = {place: card for place, card in (after.cards or {}).items() if (before.cards or {}).get(place) != card}
    return dataclasses.replace(
        after, cards=fresh, status=None if after.status == before.status else after.status,
        figures=None if after.figures == before.figures else after.figures,
        stage=None if after.stage == before.stage else after.stage)


def stopped(made: Made | None, stage: str) -> View:
    """After Stop: what was written so far is kept, and can be seen unless names were hidden."""
    if made is None or stage != RUNNING:
        return View(status=status("Stopped.", "stopped"))
    if made.blind:
        empty = dict(enumerate(blank(len(made.comparison.results), "Stopped.")))
        return View(status=status("Stopped. There is nothing to vote on yet.", "stopped"), stage="", cards=empty)
    results = tuple(one if one.state == DONE else dataclasses.replace(one, state="stopped")
                    for one in made.comparison.results)
    kept = dataclasses.replace(made, comparison=dataclasses.replace(made.comparison, results=results))
    return shown(kept, status("Stopped. What was written so far is kept.", "stopped"), SHOWN)


async def speak(number: int, made: Made | None, *voice: Any) -> AsyncIterator[handlers.View]:
    """The sound of text `number` (from 1). voice: voice, speed, pitch."""
    results: tuple[Result, ...] = made.comparison.results if made is not None else ()
    text = results[number - 1].text if number <= len(results) else ""
    async for view in handlers.speak(text, *voice):
        yield view


def usual() -> list[Any]:
    """The settings as they are before anybody changed them, in the form's order."""
    return [field.default for field, _ in knobs(GenerationSettings).values()]


def kept(drafts: Drafts, whose: str, values: Sequence[Any]) -> Drafts:
    """The drafts with what the form shows now. Whoever has the same as all has no settings of its own."""
    drafts = {ALL: usual()} | drafts
    if whose != ALL and list(values) == drafts[ALL]:
        return {name: draft for name, draft in drafts.items() if name != whose}
    return drafts | {whose: list(values)}


def owners(drafts: Drafts) -> str:
    """Who has settings of its own, a sentence."""
    own = [str(place) for place in range(1, MOST + 1) if str(place) in drafts]
    if not own:
        return "<p>All variants have the same settings.</p>"
    names = " and ".join(filter(None, [", ".join(own[:-1]), own[-1]]))
    return (f"<p>Variant {names} has settings of its own.</p>" if len(own) == 1 else
            f"<p>Variants {names} have settings of their own.</p>")

"""What a preflight found: a sentence, what to do about it, and the file and line it is about."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from pathlib import Path

from narrator.readers.rows import BadRow, place_of
from narrator.records import NarratorError

LEVELS = ("error", "warning", "ok")  # in the order in which they are told
NAMED = 20  # bad rows or pictures of one set; the rest is counted
Tell = Callable[[str, int, int], None]  # what is being done, how many of how many; raises to stop the preflight


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finding:
    """level: of LEVELS; an error is what the run would fail of, or what makes its scores worthless. line: from 1."""

    level: str
    what: str
    remedy: str = ""
    file: str | None = None
    line: int | None = None


def ordered(findings: Iterable[Finding]) -> list[Finding]:
    """Errors, then warnings, then the rest; else as they came."""
    return sorted(findings, key=lambda finding: LEVELS.index(finding.level))


def error_of(error: NarratorError, file: Path | str | None = None) -> Finding:
    """The error of the house as a finding: its first sentence says what happened, the others what to do."""
    what, stop, remedy = str(error).partition(". ")
    return Finding(level="error", what=what + stop.strip(), remedy=remedy, file=None if file is None else str(file))


def row_findings(bad: Iterable[BadRow], kind: str = "row", remedy: str = "Mend it or take it out; a run leaves it out."
                 ) -> list[Finding]:
    """A warning for each of the first NAMED, and one that counts the others. kind: row or picture."""
    found = []
    rows = list(bad)
    for row in rows[:NAMED]:
        file, line = place_of(row.where)
        found.append(Finding(level="warning", what=f"A {kind} cannot be used: {row}.", remedy=remedy, file=file,
                             line=line))
    if len(rows) > NAMED:
        found.append(Finding(level="warning", what=f"{len(rows) - NAMED:,} more {kind}s of this data set cannot be "
                             "used.", remedy="Mend those that are named, and look again.",
                             file=place_of(rows[0].where)[0]))
    return found


def share(part: int, whole: int) -> str:
    """ "3 of 40 (7.5 %)" """
    return f"{part:,} of {whole:,} ({100 * part / max(1, whole):.1f} %)"


def quoted(text: str, longest: int = 60) -> str:
    """A text of the data for a sentence."""
    return ascii(text if len(text) <= longest else text[:longest - 1] + "…")[1:-1].replace("\\u2026", "…").join("''")

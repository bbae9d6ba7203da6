"""Comparisons that leave the Compare tab, as files or a link, and such that come back."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from narrator.catalog import load_variants
from narrator.comparing import MOST, Comparison
from narrator.comparing.page import as_html
from narrator.comparing.sharing import MAX_LINK, as_text, exact, from_link, from_text, to_link, with_picture
from narrator.knobs import knobs
from narrator.pictures import Source, open_picture
from narrator.records import NarratorError
from narrator.settings import GenerationSettings
from narrator.ui.accessibility import status
from narrator.ui.compare_handlers import ALL, SHOWN, Drafts, Made, View, shown
from narrator.uploads import new_export

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclasses.dataclass(frozen=True, kw_only=True)
class Opened:
    """A comparison that came back, and what it fills the form with; `view` alone, with a reason, where it is none."""

    view: View
    variants: tuple[str, ...] = ()  # ids by place, "" where it is not here
    prompt: str = ""
    references: str = ""
    drafts: Drafts = dataclasses.field(default_factory=dict)
    picture: Image | None = None

    @property
    def fills(self) -> bool:
        """Whether there is anything to fill the form with."""
        return bool(self.variants)


def files(made: Made | None, pictured: bool) -> tuple[str, Path | None, Path | None]:
    """(status line or "", an HTML page, a JSON file) of a comparison whose names are not hidden."""
    if made is None or made.blind:
        return "", None, None
    try:
        whole = with_picture(made.comparison, _picture(made) if pictured else None)
        return "", text_file("comparison.html", as_html(whole)), text_file("comparison.json", as_text(whole))
    except NarratorError as error:
        return status(str(error), "error"), None, None


def link(made: Made | None, pictured: bool) -> tuple[str, str]:
    """(status line, what the page's script makes an address of), "" where there is nothing to share."""
    try:
        if made is None or made.blind:
            raise NarratorError("There is nothing to share yet: compare first, and vote where names are hidden.")
        payload = to_link(with_picture(made.comparison, _picture(made) if pictured else None, small=True))
        if len(payload) > MAX_LINK:
            raise NarratorError("This comparison is too long for a link: save it as a file.")
    except NarratorError as error:
        return status(str(error), "error"), ""
    size = f", {len(payload) / 1000:.0f} thousand characters long" if len(payload) > 2000 else ""
    return status(f"The link is ready{size}. It holds the texts itself; nothing is kept here.", "done"), payload


def open_file(paths: Sequence[str] | None) -> Opened:
    """The comparison in an uploaded file."""
    if not paths:
        return Opened(view=View())
    path = Path(paths[0])
    try:
        return _opened(from_text(path.read_bytes(), path.name))
    except OSError as error:
        return _refused(f"The file cannot be read ({error.strerror}): give it again.")
    except NarratorError as error:
        return _refused(str(error))


def open_link(payload: str | None) -> Opened:
    """The comparison in the address that the page was opened by, if there is one."""
    if not payload:
        return Opened(view=View())
    try:
        return _opened(from_link(payload))
    except NarratorError as error:
        return _refused(str(error))


def _refused(reason: str) -> Opened:
    return Opened(view=View(status=status(reason, "error")))


def _opened(comparison: Comparison) -> Opened:
    here, names = load_variants(), [one.variant for one in comparison.results]
    picture = open_picture(comparison.picture) if comparison.picture else None
    settings = [[one.settings[name] for name in knobs(GenerationSettings)] for one in comparison.results]
    drafts: Drafts = {ALL: settings[0]}
    drafts |= {str(place): own for place, own in enumerate(settings, start=1) if own != settings[0]}
    said = ["This is a saved comparison. Press Compare to run it again: the same seeds give the same texts."]
    missing = [one.title for one in comparison.results if one.variant not in here]
    if missing:
        said.append(f"Not on this machine: {', '.join(missing)}.")
    if comparison.image_sha256 and picture is None:
        said.append("Its picture was not saved with it: give it first.")
    elif picture is not None and not exact(comparison):
        said.append("Its picture was made smaller, so the texts may differ.")
    return Opened(view=shown(Made(comparison=comparison), status(" ".join(said), "done"), SHOWN),
                  variants=tuple(name if name in here else "" for name in names) + ("",) * (MOST - len(names)),
                  prompt=comparison.prompt, references="\n".join(comparison.references), drafts=drafts,
                  picture=picture)


def _picture(made: Made) -> Source | None:
    """The picture that was compared. Raises NarratorError when it is gone."""
    if made.path is None:
        return made.comparison.picture
    if not Path(made.path).is_file():
        raise NarratorError("The picture is not here any more: share without it, or compare again.")
    return Path(made.path)


def text_file(name: str, text: str) -> Path:
    """A file of that name where the page may serve it. Raises NarratorError when it cannot be written."""
    with new_export(name) as path:
        try:
            path.write_text(text, encoding="utf-8", errors="replace", newline="")
        except OSError as error:
            raise NarratorError(f"No file can be saved ({error.strerror}): free some space, then try again.") from error
    return path


def form(opened: Opened) -> dict[str, Any]:
    """What the form's widgets are given, by name."""
    variants = [name or ("" if place > 2 else None) for place, name in enumerate(opened.variants, start=1)]
    return {"variants": variants, "prompt": opened.prompt, "references": opened.references,
            "picture": opened.picture, "drafts": opened.drafts, "settings": opened.drafts[ALL]}

"""The Models tab's HTML: one model in full, all in a table. What people wrote is escaped."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Literal

from narrator.catalog import manifest_folder
from narrator.evaluation.figures import figure
from narrator.hub import Download, disk_bytes, is_hub_id, local_folder
from narrator.hub.cards import measured
from narrator.hub.downloads import progress
from narrator.hub.pulling import size
from narrator.records import Variant

Place = Literal["loaded", "here", "server", "away", "damaged"]
PLACES: dict[Place, str] = {"loaded": "Loaded", "here": "On this machine", "server": "On a server",
                            "away": "Can be downloaded", "damaged": "Damaged"}
COLUMNS = ("Model", "State", "Takes", "Size", "On disk", "Memory", "Licence")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """A variant and where it is. disk: bytes, 0 where nothing is here; memory: least and most bytes, 0 for unknown."""

    variant: Variant
    place: Place
    disk: int
    memory: tuple[int, int]
    bundled: bool
    download: Download | None  # that runs now


def takes(variant: Variant) -> str:
    """ "Picture and text", "Pictures and text", or the one of them."""
    return " and ".join(variant.takes()).capitalize()


def parameters(count: int) -> str:
    """ "14.4 M", "3.1 B"."""
    if count >= 10**9:
        return f"{count / 10**9:.1f} B"
    return f"{count / 10**6:.1f} M" if count >= 10**5 else f"{count:,}" if count else "unknown"


def memory(found: Entry) -> str:
    """ "58 to 69 MB": as stored, and widened to 32 bits with room to compute."""
    if found.place == "server":
        return "none here"
    least, most = map(size, found.memory)
    if not found.memory[1]:
        return "unknown"
    number, _, unit = least.partition(" ")
    return least if least == most else f"{number if unit == most.partition(' ')[2] else least} to {most}"


def overview(found: Iterable[Entry]) -> str:
    """All of them as a table."""
    head = "".join(f'<th scope="col">{name}</th>' for name in COLUMNS)
    rows = "".join(_row(one) for one in found)
    return ('<div class="scroll" role="region" aria-label="All models" tabindex="0"><table class="models">'
            f"<caption>All models</caption><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>")


def _row(one: Entry) -> str:
    state = "Downloading" if one.download is not None else PLACES[one.place]
    cells = (state, takes(one.variant), parameters(one.variant.parameters), size(one.disk) if one.disk else "–",
             memory(one), one.variant.license or "unknown")
    return (f'<tr><th scope="row">{escape(one.variant.title)}</th>'
            + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>")


def details(found: Entry | None) -> str:
    """One of them, with all that is known of it."""
    if found is None:
        return "<p>There is no model with this name any more. Choose another one.</p>"
    variant = found.variant
    facts = {"State": PLACES[found.place] + (", comes with this project" if found.bundled else ""),
             "Takes": takes(variant), "Size": f"{parameters(variant.parameters)} parameters, {variant.dtype}",
             "On disk": size(found.disk) if found.disk else "nothing",
             "Memory needed": memory(found), "Licence": variant.license or "unknown",
             "Name": variant.id + (f" ({variant.source})" if is_hub_id(variant.source) else "")}
    rows = "".join(f"<div><dt>{name}</dt><dd>{escape(value)}</dd></div>" for name, value in facts.items())
    told = f"<p>{escape(variant.provenance)}</p>" if variant.provenance else ""
    return (f'<section aria-labelledby="model-title"><h2 id="model-title">{escape(variant.title)}</h2>'
            f'{told}<dl class="facts">{rows}</dl>{scores(variant)}</section>')


def scores(variant: Variant) -> str:
    """The scores of a model's report, else of its card's `model-index`, a table for each data set; "" where there are
    none that can be read. A card comes with a model that somebody downloaded: its claims are not ours."""
    folders = [manifest_folder(variant.id), local_folder(variant) if variant.adapter is None else None]
    found = next((known for folder in folders if folder is not None and (known := measured(folder))), {})
    return "".join(_scores(name, values) for name, values in found.items())


def _scores(data: str, values: dict[str, dict[str, float]]) -> str:
    rows, ours = "", any("low" in score for score in values.values())
    for name, score in values.items():
        known = figure(name)
        title, digits = known.title[:1].upper() + known.title[1:], known.digits
        interval = f"<td>{score['low']:,.{digits}f} to {score['high']:,.{digits}f}</td>" if ours else ""
        rows += f'<tr><th scope="row">{escape(title)}</th><td>{score["value"]:,.{digits}f}</td>{interval}</tr>'
    columns = ["Score", "Value", *(["95 % interval"] if ours else [])]
    head = "".join(f'<th scope="col">{name}</th>' for name in columns)
    how = "Measured on" if ours else "By its card, on"
    return (f'<table class="scores"><caption>{how} {escape(data)}</caption><thead><tr>{head}</tr></thead>'
            f"<tbody>{rows}</tbody></table>")


def bar(found: Entry | None) -> str:
    """The progress of its download, "" while there is none. No live region: it would never be silent."""
    if found is None or found.download is None:
        return ""
    done, total = found.download.done, found.download.total
    value = f'value="{done}" max="{total}"' if total else ""
    name = escape(f"Download of {found.variant.title}")
    return (f'<div class="download"><progress aria-label="{name}" {value}></progress>'
            f"<span>{escape(progress(found.download))}</span></div>")


def asked(variant: Variant, folder: Path) -> str:
    """The question before `folder` is deleted."""
    again = f"The folder {folder} is deleted for good."
    if is_hub_id(variant.source) and variant.adapter is None:
        own = manifest_folder(variant.id) is not None
        again = (f"It leaves the list, too: add {variant.source} again to have it back." if own else
                 "It can be downloaded again.") + " Other programs that use the same files lose them too."
    return (f'<p id="models-question">Remove {escape(variant.title)}? This frees {size(disk_bytes(variant))}. '
            f"{escape(again)}</p>")

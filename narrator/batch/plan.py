"""What a batch is asked to do, what it tells on its way, and a row of what it gives. Imports no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from narrator.records import NarratorError
from narrator.settings import GenerationSettings


@dataclasses.dataclass(frozen=True, kw_only=True)
class Format:
    """A kind of result: how a person calls it, and the ending of its file ("" for a file beside each picture)."""

    title: str
    suffix: str
    grows: bool = False  # whether rows can be added to a file that is there


FORMATS = {
    "jsonl": Format(title="JSON lines", suffix=".jsonl", grows=True),
    "csv": Format(title="CSV table", suffix=".csv", grows=True),
    "sidecar": Format(title="a text beside each picture", suffix=""),
    "coco": Format(title="COCO captions", suffix=".json"),
    "html": Format(title="gallery page", suffix=".html"),
}
EXISTING = ("refuse", "skip", "overwrite", "append")  # what to do with a result that is there already
AUDIENCES = ("long", "alt")  # a full description, or an alternative text of at most 125 characters
ENGINES = ("here", "ray")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Item:
    """One picture that is asked about."""

    name: str  # as rows call it: relative to the folder or zip, or as it is listed
    file: str  # absolute path of the picture
    prompt: str = ""  # its own, "" for the plan's
    error: str = ""  # why nothing can be asked, where a list has a bad line

    @property
    def key(self) -> str:
        """What makes it another one: a picture asked about twice in the same words is one row."""
        return f"{self.name}\n{self.prompt}" if self.prompt else self.name


@dataclasses.dataclass(frozen=True, kw_only=True)
class BatchPlan:
    """Which pictures, by which variant, into which file."""

    variant: str  # id
    sources: tuple[str, ...] = ()  # folders, globs, zips, pictures, lists of paths, JSON lines {"image", "prompt"}
    items: Callable[[], Iterable[Item]] | None = None  # instead of sources: called each time the names are walked
    within: Path | None = None  # a picture outside this folder is refused in its row
    prompt: str = ""
    settings: GenerationSettings = dataclasses.field(default_factory=GenerationSettings)
    out: Path | None = None  # None: descriptions.* in the working folder; of sidecars, beside each picture
    format: str = "jsonl"
    existing: str = "refuse"
    resume: bool = False
    audience: str = "long"  # which text sidecars, COCO and speech take; the others hold both
    speak: bool = False
    voice: str | None = None
    dedupe: bool = True  # pictures with the same pixels are described once
    batch_size: int | None = None  # pictures at once; None: as many as memory holds and time rewards
    engine: str = "here"
    rows_kept: Path | None = None  # where the journal of a batch that is done is left; None: nowhere

    @property
    def beside(self) -> bool:
        """Whether texts go beside the pictures."""
        return self.format == "sidecar" and self.out is None

    @property
    def place(self) -> Path:
        """The file that is made, or the folder of sidecars. Of texts beside the pictures it names what is begun."""
        return self.out if self.out is not None else Path(f"descriptions{FORMATS[self.format].suffix}")

    @property
    def home(self) -> Path:
        """The folder in which a batch keeps what it has until all is done."""
        return self.place.with_name(self.place.name + ".part")

    @property
    def sounds(self) -> Path:
        """The folder of the spoken descriptions."""
        return self.place.with_name(f"{self.place.stem}-sounds")

    @property
    def files(self) -> Path:
        """The folder of what else a gallery needs."""
        return self.place.with_name(f"{self.place.stem}-files")

    def words(self) -> dict[str, Any]:
        """What decides the texts: a batch is gone on with by the same alone."""
        return {"variant": self.variant, "prompt": self.prompt, "settings": dataclasses.asdict(self.settings),
                "dedupe": self.dedupe, "speak": self.speak, "voice": self.voice, "audience": self.audience,
                "existing": self.existing, "format": self.format}


def check_plan(plan: BatchPlan) -> None:
    """Raise NarratorError for what cannot be done, before anything is begun."""
    for name, known in (("format", tuple(FORMATS)), ("existing", EXISTING), ("audience", AUDIENCES),
                        ("engine", ENGINES)):
        if getattr(plan, name) not in known:
            raise NarratorError(f"'{name}' must be one of {', '.join(known)}, not {getattr(plan, name)!r}.")
    if not plan.sources and plan.items is None:
        raise NarratorError("There are no pictures to describe: name a folder, a zip, a list or some pictures.")
    if plan.existing in ("skip", "append") and plan.format != "sidecar" and not FORMATS[plan.format].grows:
        title = FORMATS[plan.format].title
        raise NarratorError(f"Rows cannot be added to a {title}: write it anew with --overwrite, or choose jsonl or "
                            "csv.")
    if plan.existing == "append" and plan.format == "sidecar":
        raise NarratorError("A text beside each picture cannot be added to: choose --skip-existing or --overwrite.")
    if not plan.place.absolute().parent.is_dir():
        raise NarratorError(f"There is no folder {plan.place.parent} for the result: make it first.")
    if plan.format == "sidecar":
        if plan.out is not None and plan.out.exists() and not plan.out.is_dir():
            raise NarratorError(f"{plan.out} is a file: name the folder for the texts.")
    elif plan.place.is_dir():
        raise NarratorError(f"{plan.place} is a folder: name the file for the result, such as "
                            f"{plan.place / ('descriptions' + FORMATS[plan.format].suffix)}.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """What came of one picture."""

    position: int  # place in the source, from 0: rows are written in this order
    path: str  # Item.name
    file: str  # absolute path of the picture; not written out
    sha256: str | None = None  # of the RGB pixels; None where it could not be opened
    width: int = 0  # pixels
    height: int = 0
    variant: str = ""
    prompt: str = ""
    text: str = ""  # what the variant said, tidied; "" with an error
    alt: str = ""  # at most 125 characters, without "image of"
    long: str = ""  # the text without "image of"
    tokens: int = 0
    seconds: float = 0.0  # its share of its batch
    confidence: float | None = None
    label: str | None = None  # from a variant that tells classes
    duplicate_of: str | None = None  # path of the first picture with the same pixels and prompt
    audio: str | None = None  # a WAV, relative to the folder of the result
    error: str | None = None  # why there is no text, in a sentence
    stamp: str = ""  # of the file that failed, by narrator.batch.journal.stamp_of; not written out

    def said(self, audience: str) -> str:
        """The text for an audience."""
        return self.alt if audience == "alt" else self.long


HIDDEN = ("position", "file", "stamp")  # of a row, not written out


def row_json(row: Row) -> dict[str, object]:
    """A row for programs: {"image", "sha256", ...}, the picture under the name that lists call it by."""
    values = {"image" if name == "path" else name: value for name, value in dataclasses.asdict(row).items()
              if name not in HIDDEN}
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in values.items()}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a batch is. done: rows, those of earlier runs that it goes on from included; failed and duplicates are
    among them. skipped: pictures that had a row or text before."""

    done: int
    failed: int
    duplicates: int
    skipped: int
    total: int | None  # pictures in all; None while it is not known
    seconds: float  # of this run
    left_s: float | None  # an estimate
    status: str
    rows: tuple[Row, ...] = ()  # new since the last call


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """What a batch came to. stopped: it can be gone on with."""

    out: Path
    done: int
    failed: int
    duplicates: int
    skipped: int
    seconds: float
    stopped: bool = False


Tell = Callable[[Progress], None]

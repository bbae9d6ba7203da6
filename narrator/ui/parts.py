"""The widgets of the Narrate tab that handlers read and write."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any


@dataclasses.dataclass
class Parts:
    """None where the page has no such widget."""

    picture: Any = None
    more: Any = None  # further pictures, for variants that take several
    variant: Any = None
    mode: Any = None  # what to do, for variants that have modes
    prompt: Any = None
    describe: Any = None
    stop: Any = None
    left_out: Any = None
    settings: list[Any] = dataclasses.field(default_factory=list)
    status: Any = None
    doing: Any = None  # a gr.State: handlers.View.doing
    text: Any = None
    made: Any = None  # a gr.State: handlers.View.made
    edited: Any = None  # an unseen button: the page's script presses it when a person has changed the text
    keep: Any = None  # the button that keeps an edited text
    drawn: Any = None
    sure: Any = None
    copy: Any = None
    save_text: Any = None
    speak: Any = None
    at_once: Any = None
    voice: list[Any] = dataclasses.field(default_factory=list)  # voice, speed, pitch
    sound: Any = None
    save_sound: Any = None
    visitor: Any = None  # a state: the secret of this browser
    kept: Any = None  # a state: whether this browser wants its narrations in the history
    filed: Any = None  # a gr.State: which narration of the history is shown, "" for none
    examples_part: Any = None
    examples: list[tuple[Any, Path]] = dataclasses.field(default_factory=list)

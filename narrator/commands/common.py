"""What several commands share: flags from declarations, tables of scores, a progress bar, lines on stderr."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
import sys
import time
from collections.abc import Mapping
from typing import Any, TextIO

from narrator.knobs import build, knobs
from narrator.records import Score
from narrator.settings import GenerationSettings


def add_settings(parser: argparse.ArgumentParser) -> None:
    """A flag for each generation setting: `--num-beams N`, with unit, range and default from its declaration."""
    group = parser.add_argument_group("how to describe")
    for name, (field, knob) in knobs(GenerationSettings).items():
        unit = f"{knob.unit}, " if knob.unit else ""
        says = f"{knob.says} ({unit}{knob.low} to {knob.high}; default {field.default})"
        group.add_argument(flag(name), metavar="N" if isinstance(field.default, int) else "X", dest=f"setting_{name}",
                           help=says.replace("%", "%%"))


def settings_of(arguments: argparse.Namespace) -> GenerationSettings:
    """The settings that the flags ask for. Raises NarratorError for a value out of range."""
    given = {name: getattr(arguments, f"setting_{name}") for name in knobs(GenerationSettings)}
    settings: GenerationSettings = build(GenerationSettings, {name: value for name, value in given.items()
                                                              if value is not None}, "command line")
    return settings


def flag(name: str) -> str:
    """`num_beams` -> `--num-beams`."""
    return "--" + name.replace("_", "-")


def positive(text: str) -> int:
    """A whole number above 0, for argparse."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, not {number}")
    return number


positive.__name__ = "whole number"  # argparse names the type in its message


def warn(message: object) -> None:
    """A line on stderr."""
    print(f"narrator: {message}", file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    """One JSON object on one line of stdout, there at once for whoever reads along."""
    print(json.dumps(value), flush=True)


def scores_json(scores: Mapping[str, Score]) -> dict[str, dict[str, float]]:
    """{"bleu_1": {"value", "low", "high"}, ...}"""
    return {name: {"value": score.value, "low": score.low, "high": score.high} for name, score in scores.items()}


def print_scores(scores: Mapping[str, Score]) -> None:
    """A table for people."""
    width = max(8, *map(len, scores))
    for name, score in scores.items():
        print(f"{name:{width}}  {score.value:6.3f}   95 % interval {score.low:.3f} to {score.high:.3f}")


def is_terminal(stream: TextIO) -> bool:
    """Whether a line on it can be written over."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def overwrite(stream: TextIO, text: str) -> None:
    """Show `text` in place of the terminal's current line, cut to its width; "" clears it."""
    width = shutil.get_terminal_size().columns - 1
    if len(text) > width:
        text = text[:width - 1] + "…"
    stream.write(f"\r\x1b[2K{text}")
    stream.flush()


@dataclasses.dataclass
class Bar:
    """A progress bar on stderr: drawn in place on a terminal, else a line every tenth of the way."""

    what: str
    started: float = dataclasses.field(default_factory=time.perf_counter)
    tenth: int = 0
    before: int = 0  # done by an earlier run that this one goes on from

    def __call__(self, done: int, total: int) -> None:
        rate = (done - self.before) / max(time.perf_counter() - self.started, 1e-6)
        speed = f", {rate:.1f} a second, {(total - done) / rate:.0f} s left" if rate > 0 else ""
        text = f"{done}/{total} {self.what}{speed}"
        if is_terminal(sys.stderr):
            filled = 20 * done // total
            overwrite(sys.stderr, f"[{'#' * filled}{'.' * (20 - filled)}] {text}" if done < total else "")
        elif 10 * done // total > self.tenth:
            self.tenth = 10 * done // total
            print(text, file=sys.stderr, flush=True)

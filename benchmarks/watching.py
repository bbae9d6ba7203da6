"""Watching a training: what the Train tab costs it, how soon the chart shows a step, how soon Stop has stopped it.

    python benchmarks/watching.py [PRESET] [--data-root FOLDER] [--repeats 5] [--seconds 20] [--apart] [--json]

Starts the page, a training as `python -m trainer run` starts it (of a small captioner, or of PRESET), and a Chromium
without a window. The same training is timed in windows of some seconds, with the tab open and with nobody looking, in
turns:

- `step_ms` of both, and `added_percent`: how much longer the mean step takes with the tab open (the median over the
  pairs of windows). The browser computes on the same machine, and on the same cores unless `--apart` gives the training
  one half of them and the rest the other: as with a core to spare, or a browser elsewhere.
- `server_percent` and `browser_percent`: their processor time in the windows, in percent of one core. Steadier than the
  length of a step: what the server takes is all that a tab on another machine could cost.
- `shown_s`: from a step's event on the disk to the frame that draws it on the chart (median, 95th percentile, most).
- `stop_s`: from the click on Stop to the folder of the run saying "stopped", the last step kept as a checkpoint.

Opening the page, a second or two of work, lies outside the windows. Needs playwright (requirements-dev.txt).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # so that it runs without an installation

import psutil

from benchmarks.watched import WAIT_S, Training, cpu_s, family, opened, served, until, write_preset
from narrator.commands.common import positive
from trainer.jobs import job_state

WARM = 20  # steps before anything is timed
SETTLE_S = 2.0  # seconds of quiet after a page has been opened or left
QUIET, REST_S = 0.01, 60.0  # of a core; seconds
LEAST = 5  # steps in a window, which is longer where they are long
# When the chart has first shown a step, and when Stop was pressed, in seconds since 1970.
LISTEN = """() => { window.shown = {};
    const look = () => requestAnimationFrame(() => {
        const step = document.querySelector("#loss-words")?.textContent.match(/ at step ([\\d,]+)[;.]/)?.[1];
        if (step) window.shown[step.replaceAll(",", "")] ??= Date.now() / 1000; });
    new MutationObserver(look).observe(document.body, {childList: true, subtree: true, characterData: true});
    document.addEventListener("click", () => { window.pressed = Date.now() / 1000; }, true); }"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and print; exit code 0. Raises SystemExit where something that is measured does not come about."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset", nargs="?", type=Path, help="one that takes minutes at least (default: a small one)")
    parser.add_argument("--data-root", type=Path, help="folder of its data sets")
    parser.add_argument("--repeats", type=positive, default=5, help="pairs of windows, and stops")
    parser.add_argument("--seconds", type=positive, default=20, help="of a window")
    parser.add_argument("--apart", action="store_true", help="page and browser on other cores than the training")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(options, Path(folder))
    print(json.dumps(figures) if options.json else table(figures))
    return 0


def measure(options: argparse.Namespace, home: Path) -> dict[str, Any]:
    """The figures by name."""
    preset = options.preset or write_preset(home)
    root = options.data_root or (home if options.preset is None else None)
    cores = halves() if options.apart else None
    with served(home) as (address, server), opened() as page, Training(home, cores) as training:
        training.begin("run", preset, *(["--data-root", root] if root else []), "--checkpoints", home / "checkpoints")
        training.wait_for(WARM)
        rest(server)
        bench = Bench(training, page, f"{address}?run={training.folder.name}", server, options.seconds)
        pairs = [bench.pair(bool(number % 2)) for number in range(options.repeats)]
        stops = [bench.stopped(last=number == options.repeats - 1) for number in range(options.repeats)]
    apart = {name: {state: statistics.median(pair[state][name] for pair in pairs) for state in ("open", "closed")}
             for name in ("step_ms", "server_percent", "browser_percent")}
    added = [100 * (pair["open"]["step_ms"] / pair["closed"]["step_ms"] - 1) for pair in pairs]
    shown = sorted(bench.shown)
    return {"machine": {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()},
            "apart": options.apart, "repeats": options.repeats, "seconds": options.seconds, **apart,
            "added_percent": {"median": statistics.median(added), "least": min(added), "most": max(added)},
            "shown_s": {"median": statistics.median(shown), "p95": shown[int(0.95 * (len(shown) - 1))],
                        "most": shown[-1], "events": len(shown)},
            "stop_s": {"median": statistics.median(stops), "most": max(stops)}}


def halves() -> list[int]:
    """The cores for the training; this process, and what it starts from now on, keeps to the others. Raises SystemExit
    where there is but one, or the system does not let a process keep to some of them."""
    ours = getattr(os, "sched_getaffinity", lambda pid: ())(0)
    if len(ours) < 2:
        raise SystemExit("--apart needs two cores, and Linux.")
    training, rest = sorted(ours)[:len(ours) // 2], sorted(ours)[len(ours) // 2:]
    os.sched_setaffinity(0, rest)
    return training


def rest(server: psutil.Process) -> None:
    """Wait, a minute at most, until the server computes next to nothing: it imports torch, so as to describe at
    once."""
    end, spent = time.monotonic() + REST_S, QUIET * SETTLE_S
    while spent >= QUIET * SETTLE_S and time.monotonic() < end:
        before = cpu_s(family(server))
        time.sleep(SETTLE_S)
        spent = cpu_s(family(server)) - before


class Bench:
    """One training, and a page that looks at it or at nothing."""

    def __init__(self, training: Training, page: Any, address: str, server: psutil.Process, seconds: int) -> None:
        self.training, self.page, self.address, self.server, self.seconds = training, page, address, server, seconds
        self.shown: list[float] = []  # seconds from event to chart, of every step told while the tab was open

    def pair(self, open_first: bool) -> dict[str, dict[str, float]]:
        """open and closed -> what was measured in a window with the tab open, and in one with nobody looking."""
        found = {}
        for state in ("open", "closed") if open_first else ("closed", "open"):
            if state == "open":
                self.look()
            else:
                self.page.goto("about:blank")
            time.sleep(SETTLE_S)
            found[state] = self.window()
            if state == "open":
                self.shown += self.lags()
        return found

    def look(self) -> None:
        """Open the tab on the run, as a link to it does."""
        self.page.goto(self.address)
        self.page.wait_for_selector("#loss-words", timeout=WAIT_S * 1000)
        self.page.evaluate(LISTEN)
        self.began = time.time()

    def window(self) -> dict[str, float]:
        """Some seconds of the training: the mean step, and what server and browser computed."""
        before, began = self.computed(), time.time()
        time.sleep(self.seconds)
        until(lambda: len(self.training.step_times(began, time.time())) >= LEAST, "The training makes no steps.")
        ended, after = time.time(), self.computed()
        spent = self.training.step_times(began, ended)
        percent = {f"{name}_percent": 100 * (after[name] - before[name]) / (ended - began) for name in before}
        return {"step_ms": 1000 * statistics.fmean(spent), **percent}

    def computed(self) -> dict[str, float]:
        """Processor time in seconds of the server and of the browser, with their children."""
        ours = family(self.server)
        rest = {self.training.process.pid, *(process.pid for process in ours)}
        rest |= {process.pid for process in family(psutil.Process(self.training.process.pid))}
        browser = [process for process in psutil.Process().children(recursive=True) if process.pid not in rest]
        return {"server": cpu_s(ours), "browser": cpu_s(browser)}

    def lags(self) -> list[float]:
        """Seconds that each step since `look` took from its event to the chart; a later one on the chart shows it."""
        frames = sorted((int(step), at) for step, at in self.page.evaluate("window.shown").items())
        found = []
        for step, told in self.training.steps():
            first = next((at for shown, at in frames if shown >= step), None)
            if told > self.began and first is not None:
                found.append(first - told)
        if not found:
            raise SystemExit("The chart has shown no step of the training.")
        return found

    def stopped(self, last: bool) -> float:
        """Seconds from the click on Stop to the folder saying so, at some moment of a step. Unless it was the last
        time, the training is taken up again."""
        self.look()
        self.page.wait_for_selector("#train-stop:visible", timeout=WAIT_S * 1000)
        time.sleep(random.random())
        self.page.click("#train-stop")
        until(lambda: job_state(self.training.folder).state == "stopped", "The training did not stop.", 0.005)
        spent = time.time() - float(self.page.evaluate("window.pressed"))
        self.training.process.wait()
        if not last:
            step = self.training.steps()[-1][0]
            self.training.begin("resume", self.training.folder)
            self.training.wait_for(step + WARM)
        return spent


def table(figures: dict[str, Any]) -> str:
    """The figures as a person reads them."""
    added, shown, stop = figures["added_percent"], figures["shown_s"], figures["stop_s"]
    lines = [f"{figures['machine']['processor']}, {figures['machine']['cores']} cores; {figures['repeats']} pairs of "
             f"windows of {figures['seconds']} s" + ("; the training on cores of its own" if figures["apart"] else "")]
    for name, title, unit in (("step_ms", "mean step", "ms"), ("server_percent", "server", "% of a core"),
                              ("browser_percent", "browser", "% of a core")):
        told = figures[name]
        lines.append(f"  {title:9} {told['open']:8.2f} {unit} with the tab open, {told['closed']:8.2f} without")
    return "\n".join([
        *lines, f"the tab adds {added['median']:.2f} % to a step ({added['least']:.2f} to {added['most']:.2f}; target: "
                "below 1)",
        f"event on disk to chart: {shown['median']:.2f} s, 95 % within {shown['p95']:.2f} s, {shown['most']:.2f} s at "
        f"most, of {shown['events']:,} steps (target: below 1.5)",
        f"stopped {stop['median']:.2f} s after the click, {stop['most']:.2f} s at most (target: below 2)"])


if __name__ == "__main__":
    raise SystemExit(main())

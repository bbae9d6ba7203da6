"""Memory and time from a dry run: three steps of each stage, in a process of its own, in a folder that goes away.

A process of its own, for its memory can be told from this one's, and it can run out of it without taking this one
along. Of several cards it takes a free one, as a run does.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

from narrator.hub.pulling import size
from narrator.records import NarratorError
from trainer.claims import PROCESSOR, NotNow, device, devices
from trainer.config import TrainingConfig
from trainer.preflight.findings import Finding, Tell

LONGEST_S = 600.0  # after which it is ended, and told
POLL_S = 0.2
BUSY = 0.5  # of the processors
LEAVE_S = 5.0  # to remove its folder
LESS = "Lower 'batch_size' of the stage or 'image_size', or train adapters ('lora') instead of all weights."
LATER = "Check again when it is done."


@dataclasses.dataclass(kw_only=True)
class Measured:
    """What the dry run told so far. steps: seconds of a step by stage. features: (seconds, bytes) a picture by stage.
    answer_s: seconds to describe one held-out example; with the untrained weights, so rather too much than too
    little. beside: whether a run computes on the same graphics card."""

    device: str = ""
    memory: int | None = None  # bytes at most: of the GPU, else of the process
    available: int = 0  # bytes that there were of it at the beginning
    steps: dict[str, float] = dataclasses.field(default_factory=dict)
    features: dict[str, tuple[float, int]] = dataclasses.field(default_factory=dict)
    answer_s: float = 0.0
    beside: bool = False
    doing: str = "beginning"
    findings: list[Finding] = dataclasses.field(default_factory=list)


def measure(config: TrainingConfig, root: Path, tell: Tell, runs: Path, longest_s: float = LONGEST_S) -> Measured:
    """Run it to its end. `tell` may raise: then nothing of it is left. runs: whose cards are taken, and given back."""
    measured, busy = Measured(), _busy_finding()
    request = json.dumps({"config": dataclasses.asdict(config), "root": str(root.resolve())})
    with _card(runs) as (seen, measured.beside), contextlib.closing(_answers(
            request, seen, longest_s, lambda: tell(f"dry run: {measured.doing}", 0, 0))) as answers:
        for answer in answers:
            _take(measured, answer)
    if not measured.findings and measured.memory is not None:
        measured.findings += [_memory_finding(measured), *busy]
    return measured


@contextlib.contextmanager
def _card(runs: Path) -> Iterator[tuple[str, bool]]:
    """(CUDA_VISIBLE_DEVICES of the dry run, whether a run computes there): the first free card, which is held
    meanwhile. Nothing is held on a processor, which both may use."""
    seen, beside = os.environ.get("CUDA_VISIBLE_DEVICES", "0"), False
    with contextlib.ExitStack() as held:
        try:
            if devices() != [PROCESSOR]:
                seen = held.enter_context(device(runs, wait=False))[0]
        except NotNow:
            beside = True
        except NarratorError:  # no locks can be written there; the run itself will say so
            pass
        yield seen, beside


def _busy_finding() -> list[Finding]:
    """Where other programs keep the processors busy, the time is longer than it need be."""
    load, processors = os.getloadavg()[0], os.cpu_count() or 1
    if load < BUSY * processors:
        return []
    return [Finding(level="ok", what=f"Other programs keep the processors busy (load {load:.1f} on {processors}), so "
                    "the time is rather too long.", remedy="Check again when they are done.")]


def _take(measured: Measured, answer: dict[str, Any]) -> None:
    if "doing" in answer:
        measured.doing = answer["doing"]
    elif "device" in answer:
        measured.device, measured.available = answer["device"], answer["available"]
    elif "stage" in answer:
        measured.steps[answer["stage"]] = answer["step_s"]
        measured.features[answer["stage"]] = (answer["feature_s"], answer["feature_bytes"])
    elif "memory" in answer:
        measured.memory, measured.answer_s = answer["memory"], answer["answer_s"]
    elif "refusal" in answer:
        what, stop, remedy = answer["refusal"].partition(". ")
        measured.findings.append(Finding(level="error", what=what + stop.strip(), remedy=remedy))
    elif "out_of_memory" in answer:
        what = f"There is not enough memory for the dry run ({measured.doing})"
        measured.findings.append(
            Finding(level="warning", what=f"{what}: a run computes there now.", remedy=LATER) if measured.beside
            else Finding(level="error", what=f"{what}.", remedy=LESS))
    elif "broke" in answer:
        measured.findings.append(Finding(
            level="error", what=f"The dry run broke off ({measured.doing}: {answer['broke']}).",
            remedy="The run would break off there too: check settings and data of that stage."))
    elif "killed" in answer:
        measured.findings.append(Finding(
            level="error", what=f"The system ended the dry run ({measured.doing}), most likely for its memory.",
            remedy=LESS))
    elif "too_long" in answer:
        measured.findings.append(Finding(
            level="warning", what=f"The dry run was ended after {answer['too_long']:.0f} seconds ({measured.doing}), "
            "so memory and time are not measured.", remedy="Take a smaller model or batch, or a machine with a GPU."))


def _memory_finding(measured: Measured) -> Finding:
    memory, where = measured.memory or 0, "the GPU's memory" if measured.device == "cuda" else "memory"
    if memory > 0.9 * measured.available:
        why = ": a run computes there now." if measured.beside else "."
        return Finding(level="warning", what=f"The run takes {size(memory)} of {where}, and "
                       f"{size(measured.available)} were free{why}", remedy=LATER if measured.beside else LESS)
    return Finding(level="ok", what=f"The run takes {size(memory)} of {where}; {size(measured.available)} were free.")


def _answers(request: str, seen: str, longest_s: float, wait: Callable[[], None]
             ) -> Generator[dict[str, Any], None, None]:
    """What the process says, line by line; closing the iterator ends it. seen: the cards that it sees. wait: called
    while there is nothing, and may raise."""
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": seen, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen([sys.executable, "-m", "trainer.preflight.rehearsal"], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment,
                               cwd=Path(__file__).resolve().parents[2], start_new_session=True)
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(process, lines), name="dry run", daemon=True).start()
    ends = time.monotonic() + longest_s
    try:
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(request + "\n")
            process.stdin.flush()  # and stays open: its end is the process's end
        while True:
            try:
                line = lines.get(timeout=POLL_S)
            except queue.Empty:
                wait()
                if time.monotonic() > ends:
                    yield {"too_long": longest_s}
                    return
                continue
            if line is None:
                break
            yield json.loads(line)
        if process.wait() == -signal.SIGKILL:
            yield {"killed": True}
        elif process.returncode:
            yield {"broke": f"exit code {process.returncode}"}
    finally:
        _end(process)


def _end(process: subprocess.Popen) -> None:
    """Its standard input closes, and it removes its folder and leaves; else it is killed."""
    with contextlib.suppress(BrokenPipeError):
        if process.stdin is not None:
            process.stdin.close()
    try:
        process.wait(timeout=LEAVE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _read(process: subprocess.Popen, lines: queue.SimpleQueue) -> None:
    assert process.stdout is not None
    with process.stdout as out:
        for line in out:
            lines.put(line)
    lines.put(None)

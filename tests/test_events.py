"""events.jsonl: whole lines or none, through SIGKILL, a torn line, a full disk and numbers that JSON cannot hold."""

import json
import math
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy
import pytest

from narrator.records import NarratorError
from trainer.events import EventLog, newest_events, read_events

# Says a number on standard output only after the event of that number was appended.
WRITER = """
import os, pathlib, sys
from trainer.events import EventLog
log, number = EventLog(pathlib.Path(sys.argv[1])), int(sys.argv[2])
while True:
    log.append("step", checkpoint=number % 50 == 0, step=number, text="x" * (number * 37 % 3000), loss=float("nan"))
    os.write(1, b"%d\\n" % number)
    number += 1
"""


def test_a_killed_writer_tears_no_line_and_loses_none(tmp_path: Path, root: Path) -> None:
    path, offset, steps = tmp_path / "events.jsonl", 0, []
    dice, resumed_at = random.Random(7), 0
    for _ in range(20):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(resumed_at)], cwd=root,
                              stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None and writer.stdout.readline() == b"%d\n" % resumed_at
            until = time.monotonic() + dice.uniform(0, 0.03)
            while time.monotonic() < until:  # a reader follows while it grows
                events, offset = read_events(path, offset)
                steps += [event["step"] for event in events]
            writer.send_signal(signal.SIGKILL)
            said = [int(line) for line in writer.stdout.read().splitlines(keepends=True) if line.endswith(b"\n")]
        if dice.random() < 0.5:  # what a machine that went down would leave
            with path.open("ab") as file:
                file.write(b'{"event": "step", "step": 5, "te')
        events, offset = read_events(path, offset)
        steps += [event["step"] for event in events]
        assert steps == list(range(len(steps))), "a line was torn, lost or read twice"
        assert len(steps) > max([resumed_at, *said]), "a line that was flushed is lost"
        resumed_at = len(steps)
    assert resumed_at > 20
    EventLog(path).close()
    for line in path.read_bytes().splitlines():
        json.loads(line)


def test_a_torn_last_line_waits_for_its_end(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    assert read_events(path) == ([], 0)
    whole, torn = b'{"step": 1}\n', '{"text": "Gr\u00f6\u00dfe"}\n'.encode()
    for cut in range(len(torn)):
        path.write_bytes(whole + torn[:cut])
        assert read_events(path) == ([{"step": 1}], len(whole))
    path.write_bytes(whole + torn)
    assert read_events(path, len(whole)) == ([{"text": "Größe"}], len(whole + torn))
    assert read_events(path, len(whole + torn)) == ([], len(whole + torn))
    path.write_bytes(whole)
    assert read_events(path, 1000) == ([{"step": 1}], len(whole))


def test_a_line_that_the_disk_spoilt_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"step": 1}\n\0\0\0\n[1]\n\xff\n' + b"[" * 100_000 + b'\n{"step": 2}\n')
    assert read_events(path)[0] == [{"step": 1}, {"step": 2}]


def test_the_writer_cuts_a_torn_line_of_any_length(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    for whole, torn in ((b"", b"{"), (b'{"a": 1}\n', b"{" * 200_000), (b'{"a": 1}\n', b""), (b"", b"{" * 200_000)):
        path.write_bytes(whole + torn)
        with EventLog(path) as log:
            log.append("resumed", step=3)
        assert [event.get("step", event.get("a")) for event in read_events(path)[0]] == ([1, 3] if whole else [3])


def test_numbers_that_json_cannot_hold(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with EventLog(path) as log:
        log.append("step", loss=math.nan, rate=math.inf, scores={"cider": [1.5, -math.inf]}, count=numpy.int64(3),
                   norm=numpy.float32("nan"), half=numpy.float32(0.5), file=Path("a/b"), text="\ud800 a\nb", flag=True)
    assert path.read_bytes().count(b"\n") == 1
    event = read_events(path)[0][0]
    assert event.pop("time").endswith("+00:00")
    assert event == {"event": "step", "loss": None, "rate": None, "scores": {"cider": [1.5, None]}, "count": 3,
                     "norm": None, "half": 0.5, "file": "a/b", "text": "\ud800 a\nb", "flag": True}


def test_the_last_events_of_a_long_run(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    assert list(newest_events(path)) == []
    with EventLog(path) as log:
        for step in range(3000):
            log.append("step", step=step)
    told = [event["step"] for event in newest_events(path)]
    assert 100 < len(told) < 3000 and told == list(range(2999, 2999 - len(told), -1))
    head, offset = read_events(path, limit=1000)
    assert [event["step"] for event in head] == list(range(len(head))) and 0 < offset <= 1000


def test_a_full_disk_leaves_whole_lines(tmp_path: Path) -> None:
    """A limit on the size of files makes a real write fall short, in a process of its own."""
    path = tmp_path / "events.jsonl"
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))
        log, code = EventLog(path), 1
        try:
            for step in range(100):
                log.append("step", step=step)
        except NarratorError as error:
            code = 0 if "cannot be written" in str(error) and "Free some space" in str(error) else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    data = path.read_bytes()
    assert 300 < len(data) <= 500 and data.endswith(b"\n")
    assert [event["step"] for event in read_events(path)[0]] == list(range(data.count(b"\n")))


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NarratorError, match="cannot be written"):
        EventLog(tmp_path / "gone" / "events.jsonl")

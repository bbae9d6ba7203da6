"""The processes that read pictures for a run end with it: stopped, killed, and while they hang in a file."""

import contextlib
import multiprocessing
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from torch.utils.data import DataLoader
from training import FIRST, Start, wait_for_step

from trainer import queue
from trainer.jobs import job_state
from trainer.stages import end_readers

END_S = 2.0  # after a stop or a kill nothing of a run is left
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux alone tells processes of their parent's end")


@pytest.fixture
def reading(start: Start, tiny: Path, tmp_path: Path) -> Iterator[Callable[[bool], tuple[Path, list[psutil.Process]]]]:
    """Begins a run with two readers: (its folder, all of its processes, it itself first). hang: its readers are
    suspended, and do as little as one that waits for a disk."""
    started: list[psutil.Process] = []

    def begin(hang: bool) -> tuple[Path, list[psutil.Process]]:
        process = start("run", tiny / "tiny.yaml", "--runs", tmp_path / "runs", "--checkpoints",
                        tmp_path / "checkpoints", "--set", "workers=2")
        run = wait_for_step(process, tmp_path / "runs", FIRST + 1)
        started.append(psutil.Process(process.pid))
        deadline = time.monotonic() + 60
        while len(children := started[0].children(recursive=True)) < 2:
            assert time.monotonic() < deadline and process.poll() is None, "between two epochs there are none"
            time.sleep(0.005)
        started.extend(children)
        for reader in children if hang else ():
            reader.suspend()
        return run, started

    yield begin
    for process in started:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def left(processes: list[psutil.Process], since: float) -> list[psutil.Process]:
    """Which of them live when END_S are over."""
    while time.monotonic() < since + END_S:
        alive = [process for process in processes if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]
        if not alive:
            return []
        time.sleep(0.01)
    return alive


@pytest.mark.parametrize("hang", [False, True], ids=["busy", "hanging"])
def test_a_killed_run_leaves_no_reader(reading: Callable, hang: bool) -> None:
    _, processes = reading(hang)
    since = time.monotonic()
    processes[0].kill()
    assert left(processes, since) == []


def test_a_stopped_run_leaves_no_reader(reading: Callable, start: Start) -> None:
    run, processes = reading(False)
    since = time.monotonic()
    queue.stop(run)
    assert left(processes, since) == [] and job_state(run).state == "stopped"


def test_readers_that_were_ended_are_no_fault() -> None:
    """torch hears of the end of each of its workers by a signal, and would raise in whatever is done then."""
    for _ in range(4):
        readers = iter(DataLoader(list(range(64)), num_workers=2, multiprocessing_context="fork"))
        next(readers)
        end_readers()
        assert not multiprocessing.active_children()
        time.sleep(0.1)  # this is where it did
        assert signal.getsignal(signal.SIGCHLD) not in (signal.SIG_DFL, None)  # others are still heard of
        del readers

"""Which devices a run holds: one card of several, or one for each process of a run; and who may run at once.

No card is there: a command that stands in for nvidia-smi says that there are two. Locks and processes are real.
"""

import contextlib
import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from queueing import OVER, Queue, command, events_of, quick, quick_queue

from narrator.records import NarratorError
from trainer import claims
from trainer.claims import HOME, NotNow, device, devices
from trainer.config import parse_config
from trainer.preflight.dry_run import Measured, measure

TELLS = "#!/bin/sh\necho 'GPU 0: Some Card (UUID: GPU-1a2b-3c)'\necho 'GPU 1: Some Card (UUID: GPU-1f5e-6d)'\n"
SLICE = "MIG-GPU-1a2b-3c/1/0"  # a part of a card, as older drivers name it
pytestmark = pytest.mark.skipif(os.name != "posix", reason="the command that stands in is a shell script")


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Queue]:
    """An empty queue on a machine with two cards."""
    tool = tmp_path / "bin" / "nvidia-smi"
    tool.parent.mkdir()
    tool.write_text(TELLS)
    tool.chmod(0o755)
    with quick_queue(tmp_path, monkeypatch) as found:
        monkeypatch.setenv("PATH", f"{tool.parent}{os.pathsep}{os.environ['PATH']}")
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
        claims._cards.cache_clear()
        yield found
    claims._cards.cache_clear()


@pytest.mark.parametrize(("named", "found"), [
    (None, ["0", "1"]), ("", ["cpu"]), ("-1", ["cpu"]), ("1", ["1"]), ("1,0", ["1", "0"]), ("0, 0,1", ["0", "1"]),
    ("0,-1,1", ["0"]), ("GPU-1f5e-6d, GPU-1a", ["GPU-1f5e-6d", "GPU-1a"]), ("1,GPU-1f,0", ["1", "0"]),
    (f"{SLICE},MIG-GPU-1a2b-3c/11/0", [SLICE, "MIG-GPU-1a2b-3c/11/0"])])
def test_devices_are_the_cards_that_may_be_seen(line: Queue, monkeypatch: pytest.MonkeyPatch, named: str | None,
                                                found: list[str]) -> None:
    if named is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert devices() == found


@pytest.mark.parametrize("tool", ["", "#!/bin/sh\nexit 9\n", "#!/bin/sh\necho 'No devices were found'\n"],
                         ids=["no driver", "a broken one", "no card"])
def test_without_a_card_it_is_the_processor(line: Queue, tool: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place = line.home / "bin" / "nvidia-smi"
    place.write_text(tool)
    if not tool:
        monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    assert devices() == ["cpu"]


HOLDER = """
import os, sys
from pathlib import Path
from trainer.claims import device
with device(Path(sys.argv[1]), wait=False) as held:
    print(*held, flush=True)
    sys.stdin.read()
"""


def holder(line: Queue, root: Path, **environment: str) -> subprocess.Popen:
    """A process that holds devices until its input ends; which, is its first line."""
    return subprocess.Popen([sys.executable, "-c", HOLDER, str(line.runs)], cwd=root, text=True, stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, **environment})


def told(process: subprocess.Popen) -> str:
    assert process.stdout is not None
    return str(process.stdout.readline().strip())


def test_each_takes_a_card_of_its_own_and_a_third_none(line: Queue, root: Path) -> None:
    with holder(line, root) as one:
        assert told(one) == "0"
        with holder(line, root) as two:
            assert told(two) == "1"
            with pytest.raises(NotNow, match="device 0, 1 is busy"), device(line.runs, wait=False):
                pass
            one.kill()
            one.wait()
            with device(line.runs, wait=False) as held:
                assert held == ["0"]
            two.kill()


def test_several_processes_hold_a_card_each_or_none(line: Queue, root: Path) -> None:
    """As the first of two that a launcher has started."""
    launched = {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2"}
    with holder(line, root, **launched) as both:
        assert told(both) == "0 1"
        with pytest.raises(NotNow), device(line.runs, wait=False):
            pass
        both.kill()
        both.wait()
    with holder(line, root, CUDA_VISIBLE_DEVICES="1") as one:
        assert told(one) == "1"
        with holder(line, root, **launched) as both:
            assert "The device 1 is busy." in both.communicate()[1], "one of its cards is another's"
        with holder(line, root, **launched, CUDA_VISIBLE_DEVICES="") as alone:
            assert told(alone) == "cpu"
            alone.kill()
        one.kill()


@pytest.mark.parametrize("named", ["GPU-1a2b-3c", "GPU-1a", "0,GPU-1a"])
def test_a_card_is_one_under_all_its_names(line: Queue, root: Path, monkeypatch: pytest.MonkeyPatch, named: str
                                           ) -> None:
    with holder(line, root, CUDA_VISIBLE_DEVICES="0") as one:
        assert told(one) == "0"
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
        with pytest.raises(NotNow), device(line.runs, wait=False):
            pass
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-1f")
        with device(line.runs, wait=False) as held:
            assert held == ["GPU-1f"]
        one.kill()


@pytest.mark.parametrize("named", [SLICE, "GPU-1f5e-6d"])
def test_a_run_sees_its_device_under_the_name_that_was_given(line: Queue, monkeypatch: pytest.MonkeyPatch, named: str
                                                             ) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", f"{named},0")
    with claims.computing(line.runs, wait=False):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == named


def until_begun(line: Queue, folders: list[Path]) -> None:
    line.wait(lambda: all(events_of(folder, "started") for folder in folders))


def test_the_queue_runs_one_job_on_each_card(line: Queue) -> None:
    """Two at once, the others in their order as a card gets free; each sees its own card alone."""
    files = [line.home / "first", line.home / "second"]  # two jobs wait for each
    folders = [line.submit(f"job-{number}", steps=3, until=str(files[number // 2])) for number in range(4)]
    for file, pair in zip(files, (folders[:2], folders[2:]), strict=True):
        until_begun(line, pair)
        assert file == files[1] or not any(events_of(folder, "started") for folder in folders[2:]), "no card was free"
        file.touch()
    for folder in folders:
        assert line.until(folder, *OVER).state == "done"
    spans = {folder: (events_of(folder, "started")[0], events_of(folder, "done")[0]["time"]) for folder in folders}
    cards = [begun["cards"] for begun, _ in spans.values()]
    assert sorted(cards[:2]) == sorted(cards[2:]) == ["0", "1"]
    times = [begun["time"] for begun, _ in spans.values()]
    assert max(times[:2]) <= min(times[2:])
    for card in "01":
        mine = [(begun["time"], ended) for begun, ended in spans.values() if begun["cards"] == card]
        assert all(one[1] <= other[0] for one, other in itertools.pairwise(sorted(mine)))
    line.wait(lambda: line.worker() is None)
    assert line.worker_log() == ""


def test_a_run_in_a_terminal_takes_the_card_that_the_queue_left(line: Queue) -> None:
    first = line.submit("queued", steps=2, until=str(line.home / "never"))
    until_begun(line, [first])
    (line.home / "quick.yaml").write_text((first / "config.yaml").read_text().replace(str(line.home / "never"), ""))
    ran = command("run", line.home / "quick.yaml", "--data-root", line.home, "--runs", line.runs, "--out",
                  line.home / "by-hand")
    said = ran.communicate(timeout=60)[0]
    assert ran.returncode == 0 and "Waiting" not in said, said
    other = next(folder for folder in line.runs.iterdir() if folder != first and (folder / "config.yaml").exists())
    assert [events_of(folder, "started")[0]["cards"] for folder in (first, other)] == ["0", "1"]
    assert not events_of(first, "done")


REHEARSES = """#!/bin/sh
echo "{\\"doing\\": \\"on card $CUDA_VISIBLE_DEVICES\\"}"
sleep 0.5
echo '{"out_of_memory": true}'
"""


def dry_run(line: Queue, monkeypatch: pytest.MonkeyPatch, *, stays_free: bool = False) -> Measured:
    """A dry run that finds too little memory on the cards that it sees; nobody else gets its card meanwhile.

    stays_free: somebody does, as on a processor.
    """
    child, freed = line.home / "rehearses", []
    child.write_text(REHEARSES)
    child.chmod(0o755)

    def tell(what: str, done: int, total: int) -> None:
        with contextlib.suppress(NotNow, NarratorError), device(line.runs, wait=False) as held:
            freed.extend(held)

    with monkeypatch.context() as patched:
        patched.setattr(sys, "executable", str(child))
        found = measure(parse_config(quick(), "test"), line.home, tell, line.runs)
    assert bool(freed) == stays_free, freed
    return found


def test_a_dry_run_takes_a_free_card_and_one_with_a_run_says_little(line: Queue, root: Path,
                                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    with holder(line, root) as one:
        assert told(one) == "0"
        free = dry_run(line, monkeypatch)
        with holder(line, root) as two:
            assert told(two) == "1", "the dry run has given it back"
            full = dry_run(line, monkeypatch)
            two.kill()
        one.kill()
    assert [(one.level, one.what) for one in free.findings] == [
        ("error", "There is not enough memory for the dry run (on card 1).")] and not free.beside
    assert [(one.level, one.what, one.remedy) for one in full.findings] == [
        ("warning", "There is not enough memory for the dry run (on card 0): a run computes there now.",
         "Check again when it is done.")] and full.beside


def test_a_dry_run_on_a_processor_holds_nothing(line: Queue, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So a run that begins meanwhile does not wait for it, nor it for a run."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    alone = dry_run(line, monkeypatch, stays_free=True)
    with holder(line, root) as run:
        assert told(run) == "cpu"
        beside = dry_run(line, monkeypatch)
        run.kill()
    for found in (alone, beside):
        assert [(one.level, one.what) for one in found.findings] == [
            ("error", "There is not enough memory for the dry run (on card ).")]


def test_a_dry_run_needs_no_folder_of_locks(line: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    line.runs.mkdir()
    (line.runs / HOME).write_text("in the way")
    found = dry_run(line, monkeypatch)
    assert [one.what for one in found.findings] == ["There is not enough memory for the dry run (on card 0)."]

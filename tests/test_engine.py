"""The loader: one at a time on a device, in order of arrival; what is kept, and what goes."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from plumbing import Sayer, write_checkpoint

from narrator.catalog import find_variant
from narrator.engine import MARGIN_BYTES, Engine, shared_engine
from narrator.records import NarratorError
from narrator.settings import GenerationSettings
from narrator.turns import Stopped, Turns
from narrator.weights import bytes_needed, free_bytes

pytestmark = pytest.mark.usefixtures("sayer")
SETTINGS = GenerationSettings()


def test_loads_once_announces_once_and_lets_go(engine: Engine) -> None:
    told: list[str] = []
    assert engine.loaded() == [] and Sayer.alive == []
    for _ in range(2):
        with engine.use("sayer", told.append) as family:
            assert "".join(piece.text for piece in family.stream(None, "", SETTINGS)) == "a dog runs on grass"
    assert told == ["Loading The sayer, first use …"]
    assert engine.loaded() == ["sayer"] == Sayer.alive
    assert engine.unload("sayer") and not engine.unload("sayer")
    assert engine.loaded() == [] == Sayer.alive


def test_two_threads_are_never_inside_one_device(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_checkpoint(tmp_path, name, step_s=0.003)
    engine = Engine(tmp_path, device="cpu")
    finished = []

    def work(name: str) -> None:
        for _ in range(3):
            with engine.use(name) as family:
                finished.append(len(list(family.stream(None, "", SETTINGS))))

    threads = [threading.Thread(target=work, args=(name,)) for name in ("one", "two") * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert finished == [7] * 18
    assert Sayer.most_inside == 1


def wait_until(there: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not there():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_turns_come_in_order_of_arrival() -> None:
    """A thread that gives back and asks again stands behind those that wait."""
    turns, all_wait = Turns(), threading.Event()
    order: list[str] = []

    def work(name: str, rounds: int) -> None:
        for _ in range(rounds):
            turns.acquire()
            order.append(name)
            assert all_wait.wait(30)
            turns.release()

    threads = [threading.Thread(target=work, args=row) for row in (("batch", 4), ("person", 1), ("another", 1))]
    started: list[threading.Thread] = []
    for thread in threads:
        thread.start()
        started.append(thread)
        wait_until(lambda: len(turns._queue) == len(started))
    all_wait.set()
    for thread in threads:
        thread.join(30)
    assert order == ["batch", "person", "another", "batch", "batch", "batch"]


def test_waiting_can_be_stopped_and_leaves_no_trace(engine: Engine) -> None:
    stop = threading.Event()
    told: list[str] = []
    outcome: list[str] = []

    def wait() -> None:
        try:
            with engine.use("sayer", told.append, stop):
                outcome.append("inside")
        except Stopped:
            outcome.append("stopped")

    with engine.use("sayer"):
        waiting = threading.Thread(target=wait)
        waiting.start()
        wait_until(lambda: bool(told))
        assert outcome == [] and told == ["Waiting for another description to finish …"]
        assert engine.outlook(find_variant("sayer", engine.checkpoints)) == told[0]
        stop.set()
        waiting.join(30)
        assert outcome == ["stopped"]
    with engine.use("sayer"):  # the one that left does not hold its place
        pass
    with pytest.raises(Stopped), engine.use("sayer", stop=stop):
        pass


def test_an_error_inside_frees_the_device(engine: Engine) -> None:
    with pytest.raises(KeyError), engine.use("sayer"):
        raise KeyError("in the family")
    with pytest.raises(NarratorError, match="The sayer ran out of memory"), engine.use("sayer"):
        raise MemoryError
    with pytest.raises(RuntimeError, match="shape"), engine.use("sayer"):
        raise RuntimeError("shape mismatch")
    with engine.use("sayer"):
        pass


class Machine:
    """A machine whose free memory is `total` less what the living families take, each as large as its `most` bytes."""

    def __init__(self, total: int, each: int) -> None:
        self.total, self.each = total, each

    def __call__(self, device: str) -> int:
        return self.total - self.each * len(Sayer.alive)


def test_the_least_recently_used_goes_when_memory_is_short(tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        write_checkpoint(tmp_path, name)
    least, most = bytes_needed(find_variant("one", tmp_path))
    assert (least, most) == (2000, 4800)  # 1,000 parameters of two bytes; as four bytes and a fifth
    engine = Engine(tmp_path, device="cpu", free=Machine(MARGIN_BYTES + 2 * most, most))
    for name in ("one", "two", "one"):
        with engine.use(name):
            pass
    assert engine.loaded() == ["two", "one"]
    with engine.use("three"):
        pass
    assert engine.loaded() == ["one", "three"]
    assert sorted(Sayer.alive) == ["one", "three"]


def test_the_margin_gives_way_but_the_weights_must_fit(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, "one")
    with Engine(tmp_path, device="cpu", free=lambda device: 2000).use("one"):
        pass
    engine = Engine(tmp_path, device="cpu", free=lambda device: 1999)
    with pytest.raises(NarratorError, match=r"The one needs at least .* close other programs"), engine.use("one"):
        pass
    assert engine.loaded() == []


def test_a_variant_trained_again_is_loaded_again(engine: Engine, tmp_path: Path) -> None:
    with engine.use("sayer") as before:
        pass
    manifest = tmp_path / "sayer" / "variant.yaml"
    os.utime(manifest, ns=(0, manifest.stat().st_mtime_ns + 1_000_000_000))
    with engine.use("sayer") as after:
        assert after is not before
    assert Sayer.alive == ["sayer"]


def test_unknown_variant(engine: Engine) -> None:
    with pytest.raises(NarratorError, match="Did you mean 'sayer'"), engine.use("sayr"):
        pass


def test_a_model_of_the_hub_is_not_on_this_machine(engine: Engine, tmp_path: Path,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even where a folder of that name lies below the current one."""
    write_checkpoint(tmp_path, "far", source="owner/name")
    write_checkpoint(tmp_path / "here" / "owner", "name")
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(NarratorError, match="The far is not on this machine: download owner/name"), engine.use("far"):
        pass
    assert engine.loaded() == [] == Sayer.alive


def test_free_memory_is_this_machines() -> None:
    import psutil

    assert 0 < free_bytes("cpu") <= psutil.virtual_memory().total
    assert shared_engine() is shared_engine()


def test_warm_returns_at_once_and_use_waits_for_it(tiny_checkpoints: Path) -> None:
    engine = Engine(tiny_checkpoints)
    engine.warm()
    engine.warm()  # a second page
    with engine.use("tiny-captioner") as family:
        assert engine.device() in ("cpu", "cuda")
        assert callable(family.stream)

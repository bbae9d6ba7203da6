"""The Hub, as a small hub of our own on 127.0.0.1 plays it: downloads, breaks, lies, and what is trusted offline."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from command_line import ROOT, narrator, sentence
from plumbing import write_checkpoint
from small_hub import BIG, REPO, Repository, SmallHub, far, files, listed_as, partials, repository, weights

from narrator import catalog, hub
from narrator.engine import Engine
from narrator.hub import Downloads, disk_bytes, local_folder, pull, remove, resolve
from narrator.hub.cache import lock_path, storage
from narrator.hub.pulling import FETCH, size
from narrator.records import NarratorError
from narrator.turns import Stopped
from narrator.weights import bytes_needed

TAKEN = ("README.md", "config.json", "merges.txt", "model.safetensors")


def test_a_model_is_downloaded_trusted_offline_and_removed(small: SmallHub, monkeypatch: pytest.MonkeyPatch,
                                                           tmp_path: Path) -> None:
    from huggingface_hub import constants

    small.repositories[REPO] = Repository(files())
    assert local_folder(far()) is None and disk_bytes(far()) == 0
    with pytest.raises(NarratorError, match="pull far"):
        resolve(far())
    told: list[tuple[int, int]] = []
    folder = pull(far(), lambda done, total: told.append((done, total)))
    assert sorted(path.name for path in folder.iterdir()) == sorted(TAKEN)
    assert (folder / "model.safetensors").read_bytes() == weights(2560)
    whole = sum(len(files()[name]) for name in TAKEN)
    assert told[-1] == (whole, whole) and disk_bytes(far()) == whole and partials() == []

    asked = len(small.asked)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    assert pull(far()) == folder == local_folder(far()) and resolve(far()).source == str(folder)
    assert bytes_needed(resolve(far()))[0] == 2560
    assert len(small.asked) == asked

    listed_as(far(), tmp_path, monkeypatch)
    assert remove("far") == whole
    assert local_folder(far()) is None and not storage(REPO).exists()
    with pytest.raises(NarratorError, match="nothing to remove"):
        remove("far")


def test_what_is_downloaded_describes(small: SmallHub, tiny_checkpoints: Path, tmp_path: Path,
                                      monkeypatch: pytest.MonkeyPatch) -> None:
    """Real code on random weights: refused with what to do, downloaded by command, loaded, described."""
    from PIL import Image

    from narrator.settings import GenerationSettings

    small.repositories[REPO] = repository(tiny_checkpoints / "tiny-captioner")
    listed_as(far(), tmp_path, monkeypatch)
    engine = Engine(device="cpu")
    with pytest.raises(NarratorError, match="download owner/captioner with `python -m narrator pull far`"):
        with engine.use("far"):
            pass
    done = narrator("pull", "far")
    assert done.returncode == 0 and done.stdout.startswith("The far is here: ") and "(100%)" in done.stderr
    with engine.use("far") as family:
        pieces = list(family.stream(Image.new("RGB", (40, 30)), "", GenerationSettings(max_new_tokens=4)))
    assert pieces and engine.loaded() == ["far"]
    engine.close()
    assert "add --yes" in sentence(narrator("remove", "far"))
    assert "are free again" in narrator("remove", "far", "--yes").stdout
    assert "nothing to remove" in sentence(narrator("remove", "far", "--yes"))
    assert "Did you mean 'far'?" in sentence(narrator("pull", "fat"))


def test_a_broken_connection_goes_on_where_it_ended(small: SmallHub) -> None:
    small.repositories[REPO] = Repository(files(BIG), break_after=[2**20, 0, 2**20])
    folder = pull(far())
    assert (folder / "model.safetensors").read_bytes() == weights(BIG)
    first, *later = small.fetched("model.safetensors")
    assert first == "" and later == [f"bytes={2**20}-"] * 2 + [f"bytes={2 * 2**20}-"]


def test_a_killed_download_goes_on_where_it_ended(small: SmallHub) -> None:
    small.repositories[REPO] = Repository(files(BIG), pace_s=0.02)
    killed: list[int] = []

    def kill(done: int, total: int) -> None:
        if done > 2**20 and not killed:
            killed.extend(child.pid for child in fetching())
            os.kill(killed[0], signal.SIGKILL)

    with pytest.raises(NarratorError, match="ended unexpectedly"):
        pull(far(), kill)
    assert len(killed) == 1 and local_folder(far()) is None
    here = partials()[0].stat().st_size
    assert here > 2**20 - 65536
    small.repositories[REPO].pace_s = 0
    pull(far())
    assert (storage(REPO) / "blobs").exists() and partials() == []
    assert small.fetched("model.safetensors") == ["", f"bytes={here}-"]


def fetching() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if str(FETCH) in child.cmdline()]


def test_stop_ends_the_process_and_keeps_what_came(small: SmallHub) -> None:
    small.repositories[REPO] = Repository(files(BIG), pace_s=0.02)
    stop = threading.Event()
    sessions: list[int] = []

    def report(done: int, total: int) -> None:
        if done > 2**19 and total > BIG:
            sessions.extend(os.getsid(child.pid) for child in fetching())
            stop.set()

    with pytest.raises(Stopped):
        pull(far(), report, stop)
    assert sessions and sessions[0] != os.getsid(0)  # Ctrl-C on the terminal does not reach it by itself
    assert fetching() == [] and partials()[0].stat().st_size >= 2**19 - 65536


def test_the_process_ends_with_whoever_started_it(small: SmallHub, tmp_path: Path,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    small.repositories[REPO] = Repository(files(BIG), pace_s=0.2)
    listed_as(far(), tmp_path, monkeypatch)
    script = ("import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path; from narrator import catalog; "
              "catalog.SHIPPED = Path(sys.argv[2]); from narrator.hub import pull; "
              "pull(catalog.find_variant('far'), lambda done, total: print(done, flush=True))")
    command = [sys.executable, "-c", script, str(ROOT), str(tmp_path / "variants.yaml")]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    while int(parent.stdout.readline()) < 65536:
        pass
    (child,) = [one for one in psutil.Process(parent.pid).children() if str(FETCH) in one.cmdline()]
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert psutil.wait_procs([child], timeout=15)[1] == []


def test_a_hub_that_knows_no_ranges_is_begun_anew(small: SmallHub) -> None:
    small.repositories[REPO] = Repository(files(BIG), break_after=[2**20], begins_anew=True)
    told: list[tuple[int, int]] = []
    folder = pull(far(), lambda done, total: told.append((done, total)))
    assert (folder / "model.safetensors").read_bytes() == weights(BIG)
    assert told[-1][0] == told[-1][1] and max(done for done, _ in told) <= told[-1][1]


def test_one_at_a_time(small: SmallHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from filelock import FileLock

    small.repositories[REPO] = Repository(files())
    listed_as(far(), tmp_path, monkeypatch)
    pull(far())
    with FileLock(lock_path(REPO)):
        with pytest.raises(NarratorError, match="cancel that first"):
            remove("far")
        small.repositories["owner/captioner"].files["added.json"] = b"{}"
        (storage(REPO) / "refs" / "main").unlink()
        with pytest.raises(NarratorError, match="being downloaded already"):
            pull(far())


def test_downloads_run_in_the_background(small: SmallHub) -> None:
    small.repositories[REPO] = Repository(files(BIG), pace_s=0.05)
    downloads = Downloads()
    assert downloads.find("far") is None and not downloads.cancel("far")
    downloads.start(far())
    with pytest.raises(NarratorError, match="already"):
        downloads.start(far())
    wait(lambda: downloads.running()[0].done > 2**19)
    assert downloads.cancel("far")
    wait(lambda: not downloads.running())
    stopped = downloads.find("far")
    assert stopped is not None and stopped.state == "stopped" and "is kept" in stopped.says
    small.repositories[REPO].pace_s = 0
    downloads.start(far())
    wait(lambda: not downloads.running())
    ended = downloads.find("far")
    assert ended is not None and (ended.state, ended.says) == ("done", "The far is here now.")
    assert hub.local_folder(far()) is not None
    downloads.start(far(id="odd", source="owner/none"))
    wait(lambda: not downloads.running())
    failed = downloads.find("odd")
    assert failed is not None and failed.state == "failed" and "knows no owner/none" in failed.says


def wait(there: Any) -> None:
    end = time.monotonic() + 60
    while not there():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_what_comes_with_the_project_or_carries_others_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                            sayer: None) -> None:
    listed_as(far(), tmp_path, monkeypatch)
    monkeypatch.setattr(catalog, "CHECKPOINTS", tmp_path / "own")
    for name in ("ours", "base"):
        write_checkpoint(tmp_path / "own", name)
    write_checkpoint(tmp_path / "own", "built", source="../base")
    with pytest.raises(NarratorError, match="comes with this project"):
        remove("ours")
    with pytest.raises(NarratorError, match="The built is built on The base: remove that one first"):
        remove("base")
    assert remove("built") > 0 and not (tmp_path / "own" / "built").exists()
    assert (tmp_path / "own" / "base" / "variant.yaml").exists()
    assert remove("base") > 2000 and (tmp_path / "own" / "ours").is_dir()


def test_sizes_for_people() -> None:
    assert [size(count) for count in (0, 512, 351_000_000, 3_100_000_000, 2 * 10**12)] == [
        "0 kB", "1 kB", "351 MB", "3.1 GB", "2.0 TB"]

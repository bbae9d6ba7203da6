"""What several tests share: where the project stands, where the photographs are, tiny models, a port, a browser."""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from counted import teller  # noqa: F401  (a fixture)
from small_hub import served, small  # noqa: F401  (fixtures)
from training import finished, start, tiny  # noqa: F401  (fixtures)

if TYPE_CHECKING:
    from serving import Server

    from narrator.engine import Engine
    from narrator.speech.pyttsx3_engine import Pyttsx3Engine

ROOT = Path(__file__).resolve().parents[1]
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as of what a script starts in the background; children keep it
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def root() -> Path:
    """The folder of the project."""
    return ROOT


def find_data_root() -> Path | None:
    """Where the data sets are: NARRATOR_DATA when set, else a `shared/data` beside the project, else `data/`."""
    named = os.environ.get("NARRATOR_DATA")
    places = [Path(named)] if named else [ROOT.parent / "shared" / "data", ROOT / "data"]
    return next((place.resolve() for place in places if place.is_dir()), None)


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The data folder; a test that asks for it is skipped where there is none."""
    found = find_data_root()
    if found is None:
        pytest.skip("needs the data sets: see 'Data' in README.md, or set NARRATOR_DATA")
    return found


@pytest.fixture
def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listened on a moment ago."""
    import serving

    return serving.free_port()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Server"]:
    """The real page in a process of its own, over the variants of serving.py; one for all tests that need it."""
    from serving import served_variants

    with served_variants(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture(scope="session")
def address(server: "Server") -> str:
    """Where that page is, with a slash at the end."""
    return server.address


@pytest.fixture(scope="session")
def browser_path() -> str | None:
    """`executable_path` for playwright: the system's Chromium, or None for the one that playwright installed."""
    return shutil.which("chromium")


@pytest.fixture
def sayer(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The family of plumbing.py, in the table as "sayer"; at the end nothing of it may still run."""
    from plumbing import Sayer

    from narrator.families import FAMILIES

    monkeypatch.setitem(FAMILIES, "sayer", "plumbing:Sayer")
    Sayer.reset()
    yield
    assert Sayer.inside == 0


@pytest.fixture
def engine(sayer: None, tmp_path: Path) -> "Engine":
    """A loader over `tmp_path`, which holds one variant: "sayer"."""
    from plumbing import write_checkpoint

    from narrator.engine import Engine

    write_checkpoint(tmp_path)
    return Engine(tmp_path, device="cpu")


@pytest.fixture(scope="session")
def tiny_checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one checkpoint, "tiny-captioner": real code on random weights. Read it, change only a copy."""
    from tiny_captioner import save_tiny_captioner

    folder = tmp_path_factory.mktemp("checkpoints")
    save_tiny_captioner(folder / "tiny-captioner")
    return folder


@pytest.fixture(scope="session")
def speaker() -> "Pyttsx3Engine":
    """The voice of this process."""
    from narrator import speech

    return speech.engine()

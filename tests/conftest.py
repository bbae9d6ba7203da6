"""What several tests share: where the project stands, where the photographs are, a port, a browser."""

import os
import shutil
import socket
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


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
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def browser_path() -> str | None:
    """`executable_path` for playwright: the system's Chromium, or None for the one that playwright installed."""
    return shutil.which("chromium")

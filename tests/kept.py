"""A history of a test's own."""

from pathlib import Path

import pytest

from narrator.history import History, history_of


@pytest.fixture(name="folder")
def history_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NARRATOR_HISTORY", str(tmp_path / "history"))
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    return tmp_path / "history"


@pytest.fixture(name="mine")
def own_history(folder: Path) -> History:
    return history_of()


@pytest.fixture(name="sound")
def small_sound(tmp_path: Path) -> Path:
    (tmp_path / "a.wav").write_bytes(b"RIFF" + bytes(200))
    return tmp_path / "a.wav"

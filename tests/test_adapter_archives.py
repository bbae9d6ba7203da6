"""Zip archives of adapters, as strangers pack them: known names come out of them, and nothing else."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from narrator.adapters.files import CONFIG, WEIGHTS, gather
from narrator.records import NarratorError


@pytest.fixture
def loud(tmp_path: Path) -> Path:
    """A folder with the files of an adapter."""
    (tmp_path / "loud").mkdir()
    (tmp_path / "loud" / CONFIG).write_text('{"peft_type": "LORA"}')
    (tmp_path / "loud" / WEIGHTS).write_bytes(bytes(range(256)))
    return tmp_path / "loud"


def refusal(act: Callable[[], object]) -> str:
    with pytest.raises(NarratorError) as refused:
        act()
    return str(refused.value)


def zipped(path: Path, files: dict[str, bytes | Path]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content if isinstance(content, bytes) else content.read_bytes())
    return path


def test_an_archive_gives_known_names_only(loud: Path, tmp_path: Path) -> None:
    whole = {f"my adapter/{name}": loud / name for name in (CONFIG, WEIGHTS)}
    other = {"my adapter/checkpoint-5/adapter_config.json": b"{}", "my adapter/evil.py": b"raise SystemExit",
             "../../adapter_config.json": b"{}", "/etc/README.md": b"x", "my adapter/../../outside.json": b"{}"}
    gather([zipped(tmp_path / "a.zip", {**other, **whole})], tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [CONFIG, WEIGHTS]
    assert (tmp_path / "out" / WEIGHTS).read_bytes() == (loud / WEIGHTS).read_bytes()
    assert not (tmp_path.parent / "outside.json").exists() and not (tmp_path.parent / CONFIG).exists()


def test_archives_that_are_refused(loud: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cut.zip").write_bytes(zipped(tmp_path / "a.zip", {CONFIG: b"{}"}).read_bytes()[:40])
    assert "damaged" in refusal(lambda: gather([tmp_path / "cut.zip"], tmp_path / "1"))
    assert f"has no {CONFIG}" in refusal(lambda: gather([zipped(tmp_path / "b.zip", {"x": b""})], tmp_path / "2"))
    both = [tmp_path / "a.zip", loud / CONFIG]
    assert "either one zip archive or the files" in refusal(lambda: gather(both, tmp_path / "3"))
    assert "given twice" in refusal(lambda: gather([loud / CONFIG, loud / CONFIG], tmp_path / "4"))
    monkeypatch.setattr("narrator.adapters.files.MOST_SMALL_BYTES", 10)
    bomb = zipped(tmp_path / "c.zip", {CONFIG: b"0" * 2**20})
    assert "unpacked: this is no adapter" in refusal(lambda: gather([bomb], tmp_path / "5"))
    entry = zipfile.ZipInfo(CONFIG)
    entry.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as archive:
        archive.writestr(entry, "/etc/passwd")
    assert "as a link" in refusal(lambda: gather([tmp_path / "d.zip"], tmp_path / "6"))

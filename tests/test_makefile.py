"""The two commands: what they would do is asked of make itself; what they say, when a machine lacks something, too.

That they work from nothing is proven by the run of these very tests: `make test` made the environment they run in.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

STAMPS = (".made", ".requirements", ".requirements-dev", ".browser")
# A python that refuses what REFUSED matches, makes an empty folder for a virtual environment, and is real otherwise.
PYTHON = """#!/bin/sh
case "$*" in
    *"{refused}"*) exit 1 ;;
    *"-m venv"*) mkdir -p .venv ;;
    *) exec "{real}" "$@" ;;
esac
"""
APT = '#!/bin/sh\necho "apt-get $*" >> "{log}"\nexit {code}\n'

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


@pytest.fixture
def place(root: Path, tmp_path: Path) -> Path:
    """A folder, its name with a space, with the Makefile and what it reads; beside it a `bin` that is all of PATH."""
    folder = tmp_path / "a place"
    folder.mkdir()
    for name in ("Makefile", "requirements.txt", "requirements-dev.txt"):
        shutil.copy(root / name, folder / name)
    (tmp_path / "bin").mkdir()
    for name in ("touch", "env", "mkdir", "id"):
        (tmp_path / "bin" / name).symlink_to(shutil.which(name) or name)
    return folder


def script(place: Path, name: str, text: str) -> Path:
    path = place.parent / "bin" / name
    path.unlink(missing_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def make(place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": str(place.parent / "bin"), "HOME": str(place.parent)}
    command = [shutil.which("make") or "make", *words]
    return subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, timeout=60)


def finish(place: Path, newest: int = 4) -> None:
    """Stamp the first `newest` steps as done, in their order, later than everything else here."""
    (place / ".venv").mkdir(exist_ok=True)
    for path in place.glob("*.*"):
        os.utime(path, (1_000, 1_000))
    os.utime(place / "Makefile", (1_000, 1_000))
    for number, name in enumerate(STAMPS[:newest]):
        (place / ".venv" / name).touch()
        os.utime(place / ".venv" / name, (2_000 + number, 2_000 + number))


def test_a_second_call_installs_nothing(place: Path) -> None:
    finish(place)
    assert make(place, "-n", "run").stdout.splitlines() == [".venv/bin/python app.py"]
    tests = make(place, "-n", "test").stdout
    assert "pip" not in tests and "apt-get" not in tests and "playwright" not in tests
    assert [line.split(" -m ")[1].split()[0] for line in tests.splitlines()] == ["ruff", "mypy", "pytest", "pytest"]
    some = make(place, "-n", "test", "PYTEST_ARGS=tests/test_floors.py -x").stdout
    assert some.splitlines()[-1] == ".venv/bin/python -m pytest tests/test_floors.py -x"


def test_new_requirements_are_installed(place: Path) -> None:
    finish(place)
    os.utime(place / "requirements.txt", (9_000, 9_000))
    planned = make(place, "-n", "run", "PIP_ARGS=--no-color").stdout
    assert "pip install --quiet --disable-pip-version-check --no-color -r requirements.txt" in planned
    assert "venv --clear" not in planned


def test_a_step_cut_short_is_done_again(place: Path) -> None:
    finish(place, newest=1)
    assert "-r requirements.txt" in make(place, "-n", "run").stdout


def test_an_old_python_is_named(place: Path) -> None:
    script(place, "python3", PYTHON.format(refused="version_info <", real=sys.executable))
    done = make(place, "run")
    assert done.returncode != 0 and "is too old: install Python 3.11 or later" in done.stderr
    assert not (place / ".venv").exists()


def test_no_python_is_said(place: Path) -> None:
    done = make(place, "run")
    assert done.returncode != 0 and "install Python 3.11 or later, then run make again" in done.stderr


def test_a_python_without_venv_is_said_in_one_sentence(place: Path) -> None:
    """As on a fresh Debian for a person without the right to install."""
    script(place, "python3", PYTHON.format(refused="ensurepip", real=sys.executable))
    done = make(place, "run")
    said = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    assert done.returncode != 0 and len(said) == 1 and "sudo apt install python3-venv" in said[0]


@pytest.mark.parametrize(("target", "package"), [(".venv/.made", "python3-venv"), (".venv/.browser", "chromium")])
def test_root_on_debian_gets_it_through_apt(place: Path, tmp_path: Path, target: str, package: str) -> None:
    finish(place, newest=3 if package == "chromium" else 0)
    log = tmp_path / "apt.txt"
    script(place, "python3", PYTHON.format(refused="ensurepip", real=sys.executable))
    script(place, "apt-get", APT.format(log=log, code=0))
    script(place, "id", "#!/bin/sh\necho 0\n")
    done = make(place, target)
    assert done.returncode == 0, done.stderr
    update, install = log.read_text().splitlines()
    assert update.startswith("apt-get -qq update") and f" {package}" in install
    assert (place / target).exists()


def test_a_browser_that_cannot_be_had_is_said(place: Path, tmp_path: Path) -> None:
    finish(place, newest=3)
    script(place, "apt-get", APT.format(log=tmp_path / "apt.txt", code=1))
    script(place, "id", "#!/bin/sh\necho 0\n")
    done = make(place, ".venv/.browser")
    assert done.returncode != 0 and "sudo apt install chromium" in done.stderr
    assert not (place / ".venv" / ".browser").exists()

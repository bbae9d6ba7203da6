"""A Hugging Face Space runs these very files: its header agrees with the requirements, and the page starts as there."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

START_S = 120  # seconds for the page to be up; it takes 3 on two idle cores
SPACE_HOST = "somebody-visual-narrator.hf.space"
# Gradio reloads changed code on a Space through a package that a Space brings along; here it is missing.
NO_RELOADER = "RuntimeError: `spaces` package is required to run hot-reloading in Spaces"


def header(root: Path) -> dict[str, Any]:
    """The YAML between the first two `---` lines of README.md."""
    empty, block, _ = (root / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    assert empty == ""
    return yaml.safe_load(block)


def pins(root: Path) -> dict[str, str]:
    """Package -> exact version, of requirements.txt."""
    return dict(re.findall(r"^([\w.-]+)==([\w.]+)", (root / "requirements.txt").read_text(), re.MULTILINE))


def test_the_header_agrees_with_the_requirements(root: Path) -> None:
    space = header(root)
    assert space["sdk"] == "gradio"
    assert space["sdk_version"] == pins(root)["gradio"]
    assert space["python_version"] == "3.11" and isinstance(space["python_version"], str)  # YAML reads 3.10 as 3.1
    assert (root / space["app_file"]).is_file()
    assert space["license"] == "apache-2.0" and space["pinned"] is False
    assert len(space["short_description"]) <= 60 and space["title"]  # a Space refuses a longer one
    colors = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
    assert {space["colorFrom"], space["colorTo"]} <= colors


def test_the_installed_packages_are_the_pinned_ones(root: Path) -> None:
    from importlib.metadata import version

    assert {name: version(name).split("+")[0] for name in ("gradio", "torch", "transformers")} == {
        name: pins(root)[name] for name in ("gradio", "torch", "transformers")}


def refuses_writes(prefix: list[str], folder: Path) -> bool:
    """Whether a process started with `prefix` is really kept from writing into `folder`."""
    script = "import sys; open(sys.argv[1], 'w')"
    command = [*prefix, sys.executable, "-c", script, str(folder / "planted")]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.returncode != 0 and "PermissionError" in done.stderr


@pytest.fixture
def read_only_copy(root: Path, tmp_path: Path) -> Iterator[tuple[Path, list[str]]]:
    """(a copy of the code that nobody may write to, what to start a process with so that it holds for root too).

    Permission bits do not bind a process that has the capability to override them, as root has: setpriv takes it away.
    """
    code = tmp_path / "code"
    ignored = shutil.ignore_patterns(".git", ".venv", "data", "runs", "shared", "__pycache__", ".*_cache", "output")
    shutil.copytree(root, code, ignore=ignored)
    for path in (code, *code.rglob("*")):
        path.chmod(path.stat().st_mode & ~0o222)
    prefix = [] if os.geteuid() != 0 else ["setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner"]
    if prefix and shutil.which("setpriv") is None:
        pytest.skip("root may write anywhere, and there is no setpriv here to take that right away")
    assert refuses_writes(prefix, code)
    yield code, prefix
    for path in (code, *code.rglob("*")):
        path.chmod(path.stat().st_mode | 0o200)


def port_for_a_space(fallback: int) -> int:
    """7860 as on a Space; another one while something else listens there."""
    with contextlib.closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", 7860))
        except OSError:
            return fallback
    return 7860


def space_environment(home: Path, port: int) -> dict[str, str]:
    """What a Space's container sets, and nothing of the developer's own settings."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "OMP_NUM_THREADS") if name in os.environ}
    return kept | {
        "HOME": str(home), "TMPDIR": str(home), "PYTHONUNBUFFERED": "1", "SYSTEM": "spaces", "SPACE_HOST": SPACE_HOST,
        "SPACE_ID": "somebody/visual-narrator", "SPACE_AUTHOR_NAME": "somebody", "SPACE_REPO_NAME": "visual-narrator",
        "SPACE_TITLE": "Visual Narrator", "GRADIO_SERVER_NAME": "0.0.0.0", "GRADIO_SERVER_PORT": str(port),
        "GRADIO_NUM_PORTS": "1", "GRADIO_ALLOW_FLAGGING": "never", "GRADIO_THEME": "huggingface",
        "GRADIO_ANALYTICS_ENABLED": "False",
    }


def get(address: str, host: str | None = None) -> tuple[int, str]:
    request = urllib.request.Request(address, headers={"Host": host} if host else {})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.status, answer.read().decode()


def wait_for(address: str, process: subprocess.Popen, log: Path) -> str:
    """The page's HTML, once it is up; fails with the log when the process ends or START_S are over."""
    end = time.monotonic() + START_S
    while time.monotonic() < end and process.poll() is None:
        try:
            return get(address)[1]
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.2)
    pytest.fail(f"the page did not come up (exit code {process.poll()}):\n{log.read_text()[-4000:]}")


@contextlib.contextmanager
def served(code: Path, command: list[str], environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen]:
    """A process in its own session, ended with everything that it started."""
    with log.open("w") as out:
        process = subprocess.Popen(command, cwd=code, env=environment, stdin=subprocess.DEVNULL, stdout=out,
                                   stderr=subprocess.STDOUT, start_new_session=True)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def describe_and_speak(address: str, picture: Path, home: Path) -> tuple[Any, Any]:
    """What /describe and /speak answer to Gradio's own client."""
    from gradio_client import Client, handle_file

    client = Client(address, download_files=home / "downloads", verbose=False)
    described = client.predict(handle_file(str(picture)), api_name="/describe")
    return described, client.predict("A dog runs over the grass.", api_name="/speak")


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="a Space is a Linux container; this system has no user ids")
def test_the_page_starts_as_on_a_space(read_only_copy: tuple[Path, list[str]], tmp_path: Path, free_port: int) -> None:
    """0.0.0.0:7860, code that cannot be written to, a home of its own: page, endpoints, a description and a voice."""
    code, prefix = read_only_copy
    home, log = tmp_path / "home", tmp_path / "log.txt"
    home.mkdir()
    port = port_for_a_space(free_port)
    before = {path for path in code.rglob("*")}
    with served(code, [*prefix, sys.executable, "app.py"], space_environment(home, port), log) as process:
        page = wait_for(f"http://127.0.0.1:{port}/", process, log)
        assert "Visual Narrator" in page
        assert get(f"http://127.0.0.1:{port}/", SPACE_HOST)[0] == 200
        endpoints = json.loads(get(f"http://127.0.0.1:{port}/gradio_api/info")[1])["named_endpoints"]
        assert {"/describe", "/speak"} <= set(endpoints)
        picture = sorted((code / "assets" / "pictures").glob("*.jpg"))[0]
        described, spoken = describe_and_speak(f"http://127.0.0.1:{port}/", picture, home)
    errors = set(re.findall(r"^\w+(?:Error|Exception)\b.*", log.read_text(), re.MULTILINE))
    assert errors <= {NO_RELOADER}, log.read_text()[-4000:]
    assert described["text"] and described["variant"] and spoken["seconds"] > 0.8
    assert {path for path in code.rglob("*")} == before


def listeners(pid: int) -> set[tuple[str, int]]:
    """(address, port) that a process listens on."""
    import psutil

    return {(row.laddr.ip, row.laddr.port) for row in psutil.Process(pid).net_connections(kind="inet")
            if row.status == psutil.CONN_LISTEN}


def test_on_a_laptop_only_the_laptop_can_reach_it(root: Path, tmp_path: Path, free_port: int) -> None:
    """Without GRADIO_SERVER_NAME the page listens on the loopback address and nowhere else."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("GRADIO_", "SPACE_"))}
    environment |= {"GRADIO_SERVER_PORT": str(free_port), "HOME": str(tmp_path)}
    log = tmp_path / "log.txt"
    with served(root, [sys.executable, "app.py"], environment, log) as process:
        wait_for(f"http://127.0.0.1:{free_port}/", process, log)
        found = listeners(process.pid)
    assert found == {("127.0.0.1", free_port)}

"""A running page for tests: the real app.py in a process of its own, and variants that answer in a known way."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
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
from plumbing import write_checkpoint
from tiny_captioner import save_tiny_captioner

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "assets" / "pictures"
WAIT_S = 300  # seconds for an answer; half a second on an idle machine
START_S = 300  # seconds for the page to be up; it takes 3 on two idle cores
SLOW = [[f" word{number}", 0.9] for number in range(40)]  # no more than max_new_tokens lets through
SLOW_STEP_S = 1.0
MARKUP = [["a", 0.9], [" <img src=x onerror=alert(1)>", 0.9], [" <b>bold", 0.1], ["</b>", 0.9], [" dog", 0.2]]


def write_variants(folder: Path) -> None:
    """tiny-captioner (real code, random weights) first, very-slow (40 s), with-markup (HTML in its words),
    with-prompt (takes one), one that fails as nobody foresaw, and two damaged ones: a manifest, a shard."""
    save_tiny_captioner(folder / "tiny-captioner")
    write_checkpoint(folder, "very-slow", words=SLOW, step_s=SLOW_STEP_S)
    write_checkpoint(folder, "with-markup", words=MARKUP)
    takes = {"image": True, "text": True}
    write_checkpoint(folder, "with-prompt", inputs=takes, default_prompt="What is in the picture?")
    write_checkpoint(folder, "unforeseen", words=[["a", "high"]])
    (write_checkpoint(folder, "half-gone") / "model-00002-of-00002.safetensors").unlink()
    (folder / "damaged").mkdir()
    (folder / "damaged" / "variant.yaml").write_text("id: [unclosed")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Server:
    """A running page: its address (with a slash at the end), its process, and its working folder with log.txt."""

    address: str
    pid: int
    folder: Path


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def served_variants(folder: Path) -> contextlib.AbstractContextManager[Server]:
    """A page over the variants of `write_variants`, on a port that is free."""
    write_variants(folder / "checkpoints")
    return served(folder, free_port(), NARRATOR_CHECKPOINTS=str(folder / "checkpoints"))


@contextlib.contextmanager
def served(folder: Path, port: int, **environment: str) -> Iterator[Server]:
    """A page that runs until the block ends."""
    foreign = ("GRADIO_", "SPACE_", "NARRATOR_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    kept |= {"GRADIO_SERVER_PORT": str(port), "GRADIO_TEMP_DIR": str(folder / "uploads"),
             "NARRATOR_HISTORY": str(folder / "history"), **environment}
    log = folder / "log.txt"
    with log.open("w") as out:
        command = [sys.executable, str(ROOT / "tests" / "browser" / "serve.py")]
        process = subprocess.Popen(command, cwd=folder, env=kept, stdin=subprocess.DEVNULL, stdout=out,
                                   stderr=subprocess.STDOUT, start_new_session=True)
    try:
        address = f"http://127.0.0.1:{port}/"
        _await(address, process, log)
        yield Server(address=address, pid=process.pid, folder=folder)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _await(address: str, process: subprocess.Popen, log: Path) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end and process.poll() is None:
        try:
            urllib.request.urlopen(address, timeout=10).close()
            return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.2)
    pytest.fail(f"the page did not come up (exit code {process.poll()}):\n{log.read_text()[-4000:]}")


# Over HTTP every parameter is sent.
DEFAULTS: dict[str, list] = {"describe": [None, "", "", None], "speak": ["", None, 1.0, 50]}


def post(address: str, path: str, body: Any, host: str | None = None) -> tuple[int, str]:
    """(status, body) of a POST of JSON."""
    headers = {"Content-Type": "application/json"} | ({"Host": host} if host else {})
    request = urllib.request.Request(address + path, json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=WAIT_S) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def call(address: str, endpoint: str, *data: Any) -> tuple[str, Any]:
    """(event, data) of a call as curl would make it: POST for an id, GET for its events."""
    status, body = post(address, f"gradio_api/call/{endpoint}", {"data": [*data, *DEFAULTS[endpoint][len(data):]]})
    assert status == 200, body
    events = f"{address}gradio_api/call/{endpoint}/{json.loads(body)['event_id']}"
    with urllib.request.urlopen(events, timeout=WAIT_S) as answer:
        lines = [line for line in answer.read().decode().splitlines() if line.strip()]
    return lines[-2].removeprefix("event: "), json.loads(lines[-1].removeprefix("data: "))


def upload(address: str, name: str, content: bytes) -> str:
    """The path on the server of a file sent there. Raises urllib.error.HTTPError where it is not taken."""
    boundary = "xxBOUNDARYxx"
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
    request = urllib.request.Request(f"{address}gradio_api/upload",
                                     head.encode() + content + f"\r\n--{boundary}--\r\n".encode(),
                                     {"Content-Type": f"multipart/form-data; boundary={boundary}"})
    with urllib.request.urlopen(request, timeout=WAIT_S) as answer:
        return str(json.loads(answer.read())[0])


def press(address: str, event: dict[str, Any], data: list[Any]) -> dict[str, Any]:
    """What a private event of the page (one of `config`'s dependencies) comes to: success or not, and its output."""
    session = f"press{event['id']}-{time.monotonic_ns()}"
    status, text = post(address, "gradio_api/queue/join",
                        {"data": data, "fn_index": event["id"], "session_hash": session})
    assert status == 200, text
    with urllib.request.urlopen(f"{address}gradio_api/queue/data?session_hash={session}", timeout=WAIT_S) as answer:
        messages = [json.loads(line[6:]) for line in answer.read().decode().splitlines() if line.startswith("data: ")]
    return next(message for message in messages if message["msg"] == "process_completed")


def page_config(address: str) -> dict[str, Any]:
    """The page's components and dependencies, as a browser is told them."""
    with urllib.request.urlopen(f"{address}config", timeout=WAIT_S) as answer:
        found: dict[str, Any] = json.loads(answer.read())
    return found

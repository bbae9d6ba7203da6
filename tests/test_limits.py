"""What the server lets in and out, and where app.py can serve at all."""

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from narrator.ui import accessibility, limits

HOSTS = [("127.0.0.1:7860", True), ("localhost:7860", True), ("[::1]:7860", True), ("192.168.1.5:7860", True),
         ("evil.example", False), ("localhost.evil.example", False), ("", False), ("me.hf.space", False)]


@pytest.mark.parametrize(("host", "ours"), HOSTS)
def test_foreign_hosts_are_refused(host: str, ours: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SPACE_ID", "SPACE_HOST", "NARRATOR_HOSTS"):
        monkeypatch.delenv(name, raising=False)
    assert limits.host_is_ours(host) is ours


def test_more_hosts_are_ours_on_a_space_and_by_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NARRATOR_HOSTS", "narrator.lan, other.lan")
    assert limits.host_is_ours("other.lan:80") and not limits.host_is_ours("evil.example")
    monkeypatch.setenv("SPACE_ID", "a/b")
    assert limits.host_is_ours("a-b.hf.space") and not limits.host_is_ours("hf.space.evil.example")


@pytest.mark.parametrize(("host", "path"), [("evil.example", "/"), ("localhost", "/manifest.json"),
                                            ("localhost", "/icons/icon-192.png"), ("localhost", "/else")])
def test_every_answer_has_the_security_headers(host: str, path: str) -> None:
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def keep(message: Any) -> None:
        sent.append(message)
    scope = {"type": "http", "path": path, "headers": [(b"host", host.encode())]}
    asyncio.run(limits.Door(app)(scope, None, keep))  # type: ignore[arg-type]
    headers = dict(sent[0]["headers"])
    assert {b"content-security-policy", b"x-content-type-options", b"referrer-policy"} <= set(headers)


@pytest.mark.parametrize(("name", "port", "says"), [
    (None, "abc", "GRADIO_SERVER_PORT is 'abc'"), (None, "0", "from 1 to 65535"), (None, "70000", "from 1 to 65535"),
    (None, "TAKEN", "is taken by another program"), ("no.such.host.invalid", "7860", "no.such.host.invalid")])
def test_where_nothing_can_be_served_is_one_sentence(root: Path, name: str | None, port: str, says: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        place = {"GRADIO_SERVER_PORT": port.replace("TAKEN", str(other.getsockname()[1]))}
        place |= {"GRADIO_SERVER_NAME": name} if name else {}
        kept = {each: value for each, value in os.environ.items() if not each.startswith("GRADIO_")}
        done = subprocess.run([sys.executable, "app.py"], cwd=root, env=kept | place, capture_output=True, text=True,
                              timeout=300)
    assert (done.returncode, done.stdout) == (1, "")
    assert says in done.stderr and done.stderr.endswith(".\n") and done.stderr.count("\n") == 1


def test_every_icon_of_the_manifest_has_the_size_it_says() -> None:
    icons = limits.manifest()["icons"]
    assert len(icons) == 3 and {row["purpose"] for row in icons} == {"any", "maskable"}
    for row in icons:
        with Image.open(accessibility.ASSETS / Path(row["src"]).name) as icon:
            assert f"{icon.width}x{icon.height}" == row["sizes"]


def test_a_window_without_pywebview_is_told_in_a_sentence(root: Path) -> None:
    script = "import sys; sys.modules['webview'] = None; import app; sys.exit(app.main(['--window']))"
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2 and done.stderr.strip().count("\n") == 0 and "pip install" in done.stderr


WEBVIEW = """settings = {}
class WebViewException(Exception): pass
def create_window(*given, **named): pass
def start(**named): raise WebViewException("You must have either QT or GTK ...")
"""


def test_a_window_without_display_or_toolkit_is_told_in_a_sentence(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """pywebview as it is on Linux where nothing draws windows."""
    import app

    (tmp_path / "webview.py").write_text(WEBVIEW)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYWEBVIEW_LOG", "critical")
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    assert app.main(["--window"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "needs a display" in said and "use a browser" in said
    assert "pip install" in (app.show("http://127.0.0.1:1/") or "")
    del sys.modules["webview"]

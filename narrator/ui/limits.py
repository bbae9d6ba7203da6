"""What the server lets in and out: where it listens, which hosts may name it, what a page may load."""

from __future__ import annotations

import errno
import ipaddress
import json
import os
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

from narrator.records import NarratorError
from narrator.ui.accessibility import ASSETS

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

MAX_FILE = "20mb"
ICONS = {"/icons/icon-192.png": ("192x192", "any"), "/icons/icon-512.png": ("512x512", "any"),
         "/icons/icon-maskable-512.png": ("512x512", "maskable")}


def place() -> tuple[str, int]:
    """(host, port) to listen on: GRADIO_SERVER_NAME and GRADIO_SERVER_PORT, else 127.0.0.1 and 7860.

    Raises NarratorError for a port that is none or is taken, and for a name that is not this machine's.
    """
    name = os.environ.get("GRADIO_SERVER_NAME") or "127.0.0.1"
    given = os.environ.get("GRADIO_SERVER_PORT") or "7860"
    if not (given.isascii() and given.isdigit() and 0 < int(given) < 65536):
        raise NarratorError(f"GRADIO_SERVER_PORT is {given!r:.40}; set it to a number from 1 to 65535.")
    port = int(given)
    try:
        family, _, _, _, address = socket.getaddrinfo(name.strip("[]"), port, type=socket.SOCK_STREAM)[0]
        socket.create_server(address[:2], family=family).close()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise NarratorError(f"Port {port} is taken by another program; end that one, or choose another port, as in "
                                f"GRADIO_SERVER_PORT={port % 65535 + 1}.") from None
        reason = (error.strerror or str(error)).partition(" (")[0]
        raise NarratorError(f"The page cannot be served on {name}, port {port} ({reason}); change "
                            "GRADIO_SERVER_NAME or GRADIO_SERVER_PORT.") from None
    return name, port


def alone() -> bool:
    """Whether the page is served to this machine alone, and so to one person: not on a Space, not to a network."""
    name = (os.environ.get("GRADIO_SERVER_NAME") or "127.0.0.1").strip("[]")
    try:
        here = ipaddress.ip_address(name).is_loopback
    except ValueError:
        here = name == "localhost"
    return here and not os.environ.get("SPACE_ID")


def content_security_policy() -> str:
    """Everything from this server only. Gradio's own pages need inline scripts and `unsafe-eval`."""
    frames = "'self' https://huggingface.co https://*.hf.space" if os.environ.get("SPACE_ID") else "'self'"
    return ("default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
            "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; media-src 'self' data: blob:; "
            "font-src 'self' data:; connect-src 'self' data: blob:; worker-src 'self' blob:; object-src 'none'; "
            f"base-uri 'self'; form-action 'self'; frame-ancestors {frames}")


def host_is_ours(host: str) -> bool:
    """Whether a Host header may reach us. Foreign names are refused, since a page elsewhere can point its own name at
    this machine (DNS rebinding); an address in figures cannot be pointed anywhere. More names: NARRATOR_HOSTS=a,b."""
    name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    name = name.strip("[]").lower()
    try:
        ipaddress.ip_address(name)
        return True
    except ValueError:
        pass
    own = socket.gethostname().lower()
    known = {"localhost", own, f"{own}.local", os.environ.get("SPACE_HOST", "").lower(),
             *os.environ.get("NARRATOR_HOSTS", "").lower().replace(" ", "").split(",")} - {""}
    return name in known or (bool(os.environ.get("SPACE_ID")) and name.endswith(".hf.space"))


def manifest() -> dict[str, Any]:
    """What a browser needs to install the page as an app."""
    return {"id": "./", "name": "Visual Narrator", "short_name": "Narrator", "start_url": "./", "scope": "./",
            "description": "Describes a picture in words and reads them aloud, on this machine.", "lang": "en",
            "display": "standalone", "background_color": "#f7f5f0", "theme_color": "#0d4f5a",
            "icons": [{"src": f".{path}", "sizes": sizes, "type": "image/png", "purpose": purpose}
                      for path, (sizes, purpose) in ICONS.items()]}


class Door:
    """ASGI middleware: refuses foreign hosts, adds the security headers, serves manifest and icons."""

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self.app = app
        self.headers = [(b"content-security-policy", content_security_policy().encode()),
                        (b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer")]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        send = self._with_headers(send)
        host = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "")
        if not host_is_ours(host):
            await _answer(send, 400, b"text/plain; charset=utf-8",
                          b"This host name is not served here. Add it to NARRATOR_HOSTS if it is yours.")
        elif scope["path"] == "/manifest.json":
            await _answer(send, 200, b"application/manifest+json", json.dumps(manifest()).encode())
        elif scope["path"] in ICONS:
            await _answer(send, 200, b"image/png", (ASSETS / Path(scope["path"]).name).read_bytes())
        else:
            await self.app(scope, receive, send)

    def _with_headers(self, send: Send) -> Send:
        async def sender(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *self.headers]
            await send(message)
        return sender


async def _answer(send: Send, code: int, kind: bytes, body: bytes) -> None:
    await send({"type": "http.response.start", "status": code,
                "headers": [(b"content-type", kind), (b"content-length", str(len(body)).encode())]})
    await send({"type": "http.response.body", "body": body})


def launch_options() -> dict[str, Any]:
    """What `Blocks.launch` is given for safety and privacy: no statistics, monitoring, history or server rendering.

    `_frontend=False` leaves out a look of Gradio at its own page, which ends the program when a busy machine takes over
    three seconds for it; whether the place is free, `place` has looked.
    """
    from starlette.middleware import Middleware

    return {"_frontend": False, "max_file_size": MAX_FILE,
            "enable_monitoring": False, "ssr_mode": False, "run_history": False,
            "share": False, "pwa": True, "favicon_path": str(ASSETS / "mark.svg"), "footer_links": [],
            "allowed_paths": [str(ASSETS / "pictures")], "app_kwargs": {"middleware": [Middleware(Door)]}}

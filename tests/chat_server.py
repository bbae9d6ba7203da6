"""A small server that speaks OpenAI's chat completions, or misbehaves: which of the two, the model's name says."""

from __future__ import annotations

import json
import math
import random
import select
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

WORDS = ("a", "dog", "cat", "runs", "sits", "over", "the", "grass", "red", "sofa")
ERRORS = {"locked": 401, "unknown": 404, "busy": 429, "fails": 500, "refuses": 400}


class ChatServer:
    """On a free port of 127.0.0.1 while its block lasts. sent: pieces sent so far; gone: a client has hung up."""

    def __init__(self, pace_s: float = 0.0) -> None:
        self.pace_s = pace_s
        self.requests: list[dict[str, Any]] = []  # {"path", "headers", "body"}
        self.sent = 0
        self.gone = threading.Event()
        self._closing = threading.Event()

    def __enter__(self) -> ChatServer:
        handler = type("Handler", (_Handler,), {"chat": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def source(self, model: str) -> str:
        """The `source` of a variant."""
        return f"http://127.0.0.1:{self.port}/v1#{model}"

    def wait(self, connection: socket.socket, seconds: float) -> bool:
        """Whether the client is still there after so long; noticed at once when it is not."""
        while seconds >= 0 and not self._closing.is_set():
            step = min(seconds, 0.02)
            if select.select([connection], [], [], step)[0] and not connection.recv(1, socket.MSG_PEEK):
                self.gone.set()
                return False
            seconds -= max(step, 0.001)
        return not self._closing.is_set()


class _Handler(BaseHTTPRequestHandler):
    chat: ChatServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Nothing on the terminal."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.chat.requests.append({"path": self.path, "headers": dict(self.headers), "body": body})
        self.close_connection = True
        name = body["model"]
        if name in ERRORS:
            self._refuse(ERRORS[name], {"error": {"message": f"{self.headers.get('Authorization')} at {self._own()}"}})
        elif name == "no-logprobs" and body.get("logprobs"):
            self._refuse(400, {"error": {"message": "logprobs are not supported by this model"}})
        elif name == "moved":
            self._refuse(307, {}, Location=f"{self._own()}/elsewhere")
        else:
            try:
                self._answer(name, body)
            except OSError:  # the client has hung up
                self.chat.gone.set()

    def _own(self) -> str:
        return f"http://127.0.0.1:{self.chat.port}/v1"

    def _refuse(self, status: int, told: dict[str, Any], **headers: str) -> None:
        data = json.dumps(told).encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Type": "application/json", "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def _answer(self, name: str, body: dict[str, Any]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        if name == "breaks":
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        odd = {"garbage": b"<html>Welcome</html>\n", "half": b'data: {"choices": [\n\n', "endless": b"x" * 2**21,
               "list": b"data: [1, 2]\n\n",
               "error": b'data: {"error": {"message": "out of memory at '
                        + self._own().encode() + b'"}}\n\n'}.get(name)
        if odd is not None:
            self.wfile.write(odd)
        elif name == "silent":
            self.wfile.write(b": here\n\n")
            self.wfile.flush()
            self.chat.wait(self.connection, 60)
        elif name == "breaks":
            for word in ("a", " dog"):
                event = _event(word, 0.5)
                self.wfile.write(f"{len(event):x}\r\n".encode() + event + b"\r\n")
        else:
            self._say(name, body)

    def _say(self, name: str, body: dict[str, Any]) -> None:
        """Words that follow from the prompt, the pictures and, above temperature 0, the seed."""
        drawn = body["temperature"] and body.get("top_k") != 1
        asked = json.dumps(body["messages"]) + str(body["seed"] if drawn else "")
        chance = random.Random(asked)
        for number in range(min(body["max_tokens"], 8)):
            if not self.chat.wait(self.connection, self.chat.pace_s):
                return
            word, probability = (" " if number else "") + chance.choice(WORDS), chance.random()
            self.wfile.write(_event(word, probability if body.get("logprobs") else None))
            self.wfile.flush()
            self.chat.sent += 1
        if name != "ends-early":
            self.wfile.write(_event("", None, "stop") + b'data: {"choices": [], "usage": {}}\r\n\r\ndata: [DONE]\n\n')


def _event(text: str, probability: float | None, finish: str | None = None) -> bytes:
    choice: dict[str, Any] = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    if probability is not None:
        choice["logprobs"] = {"content": [{"token": text, "logprob": math.log(probability)}]}
    return b"data: " + json.dumps({"object": "chat.completion.chunk", "choices": [choice]}).encode() + b"\n\n"

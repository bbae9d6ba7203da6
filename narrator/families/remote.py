"""A model behind a server that speaks OpenAI's chat completions (vLLM and its like): text as it comes.

The address and the model's name come from the catalog (`source: http://127.0.0.1:8000/v1#model-name`), the key from the
environment variable NARRATOR_REMOTE_KEY. The fields of a request and of an answer are those of
https://platform.openai.com/docs/api-reference/chat; top_k and repetition_penalty are vLLM's.
"""

import asyncio
import base64
import contextlib
import io
import json
import math
import os
import re
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from queue import Empty, SimpleQueue
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx
from PIL import Image

from narrator.records import NarratorError, Piece, Variant
from narrator.settings import GenerationSettings

KEY = "NARRATOR_REMOTE_KEY"
LONG_SIDE = 1024  # pixels: what is larger is made smaller before it is sent
PROMPT = "Describe this picture in one sentence."
_BEAT_S = 0.1  # how often whoever reads may leave while the server says nothing
_AT_ONCE = 8  # requests of a batch that are under way together
_LINE = 2**20  # bytes: a longer line is no piece of an answer
_SAID = 200  # characters of a server's own words that are passed on

Tell = Callable[[Piece], None]


class Remote:
    """The family of variants whose `source` is a web address."""

    remote = True  # there is nothing to load or to download
    unsupported = ("num_beams", "no_repeat_ngram_size", "length_penalty")  # servers do not take them
    connect_s = 3.0
    silence_s = 60.0

    def __init__(self, variant: Variant, device: str) -> None:
        """Read the address; nothing is sent yet. Raises NarratorError when it is none."""
        self.variant = variant
        self.url, self.host, self.model_name = _address(variant)

    def stream(self, image: Image.Image | None, prompt: str, settings: GenerationSettings) -> Iterator[Piece]:
        """Yield a piece for each part of the answer, and empty ones while waiting. Closing the iterator closes the
        connection at once. Raises NarratorError that says what went wrong."""
        return self.stream_many([] if image is None else [image], prompt, settings)

    def stream_many(self, images: Sequence[Image.Image], prompt: str, settings: GenerationSettings) -> Iterator[Piece]:
        """The same about several pictures at once."""
        body = self._body(images, prompt, settings)
        yield from _run(lambda tell: self._ask(body, tell))

    def batch(self, images: Sequence[Image.Image | None], prompts: Sequence[str],
              settings: GenerationSettings) -> list[list[Piece]]:
        """One list of pieces for each input; some requests are under way together."""
        bodies = [self._body([] if image is None else [image], prompt, settings)
                  for image, prompt in zip(images, prompts, strict=True)]
        told: list[list[Piece]] = [[] for _ in bodies]

        async def ask_all(_: Tell) -> None:
            gate = asyncio.Semaphore(_AT_ONCE)

            async def ask(number: int) -> None:
                async with gate:
                    await self._ask(bodies[number], told[number].append)

            try:
                async with asyncio.TaskGroup() as group:
                    for number in range(len(bodies)):
                        group.create_task(ask(number))
            except BaseExceptionGroup as errors:
                raise errors.exceptions[0] from None

        for _ in _run(ask_all):
            pass
        return told

    def close(self) -> None:
        """Nothing is held."""

    def _body(self, images: Sequence[Image.Image], prompt: str, settings: GenerationSettings) -> dict[str, Any]:
        if self.variant.inputs.image and not images:
            raise NarratorError(f"{self.variant.title} describes pictures. Add a picture first.")
        content: list[dict[str, Any]] = [{"type": "image_url", "image_url": {"url": data_url(image)}}
                                         for image in images]
        content.append({"type": "text", "text": prompt or self.variant.default_prompt or PROMPT})
        body = {"model": self.model_name, "messages": [{"role": "user", "content": content}], "stream": True,
                "logprobs": True, "max_tokens": settings.max_new_tokens, "temperature": settings.temperature,
                "top_p": settings.top_p, "seed": settings.seed}
        if settings.top_k:
            body["top_k"] = settings.top_k
        if settings.repetition_penalty != 1.0:
            body["repetition_penalty"] = settings.repetition_penalty
        return body

    async def _ask(self, body: dict[str, Any], tell: Tell) -> None:
        """Send one request and tell the pieces of its answer."""
        try:
            status, said = await self._send(body, tell)
            if status in (400, 422) and "logprobs" in said:  # a server that cannot tell probabilities
                status, said = await self._send({**body, "logprobs": False}, tell)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            raise NarratorError(f"No server can be reached at {self.host}: start it, or correct the variant's "
                                "'source'.") from None
        except httpx.TimeoutException:
            raise NarratorError(f"{self.host} said nothing for {self.silence_s:g} seconds: try again, or look after "
                                "the server.") from None
        except httpx.TransportError:
            raise self._broken() from None
        if status != 200:
            raise NarratorError(self._refusal(status, said))

    async def _send(self, body: dict[str, Any], tell: Tell) -> tuple[int, str]:
        """(status, what the server said about it); the answer itself goes to `tell`."""
        # The transport alone: no redirects, no proxies or passwords of the environment, no line in the log.
        async with httpx.AsyncHTTPTransport(trust_env=False) as transport:
            timeouts = httpx.Timeout(self.silence_s, connect=self.connect_s).as_dict()
            request = httpx.Request("POST", self.url, headers=_headers(), json=body, extensions={"timeout": timeouts})
            response = await transport.handle_async_request(request)
            try:
                if response.status_code == 200:
                    await self._listen(response, tell)
                    return 200, ""
                said = b""
                async for part in response.aiter_raw():
                    said = (said + part)[:4096]
                return response.status_code, said.decode(errors="replace")
            finally:
                await response.aclose()

    async def _listen(self, response: httpx.Response, tell: Tell) -> None:
        """Server-sent events: lines of `data: {json}`, the last one `data: [DONE]`."""
        finished = False
        chances: list[float] = []
        async for line in _lines(response):
            if line.startswith(b":") or not line.strip():
                continue
            name, _, data = line.partition(b":")
            if name in (b"event", b"id", b"retry"):
                continue
            if name == b"data" and data.strip() == b"[DONE]":
                return
            text, logprobs, ended = self._read(data if name == b"data" else b"")
            finished, chances = finished or ended, chances + logprobs
            if text:
                tell(Piece(text=text, probability=sum(chances) / len(chances) if chances else None,
                           tokens=max(1, len(chances))))
                chances = []
        if not finished:
            raise self._broken()

    def _read(self, data: bytes) -> tuple[str, list[float], bool]:
        """(text, probabilities of its tokens, whether it is the last) of one event."""
        try:
            event = json.loads(data)
            if event.get("error") or event.get("object") == "error":
                raise NarratorError(f"{self.host} ended its answer with an error ({self._quoted(data.decode())}): try "
                                    "again, or look after the server.")
            choices = event["choices"]
            if not choices:  # the count of tokens at the end
                return "", [], False
            text = choices[0].get("delta", {}).get("content") or ""
            told = (choices[0].get("logprobs") or {}).get("content") or []
            chances = [math.exp(min(0.0, float(token["logprob"]))) for token in told]
            if not isinstance(text, str):
                raise TypeError(text)
            return text, chances, bool(choices[0].get("finish_reason"))
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):
            raise NarratorError(f"{self.host} sent something that is not a chat completion: check that the variant's "
                                "'source' leads to an OpenAI-compatible server.") from None

    def _broken(self) -> NarratorError:
        return NarratorError(f"{self.host} broke off in the middle of its answer: try again, or look after the server.")

    def _refusal(self, status: int, said: str) -> str:
        if status in (401, 403):
            known = "does not accept the key" if _headers().get("Authorization") else "asks for a key"
            return f"{self.host} {known}: set the environment variable {KEY} to a valid one."
        if status == 404:
            return (f"{self.host} knows no model '{self.model_name}', or answers no chat completions there: correct "
                    "the variant's 'source'.")
        if status == 429:
            return f"{self.host} takes no more requests for now: wait a moment, then try again."
        if 300 <= status < 400:
            return (f"{self.host} wants the request sent elsewhere, which is not done: give its final address as the "
                    "variant's 'source'.")
        if status >= 500:
            return f"{self.host} failed (status {status}): try again later, or look after the server."
        return (f"{self.host} refused the request (status {status}: {self._quoted(said)}): change the settings or the "
                "picture.")

    def _quoted(self, said: str) -> str:
        """The server's own words in a line, without the key and the address."""
        with contextlib.suppress(ValueError, AttributeError):
            told = json.loads(said)
            told = told.get("error") or told
            said = told if isinstance(told, str) else str(told.get("message") or told.get("detail") or said)
        said = re.sub(r"https?://\S+", "…", " ".join(said.split()))
        for secret in (os.environ.get(KEY, "").strip(), urlsplit(self.url).netloc):
            if secret and secret != self.host:
                said = said.replace(secret, "…")
        return said if len(said) <= _SAID else said[:_SAID - 1] + "…"


def data_url(picture: Image.Image) -> str:
    """The picture as JPEG in a data URL, its long side at most LONG_SIDE pixels."""
    small = picture.convert("RGB")
    small.thumbnail((LONG_SIDE, LONG_SIDE), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    small.save(file, "JPEG", quality=90)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def _address(variant: Variant) -> tuple[str, str, str]:
    """(address of the chat completions, host name, model name) of a variant's source."""
    try:
        parts = urlsplit(variant.source)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or parts.scheme not in ("http", "https") or not parts.fragment or parts.query or "@" in parts.netloc:
        # What was written is not repeated: it may hold a password.
        raise NarratorError(f"{variant.title}: its 'source' must look like http://127.0.0.1:8000/v1#model-name, with "
                            f"no name and password in it; a key belongs in the environment variable {KEY}.")
    named = f"[{host}]" if ":" in host else host
    place = named if port is None else f"{named}:{port}"
    return urlunsplit((parts.scheme, place, parts.path.rstrip("/") + "/chat/completions", "", "")), host, parts.fragment


def _headers() -> dict[str, str]:
    key = os.environ.get(KEY, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise NarratorError(f"The environment variable {KEY} holds signs that no key has: set it again.")
    headers = {"Accept": "text/event-stream", "Accept-Encoding": "identity"}
    return {**headers, "Authorization": f"Bearer {key}"} if key else headers


async def _lines(response: httpx.Response) -> AsyncIterator[bytes]:
    rest = b""
    async for part in response.aiter_raw():
        *whole, rest = (rest + part).split(b"\n")
        for line in whole:
            yield line.rstrip(b"\r")
        if len(rest) > _LINE:
            break
    yield rest


def _run(work: Callable[[Tell], Coroutine[Any, Any, None]]) -> Iterator[Piece]:
    """Yield what `work` tells, from a thread with an event loop of its own: cancelled when its reader leaves, which
    closes its connections even while a server is silent."""
    told: SimpleQueue[Piece | BaseException | None] = SimpleQueue()
    loop = asyncio.new_event_loop()
    task = loop.create_task(work(told.put))

    def run() -> None:
        try:
            loop.run_until_complete(task)
        except asyncio.CancelledError:
            pass
        except BaseException as error:  # raised again in the thread that reads
            told.put(error)
        finally:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()
            told.put(None)

    worker = threading.Thread(target=run, daemon=True, name="remote")
    worker.start()
    try:
        while True:
            try:
                piece = told.get(timeout=_BEAT_S)
            except Empty:
                yield Piece(text="", tokens=0)
                continue
            if piece is None:
                return
            if isinstance(piece, BaseException):
                raise piece
            yield piece
    finally:
        with contextlib.suppress(RuntimeError):  # the loop is closed: it has ended by itself
            loop.call_soon_threadsafe(task.cancel)
        worker.join()

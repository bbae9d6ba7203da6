"""The family behind a server: a real one on 127.0.0.1 that answers, stays silent, breaks off, refuses and lies."""

import base64
import dataclasses
import io
import logging
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from chat_server import ERRORS, ChatServer
from PIL import Image

from narrator.families.remote import KEY, LONG_SIDE, Remote, data_url
from narrator.records import Inputs, NarratorError, Piece, Variant
from narrator.settings import GenerationSettings

SECRET = "sk-wonderful-42"
SETTINGS = GenerationSettings(num_beams=1, no_repeat_ngram_size=0)
PICTURE = Image.new("RGB", (60, 40), "orange")


@pytest.fixture(scope="module")
def server() -> Iterator[ChatServer]:
    with ChatServer() as running:
        yield running


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, SECRET)


def variant(source: str, **changes) -> Variant:
    return Variant(**{"id": "far", "title": "The far one", "family": "remote", "source": source,
                      "inputs": Inputs(image=True, text=True), **changes})


def remote(server: ChatServer, model: str = "says", **changes) -> Remote:
    return Remote(variant(server.source(model), **changes), "cpu")


def said(pieces: list[Piece]) -> str:
    return "".join(piece.text for piece in pieces)


def test_pieces_come_with_the_servers_probabilities(server: ChatServer) -> None:
    pieces = [piece for piece in remote(server).stream(PICTURE, "What is it?", SETTINGS) if piece.tokens]
    assert len(pieces) == 8 and said(pieces).count(" ") == 7
    assert all(piece.probability is not None and 0 <= piece.probability <= 1 for piece in pieces)
    assert len({piece.probability for piece in pieces}) == 8


def test_what_is_sent(server: ChatServer) -> None:
    settings = dataclasses.replace(SETTINGS, max_new_tokens=7, temperature=0.5, top_p=0.9, seed=3)
    list(remote(server).stream(Image.new("RGBA", (3000, 1500), "red"), "What is it?", settings))
    sent = server.requests[-1]
    assert sent["path"] == "/v1/chat/completions"
    assert sent["headers"]["Authorization"] == f"Bearer {SECRET}"
    body = sent["body"]
    picture, text = body.pop("messages")[0]["content"]
    assert body == {"model": "says", "stream": True, "logprobs": True, "max_tokens": 7, "temperature": 0.5,
                    "top_p": 0.9, "seed": 3}
    assert text == {"type": "text", "text": "What is it?"}
    start, _, data = picture["image_url"]["url"].partition(",")
    assert start == "data:image/jpeg;base64"
    with Image.open(io.BytesIO(base64.b64decode(data))) as opened:
        assert (opened.format, opened.size) == ("JPEG", (LONG_SIDE, LONG_SIDE // 2))


def test_extra_settings_go_only_where_they_were_changed(server: ChatServer) -> None:
    list(remote(server).stream(PICTURE, "", dataclasses.replace(SETTINGS, top_k=5, repetition_penalty=1.5)))
    body = server.requests[-1]["body"]
    assert (body["top_k"], body["repetition_penalty"]) == (5, 1.5)
    assert {"num_beams", "no_repeat_ngram_size", "length_penalty"} == set(Remote.unsupported)


def test_no_key_no_header_and_the_prompt_of_the_variant(server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY)
    list(remote(server, default_prompt="Tell me all.").stream(PICTURE, "", SETTINGS))
    assert "Authorization" not in server.requests[-1]["headers"]
    assert server.requests[-1]["body"]["messages"][0]["content"][1]["text"] == "Tell me all."


def test_several_pictures_and_none(server: ChatServer) -> None:
    list(remote(server).stream_many([PICTURE, PICTURE], "Which one?", SETTINGS))
    assert [part["type"] for part in server.requests[-1]["body"]["messages"][0]["content"]] == [
        "image_url", "image_url", "text"]
    before = len(server.requests)
    with pytest.raises(NarratorError, match="Add a picture first"):
        list(remote(server).stream(None, "", SETTINGS))
    assert len(server.requests) == before
    list(remote(server, inputs=Inputs(image=False, text=True)).stream(None, "Hello", SETTINGS))
    assert len(server.requests[-1]["body"]["messages"][0]["content"]) == 1


def test_a_batch_says_what_each_says_alone(server: ChatServer) -> None:
    family, prompts = remote(server), ["one", "two", "three"]
    alone = [said(list(family.stream(PICTURE, prompt, SETTINGS))) for prompt in prompts]
    assert [said(pieces) for pieces in family.batch([PICTURE] * 3, prompts, SETTINGS)] == alone
    assert len(set(alone)) == 3
    assert family.batch([], [], SETTINGS) == []
    with pytest.raises(NarratorError, match="takes no more requests"):
        remote(server, "busy").batch([PICTURE] * 3, prompts, SETTINGS)


def test_a_server_without_probabilities(server: ChatServer) -> None:
    pieces = [piece for piece in remote(server, "no-logprobs").stream(PICTURE, "", SETTINGS) if piece.tokens]
    assert len(pieces) == 8 and {piece.probability for piece in pieces} == {None}


FAULTS = {
    "locked": "127.0.0.1 does not accept the key: set the environment variable NARRATOR_REMOTE_KEY",
    "unknown": "127.0.0.1 knows no model 'unknown'",
    "busy": "127.0.0.1 takes no more requests for now: wait",
    "fails": "127.0.0.1 failed (status 500): try again later",
    "refuses": "127.0.0.1 refused the request (status 400: Bearer … at …): change",
    "moved": "127.0.0.1 wants the request sent elsewhere, which is not done",
    "garbage": "127.0.0.1 sent something that is not a chat completion: check",
    "half": "127.0.0.1 sent something that is not a chat completion: check",
    "list": "127.0.0.1 sent something that is not a chat completion: check",
    "endless": "127.0.0.1 sent something that is not a chat completion: check",
    "error": "127.0.0.1 ended its answer with an error (out of memory at …): try",
    "breaks": "127.0.0.1 broke off in the middle of its answer: try again",
    "ends-early": "127.0.0.1 broke off in the middle of its answer: try again",
}


@pytest.mark.parametrize("model", FAULTS)
def test_every_failure_is_one_sentence_without_key_and_address(server: ChatServer, model: str,
                                                               caplog: pytest.LogCaptureFixture) -> None:
    before = len(server.requests)
    told: list[Piece] = []
    with caplog.at_level(logging.INFO), pytest.raises(NarratorError) as error:
        told.extend(remote(server, model).stream(PICTURE, "", SETTINGS))
    message = str(error.value)
    assert message.startswith(FAULTS[model]) and message.endswith(".")
    for secret in (SECRET, str(server.port), "/v1"):
        assert secret not in message + caplog.text
    assert len(server.requests) == before + 1  # nothing was tried again or sent elsewhere
    assert set(ERRORS) < set(FAULTS)


def test_a_key_is_asked_for_where_none_was_sent(server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, "")
    with pytest.raises(NarratorError, match=r"127\.0\.0\.1 asks for a key: set the environment variable"):
        list(remote(server, "locked").stream(PICTURE, "", SETTINGS))
    monkeypatch.setenv(KEY, "schlüssel\n1")
    with pytest.raises(NarratorError, match="NARRATOR_REMOTE_KEY holds signs that no key has") as error:
        list(remote(server).stream(PICTURE, "", SETTINGS))
    assert "schl" not in str(error.value)


def test_nobody_listens(free_port: int) -> None:
    family = Remote(variant(f"http://127.0.0.1:{free_port}/v1#some"), "cpu")
    with pytest.raises(NarratorError, match=r"No server can be reached at 127\.0\.0\.1: start it") as error:
        list(family.stream(PICTURE, "", SETTINGS))
    assert str(free_port) not in str(error.value)


def test_a_server_that_never_accepts_is_given_up_on() -> None:
    """A listener whose queue is full: connecting hangs, and must not."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        with socket.create_connection(listener.getsockname()):
            family = Remote(variant(f"http://127.0.0.1:{listener.getsockname()[1]}#some"), "cpu")
            family.connect_s, family.silence_s = 0.3, 0.5
            with pytest.raises(NarratorError, match=r"No server can be reached|said nothing for 0\.5 seconds"):
                list(family.stream(PICTURE, "", SETTINGS))


def test_silence_ends_in_a_sentence_and_stopping_hangs_up_at_once(server: ChatServer) -> None:
    assert (Remote.connect_s, Remote.silence_s) == (3.0, 60.0)
    family = remote(server, "silent")
    family.silence_s = 0.4
    with pytest.raises(NarratorError, match=r"127\.0\.0\.1 said nothing for 0\.4 seconds"):
        list(family.stream(PICTURE, "", SETTINGS))
    assert server.gone.wait(10)
    server.gone.clear()
    before = len(server.requests)
    stream = remote(server, "silent").stream(PICTURE, "", SETTINGS)
    assert next(stream) == Piece(text="", tokens=0)  # whoever reads can leave while nothing comes
    while len(server.requests) == before:
        assert next(stream).tokens == 0
    started = time.monotonic()
    stream.close()  # type: ignore[attr-defined]
    assert time.monotonic() - started < 10 and server.gone.wait(10)
    assert not [thread for thread in threading.enumerate() if thread.name == "remote"]


@pytest.mark.parametrize("source", [
    "http://127.0.0.1:8000/v1", "ftp://127.0.0.1/v1#some", "file:///etc/passwd#some", "http:///v1#some",
    "http://name:wonderful@127.0.0.1/v1#some", "http://127.0.0.1:99999/v1#some", "http://127.0.0.1/v1?key=wonderful#some",
    "owner/name"])
def test_addresses_that_are_none(source: str) -> None:
    with pytest.raises(NarratorError, match="The far one: its 'source' must look like") as error:
        Remote(variant(source), "cpu")
    assert "wonderful" not in str(error.value)


@pytest.mark.parametrize(("source", "url", "model"), [
    ("http://127.0.0.1:8000/v1#Qwen/Qwen2.5-VL-3B", "http://127.0.0.1:8000/v1/chat/completions", "Qwen/Qwen2.5-VL-3B"),
    ("https://models.example/v1/#m", "https://models.example/v1/chat/completions", "m"),
    ("http://[::1]:8000#m", "http://[::1]:8000/chat/completions", "m")])
def test_addresses(source: str, url: str, model: str) -> None:
    family = Remote(variant(source), "cpu")
    assert (family.url, family.model_name) == (url, model)


def test_pictures_are_never_made_larger() -> None:
    with Image.open(io.BytesIO(base64.b64decode(data_url(PICTURE).partition(",")[2]))) as opened:
        assert opened.size == PICTURE.size

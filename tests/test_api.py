"""The named endpoints through the clients that people use: gradio_client and plain HTTP."""

import json
import re
import socket
import urllib.error
import urllib.parse
import urllib.request
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image
from serving import PICTURES, served, write_variants

WAIT_S = 300  # seconds; half a second on an idle machine
CAT = PICTURES / "cat.jpg"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("api")


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    write_variants(folder / "checkpoints")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with served(folder, port, NARRATOR_CHECKPOINTS=str(folder / "checkpoints")) as running:
        yield running


@pytest.fixture(scope="module")
def client(address: str, folder: Path) -> Client:
    return Client(address, download_files=folder / "downloads", verbose=False)


def post(address: str, path: str, body: Any, host: str | None = None) -> tuple[int, str]:
    """(status, body) of a POST of JSON."""
    headers = {"Content-Type": "application/json"} | ({"Host": host} if host else {})
    request = urllib.request.Request(address + path, json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=WAIT_S) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


# Over HTTP every parameter is sent.
DEFAULTS: dict[str, list] = {"describe": [None, "", "", None], "speak": ["", None, 1.0, 50]}


def call(address: str, endpoint: str, *data: Any) -> tuple[str, Any]:
    """(event, data) of a call as curl would make it: POST for an id, GET for its events."""
    status, body = post(address, f"gradio_api/call/{endpoint}", {"data": [*data, *DEFAULTS[endpoint][len(data):]]})
    assert status == 200, body
    events = f"{address}gradio_api/call/{endpoint}/{json.loads(body)['event_id']}"
    with urllib.request.urlopen(events, timeout=WAIT_S) as answer:
        lines = [line for line in answer.read().decode().splitlines() if line.strip()]
    return lines[-2].removeprefix("event: "), json.loads(lines[-1].removeprefix("data: "))


def loudness(path: Path) -> tuple[float, float, int]:
    """(seconds, RMS of int16 samples, rate in Hz) of a mono 16-bit WAV."""
    with wave.open(str(path)) as sound:
        assert (sound.getnchannels(), sound.getsampwidth()) == (1, 2)
        samples = np.frombuffer(sound.readframes(sound.getnframes()), dtype=np.int16).astype(np.float64)
        return len(samples) / sound.getframerate(), float(np.sqrt((samples**2).mean())), sound.getframerate()


def test_only_the_two_endpoints_are_named_and_they_say_what_they_take(client: Client) -> None:
    named = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert set(named) == {"/describe", "/speak"}
    taken = {name: [row["parameter_name"] for row in named[name]["parameters"]] for name in named}
    assert taken == {"/describe": ["picture", "variant", "prompt", "settings"],
                     "/speak": ["text", "voice", "speed", "pitch"]}
    assert "Describe a picture" in named["/describe"]["description"]


def test_a_photograph_is_described_with_the_figures(client: Client) -> None:
    answer = client.predict(handle_file(str(CAT)), "tiny-captioner", "", {"num_beams": 1, "max_new_tokens": 12},
                            api_name="/describe")
    assert set(answer) == {"variant", "text", "tokens", "first_token_s", "total_s", "confidence", "uncertain"}
    assert answer["variant"] == "tiny-captioner" and 1 <= answer["tokens"] <= 12 and len(answer["text"]) > 3
    assert 0 < answer["first_token_s"] <= answer["total_s"] < 60 and 0 < answer["confidence"] <= 1


def test_the_same_settings_give_the_same_text_and_others_another(client: Client) -> None:
    def say(seed: int) -> str:
        settings = {"temperature": 1.5, "num_beams": 1, "seed": seed, "max_new_tokens": 30}
        return client.predict(handle_file(str(CAT)), "tiny-captioner", "", settings, api_name="/describe")["text"]
    assert say(1) == say(1)
    assert len({say(seed) for seed in range(4)}) > 1


def test_a_named_default_variant_is_not_needed(client: Client) -> None:
    assert client.predict(picture=handle_file(str(CAT)), api_name="/describe")["text"]


def test_speech_comes_as_a_sound_that_sounds(client: Client) -> None:
    answer = client.predict("A dog runs. A cat sleeps.", api_name="/speak")
    seconds, rms, rate = loudness(Path(answer["audio"]))
    assert rate == answer["rate_hz"] == 22050 and rms > 300
    assert seconds == pytest.approx(answer["seconds"], abs=0.01) and 1 < seconds < 6
    assert [mark["text"] for mark in answer["marks"]] == ["A dog runs.", "A cat sleeps."]


def test_speed_and_pitch_are_heard(client: Client) -> None:
    text = "A man in a red coat walks along the beach with two dogs."
    slow = client.predict(text, speed=0.8, api_name="/speak")["seconds"]
    fast = client.predict(text, speed=2.0, pitch=90, api_name="/speak")["seconds"]
    assert 2.0 < slow / fast < 3.2


def test_plain_http_describes_and_speaks(address: str, folder: Path) -> None:
    boundary = "xxBOUNDARYxx"
    body = (f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="cat.jpg"\r\n'
            "Content-Type: image/jpeg\r\n\r\n").encode() + CAT.read_bytes() + f"\r\n--{boundary}--\r\n".encode()
    request = urllib.request.Request(f"{address}gradio_api/upload", body,
                                     {"Content-Type": f"multipart/form-data; boundary={boundary}"})
    with urllib.request.urlopen(request, timeout=WAIT_S) as answer:
        uploaded = json.loads(answer.read())[0]
    event, data = call(address, "describe", {"path": uploaded}, "tiny-captioner", "", {"max_new_tokens": 8})
    assert event == "complete" and data[0]["variant"] == "tiny-captioner"
    event, data = call(address, "speak", "Two dogs play.")
    assert event == "complete"
    with urllib.request.urlopen(urllib.parse.urljoin(address, data[0]["audio"]["url"]), timeout=WAIT_S) as answer:
        (folder / "got.wav").write_bytes(answer.read())
    assert loudness(folder / "got.wav")[1] > 300


MARK = {"_type": "gradio.FileData"}
REFUSED = [
    pytest.param({"path": "/etc/passwd"}, "not uploaded", id="a file of the server"),
    pytest.param("/etc/passwd", "not uploaded", id="a bare path"),
    pytest.param({"path": str(CAT)}, "not uploaded", id="an example of ours, by its path"),
    pytest.param({"path": "UPLOADS/../log.txt"}, "not uploaded", id="dots"),
    pytest.param({"path": "UPLOADS/link.jpg"}, "not uploaded", id="a symbolic link out of the folder"),
    pytest.param({"path": "a\0b"}, "not uploaded", id="a NUL"),
    pytest.param({"path": ["/etc/passwd"]}, "not uploaded", id="a list as a path"),
    pytest.param({"path": "http://127.0.0.1:9/cat.jpg"}, "web addresses are not read", id="a web address"),
    pytest.param({"url": "http://127.0.0.1:9/cat.jpg"}, "give it one first", id="an address and no path"),
    pytest.param(None, "give it one first", id="no picture"),
]


@pytest.mark.parametrize(("picture", "sentence"), REFUSED)
def test_a_picture_that_was_not_uploaded_is_refused(address: str, folder: Path, picture: Any, sentence: str) -> None:
    uploads = folder / "uploads"
    link = uploads / "link.jpg"
    if not link.is_symlink():
        uploads.mkdir(exist_ok=True)
        link.symlink_to(CAT)
    if isinstance(picture, dict) and str(picture.get("path", "")).startswith("UPLOADS/"):
        picture = {"path": str(uploads) + picture["path"].removeprefix("UPLOADS")}
    event, data = call(address, "describe", picture, "tiny-captioner")
    assert event == "error" and sentence in data["error"] and "root:" not in json.dumps(data)


def test_gradios_own_mark_opens_no_other_door(address: str) -> None:
    """With the mark, Gradio resolves the file itself before our guard sees it: still nothing comes out."""
    event, data = call(address, "describe", {"path": "/etc/passwd", "meta": MARK}, "tiny-captioner")
    assert event == "error" and "root:" not in json.dumps(data)


@pytest.mark.parametrize("mark", [{}, {"meta": MARK}], ids=["bare", "marked"])
@pytest.mark.parametrize("path", ["/etc/passwd", "http://127.0.0.1:9/cat.jpg", str(CAT)])
def test_the_pages_private_handlers_refuse_them_too(address: str, path: str, mark: dict) -> None:
    """Private events can still be called by their number; each that takes a picture is tried."""
    with urllib.request.urlopen(f"{address}config", timeout=WAIT_S) as answer:
        config = json.loads(answer.read())
    picture = next(row["id"] for row in config["components"] if row["props"].get("elem_id") == "picture")
    defaults = {row["id"]: row["props"].get("value") for row in config["components"]}
    takers = [row for row in config["dependencies"] if picture in row["inputs"] and row["backend_fn"]]
    assert len(takers) >= 2
    for row in takers:
        data = [{"path": path, **mark} if each == picture else defaults[each] for each in row["inputs"]]
        body = {"data": data, "fn_index": row["id"], "session_hash": f"probe{row['id']}"}
        status, text = post(address, "gradio_api/queue/join", body)
        assert status == 200, text
        stream = f"{address}gradio_api/queue/data?session_hash=probe{row['id']}"
        with urllib.request.urlopen(stream, timeout=WAIT_S) as answer:
            events = answer.read().decode()
        last = [json.loads(line[6:]) for line in events.splitlines() if line.startswith("data: ")]
        done = next(each for each in last if each["msg"] == "process_completed")
        assert done["success"] is False and "root:" not in events


BAD_CALLS: list[Any] = [
    pytest.param("describe", (None, "photo-captoner"), "There is no variant 'photo-captoner'", id="unknown variant"),
    pytest.param("describe", (None, "damaged"), "is not valid YAML", id="damaged checkpoint"),
    pytest.param("describe", (None, 5), "variant must be text", id="variant that is a number"),
    pytest.param("describe", (None, "tiny-captioner", "", {"num_beems": 1}), "Did you mean 'num_beams'?", id="a typo"),
    pytest.param("describe", (None, "tiny-captioner", "", {"num_beams": 99}), "between 1 and 10", id="out of range"),
    pytest.param("describe", (None, "tiny-captioner", "", {"num_beams": "many"}), "whole number", id="not a number"),
    pytest.param("describe", (None, "tiny-captioner", "", [1]), "must be an object", id="settings that are a list"),
    pytest.param("describe", (None, "with-prompt", "x" * 5000), "give it one first", id="no picture for a question"),
    pytest.param("speak", ("",), "no text", id="empty text"),
    pytest.param("speak", (None,), "no text", id="no text"),
    pytest.param("speak", ({"a": 1},), "text must be text", id="text that is an object"),
    pytest.param("speak", ("hello", "klingon-of-mars"), "There is no voice", id="unknown voice"),
    pytest.param("speak", ("hello", None, 99), "between", id="too fast"),
    pytest.param("speak", ("hello", None, "quick"), "must be a number", id="speed in words"),
]


@pytest.mark.parametrize(("endpoint", "data", "sentence"), BAD_CALLS)
def test_a_bad_call_is_answered_with_a_sentence(address: str, endpoint: str, data: tuple, sentence: str) -> None:
    event, answer = call(address, endpoint, *data)
    assert event == "error" and sentence in answer["error"], answer
    assert "Traceback" not in answer["error"]


def bad_files(folder: Path) -> dict[str, tuple[Path, str]]:
    """name -> (file, words of the sentence that answers it)."""
    folder.mkdir(exist_ok=True)
    whole = CAT.read_bytes()
    contents = {"letter.jpg": (b"%PDF-1.7\n1 0 obj\n", "not a picture (it starts with %PDF)"),
                "cut.jpg": (whole[:len(whole) // 3], "damaged or cut short"), "empty.png": (b"", "empty"),
                "page.gif": (b"<html><script>alert(1)</script>", "not a picture")}
    for name, (content, _) in contents.items():
        (folder / name).write_bytes(content)
    found = {name: (folder / name, says) for name, (_, says) in contents.items()}
    Image.new("1", (20_000, 20_000)).save(folder / "bomb.png")
    found["bomb.png"] = (folder / "bomb.png", "million pixels")
    Image.new("RGB", (1, 1), "red").save(folder / "dot.png")
    return found


@pytest.mark.parametrize("name", ["letter.jpg", "cut.jpg", "empty.png", "page.gif", "bomb.png"])
def test_a_bad_file_is_refused_and_the_server_stays(client: Client, folder: Path, name: str) -> None:
    path, says = bad_files(folder / "bad")[name]
    with pytest.raises(AppError, match=re.escape(says)):
        client.predict(handle_file(str(path)), "tiny-captioner", api_name="/describe")
    assert client.predict(handle_file(str(CAT)), "tiny-captioner", api_name="/describe")["text"]


def test_a_picture_of_one_pixel_is_not_invented_upon(client: Client, folder: Path) -> None:
    bad_files(folder / "bad")
    answer = client.predict(handle_file(str(folder / "bad" / "dot.png")), "tiny-captioner", api_name="/describe")
    assert answer["text"] == "This picture holds almost nothing to describe."


def test_a_file_over_twenty_megabytes_is_not_taken(address: str) -> None:
    boundary = "xxBOUNDARYxx"
    body = (f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="big.jpg"\r\n\r\n').encode()
    body += b"\xff" * (20 * 1024 * 1024 + 1) + f"\r\n--{boundary}--\r\n".encode()
    request = urllib.request.Request(f"{address}gradio_api/upload", body,
                                     {"Content-Type": f"multipart/form-data; boundary={boundary}"})
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=WAIT_S)
    assert caught.value.code == 413


@pytest.mark.parametrize("path", ["gradio_api/file=/etc/passwd", "monitoring", "gradio_api/file=log.txt",
                                  "gradio_api/proxy=http://127.0.0.1:9/"])
def test_no_side_door(address: str, path: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(address + path, timeout=WAIT_S)
    assert caught.value.code in (400, 403, 404)


def test_a_foreign_host_name_is_refused(address: str) -> None:
    status, text = post(address, "gradio_api/call/describe", {"data": [None]}, host="evil.example")
    assert status == 400 and "NARRATOR_HOSTS" in text

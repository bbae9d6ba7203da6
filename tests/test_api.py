"""The named endpoints through the clients that people use: gradio_client and plain HTTP."""

import os
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from serving import PICTURES, WAIT_S, Server, call, post, upload

CAT = PICTURES / "cat.jpg"


@pytest.fixture(scope="module")
def client(server: Server) -> Client:
    return Client(server.address, download_files=server.folder / "downloads", verbose=False)


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


def test_the_example_of_the_readme_describes_and_speaks(server: Server, root: Path, tmp_path: Path) -> None:
    (example,) = re.findall(r"^```python\n(.*?)^```$", (root / "README.md").read_text(encoding="utf-8"), re.M | re.S)
    assert 'Client("http://127.0.0.1:7860")' in example
    shutil.copy(CAT, tmp_path / "photo.jpg")
    example = example.replace("http://127.0.0.1:7860", server.address)
    done = subprocess.run([sys.executable, "-c", example], cwd=tmp_path,
                          env=os.environ | {"TMPDIR": str(tmp_path)}, capture_output=True, text=True, timeout=WAIT_S)
    assert done.returncode == 0, done.stderr
    *_, text, sound = done.stdout.strip().splitlines()  # the client greets first
    seconds, loudness_of, _ = loudness(Path(sound))
    assert len(text) > 3 and 1 < seconds < 5 and loudness_of > 300


def test_the_same_settings_give_the_same_text_and_others_another(client: Client) -> None:
    def say(seed: int) -> str:
        settings = {"temperature": 1.5, "num_beams": 1, "seed": seed, "max_new_tokens": 30}
        return client.predict(handle_file(str(CAT)), "tiny-captioner", "", settings, api_name="/describe")["text"]
    assert say(1) == say(1)
    assert len({say(seed) for seed in range(4)}) > 1


def test_a_list_of_pictures_is_taken_where_a_variant_takes_several(client: Client) -> None:
    answer = client.predict([handle_file(str(CAT))], "tiny-captioner", "", {"num_beams": 1}, api_name="/describe")
    assert answer["text"]
    with pytest.raises(AppError, match="takes one picture at a time, not 2"):
        client.predict([handle_file(str(CAT))] * 2, "tiny-captioner", "", {}, api_name="/describe")


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


def test_plain_http_describes_and_speaks(address: str, tmp_path: Path) -> None:
    uploaded = upload(address, "cat.jpg", CAT.read_bytes())
    event, data = call(address, "describe", {"path": uploaded}, "tiny-captioner", "", {"max_new_tokens": 8})
    assert event == "complete" and data[0]["variant"] == "tiny-captioner"
    event, data = call(address, "speak", "Two dogs play.")
    assert event == "complete"
    with urllib.request.urlopen(urllib.parse.urljoin(address, data[0]["audio"]["url"]), timeout=WAIT_S) as answer:
        (tmp_path / "got.wav").write_bytes(answer.read())
    assert loudness(tmp_path / "got.wav")[1] > 300


BAD_CALLS: list[Any] = [
    pytest.param("describe", (None, 5), "variant must be text", id="variant that is a number"),
    pytest.param("describe", (None, "tiny-captioner", "", {"num_beems": 1}), "Did you mean 'num_beams'?", id="a typo"),
    pytest.param("describe", (None, "tiny-captioner", "", {"num_beams": 99}), "between 1 and 10", id="out of range"),
    pytest.param("describe", (None, "tiny-captioner", "", {"num_beams": "many"}), "whole number", id="not a number"),
    pytest.param("describe", (None, "tiny-captioner", "", [1]), "must be an object", id="settings that are a list"),
    pytest.param("describe", (None, "with-prompt", "x" * 5000), "shorten it to 4,000", id="too long a question"),
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


def test_a_picture_over_twenty_megabytes_is_not_described(address: str) -> None:
    """On one's own machine more can be uploaded: pictures to train on come by the zip."""
    uploaded = upload(address, "big.jpg", b"\xff" * (20 * 2**20 + 1))
    event, answer = call(address, "describe", {"path": uploaded}, "tiny-captioner", "", {})
    assert event == "error" and "larger than 20 MB" in answer["error"], answer


def test_a_file_over_twenty_megabytes_is_not_taken_where_nobody_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    from narrator.ui.limits import launch_options
    from trainer.tab import upload_limit

    monkeypatch.setenv("NARRATOR_TRAINING", "off")
    assert (launch_options() | upload_limit())["max_file_size"] == "20mb"


@pytest.mark.parametrize("path", ["gradio_api/file=/etc/passwd", "monitoring", "gradio_api/file=log.txt",
                                  "gradio_api/proxy=http://127.0.0.1:9/"])
def test_no_side_door(address: str, path: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(address + path, timeout=WAIT_S)
    assert caught.value.code in (400, 403, 404)


def test_a_foreign_host_name_is_refused(address: str) -> None:
    status, text = post(address, "gradio_api/call/describe", {"data": [None]}, host="evil.example")
    assert status == 400 and "NARRATOR_HOSTS" in text

"""`python -m narrator ...` as a person meets it, on a tiny model and on the shipped one."""

import json
import os
import pty
import re
import subprocess
import sys
import wave
from pathlib import Path

import pytest
from command_line import ROOT, environment, narrator, process, sentence
from PIL import Image, ImageDraw
from tiny_captioner import save_tiny_captioner

from narrator import catalog
from narrator.engine import shared_engine
from narrator.knobs import knobs
from narrator.settings import GenerationSettings
from narrator.speech import available

TINY = "tiny-captioner"
SHIPPED = ROOT / "checkpoints" / "photo-captioner"
KEYS = ["image", "variant", "text", "tokens", "first_token_s", "total_s", "confidence", "uncertain"]
needs_voice = pytest.mark.skipif(available() is not None, reason=f"no speech here: {available()}")


@pytest.fixture
def checkpoints(tiny_checkpoints: Path) -> Path:
    return tiny_checkpoints


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two drawn scenes, the second with a space and a letter beyond ASCII in its name."""
    folder = tmp_path_factory.mktemp("photos")
    paths = [folder / "house.jpg", folder / "a café.png"]
    for number, path in enumerate(paths):
        image = Image.new("RGB", (160, 120), "skyblue")
        draw = ImageDraw.Draw(image)
        draw.rectangle((0, 80, 160, 120), fill="green")
        draw.rectangle((40 + 30 * number, 40, 90, 90), fill="brown", outline="black")
        draw.polygon([(30, 40), (65, 15), (100, 40)], fill="darkred")
        draw.ellipse((120, 10, 145, 35), fill="yellow")
        image.save(path)
    return paths


def describe(checkpoints: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return narrator("describe", "--variant", TINY, "--max-new-tokens", 6, *arguments, checkpoints=checkpoints)


def test_json_has_an_object_a_line(checkpoints: Path, photos: list[Path]) -> None:
    done = process("describe", "--variant", TINY, "--max-new-tokens", 6, "--json", *photos, checkpoints=checkpoints)
    assert (done.returncode, done.stderr) == (0, "")
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["image"] for answer in answers] == [str(photo) for photo in photos]
    for answer in answers:
        assert list(answer) == KEYS
        assert answer["variant"] == TINY and 1 <= answer["tokens"] <= 6 and 0 < answer["confidence"] <= 1
        assert 0 < answer["first_token_s"] <= answer["total_s"] < 60
        words = answer["text"].lower().rstrip(".").split()
        assert len(words) >= 1 and all(word.lower() in words for word in answer["uncertain"])


def test_a_line_a_photograph(checkpoints: Path, photos: list[Path]) -> None:
    one, both = describe(checkpoints, photos[0]), describe(checkpoints, *photos)
    assert one.returncode == both.returncode == 0
    assert one.stdout.count("\n") == 1 and not one.stdout.startswith(str(photos[0]))
    lines = both.stdout.splitlines()
    assert lines[0] == f"{photos[0]}: {one.stdout.strip()}"
    assert lines[1].startswith(f"{photos[1]}: ") and len(lines) == 2


def test_a_photograph_that_fails_does_not_stop_the_rest(checkpoints: Path, photos: list[Path], tmp_path: Path) -> None:
    bad = {"paper.jpg": b"%PDF-1.7 paper", "empty.png": b"", "cut.jpg": photos[0].read_bytes()[:300]}
    for name, content in bad.items():
        (tmp_path / name).write_bytes(content)
    paths = [tmp_path / "paper.jpg", photos[0], tmp_path / "empty.png", tmp_path / "cut.jpg", tmp_path / "none.jpg",
             tmp_path, photos[1]]
    done = describe(checkpoints, "--json", *paths)
    assert (done.returncode, done.stderr) == (1, "")
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["image"] for answer in answers] == [str(path) for path in paths]
    for index, start in {0: "This file is not a picture (it starts with %PDF)", 2: "This file is empty",
                         3: "This JPEG file is damaged", 4: "There is no file", 5: f"{tmp_path} is a folder"}.items():
        assert list(answers[index]) == ["image", "error"] and answers[index]["error"].startswith(start)
    assert list(answers[1]) == list(answers[6]) == KEYS

    plain = describe(checkpoints, *paths)
    assert plain.returncode == 1 and len(plain.stdout.splitlines()) == 2
    assert len(plain.stderr.splitlines()) == 5 and "Traceback" not in plain.stderr
    assert plain.stderr.startswith(f"narrator: {paths[0]}: This file is not a picture")


def test_every_setting_is_a_flag_and_is_used(checkpoints: Path, photos: list[Path]) -> None:
    shown = narrator("describe", "--help").stdout
    for name, (_, knob) in knobs(GenerationSettings).items():
        assert f"--{name.replace('_', '-')}" in shown and " ".join(knob.says.split()[:3]) in " ".join(shown.split())
    long = ["--json", "--max-new-tokens", 20, "--num-beams", 1, "--no-repeat-ngram-size", 0]
    texts = []
    for more in ([], ["--temperature", 1.5, "--seed", 1], ["--temperature", 1.5, "--seed", 2]):
        twice = describe(checkpoints, *long, *more, photos[0], photos[0]).stdout.splitlines()
        texts.append([json.loads(line)["text"] for line in twice])
    assert all(first == second for first, second in texts) and len({first for first, _ in texts}) == 3


@pytest.mark.parametrize(("arguments", "message"), [
    (["--variant", "tiny-captoner"], "There is no variant 'tiny-captoner'. Did you mean 'tiny-captioner'?"),
    (["--num-beams", "99"], "'num_beams' must be between 1 and 10 beams, not 99"),
    (["--num-beams", "many"], "'num_beams' must be a whole number, not 'many'"),
    (["--temperature", "nan"], "'temperature' must be between 0 and 2"),
    (["--speak", "/no/such/folder/out.wav"], "There is no folder /no/such/folder"),
])
def test_what_cannot_be_done_is_said_before_anything_runs(checkpoints: Path, photos: list[Path], arguments: list[str],
                                                          message: str) -> None:
    assert message in sentence(describe(checkpoints, *arguments, photos[0]))


def test_a_damaged_checkpoint_is_one_sentence(tmp_path: Path, photos: list[Path]) -> None:
    save_tiny_captioner(tmp_path / TINY)
    weights = tmp_path / TINY / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:2000])
    assert "model.safetensors are damaged" in sentence(describe(tmp_path, *photos))
    (tmp_path / TINY / "variant.yaml").write_text("id: [")
    assert "not valid YAML" in sentence(describe(tmp_path, *photos))


@pytest.mark.parametrize("arguments", [[], ["paint"], ["speak", "hello"], ["evaluate"], ["score"],
                                       ["describe", "x.jpg", "--beams", "3"]])
def test_usage_errors(arguments: list[str]) -> None:
    done = narrator(*arguments)
    assert done.returncode == 2 and done.stderr.startswith("usage: narrator") and "Traceback" not in done.stderr


def test_what_a_variant_takes_is_asked_for(tmp_path: Path, photos: list[Path]) -> None:
    save_tiny_captioner(tmp_path / TINY)
    assert "describes photographs: name one" in sentence(describe(tmp_path))


@needs_voice
def test_several_descriptions_become_one_sound(checkpoints: Path, photos: list[Path], tmp_path: Path) -> None:
    sounds = [tmp_path / "one.wav", tmp_path / "both.wav"]
    for sound, some in zip(sounds, (photos[:1], photos), strict=True):
        assert describe(checkpoints, "--speak", sound, *some).returncode == 0
    lengths = []
    for sound in sounds:
        with wave.open(str(sound)) as file:
            assert (file.getnchannels(), file.getsampwidth()) == (1, 2)
            lengths.append(file.getnframes() / file.getframerate())
    assert 0.5 < lengths[0] < lengths[1] < 60


@needs_voice
def test_no_sound_without_a_description(checkpoints: Path, tmp_path: Path) -> None:
    done = describe(checkpoints, "--speak", tmp_path / "out.wav", tmp_path / "none.jpg")
    assert done.returncode == 1 and "out.wav is not written" in done.stderr and not (tmp_path / "out.wav").exists()


@needs_voice
def test_speak(tmp_path: Path) -> None:
    text = "A dog runs on the grass. Two cats sleep."
    done = process("speak", text, "--out", tmp_path / "a.wav")
    assert done.returncode == 0 and done.stdout.startswith(f"{tmp_path / 'a.wav'}: ") and "2 sentences" in done.stdout
    fast = ["--speed", "2", "--voice", "en-us"]
    assert narrator("speak", "-", "--out", tmp_path / "b.wav", *fast, text=text).returncode == 0
    seconds = []
    for name in ("a.wav", "b.wav"):
        with wave.open(str(tmp_path / name)) as file:
            seconds.append(file.getnframes() / file.getframerate())
    assert seconds[1] < 0.75 * seconds[0]


@needs_voice
@pytest.mark.parametrize(("arguments", "message"), [
    (["", "--out", "x.wav"], "nothing to speak"),
    (["hello", "--out", "x.wav", "--speed", "9"], "'speed' must be between"),
    (["hello", "--out", "x.wav", "--voice", "klingonese"], "There is no voice 'klingonese'"),
    (["hello", "--out", "/no/such/x.wav"], "/no/such"),
])
def test_speak_refuses_in_one_sentence(tmp_path: Path, arguments: list[str], message: str) -> None:
    assert message in sentence(narrator("speak", *arguments, folder=tmp_path))
    assert not (tmp_path / "x.wav").exists()


def test_variants(checkpoints: Path, tmp_path: Path) -> None:
    shown = narrator("variants", checkpoints=checkpoints)
    assert shown.returncode == 0
    assert re.search(rf"^{TINY} +picture +[\d,]+ +Apache-2.0 +Tiny captioner$", shown.stdout, re.M)
    listed = json.loads(narrator("variants", "--json", checkpoints=checkpoints).stdout)
    mine = next(variant for variant in listed if variant["id"] == TINY)
    assert mine["inputs"] == {"image": True, "text": False} and mine["source"] == str(checkpoints / TINY)
    (tmp_path / "half-done").mkdir()
    assert "half-done: has no variant.yaml" in narrator("variants", checkpoints=tmp_path).stderr


def test_help_variants_and_score_load_no_torch(checkpoints: Path, tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text('{"annotations": [{"image_id": 1, "caption": "a dog"}]}')
    (tmp_path / "c.json").write_text('[{"image_id": 1, "caption": "a dog"}]')
    score = ["score", "--references", str(tmp_path / "r.json"), "--candidates", str(tmp_path / "c.json")]
    for arguments in (["--help"], ["variants"], score, ["describe", "--help"]):
        done = subprocess.run([sys.executable, "-X", "importtime", "-m", "narrator", *arguments], cwd=ROOT, text=True,
                              env=environment(checkpoints), capture_output=True, timeout=120)
        loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines() if "|" in line}
        assert done.returncode == 0 and "narrator" in loaded
        assert not loaded & {"torch", "transformers", "gradio", "datasets"}, arguments
        assert ("usage: narrator" in done.stdout) == ("--help" in arguments) and done.stdout


def test_nothing_asks_the_network(checkpoints: Path, photos: list[Path], tmp_path: Path) -> None:
    """Every connection of the process and every name it looks up would be written down, and refused."""
    (tmp_path / "sitecustomize.py").write_text(
        "import socket, sys\n"
        "def refuse(*given, **named):\n"
        f"    open({str(tmp_path / 'asked')!r}, 'a').write(repr(given) + '\\n')\n"
        "    raise OSError('no network')\n"
        "socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse\n"
        "sys.stderr.write('guarded\\n')\n")
    guarded = {**environment(checkpoints), "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    done = subprocess.run([sys.executable, "-m", "narrator", "describe", "--variant", TINY, str(photos[0])], cwd=ROOT,
                          env=guarded, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "guarded" in done.stderr, done
    assert not (tmp_path / "asked").exists(), (tmp_path / "asked").read_text()


def test_a_terminal_shows_the_text_as_it_comes(checkpoints: Path, photos: list[Path]) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "narrator", "describe", "--variant", TINY, "--num-beams", "1"]
    running = subprocess.Popen([*command, "--max-new-tokens", "6", str(photos[0])], cwd=ROOT, stdout=theirs,
                               stderr=subprocess.DEVNULL,
                               env={**environment(checkpoints), "TERM": "xterm", "COLUMNS": "200"})
    os.close(theirs)
    shown = b""
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:  # how Linux says that the other end is closed
            break
        if not piece:
            break
        shown += piece
    os.close(ours)
    assert running.wait(60) == 0
    steps = [step for step in shown.decode().split("\r\x1b[2K") if step]
    final = steps[-1].strip()
    growing = [step for step in steps[:-1] if "…" not in step and step != "Done."]
    assert len(growing) >= 3 and [len(step) for step in growing] == sorted(len(step) for step in growing)
    assert final == describe(checkpoints, "--num-beams", 1, photos[0]).stdout.strip()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_one_sentence(checkpoints: Path) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-m", "narrator", "variants", "--json"], cwd=ROOT, stdout=full,
                              env=environment(checkpoints), stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr == "narrator: The disk is full, so the output is cut short: free some space and run it again.\n"


@pytest.mark.skipif(not (SHIPPED / "variant.yaml").is_file(), reason="checkpoints/photo-captioner is not here")
def test_the_shipped_variant_is_the_default_and_describes(photos: list[Path]) -> None:
    done = narrator("describe", "--json", *photos)
    shared_engine().unload("photo-captioner")
    assert (done.returncode, done.stderr) == (0, "")
    for answer in map(json.loads, done.stdout.splitlines()):
        assert answer["variant"] == "photo-captioner" and answer["text"][0].isupper() and answer["text"].endswith(".")
        assert 3 <= len(answer["text"].split()) <= 40


def test_without_any_variant_it_says_what_to_do(photos: list[Path], tmp_path: Path,
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    """The package alone, as pip installs it: no checkpoints beside it."""
    monkeypatch.setattr(catalog, "CHECKPOINTS", tmp_path / "none")
    monkeypatch.delenv("NARRATOR_CHECKPOINTS", raising=False)
    assert "There is no variant yet: train one" in sentence(narrator("describe", photos[0]))

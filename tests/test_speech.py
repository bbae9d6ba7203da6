"""Speech, measured on the WAV files that the real engine makes."""

import ast
import concurrent.futures
import ctypes.util
import dataclasses
import importlib.util
import os
import re
import signal
import subprocess
import sys
import threading
import time
import wave
from pathlib import Path

import numpy as np
import psutil
import pytest

from narrator import speech
from narrator.knobs import knobs
from narrator.records import NarratorError, Speech
from narrator.speech.languages import bcp47
from narrator.speech.process import WORKER
from narrator.speech.pyttsx3_engine import Pyttsx3Engine
from narrator.speech.sentences import PIECE_COST, _cost, clean, split_pieces, split_sentences

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="eSpeak NG comes by pip on Linux only")

DESCRIPTION = "A brown dog runs along the beach. A boy in a red shirt throws a ball into the waves. The sky is grey."
LONG = ("The small boat at the end of the pier has a white sail and a green hull. Nobody is on board. Behind it, "
        "on the other side of the bay, a village climbs up the hill, and smoke comes out of one of its chimneys. "
        "In front, a woman wearing a straw hat mends a net while two gulls watch her from a barrel. Her basket "
        "holds bread, cheese and an apple. The water is calm. Far out, a ferry crosses from left to right and "
        "leaves a long wake. It seems to be early in the morning, since the shadows are long and the lamps along "
        "the quay are still lit. ") * 3


# Longer words, and not a text that the speed was calibrated with.
OTHER = ("A market hall is seen from above. Farmers have laid out carrots, cabbages and baskets of mushrooms on "
         "long wooden tables, and buyers with bags over their shoulders walk between them. Near the entrance, a "
         "musician plays the accordion. Someone has put a coin into the hat at his feet. Light falls through round "
         "windows below the roof, where pigeons sit on the iron beams. On the right, a child points at a tank full "
         "of trout while her father pays. A sign on the wall gives the price of eggs. At the back, two workers push "
         "a cart loaded with crates of oranges, and a third one sweeps the floor. ") * 3


@pytest.fixture(scope="module")
def engine() -> Pyttsx3Engine:
    return speech.engine()


def samples(made: Speech) -> np.ndarray:
    """The file's sound as int16 (n,), after a check that the file is what Speech says it is."""
    with wave.open(str(made.path)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (22_050, 1, 2)
        sound = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
    assert made.rate_hz == 22_050
    assert made.seconds == pytest.approx(len(sound) / 22_050)
    assert made.path.stat().st_size == 44 + 2 * len(sound)
    return sound


def rms(sound: np.ndarray) -> float:
    return float(np.sqrt(np.mean(sound.astype(float) ** 2))) if len(sound) else 0.0


def part(sound: np.ndarray, start_s: float, end_s: float) -> np.ndarray:
    return sound[round(start_s * 22_050):round(end_s * 22_050)]


def longest_silence_s(sound: np.ndarray) -> float:
    loud = np.flatnonzero(np.abs(sound) > 200)
    return float(np.max(np.diff(loud))) / 22_050


def spoken_s(made: Speech) -> float:
    return made.marks[-1].end_s


def workers() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if str(WORKER) in child.cmdline()]


def wait_for_worker() -> psutil.Process:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if found := workers():
            return found[0]
        time.sleep(0.01)
    raise AssertionError("no process that speaks came up")


def assert_sentence(error: pytest.ExceptionInfo[NarratorError]) -> str:
    message = str(error.value)
    assert message.endswith(".") and "\n" not in message and "Traceback" not in message
    return message


# --- the sound ---

def test_a_description_becomes_a_wav_with_a_mark_for_each_sentence(engine, tmp_path):
    made = engine.synthesize(DESCRIPTION, tmp_path / "a.wav")
    sound = samples(made)
    assert [mark.text for mark in made.marks] == re.findall(r"[^.]+\.", DESCRIPTION.replace(". ", "."))
    ends = [0.0]
    for mark in made.marks:
        assert ends[-1] <= mark.start_s < mark.end_s <= made.seconds
        assert rms(part(sound, mark.start_s, mark.end_s)) > 1000
        if ends[-1]:
            assert mark.start_s - ends[-1] > 0.2, "a pause between sentences"
            assert rms(part(sound, ends[-1], mark.start_s)) < 20
        ends.append(mark.end_s)
    loud = np.flatnonzero(np.abs(sound) > 200)
    assert loud[0] / 22_050 < 0.15, "silence before the first word"
    assert 0.1 < made.seconds - loud[-1] / 22_050 < 0.35, "silence after the last word"
    assert os.listdir(tmp_path) == ["a.wav"]


@pytest.mark.parametrize(("speed", "within"), [(0.65, 0.05), (1.0, 0.05), (1.5, 0.05), (3.0, 0.05)])
def test_speed_is_a_multiple_of_165_words_a_minute(engine, tmp_path, speed, within):
    text = LONG + OTHER
    made = engine.synthesize(text, tmp_path / "a.wav", speed=speed)
    sound = samples(made)
    last = np.flatnonzero(np.abs(sound) > 50)[-1] / 22_050
    assert len(text.split()) / last * 60 == pytest.approx(165 * speed, rel=within)


def test_volume_changes_loudness_and_nothing_else(engine, tmp_path):
    made = {volume: engine.synthesize(DESCRIPTION, tmp_path / f"{volume}.wav", volume=volume)
            for volume in (0.0, 0.25, 0.5, 1.0)}
    loudness = {volume: rms(samples(each)) for volume, each in made.items()}
    assert loudness[0.0] == 0
    assert loudness[0.25] / loudness[1.0] == pytest.approx(0.25, abs=0.05)
    assert loudness[0.5] / loudness[1.0] == pytest.approx(0.5, abs=0.05)
    assert made[0.25].seconds == pytest.approx(made[1.0].seconds, rel=0.02)


def fundamental_hz(sound: np.ndarray) -> float:
    """Median over 40 ms frames of the autocorrelation's peak between 50 and 400 Hz."""
    found = []
    for start in range(0, len(sound) - 882, 882):
        frame = sound[start:start + 882].astype(float)
        if rms(frame) > 2000:
            lags = np.correlate(frame, frame, "full")[881:]
            lag = 55 + int(np.argmax(lags[55:441]))
            found.append(22_050 / lag)
    return float(np.median(found))


def test_pitch_raises_the_voice_in_every_sentence(engine, tmp_path):
    heights = []
    for pitch in (0, 50, 100):
        made = engine.synthesize("A dog runs home now. " * 3, tmp_path / "a.wav", pitch=pitch)
        sound = samples(made)
        each = [fundamental_hz(part(sound, mark.start_s, mark.end_s)) for mark in made.marks]
        assert max(each) < 1.15 * min(each), "the same in all sentences"
        heights.append(float(np.median(each)))
    assert heights[0] * 1.2 < heights[1] < heights[2] / 1.2


# --- much of it ---

def test_sixteen_at_once_are_the_same_files_as_one_by_one(engine, tmp_path):
    texts = [" ".join(f"Picture {number} shows {'a dog and ' * number} one cat." for _ in range(3))
             for number in range(16)]
    alone = [engine.synthesize(text, tmp_path / f"alone{number}.wav") for number, text in enumerate(texts)]
    assert len({each.seconds for each in alone}) == 16
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        together = list(pool.map(lambda number: engine.synthesize(texts[number], tmp_path / f"{number}.wav"),
                                 range(16)))
    for one, other in zip(alone, together, strict=True):
        assert other.seconds == one.seconds
        assert other.path.read_bytes() == one.path.read_bytes()
        assert dataclasses.replace(other, path=one.path) == one
    assert len(os.listdir(tmp_path)) == 32
    assert not workers()


def test_a_hundred_thousand_characters(engine, tmp_path):
    text = (LONG * 70)[:100_000]
    assert len(text) == 100_000
    made = engine.synthesize(text, tmp_path / "a.wav", speed=3.0)
    sound = samples(made)
    assert len(text.split()) / made.seconds * 60 == pytest.approx(495, rel=0.1)
    assert len(made.marks) == len(split_sentences(text)) > 900
    assert all(rms(part(sound, mark.start_s, mark.end_s)) > 1000 for mark in made.marks)
    assert made.marks[-1].end_s == pytest.approx(made.seconds, abs=0.3)


@pytest.mark.parametrize("word", ["dog", "12345", "XWQZK", "日本語", "한국어", "العربية", "😀 a", "9%", "99.9%", "кот"])
def test_long_sentences_lose_no_word(engine, tmp_path, word):
    # In one piece, eSpeak NG silently drops what does not fit its buffer: of sixty numbers it speaks thirty.
    few = engine.synthesize(" ".join([word] * 5), tmp_path / "a.wav", speed=3.0)
    many = engine.synthesize(" ".join([word] * 100), tmp_path / "b.wav", speed=3.0)
    assert spoken_s(many) > 0.93 * 20 * spoken_s(few)


@pytest.mark.parametrize("run", ["1", "a", "ba", "中", "😀a"])
def test_long_words_lose_nothing(engine, tmp_path, run):
    few = engine.synthesize(run * 20, tmp_path / "a.wav", speed=3.0)
    many = engine.synthesize(run * 400, tmp_path / "b.wav", speed=3.0)
    assert spoken_s(many) > 0.85 * 20 * spoken_s(few)


def test_fifteen_thousand_characters_without_a_space(engine, tmp_path):
    made = engine.synthesize("x" * 15_000, tmp_path / "a.wav", speed=3.0)
    assert rms(samples(made)) > 500
    assert len(made.marks) == 1


# --- odd text ---

@pytest.mark.parametrize("text", ["", " \t\n", "...", "?!", "-", "<>", "😀", "👨‍👩‍👧‍👦 ❤️",
                                  "\0", "\x1b\u200b", "\ud800", "\ue000"])
def test_text_with_nothing_to_speak_is_refused(engine, tmp_path, text):
    with pytest.raises(NarratorError, match="nothing to speak; write at least one word") as error:
        engine.synthesize(text, tmp_path / "a.wav")
    assert_sentence(error)
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("text", [
    "A dog\0 runs.", "A\x01 dog \x1bruns.", "A dog \ud800runs.", "\ufeffA dog runs.\ufffe", "A dog\u00a0runs.\u2028",
    "A dog\r\nruns.", "A d\u00adog runs.", " A dog runs. ",
])
def test_what_cannot_be_spoken_is_left_out(engine, tmp_path, text):
    plain = engine.synthesize("A dog runs.", tmp_path / "a.wav")
    odd = engine.synthesize(text, tmp_path / "b.wav")
    assert samples(odd).tobytes() == samples(plain).tobytes()
    assert odd.marks == plain.marks


@pytest.mark.parametrize(("text", "without"), [
    ("<break time='5s'/> dog", "dog"), ("<b>hello</b> dog", "hello dog"), ("<voice name='de'>dog</voice>", "dog"),
    ("[[h@loU]] dog", "dog"), ("&lt;dog&gt;", "dog"), ("<script>alert(1)</script> dog", "dog"), ("dog 😀", "dog"),
])
def test_markup_and_emoji_are_spoken_as_text(engine, tmp_path, text, without):
    plain = engine.synthesize(without, tmp_path / "a.wav")
    odd = engine.synthesize(text, tmp_path / "b.wav")
    assert spoken_s(odd) > 1.3 * spoken_s(plain), "it is read out"
    assert longest_silence_s(samples(odd)) < 0.8, "and never obeyed"
    assert odd.marks[0].text == text


@pytest.mark.parametrize("text", ["-h dog", "--help", "@dog", '{"task": "voices"}', "; rm dog", "%s dog", "1",
                                  "\\dog"])
def test_text_that_looks_like_an_option_or_a_command_is_text(engine, tmp_path, text):
    made = engine.synthesize(text, tmp_path / "a.wav")
    assert rms(samples(made)) > 500
    assert [mark.text for mark in made.marks] == [text]


# --- voices and settings ---

def test_voices_have_languages_and_are_listed_once(engine):
    voices = engine.voices()
    assert len(voices) > 100
    assert len({voice.id for voice in voices}) == len(voices)
    tags = {tag for voice in voices for tag in voice.languages}
    assert {"en-GB", "en-US", "de", "fr-FR", "pt-BR", "es-419"} <= tags
    assert all(re.fullmatch(r"[a-z]{2,3}(-[A-Z][a-z]{3})?(-[A-Z]{2}|-\d{3})?(-[a-z]{5,8})?(-x(-[a-z]+)+)?", tag)
               for tag in tags), tags
    voices.clear()
    start = time.perf_counter()
    assert len(engine.voices()) > 100, "a caller's list is its own"
    assert time.perf_counter() - start < 0.05


def test_every_twelfth_voice_speaks(engine, tmp_path):
    ids = [voice.id for voice in engine.voices()][::12]
    sounds = [samples(engine.synthesize("1 2 3 radio", tmp_path / "a.wav", voice=each)) for each in ids]
    assert len(sounds) > 8
    assert all(rms(sound) > 300 for sound in sounds)
    assert len({sound.tobytes() for sound in sounds}) == len(sounds), "each in its own way"


@pytest.mark.parametrize("name", ["gmw/en-US", "en-us", "EN-US", "English (America)", " gmw/en-us "])
def test_a_voice_goes_by_id_tag_or_name(engine, tmp_path, name):
    british = samples(engine.synthesize("A tomato in the bath.", tmp_path / "a.wav"))
    american = samples(engine.synthesize("A tomato in the bath.", tmp_path / "b.wav", voice=name))
    assert american.tobytes() != british.tobytes()
    assert american.tobytes() == samples(engine.synthesize("A tomato in the bath.", tmp_path / "c.wav",
                                                           voice="gmw/en-US")).tobytes()


@pytest.mark.parametrize(("name", "hint"), [("englsh", "gmw/en"), ("en-uk", "gmw/en-"), ("Germann", "gmw/de (German)"),
                                            ("../../etc/passwd", "Near ones"), ("\0", "Near ones")])
def test_an_unknown_voice_is_refused_with_near_ones(engine, tmp_path, name, hint):
    with pytest.raises(NarratorError) as error:
        engine.synthesize("A dog runs.", tmp_path / "a.wav", voice=name)
    assert hint in assert_sentence(error)
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("setting", [{"speed": 0.1}, {"speed": 9.0}, {"speed": float("nan")}, {"pitch": -1},
                                     {"pitch": 101}, {"volume": 1.5}, {"volume": "loud"}])
def test_settings_out_of_range_are_named(engine, tmp_path, setting):
    with pytest.raises(NarratorError) as error:
        engine.synthesize("A dog runs.", tmp_path / "a.wav", **setting)
    assert next(iter(setting)) in assert_sentence(error)


def test_settings_are_declared_with_their_range():
    declared = knobs(speech.SpeechSettings)
    assert list(declared) == ["speed", "pitch", "volume"]
    assert (declared["speed"][1].low, declared["speed"][1].high) == (0.65, 4.0)


def test_too_long_a_text_is_refused(engine, tmp_path):
    with pytest.raises(NarratorError, match="500,001 characters") as error:
        engine.synthesize("a " * 250_000 + "b", tmp_path / "a.wav")
    assert_sentence(error)


# --- files ---

@pytest.mark.parametrize("path", ["no/such/folder/a.wav", ".", "/dev/null", "a\0b.wav", "x" * 300, "/proc/a.wav",
                                  "file/a.wav", "loop/a.wav"])
def test_a_path_that_cannot_be_written(engine, tmp_path, path):
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(NarratorError) as error:
        engine.synthesize("A dog runs.", tmp_path / path)
    assert re.search("choose another|make room", assert_sentence(error))
    assert sorted(os.listdir(tmp_path)) == ["file", "loop"]
    assert Path("/dev/null").is_char_device()


def test_a_full_disk_leaves_the_old_file_and_nothing_else(engine, tmp_path):
    import resource

    (tmp_path / "a.wav").write_bytes(b"the speech of yesterday")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, limits[1]))  # writing beyond it fails, like on a full disk
    try:
        with pytest.raises(NarratorError, match="could not be saved") as error:
            engine.synthesize(LONG, tmp_path / "a.wav")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert_sentence(error)
    assert os.listdir(tmp_path) == ["a.wav"]
    assert (tmp_path / "a.wav").read_bytes() == b"the speech of yesterday"
    assert not workers()
    samples(engine.synthesize(DESCRIPTION, tmp_path / "a.wav"))  # and once there is room, it is replaced


def test_a_link_is_written_through(engine, tmp_path):
    (tmp_path / "link.wav").symlink_to("real.wav")
    samples(engine.synthesize(DESCRIPTION, tmp_path / "link.wav"))
    assert (tmp_path / "link.wav").is_symlink() and (tmp_path / "real.wav").is_file()


# --- ends that nobody wants ---

@pytest.fixture
def speaking(request, tmp_path):
    """A speech of a minute's work under way: (the thread's future, its worker, the stop event, the folder)."""
    stop = threading.Event()
    engine = Pyttsx3Engine(patience_s=getattr(request, "param", 60.0))
    folder = tmp_path / "speech"
    folder.mkdir()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        future = pool.submit(engine.synthesize, LONG * 200, folder / "a.wav", stop=stop)
        worker = wait_for_worker()
        try:
            while not future.done() and not any(each.stat().st_size for each in folder.iterdir()):
                time.sleep(0.01)
            yield future, worker, stop, folder
        finally:
            stop.set()


def assert_ended(folder: Path, worker: psutil.Process) -> None:
    assert not os.listdir(folder)
    assert not worker.is_running()


def test_a_killed_process_is_one_sentence(speaking):
    future, worker, _stop, folder = speaking
    worker.send_signal(signal.SIGKILL)
    with pytest.raises(NarratorError, match="ended unexpectedly") as error:
        future.result(timeout=60)
    assert_sentence(error)
    assert_ended(folder, worker)


@pytest.mark.parametrize("speaking", [2.0], indirect=True)  # seconds of patience
def test_a_hanging_process_is_ended(speaking):
    future, worker, _stop, folder = speaking
    worker.send_signal(signal.SIGSTOP)
    with pytest.raises(NarratorError, match="silent for 2 seconds") as error:
        future.result(timeout=60)
    assert_sentence(error)
    assert_ended(folder, worker)


def test_stop_ends_the_speech_at_once(speaking):
    future, worker, stop, folder = speaking
    start = time.monotonic()
    stop.set()
    with pytest.raises(speech.SpeechStopped) as error:
        future.result(timeout=60)
    assert time.monotonic() - start < 10  # it would speak for a minute
    assert_sentence(error)
    assert_ended(folder, worker)


def test_the_process_that_speaks_has_its_own_session(speaking):
    _future, worker, _stop, _folder = speaking
    assert os.getsid(worker.pid) == worker.pid != os.getsid(0)


# --- what is installed ---

@pytest.fixture(scope="module")
def bare_python(tmp_path_factory) -> str:
    """An interpreter with nothing installed."""
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    return str(folder / "bin" / "python")


def packages(folder: Path, *names: str) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        spec = importlib.util.find_spec(name)
        assert spec is not None and spec.origin is not None
        (folder / name).symlink_to(Path(spec.origin).parent)
    return [str(folder)]


def test_two_packages_suffice_even_in_a_long_folder(bare_python, tmp_path):
    deep = tmp_path / ("a long name of a folder " * 5).strip() / ("and one more below it " * 5).strip()
    assert len(str(deep)) > 200
    engine = Pyttsx3Engine(bare_python, packages(deep, "pyttsx3", "espeakng_loader"))
    assert len(engine.voices()) > 100
    assert rms(samples(engine.synthesize(DESCRIPTION, tmp_path / "a.wav"))) > 1000


def test_without_pyttsx3_a_sentence_says_what_to_install(bare_python, tmp_path, monkeypatch):
    engine = Pyttsx3Engine(bare_python, packages(tmp_path, "espeakng_loader"))
    for call in (engine.voices, lambda: engine.synthesize("A dog.", tmp_path / "a.wav")):
        with pytest.raises(speech.SpeechUnavailable, match=r"pyttsx3 is not installed.*pip install pyttsx3") as error:
            call()
        assert_sentence(error)
    assert os.listdir(tmp_path) == ["espeakng_loader"]
    monkeypatch.setattr(speech, "_engine", engine)
    assert speech.available() == str(error.value)
    with pytest.raises(NarratorError):
        speech.engine()


@pytest.mark.skipif(ctypes.util.find_library("espeak-ng") is not None, reason="this system has eSpeak NG")
def test_without_the_library_a_sentence_says_what_to_install(bare_python, tmp_path):
    with pytest.raises(speech.SpeechUnavailable, match=r"library is not installed.*espeakng-loader") as error:
        Pyttsx3Engine(bare_python, packages(tmp_path, "pyttsx3")).voices()
    assert_sentence(error)


def test_a_systems_library_wins(bare_python, tmp_path, monkeypatch):
    loader = Path(packages(tmp_path / "packages", "pyttsx3", "espeakng_loader")[0]) / "espeakng_loader"
    library, data = tmp_path / "lib", tmp_path / "espeak-ng-data"
    library.mkdir()
    (library / "libespeak-ng.so.1").symlink_to(loader / "libespeak-ng.so")
    (data / "lang" / "gmw").mkdir(parents=True)
    for name in ("phontab", "phonindex", "phondata", "intonations", "en_dict", "lang/gmw/en"):
        (data / name).symlink_to(loader / "espeak-ng-data" / name)
    monkeypatch.setenv("LD_LIBRARY_PATH", str(library))
    monkeypatch.setenv("ESPEAK_DATA_PATH", str(tmp_path))
    engine = Pyttsx3Engine(bare_python, [str(tmp_path / "packages")])
    assert [voice.id for voice in engine.voices()] == ["gmw/en"], "the system's data, not the package's"
    assert rms(samples(engine.synthesize(DESCRIPTION, tmp_path / "a.wav"))) > 1000


def test_here_speech_is_available():
    assert speech.available() is None


def test_a_missing_interpreter_is_one_sentence(tmp_path):
    with pytest.raises(NarratorError, match="could not be started") as error:
        Pyttsx3Engine(str(tmp_path / "python")).voices()
    assert_sentence(error)


def test_the_worker_stands_alone():
    names = set()
    for node in ast.walk(ast.parse(WORKER.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "narrator").partition(".")[0])
    assert names - set(sys.stdlib_module_names) == {"pyttsx3", "espeakng_loader"}


def test_importing_speech_loads_nothing_heavy():
    code = "import sys, narrator.speech; print(sorted({'torch', 'gradio', 'pyttsx3', 'numpy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                          cwd=Path(__file__).parent.parent)
    assert done.stdout == "[]\n"


# --- text to pieces ---

@pytest.mark.parametrize(("text", "sentences"), [
    ("A dog. A cat.", ["A dog.", "A cat."]),
    ("Mr. Smith and Dr. J. R. Jones sit. They talk.", ["Mr. Smith and Dr. J. R. Jones sit.", "They talk."]),
    ("It costs 3.50 dollars, e.g. at noon. Fine!", ["It costs 3.50 dollars, e.g. at noon.", "Fine!"]),
    ("Who is it? \"A man.\" He waves…  Then, nothing", ["Who is it?", "\"A man.\"", "He waves…", "Then, nothing"]),
    ("A title\n\nA dog\nruns", ["A title", "A dog runs"]),
    ("一只狗。一只猫！", ["一只狗。", "一只猫！"]),
    ("... 😀 Wow! 😀 Yes. !!", ["... 😀 Wow!", "😀 Yes. !!"]),
    ("Than I. Me too.", ["Than I.", "Me too."]),
])
def test_sentences(text, sentences):
    assert split_sentences(clean(text)) == sentences


@pytest.mark.parametrize("sentence", ["word " * 300, "a" * 3000, "12 " * 500, "one, two and three, " * 60,
                                      "中" * 900, "😀" * 300])
def test_pieces_are_short_and_lose_nothing(sentence):
    pieces = split_pieces(sentence.strip())
    assert all(0 < len(piece) <= 400 and sum(map(_cost, piece)) <= PIECE_COST for piece in pieces)
    assert "".join("".join(pieces).split()) == "".join(sentence.split())


def test_a_long_sentence_is_cut_at_a_comma():
    sentence = "A man stands " + "very " * 50 + "still, and " + "a dog runs " * 20 + "home."
    assert split_pieces(sentence)[0].endswith("still,")


@pytest.mark.parametrize(("name", "tag"), [
    ("en-us", "en-US"), ("en-gb-x-rp", "en-GB-x-rp"), ("en-us-nyc", "en-US-x-nyc"), ("es-419", "es-419"),
    ("cmn-latn-pinyin", "cmn-Latn-pinyin"), ("chr-US-Qaaa-x-west", "chr-Qaaa-US-x-west"), ("ca-va", "ca-valencia"),
    ("piqd", "tlh-Piqd"), ("vi-vn-x-south", "vi-VN-x-south"), ("de", "de"),
])
def test_language_tags(name, tag):
    assert bcp47(name) == tag

"""Speech that fails: files that cannot be written, processes that die, hang or are stopped, what is not installed."""

import ast
import concurrent.futures
import ctypes.util
import importlib.util
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from speaking import DESCRIPTION, LONG, assert_sentence, linux_only, rms, samples, wait_for_worker, workers

from narrator import speech
from narrator.records import NarratorError
from narrator.speech.process import WORKER
from narrator.speech.pyttsx3_engine import Pyttsx3Engine

pytestmark = linux_only


@pytest.mark.parametrize("path", ["no/such/folder/a.wav", ".", "/dev/null", "a\0b.wav", "x" * 300, "/proc/a.wav",
                                  "file/a.wav", "loop/a.wav"])
def test_a_path_that_cannot_be_written(speaker, tmp_path, path):
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(NarratorError) as error:
        speaker.synthesize("A dog runs.", tmp_path / path)
    assert re.search("choose another|make room", assert_sentence(error))
    assert sorted(os.listdir(tmp_path)) == ["file", "loop"]
    assert Path("/dev/null").is_char_device()


def test_a_full_disk_leaves_the_old_file_and_nothing_else(speaker, tmp_path):
    import resource

    (tmp_path / "a.wav").write_bytes(b"the speech of yesterday")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, limits[1]))  # writing beyond it fails, like on a full disk
    try:
        with pytest.raises(NarratorError, match="could not be saved") as error:
            speaker.synthesize(LONG, tmp_path / "a.wav")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert_sentence(error)
    assert os.listdir(tmp_path) == ["a.wav"]
    assert (tmp_path / "a.wav").read_bytes() == b"the speech of yesterday"
    assert not workers()
    samples(speaker.synthesize(DESCRIPTION, tmp_path / "a.wav"))  # and once there is room, it is replaced


def test_a_link_is_written_through(speaker, tmp_path):
    (tmp_path / "link.wav").symlink_to("real.wav")
    samples(speaker.synthesize(DESCRIPTION, tmp_path / "link.wav"))
    assert (tmp_path / "link.wav").is_symlink() and (tmp_path / "real.wav").is_file()


@pytest.fixture
def speaking(request, tmp_path):
    """A speech of a minute's work under way: (the thread's future, its worker, the stop event, the folder)."""
    stop = threading.Event()
    engine = Pyttsx3Engine(patience_s=getattr(request, "param", 60.0))
    folder = tmp_path / "speech"
    folder.mkdir()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        future = pool.submit(engine.synthesize, LONG * 600, folder / "a.wav", stop=stop)
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


@pytest.mark.slow
@pytest.mark.parametrize("speaking", [10.0], indirect=True)  # seconds of patience, the start of the process included
def test_a_hanging_process_is_ended(speaking):
    future, worker, _stop, folder = speaking
    worker.send_signal(signal.SIGSTOP)
    with pytest.raises(NarratorError, match="silent for 10 seconds") as error:
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

"""Speech, measured on the WAV files that the real engine makes: sound, voices, settings."""

import concurrent.futures
import dataclasses
import os
import re
import subprocess

import numpy as np
import pytest
from speaking import DESCRIPTION, LONG, OTHER, assert_sentence, linux_only, part, rms, samples, workers

from narrator import speech
from narrator.knobs import knobs
from narrator.records import NarratorError
from narrator.speech.pyttsx3_engine import Pyttsx3Engine
from narrator.speech.sentences import split_sentences

pytestmark = linux_only


def test_a_description_becomes_a_wav_with_a_mark_for_each_sentence(speaker, tmp_path):
    made = speaker.synthesize(DESCRIPTION, tmp_path / "a.wav")
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


@pytest.mark.parametrize("speed", [0.65, 1.0, 1.5, 3.0])
def test_speed_is_a_multiple_of_165_words_a_minute(speaker, tmp_path, speed):
    text = (LONG + OTHER) * (3 if speed > 1 else 1)
    made = speaker.synthesize(text, tmp_path / "a.wav", speed=speed)
    sound = samples(made)
    last = np.flatnonzero(np.abs(sound) > 50)[-1] / 22_050
    assert len(text.split()) / last * 60 == pytest.approx(165 * speed, rel=0.05)


def test_volume_changes_loudness_and_nothing_else(speaker, tmp_path):
    made = {volume: speaker.synthesize(DESCRIPTION, tmp_path / f"{volume}.wav", volume=volume)
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


def test_pitch_raises_the_voice_in_every_sentence(speaker, tmp_path):
    heights = []
    for pitch in (0, 50, 100):
        made = speaker.synthesize("A dog runs home now. " * 3, tmp_path / "a.wav", pitch=pitch)
        sound = samples(made)
        each = [fundamental_hz(part(sound, mark.start_s, mark.end_s)) for mark in made.marks]
        assert max(each) < 1.15 * min(each), "the same in all sentences"
        heights.append(float(np.median(each)))
    assert heights[0] * 1.2 < heights[1] < heights[2] / 1.2


def test_sixteen_at_once_are_the_same_files_as_one_by_one(speaker, tmp_path):
    texts = [" ".join(f"Picture {number} shows {'a dog and ' * number} one cat." for _ in range(3))
             for number in (2, 5, 8, 13)]
    alone = [speaker.synthesize(text, tmp_path / f"alone{number}.wav") for number, text in enumerate(texts)]
    assert len({each.seconds for each in alone}) == 4
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        together = list(pool.map(lambda number: speaker.synthesize(texts[number % 4], tmp_path / f"{number}.wav"),
                                 range(16)))
    for number, other in enumerate(together):
        one = alone[number % 4]
        assert other.seconds == one.seconds
        assert other.path.read_bytes() == one.path.read_bytes()
        assert dataclasses.replace(other, path=one.path) == one
    assert len(os.listdir(tmp_path)) == 20
    assert not workers()


def test_a_hundred_thousand_characters(speaker, tmp_path):
    text = (LONG * 210)[:100_000]
    assert len(text) == 100_000
    made = speaker.synthesize(text, tmp_path / "a.wav", speed=3.0)
    sound = samples(made)
    assert len(text.split()) / made.seconds * 60 == pytest.approx(495, rel=0.1)
    assert len(made.marks) == len(split_sentences(text)) > 900
    assert all(rms(part(sound, mark.start_s, mark.end_s)) > 1000 for mark in made.marks)
    assert made.marks[-1].end_s == pytest.approx(made.seconds, abs=0.3)


def test_voices_have_languages_and_are_listed_once(monkeypatch):
    started = []

    class Counted(subprocess.Popen):
        def __init__(self, *given, **named):
            started.append(given)
            super().__init__(*given, **named)

    monkeypatch.setattr(subprocess, "Popen", Counted)
    speaker = Pyttsx3Engine()
    voices = speaker.voices()
    assert len(voices) > 100
    assert len({voice.id for voice in voices}) == len(voices)
    tags = {tag for voice in voices for tag in voice.languages}
    assert {"en-GB", "en-US", "de", "fr-FR", "pt-BR", "es-419"} <= tags
    assert all(re.fullmatch(r"[a-z]{2,3}(-[A-Z][a-z]{3})?(-[A-Z]{2}|-\d{3})?(-[a-z]{5,8})?(-x(-[a-z]+)+)?", tag)
               for tag in tags), tags
    voices.clear()
    assert len(speaker.voices()) > 100, "a caller's list is its own"
    assert len(started) == 1


def test_every_twelfth_voice_speaks(speaker, tmp_path):
    ids = [voice.id for voice in speaker.voices()][::12]
    sounds = [samples(speaker.synthesize("1 2 3 radio", tmp_path / "a.wav", voice=each)) for each in ids]
    assert len(sounds) > 8
    assert all(rms(sound) > 300 for sound in sounds)
    assert len({sound.tobytes() for sound in sounds}) == len(sounds), "each in its own way"


def test_a_voice_goes_by_id_tag_or_name(speaker, tmp_path):
    british, american, *others = (
        samples(speaker.synthesize("A tomato in the bath.", tmp_path / "a.wav", voice=name)).tobytes()
        for name in (None, "gmw/en-US", "en-us", "EN-US", "English (America)", " gmw/en-us "))
    assert american != british
    assert others == [american] * 4


@pytest.mark.parametrize(("name", "hint"), [("englsh", "gmw/en"), ("en-uk", "gmw/en-"), ("Germann", "gmw/de (German)"),
                                            ("../../etc/passwd", "Near ones"), ("\0", "Near ones")])
def test_an_unknown_voice_is_refused_with_near_ones(speaker, tmp_path, name, hint):
    with pytest.raises(NarratorError) as error:
        speaker.synthesize("A dog runs.", tmp_path / "a.wav", voice=name)
    assert hint in assert_sentence(error)
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("setting", [{"speed": 0.1}, {"speed": 9.0}, {"speed": float("nan")}, {"pitch": -1},
                                     {"pitch": 101}, {"volume": 1.5}, {"volume": "loud"}])
def test_settings_out_of_range_are_named(speaker, tmp_path, setting):
    with pytest.raises(NarratorError) as error:
        speaker.synthesize("A dog runs.", tmp_path / "a.wav", **setting)
    assert next(iter(setting)) in assert_sentence(error)


def test_settings_are_declared_with_their_range():
    declared = knobs(speech.SpeechSettings)
    assert list(declared) == ["speed", "pitch", "volume"]
    assert (declared["speed"][1].low, declared["speed"][1].high) == (0.65, 4.0)


def test_here_speech_is_available():
    assert speech.available() is None

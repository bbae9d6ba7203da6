"""Odd texts, spoken: nothing is lost, nothing is obeyed, and what cannot be spoken is refused in a sentence."""

import os

import pytest
from speaking import assert_sentence, linux_only, longest_silence_s, rms, samples, spoken_s

from narrator.records import NarratorError, Speech

pytestmark = linux_only


@pytest.mark.parametrize("text", ["", " \t\n", "...", "?!", "-", "<>", "😀", "👨‍👩‍👧‍👦 ❤️",
                                  "\0", "\x1b\u200b", "\ud800", "\ue000"])
def test_text_with_nothing_to_speak_is_refused(speaker, tmp_path, text):
    with pytest.raises(NarratorError, match="nothing to speak; write at least one word") as error:
        speaker.synthesize(text, tmp_path / "a.wav")
    assert_sentence(error)
    assert not os.listdir(tmp_path)


@pytest.fixture(scope="module")
def plain(speaker, tmp_path_factory) -> Speech:
    return speaker.synthesize("A dog runs.", tmp_path_factory.mktemp("plain") / "a.wav")


@pytest.mark.parametrize("text", [
    "A dog\0 runs.", "A\x01 dog \x1bruns.", "A dog \ud800runs.", "\ufeffA dog runs.\ufffe", "A dog\u00a0runs.\u2028",
    "A dog\r\nruns.", "A d\u00adog runs.", " A dog runs. ",
])
def test_what_cannot_be_spoken_is_left_out(speaker, plain, tmp_path, text):
    odd = speaker.synthesize(text, tmp_path / "b.wav")
    assert samples(odd).tobytes() == samples(plain).tobytes()
    assert odd.marks == plain.marks


@pytest.mark.parametrize(("text", "without"), [
    ("<break time='5s'/> dog", "dog"), ("<b>hello</b> dog", "hello dog"), ("<voice name='de'>dog</voice>", "dog"),
    ("[[h@loU]] dog", "dog"), ("&lt;dog&gt;", "dog"), ("<script>alert(1)</script> dog", "dog"), ("dog 😀", "dog"),
])
def test_markup_and_emoji_are_spoken_as_text(speaker, tmp_path, text, without):
    plain = speaker.synthesize(without, tmp_path / "a.wav")
    odd = speaker.synthesize(text, tmp_path / "b.wav")
    assert spoken_s(odd) > 1.3 * spoken_s(plain), "it is read out"
    assert longest_silence_s(samples(odd)) < 0.8, "and never obeyed"
    assert odd.marks[0].text == text


@pytest.mark.parametrize("text", ["-h dog", "--help", "@dog", '{"task": "voices"}', "; rm dog", "%s dog", "1",
                                  "\\dog"])
def test_text_that_looks_like_an_option_or_a_command_is_text(speaker, tmp_path, text):
    made = speaker.synthesize(text, tmp_path / "a.wav")
    assert rms(samples(made)) > 500
    assert [mark.text for mark in made.marks] == [text]


@pytest.mark.parametrize("word", ["dog", "12345", "XWQZK", "日本語", "한국어", "العربية", "😀 a", "9%", "99.9%", "кот"])
def test_long_sentences_lose_no_word(speaker, tmp_path, word):
    # In one piece, eSpeak NG silently drops what does not fit its buffer: of sixty numbers it speaks thirty.
    few = speaker.synthesize(" ".join([word] * 5), tmp_path / "a.wav", speed=3.0)
    many = speaker.synthesize(" ".join([word] * 100), tmp_path / "b.wav", speed=3.0)
    assert spoken_s(many) > 0.93 * 20 * spoken_s(few)


@pytest.mark.parametrize("run", ["1", "a", "ba", "中", "😀a"])
def test_long_words_lose_nothing(speaker, tmp_path, run):
    few = speaker.synthesize(run * 20, tmp_path / "a.wav", speed=3.0)
    many = speaker.synthesize(run * 400, tmp_path / "b.wav", speed=3.0)
    assert spoken_s(many) > 0.85 * 20 * spoken_s(few)


def test_fifteen_thousand_characters_without_a_space(speaker, tmp_path):
    made = speaker.synthesize("x" * 15_000, tmp_path / "a.wav", speed=4.0)
    assert rms(samples(made)) > 500
    assert len(made.marks) == 1


def test_too_long_a_text_is_refused(speaker, tmp_path):
    with pytest.raises(NarratorError, match="500,001 characters") as error:
        speaker.synthesize("a " * 250_000 + "b", tmp_path / "a.wav")
    assert_sentence(error)

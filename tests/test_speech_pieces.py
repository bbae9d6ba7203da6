"""Text to sentences, sentences to pieces that a voice can take, and the names of languages."""

import pytest

from narrator.speech.languages import bcp47
from narrator.speech.sentences import PIECE_COST, _cost, clean, split_pieces, split_sentences


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

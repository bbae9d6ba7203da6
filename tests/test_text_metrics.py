"""Variety, repetition, adjectives, perplexity, and answers to prompts and questions, by hand."""

import math
import subprocess
import sys

import numpy as np
import pytest

from narrator.metrics.prompts import answer_scores, loss_scores
from narrator.metrics.questions import question_scores
from narrator.metrics.text import (
    adjectives,
    distinct,
    noun_phrases,
    perplexity,
    ratio,
    repetition,
    tags,
    text_scores,
)
from narrator.records import NarratorError


def test_distinct_counts_different_ngrams_of_all_texts() -> None:
    texts = ["A dog runs.", "a dog sits", "the dog"]  # a dog runs a dog sits the dog: 8 words, 5 different
    assert distinct(texts, 1).value == pytest.approx(5 / 8)
    assert distinct(texts, 2).value == pytest.approx(4 / 5)  # a-dog dog-runs a-dog dog-sits the-dog
    assert distinct(["a"], 2).value == 0.0
    assert distinct([], 1).value == 0.0


def test_the_interval_of_distinct_is_the_jackknifes() -> None:
    texts = ["a dog runs", "a dog sits", "the dog", "the red cat"]
    without = np.array([distinct(texts[:row] + texts[row + 1:], 1, intervals=False).value for row in range(4)])
    spread = 1.96 * math.sqrt(3 / 4 * ((without - without.mean()) ** 2).sum())
    found = distinct(texts, 1)
    assert (found.value - found.low, found.high - found.value) == pytest.approx((spread, min(spread, 1 - found.value)))
    assert distinct(texts, 1, intervals=False).low == found.value


def test_repetition_is_what_a_text_says_again() -> None:
    assert repetition("a man and a man and a man") == pytest.approx(1 - 3 / 7)  # 7 bigrams, 3 different
    assert repetition("no left turn " * 10) == pytest.approx(1 - 3 / 29)
    assert repetition("a brown dog runs") == 0.0
    assert repetition("dog") == repetition("") == 0.0


def test_tags_and_phrases() -> None:
    assert tags("A brown dog is running.") == [("a", "DT"), ("brown", "JJ"), ("dog", "NN"), ("is", "VBZ"),
                                               ("running", "VBG")]
    assert noun_phrases("A brown dog runs over the wet grass.") == ["a brown dog", "the wet grass"]
    assert noun_phrases("A picture of two men in the background .") == ["two men"]  # words for the picture are left out
    assert noun_phrases("A woman's red hat") == ["a woman", "red hat"]
    assert noun_phrases("running") == noun_phrases("") == []


@pytest.mark.parametrize("text", [
    "and/or a dog/cat", "a :-) b", "1/2 cup of 3,000 dogs", "日本語 naïve", "a\u00a0dog ||", "...",
    "http://x.y/z?a=1 @bob #tag <b> *** ^_^", "dog\u200bcat &slash; \x1f x"])
def test_every_word_of_any_text_has_a_tag(text) -> None:
    from narrator.metrics.tokenize import ptb_tokens

    assert [word for word, _ in tags(text)] == ptb_tokens(text)


def test_adjectives_of_the_prompt_do_not_count() -> None:
    answer = "A large brown dog runs on wet grass."
    assert adjectives(answer) == (3, 8)  # large, brown, wet
    assert adjectives(answer, "Describe this image: a brown dog") == (2, 8)
    prompt = "Describe this image: a small red ball"
    assert adjectives(prompt + " A large dog.", prompt) == (1, 3)  # the question itself is no answer


def test_perplexity_by_hand() -> None:
    nats = [math.log(2) * 3, math.log(8) * 3]  # three tokens of probability 1/2, three of 1/8: 4 on average
    found = perplexity(nats, [3, 3])
    assert found.value == pytest.approx(4.0)
    assert (found.low, found.high) == pytest.approx((2.0, 8.0))  # of two texts a resample may hold one alone
    assert not found.higher_is_better
    assert perplexity(nats, [3, 9], intervals=False).value == pytest.approx(2.0)  # by token, not by text


def test_an_interval_holds_the_truth_about_nineteen_times_in_twenty() -> None:
    random = np.random.default_rng(0)
    held = 0
    for trial in range(60):
        words = random.integers(5, 15, 80)
        found = ratio(random.binomial(words, 0.2).tolist(), words.tolist(), seed=trial)
        held += found.low <= 0.2 <= found.high
    assert held >= 52  # 57 expected; under 52 has a chance of one in a hundred
    narrow = ratio([2] * 50, [10] * 50)
    assert narrow.low == narrow.high == pytest.approx(0.2)


def test_the_same_seed_gives_the_same_scores_and_nothing_is_refused() -> None:
    said, prompts = ["A large dog runs.", "Two people sit on a red bench."], ["a dog", "people"]
    assert text_scores(said, prompts) == text_scores(said, prompts)
    found = text_scores(said, prompts)
    assert set(found) == {"distinct_1", "distinct_2", "repetition", "adjective_density", "words"}
    assert found["words"].value == pytest.approx(5.5)
    assert found["adjective_density"].value == pytest.approx(2 / 11)
    with pytest.raises(NarratorError, match="no text"):
        text_scores(["", "..."], ["a", "b"])


def test_the_tagger_needs_no_network_and_no_download(root, tmp_path) -> None:
    """In an interpreter that can open no connection and has an empty home."""
    script = ("import socket\n"
              "def refuse(*_): raise AssertionError('a connection')\n"
              "socket.socket.connect = refuse\n"
              "from narrator.metrics.text import noun_phrases\n"
              "print(noun_phrases('A brown dog runs.'))")
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, timeout=120,
                          env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"})
    assert done.stdout.strip() == "['a brown dog']", done.stderr
    assert not list(tmp_path.iterdir())


def test_answers_are_scored_by_what_is_said_and_nothing_said_is_nought() -> None:
    prompts, references = ["a dog", "the cat"], [["A large dog runs."], ["The cat sits.", "a red cat"]]
    found = answer_scores(prompts, references, ["A large dog runs.", "A dog."], intervals=False)
    assert found["adjective_density"].value == pytest.approx(1 / 6) and found["words"].value == 3
    assert found["bleu_1"].value < 1 and 0 < found["rouge_l"].value < 1
    silent = answer_scores(prompts, references, ["", " "])
    assert silent.keys() == found.keys() and {score.value for score in silent.values()} == {0.0}


def test_the_loss_of_answers_and_of_everything_by_hand() -> None:
    sums = np.array([[6.0, 3, 40, 20], [2.0, 1, 60, 20]])  # nats and tokens: of the answer, of everything
    found = loss_scores(sums, intervals=False)
    assert {name: score.value for name, score in found.items()} == pytest.approx(
        {"loss_answer": 2.0, "loss_everything": 2.5, "perplexity": math.exp(2)})
    assert not any(score.higher_is_better for score in found.values())
    assert loss_scores(sums * [1, 1, 0, 0]).keys() == {"loss_answer", "perplexity"}


def test_questions_by_kind_beside_the_commonest_answer() -> None:
    kinds = ["colour", "place", "colour", "colour", "place"]
    wanted = [["red"], ["on the beach", "outside"], ["Red"], ["blue"], ["a street"]]
    found = question_scores(kinds, wanted, ["Red.", "Outside", "green", "blue", "beach"])
    values = {name: score.value for name, score in found.items()}
    assert values == pytest.approx({"accuracy": (2 / 3 + 1 / 2) / 2, "accuracy_colour": 2 / 3, "majority_colour": 2 / 3,
                                    "accuracy_place": 1 / 2, "majority_place": 1 / 2})
    assert all(score.low < score.value < score.high for score in found.values())
    with pytest.raises(NarratorError, match="no question"):
        question_scores([], [], [])

"""Tokens and scores: against tables made by hand, and against pycocoevalcap (its tokenizer where Java is installed)."""

import json
import math
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import find_data_root
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge

from narrator.metrics.cider import CiderD
from narrator.metrics.scores import METRICS, caption_scores, per_picture
from narrator.metrics.tokenize import ptb_text, ptb_tokens
from narrator.records import NarratorError, Score

# What Stanford's tokenizer answers, checked by hand.
TOKENS = [
    ("A man's dog doesn't like the dogs' toys.", "a man 's dog does n't like the dogs toys"),
    ("A black dog and a tri-colored dog , playing .", "a black dog and a tri-colored dog playing"),
    ("a person on ski 's looks", "a person on ski 's looks"),
    ("They can't, won't; I'm sure they've cannot", "they ca n't wo n't i 'm sure they 've can not"),
    ("CAN'T stop it's gonna", "ca n't stop it 's gon na"),
    ('A sign says "STOP!" (in red)', "a sign says stop -lrb- in red -rrb-"),
    ("'quoted' and ``quoted''", "quoted and quoted"),
    ("Curly “quotes” and it’s — or … so", "curly quotes and it 's or so"),
    ("A 3-year-old at 10:30 am pays $5.00, 50% off #28", "a 3-year-old at 10:30 am pays $ 5.00 50 % off # 28"),
    ("1,000 people in 1/2 a room at 5:54pm", "1,000 people in 1/2 a room at 5:54 pm"),
    ("Mr. Jones on Main St. in the U.S. today.", "mr. jones on main st. in the u.s. today"),
    ("A player for Miami U. pushes at 5 p.m. forward.", "a player for miami u. pushes at 5 p.m. forward"),
    ("Plan B. The dog", "plan b the dog"),
    ("Michael L. Baird", "michael l. baird"),
    ("number No. 5 but no. then", "number no. 5 but no then"),
    ("a refrigerator/freezer w/ black & white doors", "a refrigerator/freezer w / black & white doors"),
    ("rock 'n' roll at 5 o'clock in the '90s", "rock 'n' roll at 5 o'clock in the '90s"),
    ("hors d'oeuvres of O'Neil", "hors d'oeuvres of o'neil"),
    ("A cat,dog. well- known -- what?! ...", "a cat dog well known what ?!"),
    ("A café  in\tthe\nsun", "a café in the sun"),
    ("...", ""),
    ("", ""),
]

DOGS = {1: ["a brown dog runs on green grass", "the dog runs"], 2: ["two cats sleep on a red sofa", "cats on a sofa"],
        3: ["a man rides a bike", "a man on a bicycle rides down the street"]}
SAID = {1: "a dog runs on the grass", 2: "a cat sleeps on a sofa", 3: "a man rides a horse"}


@pytest.mark.parametrize(("caption", "expected"), TOKENS, ids=range(len(TOKENS)))
def test_tokens_by_hand(caption: str, expected: str) -> None:
    assert ptb_text(caption) == expected
    assert ptb_tokens(caption) == expected.split()


def test_tokens_are_those_of_the_java_tokenizer(data_root: Path) -> None:
    """5,000 captions spread over the three sets: at most 2 may differ (the original looks into the next caption)."""
    if shutil.which("java") is None:
        pytest.skip("compares with Stanford's tokenizer, which needs Java")
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    captions = [" ".join(text.split()) for name in ("flickr8k", "coco_sample", "coco_captions")
                for line in (data_root / name / "captions.jsonl").open(encoding="utf-8")
                for text in json.loads(line)["captions"]]
    quoted = [text for text in captions if "'" in text or '"' in text]
    captions = [*captions[::len(captions) // 4500][:4500], *quoted[:500]]
    theirs = PTBTokenizer().tokenize({i: [{"caption": text}] for i, text in enumerate(captions)})
    differ = [(text, theirs[i][0]) for i, text in enumerate(captions) if ptb_tokens(text) != theirs[i][0].split()]
    assert len(captions) == 5000
    assert len(differ) <= 2, differ


def test_bleu_by_hand() -> None:
    """Candidate "a dog runs": unigrams 3 of 3, bigrams 1 of 2; 3 words against the closest reference's 4."""
    scores = caption_scores({1: ["a dog is here", "one two three four five runs"]}, {1: "a dog runs"}, intervals=False)
    brevity = math.exp(1 - 4 / 3)
    assert scores["bleu_1"].value == pytest.approx(brevity, abs=1e-8)
    assert scores["bleu_2"].value == pytest.approx(math.sqrt(1 / 2) * brevity, abs=1e-8)
    assert scores["bleu_3"].value < 1e-4  # no trigram fits


def test_bleu_clips_repeated_words() -> None:
    """Papineni's own example: "the" seven times, of which the reference has two."""
    scores = caption_scores({1: ["the cat is on the mat"]}, {1: "the the the the the the the"}, intervals=False)
    assert scores["bleu_1"].value == pytest.approx(2 / 7, abs=1e-8)


def test_bleu_is_of_the_corpus_not_a_mean() -> None:
    """1 of 1 and 1 of 3 words fit: 2 of 4 together, not the mean of 1 and 1/3."""
    scores = caption_scores({1: ["dog"], 2: ["cat x y"]}, {1: "dog", 2: "cat b c"}, intervals=False)
    assert scores["bleu_1"].value == pytest.approx(0.5, abs=1e-8)


def test_rouge_by_hand() -> None:
    """Longest common subsequence of "a b c d" and "a c e": "a c". P = 2/4, R = 2/3, F with beta 1.2."""
    scores = caption_scores({1: ["alpha gamma epsilon"]}, {1: "alpha beta gamma delta"}, intervals=False)
    p, r = 2 / 4, 2 / 3
    assert scores["rouge_l"].value == pytest.approx((1 + 1.44) * p * r / (r + 1.44 * p), abs=1e-12)


def test_cider_by_hand() -> None:
    """Two pictures of their own words. A perfect candidate of 2 words has 1- and 2-grams only: 10 * (1 + 1) / 4.

    The second says one of two words, which weigh the same (log 2): unigrams 1/sqrt(2), one bigram less: exp(-1/72).
    """
    references = {1: ["red bus"], 2: ["blue boat"]}
    values = per_picture(references, {1: "red bus", 2: "blue"}).cider_d
    assert values[0] == pytest.approx(5.0, abs=1e-9)
    assert values[1] == pytest.approx(10 / 4 / math.sqrt(2) * math.exp(-1 / 72), abs=1e-9)
    reward = CiderD(references)
    assert reward.scores([(1, "red bus"), (2, "blue")]) == pytest.approx(list(values), abs=1e-9)


def test_a_word_of_every_picture_counts_nothing() -> None:
    reward = CiderD({1: ["a dog"], 2: ["a cat"]})
    assert reward.score(1, "a") == 0.0
    assert reward.score(1, "dog") > 1.0


def theirs(references: dict, candidates: dict) -> dict[str, float]:
    """pycocoevalcap run as its own evaluation runs it, on the same tokens."""
    truths = {key: [ptb_text(text) for text in texts] for key, texts in references.items()}
    guesses = {key: [ptb_text(text)] for key, text in candidates.items()}
    bleu = Bleu(4).compute_score(truths, guesses, verbose=0)[0]
    return dict(zip(METRICS, [*bleu, Rouge().compute_score(truths, guesses)[0],
                              Cider().compute_score(truths, guesses)[0]], strict=True))


CORPORA = {
    "plain": (DOGS, SAID),
    "one empty candidate": (DOGS, {**SAID, 2: ""}),
    "all empty": (DOGS, dict.fromkeys(DOGS, "...")),
    "one picture": ({1: DOGS[1]}, {1: SAID[1]}),
    "perfect": (DOGS, {key: texts[0] for key, texts in DOGS.items()}),
    "longer than the references": (DOGS, {key: " ".join([text] * 3) for key, text in SAID.items()}),
    "an empty reference": ({**DOGS, 1: ["", "a dog"]}, SAID),
}


@pytest.mark.parametrize("name", CORPORA)
def test_same_as_pycocoevalcap(name: str) -> None:
    references, candidates = CORPORA[name]
    ours = {metric: score.value for metric, score in caption_scores(references, candidates, intervals=False).items()}
    assert ours == pytest.approx(theirs(references, candidates), abs=1e-9)


def test_same_as_pycocoevalcap_on_photographs(data_root: Path) -> None:
    references, candidates = people_against_people(data_root)
    ours = caption_scores(references, candidates)
    expected = theirs(references, candidates)
    assert {name: score.value for name, score in ours.items()} == pytest.approx(expected, abs=1e-9)
    assert all(score.low < score.value < score.high for score in ours.values())


def people_against_people(data_root: Path) -> tuple[dict, dict]:
    """Of 300 photographs four captions as references and the fifth as candidate."""
    lines = (data_root / "flickr8k" / "captions.jsonl").read_text(encoding="utf-8").splitlines()[:300]
    rows = [json.loads(line) for line in lines]
    return ({row["image"]: row["captions"][:4] for row in rows}, {row["image"]: row["captions"][4] for row in rows})


def test_intervals_are_those_of_resampled_corpora() -> None:
    """The fast intervals against scoring each resample from scratch by pycocoevalcap (BLEU: nothing is held fixed)."""
    references = {key: DOGS[1 + key % 3] for key in range(12)}
    candidates = {key: list(SAID.values())[(key * 5 + key // 4) % 3] for key in range(12)}
    fast = caption_scores(references, candidates, seed=3)
    random = np.random.default_rng(3)
    slow = []
    for _ in range(1000):
        drawn = random.integers(0, 12, 12)
        truths = {i: [ptb_text(text) for text in references[key]] for i, key in enumerate(drawn)}
        guesses = {i: [ptb_text(candidates[key])] for i, key in enumerate(drawn)}
        slow.append(Bleu(4).compute_score(truths, guesses, verbose=0)[0][1])
    assert (fast["bleu_2"].low, fast["bleu_2"].high) == pytest.approx(tuple(np.percentile(slow, [2.5, 97.5])), abs=1e-9)


def test_intervals_depend_on_the_seed_alone() -> None:
    words = ["a", "dog", "cat", "man", "runs", "sits", "on", "the", "grass", "sofa", "bike"]
    random = np.random.default_rng(0)
    said = [" ".join(random.choice(words, 6)) for _ in range(90)]
    references, candidates = {i: said[i:i + 2] for i in range(40)}, {i: said[i + 2] for i in range(40)}
    first = caption_scores(references, candidates, seed=1)
    assert first == caption_scores(references, candidates, seed=1)
    other = caption_scores(references, candidates, seed=2)
    assert first["bleu_1"].value == other["bleu_1"].value and first["bleu_1"] != other["bleu_1"]


def test_without_intervals_all_three_are_the_value() -> None:
    for score in caption_scores(DOGS, SAID, intervals=False).values():
        assert score == Score(value=score.value, low=score.value, high=score.value)


@pytest.mark.parametrize(("references", "candidates", "message"), [
    ({}, {}, "no caption to score"),
    (DOGS, {1: "a dog"}, "has no candidate"),
    ({1: DOGS[1]}, SAID, "has no reference"),
    ({1: []}, {1: "a dog"}, "at least one reference"),
    ({1: "a dog"}, {1: "a dog"}, "needs a list"),
])
def test_what_cannot_be_scored_is_refused(references: dict, candidates: dict, message: str) -> None:
    with pytest.raises(NarratorError, match=message):
        caption_scores(references, candidates)


@pytest.mark.parametrize("name", CORPORA)
def test_reward_is_pycocoevalcaps_cider(name: str) -> None:
    references, candidates = CORPORA[name]
    reward = CiderD(references)
    expected = per_picture(references, candidates)
    assert reward.scores(candidates.items()) == pytest.approx(list(expected.cider_d), abs=1e-9)
    tokens = {key: ptb_tokens(text) for key, text in candidates.items()}
    assert reward.scores(tokens.items()) == reward.scores(candidates.items())


@pytest.mark.skipif(find_data_root() is None, reason="needs the data sets: see 'Data' in README.md")
def test_reward_is_exact_and_fast_on_photographs(data_root: Path) -> None:
    """160 captions (32 pictures, 5 samples each) within 30 ms: a self-critical step spends its time on the model."""
    references, candidates = people_against_people(data_root)
    reward = CiderD(references)
    expected = per_picture(references, candidates)
    assert reward.scores(candidates.items()) == pytest.approx(list(expected.cider_d), abs=1e-9)
    pairs = [(key, ptb_tokens(text)) for key, text in candidates.items()][:160]
    took = []
    for _ in range(5):  # the best of five: others may be using the machine
        started = time.process_time()
        reward.scores(pairs)
        took.append(time.process_time() - started)
    assert min(took) < 0.030, took


def test_reward_refuses_what_it_cannot_use() -> None:
    with pytest.raises(NarratorError, match="needs references"):
        CiderD({})
    with pytest.raises(NarratorError, match="has no reference"):
        CiderD({1: ["a dog"], 2: []})
    with pytest.raises(KeyError):
        CiderD({1: ["a dog"]}).score(2, "a dog")

"""`narrator agreement` on a small hand-made file in the format of Flickr8k-Expert, and Kendall's tau-c by itself."""

import itertools
import json
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from command_line import narrator, sentence

from narrator.commands.agreement import agreement, read_captions, read_ratings
from narrator.metrics.agreement import caption_values, tau_c
from narrator.metrics.scores import caption_scores
from narrator.records import NarratorError

PICTURES = {
    "1.jpg": ["A brown dog runs over the grass .", "A dog is running on grass .", "The dog runs outside ."],
    "2.jpg": ["Two boys play football .", "Boys are playing in a park .", "Two children with a ball ."],
    "3.jpg": ["A woman sits on a bench .", "A lady is sitting outside .", "The woman rests on a wooden bench ."],
    "4.jpg.1": ["A man surfs a big wave .", "A surfer on a wave .", "Someone is surfing ."],  # as one picture there is
}
RATED = [("1.jpg", "1.jpg#0", "4\t4\t4"), ("1.jpg", "2.jpg#1", "1\t1\t2"), ("1.jpg", "3.jpg#1", "1\t1\t1"),
         ("2.jpg", "1.jpg#2", "1\t2\t1"), ("2.jpg", "3.jpg#2", "1\t1\t1"), ("3.jpg", "2.jpg#1", "2\t2\t1"),
         ("3.jpg", "1.jpg#1", "3\t3\t4"), ("4.jpg", "3.jpg#0", "1\t2\t2"), ("4.jpg", "1.jpg#0", "2\t3\t1")]


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """(ratings, captions); Windows line ends in one of them, as people have."""
    captions, ratings = tmp_path / "Flickr8k.token.txt", tmp_path / "ExpertAnnotations.txt"
    captions.write_text("".join(f"{name}#{number}\t{text}\n" for name, texts in PICTURES.items()
                                for number, text in enumerate(texts)))
    ratings.write_bytes("".join(f"{picture}\t{caption}\t{given}\r\n" for picture, caption, given in RATED).encode())
    return ratings, captions


def by_pairs(values: Sequence[float], ratings: Sequence[int]) -> float:
    """tau-c by its definition, pair by pair."""
    surplus = 0
    for (x, y), (other_x, other_y) in itertools.combinations(zip(values, ratings, strict=True), 2):
        surplus += ((x > other_x) - (x < other_x)) * ((y > other_y) - (y < other_y))
    smaller = min(len(set(values)), len(set(ratings)))
    return 2 * surplus * smaller / (len(values) ** 2 * (smaller - 1))


def test_tau_c_is_that_of_its_definition() -> None:
    draw = random.Random(0)
    for levels in (2, 3, 9):
        drawn, rated = [draw.randrange(levels) / 7 for _ in range(80)], [draw.randint(1, 4) for _ in range(80)]
        assert tau_c(drawn, rated) == pytest.approx(by_pairs(drawn, rated))
    assert tau_c([1, 2, 3], [1, 2, 3]) == 1 and tau_c([1, 2, 3], [3, 2, 1]) == -1
    # Of scipy.stats.kendalltau(variant="c"), the example of its documentation.
    assert tau_c([12, 2, 1, 12, 2], [1, 4, 7, 1, 0]) == pytest.approx(-0.48)
    for values, ratings in (([1, 1], [1, 2]), ([1, 2], [3, 3]), ([], [])):
        with pytest.raises(NarratorError):
            tau_c(values, ratings)


def test_a_captions_own_values_are_those_of_the_scorer() -> None:
    references, texts = dict(enumerate(PICTURES.values())), dict(enumerate(["A dog on grass", "a ball", "bench", "x"]))
    values = caption_values(references, texts)
    together = caption_scores(references, texts, intervals=False)
    for name in ("rouge_l", "cider_d"):
        assert values[name].mean() == pytest.approx(together[name].value)
    for key, text in texts.items():
        alone = caption_scores({key: references[key]}, {key: text}, intervals=False)
        assert values["bleu_2"][key] == pytest.approx(alone["bleu_2"].value), text


def test_every_rating_counts_and_own_references_do_not(files: tuple[Path, Path]) -> None:
    references, captions = read_captions(files[1])
    candidates, own = read_ratings(files[0], references, captions)
    assert own == 1 and len(candidates) == 8 and candidates[0] == ("1.jpg", "Boys are playing in a park .", (1, 1, 2))
    assert len(references["4.jpg"]) == 3
    found = agreement(candidates, references)
    texts = [(picture, text, rating) for picture, text, given in candidates for rating in given]
    values = caption_values({at: references[row[0]] for at, row in enumerate(texts)},
                            {at: row[1] for at, row in enumerate(texts)})
    assert found["rouge_l"] == pytest.approx(by_pairs(values["rouge_l"].tolist(), [row[2] for row in texts]))


def test_command(files: tuple[Path, Path]) -> None:
    done = narrator("agreement", "--ratings", files[0], "--captions", files[1], "--json")
    assert done.returncode == 0 and done.stderr == ""
    answer = json.loads(done.stdout)
    assert set(answer) == {"n", "tau_c"} and answer["n"] == 24
    assert {"bleu_1", "bleu_4", "rouge_l", "rouge_2", "cider_d"} <= set(answer["tau_c"])
    assert all(-1 <= value <= 1 for value in answer["tau_c"].values())
    people = narrator("agreement", "--ratings", files[0], "--captions", files[1])
    assert "24 ratings of 8 candidates; 1 candidates are references" in people.stdout


DAMAGED = [("1.jpg\t2.jpg#0\t1\t1", "has 4 columns"), ("1.jpg\t2.jpg#0\t1\t1\t5", "a rating must be"),
           ("1.jpg\t2.jpg#0\t1\t\t3", "a rating must be"), ("1.jpg\t9.jpg#0\t1\t1\t1", "'9.jpg#0' is not among"),
           ("9.jpg\t2.jpg#0\t1\t1\t1", "'9.jpg' is not among")]


def test_damaged_lines_are_named_and_left_out(files: tuple[Path, Path]) -> None:
    clean = narrator("agreement", "--ratings", files[0], "--captions", files[1], "--json")
    with files[0].open("ab") as file:
        file.write(("\n" + "".join(line + "\n" for line, _ in DAMAGED)).encode() + b"\xff\xfe\t\n" * 3)
    with files[1].open("ab") as file:
        file.write(b"no id\tA dog .\n1.jpg#0\tTwice .\n5.jpg#0\n5.jpg#x\tA dog .\n")
    done = narrator("agreement", "--ratings", files[0], "--captions", files[1], "--json")
    assert (done.returncode, done.stdout) == (0, clean.stdout)
    for _, reason in DAMAGED[:5]:
        assert reason in done.stderr, reason
    assert "line 11: " in done.stderr and "3 more damaged lines" in done.stderr
    for reason in ("line 13: must be image.jpg#0", "same id as an earlier"):
        assert reason in done.stderr, reason


def test_what_cannot_be_told_is_one_sentence(files: tuple[Path, Path], tmp_path: Path) -> None:
    empty = tmp_path / "empty.txt"
    empty.write_text("")
    assert "has no caption" in sentence(narrator("agreement", "--ratings", files[0], "--captions", empty))
    assert "no candidate to compare" in sentence(narrator("agreement", "--ratings", empty, "--captions", files[1]))
    assert "cannot be read" in sentence(narrator("agreement", "--ratings", tmp_path / "x", "--captions", files[1]))
    few = tmp_path / "few.txt"
    few.write_text("1.jpg\t2.jpg#0\t1\t2\t1\n")
    done = narrator("agreement", "--ratings", few, "--captions", files[1], "--json")
    assert done.returncode == 0 and set(json.loads(done.stdout)["tau_c"].values()) == {None}
    assert "cider_d, rouge_2: the same for all candidates" in done.stderr
    same = tmp_path / "same.txt"
    same.write_text("1.jpg\t2.jpg#0\t1\t1\t1\n2.jpg\t1.jpg#0\t1\t1\t1\n")
    assert "are the same" in sentence(narrator("agreement", "--ratings", same, "--captions", files[1]))

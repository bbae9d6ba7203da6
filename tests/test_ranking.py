"""Bradley-Terry strengths: figures that others have published, strengths that are known, what votes cannot tell."""

import dataclasses
import itertools
import math
import time

import numpy as np
import pytest

from narrator.metrics.ranking import PRIOR, WITHIN, Likelihood, Ranking, ranking
from narrator.votes import Vote

# Wins of each team (row) over each other in 1987, and their log strengths relative to Baltimore, from Agresti (2002),
# "Categorical data analysis", table 10.11.
TEAMS = ("Milwaukee", "Detroit", "Toronto", "New York", "Boston", "Cleveland", "Baltimore")
WON = [[0, 7, 9, 7, 7, 9, 11], [6, 0, 7, 5, 11, 9, 9], [4, 6, 0, 7, 7, 8, 12], [6, 8, 6, 0, 6, 7, 10],
       [6, 2, 6, 7, 0, 7, 12], [4, 4, 5, 6, 6, 0, 6], [2, 4, 1, 3, 1, 7, 0]]
PUBLISHED = [1.58, 1.44, 1.29, 1.25, 1.11, 0.68, 0.0]
# Their standard errors, as the R package BradleyTerry2 prints them (Turner & Firth 2012, "Bradley-Terry models in R").
ERRORS = [0.3433, 0.3396, 0.3367, 0.3359, 0.3339, 0.3319]


def vote(variants: str, winner: str | None = None, outcome: str = "") -> Vote:
    """A vote on variants of one letter each."""
    return Vote(variants=tuple(variants), texts=tuple(variants), winner=winner,
                outcome=outcome or ("best" if winner else "tie"))


def log_posterior(logs: np.ndarray, votes: list[Vote], names: str) -> float:
    """Up to a constant: what the strengths must maximise, written down from the docstring."""
    place = {name: number for number, name in enumerate(names)}
    total = float(PRIOR * (logs / 2 - np.log1p(np.exp(logs))).sum())
    for one in votes:
        shown = logs[[place[name] for name in one.variants]]
        chosen = logs[place[one.winner]] if one.winner else shown.mean()
        total += float(chosen - np.log(np.exp(shown).sum()))
    return total


def test_the_published_strengths_of_baseball_teams_are_found() -> None:
    pairs = list(itertools.combinations(range(7), 2))
    shown = np.array([[float(team in pair) for team in range(7)] for pair in pairs])
    counts = np.array([float(WON[a][b] + WON[b][a]) for a, b in pairs])
    model = Likelihood(np.array(WON, dtype=float).sum(axis=1), shown, counts, prior=0.0)
    found = model.highest(np.zeros(7), np.ones(7))
    assert found - found[-1] == pytest.approx(PUBLISHED, abs=0.005)
    assert found.mean() == pytest.approx(0.0, abs=1e-9)
    errors = np.sqrt(np.diag(np.linalg.inv(model.slopes(found)[1][:-1, :-1])))  # of differences to the last
    assert errors == pytest.approx(ERRORS, abs=5e-5)


def test_votes_of_all_kinds_give_the_maximum_of_the_posterior() -> None:
    """No step from it goes up, for sets of 2, 3 and 4, bests, ties and all bad."""
    votes = [vote("ab", "a"), vote("abc", "c"), vote("abcd", "a"), vote("dcba", "d"), vote("cd"), vote("bc", "b"),
             vote("abc", outcome="all bad"), vote("ad", "a"), vote("bd", "b")]
    found = ranking(votes)
    assert len(found.groups) == 1 and found.votes == 9 and found.note == ""
    logs = np.array([row.strength.value for row in sorted(found.groups[0], key=lambda row: row.variant)])
    grid = np.linspace(-2, 2, 401)  # strengths are told with mean 0; the prior fixes where the model has them
    logs = logs + grid[int(np.argmax([log_posterior(logs + shift, votes, "abcd") for shift in grid]))]
    best = log_posterior(logs, votes, "abcd")
    for direction in itertools.product((-0.05, 0.0, 0.05), repeat=4):
        assert log_posterior(logs + np.array(direction), votes, "abcd") <= best + 1e-4
    rows = {row.variant: row for row in found.groups[0]}
    assert (rows["a"].votes, rows["a"].best, rows["a"].ties, rows["a"].all_bad) == (6, 3, 0, 1)
    assert (rows["c"].votes, rows["c"].best, rows["c"].ties, rows["c"].all_bad) == (6, 1, 1, 1)


def test_known_strengths_lie_in_the_intervals_and_the_order_is_right() -> None:
    truth = dict(zip("abcde", (1.2, 0.5, 0.0, -0.6, -1.1), strict=True))
    random = np.random.default_rng(3)
    votes = []
    for _ in range(600):
        shown = "".join(random.permutation(list(truth))[: random.integers(2, 5)])
        chances = np.exp([truth[name] for name in shown])
        votes.append(vote(shown, str(random.choice(list(shown), p=chances / chances.sum()))))
    found = ranking(votes).groups[0]
    assert [row.variant for row in found] == list("abcde")
    inside = [row.strength.low <= truth[row.variant] <= row.strength.high for row in found]
    assert sum(inside) >= 4 and all(row.strength.low < row.strength.value < row.strength.high for row in found)
    assert all(row.strength.high - row.strength.low < 0.8 for row in found)
    few = ranking(votes[:40]).groups[0]
    assert min(row.strength.high - row.strength.low for row in few) > 0.8  # fewer votes tell less
    assert found[0].chance.value == pytest.approx(1 / (1 + np.exp(-found[0].strength.value)))


def test_what_no_vote_connects_is_not_ranked_against_each_other() -> None:
    found = ranking([vote("ab", "a"), vote("bc", "b"), vote("xy", "y")])
    assert [[row.variant for row in group] for group in found.groups] == [["a", "b", "c"], ["y", "x"]]
    assert found.note == "No vote connects these groups, so they are ranked each for itself: a, b, c; x, y."
    joined = ranking([vote("ab", "a"), vote("bc", "b"), vote("xy", "y"), vote("cx")])
    assert len(joined.groups) == 1 and joined.note == ""


def test_ties_alone_leave_all_equal_and_a_sweep_stays_finite() -> None:
    equal = ranking([vote("abc"), vote("abc", outcome="all bad")]).groups[0]
    assert [row.strength.value for row in equal] == pytest.approx([0.0] * 3, abs=1e-6)
    assert [row.chance.value for row in equal] == pytest.approx([0.5] * 3, abs=1e-6)
    assert all(row.chance.low < 0.25 and row.chance.high > 0.75 for row in equal)
    first, last = ranking([vote("ab", "a")] * 12).groups[0]
    assert first.variant == "a" and 1.0 < first.strength.value < 3.0 and last.best == 0
    assert 0.0 < first.strength.low < 1.0 and 4.0 < first.strength.high < 5.0
    assert last.strength.low == pytest.approx(-first.strength.high, abs=2e-3)


def test_one_vote_tells_almost_nothing_and_each_further_one_more() -> None:
    """Against the definition: of a likelihood of one unknown, worked out on a grid."""
    grid = np.linspace(-8, 8, 16_001)
    for count in (1, 3, 4, 50):
        first = ranking([vote("ab", "a")] * count).groups[0][0]
        height = -count * np.logaddexp(0, -2 * grid) - np.log(2 + 2 * np.cosh(grid))
        inside = grid[height >= height.max() - WITHIN]
        assert (first.strength.low, first.strength.high) == pytest.approx((inside[0], inside[-1]), abs=3e-3)
    one, four = (ranking([vote("ab", "a")] * count).groups[0][0].chance for count in (1, 4))
    assert one.low < 0.3 and one.high > 0.95 and one.low < four.low
    shown = ranking([vote("abcd", "b")]).groups[0]
    assert shown[0].variant == "b" and all(row.chance.high - row.chance.low > 0.5 for row in shown)


@pytest.mark.parametrize("count", [1, 3, 10])
def test_intervals_of_few_votes_hold_the_truth_as_often_as_they_say(count: int) -> None:
    """Every outcome of so many votes on two, each as likely as a truth makes it."""
    ends = [ranking([vote("ab", "a")] * won + [vote("ab", "b")] * (count - won)).groups[0] for won in range(count + 1)]
    strength = [next(row.strength for row in rows if row.variant == "a") for rows in ends]
    held = []
    for truth in np.linspace(-2, 2, 41):
        chance = 1 / (1 + math.exp(-2 * truth))  # of "a" over "b", whose log strengths are `truth` and -`truth`
        held.append(sum(math.comb(count, won) * chance ** won * (1 - chance) ** (count - won)
                        for won, one in enumerate(strength) if one.low <= truth <= one.high))
    assert min(held) > 0.87 and sum(held) / len(held) > 0.95


def test_no_votes_no_ranking_and_the_same_votes_give_the_same_figures() -> None:
    assert ranking([]) == Ranking(groups=(), votes=0)
    votes = [vote("abc", name) for name in "aabac"] + [vote("ab")]
    assert dataclasses.asdict(ranking(votes)) == dataclasses.asdict(ranking(iter(votes)))
    assert ranking(votes) == ranking([dataclasses.replace(one, variants=one.variants[::-1]) for one in votes])


def test_ten_thousand_votes_take_no_second() -> None:
    random = np.random.default_rng(0)
    names = "abcdefgh"
    votes = [vote(shown := "".join(random.choice(list(names), 2, replace=False)), shown[int(random.random() < 0.4)])
             for _ in range(10_000)]
    started = time.process_time()
    assert ranking(votes).votes == 10_000
    assert time.process_time() - started < 2.0

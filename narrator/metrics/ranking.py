"""Which variants people prefer: Bradley-Terry strengths of votes on 2 to 4 descriptions, with 95 % intervals.

Each variant i has a strength p_i > 0. Of a set S that is shown, i is chosen as the best with probability

    p_i / sum over j in S of p_j

which is Luce's choice axiom (Luce 1959, "Individual choice behavior") and, of two, the model of Bradley & Terry (1952,
"Rank analysis of incomplete block designs: I. The method of paired comparisons").

- "best": one choice of the winner among those shown. The others are not ranked among each other.
- "tie" and "all bad": the choice is shared evenly, 1/|S| for each of those shown, so that of two each has half a win.
  Both say that none was preferred; how often a variant was among "all bad" is told beside its strength, which knows
  nothing of it.

The strengths maximise the likelihood. Its maximum is finite only where each variant won and lost (Ford 1957); so each
is given one imagined vote, a tie with a variant of strength 1, which is a weak prior (Caron & Doucet 2012, "Efficient
Bayesian inference for generalized Bradley-Terry models") that a few votes outweigh: on the chance of being preferred to
that variant it is Jeffreys' Beta(1/2, 1/2). It makes the maximum unique, too. Newton's method finds it, since the
logarithm is concave in log p.

Intervals are profiles of that penalised likelihood: of log p_i less the mean of log p, all values for which the best
choice of the others leaves its logarithm within 1.92 (half of the 95 % quantile of chi-squared, one degree of freedom)
of the maximum. They are wide after one vote, and reach far on the side of a variant that has won or lost all of its
votes. Heinze & Schemper 2002 ("A solution to the problem of separation in logistic regression") and Bull, Lewinger &
Lee 2007 ("Confidence intervals for multinomial logistic regression in sparse data") prefer them there to the estimate
plus or minus two standard errors; resampling would show no width at all. With 1 to 30 votes on two variants they hold
the truth 96 times of 100, averaged over chances of one to be preferred from 50 to 98 %, and never less than 87 times.

Variants that no chain of votes connects cannot be compared: each connected group has a scale of its own, on which the
mean of log p is 0.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from typing import Protocol

import numpy as np

from narrator.records import Score

PRIOR = 1.0  # imagined votes of each variant
WITHIN = 1.920729  # what the log-likelihood may fall by within a 95 % interval
_CLOSE = 1e-9  # largest change of a log strength in a step at which the climb ends
_MOST_STEPS = 200  # of a climb; a handful in practice
_LONGEST_STEP = 2.0  # change of a log strength: further away the curvature at the start says little
_PRECISE = 1e-3  # of the end of an interval


class Voted(Protocol):
    """A vote, as narrator.votes.Vote is one."""

    @property
    def variants(self) -> tuple[str, ...]: ...

    @property
    def outcome(self) -> str: ...

    @property
    def winner(self) -> str | None: ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ranked:
    """A variant among those that votes connect it with.

    strength: natural logarithm of p, 0 for the average of the group. chance: of being preferred to an average one of
    the group, 0..1, which is 1 / (1 + exp(-strength)). votes: those in which it was shown, of which it was the `best`,
    one of `ties` or of `all_bad`.
    """

    variant: str
    strength: Score
    chance: Score
    votes: int
    best: int
    ties: int
    all_bad: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ranking:
    """Groups that votes connect, that with the most votes first, in each the strongest first; the number of votes; and
    a sentence where there are several groups, "" else."""

    groups: tuple[tuple[Ranked, ...], ...]
    votes: int
    note: str = ""


class Likelihood:
    """The penalised log-likelihood of N log strengths, up to a constant.

    wins: (N,) choices that fell on each variant. shown: (S, N) which variants are in each of S sets, 0 or 1. counts:
    (S,) how often each set was voted on. prior: imagined votes of each variant; with 0 the votes have to be such that a
    maximum exists, and only differences count.
    """

    def __init__(self, wins: np.ndarray, shown: np.ndarray, counts: np.ndarray, prior: float = PRIOR) -> None:
        self.wins, self.shown, self.counts, self.prior = wins, shown, counts, prior

    def at(self, logs: np.ndarray) -> float:
        """Its height at these log strengths (N,)."""
        chosen = self.wins @ logs - self.counts @ np.log(self.shown @ np.exp(logs))
        return float(chosen + self.prior * (logs / 2 - np.logaddexp(0.0, logs)).sum())

    def slopes(self, logs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(gradient (N,), observed information (N, N): minus the second derivatives)."""
        chances = self.shown * np.exp(logs)  # (S, N)
        chances /= chances.sum(axis=1, keepdims=True)
        expected, own = self.counts @ chances, 1.0 / (1.0 + np.exp(-logs))
        spread = np.diag(expected + self.prior * own * (1.0 - own))
        return (self.wins - expected + self.prior * (0.5 - own),
                spread - (chances * self.counts[:, None]).T @ chances)

    def highest(self, start: np.ndarray, fixed: np.ndarray | None = None) -> np.ndarray:
        """The log strengths of its maximum, by Newton steps from `start`; of those that keep `fixed` @ logs as it is
        at the start, where that is given. All are (N,)."""
        logs, height = start, self.at(start)
        for _ in range(_MOST_STEPS):
            step = _newton(*self.slopes(logs), fixed)
            step *= min(1.0, _LONGEST_STEP / max(float(np.abs(step).max()), _CLOSE))
            while (reached := self.at(logs + step)) < height and float(np.abs(step).max()) > _CLOSE:
                step = step / 2
            if float(np.abs(step).max()) <= _CLOSE:
                break
            logs, height = logs + step, reached
        return logs

    def interval(self, best: np.ndarray, place: int) -> tuple[float, float]:
        """The 95 % interval of the log strength at `place`, less the mean. best: the maximum."""
        fixed = np.full(len(best), -1.0 / len(best))
        fixed[place] += 1.0
        return self._end(best, fixed, -1.0), self._end(best, fixed, 1.0)

    def _end(self, best: np.ndarray, fixed: np.ndarray, side: float) -> float:
        """How far `fixed` @ logs may go to one side before the likelihood has fallen by WITHIN; by bisection."""
        lowest = self.at(best) - WITHIN
        reach = side * float(np.sqrt(fixed @ np.linalg.solve(self.slopes(best)[1], fixed)))  # a standard error
        direction = fixed / (fixed @ fixed)
        logs, inner = best, float(fixed @ best)
        outer = inner + 2 * reach
        while self.at(logs := self.highest(logs + (outer - fixed @ logs) * direction, fixed)) > lowest:
            inner, outer = outer, outer + 2 * reach
        while abs(outer - inner) > _PRECISE:
            middle = (inner + outer) / 2
            logs = self.highest(logs + (middle - fixed @ logs) * direction, fixed)
            inner, outer = (middle, outer) if self.at(logs) > lowest else (inner, middle)
        return (inner + outer) / 2


def ranking(votes: Iterable[Voted]) -> Ranking:
    """The ranking of all variants that were voted on; without votes there are no groups."""
    votes = list(votes)
    groups = []
    for names in _connected(votes):
        own = [vote for vote in votes if vote.variants[0] in names]
        groups.append((len(own), _ranked(sorted(names), own)))
    groups.sort(key=lambda group: -group[0])
    rows = tuple(group for _, group in groups)
    return Ranking(groups=rows, votes=len(votes), note=_note(rows))


def _newton(gradient: np.ndarray, information: np.ndarray, fixed: np.ndarray | None) -> np.ndarray:
    """A step to the maximum of the parabola that fits here; with `fixed`, of its part where `fixed` @ step = 0."""
    if fixed is None:
        return np.linalg.solve(information, gradient)
    bordered = np.block([[information, fixed[:, None]], [fixed[None, :], np.zeros((1, 1))]])
    return np.linalg.solve(bordered, np.append(gradient, 0.0))[:-1]


def _connected(votes: Sequence[Voted]) -> list[set[str]]:
    """The variants of each group that a chain of votes connects."""
    groups: list[set[str]] = []
    for vote in votes:
        joined = set(vote.variants).union(*(group for group in groups if group & set(vote.variants)))
        groups = [group for group in groups if not group & joined] + [joined]
    return groups


def _ranked(names: Sequence[str], votes: Sequence[Voted]) -> tuple[Ranked, ...]:
    """One group. Votes on the same set with the same outcome are the same to the model: they are counted, so that the
    time does not depend on how many there are."""
    kinds = Counter((tuple(sorted(vote.variants)), vote.winner if vote.outcome == "best" else None) for vote in votes)
    each = np.array(list(kinds.values()), dtype=np.float64)  # (K,)
    shown, fell, of_set = _choices(names, list(kinds))  # (S, N), (K, N), (K, S)
    model = Likelihood(each @ fell, shown, each @ of_set)
    best = model.highest(np.zeros(len(names)))
    rows = []
    for place, name in enumerate(names):
        low, high = model.interval(best, place)
        rows.append(_row(name, votes, Score(value=float(best[place] - best.mean()), low=low, high=high)))
    return tuple(sorted(rows, key=lambda row: (-row.strength.value, row.variant)))


def _choices(names: Sequence[str], kinds: Sequence[tuple[tuple[str, ...], str | None]]
             ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(which variants are in each set, how a choice of each kind falls on variants, which set each kind is of)."""
    place = _places(names)
    sets = _places(dict.fromkeys(members for members, _ in kinds))
    shown, fell, of_set = (np.zeros(shape) for shape in
                           ((len(sets), len(names)), (len(kinds), len(names)), (len(kinds), len(sets))))
    for kind, (members, winner) in enumerate(kinds):
        columns = [place[name] for name in members]
        shown[sets[members], columns] = 1.0
        of_set[kind, sets[members]] = 1.0
        if winner is None:
            fell[kind, columns] = 1.0 / len(members)
        else:
            fell[kind, place[winner]] = 1.0
    return shown, fell, of_set


def _places(values: Iterable[Hashable]) -> dict[Hashable, int]:
    return {value: number for number, value in enumerate(values)}


def _row(name: str, votes: Sequence[Voted], strength: Score) -> Ranked:
    own = [vote for vote in votes if name in vote.variants]
    chance = [1.0 / (1.0 + float(np.exp(-value))) for value in (strength.value, strength.low, strength.high)]
    came = Counter(vote.outcome for vote in own)
    return Ranked(variant=name, strength=strength, chance=Score(value=chance[0], low=chance[1], high=chance[2]),
                  votes=len(own), best=sum(vote.outcome == "best" and vote.winner == name for vote in own),
                  ties=came["tie"], all_bad=came["all bad"])


def _note(groups: Sequence[Sequence[Ranked]]) -> str:
    if len(groups) < 2:
        return ""
    named = "; ".join(", ".join(sorted(row.variant for row in group)) for group in groups)
    return f"No vote connects these groups, so they are ranked each for itself: {named}."

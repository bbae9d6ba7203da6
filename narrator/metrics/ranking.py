"""Which variants people prefer: Bradley-Terry strengths of votes on 2 to 4 descriptions, with 95 % intervals.

Each variant i has a strength p_i > 0. Of a set S that is shown, i is chosen as the best with probability

    p_i / sum over j in S of p_j

which is Luce's choice axiom (Luce 1959, "Individual choice behavior") and, of two, the model of Bradley & Terry (1952,
"Rank analysis of incomplete block designs: I. The method of paired comparisons").

- "best": one choice of the winner among those shown. The others are not ranked among each other.
- "tie" and "all bad": the choice is shared evenly, 1/|S| for each of those shown, so that of two each has half a win.
  Both say that none was preferred; how often a variant was among "all bad" is told beside its strength, which knows
  nothing of it.

The strengths maximise the likelihood by the MM algorithm of Hunter (2004, "MM algorithms for generalized Bradley-Terry
models", Annals of Statistics 32), p_i <- w_i / sum over votes with i of 1 / sum over S of p_j, w_i the choices that
fell on i. That maximum is finite only where each variant won and lost (Ford 1957); so each is given one imagined vote,
a tie with a variant of strength 1, which is a weak prior (Caron & Doucet 2012, "Efficient Bayesian inference for
generalized Bradley-Terry models") that a few votes outweigh. It makes the maximum unique, too.

Intervals: percentiles 2.5 and 97.5 of resamples of the votes with replacement (Efron 1979); the same seed gives the
same ones. Variants that no chain of votes connects cannot be compared: each connected group has a scale of its own, on
which the mean of log p is 0.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from typing import Protocol

import numpy as np

from narrator.records import Score

RESAMPLES = 1000
PRIOR = 1.0  # imagined votes of each variant
_CLOSE = 1e-8  # largest change of a log strength in a step at which the iteration ends
_MOST_STEPS = 10_000


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


def ranking(votes: Iterable[Voted], *, resamples: int = RESAMPLES, seed: int = 0) -> Ranking:
    """The ranking of all variants that were voted on; without votes there are no groups."""
    votes = list(votes)
    groups = []
    for names in _connected(votes):
        own = [vote for vote in votes if vote.variants[0] in names]
        groups.append((len(own), _ranked(sorted(names), own, resamples, seed)))
    groups.sort(key=lambda group: -group[0])
    rows = tuple(group for _, group in groups)
    return Ranking(groups=rows, votes=len(votes), note=_note(rows))


def strengths(wins: np.ndarray, shown: np.ndarray, counts: np.ndarray, prior: float = PRIOR) -> np.ndarray:
    """Log strengths (R, N), each row with mean 0, by Hunter's MM algorithm; R problems at once.

    wins: (R, N) choices that fell on each of N variants. shown: (S, N) which variants are in each of S sets, 0 or 1.
    counts: (R, S) how often each set was voted on. prior: imagined votes of each variant; with 0 they have to be such
    that a maximum exists.
    """
    power, logs = np.ones_like(wins, dtype=np.float64), np.zeros_like(wins, dtype=np.float64)  # (R, N)
    for _ in range(_MOST_STEPS):
        rivals = (counts / (power @ shown.T)) @ shown + prior / (power + 1.0)  # (R, N)
        power = (wins + prior / 2) / rivals
        before, logs = logs, np.log(power)
        logs -= logs.mean(axis=1, keepdims=True)  # the common scale, which nobody sees, takes far more steps
        if float(np.abs(logs - before).max(initial=0.0)) < _CLOSE:
            break
    return logs


def _connected(votes: Sequence[Voted]) -> list[set[str]]:
    """The variants of each group that a chain of votes connects."""
    groups: list[set[str]] = []
    for vote in votes:
        joined = set(vote.variants).union(*(group for group in groups if group & set(vote.variants)))
        groups = [group for group in groups if not group & joined] + [joined]
    return groups


def _ranked(names: Sequence[str], votes: Sequence[Voted], resamples: int, seed: int) -> tuple[Ranked, ...]:
    """One group. Votes on the same set with the same outcome are the same to the model: they are counted, so that the
    time does not depend on how many there are."""
    kinds = Counter((tuple(sorted(vote.variants)), vote.winner if vote.outcome == "best" else None) for vote in votes)
    each = np.array(list(kinds.values()), dtype=np.float64)  # (K,)
    shown, fell, of_set = _choices(names, list(kinds))  # (S, N), (K, N), (K, S)
    random = np.random.default_rng(seed)
    drawn = random.multinomial(len(votes), each / each.sum(), size=resamples).astype(np.float64)  # (R, K)
    amounts = np.vstack([each, drawn])
    logs = strengths(amounts @ fell, shown, amounts @ of_set)  # (1 + R, N)
    low, high = np.percentile(logs[1:] if resamples else logs, [2.5, 97.5], axis=0)
    rows = [_row(name, votes, Score(value=float(logs[0, i]), low=float(low[i]), high=float(high[i])))
            for i, name in enumerate(names)]
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

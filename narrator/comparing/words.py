"""Which words make the difference."""

from __future__ import annotations

from collections.abc import Sequence

from narrator.wording import word_spans


def only_here(texts: Sequence[str]) -> list[tuple[int, ...]]:
    """For each text the places (0 is its first word) of the words that no other text holds, small and capital letters
    the same. Empty texts are not compared; with fewer than two others there is nothing to mark.

    >>> only_here(["A brown dog.", "A dog runs."])
    [(1,), (2,)]
    """
    words = [[text[start:end].casefold() for start, end in word_spans(text)] for text in texts]
    if sum(map(bool, words)) < 2:
        return [()] * len(texts)
    found = []
    for place, mine in enumerate(words):
        others = set().union(*(theirs for at, theirs in enumerate(words) if at != place))
        found.append(tuple(index for index, word in enumerate(mine) if word not in others))
    return found


def listed(text: str, places: Sequence[int]) -> list[str]:
    """The words at these places, each once, in order."""
    spans = word_spans(text)
    return list(dict.fromkeys(text[slice(*spans[place])] for place in places if place < len(spans)))

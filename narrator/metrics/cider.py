"""CIDEr-D as a reward: references weighed once, then thousands of captions scored a second.

CIDEr-D: Vedantam et al. 2015, arXiv:1411.5726, as pycocoevalcap.cider counts it (n = 1..4, sigma 6, clipped, times 10).
"""

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

from narrator.metrics.tokenize import ptb_tokens
from narrator.records import NarratorError

_LONGEST = 4
_SIGMA = 6.0
Words = str | Sequence[str]
Ngram = tuple[str, ...]


class CiderD:
    """Scores captions against the references of a corpus, to 1e-6 as pycocoevalcap's Cider does on that corpus.

    references: picture -> its captions; a str is a raw caption and is tokenized, a sequence of str is taken as tokens.
    Document frequencies are counted once, over these pictures (one alone scores 0). Raises NarratorError when empty.
    """

    def __init__(self, references: Mapping[Any, Sequence[Words]]) -> None:
        if not references:
            raise NarratorError("CIDEr-D needs references. Give at least two pictures with a caption each.")
        shared: dict[Ngram, Ngram] = {}  # one tuple for each n-gram however often it occurs: half the memory
        counts = {key: [{shared.setdefault(gram, gram): count for gram, count in _ngrams(_tokens(words)).items()}
                        for words in captions] for key, captions in references.items()}
        frequency = Counter(gram for captions in counts.values() for gram in set().union(*captions))
        self._unseen = math.log(len(references))  # inverse document frequency of what no reference says
        self._idf = {gram: self._unseen - math.log(n) for gram, n in frequency.items()}
        self._pictures = {key: self._weigh(key, captions) for key, captions in counts.items()}

    def score(self, key: Hashable, words: Words) -> float:
        """CIDEr-D (0 to 10) of one caption for picture `key`; an unknown key is a KeyError."""
        postings, lengths = self._pictures[key]
        tokens = _tokens(words)
        norms = [0.0] * _LONGEST
        hits = [[0.0] * _LONGEST for _ in lengths]
        for gram, count in _ngrams(tokens).items():
            n = len(gram) - 1
            weight = count * self._idf.get(gram, self._unseen)
            norms[n] += weight * weight
            for r, theirs, normed in postings.get(gram, ()):
                hits[r][n] += min(weight, theirs) * normed
        length = max(0, len(tokens) - 1)  # in bigrams, as pycocoevalcap counts it
        total = 0.0
        for mine, their_length in zip(hits, lengths, strict=True):
            similarity = sum(hit / math.sqrt(norm) for hit, norm in zip(mine, norms, strict=True) if norm)
            total += similarity * math.exp(-((length - their_length) ** 2) / (2 * _SIGMA**2))
        return 10.0 * total / _LONGEST / len(lengths)

    def scores(self, pairs: Iterable[tuple[Hashable, Words]]) -> list[float]:
        """`score` of each (key, caption)."""
        return [self.score(key, words) for key, words in pairs]

    def _weigh(self, key: Hashable, captions: list[dict[Ngram, int]]
               ) -> tuple[dict[Ngram, tuple[tuple[int, float, float], ...]], list[int]]:
        """n-gram -> (reference, TF-IDF weight, the same over its vector's norm); reference lengths in bigrams."""
        if not captions:
            raise NarratorError(f"Picture {key!r} has no reference caption. Give it one, or leave it out.")
        postings: dict[Ngram, tuple[tuple[int, float, float], ...]] = {}
        for r, counts in enumerate(captions):
            norms = [0.0] * _LONGEST
            for gram, count in counts.items():
                norms[len(gram) - 1] += (count * self._idf[gram]) ** 2
            for gram, count in counts.items():
                norm = math.sqrt(norms[len(gram) - 1])
                if norm:
                    weight = count * self._idf[gram]
                    postings[gram] = (*postings.get(gram, ()), (r, weight, weight / norm))
        return postings, [sum(count for gram, count in counts.items() if len(gram) == 2) for counts in captions]


def _tokens(words: Words) -> Sequence[str]:
    return ptb_tokens(words) if isinstance(words, str) else words


def _ngrams(tokens: Sequence[str]) -> Counter[Ngram]:
    """How often each run of 1 to 4 tokens occurs."""
    return Counter(tuple(tokens[i:i + n]) for n in range(1, _LONGEST + 1) for i in range(len(tokens) - n + 1))

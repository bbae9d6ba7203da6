"""How close captions come to what people wrote: BLEU-1..4, ROUGE-L and CIDEr-D with 95 % bootstrap intervals.

The values are those of pycocoevalcap's scorers on our PTB-like tokens (narrator.metrics.tokenize). With c a candidate
and r its references:

- BLEU-n (Papineni et al. 2002, "BLEU: a method for automatic evaluation of machine translation"), of the whole corpus:
  (p_1 * ... * p_n)^(1/n) * exp(min(0, 1 - |r|/|c|)); p_k: clipped share of matching k-grams; |r|: sum of the lengths of
  the references closest in length.
- ROUGE-L (Lin 2004, "ROUGE: a package for automatic evaluation of summaries"), mean over pictures: F-measure, beta 1.2,
  of the longest common subsequence; precision and recall each at its best reference.
- CIDEr-D (Vedantam et al. 2015, "CIDEr: consensus-based image description evaluation"), mean over pictures:
  10 * mean over n = 1..4 and references of exp(-(l_c - l_r)^2 / (2 * 6^2)) * min(g_c, g_r) . g_r / (|g_c| |g_r|), g the
  TF-IDF vectors of n-grams, l lengths (that library counts bigrams), document frequencies counted over the pictures
  scored. Not multiplied by 100: people score about 0.8 to 1.0 against each other.
"""

import dataclasses
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from narrator.metrics.cider import CiderD
from narrator.metrics.tokenize import ptb_text
from narrator.records import NarratorError, Score

__all__ = ["METRICS", "CiderD", "PerPicture", "bleu_of", "caption_scores", "corpus", "per_picture", "resamples",
           "scores_of"]

METRICS = ("bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l", "cider_d")
RESAMPLES = 1000
_TINY, _SMALL = 1e-15, 1e-9  # pycocoevalcap's guards against division by zero: kept, so that the values are the same


@dataclasses.dataclass(frozen=True, kw_only=True)
class PerPicture:
    """What each of N pictures contributes, in the order of `keys`.

    bleu: (N, 10) counts: candidate length, closest reference length, candidate's 1..4-grams, matching 1..4-grams.
    rouge_l, cider_d: (N,) values whose mean is the corpus value.
    """

    keys: tuple[Hashable, ...]
    bleu: np.ndarray
    rouge_l: np.ndarray
    cider_d: np.ndarray


def caption_scores(references: Mapping[Any, Sequence[str]], candidates: Mapping[Any, str], *, intervals: bool = True,
                   seed: int = 0) -> dict[str, Score]:
    """The six METRICS of captions, as fractions (CIDEr-D on its own scale), each with a 95 % interval.

    Both mappings hold raw captions under the same keys (pictures); otherwise NarratorError. Intervals: percentiles 2.5
    and 97.5 of 1,000 resamples of the pictures (Efron 1979), CIDEr-D's document frequencies held fixed; the same seed
    gives the same ones. Without `intervals` low = high = value. One picture alone has CIDEr-D 0: no n-gram tells it
    from others.
    """
    return scores_of(per_picture(references, candidates), intervals=intervals, seed=seed)


def scores_of(parts: PerPicture, *, intervals: bool = True, seed: int = 0) -> dict[str, Score]:
    """`caption_scores` of pictures whose shares are known."""
    whole = corpus(parts, np.ones((1, len(parts.keys))))[0]
    low = high = whole
    if intervals:
        drawn = np.concatenate([corpus(parts, weights) for weights in resamples(len(parts.keys), seed)])
        low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    return {name: Score(value=float(whole[i]), low=float(low[i]), high=float(high[i]))
            for i, name in enumerate(METRICS)}


def per_picture(references: Mapping[Any, Sequence[str]], candidates: Mapping[Any, str]) -> PerPicture:
    """Each picture's share in the scores. Raises NarratorError when the keys differ or a picture has no reference."""
    from pycocoevalcap.bleu.bleu_scorer import BleuScorer
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    _check(references, candidates)
    keys = tuple(candidates)
    truths = {key: [ptb_text(text) for text in references[key]] for key in keys}
    guesses = {key: [ptb_text(candidates[key])] for key in keys}
    bleu = BleuScorer(n=4)
    for key in keys:
        bleu += (guesses[key][0], truths[key])
    counts = np.array([[part["testlen"], min((abs(length - part["testlen"]), length) for length in part["reflen"])[1],
                        *part["guess"], *part["correct"]] for part in bleu.ctest], dtype=np.float64)  # (N, 10)
    cider = np.zeros(len(keys))
    if any(text for texts in truths.values() for text in texts):  # the library fails where no reference holds a word
        cider = Cider().compute_score(truths, guesses)[1]
    return PerPicture(keys=keys, bleu=counts, rouge_l=Rouge().compute_score(truths, guesses)[1], cider_d=cider)


def _check(references: Mapping[Any, Sequence[str]], candidates: Mapping[Any, str]) -> None:
    if not candidates:
        raise NarratorError("There is no caption to score. Give at least one candidate that has a reference.")
    for key in candidates.keys() ^ references.keys():
        missing = "reference" if key in candidates else "candidate"
        raise NarratorError(f"Picture {key!r} has no {missing}. Give both, or leave the picture out of both.")
    for key, texts in references.items():
        if isinstance(texts, str) or not texts:
            raise NarratorError(f"Picture {key!r} needs a list of at least one reference caption.")


def corpus(parts: PerPicture, weights: np.ndarray) -> np.ndarray:
    """The METRICS for R ways to weigh the pictures: (R, N) how often each counts -> (R, 6)."""
    bleu = bleu_of(weights @ parts.bleu)  # (R, N) -> (R, 4)
    means = weights @ np.stack([parts.rouge_l, parts.cider_d], axis=1) / weights.sum(axis=1, keepdims=True)  # (R, 2)
    return np.concatenate([bleu, means], axis=1)


def bleu_of(sums: np.ndarray) -> np.ndarray:
    """BLEU-1 to 4 of R corpora, or of R single pictures: counts as in PerPicture.bleu, summed, (R, 10) -> (R, 4)."""
    length, closest, guesses, matches = sums[:, 0], sums[:, 1], sums[:, 2:6], sums[:, 6:10]
    precision = np.cumprod((matches + _TINY) / (guesses + _SMALL), axis=1)  # (R, 4)
    ratio = (length + _TINY) / (closest + _SMALL)
    brevity = np.exp(np.minimum(0.0, 1.0 - 1.0 / ratio))
    bleu: np.ndarray = precision ** (1.0 / np.arange(1, 5)) * brevity[:, None]
    return bleu


def resamples(n: int, seed: int = 0) -> Iterator[np.ndarray]:
    """RESAMPLES draws of n pictures with replacement, in blocks (20, n): how often each picture counts. In one piece
    1,000 draws of 40,000 pictures would take 320 MB."""
    random = np.random.default_rng(seed)
    for _ in range(RESAMPLES // 20):
        weights = np.stack([np.bincount(random.integers(0, n, n), minlength=n) for _ in range(20)])
        yield weights.astype(np.float64)

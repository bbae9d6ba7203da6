"""How a text reads without anything to compare it with: variety, repetition, adjectives, perplexity. Pure functions.

- distinct-n (Li et al. 2016, "A diversity-promoting objective function for neural conversation models"): different
  n-grams / n-grams of all texts together. It falls with the number of texts, so compare equal numbers. Resampling
  repeats texts and lowers it by that alone; its interval is the jackknife's (Efron and Stein 1981), value +- 1.96 s
  with s^2 = (N - 1) / N * sum over texts of (value without the text - their mean)^2.
- repetition (Welleck et al. 2020, "Neural text generation with unlikelihood training", seq-rep-n): 1 - different
  n-grams / n-grams of one text, the mean over texts. Bigrams here: these texts are short.
- adjective density: adjectives (Penn Treebank tags JJ, JJR, JJS) / words, over all texts. An adjective that the prompt
  holds does not count, and a text that begins with its prompt is cut there: nothing is gained by repeating the
  question.
- perplexity: exp(negative log-likelihood in nats / tokens), over all texts.

Tags come from TextBlob's PatternTagger: a lexicon with rules for unknown words and for context (Brill 1992), carried in
its wheel, so that nothing is fetched. It errs on a word in twenty or so: good for comparing, not for grammar.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from narrator.metrics.tokenize import ptb_tokens
from narrator.records import NarratorError, Score

RESAMPLES = 1000
ADJECTIVES = frozenset({"JJ", "JJR", "JJS"})
# Nouns that name the picture or a part of it, not what is seen; a phrase never ends with one.
_NOT_SEEN = (
    "picture photo photograph image shot view scene close-up closeup close front side top back middle background "
    "foreground bottom end edge left right couple bunch lot lots number variety pair group kind type way it")
_LETTERS = {"DT": "D", "PRP$": "D", "CD": "C", "JJ": "J", "JJR": "J", "JJS": "J", "VBN": "V", "VBG": "V", "NN": "N",
            "NNS": "N", "NNP": "N", "NNPS": "N"}
_PHRASE = re.compile(r"(?:D[CJV]{0,4}|[CJ]{0,4})N{1,3}")


def tags(text: str) -> list[tuple[str, str]]:
    """(word, Penn Treebank tag) for each word as `ptb_tokens` cuts the text: lower case, no punctuation."""
    from textblob.en import tag

    words = ptb_tokens(text)
    found = tag(" ".join(words), tokenize=False) if words else []
    return [(word, label) for word, (_, label) in zip(words, found, strict=True)]


def noun_phrases(text: str) -> list[str]:
    """What the text names, in its order and lower case: an article, numbers, adjectives or participles, then nouns.

    "A brown dog runs over the wet grass." -> ["a brown dog", "the wet grass"]. Words for the picture itself are left
    out.
    """
    tagged = tags(text)
    letters = "".join(_LETTERS.get(label, "-") for _, label in tagged)
    found = [[word for word, _ in tagged[match.start():match.end()]] for match in _PHRASE.finditer(letters)]
    return [" ".join(words) for words in found if words[-1] not in _NOT_SEEN.split()]


def tags_without(text: str, prompt: str = "") -> list[tuple[str, str]]:
    """`tags` of the text, the prompt at its start cut off."""
    if prompt and text[:len(prompt)].casefold() == prompt.casefold():  # a narration begins with a capital letter
        text = text[len(prompt):]
    return tags(text)


def adjectives(text: str, prompt: str = "") -> tuple[int, int]:
    """(adjectives that the prompt does not hold, words) of a text, the prompt at its start cut off."""
    asked, tagged = set(ptb_tokens(prompt)), tags_without(text, prompt)
    return sum(label in ADJECTIVES and word not in asked for word, label in tagged), len(tagged)


def repetition(text: str, n: int = 2) -> float:
    """Share of the text's n-grams that stood in it before, 0..1; 0 for a text with fewer than n words."""
    grams = _grams(text, n)
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def distinct(texts: Sequence[str], n: int, *, intervals: bool = True) -> Score:
    """distinct-n of the texts together, with a jackknife interval; 0 when there is no n-gram."""
    (unique, total), (without, left) = _different(texts, n)
    value = unique / total if total else 0.0
    found = _jackknife(value, without / np.maximum(left, 1), intervals)
    return Score(value=value, low=max(0.0, found.low), high=min(1.0, found.high))


def vocabulary(texts: Sequence[str], *, intervals: bool = True) -> Score:
    """How many different words the texts use together, with a jackknife interval. It rises with the number of texts."""
    (unique, _), (without, _) = _different(texts, 1)
    return _jackknife(float(unique), without.astype(np.float64), intervals)


def _different(texts: Sequence[str], n: int) -> tuple[tuple[int, int], tuple[np.ndarray, np.ndarray]]:
    """(different n-grams, n-grams) of all texts together; then both as they are without each of the N texts: (N,)."""
    grams = [Counter(_grams(text, n)) for text in texts]
    everywhere: Counter[tuple[str, ...]] = Counter()
    for counts in grams:
        everywhere.update(counts)
    own = np.array([sum(everywhere[gram] == count for gram, count in counts.items()) for counts in grams], dtype=int)
    left = np.array([everywhere.total() - counts.total() for counts in grams], dtype=int)
    return (len(everywhere), everywhere.total()), (len(everywhere) - own, left)


def _jackknife(value: float, without: np.ndarray, intervals: bool) -> Score:
    """The value with its interval. without: (N,) the value without each text."""
    if not intervals or len(without) < 2:
        return Score(value=value, low=value, high=value)
    spread = 1.96 * float(np.sqrt((len(without) - 1) * np.mean((without - without.mean()) ** 2)))
    return Score(value=value, low=max(0.0, value - spread), high=value + spread)


def ratio(above: Sequence[float] | np.ndarray, below: Sequence[float] | np.ndarray, *, intervals: bool = True,
          higher_is_better: bool = True, change: Callable[[np.ndarray], np.ndarray] | None = None, seed: int = 0
          ) -> Score:
    """sum(above) / sum(below) over texts, through `change` where given; 95 % percentile bootstrap of 1,000 resamples.

    Raises NarratorError when there is no text or nothing to divide by.
    """
    tops, bottoms = np.asarray(above, dtype=np.float64), np.asarray(below, dtype=np.float64)  # (N,) each
    if not len(tops) or bottoms.sum() == 0:
        raise NarratorError("There is no text to score. Give at least one that holds a word.")
    apply = change or (lambda values: values)
    value = float(apply(tops.sum() / bottoms.sum()))
    low = high = value
    if intervals:
        random, n = np.random.default_rng(seed), len(tops)
        drawn = (random.integers(0, n, n) for _ in range(RESAMPLES))
        sums = np.array([(tops[rows].sum(), bottoms[rows].sum()) for rows in drawn])  # (RESAMPLES, 2)
        sums = sums[sums[:, 1] > 0]
        low, high = (float(edge) for edge in np.percentile(apply(sums[:, 0] / sums[:, 1]), [2.5, 97.5]))
    return Score(value=value, low=low, high=high, higher_is_better=higher_is_better)


def perplexity(nats: Sequence[float], tokens: Sequence[int], *, intervals: bool = True, seed: int = 0) -> Score:
    """exp(mean negative log-likelihood of a token). nats: of each text, summed over its tokens."""
    return ratio(nats, tokens, intervals=intervals, higher_is_better=False, change=np.exp, seed=seed)


def text_scores(texts: Sequence[str], prompts: Sequence[str], *, intervals: bool = True, seed: int = 0
                ) -> dict[str, Score]:
    """distinct_1, distinct_2, repetition, adjective_density and words (a text, on average) of the answers to prompts.

    Raises NarratorError when no text holds a word.
    """
    found = {name: ratio(above, below, intervals=intervals, higher_is_better=name != "repetition", seed=seed)
             for name, (above, below) in text_sums(texts, prompts).items()}
    return {"distinct_1": distinct(texts, 1, intervals=intervals),
            "distinct_2": distinct(texts, 2, intervals=intervals), **found}


def text_sums(texts: Sequence[str], prompts: Sequence[str]) -> dict[str, tuple[list[float], list[float]]]:
    """What each of N texts contributes to repetition, adjective_density and words: two lists whose sums are divided."""
    counted = [adjectives(text, prompt) for text, prompt in zip(texts, prompts, strict=True)]
    words, each = [float(total) for _, total in counted], [1.0] * len(texts)
    return {"repetition": ([repetition(text) for text in texts], each),
            "adjective_density": ([float(found) for found, _ in counted], words), "words": (words, each)}


def _grams(text: str, n: int) -> list[tuple[str, ...]]:
    words = ptb_tokens(text)
    return list(zip(*(words[start:] for start in range(n)), strict=False))

"""How much of a text its references bear out: its content words and its adjectives. Pure functions.

- words_found: content words that some reference of the same picture holds / content words, over all texts. Content
  words are the nouns, adjectives, numbers and verbs of `narrator.metrics.text.tags`, less forms of be, have and do. Two
  words agree when their stems do (Porter 1980, "An algorithm for suffix stripping"), as METEOR's second stage has it
  (Denkowski and Lavie 2014). It is a precision: a text that says little and nothing wrong has 1.
- adjective_precision: the same of the adjectives alone, those that the prompt holds left out, as in adjective_density.
  A reference need not use the word as an adjective, so that an error of the tagger costs nothing there.

The field has no standard for either; the form, a share of what is said that the references bear out, is that of
CHAIR_i (Rohrbach et al. 2018, "Object hallucination in image captioning"). People mention different things: a word that
no reference holds need not be wrong, so both are lower bounds.
"""

import functools
from collections.abc import Sequence

from narrator.metrics.text import ADJECTIVES, tags_without
from narrator.metrics.tokenize import ptb_tokens

_CONTENT = ("NN", "JJ", "VB", "CD")  # beginnings of Penn Treebank tags
_EMPTY = frozenset(("be", "am", "is", "are", "was", "were", "been", "being", "'s", "'re", "'m", "have", "has", "had",
                    "having", "do", "does", "did", "doing", "can", "will"))
Found = tuple[int, int]  # how many were found, of how many


def words_found(text: str, references: Sequence[str], prompt: str = "") -> Found:
    """(content words that a reference holds, content words) of a text, the prompt at its start cut off.

    >>> words_found("A brown dog runs.", ["The dog is running outside."])
    (2, 3)
    """
    words = [word for word, label in tags_without(text, prompt) if label.startswith(_CONTENT) and word not in _EMPTY]
    return _found(words, references)


def adjectives_found(text: str, references: Sequence[str], prompt: str = "") -> Found:
    """(adjectives that a reference holds, adjectives) of a text, less those of the prompt.

    >>> adjectives_found("A brown dog on wet grass.", ["A brown dog runs."])
    (1, 2)
    """
    asked = set(ptb_tokens(prompt))
    words = [word for word, label in tags_without(text, prompt) if label in ADJECTIVES and word not in asked]
    return _found(words, references)


def _found(words: Sequence[str], references: Sequence[str]) -> Found:
    known = {stem(word) for reference in references for word in ptb_tokens(reference)} if words else set()
    return sum(stem(word) in known for word in words), len(words)


@functools.lru_cache(maxsize=50_000)
def stem(word: str) -> str:
    """The word without its ending: "running" -> "run"."""
    return str(_stemmer().stem(word))


@functools.cache
def _stemmer():  # type: ignore[no-untyped-def]  # NLTK has no types
    from nltk.stem import PorterStemmer

    return PorterStemmer()

"""How easily a text reads: Flesch's formula. Pure functions."""

import re

from narrator.metrics.tokenize import ptb_tokens

_SENTENCE = re.compile(r"[.!?]+(?=\s|$)")
_VOWELS = re.compile(r"[aeiouy]+")


def reading_ease(text: str) -> float | None:
    """Flesch's reading ease (Flesch 1948, "A new readability yardstick"), None for a text without a word:
    206.835 - 1.015 * words / sentences - 84.6 * syllables / words. 100 reads very easily, 30 with effort.

    >>> round(reading_ease("The cat sat on the mat."))
    116
    """
    words = [word for word in ptb_tokens(text) if any(map(str.isalnum, word)) and not word.startswith("'")]
    if not words:
        return None
    sentences = max(1, len(_SENTENCE.findall(text.strip())))
    return 206.835 - 1.015 * len(words) / sentences - 84.6 * sum(map(syllables, words)) / len(words)


def syllables(word: str) -> int:
    """Groups of vowels, less a silent e at the end (not -le after a consonant), a silent -ed and -es; at least one.

    >>> [syllables(word) for word in ("man", "table", "jumped", "wooden", "photograph", "pieces")]
    [1, 2, 1, 2, 3, 2]
    """
    word = word.lower()
    groups = len(_VOWELS.findall(word))
    silent = re.search(r"[^aeiouy]e$", word) and not re.search(r"[^aeiouy]le$", word)
    unspoken = re.search(r"[^aeiouytd]ed$|[^aeiouysxzcg]es$", word) and not re.search(r"(sh|ch|[^aeiouy]l)es$", word)
    return max(1, groups - bool(silent or unspoken))

"""What was said, piece by piece, as a text: tidied, its words, and how sure the model was of each."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from narrator.records import Narration, Piece

UNCERTAIN_BELOW = 0.3  # a word whose least probable token is below this is marked as uncertain
_WORD = re.compile(r"\w+(?:['’-]\w+)*")


def tidy(text: str) -> str:
    """The text as a person would write it: single spaces, a capital first letter, a full stop after a sentence.

    >>> tidy("  a dog runs  on grass ")
    'A dog runs on grass.'
    """
    text = " ".join(text.split())
    text = re.sub(r"([.!?])\1{3,}", r"\1", text)
    text = re.sub(r"\s+([.,;:!?])(?=\s|$)", r"\1", text)
    if not text:
        return ""
    text = text[0].upper() + text[1:]
    if " " in text and (text[-1].isalnum() or text[-1] in ")\"'”’"):
        text += "."
    return text


def word_spans(text: str) -> list[tuple[int, int]]:
    """(start, end) of each word of a text in characters: word n of `uncertain_at` is text[start:end] of the nth.

    >>> word_spans("A man's hat.")
    [(0, 1), (2, 7), (8, 11)]
    """
    return [match.span() for match in _WORD.finditer(text)]


def uncertain_words(pieces: Sequence[Piece], below: float = UNCERTAIN_BELOW) -> tuple[str, ...]:
    """The words of the tidied text that have a piece with a probability under `below`: in order, each occurrence."""
    words = _WORD.findall(tidy(joined(pieces)))
    return tuple(words[index] for index in uncertain_indices(pieces, below))


def uncertain_indices(pieces: Sequence[Piece], below: float = UNCERTAIN_BELOW) -> tuple[int, ...]:
    """Which words of the tidied text `uncertain_words` are: the first word is 0."""
    spans: list[tuple[int, int, float]] = []  # (start, end, probability) of each piece in the raw text
    at = 0
    for piece in pieces:
        if piece.probability is not None and piece.text:
            spans.append((at, at + len(piece.text), piece.probability))
        at += len(piece.text)
    # Tidying adds and takes no word: the nth of the raw text is the nth of the tidied one.
    return tuple(index for index, (first, last) in enumerate(word_spans(joined(pieces)))
                 if any(start < last and first < end and probability < below for start, end, probability in spans))


def confidence(pieces: Sequence[Piece]) -> float | None:
    """Mean probability of the tokens that have one, 0..1; None when none has."""
    known = [(piece.probability, piece.tokens) for piece in pieces if piece.probability is not None]
    tokens = sum(count for _, count in known)
    return sum(probability * count for probability, count in known) / tokens if tokens else None


def joined(pieces: Iterable[Piece]) -> str:
    """The text as it came."""
    return "".join(piece.text for piece in pieces)


def ranked_json(narration: Narration) -> dict[str, Any]:
    """What programs are told of classes or next tokens: label, probability, ranked [{"name", "probability"}, ...]."""
    return {"label": narration.label, "probability": narration.probability,
            "ranked": [{"name": name, "probability": chance} for name, chance in narration.ranked]}

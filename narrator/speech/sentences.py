"""Text to sentences to pieces that eSpeak NG speaks in full. Plain functions on strings."""

import re
import unicodedata

PIECE_COST = 400.0  # about as many letters of English

_JOINERS = "\u200c\u200d"  # shape Persian and Indic letters, and tie emoji together
_END = re.compile(r"[.!?…؟۔।]+[\"'”’»)\]]*(?=\s)|[。！？]+[」』”’）]*|\n[^\S\n]*\n")
_ABBREVIATIONS = frozenset((
    "mr", "mrs", "ms", "dr", "prof", "sr", "jr", "st", "mt", "vs", "fig", "figs", "e.g", "i.e", "cf", "approx", "dept",
    "est", "inc", "ltd", "vol", "pp", "ca", "al"))
# Of a run without a space eSpeak NG speaks only the beginning: about 35 digits, 25 emoji, 45 ideographs, 120 letters.
_RUNS = tuple(re.compile(f"({run})(?=\\S)") for run in (
    r"\d{20}", r"[^\w\s]{10}", r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u9fff\uac00-\ud7af]{20}", r"\S{60}"))


def clean(text: str) -> str:
    """`text` without what no voice can speak: control characters (eSpeak NG takes them for commands, and stops at NUL),
    lone surrogates, private and unassigned characters become spaces; invisible formatting goes away. Line ends stay."""
    kept = []
    for char in unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n").replace("\u2029", "\n\n")):
        kind = unicodedata.category(char)
        if kind == "Cf" and char not in _JOINERS:
            continue
        kept.append(" " if kind[0] == "C" and char != "\n" and char not in _JOINERS else char)
    return "".join(kept)


def speakable(text: str) -> bool:
    """Whether there is a letter or a digit to speak."""
    return any(char.isalnum() for char in text)


def split_sentences(text: str) -> list[str]:
    """The sentences of `text`, whitespace made single spaces, each with a letter or digit in it.

    A full stop after an abbreviation, an initial or before a small letter ends no sentence; an empty line always does.
    What holds no letter or digit ("...", an emoji) stays with the sentence before it, or else goes with the next.
    """
    sentences: list[str] = []
    start = 0
    lead = ""
    cuts = [match.end() for match in _END.finditer(text) if _ends_sentence(text, match)]
    for cut in [*cuts, len(text)]:
        part = " ".join(text[start:cut].split())
        start = cut
        if not part:
            continue
        if speakable(part):
            sentences.append(f"{lead} {part}".strip())
            lead = ""
        elif sentences:
            sentences[-1] += f" {part}"
        else:
            lead = f"{lead} {part}".strip()
    return sentences


def split_pieces(sentence: str) -> list[str]:
    """`sentence` in pieces that cost at most PIECE_COST each, cut at a comma, else at a space, else anywhere.

    eSpeak NG drops the end of a clause without a word when its sounds do not fit a fixed buffer, and crashes on
    15,000 characters. A piece may be without a letter or digit; it is never empty.
    """
    for run in _RUNS:
        sentence = run.sub(r"\1 ", sentence)
    pieces = []
    while (fits := _fitting(sentence)) < len(sentence):
        head = sentence[:fits]
        cut = max(head.rfind(mark) for mark in (", ", "; ", ": ", "、", "，", "— ", "– ")) + 1
        if cut <= fits // 3:
            cut = head.rfind(" ") + 1 or fits
        pieces.append(sentence[:cut].strip())
        sentence = sentence[cut:].strip()
    return [piece for piece in [*pieces, sentence] if piece]


def _ends_sentence(text: str, match: re.Match) -> bool:
    mark = match.group()
    if not mark.startswith(".") or mark.startswith(".."):
        return True
    before = text[max(0, match.start() - 20):match.start()].split()
    word = before[-1].strip("\"'“‘(") if before else ""
    if word.casefold() in _ABBREVIATIONS or (len(word) == 1 and word.isupper() and word != "I"):
        return False
    after = text[match.end():match.end() + 50]
    return "\n\n" in after[:len(after) - len(after.lstrip())] or not after.lstrip()[:1].islower()


def _fitting(text: str) -> int:
    """How many characters of `text` cost at most PIECE_COST together; at least 1 of a text that is not empty."""
    total = 0.0
    for count, char in enumerate(text):
        total += _cost(char)
        if total > PIECE_COST and count:
            return count
    return len(text)


def _cost(char: str) -> float:
    """How much of the buffer a character takes, in English letters.

    Measured with the English voice, which spells what it cannot read ("Chinese letter ..."): the longest text of each
    kind that was still spoken in full, with a margin.
    """
    code = ord(char)
    if char.isspace() or char in ",.;:!?'\"()-…–—“”‘’":
        return 1.0
    if char.isdigit():
        return 3.3
    if not char.isalnum():
        return 5.0
    if code < 0x530:  # Latin, Greek, Cyrillic
        return 1.5 if code > 0x7F or char.isupper() else 1.0
    if code < 0x900:  # Armenian, Hebrew, Arabic
        return 5.0
    return 2.0 if code < 0xE00 else 8.0  # scripts of India; Thai, Chinese, Japanese, Korean and all else

"""Alternative texts out of descriptions, and the phrases that models begin with before they say anything.

What an alternative text is: https://www.w3.org/WAI/tutorials/images/tips/ (short, the most important first, without
"image of": a screen reader says that it is a picture). The phrases are English ones; other languages pass unchanged.
"""

from __future__ import annotations

import re
import unicodedata

MOST = 125  # characters (code points): what is usually taken as the most that is listened to in one go
HALF = 60  # characters: a shorter sentence or clause is gone beyond when more fits

_PICTURE = r"(?:image|picture|photo|photograph|pic|snapshot)s?"
_THIS = r"(?:the|this|that|these|your|an?)\s+(?:given\s+|provided\s+|attached\s+)?"
_SHOWS = (r"(?:shows?|depicts?|displays?|features?|captures?|portrays?|illustrates?|presents?|contains?|represents?|"
          r"showing|depicting|displaying|featuring|capturing|portraying|illustrating|containing|"
          rf"is\s+(?:an?\s+{_PICTURE}\s+)?of|(?:may|seems?\s+to|appears?\s+to)\s+(?:show|depict|contain|be\s+of)|is\s+showing)")
_SEE = r"(?:(?:we|you|i|one)\s+(?:can\s+)?(?:clearly\s+)?(?:see|observe|notice)|(?:it\s+)?can\s+be\s+seen)"
_MARKS = r"[*_#>\"“'`]{0,4}\s?"  # what is left of Markdown and quotes around a label

# What is taken off, wherever one follows the other; the comment is what it looks like.
PREFIXES: tuple[tuple[str, str], ...] = (
    ("Sure!", r"(?:sure|certainly|of\s+course|okay|ok|absolutely)\s?[,.!:;]"),
    ("Here is a short description of the image:",
     rf"here(?:'s|’s|\s+is|\s+are)\s+(?:[\w-]+\s+){{0,4}}(?:description|caption|summary|alt[\s-]text)s?"
     rf"(?:\s+(?:of|for)\s+{_THIS}{_PICTURE})?\s?:"),
    ("Describe this image in one sentence:",
     rf"(?:please\s+|can\s+you\s+)?(?:describe|caption|explain|narrate)\s+{_THIS}{_PICTURE}"
     r"(?:\s+(?:in|for|to|with|as)\b[^.:?!\n]{1,80})?\s?[:.?!]"),
    ("What is in this image?",
     rf"what(?:'s|’s|\s+is|\s+are|\s+do\s+you\s+see|\s+can\s+you\s+see)\s+(?:shown\s+|there\s+|visible\s+)?"
     rf"(?:in|on)\s+{_THIS}{_PICTURE}\s?\?"),
    ("Description:", rf"{_MARKS}(?:(?:{_PICTURE}|detailed|short|long|brief)\s+)?"
                     rf"(?:description|caption|answer|response|assistant|alt(?:[\s-]text)?)\s?{_MARKS}:{_MARKS}"),
    ("Image may contain:", rf"{_PICTURE}\s+may\s+(?:contain|show)\s?:?"),
    ("The image shows", rf"(?:{_THIS})?{_PICTURE}\s+(?:here\s+)?{_SHOWS}(?:\s+(?:us|that))?\b(?!\s+(?:up|off)\b)"),
    ("In this picture, we can see", rf"(?:in|on|from)\s+{_THIS}{_PICTURE}\s?,?\s+{_SEE}\b"),
    ("In this picture,", rf"(?:in|on)\s+{_THIS}{_PICTURE}\s?,"),
    ("We can see", rf"(?:here\s+)?{_SEE}\b"),
    ("This is a photo of", rf"(?:(?:this|that|it|here)(?:\s+is|'s|’s)\s+)(?:an?\s+|the\s+)?{_PICTURE}\s+"
                           rf"(?:of|{_SHOWS})\b"),
    ("A photo of", rf"(?:{_THIS}|some\s+)?{_PICTURE}\s+of\b"),
)
# An alternative text does without these as well; a description keeps them: they tell something, or make a sentence.
_ALSO_SHORT = (
    rf"(?:(?:this|that|it|here)(?:\s+is|'s|’s)\s+)?(?:an?\s+|the\s+)?(?:(?:black[\s-]and[\s-]white|close[\s-]?up|colou?r|"
    rf"colou?rful|blurry|beautiful|nice|stunning|stock|detailed|vintage|old|sepia|high[\s-]quality)\s+){{1,3}}"
    rf"{_PICTURE}\s+(?:of|{_SHOWS})\b",
    r"there(?:'s|’s|\s+is|\s+are)\b(?=\s)",
    r"(?:this|that|it|here)(?:\s+is|'s|’s)(?=\s+(?:an?|the|one|two|three|some|several)\s)",
)
_LEAD = re.compile("|".join(f"(?:{pattern})" for _, pattern in PREFIXES), re.IGNORECASE)
_SHORT_LEAD = re.compile("|".join(f"(?:{pattern})" for pattern in (*(p for _, p in PREFIXES), *_ALSO_SHORT)),
                         re.IGNORECASE)
_BETWEEN = " ,;:.…!–—-"  # what may stand between a phrase that is taken off and what it speaks of
_ENDS = ".!?…。！？"
_CLOSING = "\"'”’»)]」』"
_DANGLING = frozenset((
    "a", "an", "the", "of", "and", "or", "but", "with", "in", "on", "at", "to", "for", "from", "by", "as", "is", "are",
    "was", "were", "be", "its", "his", "her", "their", "this", "that", "into", "over", "under", "near", "next", "while",
    "which", "who", "where", "beside", "between", "behind", "front"))
_ABBREVIATIONS = ("st.", "mr.", "mrs.", "ms.", "dr.", "no.", "vs.", "e.g.", "i.e.", "approx.")
_SENTENCE = re.compile(r"[.!?…][\"'”’»)\]]*(?=\s+[^a-z\s])|[。！？][」』]?")
_CLAUSE = re.compile(r"(?=[,;:]\s)|(?=[、，；：])|(?=\s[–—-]\s)|(?=\s(?:while|which|where|who|whose)\s)")


def strip_prefix(text: str) -> str:
    """The text without the phrases of `PREFIXES` that it begins with, one after the other; "" where nothing else is in
    it. What is left begins with a capital. A text that begins with none of them comes back as it is, but for white
    space around it."""
    return _without(text.strip(), _LEAD)


def alt_text(text: str) -> str:
    """An alternative text of at most MOST characters: without the phrases of `PREFIXES` and without "There is", with
    single spaces, a capital and a full stop; "" for a text that says nothing.

    A text that is too long ends with its last whole sentence, else clause, else word that fits. Applied to what it
    returns, it changes nothing.
    """
    text = " ".join(_printable(text).split())
    while (made := _once(text)) != text:  # a cut may bare a phrase; each pass but the last makes the text shorter
        text = made
    return text


def _once(text: str) -> str:
    text = _without(text, _SHORT_LEAD)
    if not any(sign.isalnum() or unicodedata.category(sign) == "So" for sign in text):  # "So": pictographs
        return ""
    text = _finished(_capital(text))
    return text if len(text) <= MOST else _finished(_cut(text))


def _without(text: str, lead: re.Pattern[str]) -> str:
    at = 0
    while found := lead.match(text, at):
        at = found.end()
        while at < len(text) and (text[at] in _BETWEEN or text[at].isspace()):
            at += 1
    return text if not at else _capital(text[at:])


def _capital(text: str) -> str:
    """With a capital, unless the first word has capitals of its own (iPhone)."""
    at = next((place for place, sign in enumerate(text[:4]) if sign.isalnum()), None)
    if at is None or not text[at].islower():
        return text
    word = text[at:].split(maxsplit=1)[0]
    large = text[at].title()
    if len(large) != 1 or any(sign.isupper() for sign in word):
        return text
    return text[:at] + large + text[at + 1:]


def _finished(text: str) -> str:
    """With a full stop, or the mark that it ends with."""
    bare = text.rstrip()
    if bare.rstrip(_CLOSING)[-1:] in _ENDS and bare.rstrip(_CLOSING):
        return bare
    bare = bare.rstrip(" ,;:–—-、，；：")
    name = unicodedata.name(bare[-1], "") if bare else ""
    return bare + ("。" if name.startswith(("CJK", "HIRAGANA", "KATAKANA")) else ".")


def _cut(text: str) -> str:
    """As much of a text as leaves room for a full stop."""
    room = MOST - 1
    sentence = max((found.end() for found in _SENTENCE.finditer(text, 0, MOST + 2)
                    if found.end() <= MOST and not text[:found.end()].lower().endswith(_ABBREVIATIONS)), default=0)
    if sentence >= HALF:
        return text[:sentence]
    clause = max((found.start() for found in _CLAUSE.finditer(text, 0, room + 8) if found.start() <= room), default=0)
    if clause >= HALF:
        return text[:clause]
    head = text[:room + 1]
    words = head.split() if head[-1].isspace() else head.split()[:-1]
    while words and words[-1].lower().strip(",;:") in _DANGLING:
        words.pop()
    return " ".join(words) or text[:_between_signs(text, room)] + "…"


def _between_signs(text: str, at: int) -> int:
    """The last place up to `at` where no sign is cut from its accents, nor an emoji in two; `at` where none is."""
    place = at
    while place and _belongs(text, place):
        place -= 1
    return place or at


def _belongs(text: str, at: int) -> bool:
    """Whether the sign there is part of the one before it."""
    sign, before = text[at], text[at - 1]
    if "🇦" <= sign <= "🇿":  # flags are pairs of these
        pairs = len(text[:at]) - len(text[:at].rstrip("".join(map(chr, range(0x1F1E6, 0x1F200)))))
        return pairs % 2 == 1
    return sign == "\u200d" or before == "\u200d" or "🏻" <= sign <= "🏿" or unicodedata.category(sign).startswith("M")


def _printable(text: str) -> str:
    """Without what is no sign: control characters (as white space), halves of a sign, marks of writing direction."""
    kept = {"\u200c", "\u200d"}  # joiners of scripts and of emoji
    return "".join(sign if sign in kept or unicodedata.category(sign) not in ("Cc", "Cs", "Cf", "Zl", "Zp") else
                   "" if unicodedata.category(sign) in ("Cs", "Cf") else " " for sign in text)

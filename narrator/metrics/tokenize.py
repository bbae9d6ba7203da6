"""Words of a caption as the Penn Treebank cuts them: what caption metrics are counted on.

The field's scores (COCO's caption evaluation, Chen et al. 2015, arXiv:1504.00325) are computed on the tokens of
Stanford's `PTBTokenizer -preserveLines -lowerCase` (CoreNLP 3.4.1) less a list of punctuation, as pycocoevalcap runs
it. That one needs Java; these rules need nothing and give the same tokens on ordinary captions. They were found by
asking the original, and a test holds them against it where Java is installed.
"""

import re

# pycocoevalcap.tokenizer.ptbtokenizer.PUNCTUATIONS as they can occur in the lower-cased output: brackets come out as
# "-lrb-", which that (upper-case) list never meets, so they stay, there and here.
_DROPPED = frozenset(["''", "'", "``", "`", '"', ".", "?", "!", ",", ":", "-", "--", "...", ";"])
_WRITTEN = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-", "£": "#", "€": "$",
            "¢": "cents", "&amp;": "&"}
_SPLIT = {"cannot": ["can", "not"], "gonna": ["gon", "na"], "wanna": ["wan", "na"], "gotta": ["got", "ta"],
          "gimme": ["gim", "me"], "lemme": ["lem", "me"], "'tis": ["'t", "is"], "'twas": ["'t", "was"]}
_SIGNS = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "«": '"', "»": '"', "–": "--", "—": "--", "…": "...",
                        "½": " 1/2 ", "¼": " 1/4 ", "¾": " 3/4 "})
# Words whose full stop belongs to them: wherever they stand, when capitalised, before a number.
_ABBREVIATIONS = (
    "adj|adm|adv|al|ala|alex|apr|ariz|assn|asst|atty|aug|ave|bhd|bldg|blvd|brig|bros|capt|cf|cie|cmdr|co|col|"
    "colo|conn|corp|cos|cpl|ct|dak|dec|dept|det|dr|drs|elec|ens|esq|est|etc|ext|feb|fla|fri|ft|ga|gen|gov|govs|"
    "hon|inc|ind|insp|intl|invt|jan|jos|jr|jul|jun|kan|kans|ky|lt|ltd|maj|mar|md|mfg|mich|minn|mlle|mme|mo|mon|"
    "mont|mr|mrs|ms|msgr|mt|mtg|natl|neb|nev|nov|oct|okla|penn|pfc|ph|plc|ppte|ppty|pres|prof|pte|ptes|pty|"
    "ptys|pvt|rd|rep|reps|rev|rt|sen|sens|sep|sept|seq|sfc|sgt|spc|sq|sr|st|ste|supt|sys|tel|tenn|thu|tue|tues|"
    "univ|va|vs|vt|wed|wis|wisc|wm|wyo")
_CAPITAL = "Ark|Az|Del|Ill|La|Mass|Miss|Ore|Pa|Tex|Wash"
_NUMBERED = "art|ca|fig|figs|no|nos|op|pp|prop"
# Words that start a sentence: "Plan B. The dog" ends one, "Michael L. Baird" does not.
_STARTERS = (
    "A|About|According|After|An|As|At|But|He|Her|Here|However|If|In|It|Last|Many|More|Now|Once|One|Other|Our|"
    "She|Since|So|Some|Such|That|The|Their|Then|There|These|They|This|We|What|When|While|Yet|You")
_L = r"[^\W\d_]"  # a letter
_END = r"(?![^\W_])"
_TOKEN = re.compile(rf"""
    https?://[^\s"<>|]*[^\s"<>|.!?,;:)\]}}-]                           # addresses, mail, tags
  | [\w.+-]+@[\w-]+(?:\.[\w-]+)+ | [@\#]{_L}\w* | </?{_L}[^<>\s]*> | &amp;
  | {_L}\.(?:{_L}\.)+(?!{_L}) | {_L}(?:\.{_L})+(?:\.(?!{_L}))?{_END}         # u.s. u.s.a
  | {_L}\.(?!\w|\s+(?-i:{_STARTERS})\b)                        # an initial, unless the next sentence starts
  | (?:{_ABBREVIATIONS})\.(?!\w) | (?:{_NUMBERED})\.(?=\s+\d) | (?-i:{_CAPITAL})\.(?!\w)
  | {_L}+\.(?=[,;:])
  | '(?:tis|twas|em|till?|cause){_END} | '\d0s{_END} | '\d\d(?=\s|$) | 'n(?:'|(?!\w))
  | y'(?=all) | (?:ol|dunkin|somethin)'{_END}
  | (?:d'ye|o'clock|ma'am|cap'n|ne'er|e'er|c'mon|s'mores|nor'easter|li'l|cont'd){_END}
  | (?!{_L}+'(?:s|m|d|ll|re|ve){_END})                               # d'oeuvres, O'Neil, Hawai'i
    (?: [dol]'{_L}+ | (?-i:[A-HJ-XZ])'{_L}{{2,}} | {_L}+[aeiouy]'(?:[aeiou]|(?-i:[A-Z])){_L}* )
  | n't{_END} | '(?:s|m|d|ll|re|ve){_END}
  | {_L}+?(?=n't{_END})
  | (?-i:[A-Z]+&[A-Z]+)
  | [-+]\d+(?:[.,:/]\d+)*{_END} | \d*(?:[.,:]\d+)+
  | [^\W_]+(?:(?:[-/_]|(?<={_L})[.!?](?={_L}))[^\W_]+)*
  | [:;=]-?[()] | \^_\^ | \.\.+ | --+ | [?!]+ | \*+ | '' | ``
  | \S
""", re.VERBOSE | re.IGNORECASE)


def ptb_tokens(text: str) -> list[str]:
    """The lower-case PTB tokens of a caption, punctuation left out: "A man's dog." -> ["a", "man", "'s", "dog"]."""
    found: list[str] = []
    plain = text.isascii() and text.replace(" ", "").isalpha()  # most captions that a model says: ten times faster
    for token in text.split() if plain else _TOKEN.findall(text.translate(_SIGNS)):
        token = token.lower()
        if token in _DROPPED or not token.strip("-") or (token[:2] == ".." and not token.strip(".")):
            continue
        if len(token) > 1 and token[-1] in "()":  # :-)
            token = token[:-1] + _WRITTEN[token[-1]]
        found.extend(_SPLIT.get(token) or [_WRITTEN.get(token, token)])
    return found


def ptb_text(text: str) -> str:
    """The same tokens joined by spaces, as pycocoevalcap's scorers take them."""
    return " ".join(ptb_tokens(text))

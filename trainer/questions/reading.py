"""Reads a caption without a tagger: its words and its noun phrases, as far as the word lists are sure of them."""

import dataclasses
import functools
import re
from collections.abc import Sequence

from trainer.questions.things import (
    ANIMALS,
    BODY,
    COMPOUNDS,
    LIKENESSES,
    NOT_REAL,
    NOT_REAL_ANIMAL,
    NOUNS,
    PEOPLE,
    THINGS,
)
from trainer.questions.words import (
    BOTH_NUMBERS,
    COLOURS,
    DETERMINERS,
    ENDS,
    FEW,
    INDEFINITE,
    ING,
    NO_SINGULAR,
    NOT_VERBS,
    NUMBERS,
    THIRD,
    VERBS,
    singular,
    words,
)

TOKEN = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*|'s|[^\sa-z0-9']")
# "a close up picture of ...": what the picture is, not what is in it.
OPENING = re.compile(
    r"^(?:(?:this|that|here|there) (?:is|are) |it is )?(?:(?:an?|the|some) )?"
    r"(?:(?:very|close|up|close-up|closeup|black|and|white|&|black-and-white|old|vintage|blurry|aerial|overhead|"
    r"beautiful|nice|large|small|color|colour|great|funny|side|top|front|rear|panoramic|professional|digital|cropped|"
    r"sepia|outdoor|indoor) ){0,4}"
    r"(?:close ?-?up|closeup|picture|photo|photograph|image|view|shot|scene|snapshot)s?"
    r"(?: (?:view|shot|photo|picture|image))?(?: taken)? (?:of|showing|shows|with|depicting|is of) ")
GREY_PICTURE = re.compile(r"(?:black (?:and|&) white|black-and-white|monochrome|sepia|gr[ae]yscale|old|vintage)"
                          r"[a-z ]{0,12}? (?:photo|picture|image|shot|photograph|photography)")
NAMED = {name: thing.name for thing in THINGS.values() for name in thing.names}  # "puppy" -> "dog"
AGENT = re.compile(r"[a-z]{3,}(?:ers?|ists?|m[ae]n|ians?)")  # "windsurfer", "cellist", "frogmen"
GAME_OR_BALL = {"football", "basketball", "baseball", "volleyball"}


@dataclasses.dataclass(frozen=True)
class Phrase:
    """A noun phrase: "two small black dogs".

    noun: the head as written, in the singular. thing: what it is one of ("dog", "person"), else the noun. number: as
    said (1 for "a"), None where it is not. determiner: the word that opens it ("" without). real: it is in the picture
    as itself. start, end: token numbers, end exclusive.
    """

    noun: str
    thing: str
    plural: bool
    number: int | None
    determiner: str
    modifiers: tuple[str, ...]
    real: bool
    start: int
    end: int


@dataclasses.dataclass(frozen=True)
class Caption:
    """A caption as read. lemmas: every word in the singular, compounds in one ("hot_dog")."""

    tokens: tuple[str, ...]
    lemmas: frozenset[str]
    phrases: tuple[Phrase, ...]
    grey: bool  # it says that the picture has no colours


@functools.lru_cache(maxsize=4096)
def read(text: str) -> Caption:
    """`text` as a Caption."""
    plain = " ".join(text.lower().replace("’", "'").split())
    grey = GREY_PICTURE.search(plain) is not None
    tokens = join_compounds(TOKEN.findall(OPENING.sub("", plain)))
    phrases = tuple(phrase for place in range(len(tokens)) if (phrase := _phrase(tokens, place)) is not None)
    lemmas = {singular(token) for token in tokens} | {ING.get(token, "") for token in tokens}
    lemmas |= {THIRD.get(token, "") for token in tokens} | set(tokens) - {"'s"}
    return Caption(tuple(tokens), frozenset(lemmas - {""}), phrases, grey)


def join_compounds(tokens: Sequence[str]) -> list[str]:
    """"hot dogs" -> "hot_dogs": a compound's last word alone would be another thing."""
    joined: list[str] = []
    for token in tokens:
        pair = (joined[-1], singular(token)) if joined else ("", "")
        if pair in COMPOUNDS or (pair[0], token) in COMPOUNDS:
            name = COMPOUNDS.get(pair) or COMPOUNDS[pair[0], token]
            joined[-1] = name + "s" if singular(token) != token and not name.endswith("s") else name
        else:
            joined.append(token)
    return joined


def is_boundary(token: str) -> bool:
    """Whether no noun phrase goes on over this word."""
    if token in NOT_VERBS:
        return False
    return (token in ENDS or not token[0].isalpha() or token in THIRD or token in NUMBERS
            or (token.endswith("ing") and len(token) > 4) or token.endswith("ly"))


def is_plural(word: str) -> bool:
    """Whether the noun, as written, is more than one."""
    return singular(word) != word and word not in NO_SINGULAR


def _is_head(tokens: Sequence[str], place: int) -> bool:
    """Whether the noun here ends its phrase; "dog" in "dog house" does not, nor before a word that is not known."""
    if place + 1 == len(tokens):
        return True
    after = tokens[place + 1]
    if is_boundary(after) or (after.endswith("ed") and after not in NOT_VERBS):
        return True
    joined = "and" in tokens[max(0, place - 3):place]  # "a man and a woman kiss"
    return (joined or is_plural(tokens[place])) and after in VERBS


def _phrase(tokens: Sequence[str], place: int) -> Phrase | None:
    """The noun phrase whose head stands at `place`, if a known noun does and ends it."""
    word = tokens[place]
    noun = singular(word)
    if noun not in NOUNS or not _is_head(tokens, place):
        return None
    first = place
    while first > 0 and place - first < 6 and _inside(tokens, first - 1, place):
        first -= 1
    modifiers = tuple(token for token in tokens[first:place] if token not in ("and", ",", "&"))
    opener = tokens[first - 1] if first else ""
    number, determiner, start = None, "", first
    if opener in NUMBERS or opener in DETERMINERS or opener in FEW:
        number, determiner, start = NUMBERS.get(opener), opener, first - 1
    many = is_plural(word) or (noun in BOTH_NUMBERS and (determiner not in INDEFINITE) and (number or 2) > 1)
    if many and number == 1:
        number = None
    if not many and determiner in INDEFINITE:
        number = 1
    if determiner in INDEFINITE and many:
        number = None
    thing = "person" if noun in PEOPLE else NAMED.get(noun, noun)
    if noun in GAME_OR_BALL and not (many or determiner):  # "men play baseball"
        thing = noun
    real = determiner != "no" and _is_real(tokens, start, modifiers, thing)
    return Phrase(noun, thing, many, number, determiner, modifiers, real, start, place + 1)


def _inside(tokens: Sequence[str], place: int, head: int) -> bool:
    """Whether the word at `place` belongs to the phrase that ends in `head`."""
    token = tokens[place]
    if token in ("and", ",", "&"):  # only between colours: "black , brown and white dog"
        before = place > 0 and (tokens[place - 1] in COLOURS or tokens[place - 1] in ("and", ","))
        return before and (tokens[place + 1] in COLOURS or tokens[place + 1] in ("and", "&"))
    if token in VERBS and place > 0 and (is_plural(tokens[place - 1]) or tokens[place - 1] in ("to", "and")):
        return False  # "two boys play soccer"
    return not is_boundary(token) and token not in DETERMINERS and token not in FEW


def _is_real(tokens: Sequence[str], start: int, modifiers: Sequence[str], thing: str) -> bool:
    """Whether the thing itself is there: not drawn, not worn as a costume, not missing, not awaited."""
    unreal = NOT_REAL_ANIMAL if thing in ANIMALS or thing == "person" else NOT_REAL
    if unreal & set(modifiers) or any(singular(word) in LIKENESSES for word in modifiers):
        return False
    before = tokens[max(0, start - 4):start]
    if before[-1:] and before[-1] in ("like", "without", "no", "resembling", "than", "not", "except"):
        return False
    if before[-1:] == ["as"] and {"dressed", "dresses", "disguised", "costumed"} & set(before):
        return False  # "as" alone joins: "one dog runs as another dog sits"
    if before[-1:] == ["for"] and {"wait", "waiting", "waits", "looking", "looks", "searching", "used"} & set(before):
        return False
    if before[-1:] == ["of"]:
        owner = {singular(word) for word in before[:-1]}
        return not owner & (LIKENESSES | {"shape", "form", "lack", "style"})
    return True


def says_person(caption: Caption) -> bool:
    """Whether any word may stand for somebody: this forbids "no" to the question for a person."""
    return bool(caption.lemmas & (PEOPLE | BODY)) or any(
        AGENT.fullmatch(token) and token not in NOT_PEOPLE for token in caption.tokens)


NOT_PEOPLE = words("""
    water river flower flowers over under after other others another together corner center counter paper summer
    winter tower roller poster container sprinkler sprinklers computer helicopter scooter trailer banner barrier
    boulder her near never ever cover danger finger dinner butter pepper burger hamburger tiger retriever
    terrier feather leather weather gutter lantern master motor meter older younger larger smaller bigger darker
    lighter longer higher lower upper outer inner toaster blender dresser drawer drawers shower feeder border
    sweater silver desert oven several refrigerator freezer clippers papers computers containers towers posters
    flyer fender ladder laser lever liter timber lumber number numbers order paver planter planters quarter
    shelter shutter slipper soccer sticker stroller supper tender thunder tether theater timer toner trolley
    tuner wafer wicker zipper cluster copper cucumber peppers consider either neither rather former per super
    rubber amber ember cinder glacier pier proper sheer steer deer beer cheer career dozer doberman ottoman
    trainers crackers cracker skewer skewers screwer platter saucer whiskers feeders bumper burner burners
    butterscotch laughter glitter litter filter outlier printer monitor mixer woofer speaker speakers heater
    boiler cooker fryer grinder opener tanker cruiser freighter steamer liner airliner fighter bomber glider
    cutter roaster player sprayer dryer washer dishwasher strainer cleaner vacuum-cleaner hydrometer thermometer
    parameter perimeter diameter exterior interior mister""") - {"player", "fighter"}

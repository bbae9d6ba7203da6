"""Where is this? -> "on a beach"."""

from collections import Counter
from collections.abc import Sequence

from trainer.questions.reading import Caption, is_boundary
from trainer.questions.words import DETERMINERS, singular, words

# answer | head nouns | kin: places that may hold the same scene, so that a caption that says these does not contradict
TABLE = """
on a beach | beach shore shoreline | ocean sea sand water lake
in the ocean | ocean sea | beach wave water surf
in a lake | lake | water pond river shore
in a river | river stream creek | water rapids lake
in a pool | pool swimming_pool | water
in the snow | snow | mountain hill slope field mountainside forest wood ice yard ground hillside park mountaintop
on a mountain | mountain mountaintop mountainside | snow hill rock cliff slope trail
on a cliff | cliff | mountain rock
on a hill | hill hillside | grass field snow slope dirt
in a forest | forest wood woodland | trail path dirt leaf
on a street | street | city sidewalk road town crosswalk intersection market
on a sidewalk | sidewalk | street city
on a road | road highway | street dirt country
on a dirt road | dirt_road | road dirt
on a dirt track | dirt_track | track dirt racetrack
in a square | plaza square courtyard | street city fountain
in a city | city | street sidewalk town
in a field | field meadow pasture | grass yard snow park dirt
on the grass | grass lawn | field yard park backyard garden
in a park | park | grass field playground sidewalk path
in a yard | yard backyard | grass lawn garden snow
in a garden | garden | yard grass flower
on a playground | playground | park slide swing
in a desert | desert | sand dune dirt
on a stage | stage | concert
in a kitchen | kitchen | counter room
in a bathroom | bathroom restroom | room counter
in a bedroom | bedroom | bed room
in a living room | living_room | couch room
in an office | office | desk room
in a restaurant | restaurant | table
in a gym | gym gymnasium | court
on a tennis court | tennis_court | court
on a basketball court | basketball_court | court gym
on a baseball field | baseball_field | field grass dirt
on a soccer field | soccer_field | field grass
on a football field | football_field | field grass
in a skate park | skate_park skatepark | park ramp
on a race track | race_track racetrack | track dirt
in a train station | train_station | track platform station
at an airport | airport runway tarmac | ground
in a zoo | zoo | enclosure grass field
in a store | store supermarket shop grocery_store |
at a market | market | street
on a boat | boat ship | water ocean lake dock river
on a bridge | bridge | water river
on a dock | dock pier | water lake ocean river
on a trampoline | trampoline | yard backyard grass
in a parking lot | parking_lot | street
in the sky | sky |
"""
PREPOSITIONS = words("in on at through across down along inside into over up onto by")
JOINED = {("dirt", "road"), ("dirt", "track"), ("living", "room"), ("tennis", "court"), ("basketball", "court"),
          ("baseball", "field"), ("soccer", "field"), ("football", "field"), ("skate", "park"), ("skateboard", "park"),
          ("race", "track"), ("train", "station"), ("grocery", "store"), ("parking", "lot"), ("swimming", "pool"),
          ("snow", "park"), ("grass", "field"), ("baseball", "diamond")}
LOOKING = words("""
    look looks looking stare stares staring gaze gazing point points pointing view views overlooking overlooks
    towards toward watching watches picture photo""")
# A preposition that places the scene by this noun rather than beside it.
FITTING = {"in": PREPOSITIONS - {"by", "over", "up", "at"},
           "on": PREPOSITIONS - {"by", "in", "inside", "through", "into", "at"},
           "at": {"at", "in", "on", "through"}}
ALSO = {noun: words(more) for noun, more in {
    "street": "in through", "beach": "at", "shore": "at", "zoo": "at", "restaurant": "at", "gym": "at", "market": "in",
    "snow": "over up on", "grass": "in through", "lawn": "in", "field": "on over", "hill": "up over in",
    "mountain": "up in", "park": "at", "road": "in", "sidewalk": "in", "playground": "in at", "wood": "through",
    "lake": "on", "river": "on", "ocean": "on", "sea": "on", "sky": "through", "desert": "over", "city": "on",
}.items()}
ALOFT = words("fly flying flight plane airplane jet aircraft helicopter kite bird balloon parachute soar glide")
SAME_PLACE = {"skateboard_park": "skate_park", "baseball_diamond": "baseball_field", "grass_field": "field"}


def _read(table: str) -> dict[str, tuple[frozenset[str], frozenset[str]]]:
    places = {}
    for line in table.strip().splitlines():
        answer, nouns, kin = (cell.strip() for cell in line.split("|"))
        places[answer] = (frozenset(nouns.split()), frozenset(kin.split()))
    return places


PLACES = _read(TABLE)
ANSWER_OF = {noun: answer for answer, (nouns, _) in reversed(PLACES.items()) for noun in nouns}


def answers(captions: Sequence[Caption]) -> list[str]:
    """The one place that two captions (or the only one) put the scene in, and no other caption contradicts."""
    votes: Counter[str] = Counter()
    nouns: dict[str, set[str]] = {}
    for caption in captions:
        said = places_of(caption)
        votes.update(said.keys())
        for answer, noun in said.items():
            nouns.setdefault(answer, set()).add(noun)
    needed = 2 if len(captions) > 1 else 1
    if not votes:
        return []
    top = max(votes.values())
    best = [answer for answer in PLACES if votes[answer] == top]
    if top < needed or len(best) > 1:
        return []
    kin = PLACES[best[0]][1]
    return best if all(said <= kin for answer, said in nouns.items() if answer != best[0]) else []


def places_of(caption: Caption) -> dict[str, str]:
    """Answer -> the noun that says so, for each place that the caption puts things in."""
    tokens = _joined(caption.tokens)
    found = {}
    for place, token in enumerate(tokens):
        noun = singular(token)
        if (token != noun and noun not in ("mountain", "wood")) or noun not in ANSWER_OF:
            continue
        if (place + 1 < len(tokens) and not is_boundary(tokens[place + 1])) or (noun == "wood" and token == noun):
            continue
        if LOOKING & set(tokens[max(0, place - 7):place]):  # what somebody looks at is not where they are
            continue
        if noun == "sky" and not caption.lemmas & ALOFT:  # a tower "in the sky" is not there
            continue
        answer = ANSWER_OF[noun]
        preposition = _preposition(tokens, place)
        if preposition in FITTING[answer.split()[0]] | ALSO.get(noun, frozenset()):
            found[answer] = noun
    return found


def _preposition(tokens: Sequence[str], place: int) -> str:
    """The preposition before the phrase that ends here, "" where another word stands before it."""
    first = place - 1
    while first >= 0 and place - first < 6 and (tokens[first] in DETERMINERS or not is_boundary(tokens[first])):
        first -= 1
    return tokens[first] if first >= 0 else ""


def _joined(tokens: Sequence[str]) -> list[str]:
    joined: list[str] = []
    for token in tokens:
        if joined and (joined[-1], token) in JOINED:
            name = f"{joined[-1]}_{token}"
            joined[-1] = SAME_PLACE.get(name, name)
        else:
            joined.append(token)
    return joined

"""Objects that a text names and no reference does: hallucination as CHAIR has it, against references alone.

CHAIR (Rohrbach et al. 2018, "Object hallucination in image captioning"): CHAIR_i = objects named that are not there /
objects named; CHAIR_s = texts that name one / texts. There, an object is there when COCO's annotators outlined it or a
reference names it. Here it is there when a reference names it, as most pictures have no outlines: what people did not
mention counts as not there, so the rates are upper bounds, and compare only on the same references.

The rule: OBJECTS lists classes (COCO's 80, a few joined, and some more that captions name) with the words for each, in
the singular. A word that stands for several classes (GENERAL: "animal", "surfer") names any of them. An object of the
text is borne out when a reference names a class that it may stand for. Pairs of words come first ("hot dog" is no dog).
In the text only nouns count, as the tagger of narrator.metrics.text sees them ("he rows a boat"), in references every
word, and actions that go with an object (DOING: "surfing"). One mention is one object. Colours, places and actions are
not looked at.
"""

from __future__ import annotations

from collections.abc import Sequence

from narrator.metrics.text import tags
from narrator.metrics.tokenize import ptb_tokens

OBJECTS: dict[str, str] = {
    "person": (
        "person people man men woman women boy girl child children kid baby babies toddler infant lady guy gentleman "
        "crowd family couple teenager adult player rider swimmer "
        " runner climber hiker pedestrian officer policeman police worker performer dancer singer athlete "
        "spectator batter catcher umpire pitcher chef waiter bride groom friend mother father son daughter brother "
        "sister somebody someone he she"),
    "bicycle": "bicycle bmx", "motorcycle": "motorcycle motorbike scooter moped dirtbike",
    "car": "car taxi cab suv van minivan jeep automobile", "truck": "truck pickup lorry", "bus": "bus buses",
    "train": "train locomotive railcar", "airplane": "airplane plane jet aircraft jetliner",
    "boat": "boat ship canoe kayak sailboat raft ferry yacht rowboat speedboat",
    "traffic light": "stoplight",
    "fire hydrant": "hydrant", "stop sign": "", "parking meter": "", "bench": "bench",
    "dog": (
        "dog puppy puppies doggy greyhound poodle terrier labrador retriever beagle collie bulldog dachshund dalmatian "
        "husky mutt hound"),
    "cat": "cat kitten kitty", "bird": (
        "bird duck goose geese swan seagull gull pigeon parrot owl eagle hawk chicken rooster hen ostrich penguin "
        "flamingo pelican crow heron"),
    "horse": "horse pony ponies foal stallion mare", "sheep": "sheep lamb", "cow": "cow cattle bull calf ox",
    "elephant": "elephant", "bear": "bear cub", "zebra": "zebra", "giraffe": "giraffe", "fish": "fish shark dolphin",
    "goat": "goat", "monkey": "monkey ape gorilla", "deer": "deer elk moose", "rabbit": "rabbit bunny bunnies",
    "backpack": "backpack rucksack knapsack", "umbrella": "umbrella parasol",
    "bag": "bag handbag purse suitcase luggage", "tie": "tie necktie",
    "hat": "hat cap helmet beanie hood bandanna", "glasses": "sunglasses goggles eyeglasses",
    "frisbee": "frisbee disc", "skis": "ski", "snowboard": "snowboard", "ball": (
        "ball football basketball soccer volleyball baseball"),
    "kite": "kite", "bat": "bat", "skateboard": "skateboard",
    "surfboard": "surfboard bodyboard",
    "racket": "racket racquet", "bottle": "bottle", "wine glass": "wineglass", "cup": "cup mug", "fork": "fork",
    "knife": "knife knives", "spoon": "spoon", "bowl": "bowl", "plate": "plate dish", "banana": "banana",
    "apple": "apple", "sandwich": "sandwich burger hamburger", "orange": "", "broccoli": "broccoli", "carrot": "carrot",
    "hot dog": "hotdog", "pizza": "pizza", "donut": "donut doughnut", "cake": "cake cupcake", "chair": "chair stool",
    "couch": "couch sofa", "potted plant": "houseplant", "bed": "bed", "table": "table desk", "toilet": "toilet urinal",
    "television": "television tv monitor", "laptop": "laptop notebook", "mouse": "", "remote": "remote controller",
    "keyboard": "keyboard", "phone": "phone cellphone telephone smartphone", "microwave": "microwave",
    "oven": "oven stove", "toaster": "toaster", "sink": "sink", "refrigerator": "refrigerator fridge freezer",
    "book": "book", "clock": "clock", "vase": "vase", "scissors": "scissors", "teddy bear": "teddy",
    "hair drier": "hairdryer", "toothbrush": "toothbrush", "camera": "camera camcorder", "guitar": "guitar",
    "microphone": "microphone", "flag": "flag", "tent": "tent", "trampoline": "trampoline",
    "ladder": "ladder", "statue": "statue sculpture", "fountain": "fountain", "bridge": "bridge", "fence": "fence",
    "tree": "tree", "flower": "flower rose bouquet", "pool": "pool", "hammock": "hammock", "stroller": "stroller",
}
_PAIRS = {
    "traffic light": "traffic light", "stop light": "traffic light", "street light": "", "fire hydrant": "fire hydrant",
    "stop sign": "stop sign", "parking meter": "parking meter", "hot dog": "hot dog", "teddy bear": "teddy bear",
    "stuffed bear": "teddy bear", "stuffed animal": "teddy bear", "wine glass": "wine glass",
    "potted plant": "potted plant", "cell phone": "phone", "mobile phone": "phone", "hair dryer": "hair drier",
    "hair drier": "hair drier", "computer mouse": "mouse", "fire truck": "truck", "polar bear": "bear",
    "baseball bat": "bat", "baseball cap": "hat", "baseball player": "person",
    "football player": "person", "basketball player": "person", "soccer player": "person", "tennis player": "person",
    "baseball game": "", "football game": "", "soccer game": "", "basketball game": "", "baseball field": "",
    "soccer field": "", "football field": "", "basketball court": "", "tennis court": "", "ski slope": "",
    "ski lift": "", "ski pole": "", "dirt bike": "motorcycle", "mountain bike": "bicycle",
    "street sign": "", "swimming pool": "pool",
    "orange juice": "", "boxing glove": "", "tree branch": "tree", "dog park": "", "bus stop": "", "train station": "",
    "car seat": "", "skate park": "", "hot air": ""}
_KINDS = {
    "skier": "person, skis", "snowboarder": "person, snowboard", "surfer": "person, surfboard",
    "skateboarder": "person, skateboard", "cyclist": "person, bicycle", "bicyclist": "person, bicycle",
    "biker": "person, bicycle, motorcycle",
    "animal": "dog, cat, bird, horse, sheep, cow, elephant, bear, zebra, giraffe, fish, goat, monkey, deer, rabbit",
    "pet": "dog, cat, bird, rabbit", "bike": "bicycle, motorcycle", "vehicle": "car, truck, bus, motorcycle, train",
    "computer": "laptop, television, keyboard", "screen": "television, laptop, phone",
    "food": "banana, apple, orange, sandwich, broccoli, carrot, pizza, donut, cake, hot dog",
    "meal": "sandwich, pizza, broccoli, carrot, cake, hot dog", "fruit": "banana, apple, orange",
    "vegetable": "broccoli, carrot", "furniture": "chair, couch, bed, table", "seat": "chair, couch, bench",
    "glass": "cup, wine glass", "glasses": "glasses, cup, wine glass",
    "board": "skateboard, surfboard, snowboard, skis", "toy": "ball, frisbee, teddy bear, kite"}


# Actions that go with an object: a reference that says one names the object, a text that does names none.
DOING = {"skiing": "skis", "snowboarding": "snowboard", "surfing": "surfboard", "skateboarding": "skateboard",
         "cycling": "bicycle", "biking": "bicycle", "kayaking": "boat", "canoeing": "boat", "rafting": "boat",
         "sailing": "boat", "driving": "car"}
# Word -> the classes that it may stand for.
GENERAL: dict[str, frozenset[str]] = {word: frozenset(listed.split(", ")) for word, listed in _KINDS.items()}
_WORDS: dict[str, frozenset[str]] = {word: frozenset({name}) for name, words in OBJECTS.items()
                                     for word in words.split()} | GENERAL
_PAIR_CLASSES: dict[tuple[str, str], frozenset[str]] = {
    (pair.split()[0], pair.split()[1]): frozenset({name} - {""}) for pair, name in _PAIRS.items()}
_IRREGULAR = {"children": "child", "men": "man", "women": "woman", "knives": "knife"}


def objects(text: str, *, nouns: bool = True) -> list[tuple[str, frozenset[str]]]:
    """(word or pair as it was said, the classes that it may stand for) of each object that the text names, in order; of
    `nouns` alone, or of all words.

    >>> [word for word, _ in objects("Two dogs and a man with a hot dog")]
    ['dogs', 'man', 'hot dog']
    """
    tagged = tags(text) if nouns else [(word, "NN") for word in ptb_tokens(text)]
    found: list[tuple[str, frozenset[str]]] = []
    at = 0
    while at < len(tagged):
        word, label = tagged[at]
        after = tagged[at + 1][0] if at + 1 < len(tagged) else ""
        pair = next((both for both in ((word, after), (word, _singular(after))) if both in _PAIR_CLASSES), None)
        if pair is not None:
            found.append((f"{word} {after}", _PAIR_CLASSES[pair]))
        elif label.startswith("NN"):
            found.append((word, _classes(word)))
        at += 2 if pair is not None else 1
    return [(word, classes) for word, classes in found if classes]


def hallucinated(text: str, references: Sequence[str]) -> tuple[list[str], int]:
    """(the objects that no reference bears out, as they were said; how many objects the text names).

    >>> hallucinated("A man and a cat on a bench.", ["A woman sits on a bench.", "A dog."])
    (['cat'], 3)
    """
    said = objects(text)
    there: set[str] = set()
    for reference in references if said else ():
        for _, classes in objects(reference, nouns=False):
            there |= classes
        there |= {DOING[word] for word in ptb_tokens(reference) if word in DOING}
    return [word for word, classes in said if not classes & there], len(said)


def word_list() -> str:
    """The classes and their words as a table in Markdown, then the words that stand for several."""
    pairs: dict[str, list[str]] = {}
    for pair, name in _PAIRS.items():
        pairs.setdefault(name, []).append(pair)
    rows = [f"| {name} | {', '.join([*words.split(), *pairs.get(name, [])])} |" for name, words in OBJECTS.items()]
    rows += [f"| any of: {', '.join(sorted(classes))} | {word} |" for word, classes in GENERAL.items()]
    rows += [f"| {name} | {word} (in references alone) |" for word, name in DOING.items()]
    return "\n".join(["| class | words (and their plurals) |", "| --- | --- |", *rows])


def _classes(word: str) -> frozenset[str]:
    return _WORDS.get(word) or _WORDS.get(_singular(word), frozenset())


def _singular(word: str) -> str:
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    for ending, instead in (("ies", "y"), ("ches", "ch"), ("shes", "sh"), ("sses", "ss"), ("xes", "x"), ("s", "")):
        if word.endswith(ending) and len(word) > len(ending) + 1:
            return word[:-len(ending)] + instead
    return word

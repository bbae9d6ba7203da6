"""Small words for reading a caption: colours, numbers, what ends a noun phrase, verbs and their forms."""


def words(text: str) -> frozenset[str]:
    """The words of a list, whatever lines it is written on."""
    return frozenset(text.split())


# The order of an answer of several colours, white last: "black and white", "brown and white".
COLOUR_ORDER = ("black", "brown", "tan", "grey", "red", "blue", "green", "yellow", "orange", "purple", "pink", "silver",
                "gold", "cream", "blond", "teal", "khaki", "white")
COLOURS = {  # as written -> as answered
    **{name: name for name in COLOUR_ORDER},
    "gray": "grey", "beige": "tan", "golden": "gold", "violet": "purple", "navy": "blue", "turquoise": "blue",
    "maroon": "red", "blonde": "blond",
}
SHADES = words("light dark bright pale deep neon lime hot royal dull faded solid all mostly very")
PATTERNED = words("""
    multicolored multi-colored multicoloured multi-coloured colorful colourful colored coloured striped plaid
    checkered spotted tri-colored tricolor tri-color tri-colour patterned flowered floral polka camouflage
    rainbow print printed flannel tie-dye speckled brindle two-tone and-white multi-color various different
    mixed""")
MARKINGS = words("spot patch marking mark stripe face ear paw feet foot leg head tail chest trim tip nose dot")

NAMES = {1: "one", 2: "two", 3: "three", 4: "four", 5: "five", 6: "six", 7: "seven", 8: "eight", 9: "nine", 10: "ten",
         11: "eleven", 12: "twelve"}
NUMBERS = {name: number for number, name in NAMES.items()} | {str(number): number for number in NAMES}

INDEFINITE = {"a", "an", "another"}
DETERMINERS = INDEFINITE | words("""
    the his her their its my our your this that these those some each every both several many few no any 's""")
FEW = words("several many few some multiple numerous various dozen dozens lots")

# Words that never stand inside a noun phrase: a noun before one of them is the head of its phrase.
ENDS = words("""
    in on at by with of from to into onto over under through across along around near next beside behind between
    among amongst against above below off up down out toward towards past inside outside for as and or but while
    whilst who that which whom where when is are was were be been being has have had does do did will can may it
    there he she they him them himself herself themselves itself during before after about without like within
    upon atop underneath beneath alongside together outdoors indoors away very just also not so then both each
    all too again alone back forward midair mid-air airborne upside upside-down sideways beyond via until
    because than if its his her their the a an this these those one two three four five six seven eight nine ten
    several many some another other others whose only still almost about amid amidst with/ w/ are/ ahead apart
    asleep awake full ready high low top front wet outstretched overhead nearby close far topless shirtless
    barefoot alone what how got left took made kept sat stood ran held caught fell lay rode wore went came his""")
# "-ing" and "-ed" words that are nouns or stand before one.
NOT_VERBS = words("""
    building clothing railing swing ring king string wing ceiling painting wedding something anything nothing
    clearing crossing bed sled shed evening morning spring landing ping-pong bathing parking living dining
    swimming shopping fishing housing frosting icing topping earring lightning wing red skilled sing bring thing""")

# Verbs that say what somebody does. Those alone are an answer; "-e", "-y" and doubled letters follow by rule.
ALONE = words("""
    run walk jump leap swim sit stand sleep dance sing climb surf ski snowboard skateboard wrestle dive hike jog
    fish rollerblade kayak skate wade dig graze fly rest kneel crouch crawl pose kiss hug eat drink read paddle
    row sled parasail wakeboard cook smoke shop slide swing lie play laugh sail race rappel canoe nap yawn fight
    talk splash bark juggle box clap cry roll float camp bike waterski windsurf""")
# These need what they are done to.
WITH_OBJECT = words("""
    ride hold carry catch throw kick hit chase push pull play eat drink read climb fly swing blow chew fetch
    retrieve walk feed pet cut brush hug kiss cross use bite smoke cook drive throw shovel paint wash wave lick
    row paddle pour hurdle touch""")
# A stronger verb beside one of these says more: a man who sits and reads is reading.
POSTURES = words("stand sit lie rest pose look kneel crouch lean talk hold laugh smile float")
SAME_VERB = {"leap": "jump", "lay": "lie", "nap": "sleep", "sprint": "run", "bicycle": "bike", "bound": "run",
             "trot": "run", "dash": "run", "snooze": "sleep", "stroll": "walk", "wrestle": "wrestle", "skip": "run"}
OTHER_VERBS = words("""
    wear look watch lean smile get go make do take try hang perform fall drive stare have attempt shake move
    turn put give come open wait prepare gather point face cover show tackle chew enjoy bend land pass follow
    leave raise reach speed splash spray stick stretch surround toss travel lift listen lounge relax work
    balance grind drag lick approach tug peek wave shoot fight hide spin cut compete train bounce help lead
    gallop march begin start appear seem bound sprint trot dash flip lay squat stroll nap snooze participate
    practice display share serve skip battle bat block break bring buck celebrate check cheer cycle drop emerge
    examine exit fill flap gaze glide head hurdle interact keep kneel land let like line love march observe
    offer peer perch pick play poke press pretend rise score see sniff snow speak stop strike swat swoop teach
    tend test tie tumble view visit work yell admire argue ascend attack bathe beg circle close collect descend
    dribble dress dunk embrace encounter explore feature fix gesture grab grin growl guard handle hop howl
    huddle hunt hurry inspect jog kneel knock laugh launch loom lunge navigate nuzzle operate pitch plunge
    prance prop race ready remove return scale scramble scream seat sip sleep sneak snuggle soar stack stomp
    straddle strum stumble swerve tackle tangle tap taste tear throw tilt tip touch tow trek twirl twist type
    use wander wash wipe wrap write""")
DOUBLED = words("""
    run swim sit jog dig hug cut skip flip spin grab tug hit nap clap dip pat bat get put chop stop let hop pet
    rappel bob trot bet tap tip wrap prop step shop dunk""")


def ing(verb: str) -> str:
    """The form in -ing."""
    if verb in ("lie", "tie"):
        return verb[:-2] + "ying"
    if verb in DOUBLED:
        return verb + verb[-1] + "ing"
    return (verb[:-1] if verb.endswith("e") and not verb.endswith("ee") else verb) + "ing"


def third(verb: str) -> str:
    """The form of "he", "she" and "it"."""
    if verb in ("do", "go") or verb.endswith(("s", "sh", "ch", "x", "z")):
        return verb + "es"
    if verb.endswith("y") and verb[-2] not in "aeiou":
        return verb[:-1] + "ies"
    return "has" if verb == "have" else verb + "s"


VERBS = ALONE | WITH_OBJECT | OTHER_VERBS | SAME_VERB.keys()
ING = {ing(verb): verb for verb in sorted(VERBS)}
THIRD = {third(verb): verb for verb in sorted(VERBS)}

IRREGULAR = {
    "men": "man", "women": "woman", "children": "child", "people": "person", "feet": "foot", "geese": "goose",
    "mice": "mouse", "wolves": "wolf", "leaves": "leaf", "knives": "knife", "teeth": "tooth", "oxen": "ox",
    "calves": "calf", "peolple": "person", "puppies": "puppy", "buses": "bus", "busses": "bus", "ladies": "lady",
    "movies": "movie", "cookies": "cookie", "zombies": "zombie", "goalies": "goalie", "huskies": "husky", "ties": "tie",
    "axes": "axe", "shoes": "shoe", "canoes": "canoe", "horses": "horse", "houses": "house",
    "motorcycles": "motorcycle",
    "businessmen": "businessman", "firemen": "fireman", "policemen": "policeman", "fishermen": "fisherman",
    "gentlemen": "gentleman", "snowmen": "snowman", "snowwomen": "snowwoman", "kids": "kid",
}
# Written with an -s whatever the number.
NO_SINGULAR = words("""
    shorts pants jeans trunks glasses sunglasses goggles skis overalls pajamas trousers tights leggings scissors
    bus grass glass dress cross class tennis across always his this is as its canvas gas chess lens christmas""")
BOTH_NUMBERS = {"sheep", "fish", "deer", "cattle", "aircraft", "moose", "bison", "buffalo"}


def singular(word: str) -> str:
    """The word without the plural's ending, by rule; a word that is no plural comes back as it is."""
    if word in IRREGULAR:
        return IRREGULAR[word]
    if word in NO_SINGULAR or len(word) < 4 or not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith(("ches", "shes", "xes", "sses")):
        return word[:-2]
    return word[:-1]


def plural(word: str) -> str:
    """The plural of a singular noun, by rule."""
    for many, one in IRREGULAR.items():
        if one == word and many not in ("peolple", "busses"):
            return many
    if word in BOTH_NUMBERS or word in NO_SINGULAR - {"bus", "glass", "dress"}:
        return word
    if word.endswith(("s", "sh", "ch", "x")):
        return word + "es"
    if word.endswith("y") and word[-2] not in "aeiou":
        return word[:-1] + "ies"
    return word + "s"

"""What can be asked about: things with their other names, people, clothes, and words that make a mention no thing."""

import dataclasses

from trainer.questions.words import words


@dataclasses.dataclass(frozen=True)
class Thing:
    """A thing that questions name.

    names: words that say it is there. hints: words that do not say so, but forbid the answer "no" (hypernyms, its
    parts, who uses it). doubts: words beside which neither answer is safe (a "bike" among motorcycles).
    """

    name: str
    names: frozenset[str]
    hints: frozenset[str]
    doubts: frozenset[str]


ANIMAL = "animal creature pet wildlife critter herd pack zoo farm"
ROAD = "vehicle traffic automobile"
# name | other names | hints | doubts
TABLE = f"""
dog | puppy pup doggy doggie retriever terrier german_shepherd poodle labrador greyhound collie husky pitbull \
doberman bulldog dalmatian rottweiler beagle chihuahua dachshund spaniel hound mutt weimaraner corgi pug mastiff \
schnauzer sheepdog whippet canine | {ANIMAL} lab shepherd leash muzzle kennel sled boxer fetch owner wolf bark \
hot_dog | wolf fox
cat | kitten kitty | {ANIMAL} feline tiger lion | tiger lion
horse | pony stallion mare foal bronco | {ANIMAL} rodeo jockey equestrian carriage cowboy polo saddle rider gallop \
bull donkey | donkey mule bull
cow | calf cattle | {ANIMAL} ox steer bull rodeo livestock | bull ox bison buffalo
sheep | lamb | {ANIMAL} goat flock livestock ewe wool | goat
goat | | {ANIMAL} sheep lamb livestock | sheep
bird | duck goose seagull pigeon parrot owl swan chicken eagle pelican penguin flamingo peacock turkey hen rooster \
ostrich gull crow hawk parakeet falcon crane | {ANIMAL} flock feather wing duckling chick bird's kite nest | balloon
bear | polar_bear grizzly | {ANIMAL} cub | teddy_bear panda
elephant | | {ANIMAL} trunk |
giraffe | | {ANIMAL} |
zebra | | {ANIMAL} |
monkey | ape chimpanzee gorilla | {ANIMAL} primate chimp | monkey_bar
bicycle | bike tricycle unicycle | {ROAD} cyclist bicyclist biker biking cycling cycle rider ride riding bmx pedal \
racer handlebar wheelie wheel race | motorcycle motorbike motocross motorcyclist dirt_bike moped scooter atv motor
motorcycle | motorbike dirt_bike moped | {ROAD} bike biker rider bicycle motorcyclist motocross scooter atv racer \
ride riding race motor wheelie cycle | bicycle bmx
scooter | | vehicle bike motorcycle moped skateboard |
car | taxi sedan convertible automobile racecar race_car | {ROAD} jeep suv van truck drive driver driving racer \
street road parking race city intersection highway | truck van jeep suv train cart
truck | firetruck fire_truck pickup | {ROAD} jeep suv van car trailer lorry monster street road city | van suv jeep \
car
bus | | {ROAD} van street city station coach trolley | van trolley tram
train | locomotive | rail railroad track subway station railway tram trolley metro passenger | toy subway trolley \
tram roller
airplane | plane jet aircraft airliner biplane jetliner | airport runway pilot helicopter aviation wing fly flight \
glider | helicopter glider
helicopter | chopper | plane airplane jet aircraft fly pilot |
boat | canoe kayak sailboat rowboat speedboat yacht ferry motorboat ship | vessel raft paddle oar sail sailing row \
rowing rower marina dock harbor watercraft barge tube jet_ski gondola kayaker canoeist rafter surfboard rapids \
kayaking harbour pier port | raft surfboard
skateboard | | skateboarder skateboarding skate skater board ramp longboard trick half-pipe rail grind | snowboard
snowboard | | snowboarder snowboarding board skier ski slope trick rail ramp sled snow | skateboard
surfboard | | surfer surf surfing board wave bodyboard wakeboard boogie ocean sea beach | snowboard skateboard \
wakeboard boogie
ball | football basketball baseball volleyball | soccer tennis golf game sport hit throw catch kick play player \
match softball cricket rugby team bowling goal pitcher batter toy object item something fetch croquet lacrosse pool \
frisbee polo hoop racket | toy balloon
frisbee | | disc disk toy object catch throw fetch something item ball game |
kite | | parasail parachute sail fly string | parachute
umbrella | parasol | rain canopy shade tent |
guitar | | instrument music musician band guitarist play bass stage concert perform performer | bass banjo ukulele
laptop | | computer screen desk keyboard notebook monitor tablet device macbook electronic office |
phone | cellphone cell_phone telephone smartphone | mobile call cell camera device texting text talk blackberry \
iphone headset |
clock | | tower time watch roman steeple numeral hand | watch
toilet | urinal | bathroom restroom commode bidet stall lavatory outhouse washroom | urinal bidet
sink | | bathroom kitchen faucet basin washroom restroom counter dish wash toilet |
bed | | bedroom mattress pillow hotel sleep blanket bunk crib cot room lying laying lie lay nap | flower truck river
couch | sofa loveseat | living_room furniture chair sit lounge seat futon room armchair lay lie | chair loveseat
bench | | sit seat seated park chair picnic pew bleacher stand | pew
pizza | | food pie slice meal dish eat eating cheese pan restaurant plate snack lunch dinner dough oven | pie
cake | cupcake | food dessert birthday wedding pastry sweet bakery candle frosting eat dish pie bake bread treat \
party | pie pastry
sandwich | burger hamburger | food meal sub bread bun lunch eat plate dish hot_dog toast wrap bagel |
hot_dog | | food sausage bun meal sandwich corn eat plate dish lunch bratwurst meat |
banana | | fruit food bunch plantain eat snack |
broccoli | | food vegetable green salad meal dish plate eat veggie cauliflower dinner stir |
donut | doughnut | food pastry dessert bakery bagel sweet snack eat treat | bagel
balloon | | inflatable ball party |
flag | | banner pole parade country | banner
tent | | camp camping canopy shelter tarp | canopy
statue | sculpture | monument figure art carving bronze fountain stone memorial figurine |
fountain | | water spray sprinkler park splash jet plaza | sprinkler
trampoline | | bounce bouncing jump jumping jumper inflatable |
fire_hydrant | hydrant | water hose |
traffic_light | stoplight | light signal intersection traffic street_light stop crosswalk city street |
stop_sign | | sign street traffic intersection road |
teddy_bear | | bear stuffed toy animal doll plush |
snow | | snowy snowboard snowboarder snowboarding ski skier skiing sled sledding winter ice icy blizzard snowball \
snowman snow-covered cold mountain frozen frost slope white snowmobile snowsuit snowfall hill landscape hockey \
snowcapped peak |
stroller | carriage pram | baby cart buggy wheelchair | carriage
"""


def _read(table: str) -> dict[str, Thing]:
    things = {}
    for line in table.strip().splitlines():
        name, names, hints, doubts = (cell.split() for cell in line.split("|"))
        things[name[0]] = Thing(name[0], frozenset(name + names), frozenset(hints), frozenset(doubts))
    return things


THINGS = _read(TABLE)
ANIMALS = words("dog cat horse cow sheep goat bird bear elephant giraffe zebra monkey")
MASS = {"snow", "broccoli"}  # asked about without an article

MALE = words("""
    man guy gentleman male boy father dad son brother groom husband businessman fisherman policeman fireman
    grandfather uncle waiter bridegroom dude lad workman chap snowman_""")
FEMALE = words("""
    woman lady girl female mother mom daughter sister bride wife cheerleader ballerina grandmother aunt waitress
    actress bridesmaid nun mum gal""")
CHILDREN = words("child kid boy girl toddler baby infant youngster newborn schoolgirl schoolboy preschooler tot")
YOUTHS = words("teenager teen youth teenage")  # neither child nor adult for sure
NEUTRAL = words("""
    person adult individual human player rider surfer skier snowboarder skateboarder biker cyclist bicyclist
    motorcyclist climber hiker swimmer runner jogger athlete performer dancer singer musician guitarist worker
    officer driver racer wrestler boxer fighter batter pitcher catcher goalie kayaker paddler rower rafter diver
    skater rollerblader student teacher chef cook soldier tourist pedestrian passenger friend teammate opponent
    customer vendor shopper photographer painter artist clown hunter farmer jockey referee umpire judge nurse
    doctor owner trainer handler gymnast parachutist snorkeler wakeboarder camper protester marcher model actor
    parent grandparent twin sibling partner companion cricketer footballer quarterback golfer boater sailor
    rollerskater paraglider parasailer bullfighter hockey_player walker acrobat stuntman cowboy drummer barber
    juggler backpacker canoeist waterskier sledder tuber bowler scuba_diver snowmobiler skydiver jumper kicker
    goalkeeper defender receiver coach cop policewoman firefighter librarian priest monk elder elderly asian
    somebody celebrity hitter motocrosser spectator onlooker fan bystander""")
PEOPLE = MALE | FEMALE | CHILDREN | YOUTHS | NEUTRAL
# Several or unknown numbers of people in one word, or somebody whom the caption does not name.
CROWDS = words("""
    crowd audience team family group band class troupe public squad gang party parade orchestra choir
    congregation herd line bunch pair trio quartet army someone somebody other everyone everybody one-another
    background row spectator onlooker bystander fan passerby passersby opponent teammate pedestrian staff folk
    folk's they them another's each-other themselves nobody wedding passenger""")
BODY = words("""
    hand arm face foot leg head finger hair he she him her his hers himself herself who someone somebody anybody
    thumb wearing wear wears dressed dress shirt jacket coat hat helmet uniform costume""")  # these forbid "no person"

CLOTHES = words("""
    shirt t-shirt jacket coat dress hat cap helmet shorts pants sweater sweatshirt vest skirt suit uniform
    bikini swimsuit wetsuit jersey hoodie scarf jeans trunks outfit robe costume snowsuit tie gown bathing_suit
    tank_top headband bandanna wig apron gear clothing clothes glasses sunglasses goggles top glove shoe boot
    sandal backpack bag purse kilt beanie poncho parka leotard life_jacket visor attire leash collar harness
    overalls pajamas hair beard mustache mohawk ponytail tattoo necklace headphone leather fur tongue mouth
    black white red blue green yellow orange pink purple brown grey gray""")
COLOURED_CLOTHES = words("""
    shirt t-shirt jacket coat dress hat cap helmet shorts pants sweater sweatshirt vest skirt suit uniform
    bikini swimsuit wetsuit jersey hoodie scarf trunks robe tank_top bathing_suit outfit""")
COLOURED = {"dog", "cat", "horse", "cow", "sheep", "goat", "bird", "bear", "bicycle", "motorcycle", "car", "truck",
            "bus", "train", "airplane", "helicopter", "boat", "kite", "umbrella", "ball", "frisbee", "surfboard",
            "snowboard", "skateboard", "guitar", "toilet", "couch", "bed", "bench", "fire_hydrant", "tent", "stroller",
            "trampoline"}
COLOURED_OBJECTS = words("""
    slide chair building house door wall towel blanket raft tube bag backpack bucket swing wagon sled canoe
    kayak van jeep taxi collar toy rope bowl vase plate fence sign pillow table tie flower tractor bat hoop mat
    leash pole parachute sheet""")
COUNTED = words("""
    dog cat horse cow sheep goat bird elephant giraffe zebra bear bicycle motorcycle car truck bus boat airplane
    kite umbrella surfboard toilet sink bed bench balloon tent pizza sandwich hot_dog donut banana laptop couch
    train clock""")
OBJECTS = words("""
    soccer football basketball baseball tennis hockey volleyball rugby cricket golf softball lacrosse polo drum
    guitar violin piano instrument game cards wave bull stick toy bone bat racket racquet rope rock wall tree
    mountain ladder stairs cliff bubble book newspaper magazine paper map bottle cup glass food meal ice_cream
    sandwich apple camera microphone sign street road teeth cigarette cigar kite snow fish cow stroller cart
    wagon sled tire tricycle unicycle atv horn trumpet saxophone accordion flute video_game swing slide hoop log
    hurdle obstacle hill puck sword gun candle baby child tail hose rapids skateboard scooter umbrella box
    bucket lollipop popsicle noodle cotton_candy beer coffee wine soda juice milk carrot grass leaf camel
    elephant jet_ski doll phone car""")
NOUNS = (PEOPLE | CLOTHES | COLOURED_OBJECTS | OBJECTS | {name for thing in THINGS.values() for name in thing.names}
         | {"couple", "crowd", "group"}) - {"elderly", "teenage", "asian", "leather", "black", "white", "red", "blue",
                                           "green", "yellow", "orange", "pink", "purple", "brown", "grey", "gray"}

# Written as two words, read as one; the last word alone would be another thing.
COMPOUNDS = {(first, second): joined for joined, pairs in {
    "hot_dog": "hot dog,hot dogs,corn dog,corn dogs", "polar_bear": "polar bear",
    "teddy_bear": "teddy bear,stuffed bear", "fire_hydrant": "fire hydrant",
    "traffic_light": "traffic light,stop light", "stop_sign": "stop sign", "fire_truck": "fire truck",
    "dirt_bike": "dirt bike,motor bike", "bathing_suit": "bathing suit,swim suit", "tank_top": "tank top",
    "cell_phone": "cell phone,mobile phone", "life_jacket": "life jacket,life vest", "ice_cream": "ice cream",
    "video_game": "video game", "jet_ski": "jet ski", "living_room": "living room", "surfboard": "surf board",
    "snowboard": "snow board", "skateboard": "skate board", "monkey_bar": "monkey bar",
    "street_light": "street light", "t-shirt": "tee shirt,t shirt", "cotton_candy": "cotton candy",
    "prairie_dog": "prairie dog", "sea_lion": "sea lion", "guinea_pig": "guinea pig",
    "rocking_horse": "rocking horse,toy horse", "bus_stop": "bus stop,bus station", "hockey_player": "hockey player",
    "scuba_diver": "scuba diver", "german_shepherd": "german shepherd,australian shepherd", "bull_dog": "bull dog",
    "dining_room": "dining room", "swimming_pool": "swimming pool", "train_station": "train station",
    "scooter": "motor scooter", "motorcycle": "motor cycle", "high_chair": "high chair", "ping-pong": "ping pong",
    "flower_bed": "flower bed", "snow_pants": "snow pants", "bird_bath": "bird bath", "hair_cut": "hair cut",
    "tube_top": "tube top", "big_wheel": "big wheel", "hot_air": "hot air", "water_ski": "water ski",
    "swim_trunks": "swim trunks,swimming trunks", "hula_hoop": "hula hoop", "ferris_wheel": "ferris wheel",
    "race_car": "race car,racing car,rally car,stock car",
    "toy_car": "toy car,bumper car,cable car,box car,train car", "water_gun": "water gun",
    "whitewater": "white water",
}.items() for first, second in (pair.split() for pair in pairs.split(","))}

# A thing after one of these is not there, or is no thing of its kind.
LIKENESSES = words("""
    picture photo photograph painting drawing statue image poster sculpture mural costume portrait figurine
    print banner sign toy balloon model replica outfit cartoon logo shape""")
NOT_REAL = words("""
    toy stuffed fake cartoon miniature model pretend ceramic imaginary lego plush mechanical dead origami""")
NOT_REAL_ANIMAL = NOT_REAL | words("""
    plastic wooden inflatable stone metal bronze balloon carousel rubber paper hobby merry-go-round porcelain
    painted sculpted flying rocking""")

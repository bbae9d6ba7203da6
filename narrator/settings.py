"""GenerationSettings: how a description is generated. One declaration for form, flags and API."""

import dataclasses

from narrator.knobs import knob


@dataclasses.dataclass(frozen=True, kw_only=True)
class GenerationSettings:
    """How to decode. The defaults give the steadiest description; raise `temperature` for a more varied one."""

    max_new_tokens: int = knob(40, unit="tokens", low=1, high=512, says="Longest description, in tokens.")
    num_beams: int = knob(3, unit="beams", low=1, high=10,
                          says="Candidates kept at each step; 1 is fastest and shows text as it comes.")
    temperature: float = knob(0.0, low=0.0, high=2.0,
                              says="0 always takes the likeliest word; higher varies more.")
    top_p: float = knob(1.0, low=0.05, high=1.0,
                        says="Sample among the likeliest tokens that hold this much probability.")
    top_k: int = knob(0, unit="tokens", low=0, high=1000, says="Sample among this many likeliest tokens; 0 for all.")
    repetition_penalty: float = knob(1.0, low=1.0, high=3.0, says="Above 1, words already said become less likely.")
    no_repeat_ngram_size: int = knob(3, unit="tokens", low=0, high=10,
                                     says="No run of this many tokens appears twice; 0 allows it.")
    length_penalty: float = knob(1.0, low=-2.0, high=4.0, says="With beams: above 1 favours longer descriptions.")
    seed: int = knob(0, low=0, high=2**31 - 1, says="The same seed gives the same text when temperature is above 0.")

"""SpeechSettings: how a text is spoken. One declaration for form, flags and API."""

import dataclasses

from narrator.knobs import knob


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpeechSettings:
    """How to speak."""

    speed: float = knob(1.0, unit="x", low=0.65, high=4.0, says="1 is 165 words a minute, 2 twice as fast.")
    pitch: int = knob(50, low=0, high=100, says="Height of the voice: 0 is deepest, 50 as the voice was made.")
    volume: float = knob(1.0, low=0.0, high=1.0, says="Loudness: 0 is silence, 1 as loud as the voice can be.")

"""METEOR and SPICE, which need Java: computed where it is there, else a sentence says why they are not.

- METEOR (Denkowski and Lavie 2014, "Meteor universal: language specific translation evaluation for any target
  language"), version 1.5 as pycocoevalcap runs it: words are matched by form, stem, synonym and paraphrase;
  F = P R / (alpha P + (1 - alpha) R), less a penalty for matches in pieces; of each picture at its best reference. Here
  the mean over pictures, which can be resampled; COCO's tables give the pooled score, a little higher or lower.
- SPICE (Anderson et al. 2016, "SPICE: semantic propositional image caption evaluation"): F-measure of the objects,
  attributes and relations that text and references share, the mean over pictures. Its parser (Stanford CoreNLP 3.6.0)
  is in no package; pycocoevalcap would fetch it over plain HTTP, so nothing is fetched here: whoever wants SPICE puts
  both jars beside pycocoevalcap's own.
"""

from __future__ import annotations

import importlib.util
import math
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from narrator.metrics.tokenize import ptb_text
from narrator.records import NarratorError

_CORENLP = ("stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0-models.jar")


def missing() -> dict[str, str]:
    """Which of "meteor" and "spice" cannot be computed here, and why, in a sentence each."""
    if shutil.which("java") is None:
        return {"meteor": "METEOR needs Java, which is not on this machine.",
                "spice": "SPICE needs Java, which is not on this machine."}
    if not all((_package() / "spice" / "lib" / name).is_file() for name in _CORENLP):
        return {"spice": "SPICE needs the parser Stanford CoreNLP 3.6.0 (its jar and its models) in pycocoevalcap's "
                         "folder spice/lib, and it is not there."}
    return {}


def meteor(references: Mapping[int, Sequence[str]], candidates: Mapping[int, str]) -> dict[int, float]:
    """METEOR of each text, 0..1; one without a word has 0. Raises NarratorError where Java fails."""
    from pycocoevalcap.meteor.meteor import Meteor

    said = {key: ptb_text(text) for key, text in candidates.items()}
    told = {key: [text for text in map(ptb_text, references[key]) if text] for key in said}
    usable = [key for key in said if said[key] and told[key]]
    scores = dict.fromkeys(said, 0.0)
    if usable and shutil.which("java") is None:
        raise NarratorError("METEOR could not be computed: Java is not on this machine.")
    if usable:
        scorer = None
        try:
            scorer = Meteor()
            _, found = scorer.compute_score({key: told[key] for key in usable}, {key: [said[key]] for key in usable})
        except (OSError, ValueError) as error:  # Java is not there, ended, or said something else than a number
            raise NarratorError(f"METEOR could not be computed: Java failed ({error}).") from None
        finally:
            _let_go(scorer)
        scores |= dict(zip(usable, found, strict=True))
    return scores


def spice(references: Mapping[int, Sequence[str]], candidates: Mapping[int, str]) -> dict[int, float]:
    """SPICE of each text, 0..1. Raises NarratorError where Java fails."""
    from pycocoevalcap.spice.spice import Spice

    keys = sorted(candidates)
    told = {key: [ptb_text(text) for text in references[key]] for key in keys}
    try:
        _, found = Spice().compute_score(told, {key: [ptb_text(candidates[key])] for key in keys})
    except (OSError, ValueError, KeyError, subprocess.CalledProcessError) as error:
        raise NarratorError(f"SPICE could not be computed: Java failed ({error}).") from None
    values = [float(one["All"]["f"]) for one in found]
    return {key: 0.0 if math.isnan(value) else value for key, value in zip(keys, values, strict=True)}


def _package() -> Path:
    found = importlib.util.find_spec("pycocoevalcap")
    assert found is not None and found.submodule_search_locations  # it is among the requirements
    return Path(next(iter(found.submodule_search_locations)))


def _let_go(scorer: object) -> None:
    """The library leaves pipes open where it closes its Java."""
    process = getattr(scorer, "meteor_p", None)
    for pipe in (process.stdout, process.stderr) if process is not None else ():
        pipe.close()

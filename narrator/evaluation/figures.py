"""The figures of a report: what each is called, its formula and its source, as page and report print them.

The modules of narrator.metrics that compute them say the same at more length.
"""

from __future__ import annotations

import dataclasses

from narrator.records import Score

GROUPS: dict[str, str] = {
    "likeness": "Likeness to what people wrote", "semantic": "Likeness in meaning", "words": "The words themselves",
    "adjectives": "Adjectives", "objects": "Objects that no reference names", "confidence": "Confidence",
    "answers": "Answers", "speed": "Speed and memory"}
_PAPINENI = "Papineni et al. 2002, BLEU"
_LIN = "Lin 2004, ROUGE"
_HERE = "this project"
INTERVALS = ("The 95 % intervals are percentiles 2.5 and 97.5 of 1,000 resamples of the rows (bootstrap, Efron 1979), "
             "of speed and memory resamples of the batches; of shares they are Wilson's (1927), of counts of "
             "different words the jackknife's (Efron and Stein 1981).")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Figure:
    """What a figure is. higher_is_better: None where neither is. digits: after the point. says: how to read it."""

    name: str
    title: str
    group: str  # of GROUPS
    formula: str
    source: str
    unit: str = ""
    higher_is_better: bool | None = True
    digits: int = 3
    says: str = ""


def _bleu(n: int) -> Figure:
    return Figure(name=f"bleu_{n}", title=f"BLEU-{n}", group="likeness", source=_PAPINENI,
                  formula=f"{'p_1' if n == 1 else f'(p_1 ... p_{n})^(1/{n})'} exp(min(0, 1 - |r| / |c|)), p_k the "
                          "clipped share of matching k-grams",
                  says="Runs of words shared with the references; of the whole corpus, not a mean of pictures.")


_ALL = (
    *map(_bleu, (1, 2, 3, 4)),
    Figure(name="rouge_l", title="ROUGE-L", group="likeness", source=_LIN,
           formula="mean of (1 + b^2) P R / (R + b^2 P), b = 1.2, of the longest common subsequence",
           says="Words in the same order as in a reference."),
    Figure(name="rouge_2", title="ROUGE-2", group="likeness", source=_LIN,
           formula="mean of 2 P R / (P + R) of pairs of words, at the best reference",
           says="Pairs of words shared with the best reference."),
    Figure(name="cider_d", title="CIDEr-D", group="likeness", source="Vedantam et al. 2015, CIDEr", unit="of 10",
           formula="mean of 10 * mean over n = 1..4 and references of exp(-(l_c - l_r)^2 / 72) "
                   "min(g_c, g_r) . g_r / (|g_c| |g_r|), g the TF-IDF of n-grams",
           says="Runs of words, the rarer the weightier. People score about 0.8 to 1.0 against each other."),
    Figure(name="meteor", title="METEOR", group="semantic", source="Denkowski and Lavie 2014, METEOR 1.5",
           formula="mean over pictures of the F-measure of words matched by form, stem, synonym or paraphrase, less a "
                   "penalty for matches in pieces", says="Needs Java. COCO's tables pool the pictures instead."),
    Figure(name="spice", title="SPICE", group="semantic", source="Anderson et al. 2016, SPICE",
           formula="mean of the F-measure of objects, attributes and relations", says="Needs Java and CoreNLP 3.6.0."),
    Figure(name="clip_score", title="CLIPScore", group="semantic", source="Hessel et al. 2021, CLIPScore",
           formula="mean of 2.5 max(cos(picture, \"A photo depicts\" + text), 0)",
           says="Picture against text, without references; it needs a CLIP model on this machine."),
    Figure(name="words_found", title="Words found", group="semantic", source=f"{_HERE}; stems of Porter 1980",
           formula="content words that a reference holds / content words",
           says="Nouns, verbs, adjectives and numbers that some reference bears out. A lower bound."),
    Figure(name="words", title="Length", group="words", source="Chen et al. 2015 (the tokens)", unit="words",
           formula="words / texts", higher_is_better=None, digits=1),
    Figure(name="vocabulary", title="Vocabulary", group="words", source="jackknife of Efron and Stein 1981",
           unit="words", formula="different words of all texts", higher_is_better=None, digits=0,
           says="It rises with the number of texts: compare equal numbers."),
    Figure(name="distinct_1", title="Distinct-1", group="words", source="Li et al. 2016",
           formula="different words / words of all texts", higher_is_better=None,
           says="It falls with the number of texts: compare equal numbers."),
    Figure(name="distinct_2", title="Distinct-2", group="words", source="Li et al. 2016",
           formula="different pairs of words / pairs of all texts", higher_is_better=None,
           says="It falls with the number of texts: compare equal numbers."),
    Figure(name="repetition", title="Repetition rate", group="words", source="Welleck et al. 2020 (seq-rep-2)",
           formula="mean of 1 - different pairs of words / pairs of one text", higher_is_better=False),
    Figure(name="reading_ease", title="Reading ease", group="words", source="Flesch 1948",
           formula="mean of 206.835 - 1.015 words / sentences - 84.6 syllables / words", higher_is_better=None,
           digits=1, says="100 reads very easily, 30 with effort; syllables are counted by rule."),
    Figure(name="adjective_density", title="Adjective density", group="adjectives", source=f"{_HERE}; tags of TextBlob",
           formula="adjectives that the prompt does not hold / words", higher_is_better=None),
    Figure(name="adjective_precision", title="Adjective precision", group="adjectives",
           source=f"{_HERE}; tags of TextBlob", formula="adjectives that a reference holds / adjectives",
           says="Adjectives that some reference bears out, those of the prompt left out. A lower bound."),
    Figure(name="hallucination_i", title="Hallucinated objects", group="objects", higher_is_better=False,
           source="Rohrbach et al. 2018, CHAIR_i, against references alone",
           formula="objects named that no reference names / objects named",
           says="An upper bound: people do not mention everything."),
    Figure(name="hallucination_s", title="Texts with a hallucinated object", group="objects", higher_is_better=False,
           source="Rohrbach et al. 2018, CHAIR_s, against references alone",
           formula="texts that name an object that no reference names / texts",
           says="An upper bound: people do not mention everything."),
    Figure(name="confidence", title="Mean confidence", group="confidence", source=_HERE, higher_is_better=None,
           formula="mean over texts of the mean probability of a token",
           says="How sure the model is of its words, not how right they are."),
    Figure(name="confidence_error", title="Calibration error of confidence", group="confidence", higher_is_better=False,
           source="Guo et al. 2017, ECE, 15 bins",
           formula="sum over bins of n_b / n |mean words found - mean confidence|",
           says="Against the share of content words that a reference holds: 0 where texts of confidence 0.8 have 80 % "
                "of theirs found. Another person's text does not reach 1 either."),
    Figure(name="accuracy", title="Accuracy", group="answers", source="Wilson 1927 (the interval)",
           formula="right answers / answers; of several kinds of question the mean of the kinds"),
    Figure(name="macro_recall", title="Macro recall", group="answers", source="van Rijsbergen 1979",
           formula="mean over classes of hits / examples"),
    Figure(name="macro_f1", title="Macro F1", group="answers", source="van Rijsbergen 1979",
           formula="mean over classes of 2 hits / (examples + times told)"),
    Figure(name="class_loss", title="Class loss", group="answers", source="negative log-likelihood", unit="nats",
           formula="mean of -log p(true class)", higher_is_better=False),
    Figure(name="calibration_error", title="Calibration error", group="answers", source="Guo et al. 2017, ECE, 15 bins",
           formula="sum over bins of n_b / n |accuracy - mean confidence|", higher_is_better=False),
    Figure(name="lm_loss", title="Loss of the picture", group="answers", source="negative log-likelihood", unit="nats",
           formula="mean over pictures of the nats of a picture token", higher_is_better=False),
    Figure(name="loss_answer", title="Loss of the answer", group="answers", source="negative log-likelihood",
           unit="nats", formula="nats of the known answers / their tokens", higher_is_better=False),
    Figure(name="loss_everything", title="Loss of everything", group="answers", source="negative log-likelihood",
           unit="nats", formula="the same, prompt and padding included", higher_is_better=False),
    Figure(name="perplexity", title="Perplexity", group="answers", source="exp of the loss", digits=1,
           formula="exp(nats / tokens)", higher_is_better=False),
    Figure(name="tokens_per_second", title="Tokens a second", group="speed", source="bootstrap over batches", digits=1,
           formula="tokens / seconds, pictures opened and read included"),
    Figure(name="seconds_per_row", title="Seconds a picture", group="speed", source="bootstrap over batches", unit="s",
           formula="seconds / pictures (or prompts), loading the model left out", higher_is_better=False),
    Figure(name="memory", title="Memory", group="speed", source="bootstrap over batches", unit="GiB",
           formula="mean after each batch of the process's resident memory; on a graphics card its allocated peak",
           higher_is_better=False, digits=2, says="Of the whole process: other loaded models count too."),
)
FIGURES: dict[str, Figure] = {one.name: one for one in _ALL}


def figure(name: str) -> Figure:
    """What is known of a figure, families of names such as accuracy_colour included."""
    if name in FIGURES:
        return FIGURES[name]
    family, _, kind = name.partition("_")
    kind = kind.replace("_", " ")
    if family == "accuracy":
        return Figure(name=name, title=f"Accuracy, {kind}", group="answers", source="Wilson 1927 (the interval)",
                      formula="right answers / questions of this kind")
    if family == "majority":
        return Figure(name=name, title=f"Commonest answer, {kind}", group="answers", higher_is_better=None,
                      source="Wilson 1927 (the interval)", formula="what always saying the commonest answer would get")
    if family == "top" and kind.split():
        return Figure(name=name, title=f"Top-{kind.split()[0]} accuracy", group="answers",
                      source="Wilson 1927 (the interval)", formula="the class is among the likeliest / examples")
    return Figure(name=name, title=name.replace("_", " "), group="answers", formula="", source="")


def shown(name: str, score: Score) -> str:
    """The figure for people: "0.529 (0.496 to 0.565)"."""
    digits = figure(name).digits
    return f"{score.value:,.{digits}f} ({score.low:,.{digits}f} to {score.high:,.{digits}f})"

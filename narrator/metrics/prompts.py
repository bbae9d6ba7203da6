"""How prompts are answered: what a model expects of a known answer, and what it says itself."""

from collections.abc import Sequence

import numpy as np

from narrator.metrics.scores import caption_scores
from narrator.metrics.text import perplexity, ratio, text_scores
from narrator.records import Score

_OF_TEXT = ("distinct_1", "distinct_2", "repetition", "adjective_density", "words")


def loss_scores(sums: np.ndarray, *, intervals: bool = True) -> dict[str, Score]:
    """`loss_answer` (nats a token, the end included), `perplexity` of the answer, and `loss_everything` where it was
    counted: nats a token of the whole padded row, prompt and padding included, as those count who take such rows as
    labels.

    sums: (N, 4), of each answer its nats and tokens, then those of everything; 95 % bootstrap intervals over the rows.
    """
    nats, tokens, all_nats, all_tokens = sums.T.tolist()
    scores = {"loss_answer": ratio(nats, tokens, intervals=intervals, higher_is_better=False)}
    if any(all_tokens):
        scores["loss_everything"] = ratio(all_nats, all_tokens, intervals=intervals, higher_is_better=False)
    return scores | {"perplexity": perplexity(nats, tokens, intervals=intervals)}


def answer_scores(prompts: Sequence[str], references: Sequence[Sequence[str]], said: Sequence[str], *,
                  intervals: bool = True) -> dict[str, Score]:
    """Those of `narrator.metrics.text` for what was said, all nought where nothing was, as by a model at its beginning;
    and caption scores against all references."""
    if any(text.strip() for text in said):
        scores = text_scores(said, prompts, intervals=intervals)
    else:
        scores = dict.fromkeys(_OF_TEXT, Score(value=0.0, low=0.0, high=0.0))
    return scores | caption_scores(dict(enumerate(references)), dict(enumerate(said)), intervals=intervals)

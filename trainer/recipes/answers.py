"""How well a language model answers held-out prompts: what it expects of known answers, and what it says itself."""

from collections.abc import Sequence

from narrator.families.causal_lm import CausalLM
from narrator.held_out import HeldOut
from narrator.metrics.prompts import answer_scores, loss_scores
from narrator.records import Score
from narrator.scene_types import scene_type
from narrator.settings import GenerationSettings
from narrator.wording import joined, tidy
from trainer.recipes import Tell

AT_ONCE = 50  # prompts answered


def score(family: CausalLM, rows: Sequence[HeldOut], *, beams: int, intervals: bool, tell: Tell
          ) -> tuple[dict[str, Score], dict[str, list[float]]]:
    """(scores of the rows, as narrator.metrics.prompts defines them; type of scene -> nats a token of each of its
    answers)."""
    sums = family.answer_losses([(row.prompt, row.answer) for row in rows], rows[0].max_tokens)  # (N, 4)
    by_type: dict[str, list[float]] = {}
    for row, (nats, tokens, *_) in zip(rows, sums.tolist(), strict=True):
        by_type.setdefault(scene_type(row.texts), []).append(nats / tokens)
    settings, said = GenerationSettings(num_beams=beams), list[str]()
    for start in range(0, len(rows), AT_ONCE):
        prompts = [row.prompt for row in rows[start:start + AT_ONCE]]
        said += [tidy(joined(pieces)) for pieces in family.batch([None] * len(prompts), prompts, settings)]
        tell(len(said), len(rows))
    return {**loss_scores(sums, intervals=intervals),
            **answer_scores([row.prompt for row in rows], [row.texts for row in rows], said, intervals=intervals)
            }, by_type

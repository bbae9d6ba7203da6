"""Decoding for decoders that look at a picture: one step at a time with a key-value cache, greedily or by sampling.

transformers' `generate` does the same and more (beams go through it). This loop exists because it can be left after any
step, tells each token's probability as it comes, and draws each picture's random numbers by itself, at the same speed
(benchmarks/describe.py).
"""

from collections.abc import Iterator, Sequence

import torch
from transformers import GPT2LMHeadModel
from transformers.cache_utils import DynamicCache, EncoderDecoderCache
from transformers.generation.logits_process import (
    LogitsProcessorList,
    NoRepeatNGramLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from narrator.settings import GenerationSettings

_CROWDED = 0.75  # share of sequences still going under which the others are dropped from the cache

def memory(decoder: GPT2LMHeadModel, hidden: torch.Tensor, picture: torch.Tensor | None = None) -> EncoderDecoderCache:
    """A cache whose cross-attention part is filled: keys and values are computed once per picture, then shared.

    hidden: (B, P, width), the patches. picture: (N,) which of the B pictures each of the N captions is about;
    None: caption i
    is about picture i. Gradients flow through.
    """
    cross = DynamicCache()
    heads = decoder.config.num_attention_heads
    for index, block in enumerate(decoder.transformer.h):
        keys, values = block.crossattention.c_attn(hidden).chunk(2, dim=2)
        if picture is not None:
            keys, values = keys[picture], values[picture]
        shape = (*keys.shape[:2], heads, -1)
        # (N, heads, P, width / heads)
        cross.update(keys.view(shape).transpose(1, 2), values.view(shape).transpose(1, 2), index)
    both = EncoderDecoderCache(DynamicCache(), cross)
    both.is_updated = dict.fromkeys(range(len(decoder.transformer.h)), True)
    return both


def processors(settings: GenerationSettings) -> LogitsProcessorList:
    """The changes to the logits that the settings ask for, in transformers' order."""
    chain = LogitsProcessorList()
    if settings.repetition_penalty != 1.0:
        chain.append(RepetitionPenaltyLogitsProcessor(settings.repetition_penalty))
    if settings.no_repeat_ngram_size:
        chain.append(NoRepeatNGramLogitsProcessor(settings.no_repeat_ngram_size))
    if settings.temperature > 0:
        chain.append(TemperatureLogitsWarper(settings.temperature))
        if settings.top_k:
            chain.append(TopKLogitsWarper(settings.top_k))
        if settings.top_p < 1.0:
            chain.append(TopPLogitsWarper(settings.top_p))
    return chain


@torch.inference_mode()
def steps(decoder: GPT2LMHeadModel, hidden: torch.Tensor, settings: GenerationSettings, *, never: Sequence[int] = (),
          samples: int = 1) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield (tokens, probabilities), each (N,), once a step until every sequence has ended.

    hidden: (B, P, width). samples: sequences for each picture, N = B * samples, those of a picture side by side.
    never: token ids that are not to be chosen. After its end a sequence yields the pad token with probability 1.
    A token's probability is the model's own, before temperature and penalties.
    """
    config, rows = decoder.config, len(hidden) * samples
    picture = torch.arange(len(hidden), device=hidden.device).repeat_interleave(samples)
    cache = memory(decoder, hidden, picture if samples > 1 else None)
    chain, banned = processors(settings), torch.tensor(list(never), dtype=torch.long, device=hidden.device)
    draws = _Draws(settings, rows, hidden.device, shared=samples > 1)
    tokens = torch.full((rows, 1), config.bos_token_id, device=hidden.device)
    done = torch.zeros(rows, dtype=torch.bool, device=hidden.device)
    live = torch.arange(rows, device=hidden.device)  # sequences that the cache holds
    for _ in range(min(settings.max_new_tokens, config.n_positions)):
        output = decoder(input_ids=tokens[live, -1:], past_key_values=cache, encoder_hidden_states=hidden)
        logits = output.logits[:, -1].float()  # (live, V)
        allowed = logits.index_fill(1, banned, -torch.inf)
        said = draws.choose(chain(tokens[live], allowed), live)  # (live,)
        chosen = torch.full((rows,), config.pad_token_id, device=hidden.device)
        probability = torch.ones(rows, device=hidden.device)
        chosen[live] = said.masked_fill(done[live], config.pad_token_id)
        probability[live] = logits.softmax(-1).gather(1, said[:, None])[:, 0].masked_fill(done[live], 1.0)
        tokens = torch.cat([tokens, chosen[:, None]], dim=1)
        yield chosen, probability
        done[live] |= said == config.eos_token_id
        going = ~done[live]
        if not bool(going.any()):
            return
        if int(going.sum()) < _CROWDED * len(live):  # what has ended need not be computed any more
            cache.batch_select_indices(going.nonzero()[:, 0])
            live = live[going]


class _Draws:
    """Chooses a token from each row of logits: the likeliest, or a random one."""

    def __init__(self, settings: GenerationSettings, rows: int, device: torch.device, *, shared: bool) -> None:
        self.greedy = settings.temperature == 0
        # Many samples of one picture must differ, so they share one stream of random numbers. Otherwise each row has
        # its own, so that a batch says the same as one by one.
        self.shared = shared
        seeded = () if self.greedy or shared else range(rows)
        self.generators = [torch.Generator(device).manual_seed(settings.seed) for _ in seeded]

    def choose(self, logits: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """One token for each of the (R, V) logits; rows: which sequences these are."""
        if self.greedy:
            return logits.argmax(-1)
        probabilities = logits.softmax(-1)
        if self.shared:
            return torch.multinomial(probabilities, 1)[:, 0]
        return torch.cat([torch.multinomial(row, 1, generator=self.generators[index])
                          for row, index in zip(probabilities, rows.tolist(), strict=True)])


@torch.inference_mode()
def token_probabilities(decoder: GPT2LMHeadModel, hidden: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """The probability of each token given those before it. hidden: (N, P, width); tokens: (N, T) without the start
    -> (N, T)."""
    start = torch.full_like(tokens[:, :1], decoder.config.bos_token_id)
    given = torch.cat([start, tokens[:, :-1]], dim=1)
    logits = decoder(input_ids=given, past_key_values=memory(decoder, hidden), encoder_hidden_states=hidden).logits
    return logits.float().softmax(-1).gather(2, tokens[:, :, None])[:, :, 0]

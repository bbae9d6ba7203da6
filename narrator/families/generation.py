"""Text from any model that transformers can let speak, a step at a time: its own `generate`, in a thread that can be
left between two steps.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from queue import SimpleQueue
from typing import Any

import torch
from transformers.generation import GenerationMixin, StoppingCriteria, StoppingCriteriaList

from narrator.records import NarratorError, Piece
from narrator.settings import GenerationSettings

Inputs = Mapping[str, Any]
Step = tuple[torch.Tensor, torch.Tensor]  # tokens (N,) and their probabilities (N,)
ToText = Callable[[list[int]], str]
_HALF = "\ufffd"  # what half of a character of several bytes is decoded to


def stream(model: Any, inputs: Inputs, settings: GenerationSettings, text: ToText, *, never: Sequence[int] = (),
           config: Mapping[str, Any] | None = None) -> Iterator[Piece]:
    """Yield a piece a token; with beams, empty pieces while they search and the text at the end.

    inputs: what `model.generate` takes, for one request. text: the new tokens as a text. never: tokens that are never
    said. config: more arguments for `generate`. A token's probability is the model's own, before temperature and
    penalties (with beams: after penalties). Closing the iterator ends the generation within a step.
    Raises NarratorError when the prompt leaves no room for an answer.
    """
    arguments = _arguments(model, inputs, settings, never, config)
    ends, beams = end_tokens(model, config), settings.num_beams > 1
    watch = Watch(model, probabilities=not beams)
    speaking = _Speaking(text)
    for step in watch.steps({**inputs, **arguments}, settings.seed):
        if beams:
            yield Piece(text="", tokens=0)
        elif int(step[0][0]) in ends:
            break
        else:
            yield speaking.piece(int(step[0][0]), float(step[1][0]))
    if beams:
        tokens, chances = _best_beams(model, watch.result)
        yield from pieces(tokens[0].tolist(), chances[0].tolist(), text, ends)


def batch(model: Any, inputs: Inputs, settings: GenerationSettings, text: ToText, *, never: Sequence[int] = (),
          config: Mapping[str, Any] | None = None) -> list[list[Piece]]:
    """One list of pieces for each row of `inputs` (padded on the left). Not for sampling: rows that share random
    numbers would not say what each says alone, so a family samples one by one."""
    if settings.temperature > 0:
        raise ValueError("sampling goes row by row")
    arguments = _arguments(model, inputs, settings, never, config)
    ends, beams = end_tokens(model, config), settings.num_beams > 1
    watch = Watch(model, probabilities=not beams)
    steps = list(watch.steps({**inputs, **arguments}, settings.seed))
    if beams:
        tokens, chances = _best_beams(model, watch.result)
    else:
        tokens = torch.stack([step[0] for step in steps], dim=1)  # (N, T)
        chances = torch.stack([step[1] for step in steps], dim=1)
    return [pieces(row, chance, text, ends) for row, chance in zip(tokens.tolist(), chances.tolist(), strict=True)]


def pieces(tokens: Sequence[int], probabilities: Sequence[float], text: ToText, ends: frozenset[int]) -> list[Piece]:
    """One piece a token, up to the first token of `ends`."""
    speaking, told = _Speaking(text), []
    for token, probability in zip(tokens, probabilities, strict=True):
        if token in ends:
            break
        told.append(speaking.piece(token, min(probability, 1.0)))
    return told


class _Speaking:
    """Tokens one by one -> what each adds to the text."""

    def __init__(self, text: ToText) -> None:
        self.text, self.said, self.shown = text, list[int](), ""

    def piece(self, token: int, probability: float) -> Piece:
        """The next token's; empty while only a part of a character is there."""
        self.said.append(token)
        longer, before = self.text(self.said), self.shown
        if not longer.endswith(_HALF):
            self.shown = longer
        return Piece(text=self.shown[len(before):], probability=probability)


def end_tokens(model: Any, config: Mapping[str, Any] | None = None) -> frozenset[int]:
    """The tokens that end an answer, as `generate` will take them; and padding, which follows it."""
    found: set[int] = set()
    for name in ("eos_token_id", "pad_token_id"):
        ids = (config or {}).get(name, getattr(model.generation_config, name, None))
        found |= set(ids) if isinstance(ids, (list, tuple)) else {ids}
    return frozenset(found - {None})


def _arguments(model: Any, inputs: Inputs, settings: GenerationSettings, never: Sequence[int],
               config: Mapping[str, Any] | None) -> dict[str, Any]:
    """GenerationSettings in transformers' words; nothing of the checkpoint's own decoding is left standing."""
    sampling: dict[str, Any] = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
    if settings.temperature > 0:
        sampling = {"do_sample": True, "temperature": settings.temperature, "top_p": settings.top_p,
                    "top_k": settings.top_k or 0}
    beams: dict[str, Any] = {"num_beams": 1, "length_penalty": None, "early_stopping": None}
    if settings.num_beams > 1:
        beams = {"num_beams": settings.num_beams, "length_penalty": settings.length_penalty, "early_stopping": True,
                 "return_dict_in_generate": True, "output_scores": True}
    return {"max_length": None, "min_length": 0, "max_new_tokens": _room(model, inputs, settings.max_new_tokens),
            "repetition_penalty": settings.repetition_penalty, "no_repeat_ngram_size": settings.no_repeat_ngram_size,
            "suppress_tokens": list(never) or None, **sampling, **beams, **(config or {})}


def _room(model: Any, inputs: Inputs, wanted: int) -> int:
    """How many tokens may be said: as many as wanted, or as positions are left after the prompt."""
    text_config = model.config.get_text_config(decoder=True)
    positions = getattr(text_config, "max_position_embeddings", None)
    if positions is None or model.config.is_encoder_decoder:
        return wanted
    prompt = max((inputs[name].shape[1] for name in ("input_ids", "inputs_embeds") if inputs.get(name) is not None),
                 default=0)
    if prompt >= positions:
        raise NarratorError(f"The prompt takes {prompt:,} tokens and the model has room for {positions:,}: shorten it.")
    return int(min(wanted, positions - prompt))


def _best_beams(model: Any, output: Any) -> Step:
    """(tokens, probabilities), each (N, T), of the best beam of each row."""
    indices = getattr(output, "beam_indices", None)
    speaker = next((part for part in model.modules() if isinstance(part, GenerationMixin)), model)
    scores = speaker.compute_transition_scores(output.sequences, output.scores, indices)  # (N, T), log-probabilities
    return output.sequences[:, -scores.shape[1]:], scores.exp()


class Watch(StoppingCriteria):
    """Sees every step of a generation that runs in a thread of its own, and ends it when its reader has left."""

    def __init__(self, model: Any, *, probabilities: bool) -> None:
        self.model, self.probabilities = model, probabilities
        self.result: Any = None
        self._logits: torch.Tensor | None = None  # of the newest step, before anything changed them
        self._queue: SimpleQueue[Step | BaseException | None] = SimpleQueue()
        self._left = threading.Event()

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        tokens = input_ids[:, -1]
        chances = torch.ones(len(tokens), device=tokens.device)
        if self.probabilities and self._logits is not None:
            chances = self._logits.float().softmax(-1).gather(1, tokens[:, None].to(self._logits.device))[:, 0]
        self._queue.put((tokens, chances))
        return torch.full((len(input_ids),), self._left.is_set(), dtype=torch.bool, device=input_ids.device)

    def steps(self, arguments: dict[str, Any], seed: int) -> Iterator[Step]:
        """Yield each step of `generate`; what it gives is in `result` afterwards, what it raises is raised here."""
        # Every part that may be the one whose `generate` is called in the end: BLIP's is its text decoder.
        speakers = [part for part in self.model.modules() if isinstance(part, GenerationMixin)]
        hooks = [part.register_forward_hook(self._remember) for part in speakers if self.probabilities]
        worker = threading.Thread(target=self._work, args=(arguments, seed), daemon=True, name="generate")
        worker.start()
        try:
            while (step := self._queue.get()) is not None:
                if isinstance(step, BaseException):
                    raise step
                yield step
        finally:
            self._left.set()
            worker.join()
            for hook in hooks:
                hook.remove()

    def _work(self, arguments: dict[str, Any], seed: int) -> None:
        try:
            with torch.inference_mode():
                torch.manual_seed(seed)  # generate() takes no generator
                self.result = self.model.generate(**arguments, stopping_criteria=StoppingCriteriaList([self]))
        except BaseException as error:  # raised again in the thread that reads
            self._queue.put(error)
        finally:
            self._queue.put(None)

    def _remember(self, module: Any, arguments: Any, output: Any) -> None:
        logits = getattr(output, "logits", None)
        if logits is not None and logits.dim() == 3:
            self._logits = logits[:, -1].detach()

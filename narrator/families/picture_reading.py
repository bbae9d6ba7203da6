"""What a GPT over picture tokens tells of whole sequences, for learning and for measuring: labels are shifted here
alone."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from narrator.families.picture_tokens import ASK, Codebook, Vocabulary, positions_of, to_pixels
from narrator.metrics.classification import Told
from narrator.records import NarratorError

AT_ONCE = 100  # pictures of a measurement
Tell = Callable[[int, int], None]


def forward(model: Any, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(B, T) -> logits (B, T - 1, V) float32, the token that each is to tell (B, T - 1), and where the class is asked.

    The one place where labels are shifted: what stands at t + 1 is told at t.
    """
    given, wanted = ids[:, :-1], ids[:, 1:]
    patches = ids.shape[1] - 5
    # With a mask of ones: without any, transformers takes a jump in the positions for a new sequence.
    logits = model(input_ids=given, position_ids=positions_of(given, patches),
                   attention_mask=torch.ones_like(given)).logits.float()
    asked = given == ASK
    asked[:, 0] = False  # there the class is given, for the picture to follow
    return logits, wanted, asked


@torch.inference_mode()
def measure(model: Any, vocabulary: Vocabulary, tokens: torch.Tensor, labels: torch.Tensor,
            tell: Tell = lambda done, total: None) -> tuple[np.ndarray, np.ndarray]:
    """Class probabilities (N, C) and mean nats per picture token (N,) of whole sequences, class at the tail."""
    chances, nats = [], []
    for start in range(0, len(tokens), AT_ONCE):
        ids = vocabulary.sequence(tokens[start:start + AT_ONCE], labels[start:start + AT_ONCE])
        logits, wanted, asked = forward(model, ids)
        chances.append(logits[asked][:, vocabulary.first_class:].softmax(-1))
        drawn = vocabulary.is_picture(wanted)
        loss = nn.functional.cross_entropy(logits[drawn], wanted[drawn], reduction="none")
        nats.append(loss.view(len(ids), -1).mean(1))
        tell(min(start + AT_ONCE, len(tokens)), len(tokens))
    return torch.cat(chances).cpu().double().numpy(), torch.cat(nats).cpu().double().numpy()


def exchanged(tokens: torch.Tensor, seed: int = 0) -> torch.Tensor:
    """(N, n) picture tokens, each row those of another: a model that still tells the classes above chance has them from
    anywhere but the picture."""
    order = torch.randperm(len(tokens), generator=torch.Generator().manual_seed(seed)).to(tokens.device)
    others = torch.empty_like(tokens)
    others[order] = tokens[order.roll(1)]
    return others


def judge(model: Any, codebook: Codebook, vocabulary: Vocabulary, pairs: Iterable[tuple[Image.Image, int]],
          tell: Tell) -> Told:
    """What the model tells of pictures with their classes; each picture is let go of once it is read. Raises
    NarratorError for a class that it does not know, and when there is no picture."""
    labels: list[int] = []
    read: list[torch.Tensor] = []  # tokens of so many pictures
    waiting: list[torch.Tensor] = []  # pixels
    device = codebook.centres.device
    for picture, label in pairs:
        if not 0 <= label < vocabulary.classes:
            raise NarratorError(f"A class is between 0 and {vocabulary.classes - 1}, not {label}.")
        labels.append(label)
        waiting.append(to_pixels(picture, codebook.size))
        if len(waiting) == AT_ONCE:
            read, waiting = [*read, codebook.encode(torch.stack(waiting).to(device))], []
    if waiting:
        read.append(codebook.encode(torch.stack(waiting).to(device)))
    if not read:
        raise NarratorError("There is nothing to score: give at least one picture with its class.")
    tokens, true = torch.cat(read), torch.tensor(labels, device=device)
    chances, nats = measure(model, vocabulary, tokens, true, lambda done, total: tell(done, 2 * total))
    others, _ = measure(model, vocabulary, exchanged(tokens), true, lambda done, total: tell(total + done, 2 * total))
    return Told(labels=np.array(labels), chances=chances, nats=nats, exchanged=others)

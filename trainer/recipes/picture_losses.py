"""What a GPT over picture tokens is taught and judged by: its losses, and the test that only the picture tells the
class."""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from transformers import GPT2LMHeadModel

from narrator.families.picture_tokens import ASK, Vocabulary, positions_of
from narrator.metrics import classification
from narrator.records import Score

AT_ONCE = 100  # pictures of an evaluation
Tell = Callable[[int, int], None]


def losses(model: GPT2LMHeadModel, vocabulary: Vocabulary, ids: torch.Tensor, *, smoothing: float = 0.0
           ) -> tuple[torch.Tensor, torch.Tensor]:
    """(picture loss, class loss) of (B, T) sequences, scalars in nats.

    Picture loss: mean over all picture tokens. Class loss: mean, over the sequences with the class at the tail, of the
    cross-entropy at `<CLS>` among the class tokens; 0 where there are none. All else, padding included, is not scored:
    it is put there by rule, also when the model narrates.
    """
    logits, wanted, asked = forward(model, ids)
    drawn = vocabulary.is_picture(wanted)
    picture = nn.functional.cross_entropy(logits[drawn], wanted[drawn])
    if not bool(asked.any()):
        return picture, picture.new_zeros(())
    first = vocabulary.first_class
    told = nn.functional.cross_entropy(logits[asked][:, first:], wanted[asked] - first, label_smoothing=smoothing)
    return picture, told


def forward(model: GPT2LMHeadModel, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
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
def measure(model: GPT2LMHeadModel, vocabulary: Vocabulary, tokens: torch.Tensor, labels: torch.Tensor,
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


def leakage(model: GPT2LMHeadModel, vocabulary: Vocabulary, tokens: torch.Tensor, labels: torch.Tensor,
            seed: int = 0) -> Score:
    """Accuracy when each example gets the picture tokens of another, all else left as it is: what is above chance has
    come from anywhere but the picture."""
    order = torch.randperm(len(tokens), generator=torch.Generator().manual_seed(seed)).to(tokens.device)
    others = torch.empty_like(tokens)
    others[order] = tokens[order.roll(1)]
    chances, _ = measure(model, vocabulary, others, labels)
    hits = int((chances.argmax(1) == labels.cpu().numpy()).sum())
    return classification.share(hits, len(labels), higher_is_better=False)

"""What a GPT over picture tokens is taught: its losses."""

import torch
from torch import nn
from transformers import GPT2LMHeadModel

from narrator.families.picture_reading import forward
from narrator.families.picture_tokens import Vocabulary


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

"""Text decoders of our captioners: a GPT-2 of words of our own size, or a language model that is there already."""

from pathlib import Path

from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
    VisionEncoderDecoderModel,
)

from narrator.families.causal_lm import load_tokenizer
from narrator.families.loading import load_whole
from narrator.records import NarratorError
from trainer.config import TrainingConfig
from trainer.recipes.bases import find_base
from trainer.recipes.encoders import drop_pooler


def new_decoder(config: TrainingConfig, tokens: PreTrainedTokenizerFast, root: Path) -> GPT2LMHeadModel:
    """A decoder with cross-attention: `config.decoder` with new cross-attention, or random weights."""
    if config.decoder:
        model = AutoModelForCausalLM.from_pretrained(
            find_base(config.decoder, root), local_files_only=True, use_safetensors=True, add_cross_attention=True,
            attn_implementation="eager")
        if not isinstance(model, GPT2LMHeadModel):
            raise NarratorError(f"The decoder {config.decoder} is a {model.config.model_type}, and only GPT-2 and its "
                                "like can look at pictures here. Name another as 'decoder'.")
        model.config.pad_token_id = tokens.pad_token_id
        return model
    return GPT2LMHeadModel(own_decoder(config, len(tokens), bos_token_id=tokens.bos_token_id,
                                       eos_token_id=tokens.eos_token_id, pad_token_id=tokens.pad_token_id))


def own_decoder(config: TrainingConfig, words: int, **special: int) -> GPT2Config:
    """A decoder of our own size. special: ids of the special tokens."""
    return GPT2Config(
        vocab_size=words, n_positions=config.max_words + 40, n_embd=config.width, n_layer=config.layers,
        n_head=config.heads, add_cross_attention=True, activation_function="gelu_pytorch_tanh",
        embd_pdrop=config.dropout, resid_pdrop=config.dropout, attn_pdrop=0.0, attn_implementation="eager", **special)


def load_captioner(folder: Path, words: int) -> VisionEncoderDecoderModel:
    """A captioner to train, in float32, with room for so many words: new ones begin near the mean of those it knows.
    Raises NarratorError when the folder holds none."""
    try:
        model: VisionEncoderDecoderModel = load_whole(VisionEncoderDecoderModel, folder, may_lack=("encoder.pooler.",),
                                                      attn_implementation="eager")
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise NarratorError(f"The base {folder} cannot be loaded ({reason}). It must hold config.json and safetensors "
                            "of a picture encoder with a text decoder.") from error
    drop_pooler(model.encoder)
    if model.decoder.config.vocab_size < words:
        model.decoder.resize_token_embeddings(words)
    return model


def decoder_tokenizer(name: str, root: Path) -> PreTrainedTokenizerFast:
    """The tokenizer of `config.decoder`. Where it has no padding its end stands in: labels mask padding by its place,
    so that the end is learned all the same."""
    tokenizer: PreTrainedTokenizerFast = load_tokenizer(find_base(name, root))
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer

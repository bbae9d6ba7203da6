"""The word-level tokenizer of our own captioners: the words of the training captions, as the caption metrics cut
them."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence

from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from narrator.metrics.tokenize import ptb_tokens

PAD, START, END, UNKNOWN = "<pad>", "<s>", "</s>", "<unk>"


def make_tokenizer(captions: Iterable[str], min_count: int) -> PreTrainedTokenizerFast:
    """A tokenizer of the words that occur at least `min_count` times, the most frequent first."""
    vocabulary = {word: index for index, word in enumerate([PAD, START, END, UNKNOWN, *_common(captions, min_count)])}
    return _tokenizer(vocabulary)


def extend_tokenizer(tokenizer: PreTrainedTokenizerFast, captions: Iterable[str], min_count: int
                     ) -> PreTrainedTokenizerFast:
    """A tokenizer that knows these words too, after those it knew."""
    known = tokenizer.get_vocab()
    new = [word for word in _common(captions, min_count) if word not in known]
    return _tokenizer(known | {word: len(known) + index for index, word in enumerate(new)})


def of_words(tokenizer: PreTrainedTokenizerFast) -> bool:
    """Whether it is one of these, and not one of pieces of words."""
    return bool(json.loads(tokenizer.backend_tokenizer.to_str())["model"]["type"] == "WordLevel")


def _common(captions: Iterable[str], min_count: int) -> list[str]:
    """The words that occur at least so often, the most frequent first."""
    counts = Counter(word for caption in captions for word in ptb_tokens(caption))
    return sorted((word for word, count in counts.items() if count >= min_count),
                  key=lambda word: (-counts[word], word))


def _tokenizer(vocabulary: dict[str, int]) -> PreTrainedTokenizerFast:
    plain = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    plain.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=plain, pad_token=PAD, bos_token=START, eos_token=END,
                                   unk_token=UNKNOWN, clean_up_tokenization_spaces=False)


def encode(tokenizer: PreTrainedTokenizerFast, words: Sequence[str], longest: int) -> list[int]:
    """Token ids of a caption and its end; a caption that was cut has no end, so that no wrong end is learned."""
    ids = tokenizer.convert_tokens_to_ids(list(words[:longest]))
    return [*ids, tokenizer.eos_token_id] if len(words) <= longest else list(ids)

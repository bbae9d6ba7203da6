"""Pictures and a prompt -> text: any image-text-to-text model that transformers itself knows, with its own processor.

BLIP, BLIP-2, GIT, Florence-2 and PaliGemma take a plain prompt; Idefics3, SmolVLM, Qwen-VL, LLaVA and their like a
conversation, as their chat template writes it.
"""

import contextlib
import inspect
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING, AutoConfig, AutoModelForImageTextToText
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING
from transformers.models.idefics3.processing_idefics3 import Idefics3Processor

from narrator.families import generation
from narrator.families.causal_lm import put_on
from narrator.families.loading import load_whole, quiet
from narrator.records import NarratorError, Piece, Variant
from narrator.settings import GenerationSettings

# Their processors put the picture in by themselves, and they take one.
_ONE_PICTURE = ("blip", "blip-2", "florence2", "git", "instructblip", "kosmos-2", "pix2struct")
# What to ask where neither the request nor the variant says: these were trained on such words.
_ASK = {"florence2": "<CAPTION>", "paligemma": "caption en"}
_ASK_IN_CHAT = "Describe this picture in one sentence."
_PLACE = re.compile(r"image|img|video|vision|audio|row_\d", re.IGNORECASE)  # tokens that stand for a picture
_COUNTED = re.compile(r"image.*tokens|tokens.*image", re.IGNORECASE)  # in what transformers says of counts that differ
_TIGHT = ((re.compile(r"(?<=\w) (?=['-])"), ""), (re.compile(r"(?<=\w['-]) (?=\w)"), ""))  # "close - up" -> "close-up"


class HubVLM:
    """The family of vision-language models from a hub."""

    takes_adapter = True

    def __init__(self, variant: Variant, device: str) -> None:
        """Load weights and processor from the variant's folder, and work its adapter into the weights. Raises
        NarratorError for an adapter of another base; OSError, ValueError, KeyError or RuntimeError when files are
        damaged or no image-text-to-text model."""
        folder = Path(variant.source)
        with quiet():
            config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            model = _load(folder, config, device)
            if variant.adapter is not None:
                model = put_on(model, folder, Path(variant.adapter)).merge_and_unload()
            processor = load_processor(folder, config)
        self._hold(model.to(device).eval(), processor, variant)

    @classmethod
    def around(cls, model: Any, processor: Any, variant: Variant) -> "HubVLM":
        """The family over a model that is in memory already, as while it learns."""
        family = cls.__new__(cls)
        family._hold(model, processor, variant)
        return family

    def _hold(self, model: Any, processor: Any, variant: Variant) -> None:
        self.model, self.processor, self.variant = model, processor, variant
        self.tokenizer = processor.tokenizer
        self.kind: str = model.config.model_type
        self.places = _places(processor)
        self.config = self._ends()
        ends = generation.end_tokens(model, self.config)
        known = {self.tokenizer.unk_token_id, self.tokenizer.pad_token_id,
                 *self.tokenizer.convert_tokens_to_ids(list(self.places))}
        self.never: list[int] = sorted(known - {None} - ends)
        words = getattr(getattr(self.tokenizer, "backend_tokenizer", None), "model", None)
        self.loose = type(words).__name__ == "WordPiece"  # it writes every sign as a word

    def stream(self, image: Image.Image | None, prompt: str, settings: GenerationSettings) -> Iterator[Piece]:
        """Yield a piece a token; with beams, empty pieces while they search and the text at the end."""
        return self.stream_many([] if image is None else [image], prompt, settings)

    def stream_many(self, images: Sequence[Image.Image], prompt: str, settings: GenerationSettings) -> Iterator[Piece]:
        """The same about several pictures at once. Raises NarratorError where the model takes one only, and where
        prompt and picture cannot be put together."""
        inputs = self.inputs(images, prompt)
        with self._fitting():
            yield from generation.stream(self.model, inputs, settings, self.text, never=self.never, config=self.config)

    def batch(self, images: Sequence[Image.Image | None], prompts: Sequence[str],
              settings: GenerationSettings) -> list[list[Piece]]:
        """One list of pieces for each picture. What comes out equally long goes through the model together: nothing is
        padded, so each says what it says alone."""
        pairs = list(zip(images, prompts, strict=True))
        if settings.temperature > 0:
            return [[piece for piece in self.stream(*pair, settings) if piece.tokens] for pair in pairs]
        prepared = [self.inputs([] if image is None else [image], prompt) for image, prompt in pairs]
        alike: dict[tuple, list[int]] = {}
        for index, inputs in enumerate(prepared):
            alike.setdefault(tuple((name, value.shape) for name, value in inputs.items()), []).append(index)
        told: dict[int, list[Piece]] = {}
        for rows in alike.values():
            joined = {name: torch.cat([prepared[row][name] for row in rows]) for name in prepared[rows[0]]}
            with self._fitting():
                pieces = generation.batch(self.model, joined, settings, self.text, never=self.never, config=self.config)
            told.update(zip(rows, pieces, strict=True))
        return [told[index] for index in range(len(pairs))]

    def close(self) -> None:
        """Let go of the weights."""
        del self.model

    def inputs(self, images: Sequence[Image.Image], prompt: str) -> dict[str, torch.Tensor]:
        """What `generate` takes, for one request, on the model's device. Raises NarratorError as `stream_many` does."""
        if not images:
            raise NarratorError("This model describes pictures. Add a picture first.")
        if len(images) > 1 and not self.several:
            raise NarratorError(f"{self.variant.title} takes one picture at a time, not {len(images)}: give it one.")
        text = self.written(len(images), prompt)
        plain = self.kind in _ONE_PICTURE
        pictures = [image.convert("RGB") for image in images]
        start = self.tokenizer.bos_token
        # A chat template may have written the start already: twice is not what the model learned.
        more = {"add_special_tokens": False} if not plain and start and text.startswith(start) else {}
        try:
            made = self.processor(images=pictures if plain else [pictures], text=[text], return_tensors="pt", **more)
        except ValueError as error:
            raise self._misfit(error) from error
        return self._tensors(made)

    def written(self, pictures: int, prompt: str) -> str:
        """The prompt with a place for each picture, in the model's own form."""
        asked = self._harmless(prompt or self.variant.default_prompt) or _ASK.get(self.kind, "")
        if self.kind in _ONE_PICTURE:
            return asked
        if self.processor.chat_template is not None:
            parts = [{"type": "image"}] * pictures + [{"type": "text", "text": asked or _ASK_IN_CHAT}]
            text: str = self.processor.apply_chat_template([{"role": "user", "content": parts}],
                                                           add_generation_prompt=True, tokenize=False)
            return text
        place = str(getattr(self.processor, "image_token", "")) * pictures
        return place + asked if self.kind == "paligemma" or not place else f"{place}\n{asked}"

    @property
    def several(self) -> bool:
        """Whether one prompt may hold several pictures."""
        return self.kind not in _ONE_PICTURE and getattr(self.processor, "image_token", None) is not None

    def text(self, tokens: list[int]) -> str:
        """Tokens as people write them. Each token only ever adds to what those before it gave."""
        words: str = self.tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        for gap, tight in _TIGHT if self.loose else ():
            words = gap.sub(tight, words)
        return words

    def _tensors(self, made: Any) -> dict[str, torch.Tensor]:
        taken = inspect.signature(self.model.forward).parameters
        left_out = {"labels", *({"token_type_ids"} - set(taken))}
        tensors = {name: value for name, value in made.items()
                   if name not in left_out and isinstance(value, torch.Tensor)}
        if self.kind == "git":  # its tokenizer closes the prompt, and what follows would be another sentence
            tensors.update({name: tensors[name][:, :-1] for name in ("input_ids", "attention_mask")})
        return {name: value.to(self.model.device, self.model.dtype if value.is_floating_point() else value.dtype)
                for name, value in tensors.items()}

    def _harmless(self, prompt: str) -> str:
        """The prompt without tokens that stand for pictures: whoever writes one means the letters."""
        for place in self.places:
            prompt = prompt.replace(place, f"{place[0]} {place[1:]}")
        return prompt

    def _ends(self) -> dict[str, Any]:
        """The tokens that end an answer, as arguments for `generate`."""
        settings, text = self.model.generation_config, self.model.config.get_text_config(decoder=True)
        if self.kind == "blip":  # its `generate` names them itself, and takes no others
            settings.eos_token_id, settings.pad_token_id = text.sep_token_id, text.pad_token_id
            return {}
        ends = settings.eos_token_id if settings.eos_token_id is not None else text.eos_token_id
        all_ends = {*(ends if isinstance(ends, (list, tuple)) else [ends]), self.tokenizer.eos_token_id} - {None}
        padding = (settings.pad_token_id, self.tokenizer.pad_token_id, *sorted(all_ends))
        return {"eos_token_id": sorted(all_ends), "pad_token_id": next(token for token in padding if token is not None)}

    @contextlib.contextmanager
    def _fitting(self) -> Iterator[None]:
        """What a model says when pictures and their places do not match, in words for a person."""
        try:
            yield
        except (ValueError, RuntimeError) as error:
            if "do not match" not in str(error):
                raise
            raise self._misfit(error) from error

    def _misfit(self, error: Exception) -> NarratorError:
        said = " ".join(str(error).split())
        if _COUNTED.search(said):
            return NarratorError(f"{self.variant.title}: its processor and its weights do not fit together; get the "
                                 "folder again from where it came.")
        return NarratorError(f"{self.variant.title} cannot take this picture with this prompt ({said[:200]}): change "
                             "one of them.")


def load_processor(folder: Path, config: Any) -> Any:
    """The processor of a model's folder. Raises OSError or ValueError when its files are missing or damaged."""
    if type(config) not in PROCESSOR_MAPPING:
        raise ValueError(f"transformers has no processor for {config.model_type}")
    kind = PROCESSOR_MAPPING[type(config)]
    if kind.__name__ == "SmolVLMProcessor":  # the same for pictures; for videos it wants num2words
        kind = Idefics3Processor
    return pictures_only(kind).from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def pictures_only(kind: type) -> Any:
    """A class of processors less its part for videos, which needs torchvision: no video is ever given."""
    return type(kind.__name__, (_PicturesOnly, kind), {}) if "video_processor" in kind.get_attributes() else kind  # type: ignore[attr-defined]


class _PicturesOnly:
    @classmethod
    def get_attributes(cls) -> list[str]:
        """The parts of a processor, by name."""
        return [name for name in super().get_attributes() if name != "video_processor"]  # type: ignore[misc]


def _load(folder: Path, config: Any, device: str) -> Any:
    """The model as stored; bfloat16 on a graphics card, float32 where a processor would have to count in float16."""
    if type(config) not in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING:
        raise ValueError(f"config.json describes a {config.model_type}, which is no image-text-to-text model")
    model = load_whole(AutoModelForImageTextToText, folder, config=config,
                       dtype="auto" if device == "cpu" else torch.bfloat16)
    halves = device == "cpu" and any(part.dtype == torch.float16 for part in model.parameters())
    return model.float() if halves else model


def _places(processor: Any) -> tuple[str, ...]:
    """The tokens that stand for (a part of) a picture, longest first."""
    named = [value for name, value in vars(processor).items() if name.endswith(("_token", "_tag"))]
    written = {str(value) for value in [*named, *processor.tokenizer.all_special_tokens] if value is not None}
    return tuple(sorted((token for token in written if _PLACE.search(token)), key=len, reverse=True))

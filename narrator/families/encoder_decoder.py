"""Picture -> description: a picture encoder and a text decoder with cross-attention (VisionEncoderDecoderModel)."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import VisionEncoderDecoderConfig, VisionEncoderDecoderModel
from transformers.modeling_outputs import BaseModelOutput

import narrator.families.mobilenet_patches  # noqa: F401  (registers the architecture of our own checkpoints)
from narrator.families.causal_lm import load_tokenizer
from narrator.families.decoding import steps, token_probabilities
from narrator.families.generation import Watch
from narrator.families.loading import Held, load_whole
from narrator.records import NarratorError, Piece, Variant
from narrator.settings import GenerationSettings

_AT_ONCE = 4  # pictures: a processor's cache holds what so many need on their way; 64 at once take twice as long
_JOINED = ((" '", "'"), (" n't", "n't"), ("-lrb- ", "("), (" -rrb-", ")"))  # PTB tokens, as people write them


class EncoderDecoder(Held):
    """The family of `photo-captioner`, and of ViT + GPT-2."""

    def __init__(self, variant: Variant, device: str) -> None:
        """Load the weights from the variant's folder. Raises OSError, ValueError or RuntimeError when they are
        damaged."""
        folder = Path(variant.source)
        model = _load(folder)
        self._hold(model.to(device).eval(), load_tokenizer(folder),
                   PictureInput.load(folder))

    def _hold(self, model: VisionEncoderDecoderModel, tokenizer: Any, pictures: "PictureInput") -> None:
        self.model, self.tokenizer, self.pictures = model, tokenizer, pictures
        self.device = model.device

    def stream(self, image: Image.Image | None, prompt: str, settings: GenerationSettings) -> Iterator[Piece]:
        """Yield a piece a token; with beams, empty pieces while they search and the whole text at the end."""
        hidden = self._encode([image])
        if settings.num_beams > 1:
            yield from self._stream_beams(hidden, settings)
            return
        said: list[int] = []
        text = ""
        for tokens, probabilities in steps(self.model.decoder, self._project(hidden), settings, never=self.never()):
            said.append(int(tokens[0]))
            longer = self.text(said)
            if said[-1] != self.model.decoder.config.eos_token_id:
                yield Piece(text=longer[len(text):], probability=float(probabilities[0]))
            text = longer

    def batch(self, images: Sequence[Image.Image | None], prompts: Sequence[str],
              settings: GenerationSettings) -> list[list[Piece]]:
        """One list of pieces for each picture."""
        if settings.num_beams > 1 and settings.temperature > 0:  # one stream of random numbers each, as when alone
            alone = (self.stream(image, prompt, settings) for image, prompt in zip(images, prompts, strict=True))
            return [[piece for piece in pieces if piece.tokens] for pieces in alone]
        if not images:
            return []
        hidden = self._encode(images)
        if settings.num_beams > 1:
            tokens = self._beams(hidden, settings)
            probabilities = token_probabilities(self.model.decoder, self._project(hidden), tokens)
        else:
            told = list(steps(self.model.decoder, self._project(hidden), settings, never=self.never()))
            tokens = torch.stack([step[0] for step in told], dim=1)  # (B, T)
            probabilities = torch.stack([step[1] for step in told], dim=1)
        rows = zip(tokens.tolist(), probabilities.tolist(), strict=True)
        return [self._pieces(row, chances) for row, chances in rows]

    def close(self) -> None:
        """Let go of the weights."""
        del self.model

    @torch.inference_mode()
    def _encode(self, images: Sequence[Image.Image | None]) -> torch.Tensor:
        if any(image is None for image in images):
            raise NarratorError("This model describes pictures. Add a picture first.")
        pixels = torch.stack([self.pictures(image) for image in images if image is not None]).to(self.device)
        size = _AT_ONCE if self.device.type == "cpu" else len(pixels)
        hidden = torch.cat([self.model.encoder(pixel_values=part).last_hidden_state for part in pixels.split(size)])
        return hidden  # (B, P, channels)

    @torch.inference_mode()
    def _project(self, hidden: torch.Tensor) -> torch.Tensor:
        """(B, P, channels) -> (B, P, width): what the decoder looks at. `generate` does it by itself."""
        return self.model.enc_to_dec_proj(hidden) if hasattr(self.model, "enc_to_dec_proj") else hidden

    def _stream_beams(self, hidden: torch.Tensor, settings: GenerationSettings) -> Iterator[Piece]:
        watch = Watch(self.model, probabilities=False)
        for _ in watch.steps(self._arguments(hidden, settings), settings.seed):
            yield Piece(text="", tokens=0)
        tokens = watch.result[:, 1:]
        probabilities = token_probabilities(self.model.decoder, self._project(hidden), tokens)
        yield from self._pieces(tokens[0].tolist(), probabilities[0].tolist())

    @torch.inference_mode()
    def _beams(self, hidden: torch.Tensor, settings: GenerationSettings) -> torch.Tensor:
        """(B, P, channels) -> tokens (B, T) without the start, padded."""
        tokens: torch.Tensor = self.model.generate(**self._arguments(hidden, settings))
        return tokens[:, 1:]

    def _arguments(self, hidden: torch.Tensor, settings: GenerationSettings) -> dict[str, Any]:
        """The settings as `generate` takes them."""
        sampling: dict[str, Any] = {"do_sample": False}
        if settings.temperature > 0:
            sampling = {"do_sample": True, "temperature": settings.temperature, "top_p": settings.top_p,
                        "top_k": settings.top_k or 0}
        config = self.model.decoder.config
        return {"encoder_outputs": BaseModelOutput(last_hidden_state=hidden), "num_beams": settings.num_beams,
                "max_length": None, "max_new_tokens": min(settings.max_new_tokens, config.n_positions),
                "length_penalty": settings.length_penalty, "repetition_penalty": settings.repetition_penalty,
                "no_repeat_ngram_size": settings.no_repeat_ngram_size, "suppress_tokens": self.never() or None,
                "early_stopping": True, "decoder_start_token_id": config.bos_token_id,
                "pad_token_id": config.pad_token_id, "eos_token_id": config.eos_token_id, **sampling}

    def _pieces(self, tokens: list[int], probabilities: list[float]) -> list[Piece]:
        pieces: list[Piece] = []
        text = ""
        for index, token in enumerate(tokens):
            if token == self.model.decoder.config.eos_token_id:
                break
            longer = self.text(tokens[:index + 1])
            pieces.append(Piece(text=longer[len(text):], probability=probabilities[index]))
            text = longer
        return pieces

    def text(self, tokens: list[int]) -> str:
        """Tokens as people write them."""
        words = self.tokenizer.decode(tokens, skip_special_tokens=True)
        for written, plain in _JOINED:
            words = words.replace(written, plain)
        return words

    def never(self) -> list[int]:
        """Tokens that are never said: padding, the start, the unknown word."""
        config = self.model.decoder.config
        known = {self.tokenizer.unk_token_id, self.tokenizer.pad_token_id, self.tokenizer.bos_token_id}
        return sorted(token for token in known - {None, config.eos_token_id})


class PictureInput:
    """Picture -> the encoder's input, as `preprocessor_config.json` says: squashed to a square, scaled, normalised."""

    def __init__(self, size: int, mean: Sequence[float], std: Sequence[float],
                 resample: int = Image.Resampling.BILINEAR) -> None:
        self.size, self.resample = size, Image.Resampling(resample)
        self.mean = torch.tensor(mean)[:, None, None]
        self.std = torch.tensor(std)[:, None, None]

    @classmethod
    def load(cls, folder: Path) -> "PictureInput":
        """Read `folder`/preprocessor_config.json: a size, or a dict with height, or with shortest_edge, as CLIP has it;
        the whole picture is squashed to that square. Raises ValueError where there is none."""
        values = json.loads((folder / "preprocessor_config.json").read_text(encoding="utf-8"))
        size = values["size"]
        side = size.get("height", size.get("shortest_edge")) if isinstance(size, dict) else size
        if not isinstance(side, int):
            raise ValueError(f"preprocessor_config.json gives no height, but {size}")
        return cls(side, values["image_mean"], values["image_std"], values.get("resample", Image.Resampling.BILINEAR))

    def save(self, folder: Path) -> None:
        """Write what `load` reads."""
        text = json.dumps(self.to_dict(), indent=2) + "\n"
        (folder / "preprocessor_config.json").write_text(text, encoding="utf-8")

    def to_dict(self) -> dict[str, Any]:
        """What `load` reads."""
        return {"size": {"height": self.size, "width": self.size}, "image_mean": self.mean.flatten().tolist(),
                "image_std": self.std.flatten().tolist(), "resample": int(self.resample)}

    def __call__(self, picture: Image.Image) -> torch.Tensor:
        """RGB picture of any size -> (3, size, size)"""
        small = picture.resize((self.size, self.size), self.resample)
        pixels = torch.from_numpy(np.asarray(small, dtype=np.float32)).permute(2, 0, 1) / 255
        return (pixels - self.mean) / self.std


def _load(folder: Path) -> Any:
    """The model in float32. Raises ValueError when the folder holds another kind."""
    kind = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
    if kind != VisionEncoderDecoderConfig.model_type:
        raise ValueError(f"config.json describes a {kind}, not a {VisionEncoderDecoderConfig.model_type}")
    model = load_whole(VisionEncoderDecoderModel, folder, may_lack=("encoder.pooler.",), attn_implementation="eager")
    _tell_decoder(model)
    return model


def _tell_decoder(model: Any) -> None:
    """Which tokens begin, end and pad a description, told to the decoder as `generate` would take them: many published
    models say so for the whole alone, and GPT-2 by itself has no padding."""
    own = model.decoder.config
    for name, whole in (("bos_token_id", "decoder_start_token_id"), ("eos_token_id", "eos_token_id"),
                        ("pad_token_id", "pad_token_id")):
        told = [getattr(model.generation_config, whole, None), getattr(model.config, whole, None),
                getattr(own, name, None), own.eos_token_id]
        said = next((one for one in told if one is not None), None)
        setattr(own, name, said[0] if isinstance(said, list) else said)

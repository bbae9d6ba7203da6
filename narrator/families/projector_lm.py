"""Picture and question -> answer: patches, projected, in front of the text of a language model (CLIP + Phi-2)."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from narrator.families import generation
from narrator.families.causal_lm import fitted, load_tokenizer, prompt_ids
from narrator.families.encoder_decoder import PictureInput
from narrator.families.loading import Held, load_whole
from narrator.families.projector_model import ProjectorLM
from narrator.records import NarratorError, Piece, Variant
from narrator.settings import GenerationSettings

DESCRIBE = "Describe this picture."  # what a captioner is asked


class ProjectorFamily(Held):
    """The family of `picture-qa`, and of CLIP + Phi-2."""

    takes_adapter = True

    def __init__(self, variant: Variant, device: str) -> None:
        """Load the weights from the variant's folder. Raises NarratorError for an adapter that does not fit; OSError,
        ValueError or RuntimeError when files are damaged, or lack tensors."""
        folder = Path(variant.source)
        model = load_whole(ProjectorLM, folder)
        if variant.adapter is not None:
            model.language = fitted(model.language, folder, Path(variant.adapter))
        self._hold(model.to(device).eval(), load_tokenizer(folder),
                   PictureInput.load(folder))

    def _hold(self, model: ProjectorLM, tokenizer: Any, pictures: PictureInput) -> None:
        self.model, self.tokenizer, self.pictures = model, tokenizer, pictures

    def stream(self, image: Image.Image | None, prompt: str, settings: GenerationSettings) -> Iterator[Piece]:
        """Yield a piece a token; with beams, empty pieces while they search and the whole text at the end."""
        return self.stream_many([] if image is None else [image], prompt, settings)

    def stream_many(self, images: Sequence[Image.Image], prompt: str, settings: GenerationSettings) -> Iterator[Piece]:
        """The same about several pictures, in their order."""
        inputs = self._inputs([images], [prompt])
        yield from generation.stream(self.model.language, inputs, settings, self._text)

    def batch(self, images: Sequence[Image.Image | None], prompts: Sequence[str],
              settings: GenerationSettings) -> list[list[Piece]]:
        """One list of pieces for each picture and question."""
        if settings.temperature > 0 and len(images) > 1:  # random numbers of its own for each
            return [self.batch([image], [prompt], settings)[0]
                    for image, prompt in zip(images, prompts, strict=True)]
        if not images:
            return []
        if settings.temperature > 0:
            return [[piece for piece in self.stream(images[0], prompts[0], settings) if piece.tokens]]
        inputs = self._inputs([[] if image is None else [image] for image in images], prompts)
        return generation.batch(self.model.language, inputs, settings, self._text)

    def close(self) -> None:
        """Let go of the weights."""
        del self.model

    @torch.inference_mode()
    def _inputs(self, images: Sequence[Sequence[Image.Image]], prompts: Sequence[str]) -> dict[str, torch.Tensor]:
        if not all(images):
            raise NarratorError("This model answers questions about a picture. Add a picture first.")
        model = self.model
        fronts = []
        for pictures in images:
            pixels = torch.stack([self.pictures(picture) for picture in pictures]).to(model.device, model.dtype)
            fronts.append(model.in_front(model.patches(pixels)))
        texts = [torch.tensor(prompt_ids(self.tokenizer, prompt or DESCRIBE), device=model.device)
                 for prompt in prompts]
        embeddings, mask = model.assemble(fronts, texts)
        return {"inputs_embeds": embeddings, "attention_mask": mask}

    def _text(self, tokens: list[int]) -> str:
        text: str = self.tokenizer.decode(tokens, skip_special_tokens=True)
        return text

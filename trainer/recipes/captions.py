"""What a captioner learns from: pictures, cached features of pictures, or words in their place; each with all its
captions."""

import os
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch.utils.data import Dataset

from narrator.families.encoder_decoder import PictureInput
from narrator.pictures import open_picture
from narrator.records import Example
from trainer.recipes.teacher import IGNORED

Item = dict[str, Any]
AT_ONCE = 64  # pictures whose features are computed together


class Pictures(Dataset):
    """Examples as pixels, with a random crop, mirroring, brightness and contrast."""

    def __init__(self, examples: Sequence[Example], captions: Sequence[list[list[int]]],
                 to_pixels: PictureInput) -> None:
        self.examples, self.captions, self.to_pixels = examples, captions, to_pixels

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> Item:
        picture = open_picture(_path(self.examples[index]))
        return {"index": index, "input": self.to_pixels(augment(picture)), "captions": self.captions[index]}


class Features(Dataset):
    """Examples as cached features of the frozen encoder, one of the views at random."""

    def __init__(self, views: np.ndarray, rows: Sequence[int], captions: Sequence[list[list[int]]]) -> None:
        self.views, self.rows, self.captions = views, rows, captions  # views: (V, N, P, channels), float16

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Item:
        view = random.randrange(len(self.views))
        return {"index": index, "input": torch.from_numpy(self.views[view, self.rows[index]].astype(np.float32)),
                "captions": self.captions[index]}


class Words(Dataset):
    """Groups of captions of one picture; the content words of one caption stand in for the picture of the others.

    Teaches language, and to look words up, without pictures. concepts: words shown. common: ids that say nothing
    about a picture.
    """

    def __init__(self, groups: Sequence[list[list[int]]], concepts: int, common: frozenset[int]) -> None:
        self.groups, self.concepts, self.common = groups, concepts, common

    def __len__(self) -> int:
        return len(self.groups)

    def __getitem__(self, index: int) -> Item:
        group = self.groups[index]
        shown = random.sample(group, k=min(2, len(group)))
        content = [token for caption in shown for token in caption if token not in self.common]
        words = random.choices(content or shown[0], k=self.concepts)
        return {"index": index, "input": torch.tensor(words), "captions": group}


def collate(items: Sequence[Item]) -> dict[str, torch.Tensor]:
    """index (B,), input (B, ...), picture (N,): which of the B each of the N captions is about, labels (N, T) with
    IGNORED."""
    captions = [torch.tensor(caption) for item in items for caption in item["captions"]]
    picture = [row for row, item in enumerate(items) for _ in item["captions"]]
    labels = torch.nn.utils.rnn.pad_sequence(captions, batch_first=True, padding_value=IGNORED)
    return {"index": torch.tensor([item["index"] for item in items]),
            "input": torch.stack([item["input"] for item in items]), "picture": torch.tensor(picture), "labels": labels}


def augment(picture: Image.Image) -> Image.Image:
    """A random crop of 60 to 100 % of the area, mirrored half of the time, a little brighter or darker, more or less
    contrast."""
    width, height = picture.size
    share = random.uniform(0.6, 1.0) ** 0.5
    wide, high = width * share, height * share
    left, top = random.uniform(0, width - wide), random.uniform(0, height - high)
    picture = picture.crop((round(left), round(top), round(left + wide), round(top + high)))
    if random.random() < 0.5:
        picture = ImageOps.mirror(picture)
    picture = ImageEnhance.Brightness(picture).enhance(random.uniform(0.8, 1.2))
    return ImageEnhance.Contrast(picture).enhance(random.uniform(0.8, 1.2))


def cache_features(examples: Sequence[Example], to_pixels: PictureInput, encode: Callable[[torch.Tensor], torch.Tensor],
                   path: Path, tell: Callable[[int, int], None], *, count: int = 2) -> np.ndarray:
    """Features of `count` views of every picture: (count, N, P, channels) float16, in a file that memory maps.

    encode: (B, 3, H, W) -> (B, P, channels). The views: as it is, mirrored, then at random as `augment` makes them. A
    marker beside the file says that it is whole.
    """
    whole = path.with_suffix(".whole")
    if whole.exists():
        return np.load(path, mmap_mode="r")
    views = None
    for start in range(0, len(examples), AT_ONCE):
        pictures = [open_picture(_path(example)) for example in examples[start:start + AT_ONCE]]
        for view, shown in enumerate(_views(pictures, count)):
            features = encode(torch.stack([to_pixels(picture) for picture in shown])).float().cpu().numpy()
            if views is None:
                views = np.lib.format.open_memmap(path, "w+", np.float16, (count, len(examples), *features.shape[1:]))
                _take_room(path)
            views[view, start:start + len(pictures)] = features
        tell(min(start + AT_ONCE, len(examples)), len(examples))
    assert views is not None
    views.flush()
    whole.touch()
    return views


def _take_room(path: Path) -> None:
    """Raise OSError now where the disk has no room for the whole file: writing to a map of it later would end the
    process at once (SIGBUS), without a word."""
    if hasattr(os, "posix_fallocate"):
        with path.open("rb+") as file:
            os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)


def _views(pictures: Sequence[Image.Image], count: int) -> Iterator[list[Image.Image]]:
    yield list(pictures)
    if count > 1:
        yield [ImageOps.mirror(picture) for picture in pictures]
    for _ in range(count - 2):
        yield [augment(picture) for picture in pictures]


def _path(example: Example) -> Path:
    assert example.image is not None
    return example.image

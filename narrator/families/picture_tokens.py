"""Pictures as discrete tokens: a codebook of patches (picture -> nearest centres -> picture), and the vocabulary and
sequence that a GPT reads them in.

`codebook.safetensors` holds three tensors, `picture_tokens.json` the sizes. A patch of p x p pixels has 3 p p + 2
features: its intensities, their horizontal and their vertical gradients, and the row and column of the patch. Each is
standardised over the training patches, then weighted so that its kind takes a fixed share of the variance: unscaled,
the largest numbers would decide alone which patches are alike.
"""

import dataclasses
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch.nn import functional

from narrator.records import NarratorError

CODEBOOK, SIZES = "codebook.safetensors", "picture_tokens.json"
SPECIAL = ("<PAD>", "<UNK>", "<IMG>", "</IMG>", "<CLS>", "<EOS>")
PAD, UNKNOWN, START, END, ASK, EOS = range(len(SPECIAL))
_TENSORS = ("centres", "mean", "scale")
_BOX = 20 / 28  # share of the side that the longer side of a digit takes in the pictures of the training set
_INK = 0.25  # of the range: darker is background when the digit is looked for


@dataclasses.dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """Which id is which token: six special ones, the picture's `<Z_000>` ..., the classes' `<CLS_0>` ...

    The sequence is `<IMG> Z x n </IMG> <CLS> <CLS_y> <EOS>`; with the class first it is
    `<CLS> <CLS_y> <IMG> Z x n </IMG> <EOS>`.
    """

    clusters: int
    classes: int = 10

    @property
    def size(self) -> int:
        """How many tokens there are."""
        return len(SPECIAL) + self.clusters + self.classes

    @property
    def first_class(self) -> int:
        """Id of `<CLS_0>`."""
        return len(SPECIAL) + self.clusters

    def names(self) -> list[str]:
        """Every token by its id."""
        return [*SPECIAL, *(f"<Z_{number:03d}>" for number in range(self.clusters)),
                *(f"<CLS_{number}>" for number in range(self.classes))]

    def is_picture(self, ids: torch.Tensor) -> torch.Tensor:
        """Whether each id stands for a piece of a picture; same shape, bool."""
        return (ids >= len(SPECIAL)) & (ids < self.first_class)

    def question(self, tokens: torch.Tensor) -> torch.Tensor:
        """(B, n) centres -> (B, n + 3) ids of `<IMG> Z x n </IMG> <CLS>`: what is read before the class is told."""
        column = torch.ones_like(tokens[:, :1])
        return torch.cat([column * START, tokens + len(SPECIAL), column * END, column * ASK], dim=1)

    def sequence(self, tokens: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """(B, n) centres, (B,) classes -> (B, n + 5) ids, the class at the tail."""
        column = torch.ones_like(tokens[:, :1])
        return torch.cat([self.question(tokens), labels[:, None] + self.first_class, column * EOS], dim=1)

    def class_first(self, tokens: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The same ids, the class before the picture."""
        whole = self.sequence(tokens, labels)
        return torch.cat([whole[:, -3:-1], whole[:, :-3], whole[:, -1:]], dim=1)


class Codebook:
    """Picture <-> centres. centres (K, F), scaled; mean and scale (F,): scaled = (feature - mean) * scale."""

    def __init__(self, centres: torch.Tensor, mean: torch.Tensor, scale: torch.Tensor, *, size: int,
                 patch: int) -> None:
        self.centres, self.mean, self.scale = centres, mean, scale
        self.size, self.patch = size, patch  # pixels
        self.side = size // patch  # patches
        self.count = self.side ** 2
        if size % patch or centres.shape[1:] != mean.shape or len(mean) != 3 * patch * patch + 2:
            raise ValueError(f"the codebook does not fit pictures of {size} pixels in patches of {patch}")

    @classmethod
    def load(cls, folder: Path) -> "Codebook":
        """Read a checkpoint's codebook. Raises OSError, ValueError, KeyError or SafetensorError when it is damaged."""
        sizes = json.loads((folder / SIZES).read_text(encoding="utf-8"))
        tensors = load_file(folder / CODEBOOK)
        return cls(*(tensors[name].float() for name in _TENSORS), size=int(sizes["size"]), patch=int(sizes["patch"]))

    def save(self, folder: Path) -> None:
        """Write what `load` reads."""
        save_file({name: getattr(self, name).float().cpu().contiguous() for name in _TENSORS}, folder / CODEBOOK)
        sizes = {"size": self.size, "patch": self.patch, "clusters": len(self.centres)}
        (folder / SIZES).write_text(json.dumps(sizes, indent=2) + "\n", encoding="utf-8")

    def to(self, device: torch.device | str) -> "Codebook":
        """The same on another device."""
        return Codebook(self.centres.to(device), self.mean.to(device), self.scale.to(device), size=self.size,
                        patch=self.patch)

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        """(B, size, size) in 0..1 -> (B, n) the nearest centre of each patch, row by row. In float32 whatever the model
        computes in: distances in bf16 often find the wrong centre."""
        with torch.autocast(pixels.device.type, enabled=False):
            points = (patch_features(pixels, self.patch) - self.mean) * self.scale
            return nearest(points.flatten(0, 1), self.centres)[0].view(len(pixels), self.count)

    def decode(self, tokens: torch.Tensor) -> torch.Tensor:
        """(B, m) centres of the first m <= n patches -> (B, size, size) in 0..1; what is not there yet is black."""
        inside = self.patch ** 2
        scale = self.scale[:inside]
        shown = torch.where(scale > 0, self.centres[:, :inside] / scale.clamp(min=1e-12), 0.0) + self.mean[:inside]
        patches = shown.new_zeros(len(tokens), self.count, inside)
        patches[:, :tokens.shape[1]] = shown[tokens]
        # (B, n, p p) -> (B, size, size)
        folded = functional.fold(patches.transpose(1, 2), (self.size, self.size), self.patch, stride=self.patch)
        return folded[:, 0].clamp(0.0, 1.0)


def patch_features(pixels: torch.Tensor, patch: int) -> torch.Tensor:
    """(B, S, S) in 0..1 -> (B, n, 3 p p + 2), not scaled: intensities, gradients to the right and down (half the
    difference of the two neighbours, the edge repeated), row and column of the patch in -1..1."""
    padded = functional.pad(pixels[:, None], (1, 1, 1, 1), mode="replicate")
    right = (padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]) / 2
    down = (padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]) / 2
    planes = torch.cat([pixels[:, None], right, down], dim=1)  # (B, 3, S, S)
    points = functional.unfold(planes, patch, stride=patch).transpose(1, 2)  # (B, n, 3 p p)
    side = pixels.shape[-1] // patch
    line = torch.linspace(-1, 1, side, device=pixels.device) if side > 1 else pixels.new_zeros(1)
    place = torch.cartesian_prod(line, line).expand(len(pixels), -1, -1)  # (B, n, 2)
    return torch.cat([points, place], dim=2)


def nearest(points: torch.Tensor, centres: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(N, F), (K, F) -> (N,) index of the nearest centre, (N,) squared Euclidean distance to it."""
    half = centres.square().sum(1) / 2
    found, closeness = [], []
    for part in points.split(65536):  # rows of K distances: 130 MB for 500 centres
        best = (part @ centres.T - half).max(dim=1)  # the greatest is where |x - c|^2 / 2 is least
        found.append(best.indices)
        closeness.append(best.values)
    distance = points.square().sum(1) - 2 * torch.cat(closeness)
    return torch.cat(found), distance.clamp(min=0.0)


def to_pixels(picture: Image.Image, size: int) -> torch.Tensor:
    """A picture of any size -> (size, size) in 0..1, bright on dark as the training pictures are.

    Inverted when its edge is bright (ink on paper). Of another size than this it is also stretched to the whole range
    of grey, and its drawing is fitted into a box of 20/28 of the side with the centre of mass in the middle, as the
    digits of MNIST are (LeCun et al. 1998, "Gradient-based learning applied to document recognition").
    """
    values = np.asarray(picture.convert("L"), dtype=np.float32) / 255
    edge = np.concatenate([values[0], values[-1], values[:, 0], values[:, -1]])
    if np.median(edge) > 0.5:
        values = 1 - values
    if values.shape != (size, size):
        values = _fitted(values, size)
    return torch.from_numpy(np.array(values))


def to_picture(pixels: torch.Tensor) -> Image.Image:
    """(S, S) in 0..1 -> an 8-bit grey picture."""
    return Image.fromarray((pixels.float() * 255).round().byte().cpu().numpy())


def _fitted(values: np.ndarray, size: int) -> np.ndarray:
    """The drawing of a grey picture, (H, W) bright on dark, in the middle of (size, size)."""
    low, high = float(np.percentile(values, 5)), float(values.max())
    values = np.clip((values - low) / max(high - low, 1e-6), 0.0, 1.0)
    rows, columns = np.nonzero(values > _INK)
    if not len(rows):
        return np.zeros((size, size), dtype=np.float32)
    cut = values[rows.min():rows.max() + 1, columns.min():columns.max() + 1]
    factor = round(_BOX * size) / max(cut.shape)
    high_side, wide = (max(1, round(side * factor)) for side in cut.shape)
    smoothly = Image.Resampling.BOX if factor < 1 else Image.Resampling.BILINEAR
    resized = Image.fromarray((cut * 255).astype(np.uint8)).resize((wide, high_side), smoothly)
    small = np.asarray(resized, dtype=np.float32) / 255
    mass = max(float(small.sum()), 1e-6)
    middle = [float((small.sum(axis=1 - axis) * np.arange(small.shape[axis])).sum() / mass) for axis in (0, 1)]
    top, left = (int(np.clip(round((size - 1) / 2 - at), 0, size - side))
                 for at, side in zip(middle, small.shape, strict=True))
    placed = np.zeros((size, size), dtype=np.float32)
    placed[top:top + small.shape[0], left:left + small.shape[1]] = small
    return placed


def positions_of(ids: torch.Tensor, patches: int) -> torch.Tensor:
    """(B, T) ids -> (B, T) positions: a token has the same one in both orders, that of the order with the class at the
    tail, so that a patch is known by its place in the picture whichever way it is read."""
    places = torch.arange(ids.shape[1], device=ids.device).expand(len(ids), -1)
    moved = torch.cat([places.new_tensor([[patches + 2, patches + 3]]).expand(len(ids), -1), places], dim=1)
    return torch.where(ids[:, :1] == ASK, moved[:, :ids.shape[1]], places)


def check_room(positions: int, patches: int) -> None:
    """Raise NarratorError when a model of `positions` cannot take a whole sequence: its class would be cut off."""
    needed = patches + 5
    if positions < needed:
        raise NarratorError(f"The model has {positions:,} positions and a picture with its class takes {needed:,}: "
                            "take larger patches, or train a model with as many positions as that.")

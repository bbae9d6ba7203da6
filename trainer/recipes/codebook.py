"""The codebook of picture tokens: K-means over standardised features of patches, so that a token is a kind of patch."""

import math
from collections.abc import Callable

import torch
from transformers import GPT2LMHeadModel

from narrator.families.picture_tokens import SPECIAL, Codebook, nearest, patch_features
from narrator.records import NarratorError

SAMPLE = 100_000  # patches that the centres are computed from
ROUNDS = 30  # of Lloyd's algorithm, at most
Tell = Callable[[int, int], None]


def fit_codebook(pixels: torch.Tensor, *, patch: int, clusters: int, shares: tuple[float, float], seed: int,
                 tell: Tell = lambda done, total: None) -> Codebook:
    """A codebook of training pictures, (N, S, S) in 0..1.

    shares: the shares of the variance that the gradients and the place of a patch take; its intensities take the rest.
    Unscaled, the largest numbers would take nearly all. The place needs little: the model knows the place of each token
    anyway, and centres spent on it are lost to shapes. Raises NarratorError when the patches do not fit the pictures or
    there are fewer kinds of patches than clusters.
    """
    size = pixels.shape[-1]
    if size % patch:
        raise NarratorError(f"Patches of {patch} pixels do not divide pictures of {size}: set 'patch' to a divisor.")
    generator = torch.Generator().manual_seed(seed)
    points, weights = _sample(pixels, patch, generator)
    mean = (points * weights).sum(0) / weights.sum()
    spread = ((points - mean).square() * weights).sum(0).div(weights.sum()).sqrt()
    scale = torch.where(spread > 1e-6, kind_weights(patch, *shares).sqrt() / spread.clamp(min=1e-6), 0.0)
    centres = kmeans((points - mean) * scale, weights, clusters, generator, tell)
    return Codebook(centres, mean, scale, size=size, patch=patch)


def kind_weights(patch: int, gradients: float, place: float) -> torch.Tensor:
    """The variance that each scaled feature is to have, (F,), summing to 1: each kind's share, spread over it."""
    if gradients + place >= 1:
        raise NarratorError("'gradient_share' and 'position_share' leave nothing for the pixels: lower one of them.")
    inside = patch * patch
    return torch.cat([torch.full((inside,), (1 - gradients - place) / inside),
                      torch.full((2 * inside,), gradients / (2 * inside)), torch.full((2,), place / 2)])


def kmeans(points: torch.Tensor, weights: torch.Tensor, clusters: int, generator: torch.Generator,
           tell: Tell = lambda done, total: None) -> torch.Tensor:
    """(N, F) -> (clusters, F): Lloyd's algorithm from a k-means++ start; weights: (N, 1), how often each point counts.

    Raises NarratorError for fewer distinct points than clusters.
    """
    centres = _spread_start(points, weights[:, 0], clusters, generator)
    before: torch.Tensor | None = None
    for round_ in range(ROUNDS):
        tell(round_, ROUNDS)
        found, distance = nearest(points, centres)
        if before is not None and torch.equal(found, before):
            break
        counts = weights.new_zeros(clusters, 1).index_add_(0, found, weights)
        sums = torch.zeros_like(centres).index_add_(0, found, points * weights)
        centres = torch.where(counts > 0, sums / counts.clamp(min=1), centres)
        empty = (counts[:, 0] == 0).nonzero()[:, 0]
        centres[empty] = points[distance.topk(len(empty)).indices]  # the points that are served worst
        before = found
    return centres


def _spread_start(points: torch.Tensor, weights: torch.Tensor, clusters: int,
                  generator: torch.Generator) -> torch.Tensor:
    """k-means++ (Arthur and Vassilvitskii 2007, "k-means++: the advantages of careful seeding"): each centre is drawn
    with a probability that grows with the squared distance to those before it."""
    first = int(torch.randint(len(points), (1,), generator=generator))
    chosen = [first]
    distance = (points - points[first]).square().sum(1)
    while len(chosen) < clusters:
        if not bool((distance > 1e-12).any()):
            raise NarratorError(f"There are only {len(chosen)} kinds of patches in the pictures and 'clusters' is "
                                f"{clusters}: lower it, or give more pictures.")
        heights = (distance * weights).double().cumsum(0)
        at = torch.rand((), generator=generator, dtype=torch.float64) * heights[-1]
        chosen.append(min(int(torch.searchsorted(heights, at, right=True)), len(points) - 1))
        distance = torch.minimum(distance, (points - points[chosen[-1]]).square().sum(1))
    return points[chosen].clone()


def _sample(pixels: torch.Tensor, patch: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """The distinct ones of at most SAMPLE patches of random pictures: (N, F) features, not scaled, and (N, 1) how often
    each occurs. Most of a digit's patches are black: there is no need to compute with each of them."""
    patches = (pixels.shape[-1] // patch) ** 2
    kept = torch.randperm(len(pixels), generator=generator)[:max(1, 4 * SAMPLE // patches)]
    points = patch_features(pixels[kept], patch).flatten(0, 1)
    points = points[torch.randperm(len(points), generator=generator)[:SAMPLE]]
    distinct, counts = points.unique(dim=0, return_counts=True)
    return distinct, counts[:, None].to(points)


@torch.no_grad()
def begin_embeddings(model: GPT2LMHeadModel, codebook: Codebook) -> None:
    """Random embeddings in which like patches are alike, and places near each other: a random projection of the
    centres, and sines of row and column. Their spread is GPT-2's own."""
    spread, width = model.config.initializer_range, model.config.n_embd
    patches = codebook.centres.to(model.device)
    projected = patches @ torch.randn(patches.shape[1], width)
    model.transformer.wte.weight[len(SPECIAL):len(SPECIAL) + len(patches)] += projected * spread / projected.std()
    waves = max(1, width // 4)
    pace = math.pi * torch.logspace(0, -1, waves, base=max(2, codebook.side))  # from one patch a half wave to the side
    turns = torch.arange(codebook.side)[:, None] * pace + torch.rand(waves) * 2 * math.pi
    line = torch.cat([turns.sin(), turns.cos()], dim=1)[:, :width // 2] * spread * math.sqrt(2)  # (side, width / 2)
    places = torch.cat([line.repeat_interleave(codebook.side, 0), line.repeat(codebook.side, 1)], dim=1)  # (n, width)
    model.transformer.wpe.weight[1:1 + len(places), :places.shape[1]] = places

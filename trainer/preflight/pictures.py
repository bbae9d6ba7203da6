"""Pictures of a data set, opened for real: which cannot be read, and which show the same.

Alike are pictures whose difference hashes differ in few bits (dHash: N. Krawetz, "Kind of Like That", 2013, here of
rows and of columns, 128 bits) and whose colours, in 8 x 8 cells, are near each other. A few lines with Pillow and
NumPy: the library for this, ImageHash, would bring SciPy and PyWavelets along for hashes that are not used here.

Of the 41 million pairs of 9,059 photographs (Flickr8k and COCO) two are called alike: one photograph saved twice, and
one taken twice in a row. Found again are 99 % of photographs at half the size and low quality, all that were stretched
or lost contrast, 84 % of those a fifth brighter, 94 % with 2 % cut off each side; with 5 % cut off, one in eight.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from narrator.pictures import open_picture, picture_sha256
from narrator.records import NarratorError
from trainer.preflight.findings import Tell

BITS = 12  # of 128 that may differ
COLOUR = 25.0  # mean difference of the cells, of 255
PLAIN = 16  # levels of grey between the lightest and the darkest cell: below it a hash says nothing
AT_ONCE = 256  # rows of the table of differences


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Print:
    """A picture's marks: SHA-256 of its pixels; hash (2,) uint64; cells (192,) int16; plain: nearly of one grey."""

    sha256: str
    hash: np.ndarray
    cells: np.ndarray
    plain: bool


def print_of(picture: Image.Image) -> Print:
    """The marks of an RGB picture."""
    small = np.asarray(picture.resize((72, 72), Image.Resampling.BOX), dtype=np.float32)  # (72, 72, 3)
    grey = small.mean(axis=2).reshape(9, 8, 9, 8).mean(axis=(1, 3))  # (9, 9)
    bits = np.concatenate([(grey[:8, 1:] > grey[:8, :-1]).ravel(), (grey[1:, :8] > grey[:-1, :8]).ravel()])
    return Print(sha256=picture_sha256(picture), hash=np.packbits(bits).view(np.uint64),
                 cells=small.reshape(8, 9, 8, 9, 3).mean(axis=(1, 3)).ravel().astype(np.int16),
                 plain=bool(np.ptp(grey) < PLAIN))


def look_at(paths: Sequence[Path], tell: Tell) -> dict[Path, Print | NarratorError]:
    """Every picture opened, a few at once (Pillow decodes without holding Python back): its marks, or why it cannot be
    used. `tell` is called after each, and may raise to end it."""
    found: dict[Path, Print | NarratorError] = {}
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as workers:
        try:
            for done, (path, mark) in enumerate(zip(paths, workers.map(_look, paths), strict=True), start=1):
                found[path] = mark
                tell("pictures", done, len(paths))
        finally:
            workers.shutdown(cancel_futures=True)
    return found


def alike(prints: Sequence[Print]) -> list[tuple[int, int]]:
    """Pairs (i, j), i < j, of pictures that look the same without having the same pixels."""
    if not prints:
        return []
    hashes = np.stack([mark.hash for mark in prints])  # (N, 2)
    cells = np.stack([mark.cells for mark in prints])  # (N, 192)
    plain = np.array([mark.plain for mark in prints])
    pairs = []
    for start in range(0, len(prints), AT_ONCE):
        part = hashes[start:start + AT_ONCE]
        apart = sum(np.bitwise_count(part[:, None, side] ^ hashes[None, :, side]).astype(np.uint8) for side in (0, 1))
        rows, others = np.nonzero(apart <= BITS)
        rows += start
        kept = (rows < others) & ~plain[rows] & ~plain[others]
        rows, others = rows[kept], others[kept]
        near = np.abs(cells[rows] - cells[others]).mean(axis=1) <= COLOUR
        pairs += [(int(i), int(j)) for i, j in zip(rows[near], others[near], strict=True)
                  if prints[i].sha256 != prints[j].sha256]
    return pairs


def spread(paths: Sequence[Path], limit: int) -> list[Path]:
    """At most `limit` of them, evenly from first to last."""
    if len(paths) <= limit:
        return list(paths)
    return [paths[round(place * (len(paths) - 1) / max(1, limit - 1))] for place in range(limit)]


def _look(path: Path) -> Print | NarratorError:
    try:
        return print_of(open_picture(path))
    except NarratorError as error:
        return error

"""Describing photographs: ours beside bare transformers `generate` on the same weights, pictures and machine.

    python benchmarks/describe.py [--variant photo-captioner] [--repeats 15] [--json]

Prints, as medians of repeated runs after a warm-up: milliseconds for one photograph, greedy, one by one and in batches
of 64; and the ratios between them. Peer: `VisionEncoderDecoderModel.generate` on the same weights with the same
preprocessing and rules; it must say the same.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # so that it runs without an installation

from narrator.catalog import find_variant
from narrator.commands.common import positive
from narrator.engine import Engine
from narrator.narrate import narrate
from narrator.pictures import open_picture
from narrator.settings import GenerationSettings

if TYPE_CHECKING:
    from PIL.Image import Image

PICTURES = Path(__file__).resolve().parent.parent / "assets" / "pictures"
BATCH = 64
GREEDY = GenerationSettings(num_beams=1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and print; exit code 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variant", default="photo-captioner")
    parser.add_argument("--repeats", type=positive, default=15, help="runs of each measurement")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    engine = Engine()
    pictures = [open_picture(path) for path in sorted(PICTURES.glob("*.jpg"))]
    with engine.use(options.variant) as family:
        figures = measure(family, Peer(Path(find_variant(options.variant).source), family), pictures, options.repeats)

    def narrated() -> None:
        for path in sorted(PICTURES.glob("*.jpg")):
            list(narrate(options.variant, path, settings=GREEDY, engine=engine))

    figures["narrate_ms"] = median_ms(narrated, options.repeats) / len(pictures)
    print(json.dumps(figures) if options.json else table(figures))
    return 0


class Peer:
    """Bare transformers: the same folder loaded with its defaults, its own `generate`."""

    def __init__(self, folder: Path, family: Any) -> None:
        from transformers import VisionEncoderDecoderModel

        self.family = family  # for preprocessing and words, the same on both sides
        self.model = VisionEncoderDecoderModel.from_pretrained(folder, local_files_only=True, dtype="float32").eval()

    def say(self, pictures: Sequence[Image]) -> list[str]:
        """Greedy, to the same length, under the same rules: no token that we ban, no n-gram twice."""
        import torch

        config = self.model.decoder.config
        with torch.inference_mode():
            pixels = torch.stack([self.family.pictures(picture) for picture in pictures])
            tokens = self.model.generate(
                pixel_values=pixels, num_beams=1, do_sample=False, max_new_tokens=GREEDY.max_new_tokens,
                max_length=None, no_repeat_ngram_size=GREEDY.no_repeat_ngram_size,
                suppress_tokens=self.family.never(), decoder_start_token_id=config.bos_token_id,
                pad_token_id=config.pad_token_id, eos_token_id=config.eos_token_id)
        return [self.family.text(row) for row in tokens.tolist()]


def measure(family: Any, peer: Peer, pictures: Sequence[Image], repeats: int) -> dict[str, Any]:
    """The figures by name; times in milliseconds a photograph. Raises SystemExit when the two do not say the same."""
    import torch

    many = [pictures[index % len(pictures)] for index in range(BATCH)]
    fewer = max(1, repeats // 3)

    def alone() -> list[str]:
        return ["".join(piece.text for piece in family.stream(picture, "", GREEDY)) for picture in pictures]

    def together() -> list[str]:
        return ["".join(piece.text for piece in pieces) for pieces in family.batch(many, [""] * BATCH, GREEDY)]

    if alone() != [peer.say([picture])[0] for picture in pictures]:
        raise SystemExit("The two do not say the same of the same pictures: their times cannot be compared.")
    one = median_ms(alone, repeats) / len(pictures)
    peer_one = median_ms(lambda: [peer.say([picture]) for picture in pictures], repeats) / len(pictures)
    batch = median_ms(together, fewer) / BATCH
    peer_batch = median_ms(lambda: peer.say(many), fewer) / BATCH
    machine = {"processor": platform.processor() or platform.machine(), "threads": torch.get_num_threads(),
               "torch": torch.__version__}
    return {"machine": machine, "one_ms": one, "peer_one_ms": peer_one, "batch_ms": batch, "peer_batch_ms": peer_batch,
            "ratio_one_to_peer": peer_one / one, "ratio_batch_to_peer": peer_batch / batch,
            "ratio_batch_to_one": one / batch}


def median_ms(work: Callable[[], Any], repeats: int) -> float:
    """Median wall time of `work` in milliseconds, after one run that is not counted."""
    work()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return statistics.median(times) * 1000


def table(figures: dict[str, Any]) -> str:
    """The figures as a person reads them."""
    machine = figures["machine"]
    return "\n".join([
        f"{machine['processor']}, {machine['threads']} threads, torch {machine['torch']}",
        f"one photograph, greedy:       {figures['one_ms']:7.1f} ms   generate: {figures['peer_one_ms']:7.1f} ms"
        f"   {figures['ratio_one_to_peer']:.2f} times as fast",
        f"batch of {BATCH}, a photograph:   {figures['batch_ms']:7.1f} ms   generate: "
        f"{figures['peer_batch_ms']:7.1f} ms   {figures['ratio_batch_to_peer']:.2f} times as fast",
        f"batch against one by one:     {figures['ratio_batch_to_one']:7.2f} times the throughput",
        f"file to finished narration:   {figures['narrate_ms']:7.1f} ms   (opening, checks and checksum included)"])


if __name__ == "__main__":
    raise SystemExit(main())

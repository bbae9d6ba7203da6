"""Describing photographs: ours beside bare transformers `generate` on the same weights, pictures and machine.

    python benchmarks/describe.py [--variant photo-captioner] [--repeats 15] [--json]

Prints, as medians of repeated runs after a warm-up: milliseconds for one photograph, greedy, one by one and in batches
of 64; and the ratios between them. Peer: `VisionEncoderDecoderModel.generate` with the same preprocessing.
"""

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # so that it runs without an installation

from narrator.engine import Engine
from narrator.pictures import open_picture
from narrator.settings import GenerationSettings

PICTURES = Path(__file__).resolve().parent.parent / "assets" / "pictures"
BATCH = 64
GREEDY = GenerationSettings(num_beams=1)


def main() -> int:
    """Run and print; exit code 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variant", default="photo-captioner")
    parser.add_argument("--repeats", type=int, default=15, help="runs of each measurement")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with Engine().use(options.variant) as family:
        figures = measure(family, options.repeats)
    print(json.dumps(figures) if options.json else table(figures))
    return 0


def measure(family: Any, repeats: int) -> dict[str, Any]:
    """The figures by name; times in milliseconds."""
    import torch

    paths = sorted(PICTURES.glob("*.jpg"))
    pictures = [open_picture(path) for path in paths]
    many = [pictures[index % len(pictures)] for index in range(BATCH)]
    one = median_ms(lambda: [list(family.stream(picture, "", GREEDY)) for picture in pictures], repeats) / len(pictures)
    peer_one = median_ms(lambda: [generate(family, [picture]) for picture in pictures], repeats) / len(pictures)
    batch = median_ms(lambda: family.batch(many, [""] * BATCH, GREEDY), max(3, repeats // 3)) / BATCH
    peer_batch = median_ms(lambda: generate(family, many), max(3, repeats // 3)) / BATCH
    return {"machine": {"processor": platform.processor() or platform.machine(), "threads": torch.get_num_threads(),
                        "torch": torch.__version__},
            "one_ms": one, "peer_one_ms": peer_one, "batch_ms_a_picture": batch, "peer_batch_ms_a_picture": peer_batch,
            "ratio_one_to_peer": peer_one / one, "ratio_batch_to_peer": peer_batch / batch, "ratio_batch_to_one": one
            / batch}


def generate(family: Any, pictures: list[Any]) -> Any:
    """The peer: transformers' own loop, greedy, to the same length, told the same banned tokens and n-gram rule."""
    import torch

    config = family.model.decoder.config
    with torch.inference_mode():
        pixels = torch.stack([family.pictures(picture) for picture in pictures])
        tokens = family.model.generate(
            pixel_values=pixels, num_beams=1, do_sample=False, max_new_tokens=GREEDY.max_new_tokens, max_length=None,
            no_repeat_ngram_size=GREEDY.no_repeat_ngram_size, decoder_start_token_id=config.bos_token_id,
            pad_token_id=config.pad_token_id, eos_token_id=config.eos_token_id)
    return family.tokenizer.batch_decode(tokens, skip_special_tokens=True)


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
        f"batch of {BATCH}, a photograph:   {figures['batch_ms_a_picture']:7.1f} ms   generate: "
        f"{figures['peer_batch_ms_a_picture']:7.1f} ms   {figures['ratio_batch_to_peer']:.2f} times as fast",
        f"batch against one by one:     {figures['ratio_batch_to_one']:7.2f} times the throughput"])


if __name__ == "__main__":
    raise SystemExit(main())

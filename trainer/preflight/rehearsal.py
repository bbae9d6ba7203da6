"""The process of a dry run: three steps of each stage on a few examples, as the run would take them.

Request, a JSON line on standard input: {"config", "root"}. Answers, JSON lines: {"doing"}, {"device", "available"},
{"stage", "step_s", "feature_s", "feature_bytes"} for each stage, {"memory", "answer_s"} at the end; else {"refusal"},
{"out_of_memory"} or {"broke"}. It ends, and its folder with it, when its standard input does.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from narrator.readers.gathering import read_examples
from narrator.records import NarratorError
from trainer.config import Data, Stage, TrainingConfig, parse_config
from trainer.data import located
from trainer.failures import out_of_memory
from trainer.recipes import recipe_class

STEPS = 3  # the first is not counted: memory is laid out in it
DEV = 4  # held-out examples of each set that are described


def main() -> int:
    """Answer one request."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer

    def say(**answer: Any) -> None:
        print(json.dumps(answer), file=out, flush=True)

    request = json.loads(sys.stdin.readline())
    with tempfile.TemporaryDirectory(prefix="narrator-dry-run-") as folder:
        threading.Thread(target=_end_with_parent, args=(folder,), daemon=True).start()
        try:
            config = parse_config(request["config"], "the configuration")
            for answer in rehearse(config, Path(request["root"]), Path(folder)):
                say(**answer)
        except NarratorError as error:
            say(refusal=str(error))
        except (RuntimeError, MemoryError, OSError, ValueError, KeyError, TypeError, IndexError) as error:
            if out_of_memory(error):
                say(out_of_memory=True)
            else:
                say(broke=" ".join(f"{type(error).__name__}: {error}".split())[:300])
    return 0


def rehearse(config: TrainingConfig, root: Path, folder: Path) -> Iterator[dict[str, Any]]:
    """The answers, as they come."""
    import torch
    from transformers import set_seed

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    yield {"device": device.type, "available": _available(device)}
    set_seed(config.seed)
    _vocabulary(config, root, folder)
    short = shortened(config)
    yield {"doing": "reading"}
    recipe = recipe_class(config.recipe)(short, root, folder, device)
    dev = {source.path: recipe.read_dev(source, strict=False)[:DEV] for source in short.dev}
    yield {"doing": "loading the model"}
    model, answer_s = recipe.prepare()[0], 0.0
    for stage in short.stages:
        yield {"doing": f"stage {stage.name}"}
        model = model.to(device)
        yield {"stage": stage.name, **_stage(recipe, model, stage, device)}
        model = recipe.finish(model)
        recipe.forget()
    if any(dev.values()) and short.stages[-1].objective != "language":
        yield {"doing": "describing held-out examples"}
        began = time.monotonic()
        with recipe.autocast():
            recipe.evaluate(model, dev, beams=1, intervals=False, tell=lambda done, total: None)
        answer_s = (time.monotonic() - began) / sum(map(len, dev.values()))
    yield {"memory": _memory(device), "answer_s": answer_s}


def shortened(config: TrainingConfig) -> TrainingConfig:
    """The configuration with so many pictures as the steps take. Texts are all read: that is quick, and their number
    decides how they are split."""
    most = STEPS * max(stage.batch_size for stage in config.stages)

    def few(sources: list[Data], count: int) -> list[Data]:
        return [dataclasses.replace(source, limit=min(source.limit or count, count)) for source in sources]

    dev = few(config.dev, DEV)
    if config.recipe == "causal_lm":
        return dataclasses.replace(config, dev=dev, vivid=1.0)
    return dataclasses.replace(config, data=few(config.data, -(-most // len(config.data))), dev=dev,
                               text=few(config.text, most), eval_limit=DEV)


def _vocabulary(config: TrainingConfig, root: Path, folder: Path) -> None:
    """The words of all captions, where the recipe looks for those of a run that it goes on with: of a few pictures
    there would be fewer, and the model smaller."""
    if config.recipe != "encoder_decoder" or config.base or config.decoder or config.teacher:
        return
    from trainer.recipes.words import make_tokenizer

    captions = [text for source in [*config.data, *config.text]
                for example in read_examples(located(source, root), split=source.split)[:source.limit]
                for text in example.texts]
    make_tokenizer(captions, config.min_count).save_pretrained(folder / "tokenizer")


def _stage(recipe: Any, model: Any, stage: Stage, device: Any) -> dict[str, Any]:
    """Seconds of a step; seconds and bytes of the features of a picture, where the stage keeps them."""
    import torch

    model.eval()
    began = time.monotonic()
    dataset = recipe.dataset(stage, model, lambda done, total: None)
    feature_s = time.monotonic() - began
    recipe.spare(model)
    cache = sum(path.stat().st_size for path in recipe.folder.glob("cache/*"))
    pictures = len({example.image for example in recipe.examples}) if cache else 1
    optimizer = torch.optim.AdamW(recipe.parameter_groups(model, stage), fused=True)
    model.train()
    rows, loaded, computed = itertools.cycle(range(len(dataset))), [], []
    for _ in range(STEPS):
        began = time.monotonic()
        batch = recipe.collate([dataset[row] for row in itertools.islice(rows, stage.batch_size)])
        loaded.append(time.monotonic() - began)
        began = time.monotonic()
        recipe.loss(model, _moved(batch, device), stage).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), stage.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize()
        computed.append(time.monotonic() - began)
    workers = recipe.config.workers if stage.train_encoder else 0
    load_s, compute_s = (sum(times[1:]) / (STEPS - 1) for times in (loaded, computed))
    return {"step_s": max(load_s / workers, compute_s) if workers else load_s + compute_s,
            "feature_s": feature_s / pictures if cache else 0.0, "feature_bytes": cache // pictures}


def _moved(value: Any, device: Any) -> Any:
    """Tensors of a batch on the device, as transformers' Trainer moves them."""
    if isinstance(value, dict):
        return {name: _moved(part, device) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_moved(part, device) for part in value)
    return value.to(device) if hasattr(value, "to") else value


def _available(device: Any) -> int:
    """Bytes of memory that a run could take now."""
    import psutil
    import torch

    return int(torch.cuda.mem_get_info()[0] if device.type == "cuda" else psutil.virtual_memory().available)


def _memory(device: Any) -> int:
    """The most bytes that were taken: of the GPU, else of this process."""
    import resource

    import torch

    if device.type == "cuda":
        return int(torch.cuda.max_memory_reserved())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)


def _end_with_parent(folder: str) -> None:
    while os.read(0, 4096):  # not sys.stdin: its lock would be held when the interpreter ends
        pass
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(3)


if __name__ == "__main__":
    sys.exit(main())

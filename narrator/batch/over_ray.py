"""The same descriptions over a Ray cluster, with Ray Data (https://docs.ray.io/en/latest/data/data.html): an optional
extra, `pip install "ray[data]"`.

Without the environment variable RAY_ADDRESS a Ray of this machine is started and ended. Every machine of a cluster
needs this project installed, the variant, and the pictures at the same paths. Pictures go out by the WINDOW, so that a
million of them take no more memory than ten thousand.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import logging
import os
import threading
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

from narrator.batch.describing import Asked, Describer
from narrator.batch.journal import Entry
from narrator.batch.plan import BatchPlan, Item, Row
from narrator.catalog import find_variant
from narrator.engine import Engine
from narrator.narrate import refuse_unsupported
from narrator.records import NarratorError

WINDOW = 10_000  # pictures
AT_ONCE = 256  # pictures handed to a worker: it makes batches of them by its own memory
_ROOT = str(Path(__file__).resolve().parents[2])


def entries(plan: BatchPlan, asked: Iterator[Asked], checkpoints: Path | None,
            stop: threading.Event) -> Generator[list[Entry], None, None]:
    """Rows as they come, in any order. Raises NarratorError where Ray is not installed, or for what its workers run
    into."""
    ray = _ray()
    from ray.exceptions import RayError

    begun = not ray.is_initialized()
    try:
        if begun:
            with _importable():
                ray.init(log_to_driver=False, include_dashboard=False, logging_level=logging.ERROR)
        while not stop.is_set() and (window := list(itertools.islice(asked, WINDOW))):
            for told in _described(ray, plan, window, checkpoints):
                yield [_entry(told)]
                if stop.is_set():
                    return
    except (RayError, ConnectionError) as error:
        raise NarratorError(f"Ray broke off ({' '.join(str(error).split())[-300:]}): look at its cluster, then go on "
                            "with --resume.") from error
    finally:
        if begun:
            ray.shutdown()


def _described(ray: Any, plan: BatchPlan, window: Sequence[Asked], checkpoints: Path | None) -> Iterator[dict]:
    """What the workers say of a window."""
    from ray.data import ActorPoolStrategy, DataContext

    context = DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    resources = ray.cluster_resources()
    cards, most = int(resources.get("GPU", 0)), int(resources.get("CPU", 1))
    rows = [{"asked": json.dumps(dataclasses.asdict(one))} for one in window]
    blocks = max(1, min(len(rows) // AT_ONCE, 10 * most))
    told = ray.data.from_items(rows, override_num_blocks=blocks).map_batches(
        _Worker, batch_size=AT_ONCE, num_gpus=1 if cards else 0, num_cpus=1,
        compute=ActorPoolStrategy(min_size=1, max_size=max(1, min(cards or most, blocks))),
        fn_constructor_kwargs={"plan": dataclasses.replace(plan, items=None), "checkpoints": checkpoints})
    for row in told.iter_rows():
        yield json.loads(row["told"])


class _Worker:
    """Holds the variant in a process of the cluster, and describes what it is handed."""

    def __init__(self, plan: BatchPlan, checkpoints: Path | None) -> None:
        self.plan, self.engine = plan, Engine(checkpoints)
        self.describer: Describer | None = None
        self.rows: dict[str, Row] = {}  # by twin, of what it was handed last

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        """{"asked": JSON of Asked} -> {"told": JSON of Entry, or of the reason why all failed}"""
        asked = (_asked(json.loads(text)) for text in batch["asked"])
        said: list[str] = []
        self.rows = {}
        try:
            for some in self._describer().entries(asked):
                self.rows |= {entry.twin: entry.row for entry in some if entry.twin is not None}
                said += [json.dumps(dataclasses.asdict(entry)) for entry in some]
        except NarratorError as error:
            said.append(json.dumps({"fault": str(error)}))
        return {"told": said}

    def _describer(self) -> Describer:
        if self.describer is None:
            variant = find_variant(self.plan.variant, self.engine.checkpoints)
            with self.engine.use(variant.id) as family:
                refuse_unsupported(family, variant, self.plan.settings)
            self.describer = Describer(self.plan, variant, self.engine, lambda twin: self.rows.get(twin))
        return self.describer


def _asked(values: dict[str, Any]) -> Asked:
    return Asked(position=values["position"], item=Item(**values["item"]))


def _entry(told: dict[str, Any]) -> Entry:
    if "fault" in told:
        raise NarratorError(told["fault"])
    return Entry(key=told["key"], twin=told["twin"], row=Row(**told["row"]))


@contextlib.contextmanager
def _importable() -> Iterator[None]:
    """The processes of a Ray that starts in this block find this project, wherever they run."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (_ROOT, before)))
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


def _ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would tell its makers
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # lines for Ray's own programmers
    try:
        import ray.data
    except ModuleNotFoundError:
        raise NarratorError('Ray is not installed here: run `pip install "ray[data]"`, or leave --engine ray out.'
                            ) from None
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    return ray

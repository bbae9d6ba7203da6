"""A training in several processes: which one this is, what the first does alone, and what all must agree on.

What is agreed here goes through
gloo in a group of its own: waiting for the first process, however long, never counts as a hang of the devices.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from narrator.launched import count as count  # callers ask here
from narrator.launched import local_number as local_number
from narrator.launched import number as number
from narrator.launched import settle
from narrator.records import NarratorError

_PATIENCE = datetime.timedelta(days=7)  # that the others wait for what the first does alone
Given = TypeVar("Given")
_group: Any = None  # of torch.distributed, once the processes have met


class Stopped(Exception):
    """The run was asked to stop; its last checkpoint is where it goes on."""


def is_first() -> bool:
    """Whether this process writes events, checkpoints and cards."""
    return number() == 0


def meet() -> None:
    """Wait until all processes are there. Without a launcher, and the second time, nothing is done."""
    global _group
    if count() == 1 or _group is not None:
        return
    import torch
    from torch import distributed

    gpu = torch.cuda.is_available()
    if gpu:
        torch.cuda.set_device(local_number())
    settle()
    if not distributed.is_initialized():
        distributed.init_process_group("cpu:gloo,cuda:nccl" if gpu else "gloo", rank=number(), world_size=count())
    _group = distributed.new_group(backend="gloo", timeout=_PATIENCE)


def part() -> None:
    """The end of `meet`."""
    global _group
    if _group is not None:
        from torch import distributed

        distributed.destroy_process_group()
        _group = None


def first(make: Callable[[], Given]) -> Given:
    """What `make` gives in the first process, in all of them; the others wait for it. A NarratorError or Stopped that
    it raises is raised in all of them. The result is pickled where there are several processes."""
    if count() == 1:
        return make()
    from torch import distributed

    meet()
    told: list[Any] = [None, None]  # result, error
    if is_first():
        try:
            told[0] = make()
        except (NarratorError, Stopped) as error:
            told[1] = error
    distributed.broadcast_object_list(told, src=0, group=_group)
    if told[1] is not None:
        raise told[1]
    given: Given = told[0]
    return given


@contextlib.contextmanager
def ahead() -> Iterator[None]:
    """The first process goes through the body before the others: what it leaves in the run's folder, they find."""
    if count() == 1:
        yield
        return
    if not is_first():
        first(lambda: None)
        yield
        return
    failed: list[BaseException] = []
    try:
        yield
    except (NarratorError, Stopped) as error:
        failed.append(error)

    def tell() -> None:
        if failed:
            raise failed[0]

    first(tell)


def wait() -> None:
    """Until all processes have come here."""
    if count() > 1:
        from torch import distributed

        meet()
        distributed.barrier(group=_group)


def any_of(here: bool) -> bool:
    """Whether it is so in any process."""
    return here if count() == 1 else _sum(float(here)) > 0


def share(weight: float) -> float:
    """`weight` over the mean weight of all processes: the mean over processes of loss x share is the mean over all that
    they learned from, however unevenly it was dealt out."""
    return 1.0 if count() == 1 else weight * count() / max(_sum(weight), 1e-9)


def warn_of_one() -> None:
    """Tell whoever asked `accelerate launch --cpu` for several processes that it has started one: all that it does
    without MPI."""
    if count() == 1 and os.environ.get("ACCELERATE_USE_CPU", "").lower() == "true" and "MASTER_PORT" in os.environ:
        print("accelerate --cpu has started one process: without mpirun it starts no more. The run is the same, only "
              "slower. For several: accelerate launch --config_file trainer/presets/accelerate/cpu.yaml "
              "--num_processes 2 -m trainer ...", file=sys.stderr, flush=True)


def _sum(value: float) -> float:
    import torch
    from torch import distributed

    meet()
    total = torch.tensor([value], dtype=torch.float64)
    distributed.all_reduce(total, group=_group)
    return float(total[0])

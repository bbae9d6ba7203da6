"""A batch in several processes: which one this is, and where they wait for each other.

What is agreed goes through gloo.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any, TypeVar

from narrator.launched import count, local_number, number, settle
from narrator.records import NarratorError

_PATIENCE = datetime.timedelta(days=30)  # until the slowest has done its share
Given = TypeVar("Given")


def device() -> str | None:
    """The graphics card of this process where there are several of both; None to choose as always."""
    if count() == 1:
        return None
    import torch

    return f"cuda:{local_number() % torch.cuda.device_count()}" if torch.cuda.is_available() else None


def first(make: Callable[[], Given]) -> Given:
    """What `make` gives in the first process, in all of them; a NarratorError that it raises is raised in all."""
    if count() == 1:
        return make()
    told: list[Any] = [None, None]  # result, error
    if number() == 0:
        try:
            told[0] = make()
        except NarratorError as error:
            told[1] = str(error)
    distributed = _met()
    _talk(lambda: distributed.broadcast_object_list(told, src=0))
    if told[1] is not None:
        raise NarratorError(told[1])
    given: Given = told[0]
    return given


def all_of(here: Given) -> list[Given]:
    """What each process brings, in order; waits for the last."""
    if count() == 1:
        return [here]
    distributed = _met()
    brought: list[Any] = [None] * count()
    _talk(lambda: distributed.all_gather_object(brought, here))
    return brought


def _met() -> Any:
    """torch.distributed, once all processes are there."""
    from torch import distributed

    if not distributed.is_initialized():
        settle()
        _talk(lambda: distributed.init_process_group("gloo", rank=number(), world_size=count(), timeout=_PATIENCE))
    return distributed


def _talk(say: Callable[[], object]) -> None:
    """torch reports a process that is gone as a RuntimeError."""
    try:
        say()
    except RuntimeError as error:
        raise NarratorError("Another process of this batch has ended early (see what it says): go on with "
                            "--resume.") from error

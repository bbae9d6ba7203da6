"""Which process this is, of how many: launchers (accelerate, torchrun, mpirun) tell it in the environment."""

from __future__ import annotations

import os

_NUMBER = ("RANK", "PMI_RANK", "OMPI_COMM_WORLD_RANK")
_COUNT = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE")
_LOCAL_COUNT = ("LOCAL_WORLD_SIZE", "MPI_LOCALNRANKS", "OMPI_COMM_WORLD_LOCAL_SIZE")
_LOCAL = ("LOCAL_RANK", "MPI_LOCALRANKID", "OMPI_COMM_WORLD_LOCAL_RANK")


def count() -> int:
    """How many processes work together; 1 where no launcher says otherwise."""
    return _told(_COUNT, 1)


def number() -> int:
    """Which of them this is, from 0."""
    return _told(_NUMBER, 0)


def local_number() -> int:
    """Which of those on this machine this is, from 0: the number of its GPU."""
    return _told(_LOCAL, 0)


def local_count() -> int:
    """How many of them are on this machine."""
    return _told(_LOCAL_COUNT, count())


def settle() -> None:
    """Name a place to meet where the launcher has named none, as mpirun on one machine does."""
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    os.environ.setdefault("MASTER_PORT", "29500")


def _told(names: tuple[str, ...], otherwise: int) -> int:
    found = (os.environ.get(name, "") for name in names)
    return next((int(value) for value in found if value.isdecimal()), otherwise)

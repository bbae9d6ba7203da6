"""The command that trains on several GPUs or machines: written here, run by whoever has them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from narrator.records import NarratorError
from trainer.config import TrainingConfig

CONFIGS = Path(__file__).resolve().parent / "presets" / "accelerate"
KINDS = {"gpus": "a whole model on each GPU", "fsdp": "the model in parts over the GPUs (FSDP)",
         "deepspeed": "optimiser and gradients in parts over the GPUs (DeepSpeed ZeRO-2)",
         "cpu": "a whole model in each process, without GPUs"}
HOST, PORT = "FIRST-MACHINE", 29500
MOST = 4096  # machines, and processes on each
HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.:-]*[A-Za-z0-9])?")


def counted(name: str, given: float | str | None) -> int:
    """A number of machines, or of processes on each. Raises NarratorError for what is none."""
    try:
        count = float(given if given is not None else "")
    except ValueError:
        count = 0.0
    if count != count or count not in range(1, MOST + 1):
        raise NarratorError(f"{name} must be a whole number from 1 to {MOST:,}. Correct it.")
    return int(count)


def launch_commands(config: TrainingConfig, training: Sequence[str], *, kind: str = "gpus", machines: int = 1,
                    processes: int = 2, host: str = HOST) -> list[str]:
    """One command for each machine. training: what stands after `python -m trainer`, such as ["run", PRESET].

    kind: one of KINDS. processes: on each machine. host: name or address of the first machine, which the others reach
    at PORT. Data, runs/ and checkpoints/ must lie on a disk that all machines share, at the same path.
    Raises NarratorError where the batches of a stage cannot be dealt out evenly, or adapters on quantised weights
    would be put in parts, and for a host that is no name or address.
    """
    host = host.strip()
    if not HOST_NAME.fullmatch(host):
        raise NarratorError("The first machine needs a name or an address that the others reach it by, such as "
                            "10.0.0.1. Correct it.")
    if kind not in KINDS:
        raise NarratorError(f"There is no way '{kind}' to train in several processes. There are: {', '.join(KINDS)}.")
    if kind in ("fsdp", "deepspeed") and config.quantize != "none":
        raise NarratorError("Quantised weights cannot be put in parts: take the way gpus, or 'quantize: none'.")
    total = machines * processes
    for stage in config.stages:
        if total < 1 or stage.batch_size % total:
            raise NarratorError(f"The batch_size {stage.batch_size} of the stage '{stage.name}' cannot be dealt out to "
                                f"{total} processes: set it to a multiple of {max(1, total)}.")
    file = (CONFIGS / f"{kind}.yaml").relative_to(CONFIGS.parents[2])
    shared = ["accelerate", "launch", "--config_file", str(file), "--num_processes", str(total)]
    if machines == 1:
        return [shlex.join([*shared, "-m", "trainer", *training])]
    address = ["--num_machines", str(machines), "--main_process_ip", host, "--main_process_port", str(PORT)]
    return [shlex.join([*shared, *address, "--machine_rank", str(rank), "-m", "trainer", *training])
            for rank in range(machines)]

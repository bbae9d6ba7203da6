"""What a batch draws at random depends on the run's seed, the epoch and the rows alone: wherever and whenever it is
made, by whichever worker, and after a resume in the middle of an epoch, it is the same."""

import contextlib
import random
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import Dataset
from transformers import TrainerCallback


class Batches(Dataset):
    """Whole batches of a dataset. collate: items -> a batch. epoch: the one that is drawn for, see `Epochs`. late: they
    are made when they are used, not when they are fetched, which is a step before: what is found out between two steps
    counts for the next one, as it does after a resume there."""

    def __init__(self, items: Any, collate: Callable[[list[Any]], Any], seed: int, *, late: bool = False) -> None:
        self.items, self.collate, self.seed, self.epoch, self.late = items, collate, seed, 0, late

    def __len__(self) -> int:
        return len(self.items)

    def __getitems__(self, rows: Sequence[int]) -> Any:
        """The batch of these rows, which `as_made` passes on; where it is made late, what `made` needs."""
        if self.late:
            return {"epoch": self.epoch, "rows": list(rows)}
        return self._make(self.epoch, rows)

    def made(self, batch: Any) -> Any:
        """The batch itself, of what was fetched."""
        return self._make(**batch) if self.late else batch

    def _make(self, epoch: int, rows: Sequence[int]) -> Any:
        with drawing(f"{self.seed} {epoch} {rows[0]}"):
            return self.collate([self.items[row] for row in rows])


def as_made(batch: Any) -> Any:
    """The collator over `Batches`."""
    return batch


class Epochs(TrainerCallback):
    """Tells the batches which epoch begins, or goes on."""

    def __init__(self, batches: Batches) -> None:
        self.batches = batches

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """state.epoch: epochs done, a fraction after a resume."""
        self.batches.epoch = int(state.epoch or 0)


@contextlib.contextmanager
def drawing(name: str) -> Iterator[None]:
    """Inside, Python and torch draw on processors what they always draw under this name; outside, as if nothing had
    been drawn."""
    before, seed = (random.getstate(), torch.get_rng_state()), zlib.crc32(name.encode())
    random.seed(seed)
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(before[0])
        torch.set_rng_state(before[1])

"""Loading weights whole: what is missing transformers would fill with random numbers, and only report."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import torch
from transformers.utils import logging


def load_whole(kind: Any, folder: Path, *, may_lack: tuple[str, ...] = (), **arguments: Any) -> Any:
    """`kind.from_pretrained(folder)` from safetensors, without network and without remote code, in float32.

    may_lack: beginnings of the names of tensors that are never used. Raises ValueError naming a tensor that is
    missing, and OSError, RuntimeError or ValueError for damaged files.
    """
    with quiet():
        model, report = kind.from_pretrained(
            folder, **{"local_files_only": True, "use_safetensors": True, "trust_remote_code": False,
                       "dtype": torch.float32, "output_loading_info": True, **arguments})
    missing = sorted(name for name in report["missing_keys"] if not name.startswith(may_lack))
    if missing:
        raise ValueError(f"it lacks {len(missing)} tensors, such as {missing[0]}")
    return model


class Held:
    """A family of a model that is in memory: `_hold` takes the model and what it needs beside it."""

    _hold: Callable[[Any, Any, Any], None]

    @classmethod
    def around(cls, model: Any, tokenizer: Any, pictures: Any) -> Self:
        """The family over a model that is in memory already, as while it learns."""
        family = cls.__new__(cls)
        family._hold(model, tokenizer, pictures)
        return family


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps transformers' progress bars, reports and remarks off the terminal."""
    shown, told = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(told)
        if shown:
            logging.enable_progress_bar()

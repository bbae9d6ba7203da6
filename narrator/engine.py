"""The only loader: which variants are in memory, one lock per device, and what to let go of when memory is short."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import gc
import importlib
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path

from narrator.catalog import MANIFEST, find_variant
from narrator.families import family_class
from narrator.hub import resolve
from narrator.records import Family, NarratorError, Variant
from narrator.turns import Stopped, Turns
from narrator.weights import adapter_bytes, bytes_needed, check_checkpoint, free_bytes, tensors_of

Announce = Callable[[str], None]
_ELSEWHERE = "remote"  # the family whose models run on a server
MARGIN_BYTES = 512 * 2**20  # memory left to everything else when a variant is loaded


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Loaded:
    """A family in memory. `stamp` is the manifest's time of change: a variant trained again is loaded again."""

    family: Family
    variant: Variant
    device: str
    stamp: int


class Engine:
    """Loads variants on first use and keeps them, least recently used first out when memory is short.

    checkpoints: where to look for variants, None for the project's own folders (see narrator.catalog).
    device: "cpu", "cuda" ..., None to choose. free: free memory of a device in bytes.
    """

    def __init__(self, checkpoints: Path | None = None, device: str | None = None,
                 free: Callable[[str], int] = free_bytes) -> None:
        self.checkpoints = checkpoints
        self._device = device
        self._free = free
        self._guard = threading.Lock()  # of the two tables below; held for moments only
        self._turns: dict[str, Turns] = {}
        self._loaded: OrderedDict[str, _Loaded] = OrderedDict()  # by variant id, the most recently used last
        self._warming: threading.Thread | None = None

    def device(self) -> str:
        """"cuda" when torch finds one, else "cpu". Imports torch."""
        if self._device is None:
            import torch

            self._device = "cuda" if torch.cuda.is_available() else "cpu"
        return self._device

    def warm(self) -> None:
        """Import torch and transformers in a daemon thread, so that a page is up before they are. Returns at once."""
        if self._warming is None:
            self._warming = threading.Thread(target=_import_heavy, name="warm", daemon=True)
            self._warming.start()

    def loaded(self) -> list[str]:
        """Ids of the variants in memory, least recently used first."""
        with self._guard:
            return list(self._loaded)

    def memory(self, variant_id: str) -> tuple[int, tuple[str, ...]]:
        """(bytes of the weights that a variant holds in memory, ids of the others that hold some of the same);
        (0, ()) where it is not loaded. Meant for whoever holds the device's turn."""
        with self._guard:
            held = {name: tensors_of(one.family) for name, one in self._loaded.items()}
        mine = held.pop(variant_id, {})
        return sum(mine.values()), tuple(name for name, others in held.items() if mine.keys() & others.keys())

    def outlook(self, variant: Variant) -> str:
        """A status sentence for what `use` is about to do."""
        if variant.family == _ELSEWHERE:
            return "Describing …"
        with self._guard:
            busy = any(turns.busy() for turns in self._turns.values())
            known = variant.id in self._loaded
        if busy:
            return "Waiting for another description to finish …"
        return "Describing …" if known else _loading(variant)

    @contextlib.contextmanager
    def use(self, variant_id: str, announce: Announce | None = None,
            stop: threading.Event | None = None) -> Iterator[Family]:
        """The variant's family, loaded, with its device's lock held until the block ends. Do not nest it in itself.
        A variant of a server holds no lock: what it computes with is not here.

        announce: told in a sentence when there is something to wait for. Raises NarratorError for an unknown, damaged
        or too large variant, and Stopped when `stop` is set before the family is there.
        """
        variant = find_variant(variant_id, self.checkpoints)
        if variant.family == _ELSEWHERE:
            with _served(variant, stop) as family:
                yield family
            return
        self._await_warming(stop)
        turns = self._turns_of(self.device())
        if turns.busy() and announce:
            announce("Waiting for another description to finish …")
        turns.acquire(stop)
        try:
            family = self._ready(variant, self.device(), announce)
            if stop is not None and stop.is_set():
                raise Stopped
            yield family
        except (MemoryError, RuntimeError) as error:
            if not _out_of_memory(error):
                raise
            raise NarratorError(f"{variant.title} ran out of memory: take a smaller variant, fewer beams, or close "
                                "other programs.") from error
        finally:
            turns.release()

    def unload(self, variant_id: str) -> bool:
        """Let go of a variant once its device is free; whether it was loaded."""
        with self._guard:
            held = self._loaded.get(variant_id)
        if held is None:
            return False
        turns = self._turns_of(held.device)
        turns.acquire()
        try:
            return self._drop(variant_id)
        finally:
            turns.release()

    def close(self) -> None:
        """Let go of everything."""
        for variant_id in self.loaded():
            self.unload(variant_id)

    def _turns_of(self, device: str) -> Turns:
        with self._guard:
            return self._turns.setdefault(device, Turns())

    def _await_warming(self, stop: threading.Event | None) -> None:
        """Two threads that import the same large package at once can see half of it: wait for the first."""
        while self._warming is not None and self._warming.is_alive():
            if stop is not None and stop.is_set():
                raise Stopped
            self._warming.join(0.05)

    def _ready(self, variant: Variant, device: str, announce: Announce | None) -> Family:
        """The family from memory or from disk. The device's lock is held."""
        variant = resolve(variant)  # a model of the Hub: the folder of its snapshot
        stamp = _stamp(variant)
        with self._guard:
            held = self._loaded.get(variant.id)
            if held is not None and (held.variant, held.stamp) == (variant, stamp):
                self._loaded.move_to_end(variant.id)
                return held.family
        if held is not None:
            self._drop(variant.id)
        if announce:
            announce(_loading(variant))
        check_checkpoint(variant)
        _check_adapter(variant)
        other = self._sharing(variant, stamp)
        self._make_room(variant, device, bytes_needed(variant) if other is None else adapter_bytes(variant))
        family = _load(variant, device, other)
        with self._guard:
            self._loaded[variant.id] = _Loaded(family=family, variant=variant, device=device, stamp=stamp)
        return family

    def _sharing(self, variant: Variant, stamp: int) -> Family | None:
        """A family in memory on whose weights the variant can stand: a base and its adapters share one copy."""
        with self._guard:
            held = list(self._loaded.values())
        return next((one.family for one in held if (one.variant.family, one.variant.source, one.stamp)
                     == (variant.family, variant.source, stamp) and hasattr(one.family, "shares")
                     and one.family.shares(variant)), None)

    def _make_room(self, variant: Variant, device: str, needs: tuple[int, int]) -> None:
        """Let go of the least recently used until the variant fits. Raises NarratorError when it cannot.

        needs: (least, most) bytes."""
        least, most = needs
        while self._free(device) < most + MARGIN_BYTES:
            with self._guard:
                oldest = next((name for name, held in self._loaded.items() if held.device == device), None)
            if oldest is None:
                break
            self._drop(oldest)
        free = self._free(device)
        if free < least:
            raise NarratorError(f"{variant.title} needs at least {least / 2**30:.1f} GiB of memory and "
                                f"{free / 2**30:.1f} are free: close other programs or take a smaller variant.")

    def _drop(self, variant_id: str) -> bool:
        """Close a variant. The device's lock is held."""
        with self._guard:
            held = self._loaded.pop(variant_id, None)
        if held is None:
            return False
        held.family.close()
        del held
        _collect()
        return True


@functools.cache
def shared_engine() -> Engine:
    """The engine of this process."""
    return Engine()


@contextlib.contextmanager
def _served(variant: Variant, stop: threading.Event | None) -> Iterator[Family]:
    """The family of a variant that a server runs: nothing to load, nothing to keep."""
    if stop is not None and stop.is_set():
        raise Stopped
    with contextlib.closing(family_class(variant.family)(variant, "")) as family:  # type: ignore[call-arg]
        yield family


def _loading(variant: Variant) -> str:
    return f"Loading {variant.title}, first use …"


def _stamp(variant: Variant) -> int:
    try:
        return (Path(variant.source) / MANIFEST).stat().st_mtime_ns
    except OSError:  # a snapshot of the Hub, which has a folder for each version, or a server
        return 0


def _check_adapter(variant: Variant) -> None:
    """Raise NarratorError where an adapter would be left out in silence: a family says `takes_adapter = True`."""
    if variant.adapter is not None and not getattr(family_class(variant.family), "takes_adapter", False):
        raise NarratorError(f"{variant.title} asks for the adapter {variant.adapter}, and this family cannot put an "
                            f"adapter on ({variant.family}): merge it into the weights, then take 'adapter' out of "
                            f"{MANIFEST}.")


def _load(variant: Variant, device: str, other: Family | None) -> Family:
    """Build the family, on the weights of `other` where there is one; whatever its libraries say about unusable files
    becomes one sentence."""
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError

    kind = family_class(variant.family)
    try:
        if other is not None:
            return other.beside(variant)  # type: ignore[attr-defined]
        return kind(variant, device)  # type: ignore[call-arg]
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, AttributeError, SafetensorError,
            StrictDataclassError) as error:
        _collect()
        if _out_of_memory(error):
            raise
        raise NarratorError(f"{variant.title} cannot be loaded from {variant.source}: its files do not fit together "
                            f"({_reason(error)}); restore the folder or train it again.") from error


def _reason(error: Exception) -> str:
    """What a library said, in a line. Of wrong shapes transformers tells only in a report on the terminal."""
    if "ignore_mismatched_sizes" in str(error):
        return "the weights have other shapes than config.json asks for"
    said = " ".join(str(error).split())
    return f"{type(error).__name__}: {said if len(said) <= 200 else said[:199] + '…'}"


def _out_of_memory(error: BaseException) -> bool:
    """torch reports it as a RuntimeError on the processor and as its own kind of RuntimeError on a GPU."""
    named = type(error).__name__ == "OutOfMemoryError" or "allocate memory" in str(error)
    return named or isinstance(error, MemoryError)


def _collect() -> None:
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def _import_heavy() -> None:
    for name in ("torch", "transformers"):
        importlib.import_module(name)

"""What a checkpoint folder holds, read from safetensors headers alone: is it whole, and how much memory will it take?

Format: 8 bytes little-endian N, N bytes of JSON {tensor: {dtype, shape, data_offsets}}, then the data
(https://github.com/huggingface/safetensors#format). Imports no torch.
"""

from __future__ import annotations

import json
import math
import struct
from collections import Counter
from pathlib import Path
from typing import Any

from narrator.records import NarratorError, Variant

_MAX_HEADER = 100_000_000  # bytes, safetensors' own limit
_MEND = "restore the folder from where it came, or train it again"
# safetensors' names of the formats of numbers, and ours
DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "F8_E4M3": "float8", "I8": "int8",
          "U8": "int8"}
BYTES = {"float32": 4, "float64": 8, "float16": 2, "bfloat16": 2, "float8": 1, "int8": 1}


def check_checkpoint(variant: Variant) -> None:
    """Raise NarratorError that names folder and fault when a local checkpoint is not whole; a Hub id passes."""
    if not _is_folder(variant.source):
        return
    folder = Path(variant.source)
    if not folder.is_dir():
        raise NarratorError(f"{variant.title}: its folder {folder} is missing; {_MEND}.")
    _json(folder / "config.json")
    whole = [_header(path) for path in sorted(folder.glob("*.safetensors"))]
    whole = _sharded(folder) or whole
    if not whole:
        raise NarratorError(f"{folder}: holds no weights (*.safetensors); {_MEND}.")
    if variant.adapter is not None:
        adapter = Path(variant.adapter)
        _json(adapter / "adapter_config.json")
        _header(adapter / "adapter_model.safetensors")


def bytes_needed(variant: Variant) -> tuple[int, int]:
    """(least, most) bytes that the weights take in memory, by what is on disk, or by the catalog for a Hub id.

    Least: kept as they are stored. Most: widened to float32, and a fifth on top for what is computed with them. Reads
    headers alone, and an adapter's too; (0, 0) for a model that runs elsewhere. Raises NarratorError for damaged files.
    """
    if variant.family == "remote":
        return 0, 0
    if not _is_folder(variant.source):
        return stored_bytes(variant), int(variant.parameters * 4 * 1.2)
    headers = [_header(path) for path in Path(variant.source).glob("*.safetensors")]
    if variant.adapter is not None:
        headers.append(_header(Path(variant.adapter) / "adapter_model.safetensors"))
    return sum(map(_stored, headers)), int(sum(map(_parameters, headers)) * 4 * 1.2)


def counted(folder: Path) -> tuple[int, str]:
    """(parameters, the format that most of them have) of a folder's weights. Raises NarratorError for damaged files."""
    counts: Counter[str] = Counter()
    for path in folder.glob("model*.safetensors"):
        for value in _header(path).values():
            counts[DTYPES.get(str(value.get("dtype")), "float32")] += math.prod(value.get("shape", ()))
    return counts.total(), counts.most_common(1)[0][0] if counts else "float32"


def adapter_bytes(variant: Variant) -> tuple[int, int]:
    """The same of a variant whose base is in memory already: its adapter's alone."""
    if variant.adapter is None:
        return 0, 0
    header = _header(Path(variant.adapter) / "adapter_model.safetensors")
    return _stored(header), int(_parameters(header) * 4 * 1.2)


def tensors_of(family: object) -> dict[int, int]:
    """Address -> bytes of the weights and buffers that a family holds in memory, those of torch modules among its
    attributes."""
    modules = [part for part in vars(family).values() if hasattr(part, "parameters") and hasattr(part, "buffers")]
    storages = [tensor.untyped_storage() for module in modules for tensor in (*module.parameters(), *module.buffers())]
    return {storage.data_ptr(): storage.nbytes() for storage in storages if storage.nbytes()}


def stored_bytes(variant: Variant) -> int:
    """Bytes of the weights on disk, by the catalog's count and dtype; 0 where it does not say how many there are."""
    return variant.parameters * BYTES.get(variant.dtype, 2)


def free_bytes(device: str) -> int:
    """Free memory of a device. On a processor the smaller of the machine's and the container's."""
    if device != "cpu":
        import torch

        return int(torch.cuda.mem_get_info(device)[0])
    import psutil

    return min(int(psutil.virtual_memory().available), _container_free())


def _container_free(root: Path = Path("/sys/fs/cgroup")) -> int:
    """What a Linux control group (v2) leaves, page cache that it can drop counted as free; huge where there is none."""
    try:
        limit = int((root / "memory.max").read_text())  # "max" is no number: no limit
        used = int((root / "memory.current").read_text())
        lines = (root / "memory.stat").read_text().splitlines()
    except (OSError, ValueError):
        return 2**62
    cache = sum(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))
    return max(0, limit - used + cache)


def _is_folder(source: str) -> bool:
    return Path(source).is_absolute()  # narrator.catalog makes folders absolute


def _sharded(folder: Path) -> list[dict[str, Any]]:
    """The headers of the shards that an index lists, checked against it; [] without an index."""
    index = folder / "model.safetensors.index.json"
    if not index.exists():
        return []
    places = _json(index).get("weight_map")
    if not isinstance(places, dict) or not places or not all(isinstance(name, str) for name in places.values()):
        raise NarratorError(f"{folder}: its {index.name} lists no weights; {_MEND}.")
    headers = {name: _header(folder / Path(name).name) for name in sorted(set(places.values()))}
    for tensor, name in places.items():
        if tensor not in headers[name]:
            raise NarratorError(f"{folder}: its shard {name} lacks '{tensor}'; {_MEND}.")
    return list(headers.values())


def _json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NarratorError(f"{path.parent}: its {path.name} is missing; {_MEND}.") from None
    except OSError as error:
        raise NarratorError(f"{path.parent}: its {path.name} cannot be read ({error.strerror}); {_MEND}.") from None
    except ValueError:
        raise NarratorError(f"{path.parent}: its {path.name} is damaged; {_MEND}.") from None
    if not isinstance(values, dict):
        raise NarratorError(f"{path.parent}: its {path.name} is damaged; {_MEND}.")
    return values


def _header(path: Path) -> dict[str, Any]:
    """tensor -> {dtype, shape, data_offsets}. Raises NarratorError when the file is missing, garbage or cut short."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = struct.unpack("<Q", file.read(8))[0]
            if length > min(size - 8, _MAX_HEADER):
                raise ValueError("header longer than the file")
            header = json.loads(file.read(length))
        tensors = {name: value for name, value in header.items() if name != "__metadata__"}
        end = max((value["data_offsets"][1] for value in tensors.values()), default=0)
    except FileNotFoundError:
        raise NarratorError(f"{path.parent}: its weights {path.name} are missing; {_MEND}.") from None
    except OSError as error:
        raise NarratorError(f"{path.parent}: its weights {path.name} cannot be read ({error.strerror}); "
                            f"{_MEND}.") from None
    except (ValueError, struct.error, KeyError, TypeError, AttributeError, IndexError):
        raise NarratorError(f"{path.parent}: its weights {path.name} are damaged; {_MEND}.") from None
    if 8 + length + end != size:
        raise NarratorError(f"{path.parent}: its weights {path.name} are cut short ({size:,} of {8 + length + end:,} "
                            f"bytes); {_MEND}.")
    return tensors


def _stored(header: dict[str, Any]) -> int:
    return max((int(value["data_offsets"][1]) for value in header.values()), default=0)


def _parameters(header: dict[str, Any]) -> int:
    return sum(math.prod(value.get("shape", ())) for value in header.values())

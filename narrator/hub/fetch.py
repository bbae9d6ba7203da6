"""The process that downloads one repository of the Hub: a JSON request on standard input, JSON lines out.

Request: {"repo", "revision" (null: the main one), "endpoint", "cache", "storage", "lock" (paths), "allow",
"ignore" (patterns of names), "promised" (bytes of weights by the catalog, 0 where it does not say), "look" (whether it
is only looked at)}. Answers: {"done", "total"} in bytes as they come, then one of {"folder"}, {"refusal", ...}, or of a
look {"found": {"config", "files", "bytes", "parameters", "license"}}. It ends when its standard input does, so it
outlives nobody.

huggingface_hub looks the repository up and lays the cache out. The bytes are fetched here: that library begins a file
anew after a broken process, and takes whatever the hub sends; here a file goes on where it ended, is never longer than
promised, and gets its place only when its hash is right. Run by path, so it imports nothing of this project.
"""

import hashlib
import json
import os
import re
import shutil
import sys
import threading
import time
from pathlib import Path
from typing import Any

TIMEOUT_S = 10.0
TELL_S = 0.2
TRIES = 5  # in a row that bring not one byte
CONFIG_BYTES = 2**20  # of config.json, where a repository is only looked at
SPARE_BYTES = 256 * 2**20  # left free on the disk
_ETAG = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


class Refusal(Exception):
    """Why there is nothing to download, as a word that narrator.hub.pulling has a sentence for, with its figures."""

    def __init__(self, kind: str, **facts: Any) -> None:
        super().__init__(kind)
        self.kind, self.facts = kind, facts


class Meter:
    """Tells how many of the bytes are here, not more often than every TELL_S seconds."""

    def __init__(self, total: int) -> None:
        self.total, self.done, self.told = total, 0, 0.0

    def add(self, count: int) -> None:
        self.done += count
        if time.monotonic() - self.told >= TELL_S:
            self.tell()

    def tell(self) -> None:
        self.told = time.monotonic()
        say({"done": self.done, "total": self.total})


def main() -> int:
    """Answer one request."""
    import httpx2
    from huggingface_hub.errors import LocalEntryNotFoundError

    request = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        say({"found": look(request)} if request.get("look") else {"folder": download(request)})
    except Refusal as refusal:
        say({"refusal": refusal.kind, **refusal.facts})
    except httpx2.HTTPError as error:
        say(_network(error))
    except LocalEntryNotFoundError:  # the hub went away before the last step
        say({"refusal": "broken", "says": "no answer"})
    except OSError as error:
        say({"refusal": "disk", "says": error.strerror or str(error)})
    except (ValueError, KeyError, TypeError, AttributeError, AssertionError) as error:  # answers that make no sense
        say({"refusal": "no-hub", "says": f"{type(error).__name__}: {error}"[:200]})
    return 0


def say(answer: dict[str, Any]) -> None:
    """One line, there at once."""
    print(json.dumps(answer), flush=True)


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(3)


def _network(error: Exception) -> dict[str, Any]:
    """The answer to an error of the hub or on the way to it."""
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

    if isinstance(error, GatedRepoError):
        return {"refusal": "gated"}
    if isinstance(error, RepositoryNotFoundError):
        return {"refusal": "unknown"}
    if isinstance(error, RevisionNotFoundError):
        return {"refusal": "revision"}
    if isinstance(error, HfHubHTTPError):
        code = error.response.status_code
        return {"refusal": "gated"} if code in (401, 403) else {"refusal": "answer", "code": code}
    return {"refusal": "broken", "says": type(error).__name__}


def look(request: dict[str, Any]) -> dict[str, Any]:
    """What a repository holds: its config.json, the names of its files, bytes of weights, parameters by format as the
    hub has counted them ({} where it has not), licence. Raises Refusal."""
    from huggingface_hub import HfApi, get_session, hf_hub_url
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

    api, repo = HfApi(endpoint=request["endpoint"]), request["repo"]
    info = api.model_info(repo, revision=request["revision"], timeout=TIMEOUT_S)
    files = _wanted(api, request, info.sha)
    _check_files(files, 0)
    url = hf_hub_url(repo, "config.json", revision=info.sha, endpoint=request["endpoint"])
    size = next(entry.size for entry in files if entry.path == "config.json")
    if size > CONFIG_BYTES:
        raise Refusal("size", name="config.json", promised=CONFIG_BYTES, sent=size)
    answer = get_session().get(url, headers=build_hf_headers(), timeout=TIMEOUT_S)
    hf_raise_for_status(answer)
    told = info.card_data.to_dict() if info.card_data else {}
    said = told.get("license_name") if told.get("license") == "other" else told.get("license")
    return {"config": dict(json.loads(answer.content)), "files": [entry.path for entry in files],
            "bytes": sum(entry.size for entry in files if entry.path.endswith(".safetensors")),
            "parameters": dict(info.safetensors.parameters) if info.safetensors else {},
            "license": str(said or "")[:80]}


def download(request: dict[str, Any]) -> str:
    """Everything that the patterns take, then the snapshot's folder. Raises Refusal."""
    from filelock import FileLock, Timeout
    from huggingface_hub import snapshot_download

    Path(request["lock"]).parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(request["lock"], timeout=0):
            _blobs(request, Path(request["storage"]) / "blobs")
            folder: str = snapshot_download(request["repo"], revision=request["revision"], cache_dir=request["cache"],
                                            endpoint=request["endpoint"], allow_patterns=request["allow"],
                                            ignore_patterns=request["ignore"], max_workers=1)
            return folder
    except Timeout:
        raise Refusal("busy") from None


def _blobs(request: dict[str, Any], folder: Path) -> None:
    """Bring every file into the cache under the name of its hash, the small ones first."""
    from huggingface_hub import HfApi, get_hf_file_metadata, hf_hub_url

    api, repo = HfApi(endpoint=request["endpoint"]), request["repo"]
    commit = api.model_info(repo, revision=request["revision"], timeout=TIMEOUT_S).sha
    files = _wanted(api, request, commit)
    _check_files(files, request["promised"])
    plan: list[tuple[str, Path, int]] = []
    for entry in files:
        url = hf_hub_url(repo, entry.path, revision=commit, endpoint=request["endpoint"])
        found = get_hf_file_metadata(url, timeout=TIMEOUT_S, endpoint=request["endpoint"])
        if found.etag is None or not _ETAG.fullmatch(found.etag):
            raise Refusal("no-hub", says="a file without a hash")
        if found.size not in (None, entry.size):
            raise Refusal("size", name=entry.path, promised=entry.size, sent=found.size)
        plan.append((url, folder / found.etag, entry.size))
    _check_disk(plan, folder)
    folder.mkdir(parents=True, exist_ok=True)
    meter = Meter(sum(size for _, _, size in plan))
    for url, blob, size in plan:
        if blob.exists():
            meter.add(size)
        else:
            _file(url, blob, size, meter)
    meter.tell()


def _wanted(api: Any, request: dict[str, Any], commit: str | None) -> list[Any]:
    """The files that the patterns take, the small ones first."""
    from huggingface_hub.hf_api import RepoFile
    from huggingface_hub.utils import filter_repo_objects

    tree = [entry for entry in api.list_repo_tree(request["repo"], revision=commit) if isinstance(entry, RepoFile)]
    return sorted(filter_repo_objects(tree, allow_patterns=request["allow"], ignore_patterns=request["ignore"],
                                      key=lambda entry: entry.path), key=lambda entry: entry.size)


def _check_files(files: list[Any], promised: int) -> None:
    names = [entry.path for entry in files]
    weights = sum(entry.size for entry in files if entry.path.endswith(".safetensors"))
    if not weights:
        raise Refusal("no-safetensors")
    if "config.json" not in names:
        raise Refusal("no-config")
    if promised and weights > 2 * promised:
        raise Refusal("promise", promised=promised, sent=weights)


def _check_disk(plan: list[tuple[str, Path, int]], folder: Path) -> None:
    missing = sum(size - (size if blob.exists() else _length(_partial(blob))) for _, blob, size in plan)
    place = next(parent for parent in (folder, *folder.parents) if parent.is_dir())
    free = shutil.disk_usage(place).free
    if missing + SPARE_BYTES > free:
        raise Refusal("no-space", needed=missing + SPARE_BYTES, free=free)


def _file(url: str, blob: Path, size: int, meter: Meter) -> None:
    """One file: what is here already is kept, breaks are mended, and the hash decides. Raises Refusal."""
    import httpx2

    partial = _partial(blob)
    if _length(partial) > size:
        partial.unlink()
    meter.add(_length(partial))
    tries = 0
    while (before := _length(partial)) < size or not partial.exists():
        try:
            _append(url, partial, size, meter)
        except httpx2.TransportError as error:  # the connection broke, or nothing came for TIMEOUT_S
            tries = 0 if _length(partial) > before else tries + 1
            if tries >= TRIES:
                raise Refusal("broken", says=type(error).__name__) from None
            meter.tell()
            time.sleep(min(2**tries, 8) / 4)
    if _hash(partial, blob.name, size, meter) != blob.name:
        partial.unlink()
        raise Refusal("damaged")
    os.replace(partial, blob)


def _append(url: str, partial: Path, size: int, meter: Meter) -> None:
    """One request for what is missing of a file. Raises Refusal when there is more or less of it than promised."""
    from huggingface_hub import get_session
    from huggingface_hub.utils import build_hf_headers

    start = _length(partial)
    headers = {**build_hf_headers(), "Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    with get_session().stream("GET", url, headers=headers, timeout=TIMEOUT_S) as answer:
        if answer.status_code >= 400:
            raise Refusal("gated") if answer.status_code in (401, 403) else Refusal("answer", code=answer.status_code)
        if answer.status_code != 206 and start:  # the hub begins anew
            meter.add(-start)
            start = 0
        with partial.open("ab" if start else "wb", buffering=0) as file:
            sent = start + int(answer.headers.get("Content-Length", size - start))
            if sent == size:
                sent = start
                for chunk in answer.iter_raw():
                    sent += len(chunk)
                    if sent > size:
                        break
                    file.write(chunk)
                    meter.add(len(chunk))
    if sent != size:
        partial.unlink()
        raise Refusal("size", name=Path(url).name, promised=size, sent=sent)


def _hash(path: Path, name: str, size: int, meter: Meter) -> str:
    """SHA-256 of the content or, for a name of 40 figures, git's SHA-1 of it as a blob: the two that the Hub uses."""
    digest = hashlib.sha256() if len(name) == 64 else hashlib.sha1(
        f"blob {size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(2**22):
            digest.update(chunk)
            meter.add(0)  # a sign of life
    return digest.hexdigest()


def _partial(blob: Path) -> Path:
    return blob.with_name(f"{blob.name}.narrator.incomplete")


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


if __name__ == "__main__":
    sys.exit(main())

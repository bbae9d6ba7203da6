"""A small hub on 127.0.0.1 that HF_ENDPOINT can point to: real repositories, and ways to misbehave.

It speaks what huggingface_hub asks for: a repository's commit and files, and each file by HEAD and GET with ranges
(https://huggingface.co/docs/hub/api).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import struct
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from hub_uploads import Uploads

from narrator import catalog
from narrator.hub.cache import storage
from narrator.records import Inputs, Variant

REPO = "owner/captioner"
BIG = 6 * 2**20  # bytes of a larger one's weights
COMMIT = "c0ffee" + "0" * 34


@dataclasses.dataclass
class Repository:
    """Files by name, and what goes wrong with them.

    gated: nobody may read a file. break_after: bytes of a file's body after which the connection is cut, once for each
    entry of the list. listed, headed, sent: sizes that the listing, HEAD and GET claim instead of the true ones, by
    name. endless: GET of a name goes on and on, without saying how long it is. pace_s: pause between pieces of 64 kB.
    begins_anew: ranges are not understood. hashes: a file's hash as told, instead of the true one. told: what more the
    hub tells of it, such as its licence.
    """

    files: dict[str, bytes]
    gated: bool = False
    private: bool = False
    break_after: list[int] = dataclasses.field(default_factory=list)
    listed: dict[str, int] = dataclasses.field(default_factory=dict)
    headed: dict[str, int] = dataclasses.field(default_factory=dict)
    sent: dict[str, int] = dataclasses.field(default_factory=dict)
    endless: set[str] = dataclasses.field(default_factory=set)
    hashes: dict[str, str] = dataclasses.field(default_factory=dict)
    pace_s: float = 0.0
    begins_anew: bool = False
    told: dict[str, object] = dataclasses.field(default_factory=dict)

    def hash(self, name: str) -> str:
        """SHA-256 for weights, git's hash for the rest, as the Hub has it."""
        content = self.files[name]
        if name in self.hashes:
            return self.hashes[name]
        if name.endswith(".safetensors"):
            return hashlib.sha256(content).hexdigest()
        return hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()


def repository(folder: Path, **trouble: object) -> Repository:
    """The files of a checkpoint folder as a repository, without its variant.yaml, as the Hub has them."""
    files = {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    files.pop("variant.yaml", None)
    return Repository(files=files, **trouble)  # type: ignore[arg-type]


class SmallHub:
    """Serves `repositories` by "owner/name" until the block ends; `asked` has each request as (method, path, range).

    blobs: large files that were sent, by their hash; none is taken while `hold` is cleared.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.asked: list[tuple[str, str, str]] = []
        self.blobs: dict[str, bytes] = {}
        self.hold = threading.Event()
        self.hold.set()
        hub = self

        class Handler(_Handler):
            small_hub = hub

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self) -> SmallHub:
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def fetched(self, name: str) -> list[str]:
        """The ranges of all GETs of a file, "" for the whole."""
        return [asked for method, path, asked in self.asked if method == "GET" and path.endswith(f"/{name}")]


class _Handler(Uploads, BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    small_hub: SmallHub

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.small_hub.asked.append((self.command, path, ""))
        self.take(path.strip("/").split("/"))

    do_PUT = do_POST

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.small_hub.asked.append((self.command, path, self.headers.get("Range", "")))
        parts = path.strip("/").split("/")
        if parts == [""]:
            self._json({})
        elif parts[:2] == ["api", "models"]:
            self._api("/".join(parts[2:4]), parts[4:])
        else:
            self._file("/".join(parts[:2]), "/".join(parts[4:]))

    def _api(self, name: str, rest: list[str]) -> None:
        repository = self.small_hub.repositories.get(name)
        if repository is None:
            self._refuse(404, "RepoNotFound")
        elif rest[:1] == ["revision"] and rest[1] not in ("main", COMMIT):
            self._refuse(404, "RevisionNotFound")
        elif rest[:1] == ["tree"]:
            self._json([self._row(repository, file) for file in repository.files])
        else:
            siblings = [{"rfilename": file} for file in repository.files]
            self._json({"id": name, "sha": COMMIT, "siblings": siblings, "gated": "auto" if repository.gated else False,
                        "private": repository.private, "tags": [], "downloads": 0, "likes": 0, **repository.told})

    def _row(self, repository: Repository, file: str) -> dict[str, object]:
        size = repository.listed.get(file, len(repository.files[file]))
        row: dict[str, object] = {"type": "file", "path": file, "size": size, "oid": repository.hash(file)[:40]}
        if file.endswith(".safetensors"):
            row["lfs"] = {"oid": repository.hash(file), "size": size, "pointerSize": 130}
        return row

    def _file(self, name: str, file: str) -> None:
        repository = self.small_hub.repositories.get(name)
        if repository is None or file not in repository.files:
            self._refuse(404, "RepoNotFound" if repository is None else "EntryNotFound")
        elif repository.gated:
            self._refuse(403, "GatedRepo")
        elif self.command == "HEAD":
            size = repository.headed.get(file, repository.listed.get(file, len(repository.files[file])))
            self._begin(200, repository, file, size)
        elif file in repository.endless:
            self._endless(repository, file)
        else:
            self._content(repository, file)

    def _begin(self, code: int, repository: Repository, file: str, length: int | None, **more: str) -> None:
        self.send_response(code)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{repository.hash(file)}"')
        self.send_header("Accept-Ranges", "bytes")
        if length is None:
            self.send_header("Connection", "close")
            self.close_connection = True
        else:
            self.send_header("Content-Length", str(length))
        for name, value in more.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def _content(self, repository: Repository, file: str) -> None:
        whole = repository.files[file]
        asked = "" if repository.begins_anew else self.headers.get("Range", "")
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        length = repository.sent.get(file, len(whole)) - start
        limits = {"Content_Range": f"bytes {start}-{start + length - 1}/{len(whole)}"} if asked else {}
        self._begin(206 if asked else 200, repository, file, length, **limits)
        cut = repository.break_after.pop(0) if repository.break_after and file.endswith(".safetensors") else None
        body = whole[start:start + length] if cut is None else whole[start:start + cut]
        self._write(body, repository)
        if len(body) < length:
            self.close_connection = True

    def _endless(self, repository: Repository, file: str) -> None:
        self._begin(200, repository, file, None)
        try:
            for _ in range(1000):
                self.wfile.write(b"\0" * 65536)
        except OSError:  # the other side had enough
            pass

    def _write(self, body: bytes, repository: Repository) -> None:
        try:
            for at in range(0, len(body), 65536):
                self.wfile.write(body[at:at + 65536])
                self.wfile.flush()
                time.sleep(repository.pace_s)
        except OSError:
            self.close_connection = True

    def _json(self, value: object, code: int = 200) -> None:
        body = json.dumps(value).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _refuse(self, code: int, why: str) -> None:
        self.send_response(code)
        self.send_header("X-Error-Code", why)
        self.send_header("Content-Length", "0")
        self.end_headers()


def far(**changes: Any) -> Variant:
    """A variant of the small hub."""
    return dataclasses.replace(Variant(id="far", title="The far", family="encoder_decoder", source=REPO,
                                       inputs=Inputs(image=True, text=False)), **changes)


def weights(count: int) -> bytes:
    """A safetensors file of one tensor of `count` bytes."""
    header = json.dumps({"all": {"dtype": "U8", "shape": [count], "data_offsets": [0, count]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(range(256)) * (count // 256)


def files(count: int = 2560) -> dict[str, bytes]:
    return {"config.json": b'{"model_type": "gpt2"}', "merges.txt": b"a b\n", "model.safetensors": weights(count),
            "README.md": b"# Card\n", "pytorch_model.bin": b"pickle", "modeling.py": b"print('never')",
            "onnx/config.json": b"{}", "onnx/model.safetensors": b"other"}


@pytest.fixture(scope="session")
def served() -> Iterator[SmallHub]:
    """One small hub for all tests; `small` empties it."""
    with SmallHub() as small:
        yield small


@pytest.fixture
def small(served: SmallHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SmallHub:
    """An empty hub, and an empty cache, that this process and those that it starts know alone."""
    use_hub(served, tmp_path / "cache", monkeypatch)
    return served


def use_hub(small: SmallHub, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty hub and an empty cache: this process and those that it starts know no other."""
    from huggingface_hub import constants

    small.repositories.clear()
    small.asked.clear()
    small.blobs.clear()
    small.hold.set()
    for name, value in (("ENDPOINT", small.address), ("HF_HUB_CACHE", str(cache)), ("HF_HUB_OFFLINE", False),
                        ("HUGGINGFACE_CO_URL_TEMPLATE", small.address + "/{repo_id}/resolve/{revision}/{filename}")):
        monkeypatch.setattr(constants, name, value)
    monkeypatch.setenv("HF_ENDPOINT", small.address)
    monkeypatch.setenv("HF_HUB_CACHE", str(cache))
    for name in ("HF_TOKEN", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)


def listed_as(variant: Variant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A catalog of that variant alone."""
    shipped = tmp_path / "variants.yaml"
    values = {name: value for name, value in dataclasses.asdict(variant).items() if value is not None}
    shipped.write_text(yaml.safe_dump({"bundled": ["ours"], "variants": [values]}))
    monkeypatch.setattr(catalog, "SHIPPED", shipped)
    monkeypatch.setattr(catalog, "CHECKPOINTS", tmp_path / "none")
    monkeypatch.delenv("NARRATOR_CHECKPOINTS", raising=False)


def partials() -> list[Path]:
    """Files of REPO that are not whole yet."""
    return list((storage(REPO) / "blobs").glob("*.incomplete"))

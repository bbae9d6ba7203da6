"""Data sets on the small hub: real Parquet and JSON files, listed and served in pieces as `datasets` asks for them."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from PIL import Image
from small_hub import Repository, SmallHub, _Handler, use_hub

SETS = "datasets"


class SmallDataHub(SmallHub):
    """As the small hub; its `repositories` are data sets."""

    def __init__(self) -> None:
        super().__init__()
        hub = self

        class Handler(_DataHandler):
            small_hub = hub

        self.server.RequestHandlerClass = Handler


class _DataHandler(_Handler):
    def do_POST(self) -> None:
        """paths-info: what is known of the paths that are asked about."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        name = "/".join(urlsplit(self.path).path.strip("/").split("/")[2:4])
        repository = self.small_hub.repositories.get(name)
        self.small_hub.asked.append(("POST", self.path, ""))
        if repository is None:
            self._refuse(404, "RepoNotFound")
        else:
            self._json([self._row(repository, path) for path in json.loads(body)["paths"] if path in repository.files])

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.small_hub.asked.append((self.command, path, self.headers.get("Range", "")))
        parts = path.strip("/").split("/")
        if parts == [""]:
            self._json({})
        elif parts[:2] == ["api", SETS]:
            self._api("/".join(parts[2:4]), parts[4:])
        elif parts[0] == SETS:
            self._file("/".join(parts[1:3]), "/".join(parts[5:]))
        else:
            self._refuse(404, "RepoNotFound")

    def _api(self, name: str, rest: list[str]) -> None:
        repository = self.small_hub.repositories.get(name)
        if repository is not None and repository.gated:
            self._refuse(403, "GatedRepo")
        elif repository is not None and rest[:1] == ["tree"]:
            self._json(self._tree(repository, "/".join(rest[2:])))
        else:
            super()._api(name, rest)

    def _tree(self, repository: Repository, folder: str) -> list[dict[str, object]]:
        below = folder + "/" if folder else ""
        rows: dict[str, dict[str, object]] = {}
        for file in repository.files:
            if file.startswith(below):
                inside, more, _ = file[len(below):].partition("/")
                place = below + inside
                rows[place] = {"type": "directory", "path": place, "oid": "0" * 40, "size": 0} if more else \
                    self._row(repository, file)
        recursive = "recursive=true" in urlsplit(self.path).query.lower()
        deeper = [row for place, entry in rows.items() if entry["type"] == "directory" and recursive
                  for row in self._tree(repository, place)]
        return [*rows.values(), *deeper]

    def _content(self, repository: Repository, file: str) -> None:
        """Ranges with an end too, as Parquet is read."""
        whole, asked = repository.files[file], self.headers.get("Range", "").removeprefix("bytes=")
        first, _, last = asked.partition("-")
        begin, end = int(first or 0), min(int(last or len(whole) - 1), len(whole) - 1)
        limits = {"Content_Range": f"bytes {begin}-{end}/{len(whole)}"} if asked else {}
        self._begin(206 if asked else 200, repository, file, end - begin + 1, **limits)
        self._write(whole[begin:end + 1], repository)


def picture_bytes(shade: int, kind: str = "JPEG") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (16, 16), (shade, 90, 30)).save(out, kind)
    return out.getvalue()


def parquet(rows: Sequence[dict[str, Any]], images: Sequence[str] = ("image",)) -> bytes:
    """A Parquet file as the library writes it, so that columns of pictures are known as such."""
    import datasets
    import pyarrow.parquet

    found = datasets.Dataset.from_list(list(rows))
    for name in images:
        found = found.cast_column(name, datasets.Image())
    out = io.BytesIO()
    table = found.data.table.replace_schema_metadata(found.features.arrow_schema.metadata)
    pyarrow.parquet.write_table(table, out)
    return out.getvalue()


def use_data_hub(small: SmallHub, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty hub, an empty cache, and a library that knows no other hub."""
    import datasets
    from huggingface_hub import HfFileSystem, constants

    use_hub(small, cache, monkeypatch)
    monkeypatch.setattr(constants, "HF_HOME", str(cache))
    monkeypatch.setattr(datasets.config, "HF_ENDPOINT", small.address)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache / "arrow")
    monkeypatch.setattr(datasets.config, "STREAMING_READ_MAX_RETRIES", 1)
    HfFileSystem.clear_instance_cache()

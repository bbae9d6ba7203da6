"""What a small hub takes: new repositories, large files by git-lfs' basic transfer, commits.

It speaks what huggingface_hub's `create_repo` and `create_commit` ask for (https://huggingface.co/docs/hub/api,
https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md).
"""

from __future__ import annotations

import base64
import hashlib
import json
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from small_hub import SmallHub

KEY, OWNER = "hf_key_that_may_write", "anna"  # it may write to repositories of anna, and to no other


class Uploads:
    """Part of the small hub's handler: POST and PUT."""

    small_hub: SmallHub
    headers: Any
    rfile: Any
    path: str

    def take(self, parts: list[str]) -> None:
        """Answer a POST or PUT to a path of these parts."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        repo = "/".join(parts[2:4])
        if parts == ["api", "validate-yaml"]:
            self._validate(json.loads(body)["content"])
        elif parts[0] == "lfs":
            self._keep(parts[1], body)
        elif self.headers.get("Authorization") != f"Bearer {KEY}":
            self._refuse(401, "Unauthorized")
        elif parts == ["api", "repos", "create"]:
            self._create(json.loads(body))
        elif parts[-2:] == ["objects", "batch"]:
            self._batch(json.loads(body))
        elif not repo.startswith(f"{OWNER}/"):
            self._refuse(403, "Forbidden")
        elif parts[4] == "preupload":
            self._json({"files": [{"path": file["path"], "shouldIgnore": False,
                                   "uploadMode": "lfs" if file["path"].endswith(".safetensors") else "regular"}
                                  for file in json.loads(body)["files"]]})
        else:
            self._commit(repo, [json.loads(line) for line in body.splitlines()])

    def _validate(self, card: str) -> None:
        header = yaml.safe_load(card.split("---")[1])
        bad = [f"{name} is no license" for name in [header.get("license", "mit")] if not str(name).islower()]
        self._json({"errors": [{"message": message} for message in bad], "warnings": []}, 400 if bad else 200)

    def _create(self, asked: dict[str, Any]) -> None:
        from small_hub import Repository

        name = f"{asked['organization']}/{asked['name']}"
        if asked["organization"] != OWNER:
            self._refuse(403, "Forbidden")
        elif name in self.small_hub.repositories:
            self._json({"url": f"{self.small_hub.address}/{name}"}, 409)
        else:
            self.small_hub.repositories[name] = Repository(files={}, private=asked["visibility"] == "private")
            self._json({"url": f"{self.small_hub.address}/{name}"})

    def _batch(self, asked: dict[str, Any]) -> None:
        self._json({"transfer": "basic", "objects": [
            {**one, "actions": {"upload": {"href": f"{self.small_hub.address}/lfs/{one['oid']}"}}}
            for one in asked["objects"]]})

    def _keep(self, oid: str, body: bytes) -> None:
        self.small_hub.hold.wait(60)
        if hashlib.sha256(body).hexdigest() == oid:
            self.small_hub.blobs[oid] = body
            self._json({})
        else:
            self._refuse(422, "WrongHash")

    def _commit(self, repo: str, lines: list[dict[str, Any]]) -> None:
        files = self.small_hub.repositories[repo].files
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.small_hub.blobs[value["oid"]]
        self._json({"commitUrl": f"{self.small_hub.address}/{repo}/commit/main", "commitOid": "0" * 40,
                    "pullRequestUrl": None})

    def _json(self, value: object, code: int = 200) -> None:
        raise NotImplementedError

    def _refuse(self, code: int, why: str) -> None:
        raise NotImplementedError

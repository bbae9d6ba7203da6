"""A variant sent to a repository of the Hub, in one commit, with a card that says what was measured."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from narrator.catalog import find_variant
from narrator.hub.cache import is_hub_id
from narrator.hub.exporting import Content, Report, contents
from narrator.hub.pulling import check_hub
from narrator.records import NarratorError, Variant

TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
_KEYS = "https://huggingface.co/settings/tokens"


def token() -> str:
    """The key of the environment, "" where there is none. Nothing else is asked: no file, no form."""
    return next((found for name in TOKENS if (found := os.environ.get(name, "").strip())), "")


def push_variant(variant_id: str, repo_id: str, *, private: bool = False, report: Report | None = None) -> str:
    """Commit a variant's files to the main branch of a repository, which is made where it is not there; its address.

    What is sent is what `export_variant` writes. report: told the bytes of weights sent, and all of them. Raises
    NarratorError: no key in the environment, no name of a repository, a variant that is on the Hub already or cannot be
    exported, a hub that does not answer within 3 s, a repository that the key may not write to, or that is public where
    a private one was asked for, a card that the hub does not take, a broken connection.
    """
    variant = find_variant(variant_id)
    repo_id = repo_id.strip()
    if not is_hub_id(repo_id):
        raise NarratorError(f"{repo_id[:100]!r} is no name of a repository: write USER/NAME, such as anna/my-narrator.")
    if is_hub_id(variant.source) and variant.adapter is None:
        raise NarratorError(f"{variant.title} is on the Hub already, as {variant.source}: there is nothing to push.")
    key = token()
    if not key:
        raise NarratorError(f"Pushing needs a key of yours that may write: make one on {_KEYS}, set it as HF_TOKEN in "
                            "the environment, then start again.")
    check_hub(f"{variant.title} cannot be pushed")
    with contents(variant) as files, _told(variant, repo_id):
        return _commit(key, repo_id, private, files, report or (lambda done, total: None))


def _commit(key: str, repo: str, private: bool, files: Mapping[str, Content], report: Report) -> str:
    from huggingface_hub import CommitOperationAdd, HfApi, constants
    from huggingface_hub.utils import logging

    logging.set_verbosity_error()  # it would say that these are not sent by Xet
    api = HfApi(endpoint=constants.ENDPOINT, token=key)
    address = str(api.create_repo(repo, private=private, exist_ok=True))
    if private and not api.model_info(repo).private:
        raise NarratorError(f"The repository {repo} is there already, and public: push to another one, or make it "
                            "private in its settings first. Nothing was sent.")
    meter = _Meter(report)
    additions = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=content if isinstance(content, bytes)
                                    else meter.opened(content))
                 for name, content in files.items()]
    try:
        meter.begin()
        api.create_commit(repo, additions, commit_message="Pushed by Visual Narrator")
    finally:
        meter.close()
    return address


class _Meter:
    """Counts the bytes that are read of several files, once hashing is over."""

    def __init__(self, report: Report) -> None:
        self.report, self.done, self.total = report, 0, 0
        self.files: list[_Counted] = []

    def opened(self, path: Any) -> io.BufferedReader:
        """The file, counted."""
        file = _Counted(path, self._read)
        self.files.append(file)
        self.total += path.stat().st_size
        return file

    def begin(self) -> None:
        """From now on what is read is sent."""
        for file in self.files:
            file.counting = True
        self.report(0, self.total)

    def close(self) -> None:
        for file in self.files:
            file.close()

    def _read(self, count: int) -> None:
        self.done = min(self.done + count, self.total)  # a part that is sent again is not counted twice
        self.report(self.done, self.total)


class _Counted(io.BufferedReader):
    """A file that tells how much of it is read."""

    def __init__(self, path: Any, tell: Callable[[int], None]) -> None:
        super().__init__(io.FileIO(path))
        self.tell_read, self.counting = tell, False

    def read(self, size: int | None = -1, /) -> bytes:
        """As of any file."""
        piece = super().read(size)
        if self.counting and piece:
            self.tell_read(len(piece))
        return piece


@contextmanager
def _told(variant: Variant, repo: str) -> Iterator[None]:
    """What the hub, or the way to it, does wrong, in a sentence. The library's own words may hold addresses: of them
    only the hub's message is shown."""
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError

    try:
        yield
    except (httpx2.HTTPError, RuntimeError, ValueError, KeyError) as error:
        cause = error.__cause__ if isinstance(error, RuntimeError) and error.__cause__ is not None else error
        code = cause.response.status_code if isinstance(cause, HfHubHTTPError) else 0
        if code in (401, 403, 404):
            said = (f"the hub does not let this key write to {repo}: check the name, and that the key in HF_TOKEN may "
                    f"write there ({_KEYS})")
        elif isinstance(cause, HfHubHTTPError):
            words = " ".join((cause.server_message or "").split())[:200]
            said = f"the hub answers with error {code}{f' ({words})' if words else ''}: try again later"
        elif isinstance(cause, httpx2.HTTPError):
            said = f"the connection broke ({type(cause).__name__}): try again; what was sent is not sent twice"
        elif "metadata" in str(cause):
            said = f"the hub does not take the header of its card ({' '.join(str(cause).split())[:200]}): correct it"
        else:
            said = f"what answers is no hub ({type(cause).__name__}): check HF_ENDPOINT"
        raise NarratorError(f"{variant.title} was not pushed: {said}.") from error

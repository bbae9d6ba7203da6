"""Downloads a variant of the Hub in a process of its own: progress, Stop, and one sentence for each failure."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

from narrator.hub.cache import DEEPER, KINDS, is_hub_id, local_folder, lock_path, storage
from narrator.records import NarratorError, Variant
from narrator.turns import Stopped
from narrator.weights import check_checkpoint, stored_bytes

Report = Callable[[int, int], None]  # (bytes here, bytes in all)
FETCH = Path(__file__).with_name("fetch.py")
PROBE_S = 2.5  # seconds in which the Hub has to answer at all
QUIET_S = 120.0  # seconds without a sign of life; the process itself gives up on a connection after 10
_POLL_S = 0.05
_QUIETLY = {"HF_HUB_DISABLE_XET": "1",  # plain HTTP can go on where it ended, and its bytes can be counted
            "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_VERBOSITY": "error"}


def pull(variant: Variant, report: Report | None = None, stop: threading.Event | None = None) -> Path:
    """Download a variant of the Hub into the shared cache, unless it is here; the folder of its files.

    What an earlier attempt brought is kept and gone on from. Raises Stopped when `stop` is set, and NarratorError: no
    model of the Hub, a hub that does not answer within 3 s, a repository that is unknown, closed, without safetensors,
    too large for the disk or not as large as promised, a broken connection.
    """
    if not is_hub_id(variant.source):
        raise NarratorError(f"{variant.title} is not a model of the Hub: there is nothing to download.")
    folder = local_folder(variant)
    if folder is not None:
        return folder
    _probe(variant)
    with contextlib.closing(_answers(_request(variant), stop)) as answers:
        for answer in answers:
            if "refusal" in answer:
                raise NarratorError(_sentence(variant, answer))
            if "folder" in answer:
                folder = Path(answer["folder"])
                break
            if report is not None:
                report(int(answer["done"]), int(answer["total"]))
    if folder is None:
        raise NarratorError(f"The download of {variant.title} ended unexpectedly: try again; what is here is kept.")
    check_checkpoint(dataclasses.replace(variant, source=str(folder)))
    return folder


def _request(variant: Variant) -> dict[str, Any]:
    from huggingface_hub import constants

    return {"repo": variant.source, "revision": variant.revision, "endpoint": constants.ENDPOINT,
            "cache": str(Path(constants.HF_HUB_CACHE).resolve()), "storage": str(storage(variant.source)),
            "lock": str(lock_path(variant.source)), "allow": KINDS, "ignore": DEEPER, "promised": stored_bytes(variant)}


def _probe(variant: Variant) -> None:
    """Raise NarratorError within 3 s where no hub answers. In a thread, as looking a name up knows no time limit."""
    import httpx2
    from huggingface_hub import constants, get_session

    found: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def ask() -> None:
        try:
            session.head(constants.ENDPOINT, timeout=PROBE_S, follow_redirects=False)
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError):
            found.put(False)
        else:
            found.put(True)

    if constants.HF_HUB_OFFLINE:
        raise NarratorError(f"{variant.title} cannot be downloaded while HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set"
                            ": take that away and start again.")
    session = get_session()  # before the clock starts: certificates are read
    threading.Thread(target=ask, name="probe", daemon=True).start()
    try:
        answered = found.get(timeout=PROBE_S + 0.2)
    except queue.Empty:
        answered = False
    if not answered:
        raise NarratorError(f"{variant.title} cannot be downloaded: the hub {constants.ENDPOINT} does not answer. "
                            "Check the network, then try again; models that are here work without it.")


def _answers(request: dict[str, Any], stop: threading.Event | None) -> Generator[dict[str, Any], None, None]:
    """The process's answers as they come; closing the iterator ends it."""
    process = subprocess.Popen([sys.executable, "-P", str(FETCH)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL, env={**os.environ, **_QUIETLY}, start_new_session=True)
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(process, lines), name="pull", daemon=True).start()
    try:
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it died: reading its answer finds out
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()  # and stays open: its end is the process's end
        heard = time.monotonic()
        while True:
            if stop is not None and stop.is_set():
                raise Stopped
            try:
                line = lines.get(timeout=_POLL_S)
            except queue.Empty:
                if time.monotonic() - heard > QUIET_S:
                    raise NarratorError(f"The hub has been silent for {QUIET_S:.0f} seconds: try again; what is here "
                                        "is kept.") from None
                continue
            if not line.endswith(b"\n"):
                return
            heard = time.monotonic()
            yield json.loads(line)
    finally:
        process.kill()
        process.wait()


def _read(process: subprocess.Popen, lines: queue.SimpleQueue) -> None:
    assert process.stdin is not None and process.stdout is not None
    with process.stdout as out:
        for line in out:
            lines.put(line)
    lines.put(b"")
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()


def size(count: int) -> str:
    """Bytes for people: "351 MB", "3.1 GB"."""
    for unit, one in (("TB", 10**12), ("GB", 10**9)):
        if count >= one:
            return f"{count / one:.1f} {unit}"
    return f"{count / 10**6:.0f} MB" if count >= 10**6 else f"{max(count, 0) / 1000:.0f} kB"


def _sentence(variant: Variant, answer: dict[str, Any]) -> str:
    """What a refusal means, and what to do."""
    repo, page, title = variant.source, f"https://huggingface.co/{variant.source}", variant.title
    promised, sent = int(answer.get("promised", 0)), int(answer.get("sent", 0))
    sentences = {
        "gated": f"{title}: its owner shows {repo} only to people who have agreed to its terms: agree on {page}, make "
                 "a key there, set it as HF_TOKEN, then try again.",
        "unknown": f"{title}: the hub knows no {repo}, or does not show it to you: check the name in the catalog, or "
                   "set HF_TOKEN to a key that may read it.",
        "revision": f"{title}: {repo} has no revision '{variant.revision}': correct it in the catalog.",
        "no-safetensors": f"{title}: {repo} holds no weights as safetensors, and other formats can carry programs: "
                          "nothing was downloaded; choose another model.",
        "no-config": f"{title}: {repo} has no config.json, so it is no model of transformers: nothing was downloaded.",
        "promise": f"{title}: {repo} holds {size(sent)} of weights, and the catalog says {size(promised)}: nothing was "
                   "downloaded; correct 'parameters' and 'dtype' in the catalog if the larger one is right.",
        "size": f"{title}: the hub promised {promised:,} bytes of {answer.get('name')} and sends {sent:,}: that file "
                "was not taken; try again later, or tell the owner of the repository.",
        "damaged": f"{title}: a file arrived damaged (its hash is wrong) and was not taken: try again.",
        "no-space": f"{title} needs {size(int(answer.get('needed', 0)))} of free disk and there are "
                    f"{size(int(answer.get('free', 0)))}: free some space, or set HF_HOME to a folder on another disk.",
        "disk": f"{title} cannot be saved ({answer.get('says')}): free some space or check the permissions of "
                f"{storage(repo).parent}, then try again; what is here is kept.",
        "busy": f"{title} is being downloaded already, by another window or program: wait for it.",
        "broken": f"{title}: the connection broke ({answer.get('says')}): try again; what is here is kept.",
        "answer": f"{title}: the hub answers with error {answer.get('code')}: try again later; what is here is kept.",
        "no-hub": f"{title}: what answers is no hub ({answer.get('says')}): check HF_ENDPOINT.",
    }
    return sentences[answer["refusal"]]

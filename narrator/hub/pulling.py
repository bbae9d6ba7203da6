"""Downloads a variant of the Hub in a process of its own: progress, Stop, and one sentence for each failure."""

from __future__ import annotations

import contextlib
import dataclasses
import queue
import sys
import threading
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

from narrator.hub.cache import DEEPER, KINDS, is_hub_id, local_folder, lock_path, storage
from narrator.hub.cards import CARD
from narrator.hub.children import QUIET_S, Silence, answers
from narrator.records import NarratorError, Variant
from narrator.weights import check_checkpoint, stored_bytes

Report = Callable[[int, int], None]  # (bytes here, bytes in all)
FETCH = Path(__file__).with_name("fetch.py")
PROBE_S = 2.5  # seconds in which the Hub has to answer at all
QUIETLY = {"HF_HUB_DISABLE_XET": "1",  # plain HTTP can go on where it ended, and its bytes can be counted
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
    check_hub(f"{variant.title} cannot be downloaded")
    with contextlib.closing(_answers(variant, stop)) as told:
        for answer in told:
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


def look(variant: Variant) -> dict[str, Any]:
    """What the hub says of a variant's repository (narrator/hub/fetch.py: look); nothing is kept. Raises NarratorError
    as `pull` does."""
    check_hub(f"{variant.source} cannot be looked up")
    with contextlib.closing(_answers(variant, None, look=True)) as told:
        for answer in told:
            if "refusal" in answer:
                raise NarratorError(_sentence(variant, answer))
            if "found" in answer:
                return dict(answer["found"])
    raise NarratorError(f"{variant.source} cannot be looked up: the hub's answer ended unexpectedly; try again.")


def _request(variant: Variant) -> dict[str, Any]:
    from huggingface_hub import constants

    return {"repo": variant.source, "revision": variant.revision, "endpoint": constants.ENDPOINT,
            "cache": str(Path(constants.HF_HUB_CACHE).resolve()), "storage": str(storage(variant.source)),
            "lock": str(lock_path(variant.source)), "allow": [*KINDS, CARD], "ignore": DEEPER,
            "promised": stored_bytes(variant)}


def hub_answers() -> bool:
    """Whether a hub answers, within 3 s. In a thread, as looking a name up knows no time limit."""
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

    session = get_session()  # before the clock starts: certificates are read
    threading.Thread(target=ask, name="probe", daemon=True).start()
    try:
        return found.get(timeout=PROBE_S + 0.2)
    except queue.Empty:
        return False


def check_hub(what: str) -> None:
    """Raise NarratorError within 3 s where no hub answers. what: the beginning of the sentence, "X cannot be ..."."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise NarratorError(f"{what} while HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set: take that away and start "
                            "again.")
    if not hub_answers():
        raise NarratorError(f"{what}: the hub {constants.ENDPOINT} does not answer. Check the network, then try again; "
                            "models that are here work without it.")


def _answers(variant: Variant, stop: threading.Event | None, *, look: bool = False
             ) -> Generator[dict[str, Any], None, None]:
    try:
        yield from answers([sys.executable, "-P", str(FETCH)], {**_request(variant), "look": look}, stop, QUIETLY)
    except Silence:
        raise NarratorError(f"The hub has been silent for {QUIET_S:.0f} seconds: try again; what is here is "
                            "kept.") from None


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
        "unknown": f"{title}: the hub knows no {repo}, or does not show it to you: check the name, or "
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

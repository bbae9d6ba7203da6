"""Downloads in the background: a page that is closed or loaded anew finds them where they are."""

from __future__ import annotations

import dataclasses
import functools
import threading
from typing import Literal

from narrator.hub.pulling import pull, size
from narrator.records import NarratorError, Variant
from narrator.turns import Stopped


@dataclasses.dataclass(frozen=True, kw_only=True)
class Download:
    """How far a download is, in bytes (0 of 0 while the hub is being asked); `says`: how it ended, in a sentence."""

    variant: Variant
    done: int = 0
    total: int = 0
    state: Literal["running", "done", "stopped", "failed"] = "running"
    says: str = ""


class Downloads:
    """One at most for each variant, each in a thread that watches its process."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._known: dict[str, Download] = {}
        self._stops: dict[str, threading.Event] = {}

    def start(self, variant: Variant) -> None:
        """Begin, or go on with, a download. Raises NarratorError while it runs already."""
        with self._guard:
            known = self._known.get(variant.id)
            if known is not None and known.state == "running":
                raise NarratorError(f"{variant.title} is being downloaded already.")
            self._known[variant.id] = Download(variant=variant)
            self._stops[variant.id] = stop = threading.Event()
        threading.Thread(target=self._run, args=(variant, stop), name="download", daemon=True).start()

    def cancel(self, variant_id: str) -> bool:
        """Ask a download to stop; whether one was running. What it brought is kept."""
        known = self.find(variant_id)
        if known is None or known.state != "running":
            return False
        self._stops[variant_id].set()
        return True

    def find(self, variant_id: str) -> Download | None:
        """The variant's latest download of this process."""
        with self._guard:
            return self._known.get(variant_id)

    def running(self) -> list[Download]:
        """Those that have not ended, the oldest first."""
        with self._guard:
            return [download for download in self._known.values() if download.state == "running"]

    def _run(self, variant: Variant, stop: threading.Event) -> None:
        def report(done: int, total: int) -> None:
            self._set(variant.id, done=done, total=total)

        end = {"state": "failed", "says": f"The download of {variant.title} ended unexpectedly: try again."}
        try:
            pull(variant, report, stop)
            end = {"state": "done", "says": f"{variant.title} is here now."}
        except Stopped:
            end = {"state": "stopped", "says": f"Stopped. What is here of {variant.title} is kept: Download goes on "
                                               "from there."}
        except NarratorError as error:
            end = {"state": "failed", "says": str(error)}
        finally:
            self._set(variant.id, **end)

    def _set(self, variant_id: str, **values: object) -> None:
        with self._guard:
            self._known[variant_id] = dataclasses.replace(self._known[variant_id], **values)  # type: ignore[arg-type]


@functools.cache
def shared_downloads() -> Downloads:
    """Those of this process."""
    return Downloads()


def progress(download: Download) -> str:
    """ "1.2 of 3.4 GB (35 %)", or a sentence while the hub is being asked."""
    if not download.total:
        return "Asking the hub …"
    return f"{size(download.done)} of {size(download.total)} ({download.done / download.total:.0%})"

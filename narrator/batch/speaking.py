"""The descriptions of a batch as sounds: one WAV for each text, however many pictures say it."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from narrator.batch.journal import Entry
from narrator.batch.plan import BatchPlan, Row
from narrator.records import NarratorError

log = logging.getLogger(__name__)


def check_voice(plan: BatchPlan) -> None:
    """Raise NarratorError where nothing can speak: nobody should wait for that."""
    if plan.speak:
        from narrator.speech import engine

        engine()


class Speaker:
    """Speaks rows, several at once, into `home`/sounds; a sound is there whole before its row says so."""

    def __init__(self, plan: BatchPlan) -> None:
        self.plan = plan
        self.folder = plan.home / "sounds"

    def spoken(self, entries: Sequence[Entry]) -> list[Entry]:
        """The same with `audio`; without it where the voice failed, which the log tells."""
        if not self.plan.speak:
            return list(entries)
        self.folder.mkdir(exist_ok=True)
        texts = {row.said(self.plan.audience) for row in (entry.row for entry in entries) if row.error is None}
        with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
            made = dict(zip(texts, pool.map(self._speak, texts), strict=True))
        return [dataclasses.replace(entry, row=self._with_sound(entry.row, made)) for entry in entries]

    def _with_sound(self, row: Row, made: dict[str, Path | None]) -> Row:
        sound = made.get(row.said(self.plan.audience)) if row.error is None else None
        return row if sound is None else dataclasses.replace(row, audio=f"{self.plan.sounds.name}/{sound.name}")

    def _speak(self, text: str) -> Path | None:
        from narrator.speech import engine

        name = hashlib.sha256(f"{self.plan.voice}\n{text}".encode()).hexdigest()[:16]
        path = self.folder / f"{name}.wav"
        if path.exists():
            return path
        try:
            engine().synthesize(text, path, voice=self.plan.voice)
        except NarratorError as error:
            log.warning("%s is not spoken: %s", ascii(text[:60]), error)
            return None
        return path

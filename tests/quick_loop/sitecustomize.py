"""Python imports this when it starts with the folder on PYTHONPATH: `python -m trainer` then trains with the loop
beside this file, which needs no torch. Everything else is the real thing: command line, worker, locks, events, signals.
"""

import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType


class QuickLoop:
    """Finds trainer.loop beside this file."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
                  ) -> importlib.machinery.ModuleSpec | None:
        if name != "trainer.loop":
            return None
        return importlib.util.spec_from_file_location(name, Path(__file__).with_name("loop.py"))


sys.meta_path.insert(0, QuickLoop)

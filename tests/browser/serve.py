"""app.py with one family more: `plumbing.Sayer`, which says given words at a given pace. Stop needs something slow.

TEST_SHIPPED: a file to read instead of variants.yaml. TEST_HOLD: while this file is there, no upload on the Train tab
gets further.
"""

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import app  # noqa: E402
from narrator import catalog  # noqa: E402
from narrator.families import FAMILIES  # noqa: E402

FAMILIES["sayer"] = "plumbing:Sayer"
catalog.SHIPPED = Path(os.environ.get("TEST_SHIPPED", catalog.SHIPPED))


def hold_uploads(file: Path) -> None:
    """See TEST_HOLD. Whoever stops an upload that is held up ends it."""
    from narrator.unpacking import Tell, nobody
    from trainer.tab import data_sources

    describe = data_sources.describe_upload

    def held(paths: Sequence[Path], folder: Path, tell: Tell = nobody) -> dict[str, Any]:
        def heard(done: int, total: int) -> None:
            tell(done, total)
            while file.exists():
                time.sleep(0.05)
                tell(done, total)
        return describe(paths, folder, heard)

    data_sources.describe_upload = held  # type: ignore[assignment]


if "TEST_HOLD" in os.environ:
    hold_uploads(Path(os.environ["TEST_HOLD"]))
if __name__ == "__main__":
    sys.exit(app.main(sys.argv[1:]))

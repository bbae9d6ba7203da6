"""app.py with one family more: `plumbing.Sayer`, which says given words at a given pace. Stop needs something slow.

TEST_SHIPPED: a file to read instead of variants.yaml.
"""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import app  # noqa: E402
from narrator import catalog  # noqa: E402
from narrator.families import FAMILIES  # noqa: E402

FAMILIES["sayer"] = "plumbing:Sayer"
catalog.SHIPPED = Path(os.environ.get("TEST_SHIPPED", catalog.SHIPPED))

if __name__ == "__main__":
    sys.exit(app.main(sys.argv[1:]))

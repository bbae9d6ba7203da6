"""app.py with one family more: `plumbing.Sayer`, which says given words at a given pace. Stop needs something slow."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import app  # noqa: E402
from narrator.families import FAMILIES  # noqa: E402

FAMILIES["sayer"] = "plumbing:Sayer"

if __name__ == "__main__":
    sys.exit(app.main(sys.argv[1:]))

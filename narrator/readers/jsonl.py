"""JSON lines: {"image": path, "captions": [...], "split"} or "caption"; {"image_id", "captions"} is text alone.

The rows are read by the rule that the narrator measures by (narrator.rows).
"""

from narrator.readers.rows import read_jsonl as read

__all__ = ["read"]

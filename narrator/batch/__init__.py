"""Pictures by the hundred thousand: a folder, zip or list of them -> a row each, in one file.

    report = run(BatchPlan(variant="photo-captioner", sources=("holiday",), out=Path("holiday.jsonl")))
"""

from narrator.batch.plan import FORMATS, BatchPlan, Format, Item, Progress, Report, Row, row_json
from narrator.batch.running import discard, plan_files, resumable, rows_so_far, run
from narrator.batch.writers import write_rows

__all__ = ["FORMATS", "BatchPlan", "Format", "Item", "Progress", "Report", "Row", "discard", "plan_files",
           "resumable", "row_json", "rows_so_far", "run", "write_rows"]

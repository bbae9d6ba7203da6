"""The Train tab. It imports no torch, and of the trainer only jobs, queue, events, config,
archives and launch."""

from trainer.tab.page import TITLE, dressed, train_tab, upload_limit
from trainer.tab.runs import go_on

__all__ = ["TITLE", "dressed", "go_on", "train_tab", "upload_limit"]

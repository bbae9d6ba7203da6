"""The Train tab. It imports no torch, and of the trainer only jobs, queue, events, config,
archives and launch."""

from trainer.tab.page import TITLE, dressed, train_tab, upload_limit

__all__ = ["TITLE", "dressed", "train_tab", "upload_limit"]

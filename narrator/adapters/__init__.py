"""Adapters: small weights (LoRA, in PEFT's form) that change a base which stays as it is. Put beside a base of the
catalog, or worked into a copy of it."""

from narrator.adapters.adding import TAKE_ADAPTERS, add_adapter
from narrator.adapters.merging import merge_adapter

__all__ = ["TAKE_ADAPTERS", "add_adapter", "merge_adapter"]

"""Before a training: data, base, disk, memory and time looked at, each finding in a sentence with its remedy."""

from trainer.preflight.findings import Finding

__all__ = ["Finding"]

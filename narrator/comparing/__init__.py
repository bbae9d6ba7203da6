"""Variants side by side: 2 to 4 of them about the same picture or prompt, their texts, their figures, and a file or a
link that holds both."""

from narrator.comparing.records import MOST, Comparison, Entrant, Progress, Result, figures
from narrator.comparing.running import again, compare
from narrator.comparing.words import only_here

__all__ = ["MOST", "Comparison", "Entrant", "Progress", "Result", "again", "compare", "figures", "only_here"]

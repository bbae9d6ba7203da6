"""The door for models that somebody else saved: a folder of transformers, or a repository of the Hub, becomes a variant
of the catalog, under checkpoints/ or NARRATOR_CHECKPOINTS, once it is known what it is and that it is whole."""

from narrator.adding.folders import add_folder
from narrator.adding.repositories import add_repository

__all__ = ["add_folder", "add_repository"]

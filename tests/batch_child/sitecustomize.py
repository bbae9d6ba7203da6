"""Python imports this when it starts with the folder on PYTHONPATH: the family of batching.py is known then."""

from narrator.families import FAMILIES

FAMILIES["teller"] = "batching:Teller"

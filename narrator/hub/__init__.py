"""Models of the Hugging Face Hub: what is on this machine, and, only when somebody asks, how it gets here and goes.

Nothing but `pull` uses the network. Files live in the cache that every program with huggingface_hub shares (HF_HOME,
HF_HUB_CACHE); HF_ENDPOINT names another hub, HF_TOKEN holds a key for models that want one.
"""

from narrator.hub.cache import disk_bytes, is_hub_id, local_folder, remove, resolve
from narrator.hub.downloads import Download, Downloads, shared_downloads
from narrator.hub.pulling import pull

__all__ = ["Download", "Downloads", "disk_bytes", "is_hub_id", "local_folder", "pull", "remove", "resolve",
           "shared_downloads"]

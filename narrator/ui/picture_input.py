"""The picture widgets: Gradio's own, except that they hand over nothing but files that were uploaded."""

from __future__ import annotations

import functools
from abc import ABCMeta
from collections.abc import Callable
from typing import Any

from narrator.records import NarratorError
from narrator.uploads import uploaded_path


def picture_input(**more: Any) -> Any:
    """A component for dropping, choosing, pasting or taking a picture; handlers get the path of the uploaded file."""
    return guarded("Image", _uploaded)(**{
        "label": "Picture", "type": "filepath", "sources": ["upload", "clipboard", "webcam"], "height": 330,
        "elem_id": "picture", "buttons": [], "alt_text": "The picture to describe", "format": "png",
        "placeholder": "Drop a picture here\nor click to choose one", **more})


def more_pictures(label: str, **more: Any) -> Any:
    """A component for further pictures of the same prompt; handlers get a list of paths of uploaded files."""
    return guarded("Gallery", _all_uploaded)(label=label, type="filepath", file_types=["image"], columns=4, height=170,
                                              object_fit="contain", elem_id="more-pictures", buttons=[],
                                              interactive=True, allow_preview=False, **more)


def files_input(label: str, **more: Any) -> Any:
    """A component for files of any kind; handlers get a list of paths of uploaded files."""
    return guarded("File", _files)(label=label, type="filepath", file_count="multiple", buttons=[], interactive=True,
                                    **more)


@functools.cache
def guarded(name: str, read: Callable[[Any], Any]) -> Any:
    """A subclass of the component `gr.<name>`, whose handlers get what `read` makes of a payload.

    Gradio's own would open any file, and would fetch a web address that a crafted request names; this one refuses
    both, and leaves opening to `narrator.pictures`. It has to be a class, since Gradio makes a visitor's components
    anew from theirs; and it is made past Gradio's own metaclass, which would write a stub file beside this source.
    """
    import gradio as gr

    kind = getattr(gr, name)

    async def move(self: Any, place: Any) -> str | None:
        path: str | None = await kind.async_move_resource_to_block_cache(self, _no_address(place))
        return path

    parts = {"__module__": __name__, "__doc__": "Guarded.", "get_block_name": lambda self: name.lower(),
             "preprocess": lambda self, payload: read(payload), "async_move_resource_to_block_cache": move}
    return ABCMeta.__new__(type(kind), f"{name}Input", (kind,), parts)


def _uploaded(payload: Any) -> str | None:
    import gradio as gr

    try:
        path = uploaded_path(payload)
    except NarratorError as error:
        raise gr.Error(str(error), print_exception=False) from error
    return None if path is None else str(path)


def _all_uploaded(payload: Any) -> list[str]:
    items = getattr(payload, "root", None) or []
    paths = [_uploaded(getattr(item, "image", None) or getattr(item, "video", None)) for item in items]
    return [path for path in paths if path is not None]


def _files(payload: Any) -> list[str]:
    paths = [_uploaded(item) for item in getattr(payload, "root", None) or []]
    return [path for path in paths if path is not None]


def _no_address(place: Any) -> Any:
    import gradio as gr
    from gradio_client.utils import is_http_url_like

    if is_http_url_like(str(place)):
        raise gr.Error("Web addresses are not read. Save the picture and upload the file.", print_exception=False)
    return place

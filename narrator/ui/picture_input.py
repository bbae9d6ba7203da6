"""The picture widget: Gradio's own, except that it hands over nothing but files that were uploaded."""

from __future__ import annotations

import functools
from abc import ABCMeta
from typing import Any

from narrator.records import NarratorError
from narrator.uploads import uploaded_path


def picture_input() -> Any:
    """A component for dropping, choosing, pasting or taking a picture; handlers get the path of the uploaded file."""
    return _guarded_image()(label="Picture", type="filepath", sources=["upload", "clipboard", "webcam"], height=330,
                            elem_id="picture", buttons=[], alt_text="The picture to describe", format="png",
                            placeholder="Drop a picture here\nor click to choose one")


@functools.cache
def _guarded_image() -> Any:
    """A subclass of `gr.Image`.

    Gradio's own would open the file, and would fetch a web address that a crafted request names; this one refuses
    both, and leaves opening to `narrator.pictures`. It has to be a class, since Gradio makes a visitor's components
    anew from theirs; and it is made past Gradio's own metaclass, which would write a stub file beside this source.
    """
    import gradio as gr

    async def move(self: Any, place: Any) -> str | None:
        path: str | None = await gr.Image.async_move_resource_to_block_cache(self, _no_address(place))
        return path

    parts = {"__module__": __name__, "__doc__": "Uploaded pictures only.", "get_block_name": lambda self: "image",
             "preprocess": lambda self, payload: _uploaded(payload), "async_move_resource_to_block_cache": move}
    return ABCMeta.__new__(type(gr.Image), "PictureInput", (gr.Image,), parts)


def _uploaded(payload: Any) -> str | None:
    import gradio as gr

    try:
        path = uploaded_path(payload)
    except NarratorError as error:
        raise gr.Error(str(error), print_exception=False) from error
    return None if path is None else str(path)


def _no_address(place: Any) -> Any:
    import gradio as gr
    from gradio_client.utils import is_http_url_like

    if is_http_url_like(str(place)):
        raise gr.Error("Web addresses are not read. Save the picture and upload the file.", print_exception=False)
    return place

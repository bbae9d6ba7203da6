"""The picture widget: Gradio's own, except that it hands over nothing but files that were uploaded."""

from __future__ import annotations

from typing import Any

from narrator.records import NarratorError
from narrator.uploads import uploaded_path


def picture_input() -> Any:
    """A `gr.Image` for dropping, choosing, pasting or taking a picture; handlers get the path of the uploaded file.

    Gradio's own would open the file, and would fetch a web address that a crafted request names; this one refuses
    both, and leaves opening to `narrator.pictures`.
    """
    import gradio as gr

    picture = gr.Image(label="Picture", type="filepath", sources=["upload", "clipboard", "webcam"], height=330,
                       elem_id="picture", buttons=[], alt_text="The picture to describe", format="png",
                       placeholder="Drop a picture here\nor click to choose one")
    fetch = picture.async_move_resource_to_block_cache

    async def from_this_machine(place: Any) -> str | None:
        return await fetch(_no_address(place))

    # On the instance: a subclass would make Gradio write a stub file beside its source, and the code may be read-only.
    picture.preprocess = _uploaded
    picture.async_move_resource_to_block_cache = from_this_machine
    return picture


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

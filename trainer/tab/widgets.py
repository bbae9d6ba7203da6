"""Gradio's own widgets, except that they take nothing but uploaded files, and leave refusing to our own sentences."""

from __future__ import annotations

import functools
from abc import ABCMeta
from typing import Any

from narrator.records import NarratorError
from narrator.ui.fields import choice
from narrator.uploads import uploaded_path

__all__ = ["choice", "upload_area", "upload_button"]


def upload_area(**options: Any) -> Any:
    """An area for files; handlers get the paths of uploaded ones."""
    import gradio as gr

    return _made(gr.File, "file", _uploaded)(file_count="multiple", **options)


def upload_button(label: str, **options: Any) -> Any:
    """A button for a file; handlers get a list with its path."""
    import gradio as gr

    return _made(gr.UploadButton, "uploadbutton", _uploaded)(label, **options)


@functools.cache
def _made(kind: Any, name: str, preprocess: Any) -> Any:
    """A subclass, past Gradio's own metaclass, which would write a stub file beside this source.

    It has to be a class, since Gradio makes a visitor's components anew from theirs.
    """
    async def move(self: Any, place: Any) -> str | None:
        from gradio_client.utils import is_http_url_like

        if is_http_url_like(str(place)):
            _refuse("Web addresses are not read. Upload the files themselves.")
        path: str | None = await kind.async_move_resource_to_block_cache(self, place)
        return path

    parts = {"__module__": __name__, "__doc__": "Guarded.", "get_block_name": lambda self: name,
             "preprocess": preprocess, "async_move_resource_to_block_cache": move}
    return ABCMeta.__new__(type(kind), f"Guarded{kind.__name__}", (kind,), parts)


def _uploaded(self: Any, payload: Any) -> list[str]:
    """The paths of the files. A crafted request that names another file is refused."""
    files = getattr(payload, "root", payload)
    files = files if isinstance(files, list) else [files]
    try:
        found = [uploaded_path(file) for file in files]
    except NarratorError as error:
        _refuse(str(error))
    return [str(path) for path in found if path is not None]


def _refuse(sentence: str) -> Any:
    import gradio as gr

    raise gr.Error(sentence, print_exception=False)

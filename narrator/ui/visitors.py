"""Whose page it is: one person's, on a machine of their own, or that of a browser, known by a random secret.

The secret is kept in the browser alone: who does not have it can neither see nor change what is that browser's.
"""

from __future__ import annotations

import re
import secrets
from typing import Any

from narrator.records import NarratorError
from narrator.ui.limits import alone
from narrator.ui.work import QUIETLY

_SECRET = re.compile(r"[\w-]{43}", re.ASCII)


def visitor_of(known: Any) -> str:
    """The secret of a browser: the one that it has, else a new one. "" where the page serves one person."""
    if alone():
        return ""
    return known if isinstance(known, str) and _SECRET.fullmatch(known) else secrets.token_urlsafe(32)


def owner(visitor: Any) -> str:
    """The checked secret, "" where the page serves one person. Raises NarratorError for a browser without a secret on a
    page that serves several people."""
    if alone():
        return ""
    if not isinstance(visitor, str) or not _SECRET.fullmatch(visitor):
        raise NarratorError("This browser keeps nothing for this page, so what is yours could not be told apart from "
                            "what is others': allow it to, then load the page again.")
    return visitor


def visitor_state(page: Any) -> tuple[Any, Any]:
    """(the state that holds the secret, the event after which it does): a browser gets one when it first loads the
    page."""
    import gradio as gr

    # Whoever has the browser has the secret; encrypting it there, as Gradio does, adds nothing to that.
    state = gr.State("") if alone() else gr.BrowserState("", storage_key="narrator-visitor", secret="narrator")
    return state, page.load(visitor_of, state, state, queue=False, **QUIETLY)

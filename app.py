"""Visual Narrator: `python app.py` serves the page on 127.0.0.1:7860; `--window` opens it in a window of its own."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from typing import Any

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # before gradio is imported: nothing is reported anywhere
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

from narrator.records import NarratorError

PYWEBVIEW = "pywebview[qt]>=5" if sys.platform == "linux" else "pywebview>=5"  # elsewhere the system has a web view
NO_WINDOW = f"--window needs pywebview: run `pip install '{PYWEBVIEW}'`, or leave --window out and use a browser."
NO_TOOLKIT = f"--window found nothing that draws windows: run `pip install '{PYWEBVIEW}'`, or leave --window out."
NO_DISPLAY = ("--window needs a display, and there is none (neither DISPLAY nor WAYLAND_DISPLAY is set): leave it out, "
              "and use a browser.")


def main(arguments: list[str] | None = None) -> int:
    """Build the page, serve it until the process ends, and load torch meanwhile. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="app.py", description=__doc__)
    parser.add_argument("--window", action="store_true", help="open in a desktop window instead of a browser")
    window = parser.parse_args(arguments).window
    problem = no_window() if window else None
    if problem:
        print(problem, file=sys.stderr)
        return 2
    try:
        page, address = serve()
    except (NarratorError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    if not window:
        page.block_thread()
        return 0
    problem = show(address)
    page.close()
    if problem:
        print(problem, file=sys.stderr)
    return 2 if problem else 0


def no_window() -> str | None:
    """Why no window can be opened here, in a sentence, or None. It is asked first: without a display Qt aborts."""
    if importlib.util.find_spec("webview") is None:
        return NO_WINDOW
    display = any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"))
    return None if display or sys.platform != "linux" else NO_DISPLAY


def show(address: str) -> str | None:
    """Open the page in a window and wait until it is closed. Returns a sentence where there is no toolkit for it."""
    os.environ.setdefault("PYWEBVIEW_LOG", "critical")  # it would print a traceback for each toolkit that is not here
    import webview

    webview.settings["ALLOW_DOWNLOADS"] = True
    webview.create_window("Visual Narrator", address, width=1280, height=860, min_size=(380, 600))
    try:
        webview.start(private_mode=False)  # what a browser keeps is kept here, too
    except webview.WebViewException:
        return NO_TOOLKIT
    return None


def serve() -> tuple[Any, str]:
    """(the launched page, its address). Raises NarratorError where nothing can be served."""
    from narrator.engine import shared_engine
    from narrator.ui import build_page
    from narrator.ui.limits import launch_options, place
    from narrator.ui.theme import look
    from trainer.tab import TITLE, dressed, go_on, train_tab, upload_limit

    name, port = place()
    page = build_page([(TITLE, train_tab)])
    _, address, _ = page.launch(server_name=name, server_port=port, prevent_thread_lock=True, **dressed(look()),
                                **launch_options() | upload_limit())
    shared_engine().warm()
    go_on()
    return page, address


if __name__ == "__main__":
    sys.exit(main())

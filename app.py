"""Visual Narrator: `python app.py` serves the page on 127.0.0.1:7860; `--window` opens it in a window of its own."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # before gradio is imported: nothing is reported anywhere
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

from narrator.records import NarratorError

NO_WINDOW = "--window needs pywebview: run `pip install 'pywebview>=5'`, or leave --window out and use a browser."


def main(arguments: list[str] | None = None) -> int:
    """Build the page, serve it until the process ends, and load torch meanwhile. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="app.py", description=__doc__)
    parser.add_argument("--window", action="store_true", help="open in a desktop window instead of a browser")
    window = parser.parse_args(arguments).window
    if window:
        try:
            import webview
        except ImportError:
            print(NO_WINDOW, file=sys.stderr)
            return 2
    try:
        page, address = serve()
    except (NarratorError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    if window:
        webview.settings["ALLOW_DOWNLOADS"] = True
        webview.create_window("Visual Narrator", address, width=1280, height=860, min_size=(380, 600))
        webview.start()
        page.close()
    else:
        page.block_thread()
    return 0


def serve() -> tuple[Any, str]:
    """(the launched page, its address). Raises NarratorError where nothing can be served."""
    from narrator.engine import shared_engine
    from narrator.ui import build_page
    from narrator.ui.limits import launch_options, place
    from narrator.ui.theme import look
    from trainer.tab import TITLE, dressed, train_tab, upload_limit

    name, port = place()
    page = build_page([(TITLE, train_tab)])
    _, address, _ = page.launch(server_name=name, server_port=port, prevent_thread_lock=True, **dressed(look()),
                                **launch_options() | upload_limit())
    shared_engine().warm()
    return page, address


if __name__ == "__main__":
    sys.exit(main())

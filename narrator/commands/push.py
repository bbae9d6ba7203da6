"""`narrator push`: send a variant to a repository of the Hub."""

from __future__ import annotations

import argparse

from narrator.commands.pull import Shown

SAYS = "send a variant to a repository of the Hub; the key comes from HF_TOKEN alone"


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("variant", metavar="ID", help="the id of a variant (see `narrator variants`)")
    parser.add_argument("--to", metavar="USER/REPO", required=True, help="the repository; made where it is not there")
    parser.add_argument("--private", action="store_true", help="nobody else may see it")


def run(arguments: argparse.Namespace) -> int:
    from narrator.hub.pushing import push_variant

    shown = Shown()
    try:
        address = push_variant(arguments.variant, arguments.to, private=arguments.private, report=shown)
    finally:
        shown.clear()
    print(f"Pushed: {address}")
    return 0

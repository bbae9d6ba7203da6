"""Changes of a preset from the command line: `--set key=value`, entries of a list by their name."""

from typing import Any

import yaml

from narrator.records import NarratorError


def apply(values: dict[str, Any], change: str) -> None:
    """Set one `dotted.key=value` in nested dicts and lists (list items by name, path or number). Raises NarratorError
    for what is no such change."""
    key, equals, text = change.partition("=")
    if not equals:
        raise NarratorError(f"--set {change}: write it as key=value.")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise NarratorError(f"--set {change}: the value is not valid YAML.") from None
    target: Any = values
    rest = key.strip()
    while isinstance(target, list) or isinstance(target.get(rest.partition(".")[0]), (dict, list)):
        target, rest = _inside(target, rest, change)
        if not rest:
            raise NarratorError(f"--set {change}: {key} is a group of settings; name one of them: {key}.NAME=VALUE.")
    target[rest] = value


def _inside(target: Any, key: str, change: str) -> tuple[Any, str]:
    """The entry of a group that the key begins with, and the rest of the key. Paths in keys hold dots of their own."""
    if isinstance(target, dict):
        name, _, rest = key.partition(".")
        return target[name], rest
    for index, item in enumerate(target):
        for name in (str(index), item.get("name"), item.get("path")):
            if name and (key == name or key.startswith(f"{name}.")):
                return item, key[len(name) + 1:]
    known = ", ".join(str(item.get("name") or item.get("path")) for item in target)
    raise NarratorError(f"--set {change}: there is no entry '{key.partition('.')[0]}'. There are: {known}.")

"""A number declares its unit, range and meaning once; form, flags and file all read that declaration."""

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping
from typing import Any

from narrator.records import NarratorError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Knob:
    """What a setting means to a person: `unit` ("" for none), closed range `low`..`high` (None for open), `says`;
    `recipes`: the only training recipes that use it (() for all)."""

    unit: str
    says: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    recipes: tuple[str, ...] = ()


def knob(default: Any, *, says: str, unit: str = "", low: float | None = None, high: float | None = None,
         choices: tuple[str, ...] = (), recipes: tuple[str, ...] = ()) -> Any:
    """A dataclass field that carries its `Knob`. `default` may be a value or a zero-argument callable for
    containers."""
    metadata = {"knob": Knob(unit=unit, says=says, low=low, high=high, choices=choices, recipes=recipes)}
    if isinstance(default, (list, dict)) or callable(default):
        factory = default if callable(default) else lambda: type(default)(default)
        return dataclasses.field(default_factory=factory, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def knobs(kind: type) -> dict[str, tuple[dataclasses.Field, Knob]]:
    """The settings of a dataclass, in order: name -> (field, its Knob)."""
    return {field.name: (field, field.metadata["knob"])
            for field in dataclasses.fields(kind) if "knob" in field.metadata}


def refuse_unknown(names: typing.Iterable[str], known: typing.Iterable[str], where: str) -> None:
    """Raise NarratorError for the first name that is not known, with the closest known one as a hint."""
    known = list(known)
    for name in map(str, names):  # YAML has keys that are no text
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean '{close[0]}'?" if close else f" Known settings: {', '.join(known)}."
            raise NarratorError(f"{where}: unknown setting '{name}'.{hint}")


def convert(value: Any, field: dataclasses.Field, kind: Any, where: str) -> Any:
    """`value` as the field's declared type and inside its range, else NarratorError. YAML reads `3e-4` as text,
    flags are text."""
    declared: Knob | None = field.metadata.get("knob")
    options = [kind]
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        options = [option for option in typing.get_args(kind) if option is not type(None)]
        if value is None or value == "null":
            return None
    target = options[0]
    try:
        result = _as_type(value, target)
    except (TypeError, ValueError, OverflowError):
        name = getattr(target, "__name__", str(target))
        raise NarratorError(f"{where}: '{field.name}' must be a {_plain(name)}, not {value!r}.") from None
    if declared is not None:
        _check_range(result, field.name, declared, where)
    return result


def build(kind: type, values: Mapping[str, Any], where: str) -> Any:
    """A dataclass of `kind` from a mapping read from a file or from flags. Raises NarratorError by setting name."""
    fields = {field.name: field for field in dataclasses.fields(kind)}
    refuse_unknown(values, fields, where)
    hints = typing.get_type_hints(kind)
    return kind(**{name: convert(value, fields[name], hints[name], where) for name, value in values.items()})


def _as_type(value: Any, target: Any) -> Any:
    if target is bool:
        if isinstance(value, bool):
            return value
        words = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
        if str(value).lower() not in words:
            raise ValueError(value)
        return words[str(value).lower()]
    if target is int:
        number = float(value)
        if isinstance(value, bool) or number != int(number):
            raise ValueError(value)
        return int(number)
    if target is float:
        if isinstance(value, bool):
            raise ValueError(value)
        return float(value)
    if target is str:
        if isinstance(value, (dict, list)):
            raise ValueError(value)
        return str(value)
    origin = typing.get_origin(target) or target
    if origin in (list, tuple, dict):
        if not isinstance(value, (dict if origin is dict else (list, tuple))):
            raise ValueError(value)
        return origin(value)
    return value


def _check_range(value: Any, name: str, declared: Knob, where: str) -> None:
    if declared.choices and value not in declared.choices:
        raise NarratorError(f"{where}: '{name}' must be one of {', '.join(declared.choices)}, not {value!r}.")
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return
    unit = f" {declared.unit}" if declared.unit else ""
    if value != value or (declared.low is not None and value < declared.low) or (
            declared.high is not None and value > declared.high):
        low = "-inf" if declared.low is None else f"{declared.low:g}"
        high = "inf" if declared.high is None else f"{declared.high:g}"
        raise NarratorError(f"{where}: '{name}' must be between {low} and {high}{unit}, not {value:g}.")


def _plain(name: str) -> str:
    return {"int": "whole number", "float": "number", "bool": "true or false", "str": "text"}.get(name, name)

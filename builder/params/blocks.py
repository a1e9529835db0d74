"""A block of params.yaml: a mapping becomes a frozen dataclass, its fields converted to their types and checked."""

import dataclasses
import difflib
import json
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from builder.errors import ParamsError


def read_yaml(file: Path, where: str) -> Any:
    """What a YAML file holds. Raises ParamsError, which begins with ``where``, if it cannot be read."""
    import yaml

    try:
        return yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ParamsError(f"{where}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ParamsError(f"{where}: not YAML: {' '.join(str(error).split())}") from error


def require(fine: bool, key: str, wanted: str, value: object) -> None:
    """Raises ParamsError, in words, unless the value is ``fine``."""
    if not fine:
        raise ParamsError(f"{key} must be {wanted}, not {value!r}")


def check_keys(block: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    """Raises ParamsError for a key that is not known, naming the nearest that is."""
    for key in block:
        if key not in known:
            raise ParamsError(where + _unknown(str(key), known))


def _unknown(key: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.0)
    return f"{key} is unknown" + (f"; the nearest known one is {near[0]}" if near else "")


def build(cls: type, values: Any, where: str, also: Sequence[str] = ()) -> object:
    """The dataclass ``cls`` from a mapping. ``where`` is the key of the block, with a dot behind it; ``also``
    are keys that may have been meant. Raises ParamsError for what is unknown, of the wrong type or out of range.
    """
    if not isinstance(values, Mapping):
        raise ParamsError(f"{where.rstrip('.') or 'params'} must be a mapping, not {values!r}")
    hints = typing.get_type_hints(cls)
    check_keys(values, [*hints, *also], where)
    return cls(**{key: _convert(hints[key], value, where + key) for key, value in values.items()})


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in args:
            return None
        if isinstance(value, str) and str in args:
            return value
        return _convert(next(a for a in args if a is not type(None)), value, where)
    if origin is Literal:
        require(value in args, where, "one of " + ", ".join(map(str, args)), value)
        return value
    if origin is tuple:
        return _convert_tuple(args, value, where)
    if origin is dict:
        require(isinstance(value, Mapping) and _is_json(value), where, "a mapping of plain values", value)
        return dict(value)
    if dataclasses.is_dataclass(hint):
        return build(typing.cast(type, hint), {} if value is None else value, where + ".")
    return _convert_scalar(hint, value, where)


def _is_json(value: Any) -> bool:
    """YAML knows dates and NaN as well."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True


def _convert_tuple(args: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    require(isinstance(value, (list, tuple)), where, "a list", value)
    if args[-1] is Ellipsis:
        return tuple(_convert(args[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    require(len(value) == len(args), where, f"a list of {len(args)}", value)
    return tuple(_convert(arg, item, f"{where}[{i}]") for i, (arg, item) in enumerate(zip(args, value, strict=True)))


def _convert_scalar(hint: type, value: Any, where: str) -> Any:
    names = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
    if hint is float and not isinstance(value, bool):
        try:
            number = float(value)  # YAML reads 5e-6 as text
        except (TypeError, ValueError, OverflowError):
            number = float("nan")
        require(abs(number) < float("inf"), where, "a finite number", value)
        return number
    fine = isinstance(value, hint) and not (hint is int and isinstance(value, bool))
    require(fine, where, names[hint], value)
    return value


def as_dict(block: Any) -> dict[str, Any]:
    """A block as plain JSON-ready values, for fingerprints and table metadata."""
    return dataclasses.asdict(block)

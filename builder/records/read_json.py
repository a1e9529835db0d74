"""JSON and JSONL, one record after the other."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from builder.errors import InputError
from builder.records.fields import type_name
from builder.records.files import opened
from builder.records.record import Bad, Record, shown


def lines(file: Path) -> Iterator[Record | Bad]:
    """One from each line of JSONL that is not blank."""
    with opened(file) as content:
        for number, line in enumerate(content, 1):
            line = line.removeprefix(b"\xef\xbb\xbf")  # also within: files were put together
            if line and not line.isspace():
                yield _parsed(file, number, line)


def whole(file: Path) -> Iterator[Record | Bad]:
    """One, or a list of them, as one JSON value. Raises InputError if it is none."""
    with opened(file) as found:
        content = found.read().removeprefix(b"\xef\xbb\xbf")
    if not content.strip():
        return
    try:
        value = _decoded(content)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file}: {_not_json(error)}") from error
    for number, record in enumerate(value if isinstance(value, list) else [value], 1):
        yield _object(file, number, record)


def _parsed(file: Path, number: int, line: bytes) -> Record | Bad:
    try:
        value = _decoded(line.rstrip(b"\n"))
    except (ValueError, RecursionError) as error:
        return Bad(file, number, None, _not_json(error), line.decode("utf-8", "backslashreplace").strip())
    return _object(file, number, value)


def _not_json(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"not UTF-8: byte {error.object[error.start]:#04x} at {error.start}"
    if isinstance(error, RecursionError):
        return "not readable JSON: nested too deeply"
    return f"not JSON: {str(error).replace('line 1 ', '')}"


def _object(file: Path, number: int, value: Any) -> Record | Bad:
    if not isinstance(value, dict):
        return Bad(file, number, None, f"not a JSON object but {type_name(value)}", shown(value))
    return Record(file, number, value)


def _whole(digits: str) -> int | float:
    """Beyond Python's limit on digits a whole number is as good as infinite."""
    return int(digits) if len(digits) < 4300 else float(digits)


_DECODER = json.JSONDecoder(parse_int=_whole)
_PLAIN = frozenset({str, int, bool, type(None)})
_DEEP = 32


def _decoded(content: bytes) -> Any:
    """The value that Python's decoder reads in UTF-8 JSON, by orjson in a fourth of the time where it reads the same.

    Raises ValueError or RecursionError as that decoder does.
    """
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError:
        pass  # also NaN, lone surrogates and long numbers, which are read here
    else:
        if _is_alike(value):
            return value
        del value  # a whole .json file may be read once more
    return _DECODER.decode(content.decode("utf-8"))


def _is_alike(value: Any, depth: int = _DEEP) -> bool:
    """False if orjson may have made a float of a whole number of more than 64 bits, or gone deeper than Python does."""
    if type(value) is float:
        return abs(value) < 2.0**63
    if type(value) in _PLAIN:
        return True
    entries = value.values() if type(value) is dict else value
    return _PLAIN.issuperset(map(type, entries)) or (depth > 0 and all(_is_alike(e, depth - 1) for e in entries))

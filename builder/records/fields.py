"""What a record holds under a name, checked: a text, a conversation, any value. What is wrong raises FieldError."""

import json
import math
from collections.abc import Mapping
from typing import Any

from builder.language.chat import ROLES, Message
from builder.records.record import FieldError


def rename(fields: Mapping[str, Any], columns: Mapping[str, str]) -> dict[str, Any]:
    """Fields under the names that ``columns`` (ours: theirs) gives them; theirs, where it is there, wins over ours."""
    renamed = {ours: fields[theirs] for ours, theirs in columns.items() if theirs in fields}
    taken = set(columns.values())
    return {name: value for name, value in fields.items() if name not in taken} | renamed


def text(fields: Mapping[str, Any], field: str) -> str | None:
    """A text or None. Raises FieldError for another type and for what is not Unicode."""
    value = fields.get(field)
    if value is None:
        return None
    if not isinstance(value, str):
        raise FieldError(field, f"must be a text, is {type_name(value)}")
    _check_unicode(field, value)
    return value


def messages(fields: Mapping[str, Any], field: str) -> list[Message] | None:
    """A conversation that ends with a user's turn, from a text or a list of messages; None if absent."""
    value = fields.get(field)
    if value is None:
        return None
    if isinstance(value, str):
        value = [{"role": "user", "content": value}]
    if not isinstance(value, list):
        raise FieldError(field, f"must be a text or a list of messages, is {type_name(value)}")
    turns: list[Message] = []
    for i, turn in enumerate(value):
        role, content = (turn.get("role"), turn.get("content")) if isinstance(turn, dict) else (None, None)
        if not isinstance(role, str) or not isinstance(content, str):
            raise FieldError(f"{field}[{i}]", "must be {role, content} with texts")
        _check_unicode(field, role + content)
        if role not in ROLES:  # a template writes it between control strings
            raise FieldError(f"{field}[{i}]", f"has the role {role!r}; known are {', '.join(sorted(ROLES))}")
        turns.append({"role": role, "content": content})
    if not turns or not turns[-1]["content"].strip():
        raise FieldError(field, "is empty")
    if turns[-1]["role"] != "user":
        raise FieldError(field, f"must end with a user's turn, ends with {turns[-1]['role']!r}")
    return turns


def required(fields: Mapping[str, Any], field: str, instead: str = "") -> FieldError:
    """The error for a field that is not there; it names those that are."""
    found = ", ".join(sorted(name for name, value in fields.items() if value is not None))
    return FieldError(field, f"is required{instead}; the record has {found[:200] or 'no fields'}")


_ASCII_JSON = json.JSONEncoder(sort_keys=True, default=str, allow_nan=False)


def json_text(field: str, value: Any) -> str:
    """ASCII JSON of any value; NaN and infinities, which JSON has not, as text. Raises FieldError if too deep."""
    try:
        try:
            return _ASCII_JSON.encode(value)
        except ValueError:
            return json.dumps(_finite(value), sort_keys=True, default=str)
    except RecursionError:
        raise FieldError(field, "is nested too deeply") from None


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    return [_finite(entry) for entry in value] if isinstance(value, (list, tuple)) else value


def _check_unicode(field: str, value: str) -> None:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise FieldError(field, f"is not Unicode: a lone surrogate at character {error.start}") from error


def type_name(value: object) -> str:
    """A value's type, in JSON's words."""
    names = {
        bool: "true or false",
        int: "a number",
        float: "a number",
        list: "a list",
        dict: "an object",
        str: "a text",
        type(None): "null",
    }
    return names.get(type(value), type(value).__name__)

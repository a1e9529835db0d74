"""Somebody's records: JSONL (also .gz), JSON, CSV or Parquet, one by one, the bad ones named.

Nothing here raises for a bad record: it comes out as a ``Bad`` with line, field and reason. A file
that cannot be read at all raises InputError.
"""

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder import tables
from builder.chat import Message
from builder.errors import InputError
from builder.ids import canonical_json

KINDS = (".jsonl", ".json", ".csv", ".parquet")


@dataclass(frozen=True)
class Record:
    """``line`` counts from 1: the line of a JSONL or CSV file, else the record's number."""

    file: Path
    line: int
    fields: Mapping[str, Any]


@dataclass(frozen=True)
class Bad:
    """A record that cannot be used; ``raw`` is its text, so that nothing is lost."""

    file: Path
    line: int
    field: str | None
    reason: str
    raw: str

    def __str__(self) -> str:
        where = f", field {self.field!r}" if self.field else ""
        return f"{self.file}, line {self.line}{where}: {self.reason}"


class FieldError(Exception):
    """Within one record: ``field`` has ``reason``. Becomes a Bad."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field, self.reason = field, reason


def read(file: Path) -> Iterator[Record | Bad]:
    """All records of a file, in order. Raises InputError for a file that is missing or of no known kind."""
    kind = _kind(file)
    if not file.is_file():
        raise InputError(f"{file}: no such file")
    if kind == ".parquet":
        yield from _parquet(file)
        return
    try:
        if kind == ".jsonl":
            yield from _jsonl(file)
        elif kind == ".json":
            yield from _json(file)
        else:
            yield from _csv(file)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{file}: cannot be read: {error}") from error


def bad(record: Record, error: FieldError) -> Bad:
    """The record, found bad."""
    return Bad(record.file, record.line, error.field, error.reason, _ascii(record.fields))


def write_rejected(file: Path, rejected: Sequence[Bad]) -> None:
    """One ASCII JSON line for each; without any, an earlier run's file is removed."""
    lines = [
        json.dumps({"file": b.file.name, "line": b.line, "field": b.field, "reason": b.reason, "record": b.raw})
        for b in rejected
    ]
    if lines:
        tables.write_text(file, "\n".join(lines) + "\n")
    else:
        file.unlink(missing_ok=True)


def rename(fields: Mapping[str, Any], columns: Mapping[str, str]) -> dict[str, Any]:
    """Fields under the names that ``columns`` (ours: theirs) gives them; theirs wins over a field of ours."""
    theirs = {name: ours for ours, name in columns.items()}
    kept = {name: value for name, value in fields.items() if name not in theirs and name not in columns}
    return kept | {ours: fields[name] for name, ours in theirs.items() if name in fields}


def text(fields: Mapping[str, Any], field: str) -> str | None:
    """A text or None. Raises FieldError for another type and for what is not Unicode."""
    value = fields.get(field)
    if value is None:
        return None
    if not isinstance(value, str):
        raise FieldError(field, f"must be a text, is {_type(value)}")
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
        raise FieldError(field, f"must be a text or a list of messages, is {_type(value)}")
    turns: list[Message] = []
    for i, turn in enumerate(value):
        role, content = (turn.get("role"), turn.get("content")) if isinstance(turn, dict) else (None, None)
        if not isinstance(role, str) or not isinstance(content, str):
            raise FieldError(f"{field}[{i}]", "must be {role, content} with texts")
        _check_unicode(field, role + content)
        turns.append({"role": role, "content": content})
    if not turns or not turns[-1]["content"].strip():
        raise FieldError(field, "is empty")
    if turns[-1]["role"] != "user":
        raise FieldError(field, f"must end with a user's turn, ends with {turns[-1]['role']!r}")
    return turns


def _check_unicode(field: str, value: str) -> None:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise FieldError(field, f"is not Unicode: a lone surrogate at character {error.start}") from error


def _type(value: object) -> str:
    names = {
        bool: "true or false",
        int: "a number",
        float: "a number",
        list: "a list",
        dict: "an object",
        str: "a text",
    }
    return names.get(type(value), type(value).__name__)


def _kind(file: Path) -> str:
    suffixes = [suffix.lower() for suffix in file.suffixes]
    kind = (suffixes[:-1] if suffixes[-1:] == [".gz"] else suffixes)[-1:] or [""]
    if kind[0] not in KINDS:
        raise InputError(f"{file}: unknown kind of file; known are {', '.join(KINDS)}, and .gz of the first three")
    return kind[0]


def _open(file: Path) -> io.BufferedReader:
    return io.BufferedReader(gzip.open(file)) if file.suffix.lower() == ".gz" else file.open("rb")


def _jsonl(file: Path) -> Iterator[Record | Bad]:
    with _open(file) as lines:
        for number, line in enumerate(lines, 1):
            line = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
            if line.strip():
                yield _parsed(file, number, line)


def _parsed(file: Path, number: int, line: bytes) -> Record | Bad:
    raw = line.decode("utf-8", "backslashreplace").strip()
    try:
        value = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        return Bad(file, number, None, f"not UTF-8: byte {line[error.start]:#04x} at {error.start}", raw)
    except (ValueError, RecursionError) as error:
        return Bad(file, number, None, f"not JSON: {str(error).split(': line')[0]}", raw)
    return _object(file, number, value, raw)


def _object(file: Path, number: int, value: Any, raw: str) -> Record | Bad:
    if not isinstance(value, dict):
        return Bad(file, number, None, f"not a JSON object but {_type(value)}", raw)
    return Record(file, number, value)


def _json(file: Path) -> Iterator[Record | Bad]:
    with _open(file) as opened:
        content = opened.read().removeprefix(b"\xef\xbb\xbf")
    if not content.strip():
        return
    try:
        value = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file}: not JSON: {error}") from error
    for number, record in enumerate(value if isinstance(value, list) else [value], 1):
        yield _object(file, number, record, _ascii(record))


def _csv(file: Path) -> Iterator[Record | Bad]:
    """An empty cell is an absent value: CSV cannot tell it from an empty text."""
    csv.field_size_limit(1 << 30)
    with _open(file) as opened:
        lines = io.TextIOWrapper(opened, encoding="utf-8-sig", errors="surrogateescape", newline="")
        reader = csv.reader(lines, strict=True)
        try:
            header = next(reader, [])
            line = reader.line_num + 1
            for row in reader:
                if row:
                    yield _cells(file, line, header, row)
                line = reader.line_num + 1
        except csv.Error as error:
            raise InputError(f"{file}, line {reader.line_num}: not CSV: {error}") from error


def _cells(file: Path, line: int, header: Sequence[str], row: Sequence[str]) -> Record | Bad:
    raw = _ascii(row)
    if len(row) != len(header):
        return Bad(file, line, None, f"{len(row)} cells where the header has {len(header)}", raw)
    try:
        "".join(row).encode()
    except UnicodeEncodeError:
        return Bad(file, line, None, "not UTF-8", raw)
    fields: dict[str, Any] = {name: value for name, value in zip(header, row, strict=True) if value != ""}
    for name in ("rating", "rating_min", "rating_max", "sample"):
        if name in fields:
            fields[name] = _cell_number(fields[name])
    return Record(file, line, fields)


def _cell_number(cell: str) -> Any:
    for kind in (int, float):
        try:
            return kind(cell)
        except ValueError:
            continue
    return cell


def _parquet(file: Path) -> Iterator[Record | Bad]:
    parquet = tables.open_parquet(file)
    number = 0
    for batch in parquet.iter_batches(1024):
        for fields in batch.to_pylist():
            number += 1
            yield Record(file, number, fields)


def _ascii(value: Any) -> str:
    try:
        return canonical_json(value).encode("utf-8", "backslashreplace").decode()
    except (TypeError, ValueError, RecursionError):
        return repr(value)

"""Somebody's records: JSONL (also .gz), JSON, CSV or Parquet, one by one, the bad ones named.

Nothing here raises for a bad record: it comes out as a ``Bad`` with line, field and reason. A file
that cannot be read at all raises InputError.
"""

import csv
import gzip
import io
import json
import math
import sys
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pyarrow as pa

from builder import tables
from builder.errors import InputError
from builder.language.chat import ROLES, Message
from builder.remote.locations import named

KINDS = (".jsonl", ".json", ".csv", ".parquet")
NUMBERS = ("rating", "rating_min", "rating_max", "sample")
SHOWN = 10
BATCH = 1024


class Record(NamedTuple):
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
        told = f"{named(str(self.file))}, line {self.line}{where}: {self.reason}"
        return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in told)  # names of fields may steer a terminal


class FieldError(Exception):
    """Within one record: ``field`` has ``reason``. Becomes a Bad."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field, self.reason = field, reason


@dataclass
class Rejected:
    """The bad records of a run: the first are told on stderr, all are kept. ``strict`` stops at the first."""

    strict: bool = False
    records: list[Bad] = field(default_factory=list)
    further: str = "only in rejected.jsonl"
    """Where those are that are not told."""

    def add(self, bad: Bad) -> None:
        """Keep and tell it. Raises InputError if ``strict``."""
        if self.strict:
            raise InputError(f"{bad} (--strict stops at the first)")
        self.records.append(bad)
        if len(self.records) <= SHOWN:
            print(f"rejected: {bad}", file=sys.stderr)
        elif len(self.records) == SHOWN + 1:
            print(f"rejected: further ones are {self.further}", file=sys.stderr)

    def write(self, file: Path) -> None:
        """One ASCII JSON line for each; without any, an earlier run's file is removed."""
        lines = [
            {"file": named(str(b.file)), "line": b.line, "field": b.field, "reason": b.reason, "record": b.raw}
            for b in self.records
        ]
        if lines:
            tables.write_text(file, "".join(json.dumps(line) + "\n" for line in lines))
        else:
            file.unlink(missing_ok=True)


def read(file: Path) -> Iterator[Record | Bad]:
    """All records of a file, in order.

    Raises InputError, at once for a file that is missing or of no known kind, while reading for one
    that breaks off: half a file is an error, never a smaller dataset.
    """
    if file.is_dir():
        raise InputError(f"{file}: is a folder, not a file")
    reader = {".jsonl": _jsonl, ".json": _json, ".csv": _csv, ".parquet": _parquet}[kind(file)]
    if not file.is_file():
        raise InputError(f"{file}: no such file")
    return _guarded(file, reader(file))


def _guarded(file: Path, found: Iterator[Record | Bad]) -> Iterator[Record | Bad]:
    try:
        yield from found
    except (OSError, EOFError, zlib.error, pa.ArrowException) as error:
        raise InputError(f"{file}: cannot be read: {tables.first_line(error)}") from error


def bad(record: Record, error: FieldError) -> Bad:
    """The record, found bad."""
    return Bad(record.file, record.line, error.field, error.reason, _ascii(record.fields))


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


def _type(value: object) -> str:
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


def kind(file: Path) -> str:
    """One of ``KINDS``, by the file's name."""
    suffixes = [suffix.lower() for suffix in file.suffixes]
    zipped = suffixes[-1:] == [".gz"]
    kind = "".join((suffixes[:-1] if zipped else suffixes)[-1:])
    if kind not in (KINDS[:3] if zipped else KINDS):
        raise InputError(f"{file}: unknown kind of file; known are {', '.join(KINDS)}, and .gz of the first three")
    return kind


def _open(file: Path) -> io.BufferedReader:
    return io.BufferedReader(gzip.open(file)) if file.suffix.lower() == ".gz" else file.open("rb")


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


def _jsonl(file: Path) -> Iterator[Record | Bad]:
    with _open(file) as lines:
        for number, line in enumerate(lines, 1):
            line = line.removeprefix(b"\xef\xbb\xbf")  # also within: files were put together
            if line and not line.isspace():
                yield _parsed(file, number, line)


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
        return Bad(file, number, None, f"not a JSON object but {_type(value)}", _ascii(value))
    return Record(file, number, value)


def _json(file: Path) -> Iterator[Record | Bad]:
    with _open(file) as opened:
        content = opened.read().removeprefix(b"\xef\xbb\xbf")
    if not content.strip():
        return
    try:
        value = _decoded(content)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file}: {_not_json(error)}") from error
    for number, record in enumerate(value if isinstance(value, list) else [value], 1):
        yield _object(file, number, record)


def _csv(file: Path) -> Iterator[Record | Bad]:
    """An empty cell is an absent value: CSV cannot tell it from an empty text."""
    csv.field_size_limit(1 << 30)
    with _open(file) as opened:
        lines = io.TextIOWrapper(opened, encoding="utf-8-sig", errors="surrogateescape", newline="")
        reader = csv.reader(lines, strict=True)
        line = 1
        try:
            header = _header(file, next(filter(_is_row, reader), []))
            line = reader.line_num + 1
            for row in reader:
                if _is_row(row):
                    yield _cells(file, line, header, row)
                line = reader.line_num + 1
        except csv.Error as error:
            raise InputError(f"{file}, the row that starts in line {line}: not CSV: {error}") from error


def _is_row(cells: Sequence[str]) -> bool:
    """A blank line is none."""
    return len(cells) > 1 or any(cell.strip() for cell in cells)


def _header(file: Path, names: Sequence[str]) -> Sequence[str]:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{file}, line 1: the column {twice[0]!r} stands there twice")
    return names


def _cells(file: Path, line: int, header: Sequence[str], row: Sequence[str]) -> Record | Bad:
    if len(row) != len(header):
        return Bad(file, line, None, f"{len(row)} cells where the header has {len(header)}", _ascii(row))
    fields: dict[str, Any] = {name: value or None for name, value in zip(header, row, strict=True)}
    try:
        "".join(row).encode()
    except UnicodeEncodeError:
        return Bad(file, line, None, "not UTF-8", _ascii(fields))
    for name in NUMBERS:
        if fields.get(name) is not None:
            fields[name] = _cell_number(fields[name])
    return Record(file, line, fields)


def _cell_number(cell: str) -> Any:
    try:
        number = float(cell)
    except ValueError:
        return cell
    return cell if "_" in cell else number  # Python alone reads 1_0 as ten


def _parquet(file: Path) -> Iterator[Record | Bad]:
    parquet = tables.open_parquet(file)
    schema = parquet.schema_arrow
    twice = sorted({name for name in schema.names if schema.names.count(name) > 1})
    if twice:
        raise InputError(f"{file}: has the column {twice[0]!r} twice")
    schema = pa.schema([f.with_type(pa.float64()) if pa.types.is_decimal(f.type) else f for f in schema])
    number = 0
    for batch in parquet.iter_batches(BATCH):
        for fields in _rows(batch.cast(schema)):
            number += 1
            if isinstance(fields, FieldError):
                yield Bad(file, number, fields.field, fields.reason, "")
            else:
                yield Record(file, number, fields)


def _rows(batch: pa.RecordBatch) -> list[dict[str, Any] | FieldError]:
    """Rows as dicts; in place of one that has no value in Python the column that is to blame."""
    try:
        rows: list[dict[str, Any] | FieldError] = batch.to_pylist()
        return rows
    except (ValueError, OverflowError) as error:
        if batch.num_rows > 1:
            return [row for i in range(batch.num_rows) for row in _rows(batch.slice(i, 1))]
        guilty = next(name for name in batch.schema.names if not _readable(batch[name]))
        return [FieldError(guilty, "not UTF-8" if isinstance(error, UnicodeError) else tables.first_line(error))]


def _readable(column: pa.Array) -> bool:
    try:
        column.to_pylist()
    except (ValueError, OverflowError):
        return False
    return True


def _ascii(value: Any) -> str:
    try:
        return json.dumps(value, default=str)
    except RecursionError:
        return "(nested too deeply to be shown)"

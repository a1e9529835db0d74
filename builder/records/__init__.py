"""Somebody's records: JSONL (also .gz), JSON, CSV or Parquet, one by one, the bad ones named.

Nothing here raises for a bad record: it comes out as a ``Bad`` with line, field and reason. A file
that cannot be read at all raises InputError.

record.py        a record, and a bad one
fields.py        what a record holds under a name, checked
files.py         a file's kind, by its name, and its bytes
read_json.py, read_csv.py, read_parquet.py    the records of a file
"""

import zlib
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from builder import tables
from builder.errors import InputError
from builder.records import read_csv, read_json, read_parquet
from builder.records.fields import json_text, messages, rename, required, text
from builder.records.files import KINDS, kind
from builder.records.record import SHOWN, Bad, FieldError, Record, Rejected, bad

__all__ = [
    "KINDS", "SHOWN", "Bad", "FieldError", "Record", "Rejected", "bad", "json_text", "kind", "messages", "read",
    "rename", "required", "text",
]  # fmt: skip

_READERS = {
    ".jsonl": read_json.lines,
    ".json": read_json.whole,
    ".csv": read_csv.rows,
    ".parquet": read_parquet.rows,
}


def read(file: Path) -> Iterator[Record | Bad]:
    """All records of a file, in order.

    Raises InputError, at once for a file that is missing or of no known kind, while reading for one
    that breaks off: half a file is an error, never a smaller dataset.
    """
    if file.is_dir():
        raise InputError(f"{file}: is a folder, not a file")
    reader = _READERS[kind(file)]
    if not file.is_file():
        raise InputError(f"{file}: no such file")
    return _guarded(file, reader(file))


def _guarded(file: Path, found: Iterator[Record | Bad]) -> Iterator[Record | Bad]:
    try:
        yield from found
    except (OSError, EOFError, zlib.error, pa.ArrowException) as error:
        raise InputError(f"{file}: cannot be read: {tables.first_line(error)}") from error
